// What one does with the player by hand: buttons over the picture, keys, and the volume that is remembered.

import { h, icon, iconButton, setIcon } from './dom.js';
import { t } from './i18n.js';
import { local } from './storage.js';

const HIDE_MS = 2_500;
const STEP_SECONDS = 5;
const STEP_VOLUME = 0.05;
const EDGE_SLACK_SECONDS = 4;
// A window shorter than this is the live edge itself; seeking in it would be a fidget.
const DVR_SECONDS = 30;
const MAX_LATENCY_SECONDS = 3600;

export class Controls {
  #video;
  #source;
  #theatre;
  #stage = null;
  #hiding = 0;
  /** Whether the viewer wants it to play; a source that is loaded anew pauses the video, but not this. */
  wanted = true;
  #play = iconButton('pause', t('player.pause'), { onclick: () => this.toggle() });
  #mute = iconButton('muted', t('player.unmute'), { onclick: () => this.mute() });
  #volume = h('input', { type: 'range', class: 'volume', min: 0, max: 1, step: 'any', 'aria-label': t('player.volume') });
  #edge = h('button', { type: 'button', class: 'edge', 'data-testid': 'live-edge', onclick: () => this.toEdge() });
  #latency = h('span', { class: 'latency', 'data-testid': 'latency', title: t('player.latency'), hidden: true });
  #seek = h('input', { type: 'range', class: 'seek', step: 'any', hidden: true, 'aria-label': t('player.seek') });
  #full = iconButton('full', t('player.full'), { onclick: () => this.full() });
  #unmute = h('button', { type: 'button', class: 'unmute', hidden: true, 'data-testid': 'unmute', onclick: () => this.mute() }, icon('muted'), t('player.unmute'));

  constructor(video, source, theatre) {
    this.#video = video;
    this.#source = source;
    this.#theatre = theatre;
    const pip = iconButton('pip', t('player.pip'), { onclick: () => this.pip(), hidden: !document.pictureInPictureEnabled });
    const wide = theatre && iconButton('theatre', t('player.theatre'), { class: 'icon-button theatre-button', onclick: theatre });
    this.element = h(
      'div',
      { class: 'controls' },
      this.#unmute,
      h(
        'div',
        { class: 'bar' },
        this.#seek,
        h('div', { class: 'buttons' }, this.#play, this.#mute, this.#volume, this.#edge, this.#latency, h('span', { class: 'spacer' }), pip, wide, this.#full),
      ),
    );
    const { volume = 1 } = local.get('volume') ?? {};
    video.volume = volume;
    this.#volume.addEventListener('input', () => this.#setVolume(Number(this.#volume.value)));
    this.#seek.addEventListener('input', () => (video.currentTime = Number(this.#seek.value)));
    for (const type of ['play', 'pause', 'volumechange', 'timeupdate', 'emptied']) video.addEventListener(type, () => this.#refresh());
    video.addEventListener('play', () => (this.wanted = true));
    video.addEventListener('pause', () => (this.wanted = false));
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
    this.#source.toEdge();
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

  #setVolume(volume) {
    this.#video.volume = Math.min(1, Math.max(0, volume));
    this.#video.muted = this.#video.volume === 0;
    this.#remember();
  }

  #remember() {
    local.set('volume', { volume: this.#video.volume, muted: this.#video.muted });
  }

  #seekBy(seconds) {
    const { seekable } = this.#video;
    if (seekable.length === 0) return;
    const wished = this.#video.currentTime + seconds;
    if (wished >= seekable.end(seekable.length - 1) - EDGE_SLACK_SECONDS) this.#source.toEdge();
    else this.#video.currentTime = Math.max(seekable.start(0), wished);
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
      t: () => this.#theatre?.(),
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
    const { paused, muted, volume, seekable, currentTime } = this.#video;
    label(this.#play, paused ? 'play' : 'pause', t(paused ? 'player.play' : 'player.pause'));
    label(this.#mute, muted || volume === 0 ? 'muted' : 'volume', t(muted ? 'player.unmute' : 'player.mute'));
    label(this.#full, document.fullscreenElement ? 'unfull' : 'full', t('player.full'));
    this.#volume.value = muted ? 0 : volume;
    this.#unmute.hidden = !muted || paused;
    const late = paused || this.#source.behind > this.#source.aim + EDGE_SLACK_SECONDS;
    if (this.#edge.dataset.late !== String(late)) {
      this.#edge.dataset.late = late;
      this.#edge.textContent = t(late ? 'player.to_edge' : 'live');
    }
    const { latency } = this.#source;
    // A clock that is wrong tells nonsense, which is better not told.
    this.#latency.hidden = paused || latency === null || latency < 0 || latency > MAX_LATENCY_SECONDS;
    const told = t('player.seconds', { seconds: latency?.toFixed(1) });
    if (this.#latency.textContent !== told) this.#latency.textContent = told;
    const [start, end] = seekable.length ? [seekable.start(0), seekable.end(seekable.length - 1)] : [0, 0];
    this.#seek.hidden = end - start < DVR_SECONDS;
    if (this.#seek.hidden) return;
    this.#seek.min = start;
    this.#seek.max = end;
    this.#seek.value = currentTime;
  }
}

/** Only what changed is written: this runs several times a second. */
function label(button, image, text) {
  if (button.dataset.icon === image) return;
  button.dataset.icon = image;
  setIcon(button.firstChild, image);
  button.setAttribute('aria-label', text);
  button.title = text;
}
