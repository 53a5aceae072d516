// Short messages at the foot of the page, read out by screen readers, gone by themselves.

import { explain } from './api.js';
import { h, icon } from './dom.js';

const SHOWN_MS = 5000;
const region = h('div', { class: 'toasts', role: 'status', 'aria-live': 'polite' });
document.body.append(region);

export function toast(text, { kind = 'good' } = {}) {
  const element = h('div', { class: `toast ${kind}` }, icon(kind === 'bad' ? 'alert' : 'check'), h('span', { dir: 'auto' }, text));
  // A modal dialog covers the page, so the region moves into the topmost one to stay visible.
  (Array.from(document.querySelectorAll('dialog[open]')).at(-1) ?? document.body).append(region);
  region.append(element);
  setTimeout(() => element.remove(), SHOWN_MS);
}

/** Does what somebody pressed, and says so, or what was wrong; whether it was done. */
export async function act(work, said) {
  try {
    await work();
  } catch (fault) {
    toast(explain(fault), { kind: 'bad' });
    return false;
  }
  if (said) toast(said);
  return true;
}

/** Copies and says so. */
export async function copy(text, said) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // The clipboard API is missing on plain-HTTP addresses; a selected field and the old command still work there.
    const field = h('textarea', { class: 'offscreen', value: text });
    (document.querySelector('dialog[open]') ?? document.body).append(field);
    field.select();
    document.execCommand('copy');
    field.remove();
  }
  toast(said);
}
