// Dead letters: shown, tried again (also only to see what would come of it), dropped.

import { api } from '../api.js';
import { confirmed, openDialog } from '../dialog.js';
import { h } from '../dom.js';
import { ago, date, number, t } from '../i18n.js';
import { act, toast } from '../toast.js';
import { button, redraw, table } from './table.js';

export function lettersDesk() {
  const element = h('div', { 'data-testid': 'dead-letters' });

  async function refresh() {
    const { dead_letters: open } = await api.deadLetters();
    if (!open.length) return redraw(element, h('p', { class: 'nothing' }, t('admin.no_letters')));
    redraw(element, table(['letter', 'key', 'when', 'tries', 'cause', 'actions'], open.map(row)));
  }

  function row({ id, key, record_at: at, tries, cause }) {
    return h(
      'tr',
      { 'data-testid': 'dead-letter', 'data-id': id },
      h('td', null, h('button', { type: 'button', class: 'link mono', 'data-focus': `show-${id}`, onclick: () => act(() => show(id)) }, id)),
      h('td', null, h('bdi', null, key)),
      h('td', { title: date(at) }, ago(at)),
      h('td', { class: 'count' }, number(tries)),
      h('td', { class: 'cause' }, cause),
      h('td', null, h('div', { class: 'actions' }, button(`try-${id}`, t('admin.try'), () => retry(id, true), { 'data-testid': 'letter-try' }), button(`retry-${id}`, t('admin.retry'), () => retry(id), { 'data-testid': 'letter-retry' }), button(`drop-${id}`, t('admin.drop'), () => drop(id), { class: 'button danger', 'data-testid': 'letter-drop' }))),
    );
  }

  async function show(id) {
    const { key, cause, event, schema_id: schema, bytes, actions } = await api.deadLetter(id);
    openDialog(
      id,
      [
        h('p', null, cause),
        h('dl', { class: 'facts' }, [['key', key], ['schema', schema ?? '–']].map(([name, value]) => h('div', null, h('dt', null, t(`admin.col_${name}`)), h('dd', null, h('bdi', null, value))))),
        h('h3', null, t('admin.record')),
        h('pre', { class: 'mono' }, event ? JSON.stringify(event, null, 2) : bytes),
        actions.length > 0 && [h('h3', null, t('admin.audit')), h('ul', null, actions.map(({ at, operator, outcome, cause: why }) => h('li', null, `${date(at)} · ${operator} · ${outcome}${why ? ` · ${why}` : ''}`)))],
      ],
      { wide: true },
    );
  }

  /** A dry run says what would come of it, and changes nothing. */
  async function retry(id, dry = false) {
    if (!dry && !(await confirmed(t('admin.retry'), t('admin.sure_retry', { id }), t('admin.retry')))) return;
    await act(async () => {
      const { cause } = await api.retryLetter(id, dry);
      toast(cause ? `${t('admin.still')} ${cause}` : t(dry ? 'admin.would_apply' : 'admin.applied'), { kind: cause ? 'bad' : 'good' });
      await refresh();
    });
  }

  async function drop(id) {
    if (await confirmed(t('admin.drop'), t('admin.drop_sure', { id }), t('admin.drop'))) await act(() => api.dropLetter(id).then(refresh));
  }

  return { element, refresh };
}
