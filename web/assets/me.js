// `/account`: where one is logged in, another password, the end.

import { accountForms } from './account.js';
import { api } from './api.js';
import { confirmed } from './dialog.js';
import { h } from './dom.js';
import { faultLine, field, onSubmit } from './form.js';
import { showHeader } from './header.js';
import { ago, date, t } from './i18n.js';
import { session } from './session.js';
import { act, toast } from './toast.js';

const main = document.querySelector('#main');
document.title = t('me.page');
showHeader();
await session.ready;
if (session.account) show();
else main.replaceChildren(h('h1', null, t('me.title')), h('div', { class: 'surface' }, accountForms('login', () => location.reload())));
session.addEventListener('change', () => location.reload(), { once: true });

async function show() {
  const places = h('ul', { class: 'sessions' });
  main.replaceChildren(
    h('h1', null, t('me.title')),
    h('section', { class: 'surface', 'aria-labelledby': 'name-title' }, h('h2', { id: 'name-title' }, t('me.called')), nameForm()),
    h('section', { class: 'surface', 'aria-labelledby': 'places-title' }, h('h2', { id: 'places-title' }, t('me.sessions')), places),
    h('section', { class: 'surface', 'aria-labelledby': 'password-title' }, h('h2', { id: 'password-title' }, t('me.password')), passwordForm(draw)),
    h('section', { class: 'surface', 'aria-labelledby': 'erase-title' }, h('h2', { id: 'erase-title' }, t('me.erase')), eraseForm()),
  );
  await draw();

  async function draw() {
    const { sessions } = await api.sessions();
    places.replaceChildren(...sessions.map(place));
  }

  function place({ id, agent, opened_at, current }) {
    const end = () => act(() => api.endSession(id).then(draw), t('me.ended'));
    return h(
      'li',
      { 'data-testid': 'session' },
      h('div', { class: 'where' }, h('bdi', { title: agent }, client(agent)), h('small', { title: date(opened_at) }, t('me.since', { when: ago(opened_at) }))),
      current ? h('strong', null, t('me.here')) : h('button', { type: 'button', class: 'button', 'data-testid': 'session-end', onclick: end }, t('header.log_out')),
    );
  }
}

/** `Firefox, Linux`: enough to tell one's own devices apart; the whole line is in the title. */
function client(agent) {
  const browser = [['Edg/', 'Edge'], ['OPR/', 'Opera'], ['Firefox/', 'Firefox'], ['Chrome/', 'Chrome'], ['Safari/', 'Safari']].find(([mark]) => agent?.includes(mark));
  const system = ['Android', 'iPhone', 'iPad', 'Windows', 'Mac OS', 'Linux'].find((name) => agent?.includes(name));
  return [browser?.[1], system].filter(Boolean).join(', ') || agent || t('me.unknown');
}

function nameForm() {
  const name = h('input', { id: 'display-name', maxlength: 24, dir: 'auto', autocomplete: 'nickname', spellcheck: 'false' });
  const line = faultLine();
  const form = h('form', { class: 'stack' }, field(t('me.display_name'), name, t('me.display_name_hint', { name: session.account.name })), line, h('div', { class: 'actions' }, h('button', { class: 'button primary', id: 'display-name-submit' }, t('save'))));
  api.names([session.account.id]).then(
    ({ names }) => (name.value = names[session.account.id] ?? ''),
    () => null,
  );
  onSubmit(form, line, async () => {
    name.value = (await api.chooseName(name.value)).display_name;
    toast(t('saved'));
  });
  return form;
}

function passwordForm(changed) {
  const old = h('input', { id: 'password-old', type: 'password', required: true, autocomplete: 'current-password' });
  const fresh = h('input', { id: 'password-new', type: 'password', required: true, minlength: 8, autocomplete: 'new-password' });
  const line = faultLine();
  const form = h(
    'form',
    { class: 'stack' },
    field(t('me.password_old'), old),
    field(t('me.password_new'), fresh, t('account.password_hint')),
    line,
    h('div', { class: 'actions' }, h('button', { class: 'button primary', id: 'password-submit' }, t('me.password_change'))),
  );
  onSubmit(form, line, async () => {
    await api.changePassword(old.value, fresh.value);
    form.reset();
    toast(t('me.password_changed'));
    changed();
  });
  return form;
}

function eraseForm() {
  const password = h('input', { id: 'erase-password', type: 'password', required: true, autocomplete: 'current-password' });
  const line = faultLine();
  const form = h(
    'form',
    { class: 'stack' },
    h('p', null, t('me.erase_hint')),
    field(t('account.password'), password),
    line,
    h('div', { class: 'actions' }, h('button', { class: 'button danger', id: 'erase-submit' }, t('me.erase'))),
  );
  onSubmit(form, line, async () => {
    if (!(await confirmed(t('me.erase'), t('me.erase_sure', { name: session.account.name }), t('me.erase')))) return;
    await api.eraseAccount(password.value);
    await session.logOut();
    location.assign('/');
  });
  return form;
}
