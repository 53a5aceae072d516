// The studio's look at the stream itself: what arrives, how it went lately, and what is wrong with it in words.

import { api } from './api.js';
import { chart } from './chart.js';
import { h } from './dom.js';
import { knows, number, t } from './i18n.js';

const EVERY_MS = 2_000;
/** Five minutes. */
const KEPT = 150;

const seconds = (value) => t('player.seconds', { seconds: value.toFixed(1) });
const kbps = (value) => t('health.kbps', { kbps: number(Math.round(value)) });
const fps = (value) => t('health.fps', { fps: number(Math.round(value)) });

/** What is drawn: of a health, its value, and how it is said. */
const DRAWN = {
  video_rate: [({ video }) => video?.kbps ?? 0, kbps],
  frame_rate: [({ video }) => video?.fps ?? 0, fps],
  key_distance: [({ video }) => video?.key_frame_seconds ?? 0, seconds],
};

/** The card; it asks while `live(true)` was said last, and is gone otherwise. */
export function healthCard(room) {
  const facts = h('dl', { class: 'facts' });
  const warnings = h('ul', { class: 'warnings', 'data-testid': 'health-warnings' });
  const plots = Object.entries(DRAWN).map(([name, [value, format]]) => ({ value, format, ...chart(t(`health.${name}`), { format, time: timeOfDay }) }));
  const charts = h('div', { class: 'charts', 'data-testid': 'health-charts' }, plots.map(({ element }) => element));
  const element = h('section', { class: 'surface health', 'aria-labelledby': 'health-title', 'data-testid': 'health', hidden: true }, h('h2', { id: 'health-title' }, t('health.title')), h('div', { role: 'status' }, warnings), charts, facts);
  let timer = 0;
  let past = [];

  async function ask() {
    const health = document.hidden ? undefined : await api.health(room).catch(() => null);
    if (health !== undefined) draw(health);
    if (timer) timer = setTimeout(ask, EVERY_MS);
  }

  function draw(health) {
    element.hidden = !health;
    if (!health) return;
    past = [...past, { at: Date.now(), health }].slice(-KEPT);
    for (const { value, format, draw: plot } of plots) plot(past.map(({ at, health: then }) => ({ at, value: value(then) })), format(value(health)));
    const { video, audio, dropped, restream } = health;
    const fact = (name, value) => h('div', null, h('dt', null, t(`health.${name}`)), h('dd', { 'data-fact': name }, value));
    facts.replaceChildren(
      ...[
        video && fact('picture', `${video.width}×${video.height}`),
        video && fact('codec', video.codec),
        audio && fact('audio_rate', kbps(audio.kbps)),
        fact('late', seconds(health.behind_ms / 1000)),
        fact('dropped', number(dropped.unusable + dropped.overlapping)),
        restream.length > 0 && fact('restream', restream.map(({ target, state, cause }) => h('div', null, `${target}: ${t(`health.restream_${state}`, { cause })}`))),
      ].filter(Boolean),
    );
    const said = health.warnings.map(({ code, value, text }) => (knows(`health.warn_${code}`) ? t(`health.warn_${code}`, { value }) : text));
    // Read out only when it changes.
    if (warnings.dataset.said === said.join('\n')) return;
    warnings.dataset.said = said.join('\n');
    warnings.replaceChildren(...said.map((text) => h('li', null, text)));
  }

  return {
    element,
    live(now) {
      if (now === Boolean(timer)) return;
      clearTimeout(timer);
      timer = now ? setTimeout(ask, EVERY_MS) : 0;
      if (now) past = [];
      else element.hidden = true;
    },
  };
}

function timeOfDay(at) {
  return new Date(at).toTimeString().slice(0, 8);
}
