// The studio's look at the stream itself: what arrives, and what is wrong with it in words.

import { api } from './api.js';
import { h } from './dom.js';
import { knows, number, t } from './i18n.js';

const EVERY_MS = 2_000;

/** The card; it asks while `live(true)` was said last, and is gone otherwise. */
export function healthCard(room) {
  const facts = h('dl', { class: 'facts' });
  const warnings = h('ul', { class: 'warnings', role: 'status', 'data-testid': 'health-warnings' });
  const element = h('section', { class: 'surface health', 'aria-labelledby': 'health-title', 'data-testid': 'health', hidden: true }, h('h2', { id: 'health-title' }, t('health.title')), warnings, facts);
  let timer = 0;

  async function ask() {
    const health = document.hidden ? undefined : await api.health(room).catch(() => null);
    if (health !== undefined) draw(health);
    if (timer) timer = setTimeout(ask, EVERY_MS);
  }

  function draw(health) {
    element.hidden = !health;
    if (!health) return;
    const { video, audio } = health;
    const fact = (name, value) => h('div', null, h('dt', null, t(`health.${name}`)), h('dd', { 'data-fact': name }, value));
    facts.replaceChildren(
      ...[
        video && fact('picture', `${video.width}×${video.height} · ${number(Math.round(video.fps))} fps`),
        video && fact('video_rate', t('health.kbps', { kbps: number(video.kbps) })),
        video && video.key_frame_seconds !== null && fact('key_distance', t('player.seconds', { seconds: video.key_frame_seconds.toFixed(1) })),
        video && fact('codec', video.codec),
        audio && fact('audio_rate', t('health.kbps', { kbps: number(audio.kbps) })),
        fact('late', t('player.seconds', { seconds: (health.behind_ms / 1000).toFixed(1) })),
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
      if (!now) element.hidden = true;
    },
  };
}
