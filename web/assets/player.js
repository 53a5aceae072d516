// The player of one channel: what the room says of the broadcast and what the video does become one state — offline,
// loading, live, interrupted or ended — and every fault on the way is tried again until the broadcast is over.

import { Controls } from './controls.js';
import { h, icon } from './dom.js';
import { t } from './i18n.js';
import { Source } from './source.js';

const STALL_SHOWN_MS = 700;
const PLAY_OUT_MS = 8_000;
const WATCH_EVERY_MS = 2_000;
const STUCK_MS = 12_000;

export class Player {
  video = h('video', { id: 'player', playsinline: true, 'aria-label': t('player.video') });
  #state = h('div', { class: 'player-state', 'data-testid': 'player-state', role: 'status' });
  #source = new Source(this.video);
  #live = false;
  /** The id of the broadcast that is shown; later ones are greater. */
  #stream = '';
  #interrupted = false;
  #stalled = true;
  #over = false;
  #started = false;
  #stallTimer = 0;
  #endTimer = 0;
  #movedAt = 0;
  #place = -1;
  #idle;

  /** `theatre` runs when the viewer toggles theatre mode, `chat` when they ask for where one writes. */
  constructor({ theatre = null, chat = null } = {}) {
    this.#idle = h('div', { class: 'player-idle' });
    this.controls = new Controls(this.video, this.#source, { theatre, chat });
    this.element = h('div', { class: 'player' }, this.video, this.#idle, this.#state, this.controls.element);
    this.controls.own(this.element);
    for (const type of ['playing', 'timeupdate']) this.video.addEventListener(type, () => this.#flows());
    for (const type of ['waiting', 'emptied']) this.video.addEventListener(type, () => this.#stalls());
    // Of a broadcast that ended unheard while another has begun, all is played.
    this.video.addEventListener('ended', () => (this.#live ? this.#source.reload() : this.#finish()));
    setInterval(() => this.#watch(), WATCH_EVERY_MS);
    this.#show();
  }

  /** What the room or the directory says: `hls` is where to play from. */
  tell({ live, interrupted, hls, stream }) {
    if (live && (!this.#live || stream > this.#stream)) this.#begin(hls);
    if (live && stream > this.#stream) this.#stream = stream;
    // Who is further behind has more to see.
    if (!live && this.#live) this.#endTimer = setTimeout(() => this.#finish(), PLAY_OUT_MS + Math.max(0, this.#source.behind) * 1000);
    if (this.#interrupted && !interrupted) this.#movedAt = Date.now();
    this.#live = live;
    this.#interrupted = live && interrupted;
    // Nothing is left to play out when it had stalled already.
    if (!live && this.#stalled) this.#finish();
    this.#show();
  }

  /** What to show while there is no broadcast: any element. */
  idle(content) {
    this.#idle.replaceChildren(content);
  }

  #begin(hls) {
    clearTimeout(this.#endTimer);
    this.#over = false;
    this.#stalled = true;
    this.#started = true;
    this.#movedAt = Date.now();
    this.#source.load(hls);
    this.controls.start();
  }

  /** The broadcast is over and so is what was left of it. */
  #finish() {
    clearTimeout(this.#endTimer);
    if (this.#live || this.#over) return;
    this.#over = true;
    this.#source.unload();
    if (document.pictureInPictureElement === this.video) document.exitPictureInPicture();
    this.#show();
  }

  #flows() {
    if (this.video.currentTime === this.#place) return;
    this.#place = this.video.currentTime;
    this.#movedAt = Date.now();
    clearTimeout(this.#stallTimer);
    this.#stallTimer = 0;
    if (!this.#stalled) return;
    this.#stalled = false;
    this.#show();
  }

  // Hiccups shorter than the eye notices are not told.
  #stalls() {
    this.#stallTimer ||= setTimeout(() => {
      this.#stallTimer = 0;
      this.#stalled = true;
      if (!this.#live) this.#finish();
      this.#show();
    }, STALL_SHOWN_MS);
  }

  /** A broadcast that goes on while the picture stands still is loaded anew. */
  #watch() {
    if (!this.#live || this.#interrupted || !this.controls.wanted) this.#movedAt = Date.now();
    if (Date.now() - this.#movedAt < STUCK_MS) return;
    this.#movedAt = Date.now();
    this.#source.reload();
  }

  get #name() {
    if (!this.#started) return 'offline';
    if (this.#over) return 'ended';
    if (this.#interrupted) return 'interrupted';
    return this.#stalled ? 'loading' : 'live';
  }

  #show() {
    const name = this.#name;
    this.element.dataset.state = name;
    this.element.dataset.stalled = this.#stalled;
    if (this.#state.dataset.state === name) return;
    this.#state.dataset.state = name;
    const words = { loading: t('player.loading'), interrupted: t('player.interrupted') }[name];
    this.#state.replaceChildren(...(words ? [h('span', { class: 'spinner', 'aria-hidden': 'true' }), h('span', null, words)] : []));
    // States without words are seen from the picture; they still have a name for those who cannot see it.
    if (name === 'ended') this.#state.append(icon('broadcast'), h('span', null, t('player.ended')));
    if (name === 'live') this.#state.append(h('span', { class: 'offscreen' }, t('live')));
  }
}
