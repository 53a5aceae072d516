// What moderators have at hand in the chat: a small menu on each message, and the message that stays in view above it.

import { api, explain } from './api.js';
import { h, iconButton } from './dom.js';
import { t } from './i18n.js';
import { speech } from './speech.js';
import { act, toast } from './toast.js';

const TIMEOUT_S = 600;

/** What a click in the timeline means, where it was on a moderator's button. One listener for all rows. */
export function onTools(room, event) {
  const button = event.target.closest('[data-do]');
  const row = button?.closest('.message');
  if (!row) return;
  const { id, author } = row.dataset;
  const work = {
    menu: () => toggle(row, button),
    delete: () => api.deleteMessage(room, id),
    timeout: () => api.timeOut(room, author, TIMEOUT_S),
    ban: () => api.ban(room, author),
    pin: () => api.pin(room, id),
    approve: () => api.approve(room, id),
    deny: () => api.deny(room, id),
  }[button.dataset.do];
  if (work) run(work, button, row);
}

async function run(work, button, row) {
  button.disabled = true;
  // The menu goes at once: what comes of it shows in the chat, or in a word about why nothing does.
  if (button.dataset.do !== 'menu') closeMenu(row);
  try {
    await work();
  } catch (fault) {
    toast(explain(fault), { kind: 'bad' });
  } finally {
    button.disabled = false;
  }
}

function toggle(row, button) {
  if (closeMenu(row)) return;
  button.setAttribute('aria-expanded', 'true');
  row.append(h('span', { class: 'row-tools' }, ['answer', 'delete', 'pin', 'timeout', 'ban'].map((what) => tool(what))));
}

/** Takes a message's menu away, if it has one. Who was on it by keyboard goes back to the button that brought it. */
export function closeMenu(row) {
  const menu = row.querySelector('.row-tools');
  if (!menu) return false;
  const button = row.querySelector('[data-do=menu]');
  button.setAttribute('aria-expanded', 'false');
  if (menu.contains(document.activeElement)) button.focus({ preventScroll: true });
  menu.remove();
  return true;
}

/** A button that `onTools` understands. */
export function tool(what) {
  return h('button', { type: 'button', class: 'link', 'data-do': what, 'data-testid': `mod-${what}` }, t(`mod.${what}`));
}

export class Pin {
  #room;
  #message = null;
  element = h('div', { class: 'pinned', 'data-testid': 'pinned', hidden: true });

  constructor(room) {
    this.#room = room;
    this.read();
  }

  async read() {
    const answer = await api.pinned(this.#room).catch(() => null);
    if (answer) this.#show(answer.pinned);
  }

  heard(event) {
    if (event.type === 'chat.pinned') this.#show(event);
    else if (event.type === 'chat.cleared') this.read();
    else if ((event.type === 'chat.unpinned' || event.type === 'chat.deleted') && event.message === this.#message) this.#show(null);
  }

  #show(pin) {
    this.#message = pin?.message ?? null;
    this.element.hidden = !pin;
    this.element.replaceChildren();
    if (!pin) return;
    const unpin = () => act(() => api.unpin(this.#room));
    this.element.replaceChildren(
      h('span', { class: 'pinned-text' }, h('strong', null, t('mod.pinned')), ' ', h('bdi', { class: 'author' }, pin.author?.name ?? t('nobody')), ' ', h('bdi', { dir: 'auto' }, speech(pin.text))),
      iconButton('close', t('mod.unpin'), { class: 'icon-button for-moderators', onclick: unpin }),
    );
  }
}
