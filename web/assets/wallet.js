// The viewer's points: the balance that every page shows, and topping it up.

import { api } from './api.js';
import { Attempt } from './attempt.js';
import { openDialog } from './dialog.js';
import { h } from './dom.js';
import { faultLine, field, onSubmit } from './form.js';
import { number, points, t } from './i18n.js';
import { session } from './session.js';
import { toast } from './toast.js';

const AMOUNTS = [1000, 5000, 10_000, 50_000];
const MOST = 1_000_000;

class Wallet extends EventTarget {
  balance = null;

  async load() {
    const { balance } = await api.wallet();
    this.set(balance);
  }

  set(balance) {
    this.balance = balance;
    this.dispatchEvent(new Event('change'));
  }
}

export const wallet = new Wallet();

session.addEventListener('change', () => {
  wallet.set(null);
  // A balance that does not load is shown as unknown; donating reads it again.
  if (session.account) wallet.load().catch(() => null);
});

/** Buttons that fill `input`; the one that matches it is marked. */
export function presets(input, amounts) {
  const buttons = amounts.map((amount) =>
    h('button', { type: 'button', class: 'preset', 'data-amount': amount, onclick: () => choose(amount) }, number(amount)),
  );
  const mark = () => {
    for (const button of buttons) button.setAttribute('aria-pressed', button.dataset.amount === input.value);
  };

  function choose(amount) {
    input.value = amount;
    input.dispatchEvent(new Event('input', { bubbles: true }));
  }

  input.addEventListener('input', mark);
  mark();
  return h('div', { class: 'presets', role: 'group', 'aria-label': t('amount') }, buttons);
}

/** The form alone, so that the donate dialog can show it inline, there without `choices`. */
export function topUpForm(amount, choices, done) {
  const attempt = new Attempt();
  const input = h('input', {
    id: 'topup-amount',
    'data-testid': 'topup-amount',
    type: 'number',
    inputmode: 'numeric',
    min: 1,
    max: MOST,
    step: 1,
    required: true,
    value: amount,
  });
  const line = faultLine();
  const form = h(
    'form',
    { class: 'stack' },
    choices.length > 0 && presets(input, choices),
    field(t('amount'), input, t('wallet.sandbox')),
    line,
    h('button', { class: 'button primary block', 'data-testid': 'topup-submit' }, t('wallet.top_up')),
  );
  onSubmit(form, line, async () => {
    const sum = Number(input.value);
    input.readOnly = true;
    try {
      const { status, checkout, balance } = await attempt.run(sum, (key) => api.topUp(sum, key));
      if (status === 'pending') {
        location.assign(checkout);
        return;
      }
      wallet.set(balance);
      toast(t('wallet.topped_up', { amount: points(sum) }));
      done();
    } finally {
      input.readOnly = attempt.open;
    }
  });
  return form;
}

export function openTopUp() {
  const dialog = openDialog(t('wallet.top_up'), [
    h('p', { class: 'balance-line' }, t('wallet.balance'), ' ', h('strong', null, wallet.balance === null ? '–' : points(wallet.balance))),
    topUpForm(AMOUNTS[1], AMOUNTS, () => dialog.close()),
  ]);
}
