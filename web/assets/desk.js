// The studio's list of donations: those of the read model first, then each as it comes. Each can be given back, announced
// again, and, where its words wait for a moderator, let through or kept back.

import { api, explain } from './api.js';
import { Attempt } from './attempt.js';
import { openDialog } from './dialog.js';
import { h } from './dom.js';
import { faultLine, field, onSubmit, tellFault } from './form.js';
import { clock, points, t } from './i18n.js';
import { act, toast } from './toast.js';

const SHOWN = 50;

export function donationDesk(room) {
  const list = h('ol', { class: 'donations' });
  const note = h('p', { class: 'nothing' });
  const sum = h('strong', { 'data-testid': 'donations-sum' }, points(0));
  const element = h('div', { class: 'panel-scroll', tabindex: 0 }, h('p', { class: 'donations-sum' }, h('span', null, t('donations.sum')), sum), list, note);
  const rows = new Map();
  const early = new Map();
  /** What was given back of each. */
  const back = new Map();

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
        refunded(event.donation, event.left);
      } else if (event.type === 'donation.held') {
        waits(event.donation, event.message);
      } else if (event.type === 'donation.approved' || event.type === 'donation.denied') {
        decided(event.donation, event.message);
      }
    }
  }

  function show(donation) {
    const { id, at, from, amount, message, held, anonymous } = donation;
    if (rows.has(id)) {
      // What it was told of before may not have said what was given back since.
      if (donation.returned) refunded(id, amount - donation.returned);
      return;
    }
    const row = h(
      'li',
      { 'data-testid': 'donation-row', 'data-id': id, 'data-amount': amount },
      h('div', { class: 'donation-head' }, h('bdi', { class: 'rank-name' }, anonymous ? t('anonymous') : (from?.name ?? t('nobody'))), h('strong', null, points(amount)), h('time', { datetime: at }, clock(at))),
      message && !held && words(message),
      h(
        'div',
        { class: 'donation-actions' },
        h('button', { type: 'button', class: 'link', 'data-testid': 'alert-again', onclick: () => act(() => api.cue(room, 'replay', id)) }, t('donations.replay')),
        h('button', { type: 'button', class: 'link', 'data-do': 'refund', onclick: () => refund(donation) }, t('donations.refund')),
      ),
    );
    rows.set(id, row);
    list.prepend(row);
    const waiting = held ? message || early.get(id) : null;
    if (waiting) waits(id, waiting);
    if (donation.returned) refunded(id, amount - donation.returned);
    while (list.childElementCount > SHOWN * 2) {
      rows.delete(list.lastChild.dataset.id);
      list.lastChild.remove();
    }
  }

  /** `left` of it is not given back, or less if that is known already: it may be told twice, and late. */
  function refunded(id, left) {
    const row = rows.get(id);
    if (!row) return;
    const { amount } = row.dataset;
    left = Math.min(left, amount - (back.get(id) ?? 0));
    back.set(id, amount - left);
    row.querySelector('.refunded-part')?.remove();
    if (left) {
      row.querySelector('.donation-head').append(h('span', { class: 'donation-note refunded-part' }, t('donate.refunded_part', { amount: points(back.get(id)) })));
      return;
    }
    row.classList.add('refunded');
    row.querySelector('[data-do=refund]')?.replaceWith(h('span', { class: 'donation-note' }, t('donate.refunded')));
  }

  /** Words that only moderators see, until one of them has decided. They come a moment before their donation. */
  function waits(id, message) {
    const row = rows.get(id);
    if (!row) {
      early.set(id, message);
      return;
    }
    early.delete(id);
    if (row.querySelector('.held')) return;
    const decide = (name, work) => h('button', { type: 'button', class: 'link', 'data-testid': `donation-${name}`, onclick: () => act(() => work(room, id)) }, t(`mod.${name}`));
    row.querySelector('.donation-head').after(h('div', { class: 'held' }, words(message), t('mod.held'), decide('approve', api.approveDonation), decide('deny', api.denyDonation)));
  }

  function decided(id, message) {
    const row = rows.get(id);
    row?.querySelector('.held')?.remove();
    if (row && message) row.querySelector('.donation-head').after(words(message));
  }

  /** All that is left of a donation, or a part of it: asked once, though the answer is lost and the dialog left. */
  function refund({ id, amount, from, anonymous }) {
    const left = amount - (back.get(id) ?? 0);
    const attempt = new Attempt(`refund.${id}`);
    const part = attempt.given ?? left;
    const input = h('input', { id: 'refund-amount', 'data-testid': 'refund-amount', type: 'number', inputmode: 'numeric', min: 1, max: Math.max(left, part), step: 1, required: true, readonly: attempt.open, value: part });
    const line = faultLine();
    const form = h(
      'form',
      { class: 'stack' },
      h('p', null, t('donations.refund_ask', { amount: points(left), name: anonymous ? t('anonymous') : (from?.name ?? t('nobody')) })),
      field(t('donations.refund_amount'), input, t('donations.refund_hint', { amount: points(left) })),
      line,
      h('div', { class: 'actions' }, h('button', { type: 'button', class: 'button', onclick: () => dialog.close() }, t('cancel')), h('button', { class: 'button danger', 'data-testid': 'confirm' }, t('donations.refund'))),
    );
    const dialog = openDialog(t('donations.refund'), form);
    if (attempt.open) tellFault(line, t('error.network'));
    onSubmit(form, line, async () => {
      const part = Number(input.value);
      input.readOnly = true;
      try {
        await attempt.run(part, (key) => api.refund(id, part, key));
      } finally {
        input.readOnly = attempt.open;
      }
      dialog.close();
      toast(t('donate.refunded_part', { amount: points(part) }));
    });
  }

  return { element, load, heard, total };
}

function words(message) {
  return h('bdi', { class: 'donation-message', dir: 'auto' }, message);
}
