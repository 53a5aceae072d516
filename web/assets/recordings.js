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
    const { recordings, next } = await api.recordings(room, { limit: PAGE, before }).catch(() => ({ recordings: [], next: null }));
    if (!before) grid.replaceChildren();
    // What is on air stands above, as itself.
    grid.append(...recordings.filter(({ state }) => state !== 'live').map(card));
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
        picture(thumbnail),
        length && h('span', { class: 'card-length' }, duration(length)),
      ),
      h('div', { class: 'card-lines' }, h('span', { class: 'card-title', dir: 'auto' }, title || t('recordings.untitled', { date: date(at) })), h('time', { class: 'card-name', datetime: at, title: date(at) }, ago(at))),
    ),
  );
}

/** A broadcast that was over before its first thumbnail has none. */
function picture(thumbnail) {
  const image = h('img', { src: thumbnail, alt: '', width: 480, height: 270, loading: 'lazy', decoding: 'async' });
  const none = () => {
    image.className = 'placeholder';
    image.src = '/assets/logo.svg';
  };
  image.addEventListener('error', none, { once: true });
  return image;
}
