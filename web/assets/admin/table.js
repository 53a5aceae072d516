// What the operator's tables share.

import { h } from '../dom.js';
import { knows, t } from '../i18n.js';

const COUNTS = new Set(['lag', 'age', 'rate', 'letters', 'tries', 'partitions', 'records', 'offsets', 'version', 'id', 'live', 'rebuilt']);

/** Columns by the names of their words. */
export function table(columns, rows) {
  const head = columns.map((name) => h('th', { scope: 'col', class: COUNTS.has(name) && 'count' }, knows(`admin.col_${name}`) ? t(`admin.col_${name}`) : ''));
  return h('div', { class: 'wide-table', tabindex: 0 }, h('table', null, h('thead', null, h('tr', null, head)), h('tbody', null, rows)));
}

/** Puts a fresh table in place of the last one, unless somebody is just pressing something in it: that would go. */
export function redraw(place, ...content) {
  if (place.matches(':active')) return;
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
  const scrolled = place.querySelector('.wide-table')?.scrollLeft ?? 0;
  place.replaceChildren(...content);
  if (scrolled) place.querySelector('.wide-table').scrollLeft = scrolled;
  if (focused) place.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
}

/** A button that keeps the focus when its table is drawn anew. */
export function button(focus, label, onclick, props = {}) {
  return h('button', { type: 'button', class: 'button', 'data-focus': focus, onclick, ...props }, label);
}
