// What operators did, newest first.

import { api } from '../api.js';
import { h } from '../dom.js';
import { date, knows, t } from '../i18n.js';
import { act } from '../toast.js';
import { redraw, table } from './table.js';

const SHOWN = 50;

export function auditDesk() {
  const element = h('div', { 'data-testid': 'operator-log' });
  /** Older pages that were asked for; while there are any, nothing is read anew. */
  let older = null;

  async function refresh() {
    if (older) return;
    const page = await api.operatorLog({ limit: SHOWN });
    draw(page.audit, page.next);
  }

  function draw(rows, next) {
    const more = async () => {
      const page = await api.operatorLog({ limit: SHOWN, before: next });
      older = [...rows, ...page.audit];
      draw(older, page.next);
    };
    redraw(
      element,
      rows.length ? table(['when', 'operator', 'what', 'target'], rows.map(line)) : h('p', { class: 'nothing' }, t('admin.no_audit')),
      next ? h('button', { type: 'button', class: 'button', onclick: () => act(more) }, t('more')) : '',
    );
  }

  return { element, refresh };
}

function line({ at, operator_name: who, action, target, target_name: name }) {
  return h('tr', { 'data-testid': 'operator-act', 'data-action': action }, h('td', null, date(at)), h('td', null, h('bdi', null, who)), h('td', null, knows(`admin.act_${action}`) ? t(`admin.act_${action}`) : action), h('td', null, h('bdi', { class: name ? null : 'mono' }, name ?? target)));
}
