// The registry: what it has of each record, and what a new version must be. Read when the tab is shown.

import { api } from '../api.js';
import { openDialog } from '../dialog.js';
import { h } from '../dom.js';
import { t } from '../i18n.js';
import { table } from './table.js';

export function schemasDesk() {
  const element = h('div', { 'data-testid': 'schemas' }, h('p', { class: 'nothing' }, t('admin.reading')));
  let known = false;

  async function refresh() {
    if (known) return;
    const { subjects } = await api.schemas();
    known = true;
    element.replaceChildren(table(['subject', 'version', 'id', 'compatibility'], subjects.map(row)));
  }

  function row({ name, versions, id, compatibility, schema }) {
    const show = () => openDialog(name, h('pre', { class: 'mono' }, JSON.stringify(JSON.parse(schema), null, 2)), { wide: true });
    return h(
      'tr',
      { 'data-testid': 'subject' },
      h('th', { scope: 'row', class: 'subject' }, h('button', { type: 'button', class: 'link mono', onclick: show }, name)),
      h('td', { class: 'count' }, versions.at(-1)),
      h('td', { class: 'count' }, id),
      h('td', { class: compatibility !== 'BACKWARD_TRANSITIVE' && 'behind' }, compatibility),
    );
  }

  return { element, refresh };
}
