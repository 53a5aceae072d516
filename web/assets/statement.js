// `/wallet`: what somebody has, where it came from and where it went; topping up, and the whole of it as a file.

import { accountForms } from './account.js';
import { api, explain } from './api.js';
import { h, icon } from './dom.js';
import { faultLine, tellFault } from './form.js';
import { showHeader } from './header.js';
import { date, number, points, t } from './i18n.js';
import { session } from './session.js';
import { toast } from './toast.js';
import { openTopUp, wallet } from './wallet.js';

const PAGE = 50;

const main = document.querySelector('#main');
document.title = `Lemonair · ${t('wallet.title')}`;
showHeader();
await session.ready;
// Another account has another wallet.
session.addEventListener('change', () => location.reload(), { once: true });
if (session.account) enter();
else main.replaceChildren(h('div', { class: 'wallet-page' }, h('h1', null, t('wallet.title')), h('div', { class: 'surface' }, accountForms('login', () => null))));

function enter() {
  const figures = h('dl', { class: 'figures' });
  const rows = h('tbody');
  const note = h('p', { class: 'nothing', role: 'status' });
  const more = h('button', { type: 'button', class: 'button more', hidden: true, onclick: () => load() }, t('more'));
  const from = day('wallet-from', t('wallet.from'));
  const to = day('wallet-to', t('wallet.to'));
  const line = faultLine();
  let before = null;
  let reading = 0;

  main.replaceChildren(
    h(
      'div',
      { class: 'wallet-page' },
      h('h1', null, t('wallet.title')),
      h('section', { class: 'surface wallet-head' }, figures, h('button', { type: 'button', class: 'button primary', 'data-testid': 'wallet-topup', onclick: openTopUp }, icon('plus'), t('wallet.top_up'))),
      h(
        'section',
        { class: 'surface' },
        h('h2', null, t('wallet.history')),
        h('table', { class: 'entries' }, h('thead', null, h('tr', null, ['time', 'kind', 'amount'].map((name) => h('th', { scope: 'col' }, t(`wallet.${name}`))))), rows),
        note,
        more,
      ),
      h(
        'section',
        { class: 'surface' },
        h('h2', null, t('wallet.statement')),
        h('form', { class: 'statement-form', onsubmit: download }, from.element, to.element, h('button', { class: 'button', 'data-testid': 'statement-download' }, t('wallet.download'))),
        line,
      ),
    ),
  );
  wallet.addEventListener('change', refresh);
  refresh();

  async function refresh() {
    reading += 1;
    const mine = reading;
    before = null;
    try {
      const { balance, earnings, debt } = await api.wallet();
      const figure = (name, value) => h('div', null, h('dt', null, t(`wallet.${name}`)), h('dd', { 'data-testid': `wallet-${name}` }, points(value)));
      figures.replaceChildren(figure('balance', balance), figure('earnings', Math.max(0, earnings)), ...(debt > 0 ? [figure('debt', debt)] : []));
    } catch (fault) {
      note.textContent = explain(fault);
      return;
    }
    await load(mine);
  }

  /** Without `mine` it goes on where the list ends. What was overtaken by another reading is dropped. */
  async function load(mine = reading) {
    const first = before === null;
    try {
      const { entries, next } = await api.entries({ limit: PAGE, before });
      if (mine !== reading) return;
      if (first) rows.replaceChildren();
      rows.append(...entries.map(row));
      before = next;
      more.hidden = !next;
      note.textContent = rows.childElementCount === 0 ? t('wallet.empty') : '';
    } catch (fault) {
      note.textContent = explain(fault);
    }
  }

  async function download(event) {
    event.preventDefault();
    tellFault(line, null);
    try {
      // Days as the reader's calendar has them; the last one is in it.
      const start = from.value && new Date(`${from.value}T00:00:00`);
      const end = to.value && new Date(`${to.value}T00:00:00`);
      if (end) end.setDate(end.getDate() + 1);
      const csv = await api.statement({ from: start ? start.toISOString() : null, to: end ? end.toISOString() : null });
      const address = URL.createObjectURL(new Blob([csv], { type: 'text/csv' }));
      h('a', { href: address, download: 'lemonair-statement.csv' }).click();
      // Not at once: some browsers begin to read it a moment later.
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
      toast(t('wallet.downloaded'));
    } catch (fault) {
      tellFault(line, explain(fault));
    }
  }
}

function row({ id, at, kind, amount, room, donor }) {
  return h(
    'tr',
    { 'data-testid': 'entry', 'data-id': id },
    h('td', null, h('time', { datetime: at }, date(at))),
    h('td', null, t(`wallet.kind_${kind}`), room && [' ', h('a', { href: `/${encodeURIComponent(room)}` }, h('bdi', null, room))], donor && [' · ', h('bdi', { 'data-testid': 'entry-donor' }, donor)]),
    h('td', { class: amount < 0 ? 'out' : 'in' }, `${amount > 0 ? '+' : ''}${number(amount)}`),
  );
}

function day(id, label) {
  const input = h('input', { id, type: 'date' });
  return {
    element: h('div', { class: 'field' }, h('label', { for: id }, label), input),
    get value() {
      return input.value;
    },
  };
}
