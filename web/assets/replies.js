// What answers quote. An answer names the message that it answers and has no word of it: the line above it is drawn from
// what this page knows of that message, and drawn anew when the message is taken away.

import { explain } from './api.js';
import { h } from './dom.js';
import { t } from './i18n.js';
import { call } from './names.js';
import { toast } from './toast.js';

// More than rows are kept and wait.
const KNOWN = 2_000;
/** Characters of a quote that are read out. */
const READ_OUT = 120;
const GONE = { removed: true };

/** The line above an answer to `message`, empty until it is drawn. */
export function replyLine(message) {
  return h('button', { type: 'button', class: 'reply-line', 'data-do': 'parent', 'data-parent': message, 'data-testid': 'reply-line' });
}

export class Replies {
  #read;
  /** Message → its author and words, or that it was taken away. */
  #known = new Map();

  /** `read(id)` asks for one message. */
  constructor(read) {
    this.#read = read;
  }

  /** Learns what can be answered, and what was taken away. */
  heard(event) {
    if (event.type === 'chat.message') this.#learn(event.id, event);
    else if (event.type === 'chat.deleted') this.#learn(event.message, GONE);
    else if (event.type === 'chat.cleared') for (const [id, { from }] of this.#known) if (!event.account || from?.id === event.account) this.#known.set(id, GONE);
  }

  #learn(id, { from, text, removed }) {
    this.#known.set(id, removed ? GONE : { from, text });
    if (this.#known.size > KNOWN) this.#known.delete(this.#known.keys().next().value);
  }

  /** `{ from, text }` or `{ removed }`; nothing of a message that this page does not know. */
  of(id) {
    return this.#known.get(id);
  }

  /** Shows all that can be known of the message that a line quotes; it is asked for where it is not known. */
  async open(line) {
    const { parent } = line.dataset;
    try {
      if (!this.#known.has(parent)) this.heard(await this.#read(parent));
    } catch (fault) {
      toast(explain(fault), { kind: 'bad' });
      return;
    }
    this.#draw(line);
    line.classList.toggle('open');
  }

  /** What was missed meanwhile may have taken any of it away. */
  clear() {
    this.#known.clear();
  }

  draw(root) {
    for (const line of root.querySelectorAll('.reply-line')) this.#draw(line);
  }

  #draw(line) {
    const said = this.#known.get(line.dataset.parent);
    line.dataset.author = said?.from?.id ?? '';
    line.classList.toggle('known', Boolean(said?.text));
    if (!said?.text) {
      const what = t(said ? 'chat.removed' : 'chat.earlier');
      line.setAttribute('aria-label', t('chat.answers', { what }));
      line.replaceChildren(h('span', { class: 'quoted-text' }, what));
      return;
    }
    const name = said.from?.name ?? t('nobody');
    const whom = h('bdi', { class: 'quoted-name' }, name);
    call(whom, { id: said.from?.id, name });
    line.setAttribute('aria-label', t('chat.answers', { what: `${name}: ${excerpt(said.text)}` }));
    line.replaceChildren(whom, h('bdi', { class: 'quoted-text', dir: 'auto' }, said.text));
  }
}

/** As much of a text as is read out; whole characters. */
export function excerpt(text) {
  const characters = Array.from(text);
  return characters.length > READ_OUT ? `${characters.slice(0, READ_OUT).join('')}…` : text;
}
