// `/checkout`: stands for a payment provider's own page. The buyer pays, or does not; the provider then tells Lemonair.

import { api, explain } from './api.js';
import { h } from './dom.js';
import { showHeader } from './header.js';
import { points, t } from './i18n.js';

const main = document.querySelector('#main');
const payment = new URLSearchParams(location.search).get('payment') ?? '';
const note = h('p', { class: 'nothing', role: 'status' });
const panel = h('div', { class: 'surface stack checkout' }, note);

document.title = `Lemonair · ${t('checkout.title')}`;
showHeader();
main.replaceChildren(h('div', { class: 'wallet-page' }, h('h1', null, t('checkout.title')), panel));
try {
  const { amount } = await api.checkout(payment);
  panel.replaceChildren(
    h('p', null, t('checkout.sandbox')),
    h('p', { class: 'balance-line' }, h('strong', { 'data-testid': 'checkout-amount' }, points(amount))),
    h('div', { class: 'actions' }, choice('cancelled', 'button quiet'), choice('failed', 'button'), choice('paid', 'button primary')),
    note,
  );
} catch (fault) {
  note.textContent = explain(fault);
}

function choice(outcome, look) {
  return h('button', { type: 'button', class: look, 'data-testid': `checkout-${outcome}`, onclick: () => choose(outcome) }, t(`checkout.${outcome}`));
}

async function choose(outcome) {
  const buttons = panel.querySelectorAll('button');
  for (const button of buttons) button.disabled = true;
  try {
    await api.choose(payment, outcome);
    if (outcome === 'failed') note.textContent = t('checkout.was_declined');
    else location.assign('/wallet');
  } catch (fault) {
    note.textContent = explain(fault);
  }
  for (const button of buttons) button.disabled = false;
}
