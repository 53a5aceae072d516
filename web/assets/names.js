// What people are called beside their names: asked for together, a moment after they were first shown, and kept while the page lasts.

import { api } from './api.js';

const SOON_MS = 150;
const MOST_ASKED = 100;
const MOST_KNOWN = 2000;

/** Account → display name, or nothing where there is none. */
const known = new Map();
/** Account → elements that wait for the answer. */
const waiting = new Map();
let timer = 0;

/** Names are one person's alone and display names are not: so whoever has one is shown with both. */
export const called = ({ name, display_name: display }) => (display && display !== name ? `${display} (${name})` : name);

/** Shows an account's display name with its name in `element`, at once or when it is known. */
export function call(element, { id, name }) {
  if (!id) return;
  if (known.has(id)) {
    show(element, known.get(id), name);
    return;
  }
  const others = waiting.get(id);
  if (others) others.push([element, name]);
  else waiting.set(id, [[element, name]]);
  timer ||= setTimeout(ask, SOON_MS);
}

function show(element, display, name) {
  if (display) element.textContent = called({ name, display_name: display });
}

async function ask() {
  const ids = Array.from(waiting.keys()).slice(0, MOST_ASKED);
  const { names } = await api.names(ids).catch(() => ({ names: null }));
  for (const id of ids) {
    // What could not be asked is asked when it is shown again.
    if (names) known.set(id, names[id] ?? '');
    for (const [element, name] of waiting.get(id)) show(element, known.get(id), name);
    waiting.delete(id);
  }
  while (known.size > MOST_KNOWN) known.delete(known.keys().next().value);
  timer = waiting.size ? setTimeout(ask, SOON_MS) : 0;
}
