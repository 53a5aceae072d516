// The studio's list of stream keys: one more under a name, or one revoked, each at once.

import { api } from './api.js';
import { confirmed } from './dialog.js';
import { h, iconButton } from './dom.js';
import { faultLine, onSubmit } from './form.js';
import { date, t } from './i18n.js';
import { act } from './toast.js';

/** `made` is told of a new key, which can be shown this once; `emptied` that the last one is gone. */
export function keyList(room, made, emptied) {
  const list = h('ul', { class: 'keys', 'data-testid': 'stream-keys' });
  const label = h('input', { id: 'stream-key-label', maxlength: 60, dir: 'auto', placeholder: t('key.label'), 'aria-label': t('key.label') });
  const line = faultLine();
  const form = h('form', { class: 'with-buttons' }, label, h('button', { class: 'button', 'data-testid': 'stream-key-add' }, t('key.add')));
  onSubmit(form, line, async () => {
    const key = await api.addStreamKey(room, label.value.trim());
    label.value = '';
    made(key);
    await draw();
  });
  draw();
  return h('details', { class: 'more-keys' }, h('summary', null, t('key.more')), h('p', { class: 'hint' }, t('key.more_hint')), list, form, line);

  async function draw() {
    const { keys } = (await api.streamKeys(room).catch(() => null)) ?? {};
    if (!keys) return;
    list.replaceChildren(
      ...keys.map((key) =>
        h(
          'li',
          null,
          h('code', null, `${key.prefix}…`),
          h('span', { dir: 'auto' }, key.label || t('key.unnamed')),
          h('span', { class: 'hint' }, date(key.created_at)),
          iconButton('close', t('key.revoke'), { 'data-testid': 'stream-key-revoke', onclick: () => revoke(key, keys.length === 1) }),
        ),
      ),
    );
  }

  async function revoke(key, last) {
    if (!(await confirmed(t('key.revoke'), t('key.revoke_ask', { label: key.label || key.prefix }), t('key.revoke')))) return;
    if (!(await act(() => api.revokeStreamKey(room, key.id)))) return;
    if (last) emptied();
    else await draw();
  }
}
