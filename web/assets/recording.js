// `/recordings/{stream}`: a broadcast that is over, and what was said meanwhile, in step with the picture.

import { api, explain } from './api.js';
import { avatar } from './avatar.js';
import { Controls } from './controls.js';
import { h, icon, iconButton } from './dom.js';
import { showHeader } from './header.js';
import { date, duration, t } from './i18n.js';
import { called } from './names.js';
import { Replay } from './replay.js';
import { Source } from './source.js';
import { toggleTheatre } from './theatre.js';
import { Timeline } from './timeline.js';
import { copy } from './toast.js';

const STEP_MS = 250;
const AGAIN_MS = 5_000;

const stream = decodeURIComponent(location.pathname.split('/')[2]);
const main = document.querySelector('#main');

showHeader();
try {
  show(await api.recording(stream));
} catch (fault) {
  const missing = fault.status === 404;
  document.title = 'Lemonair';
  main.replaceChildren(
    h('div', { class: 'empty' }, h('img', { src: '/assets/logo.svg', alt: '', width: 88, height: 88 }), h('h1', null, missing ? t('recordings.missing') : explain(fault)), h('a', { class: 'button primary', href: '/' }, t('watch.home'))),
  );
}

function show(recording) {
  const { title, room, started_at: at, duration_ms: length } = recording;
  const name = h('bdi', { class: 'owner-name' }, room);
  api.channel(room).then((channel) => (name.textContent = called(channel)), () => null);
  const told = title || t('recordings.untitled', { date: date(at) });
  document.title = `${told} · Lemonair`;
  const video = h('video', { id: 'player', playsinline: true, 'aria-label': t('player.recorded') });
  const info = h(
    'section',
    { class: 'watch-info' },
    h('a', { class: 'owner', href: `/${encodeURIComponent(room)}` }, avatar(room), h('div', { class: 'owner-lines' }, name, h('span', { class: 'owner-followers' }, t('recordings.to_channel')))),
    h('div', { class: 'watch-lines' }, h('h1', { class: 'watch-title', dir: 'auto' }, told), h('p', { class: 'watch-meta' }, length && h('span', { class: 'meta' }, icon('clock'), duration(length)), h('time', { datetime: at }, date(at)))),
    h('div', { class: 'watch-actions' }, iconButton('link', t('watch.share'), { class: 'icon-button share', onclick: () => copy(location.href, t('watch.shared')) })),
  );
  const { timeline, follow } = replayed(room);
  main.replaceChildren(
    h('div', { class: 'stage' }, stage(recording, video, follow), info),
    h('aside', { class: 'panel', 'aria-label': t('recordings.chat') }, h('h2', { class: 'panel-title' }, t('recordings.chat')), h('section', { class: 'chat' }, timeline.element)),
  );
}

/** The picture with its controls. `follow(ms)` is told where it stands. */
function stage({ playlist, started_at: begun }, video, follow) {
  const source = new Source(video, { recorded: true });
  const controls = new Controls(video, source, { theatre: toggleTheatre, recorded: true });
  const state = h('div', { class: 'player-state', 'data-testid': 'player-state', role: 'status' });
  const element = h('div', { class: 'player' }, video, state, controls.element);
  const tell = (name) => {
    if (element.dataset.state === name) return;
    element.dataset.state = state.dataset.state = name;
    state.replaceChildren(...(name === 'loading' ? [h('span', { class: 'spinner', 'aria-hidden': 'true' }), h('span', null, t('player.loading'))] : []));
  };
  tell('loading');
  for (const type of ['playing', 'timeupdate', 'canplay']) video.addEventListener(type, () => video.readyState > 2 && tell('recorded'));
  video.addEventListener('waiting', () => tell('loading'));
  // The playlist's dates where there are any, since a line that dropped leaves no time in the recording.
  setInterval(() => follow(source.date ?? Date.parse(begun) + video.currentTime * 1000), STEP_MS);
  controls.own(element);
  controls.start();
  source.load(playlist);
  return element;
}

function replayed(room) {
  const timeline = new Timeline((id) => api.message(room, id), { over: true });
  const replay = new Replay((since, limit) => api.recordingEvents(stream, { since, limit }));
  let busy = false;

  async function follow(place) {
    if (busy) return;
    busy = true;
    try {
      const { anew, events } = await replay.at(place);
      if (anew) timeline.clear();
      for (const event of events) timeline.add(event);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    } finally {
      busy = false;
    }
  }

  return { timeline, follow };
}
