// One event of a room as one row of the chat. Events that have no row (viewer counts, settings) answer null.

import { hue } from './avatar.js';
import { h, icon } from './dom.js';
import { clock, knows, points, t } from './i18n.js';
import { call } from './names.js';
import { replyLine } from './replies.js';
import { markMentions, speech } from './speech.js';
import { tool } from './tools.js';

const BADGES = ['streamer', 'moderator', 'operator'];

export function rowOf(event) {
  if (event.type === 'chat.message') return messageRow(event, 'sent');
  if (event.type === 'chat.held') return messageRow(event, 'held');
  if (event.type === 'chat.cleared' && event.account) return null;
  if (event.type === 'chat.settings' || event.type === 'chat.cleared') return systemRow(t(`event.${event.type}`), event);
  if (event.type === 'donation.accepted') return donationRow(event);
  if (event.type.startsWith('stream.') && knows(`event.${event.type}`)) return systemRow(t(`event.${event.type}`), event);
  return null;
}

/** `state`: pending, sent, failed or held. */
export function messageRow({ id, at, from, text, reply_to: answered, removed }, state) {
  const row = h('div', { class: 'message', 'data-testid': 'message', 'data-state': state }, answered && replyLine(answered), time(at), author(from), body(text, 'text'));
  if (id) row.dataset.id = id;
  if (id && from) row.dataset.author = from.id;
  if (removed) strike(row);
  else if (state === 'held') row.append(h('span', { class: 'held' }, t('mod.held'), h('span', { class: 'for-moderators' }, tool('approve'), tool('deny'))));
  else if (state === 'sent') row.append(actions());
  markMentions(row);
  return row;
}

/**
 * Shown at the pointer. Answering needs no place in the order of tabs: by keyboard the arrows bring one to it (see
 * `Timeline`). Letters rather than icons, since every row has them.
 */
function actions() {
  const action = (sign, label, props) => h('button', { type: 'button', 'aria-label': label, title: label, ...props }, sign);
  return h(
    'span',
    { class: 'row-actions' },
    action('↩\ufe0e', t('chat.answer'), { class: 'row-action', 'data-do': 'answer', tabindex: -1 }),
    action('⋯', t('mod.menu'), { class: 'row-action for-moderators', 'data-do': 'menu', 'data-testid': 'mod-menu', 'aria-expanded': 'false' }),
  );
}

/** Takes a message's words away where it is shown. */
export function strike(row) {
  row.classList.add('removed');
  row.querySelector('.text').replaceChildren(t('chat.removed'));
  for (const extra of row.querySelectorAll('.held, .row-actions, .row-tools, .reply-line')) extra.remove();
}

/** Says on a donation's card that it was given back, or a part of it. */
export function markRefunded(card, { left = 0, amount }) {
  if (!left) card.classList.add('refunded');
  const said = left ? t('donate.refunded_part', { amount: points(amount) }) : t('donate.refunded');
  card.querySelector('.donation-amount').append(' ', h('span', { class: 'donation-note' }, said));
}

/** The words of a donation that a moderator has let through. */
export function showWords(card, message) {
  if (message && !card.querySelector('.donation-message')) card.append(body(message, 'donation-message'));
}

/** A donation is known by the id of the event that accepted it, unless the event names another. */
function donationRow({ id, at, from, amount, message, donation = id, anonymous }) {
  return h(
    'div',
    { class: 'donation', 'data-testid': 'donation', 'data-id': id, 'data-donation': donation },
    h('div', { class: 'donation-head' }, icon('lemon'), author(anonymous ? { name: t('anonymous') } : from), h('strong', { class: 'donation-amount' }, points(amount)), time(at)),
    message && body(message, 'donation-message'),
  );
}

function systemRow(text, { id, at }) {
  return h('div', { class: 'system', 'data-id': id }, h('span', null, text), time(at));
}

function time(at) {
  return h('time', { datetime: at }, clock(at));
}

/** An author who has been erased has left no name. */
function author(from) {
  const { id, name, roles = [] } = from ?? { name: t('nobody') };
  const element = h('bdi', { class: 'author', 'data-name': name }, name);
  call(element, { id, name });
  element.style.setProperty('--hue', hue(name));
  const badges = BADGES.filter((role) => roles.includes(role)).map((role) => h('span', { class: `badge ${role}` }, t(`role.${role}`)));
  return h('span', { class: 'from' }, badges, element);
}

// Isolated, so that right-to-left marks in a text can turn nothing around but itself.
function body(text, name) {
  return h('bdi', { class: name, dir: 'auto' }, speech(text));
}
