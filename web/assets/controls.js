// What one does with the player by hand: buttons over the picture, keys, and the volume that is remembered.

import { openDialog } from './dialog.js';
import { h, icon, iconButton, setIcon } from './dom.js';
import { duration, t } from './i18n.js';
import { local } from './storage.js';

const HIDE_MS = 2_500;
const STEP_SECONDS = 5;
const LEAP_SECONDS = 30;
const STEP_VOLUME = 0.05;
const EDGE_SLACK_SECONDS = 4;
// A window shorter than this is the live edge itself; seeking in it would be a fidget.
const DVR_SECONDS = 30;
const MAX_LATENCY_SECONDS = 12 * 3600;
/** What the help lists, in its order. */
const KEYS = [
  ['k', 'play'],
  ['m', 'mute'],
  ['↑ ↓', 'volume'],
  ['← →', 'step'],
  ['j l', 'leap'],
  ['0', 'edge'],
  ['f', 'full'],
  ['t', 'theatre'],
  ['i', 'pip'],
  ['c', 'chat'],
  ['?', 'help'],
];

export class Controls {
  #video;
  #source;
  #theatre;
  #chat;
  #recorded;
  #stage = null;
  #hiding = 0;
  /** Whether the viewer wants it to play; a source that is loaded anew pauses the video, but not this. */
  wanted = true;
  #play = iconButton('pause', t('player.pause'), { onclick: () => this.toggle() });
  #mute = iconButton('muted', t('player.unmute'), { onclick: () => this.mute() });
  #volume = h('input', { type: 'range', class: 'volume', min: 0, max: 1, step: 'any', 'aria-label': t('player.volume') });
  #edge = h('button', { type: 'button', class: 'edge', 'data-testid': 'live-edge', onclick: () => this.toEdge() });
  #latency = h('span', { class: 'latency', 'data-testid': 'latency', hidden: true });
  #seek = h('input', { type: 'range', class: 'seek', 'data-testid': 'seek', step: 'any', hidden: true, 'aria-label': t('player.seek') });
  #quality = h('select', { class: 'quality', 'data-testid': 'quality', 'aria-label': t('player.quality'), hidden: true });
  #full = iconButton('full', t('player.full'), { onclick: () => this.full() });
  #unmute = h('button', { type: 'button', class: 'unmute', hidden: true, 'data-testid': 'unmute', onclick: () => this.mute() }, icon('muted'), t('player.unmute'));

  /**
   * `theatre` and `chat` run when the viewer asks for them; where there are none, neither are their keys. `recorded`:
   * what is over has no live edge.
   */
  constructor(video, source, { theatre = null, chat = null, recorded = false } = {}) {
    this.#video = video;
    this.#source = source;
    this.#theatre = theatre;
    this.#chat = chat;
    this.#recorded = recorded;
    this.#edge.hidden = recorded;
    this.#latency.title = recorded ? '' : t('player.latency');
    const pip = iconButton('pip', t('player.pip'), { onclick: () => this.pip(), hidden: !document.pictureInPictureEnabled });
    const wide = theatre && iconButton('theatre', t('player.theatre'), { class: 'icon-button theatre-button', onclick: theatre });
    const help = iconButton('keys', t('player.keys'), { class: 'icon-button keys-button', 'data-testid': 'keys-open', onclick: () => this.help() });
    this.element = h(
      'div',
      { class: 'controls' },
      this.#unmute,
      h(
        'div',
        { class: 'bar' },
        this.#seek,
        h('div', { class: 'buttons' }, this.#play, this.#mute, this.#volume, this.#edge, this.#latency, h('span', { class: 'spacer' }), this.#quality, help, pip, wide, this.#full),
      ),
    );
    const { volume = 1 } = local.get('volume') ?? {};
    video.volume = volume;
    this.#volume.addEventListener('input', () => this.#setVolume(Number(this.#volume.value)));
    this.#seek.addEventListener('input', () => this.#seekTo(Number(this.#seek.value)));
    this.#quality.addEventListener('change', () => (source.level = Number(this.#quality.value)));
    for (const type of ['play', 'pause', 'volumechange', 'timeupdate', 'durationchange', 'emptied']) video.addEventListener(type, () => this.#refresh());
    video.addEventListener('play', () => (this.wanted = true));
    // A picture that came to its end was not paused by the viewer: what is live may go on as another broadcast.
    video.addEventListener('pause', () => (this.wanted = video.ended && !recorded));
    video.addEventListener('canplay', () => this.wanted && video.paused && this.#begin());
    document.addEventListener('fullscreenchange', () => this.#refresh());
    document.addEventListener('keydown', (event) => this.#key(event));
    this.#refresh();
  }

  /** `stage` is what goes full screen, and where the pointer wakes the controls. */
  own(stage) {
    this.#stage = stage;
    for (const type of ['pointermove', 'pointerdown', 'focusin']) stage.addEventListener(type, () => this.#wake());
    stage.addEventListener('pointerleave', () => this.#sleep());
    this.#video.addEventListener('click', (event) => {
      // A finger first asks for the controls; a mouse has them already by moving.
      if (event.pointerType !== 'touch') this.toggle();
    });
    this.#video.addEventListener('dblclick', () => this.full());
  }

  /** A broadcast begins: it plays as soon as there is something to play. */
  start() {
    this.#video.muted = local.get('volume')?.muted ?? true;
    this.wanted = true;
    this.#refresh();
  }

  /** With sound if the viewer had it and the browser lets it, else without, which is always let. */
  async #begin() {
    try {
      await this.#video.play();
    } catch (fault) {
      if (fault.name !== 'NotAllowedError') return;
      this.#video.muted = true;
      this.#video.play().catch(() => null);
    }
  }

  toggle() {
    if (!this.#video.paused) this.#video.pause();
    else this.#begin();
  }

  mute() {
    if (this.#video.muted && this.#video.volume === 0) this.#video.volume = 0.5;
    this.#video.muted = !this.#video.muted;
    this.#remember();
  }

  toEdge() {
    if (this.#recorded) this.#seekTo(0);
    else this.#source.toEdge();
    if (this.#video.paused) this.toggle();
  }

  full() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (this.#stage.requestFullscreen) this.#stage.requestFullscreen();
    // Phones of one maker give full screen to videos alone.
    else this.#video.webkitEnterFullscreen?.();
  }

  pip() {
    if (document.pictureInPictureElement) document.exitPictureInPicture();
    else this.#video.requestPictureInPicture().catch(() => null);
  }

  /** Which keys there are. */
  help() {
    const here = { theatre: this.#theatre, chat: this.#chat, edge: !this.#recorded };
    const lines = KEYS.filter(([, what]) => here[what] !== null && here[what] !== false);
    openDialog(
      t('player.keys'),
      h('dl', { class: 'keys', 'data-testid': 'keys' }, lines.map(([keys, what]) => h('div', null, h('dt', null, keys.split(' ').map((key) => h('kbd', null, key))), h('dd', null, t(`key_for.${what}`))))),
    );
  }

  #setVolume(volume) {
    this.#video.volume = Math.min(1, Math.max(0, volume));
    this.#video.muted = this.#video.volume === 0;
    this.#remember();
  }

  #remember() {
    local.set('volume', { volume: this.#video.volume, muted: this.#video.muted });
  }

  #seekTo(place) {
    this.#video.currentTime = place;
    this.#refresh();
  }

  #seekBy(seconds) {
    const { seekable } = this.#video;
    if (seekable.length === 0) return;
    const wished = this.#video.currentTime + seconds;
    const end = seekable.end(seekable.length - 1);
    if (!this.#recorded && wished >= end - EDGE_SLACK_SECONDS) this.#source.toEdge();
    else this.#seekTo(Math.min(end, Math.max(seekable.start(0), wished)));
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
    const at = event.target;
    if (at.closest('input:not([type=range]), textarea, select, [role=tablist], [role=log], [popover]')) return;
    // Space on a button presses that button; arrows on a slider move that slider.
    if (event.key === ' ' && at.closest('button, a, summary')) return;
    if (event.key.startsWith('Arrow') && at.closest('input')) return;
    const act = {
      ' ': () => this.toggle(),
      k: () => this.toggle(),
      m: () => this.mute(),
      f: () => this.full(),
      i: () => this.pip(),
      t: this.#theatre,
      c: this.#chat,
      0: () => this.toEdge(),
      j: () => this.#seekBy(-LEAP_SECONDS),
      l: () => this.#seekBy(LEAP_SECONDS),
      '?': () => this.help(),
      ArrowLeft: () => this.#seekBy(-STEP_SECONDS),
      ArrowRight: () => this.#seekBy(STEP_SECONDS),
      ArrowUp: () => this.#setVolume(this.#video.volume + STEP_VOLUME),
      ArrowDown: () => this.#setVolume(this.#video.volume - STEP_VOLUME),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
    this.#wake();
  }

  #wake() {
    this.#stage.dataset.awake = '';
    clearTimeout(this.#hiding);
    this.#hiding = setTimeout(() => this.#sleep(), HIDE_MS);
  }

  #sleep() {
    clearTimeout(this.#hiding);
    delete this.#stage.dataset.awake;
  }

  #refresh() {
    const { paused, muted, volume } = this.#video;
    label(this.#play, paused ? 'play' : 'pause', t(paused ? 'player.play' : 'player.pause'));
    label(this.#mute, muted || volume === 0 ? 'muted' : 'volume', t(muted ? 'player.unmute' : 'player.mute'));
    label(this.#full, document.fullscreenElement ? 'unfull' : 'full', t('player.full'));
    slide(this.#volume, 0, 1, muted ? 0 : volume);
    this.#unmute.hidden = !muted || paused;
    this.#drawPlace();
    this.#drawQuality();
  }

  /** Where in the broadcast the picture is, and how far behind the streamer. */
  #drawPlace() {
    const { paused, seekable, currentTime } = this.#video;
    const late = paused || this.#source.behind > this.#source.aim + EDGE_SLACK_SECONDS;
    if (this.#edge.dataset.late !== String(late)) {
      this.#edge.dataset.late = late;
      this.#edge.textContent = t(late ? 'player.to_edge' : 'live');
    }
    const [start, end] = seekable.length ? [seekable.start(0), seekable.end(seekable.length - 1)] : [0, 0];
    const { latency } = this.#source;
    let told = null;
    if (this.#recorded) told = end > 0 ? t('player.of', { place: duration(currentTime * 1000), length: duration(end * 1000) }) : null;
    else if (latency > 60 && latency < MAX_LATENCY_SECONDS) told = `−${duration(latency * 1000)}`;
    // A clock that is wrong tells nonsense, which is better not told.
    else if (latency !== null && latency >= 0 && latency <= 60 && !paused) told = t('player.seconds', { seconds: latency.toFixed(1) });
    this.#latency.hidden = told === null;
    if (this.#latency.textContent !== told) this.#latency.textContent = told;
    this.#seek.hidden = this.#recorded ? end <= 0 : end - start < DVR_SECONDS;
    if (this.#seek.hidden) return;
    slide(this.#seek, start, end, currentTime);
    this.#seek.setAttribute('aria-valuetext', this.#recorded ? told : t('player.behind', { time: duration((end - currentTime) * 1000) }));
  }

  #drawQuality() {
    const { levels, level, height } = this.#source;
    this.#quality.hidden = levels.length < 2;
    const drawn = JSON.stringify([levels, level, height]);
    // Redrawn under a hand that chooses, it would close.
    if (this.#quality.hidden || this.#quality.dataset.drawn === drawn || document.activeElement === this.#quality) return;
    this.#quality.dataset.drawn = drawn;
    const auto = level === -1 && height ? t('player.auto_of', { height }) : t('player.auto');
    const option = (value, text) => h('option', { value, selected: value === level }, text);
    this.#quality.replaceChildren(option(-1, auto), ...levels.map(({ level: value, height: lines, bitrate }) => option(value, lines ? `${lines}p` : t('health.kbps', { kbps: Math.round(bitrate / 1000) }))));
  }
}

/** `--at` lets the stylesheet colour what lies before the thumb. */
function slide(input, min, max, value) {
  input.min = min;
  input.max = max;
  input.value = value;
  input.style.setProperty('--at', `${max > min ? ((value - min) / (max - min)) * 100 : 0}%`);
}

/** Only what changed is written: this runs several times a second. */
function label(button, image, text) {
  if (button.dataset.icon === image) return;
  button.dataset.icon = image;
  setIcon(button.firstChild, image);
  button.setAttribute('aria-label', text);
  button.title = text;
}
