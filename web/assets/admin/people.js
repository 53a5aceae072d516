// Accounts: found by name, given roles, logged out, erased.

import { api } from '../api.js';
import { confirmed, openDialog } from '../dialog.js';
import { h } from '../dom.js';
import { field } from '../form.js';
import { ago, date, t } from '../i18n.js';
import { session } from '../session.js';
import { act } from '../toast.js';
import { button, redraw, table } from './table.js';

const ROLES = ['viewer', 'moderator', 'operator'];
const TYPING_MS = 200;

export function peopleDesk() {
  const name = h('input', { id: 'people-name', type: 'search', maxlength: 24, autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false', oninput: soon });
  const role = h('select', { id: 'people-role', onchange: refresh }, h('option', { value: '' }, t('admin.any_role')), ROLES.map((one) => h('option', { value: one }, t(`admin.role_${one}`))));
  const list = h('div', { 'data-testid': 'people' });
  const element = h('div', { class: 'stack' }, h('div', { class: 'people-form' }, field(t('admin.find'), name), field(t('admin.col_role'), role)), list);
  let typing = 0;

  function soon() {
    clearTimeout(typing);
    typing = setTimeout(refresh, TYPING_MS);
  }

  async function refresh() {
    // A list that is open would close under the hand.
    if (list.contains(document.activeElement) && document.activeElement.tagName === 'SELECT') return;
    const { accounts, more } = await api.accounts({ name: name.value.trim(), role: role.value || null });
    redraw(list, accounts.length ? table(['name', 'role', 'registered', 'actions'], accounts.map(row)) : h('p', { class: 'nothing' }, t('admin.no_people')), more ? h('p', { class: 'hint' }, t('admin.more_people')) : '');
  }

  function row(account) {
    const { id, name: who, role: has, registered_at: at, erased } = account;
    const own = id === session.account.id;
    const choice = h('select', { 'aria-label': `${t('admin.col_role')}: ${who}`, 'data-focus': `role-${id}`, 'data-testid': 'person-role', disabled: own || erased, onchange: () => grant(account, choice) }, ROLES.map((one) => h('option', { value: one, selected: one === has }, t(`admin.role_${one}`))));
    return h(
      'tr',
      { 'data-testid': 'person', 'data-name': who },
      h('th', { scope: 'row' }, erased ? h('span', { class: 'hint' }, t('admin.erased')) : h('a', { href: `/${encodeURIComponent(who.toLowerCase())}` }, h('bdi', null, who))),
      h('td', null, choice),
      h('td', { title: date(at) }, ago(at)),
      h('td', null, h('div', { class: 'actions' }, button(`sessions-${id}`, t('admin.sessions'), () => act(() => sessions(account)), { 'data-testid': 'person-sessions' }), !own && !erased && button(`erase-${id}`, t('admin.erase'), () => erase(account), { class: 'button danger', 'data-testid': 'person-erase' }))),
    );
  }

  async function grant({ id, name: who, role: had }, choice) {
    const wanted = choice.value;
    choice.blur();
    if (await confirmed(t('admin.col_role'), t('admin.sure_role', { name: who, role: t(`admin.role_${wanted}`) }), t('admin.give'))) await act(() => api.grantRole(id, wanted), t('saved'));
    else choice.value = had;
    await act(refresh);
  }

  async function erase({ id, name: who }) {
    if (await confirmed(t('admin.erase'), t('admin.sure_erase', { name: who }), t('admin.erase'))) await act(() => api.erasePerson(id).then(refresh), t('done'));
  }

  async function sessions({ id, name: who }) {
    const list = h('div', null);
    await draw();
    const dialog = openDialog(`${t('admin.sessions')}: ${who}`, list, { wide: true });

    async function draw() {
      const { sessions: open } = await api.personSessions(id);
      const end = (one) => act(() => api.endPersonSession(id, one).then(draw), t('me.ended'));
      const line = ({ id: one, opened_at: opened, agent }) => h('tr', { 'data-testid': 'person-session' }, h('td', { class: 'cause' }, agent ?? t('me.unknown')), h('td', { title: date(opened) }, ago(opened)), h('td', null, h('button', { type: 'button', class: 'button', 'data-testid': 'person-session-end', onclick: () => end(one) }, t('header.log_out'))));
      list.replaceChildren(open.length ? table(['client', 'since', 'actions'], open.map(line)) : h('p', { class: 'nothing' }, t('admin.no_sessions')), open.length > 1 ? h('div', { class: 'actions' }, h('button', { type: 'button', class: 'button danger', onclick: () => act(() => api.endPersonSessions(id).then(draw), t('me.ended')) }, t('admin.end_all'))) : '');
    }
    return dialog;
  }

  return { element, refresh };
}
