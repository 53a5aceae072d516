// The studio's queue: what waits for a moderator, messages and donations' words, the oldest first.

import { api, explain } from './api.js';
import { h } from './dom.js';
import { clock, points, t } from './i18n.js';
import { replyLine } from './replies.js';
import { toast } from './toast.js';

/** `replies` knows what is answered; `count` hears how many wait. */
export function queueDesk(room, replies, count) {
  const list = h('ol', { class: 'queue', 'data-testid': 'queue', onclick: quote });
  const note = h('p', { class: 'nothing' }, t('queue.empty'));
  const element = h('div', { class: 'panel-scroll', tabindex: 0 }, list, note);
  const rows = new Map();
  load();

  async function load() {
    const [messages, donations] = await Promise.all([api.held(room), api.heldDonations(room)]).catch(() => []);
    for (const message of messages?.held ?? []) wait(message);
    for (const donation of donations?.held ?? []) wait(donation);
    tell();
  }

  function heard(events) {
    for (const event of events) {
      if (event.type === 'chat.held') wait(event);
      else if (event.type === 'donation.accepted' && event.held) wait({ ...event, id: event.donation ?? event.id });
      else if (event.type === 'donation.held') wait({ ...event, id: event.donation });
      else if (event.type === 'chat.message') gone(event.id);
      else if (event.type === 'chat.denied' || event.type === 'chat.deleted') gone(event.message);
      else if (/^donation\.(approved|denied)$/.test(event.type)) gone(event.donation);
      else if (event.type === 'chat.cleared') clear(event.account);
    }
    // What they answer may be known only now, or have been taken away.
    replies.draw(list);
    tell();
  }

  function quote({ target }) {
    const line = target.closest('.reply-line');
    if (line) replies.open(line);
  }

  function wait({ id, at, from, text, message, amount, reply_to: answered }) {
    const known = rows.get(id);
    // A donation's words and its points come in two events.
    if (known) {
      if (amount) known.element.querySelector('.queue-amount').textContent = points(amount);
      if (from) known.element.querySelector('.rank-name').textContent = from.name;
      return;
    }
    const gives = text === undefined;
    const decide = (name, act) =>
      h('button', { type: 'button', class: name === 'approve' ? 'button primary' : 'button', 'data-testid': `queue-${name}`, onclick: ({ target }) => run(target, () => act(room, id), id) }, t(`mod.${name}`));
    const row = h(
      'li',
      { 'data-testid': 'queued', 'data-id': id },
      h('div', { class: 'queue-head' }, h('bdi', { class: 'rank-name' }, from?.name ?? t('anonymous')), h('span', { class: 'queue-amount' }, amount ? points(amount) : ''), h('time', { datetime: at }, clock(at))),
      answered && replyLine(answered),
      h('bdi', { class: 'queue-words', dir: 'auto' }, gives ? message : text),
      h('div', { class: 'actions' }, decide('deny', gives ? api.denyDonation : api.deny), decide('approve', gives ? api.approveDonation : api.approve)),
    );
    rows.set(id, { element: row, account: from?.id });
    list.append(row);
    replies.draw(row);
  }

  function gone(id) {
    rows.get(id)?.element.remove();
    rows.delete(id);
  }

  function clear(account) {
    for (const [id, row] of rows) if (!account || row.account === account) gone(id);
  }

  function tell() {
    note.hidden = rows.size > 0;
    count(rows.size);
  }

  async function run(button, work, id) {
    button.disabled = true;
    try {
      await work();
      gone(id);
      tell();
    } catch (fault) {
      button.disabled = false;
      toast(explain(fault), { kind: 'bad' });
    }
  }

  return { element, heard };
}
