// A channel's past broadcasts that can be watched, newest first.

import { api } from './api.js';
import { h } from './dom.js';
import { ago, date, duration, t } from './i18n.js';

const PAGE = 12;

export function recordingList(room) {
  const grid = h('ol', { class: 'recordings-grid' });
  const more = h('button', { type: 'button', class: 'button more', hidden: true, onclick: () => load(grid.dataset.next) }, t('more'));
  const element = h('section', { class: 'recordings', 'aria-labelledby': 'recordings-title', hidden: true }, h('h2', { id: 'recordings-title' }, t('recordings.title')), grid, more);

  /** Where none are kept, nothing is said of them. */
  async function load(before) {
    const { items, next } = await api.recordings(room, { limit: PAGE, before }).catch(() => ({ items: [], next: null }));
    if (!before) grid.replaceChildren();
    grid.append(...items.map(card));
    grid.dataset.next = next ?? '';
    more.hidden = !next;
    element.hidden = grid.childElementCount === 0;
  }

  return { element, load: () => load(null) };
}

function card({ stream, title, started_at: at, duration_ms: length, thumbnail }) {
  return h(
    'li',
    null,
    h(
      'a',
      { class: 'card', href: `/recordings/${encodeURIComponent(stream)}`, 'data-testid': 'recording-card', 'data-stream': stream },
      h(
        'div',
        { class: 'thumbnail' },
        thumbnail ? h('img', { src: thumbnail, alt: '', width: 480, height: 270, loading: 'lazy', decoding: 'async' }) : h('img', { class: 'placeholder', src: '/assets/logo.svg', alt: '', width: 480, height: 270 }),
        h('span', { class: 'card-length' }, duration(length)),
      ),
      h('div', { class: 'card-lines' }, h('span', { class: 'card-title', dir: 'auto' }, title || t('recordings.untitled', { date: date(at) })), h('time', { class: 'card-name', datetime: at, title: date(at) }, ago(at))),
    ),
  );
}
