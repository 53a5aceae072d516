// The studio's way to go live: the server's address, the stream key, and what to do with them.

import { api } from './api.js';
import { confirmed } from './dialog.js';
import { h, icon, iconButton, setIcon } from './dom.js';
import { date, t } from './i18n.js';
import { keyList } from './keylist.js';
import { session } from './session.js';
import { act, copy } from './toast.js';

/** The card, open until the first broadcast. A new key is in this page's memory only, and gone when it is left. */
export async function keyCard(room) {
  const [known, past] = await Promise.all([api.streamKey(room).catch(() => null), api.streams(room, { limit: 1 }).catch(() => null)]);
  let server = known?.server ?? null;
  let prefix = known?.prefix ?? null;
  let created = known?.created_at ?? null;
  let key = null;
  let live = false;
  /** On air before. */
  let been = past === null || past.streams.length > 0;

  const body = h('div', { class: 'steps' });
  const summary = h('summary', null, h('h2', null, t('key.title')));
  const element = h('details', { class: 'surface key-card' }, summary, body);
  element.open = prefix === null || !been;
  draw();

  function draw() {
    const has = prefix !== null || key !== null;
    const steps = [
      ['account', true, h('p', { class: 'hint' }, t('key.account_is', { name: session.account.name }))],
      ['key', has, keyFields()],
      ['obs', has && (been || live), instructions()],
      [live ? 'live' : 'start', live, h('p', { class: 'waiting' }, live ? icon('check') : h('span', { class: 'spinner', 'aria-hidden': 'true' }), t(live ? 'key.is_live' : 'key.waiting'))],
    ];
    const next = steps.findIndex(([, done]) => !done);
    body.replaceChildren(...steps.map(([name, done, content], place) => step(place + 1, t(`key.step_${name}`), done ? 'done' : place === next ? 'current' : 'ahead', content)));
  }

  function keyFields() {
    if (prefix === null && key === null) {
      return [h('p', null, t('key.why')), h('button', { type: 'button', class: 'button primary', 'data-testid': 'stream-key-create', onclick: create }, t('key.create'))];
    }
    const secret = h('input', {
      id: 'stream-key',
      'data-testid': 'stream-key',
      class: 'mono',
      type: 'password',
      readonly: true,
      autocomplete: 'off',
      value: key ?? `${prefix}${'•'.repeat(16)}`,
    });
    if (key === null) secret.type = 'text';
    const eye = iconButton('eye', t('key.show'), {
      onclick: () => {
        const shown = secret.type === 'text';
        secret.type = shown ? 'password' : 'text';
        setIcon(eye.firstChild, shown ? 'eye' : 'eye-off');
      },
    });
    return [
      server && line(t('key.server'), h('input', { id: 'stream-server', 'data-testid': 'stream-server', class: 'mono', readonly: true, value: server }), iconButton('copy', t('key.copy_server'), { onclick: () => copy(server, t('copied')) })),
      line(t('key.key'), secret, key && eye, key && iconButton('copy', t('key.copy_key'), { 'data-testid': 'stream-key-copy', onclick: () => copy(key, t('key.copied')) })),
      h(
        'p',
        { class: 'hint' },
        key ? t('key.once') : t('key.created', { at: created ? date(created) : '–' }),
        ' ',
        h('button', { type: 'button', class: 'link', 'data-testid': 'stream-key-rotate', onclick: rotate }, t('key.rotate')),
      ),
      keyList(room, show, forget),
    ];
  }

  function instructions() {
    const command = (shown) => `ffmpeg -re -i video.mp4 -c:v libx264 -preset veryfast -g 60 -c:a aac -f flv ${server ?? 'rtmp://…'}/${shown}`;
    return [
      h('ol', { class: 'obs' }, ['a', 'b', 'c'].map((part) => h('li', null, t(`key.obs_${part}`)))),
      h('p', { class: 'hint' }, t('key.ffmpeg')),
      h(
        'div',
        { class: 'command' },
        h('code', null, command(t('key.placeholder'))),
        iconButton('copy', t('key.copy_command'), { onclick: () => copy(command(key ?? t('key.placeholder')), t('copied')) }),
      ),
    ];
  }

  function show(answer) {
    ({ key, server, prefix } = answer);
    created = new Date().toISOString();
    draw();
    element.querySelector('.more-keys').open = answer.label !== '';
  }

  function forget() {
    key = null;
    prefix = null;
    draw();
  }

  function create() {
    return act(async () => show(await api.newStreamKey(room)));
  }

  async function rotate() {
    if (await confirmed(t('key.rotate_title'), t('key.rotate_ask'), t('key.rotate_yes'))) await create();
  }

  return {
    element,
    live(now) {
      if (now === live) return;
      live = now;
      been ||= live;
      draw();
      // On air the picture matters more than how to get there.
      if (live) element.open = false;
    },
  };
}

/** `state` is done, current or ahead. */
function step(place, title, state, content) {
  const mark = h('span', { class: 'step-place' }, state === 'done' ? [icon('check'), h('span', { class: 'offscreen' }, t('key.done'))] : place);
  return h('section', { class: 'step', 'data-testid': 'step', 'data-state': state }, mark, h('div', { class: 'step-body' }, h('h3', null, title), content));
}

function line(label, input, ...buttons) {
  return h('div', { class: 'field' }, h('label', { for: input.id }, label), h('div', { class: 'with-buttons' }, input, buttons));
}
