// Sign-up and log-in: the two forms, in a dialog or inline where a page needs an account to go on.

import { openDialog } from './dialog.js';
import { h } from './dom.js';
import { faultLine, field, onSubmit } from './form.js';
import { t } from './i18n.js';
import { session } from './session.js';

/** Both forms with one shown. `done` runs once somebody is signed in. */
export function accountForms(mode, done) {
  const root = h('div', { class: 'account-forms', id: 'account-forms' });
  const forms = { signup: signUpForm(done, () => show('login')), login: logInForm(done, () => show('signup')) };

  function show(next) {
    for (const [name, form] of Object.entries(forms)) form.hidden = name !== next;
  }

  root.append(forms.signup, forms.login);
  root.show = show;
  show(mode);
  return root;
}

export function openAccount(mode) {
  const inline = document.querySelector('#account-forms');
  if (inline) {
    inline.show(mode);
    inline.querySelector('form:not([hidden]) input').focus();
    return;
  }
  const forms = accountForms(mode, () => dialog.close());
  const dialog = openDialog(t('account.title'), forms);
  forms.querySelector('form:not([hidden]) input').focus();
}

function signUpForm(done, other) {
  const name = h('input', {
    id: 'signup-name',
    name: 'username',
    required: true,
    minlength: 2,
    maxlength: 24,
    pattern: '[A-Za-z0-9_\\-]+',
    title: t('account.name_hint'),
    autocomplete: 'username',
    autocapitalize: 'none',
    spellcheck: 'false',
  });
  const password = h('input', { id: 'signup-password', name: 'password', type: 'password', required: true, minlength: 8, autocomplete: 'new-password' });
  const line = faultLine();
  const form = h(
    'form',
    { class: 'stack' },
    field(t('account.name'), name, t('account.name_hint')),
    field(t('account.password'), password, t('account.password_hint')),
    line,
    h('button', { id: 'signup-submit', class: 'button primary block' }, t('account.sign_up')),
    h('p', { class: 'switch' }, t('account.have_one'), ' ', h('button', { type: 'button', class: 'link', onclick: other }, t('account.log_in'))),
  );
  onSubmit(form, line, async () => {
    await session.signUp(name.value, password.value);
    done();
  });
  return form;
}

function logInForm(done, other) {
  const name = h('input', { id: 'login-name', name: 'username', required: true, autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false' });
  const password = h('input', { id: 'login-password', name: 'password', type: 'password', required: true, autocomplete: 'current-password' });
  const line = faultLine();
  const form = h(
    'form',
    { class: 'stack' },
    field(t('account.name'), name),
    field(t('account.password'), password),
    line,
    h('button', { id: 'login-submit', class: 'button primary block' }, t('account.log_in')),
    h('p', { class: 'switch' }, t('account.have_none'), ' ', h('button', { type: 'button', class: 'link', onclick: other }, t('account.sign_up'))),
  );
  onSubmit(form, line, async () => {
    await session.logIn(name.value, password.value);
    done();
  });
  return form;
}
