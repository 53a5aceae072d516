// Donating: amount, message, balance; topping up without leaving when it is not enough; the receipt.

import { api } from './api.js';
import { Attempt } from './attempt.js';
import { openDialog } from './dialog.js';
import { h, icon } from './dom.js';
import { faultLine, field, onSubmit, tellFault } from './form.js';
import { date, points, t } from './i18n.js';
import { openAccount } from './account.js';
import { session } from './session.js';
import { presets, topUpForm, wallet } from './wallet.js';

const AMOUNTS = [1000, 3000, 5000, 10_000, 50_000];
const MESSAGE_LIMIT = 500;

// Per account and room, and beyond the dialog: closing it while an answer is lost must not turn the next try into a second
// donation. The tab's storage keeps them beyond the page; this, where a browser forbids storage.
const unsettled = new Map();

export function openDonate({ room, name }) {
  if (!session.account) {
    openAccount('signup');
    return;
  }
  const donor = session.account.id;
  const body = h('div', null);
  const dialog = openDialog(t('donate.title', { name }), body);
  // Who signs in meanwhile, in another tab, must not give what somebody else has filled in.
  const leave = () => session.account && session.account.id !== donor && dialog.close();
  session.addEventListener('change', leave);
  dialog.addEventListener('close', () => session.removeEventListener('change', leave));
  wallet.load().catch(() => null);
  body.append(donateForm(room, name, (receipt) => body.replaceChildren(receiptOf(receipt, name, () => dialog.close()))));
}

function donateForm(room, name, done) {
  const place = `donation.${session.account.id}.${room}`;
  const attempt = unsettled.get(place) ?? new Attempt(place);
  const { given } = attempt;
  const amount = h('input', {
    id: 'donate-amount',
    'data-testid': 'donate-amount',
    type: 'number',
    inputmode: 'numeric',
    min: 1,
    step: 1,
    required: true,
    value: given?.amount ?? AMOUNTS[0],
  });
  const message = h('textarea', { id: 'donate-message', 'data-testid': 'donate-message', rows: 3, dir: 'auto', value: given?.message ?? '' });
  const anonymous = h('input', { type: 'checkbox', id: 'donate-anonymous', 'data-testid': 'donate-anonymous', checked: given?.anonymous });
  const count = h('span', { class: 'count' });
  const balance = h('strong', { 'data-testid': 'donate-balance' });
  const submit = h('button', { class: 'button primary block', 'data-testid': 'donate-submit' });
  const line = faultLine();
  const choices = presets(amount, AMOUNTS);
  const shortfall = h('section', { class: 'shortfall', hidden: true });
  const form = h(
    'form',
    { class: 'stack' },
    choices,
    field(t('amount'), amount),
    field([t('donate.message'), ' ', count], message),
    h('label', { class: 'check', for: anonymous.id }, anonymous, ' ', t('donate.anonymous')),
    h('p', { class: 'balance-line' }, t('wallet.balance'), ' ', balance),
    line,
    submit,
  );
  const root = h('div', { class: 'stack' }, form, shortfall);

  function refresh() {
    const length = Array.from(message.value).length;
    count.textContent = `${length}/${MESSAGE_LIMIT}`;
    message.setCustomValidity(length > MESSAGE_LIMIT ? t('donate.too_long') : '');
    balance.textContent = wallet.balance === null ? '–' : points(wallet.balance);
    amount.readOnly = message.readOnly = attempt.open;
    anonymous.disabled = attempt.open;
    choices.hidden = attempt.open;
    if (form.getAttribute('aria-busy') === 'true') submit.textContent = t('donate.sending');
    else if (attempt.open) submit.textContent = t('donate.again');
    else submit.textContent = t('donate.give', { amount: points(Number(amount.value) || 0) });
  }

  // One button leads on at a time: donating steps back while topping up is what has to come first.
  function closeShortfall() {
    shortfall.hidden = true;
    shortfall.replaceChildren();
    submit.classList.add('primary');
  }

  function offerTopUp() {
    const missing = Math.max(1, Number(amount.value) - (wallet.balance ?? 0));
    shortfall.hidden = false;
    submit.classList.remove('primary');
    shortfall.replaceChildren(
      h('h3', null, t('donate.short', { amount: points(missing) })),
      topUpForm(missing, [], () => {
        closeShortfall();
        tellFault(line, null);
        submit.focus();
      }),
    );
    shortfall.scrollIntoView({ block: 'nearest' });
  }

  onSubmit(form, line, async () => {
    const donation = { amount: Number(amount.value), message: message.value.trim(), anonymous: anonymous.checked };
    if (!attempt.open && wallet.balance !== null && wallet.balance < donation.amount) {
      offerTopUp();
      return;
    }
    unsettled.set(place, attempt);
    const answer = attempt.run(donation, (key) => api.donate(room, donation, key));
    refresh();
    try {
      const receipt = await answer;
      wallet.set(receipt.balance);
      done(receipt);
    } catch (problem) {
      if (problem.code === 'insufficient_balance') {
        await wallet.load().catch(() => null);
        offerTopUp();
      }
      throw problem;
    } finally {
      if (!attempt.open) unsettled.delete(place);
    }
  });
  // The busy mark changes after the work is over, so the button's words follow the mark and not the work.
  new MutationObserver(refresh).observe(form, { attributeFilter: ['aria-busy'] });
  form.addEventListener('input', refresh);
  amount.addEventListener('input', closeShortfall);
  wallet.addEventListener('change', refresh);
  api.donationSettings(room).then(({ minimum }) => (amount.min = minimum), () => null);
  if (attempt.open) tellFault(line, t('error.network'));
  refresh();
  return root;
}

function receiptOf(receipt, name, close) {
  const row = (label, value) => [h('dt', null, label), h('dd', { dir: 'auto' }, value)];
  const again = h('button', { type: 'button', class: 'button primary block', onclick: close }, t('done'));
  queueMicrotask(() => again.focus());
  return h(
    'div',
    { class: 'receipt stack', 'data-testid': 'donate-receipt', 'data-id': receipt.id },
    h('div', { class: 'receipt-mark' }, icon('check')),
    h('p', { class: 'receipt-title', role: 'status' }, t('donate.thanks', { name })),
    h(
      'dl',
      null,
      row(t('amount'), points(receipt.amount)),
      receipt.message && row(t('donate.message'), receipt.message),
      row(t('donate.at'), date(receipt.at)),
      row(t('donate.number'), receipt.id),
      row(t('wallet.balance'), points(receipt.balance)),
    ),
    again,
  );
}
