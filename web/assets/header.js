// The bar at the top of every page: home, search, wallet, account, settings.

import { openAccount } from './account.js';
import { avatar } from './avatar.js';
import { h, icon, iconButton } from './dom.js';
import { language, languages, points, number, speak, t } from './i18n.js';
import { session } from './session.js';
import { local, word } from './storage.js';
import { openTopUp, wallet } from './wallet.js';

const NARROW = matchMedia('(max-width: 46rem)');
const THEMES = ['auto', 'light', 'dark'];

/** Fills `<header>`. `onSearch`, on the page that lists channels, gets what is typed; elsewhere Enter goes there. */
export function showHeader({ onSearch = null } = {}) {
  const search = h('input', {
    type: 'search',
    name: 'q',
    id: 'search',
    'aria-label': t('header.search'),
    autocomplete: 'off',
    value: new URLSearchParams(location.search).get('q') ?? '',
  });
  const hint = () => (search.placeholder = t(NARROW.matches ? 'header.search_short' : 'header.search'));
  NARROW.addEventListener('change', hint);
  hint();
  const form = h('form', { role: 'search', action: '/', class: 'search' }, icon('search'), search);
  if (onSearch) {
    search.addEventListener('input', () => onSearch(search.value));
    form.addEventListener('submit', (event) => event.preventDefault());
  }
  const account = h('div', { class: 'header-account' });
  const menu = h('div', { id: 'menu', class: 'menu', popover: 'auto' });
  document.querySelector('body > header').replaceChildren(
    h('a', { class: 'skip', href: '#main' }, t('header.skip')),
    h('a', { class: 'brand', href: '/', 'aria-label': 'Lemonair' }, h('img', { src: '/assets/logo.svg', alt: '', width: 28, height: 28 }), h('span', null, 'lemonair')),
    form,
    account,
    menu,
  );

  function refresh() {
    const { account: who } = session;
    account.replaceChildren(...(who ? member(who) : guest()));
    menu.replaceChildren(...menuOf(who, menu));
  }

  session.addEventListener('change', refresh);
  wallet.addEventListener('change', () => {
    const balance = account.querySelector('[data-testid=balance]');
    if (balance) showBalance(balance);
  });
  // Until it is known who is here the place stays empty: neither set of buttons may flash.
  session.ready.then(refresh);
}

function guest() {
  return [
    h('button', { type: 'button', class: 'button quiet', 'data-testid': 'login-open', onclick: () => openAccount('login') }, t('account.log_in')),
    h('button', { type: 'button', class: 'button primary', 'data-testid': 'signup-open', onclick: () => openAccount('signup') }, t('account.sign_up')),
    iconButton('gear', t('header.settings'), { popovertarget: 'menu' }),
  ];
}

function member({ name }) {
  const balance = h('span', { 'data-testid': 'balance' });
  showBalance(balance);
  return [
    h('a', { class: 'button quiet studio-link', href: '/studio' }, icon('broadcast'), h('span', null, t('header.studio'))),
    h('button', { type: 'button', class: 'button wallet-button', 'data-testid': 'topup-open', title: t('wallet.top_up'), onclick: openTopUp }, icon('lemon'), balance, icon('plus')),
    h('button', { type: 'button', class: 'avatar-button', 'aria-label': t('header.account', { name }), popovertarget: 'menu' }, avatar(name)),
  ];
}

function showBalance(element) {
  element.textContent = wallet.balance === null ? '–' : number(wallet.balance);
  element.title = wallet.balance === null ? '' : points(wallet.balance);
}

function menuOf(who, menu) {
  const logOut = () => {
    menu.hidePopover();
    session.logOut();
  };
  return [
    who && h('p', { class: 'menu-name' }, h('bdi', null, who.name)),
    who && h('a', { href: `/${encodeURIComponent(who.name.toLowerCase())}` }, icon('user'), t('header.my_channel')),
    who && h('a', { href: '/wallet' }, icon('lemon'), t('wallet.title')),
    h('a', { href: '/studio' }, icon('broadcast'), t('header.studio')),
    who?.roles.includes('operator') && h('a', { href: '/admin' }, icon('gear'), t('admin.title')),
    who && h('a', { href: '/account' }, icon('gear'), t('account.title')),
    choice(t('header.theme'), 'theme', THEMES.map((name) => [name, t(`theme.${name}`)]), word('theme') ?? 'auto', setTheme),
    choice(t('header.language'), 'language', Object.entries(languages), language, speak),
    who && h('button', { type: 'button', 'data-testid': 'logout', onclick: logOut }, icon('out'), t('header.log_out')),
  ].filter(Boolean);
}

function choice(label, name, options, chosen, choose) {
  const select = h(
    'select',
    { id: `menu-${name}`, onchange: () => choose(select.value) },
    options.map(([value, text]) => h('option', { value, selected: value === chosen }, text)),
  );
  return h('div', { class: 'menu-choice' }, h('label', { for: select.id }, label), select);
}

function setTheme(theme) {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  local.set('theme', theme === 'auto' ? null : theme);
}
