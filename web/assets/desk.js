// The studio's list of donations: those of the read model first, then each as it comes; each can be given back once.

import { api, explain } from './api.js';
import { confirmed } from './dialog.js';
import { h } from './dom.js';
import { clock, points, t } from './i18n.js';
import { toast } from './toast.js';

const SHOWN = 50;

export function donationDesk(room) {
  const list = h('ol', { class: 'donations' });
  const note = h('p', { class: 'nothing' });
  const sum = h('strong', { 'data-testid': 'donations-sum' }, points(0));
  const element = h('div', { class: 'panel-scroll', tabindex: 0 }, h('p', { class: 'donations-sum' }, h('span', null, t('donations.sum')), sum), list, note);
  const rows = new Map();

  function total(donated) {
    sum.textContent = points(donated);
  }

  async function load() {
    try {
      const { donations } = await api.donations(room, { limit: SHOWN });
      // Oldest first, because each is put on top.
      for (const donation of donations.sort((a, b) => a.at.localeCompare(b.at))) show(donation);
      note.textContent = rows.size === 0 ? t('donations.empty') : '';
    } catch (fault) {
      note.textContent = explain(fault);
    }
  }

  function heard(events) {
    for (const event of events) {
      if (event.type === 'donation.accepted') {
        show({ ...event, id: event.donation ?? event.id });
        note.textContent = '';
      } else if (event.type === 'donation.refunded') {
        refunded(event.donation);
      }
    }
  }

  function show(donation) {
    const { id, at, from, amount, message } = donation;
    if (rows.has(id)) return;
    const row = h(
      'li',
      { 'data-testid': 'donation-row', 'data-id': id },
      h('div', { class: 'donation-head' }, h('bdi', { class: 'rank-name' }, from?.name ?? t('nobody')), h('strong', null, points(amount)), h('time', { datetime: at }, clock(at))),
      message && h('bdi', { class: 'donation-message', dir: 'auto' }, message),
      h('button', { type: 'button', class: 'link', onclick: () => refund(donation) }, t('donations.refund')),
    );
    rows.set(id, row);
    list.prepend(row);
    if (donation.refunded) refunded(id);
    while (list.childElementCount > SHOWN * 2) {
      rows.delete(list.lastChild.dataset.id);
      list.lastChild.remove();
    }
  }

  function refunded(id) {
    const row = rows.get(id);
    if (!row || row.classList.contains('refunded')) return;
    row.classList.add('refunded');
    row.querySelector('button').replaceWith(h('span', { class: 'donation-note' }, t('donate.refunded')));
  }

  async function refund({ id, amount, from }) {
    if (!(await confirmed(t('donations.refund'), t('donations.refund_ask', { amount: points(amount), name: from?.name ?? t('nobody') }), t('donations.refund')))) return;
    try {
      await api.refund(id);
      toast(t('donate.refunded'));
    } catch (fault) {
      toast(explain(fault), { kind: 'bad' });
    }
  }

  return { element, load, heard, total };
}
