// Brings a playlist into the <video>: hls.js where there are media source extensions, else the browser's own player.
// It does not know whether the broadcast is live; it tries until it is told to unload.

import { local } from './storage.js';

// Pictures other than the publisher's own reach back no further than the playlist's window; this far back one stays with it.
const BACK_SECONDS = 15;
const RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 10_000;
const RETRY = { maxNumRetry: 120, retryDelayMs: RETRY_MS, maxRetryDelayMs: RETRY_MS };
const PATIENT = { maxTimeToFirstByteMs: 40_000, maxLoadTimeMs: 60_000, timeoutRetry: RETRY, errorRetry: RETRY };
const LIBRARY = '/assets/vendor/hls/hls.light.min.mjs';
const NATIVE = 'application/vnd.apple.mpegurl';

export class Source {
  #video;
  #url = null;
  #hls = null;
  #attempts = 0;
  #timer = 0;
  #mended = 0;
  #library = null;
  #recorded;

  /** `recorded`: of what is over, from its beginning. */
  constructor(video, { recorded = false } = {}) {
    this.#video = video;
    this.#recorded = recorded;
    video.addEventListener('error', () => this.#url && !this.#hls && this.#again());
    video.addEventListener('timeupdate', () => {
      this.#attempts = 0;
      this.#hold();
    });
  }

  async load(url) {
    this.#url = url;
    clearTimeout(this.#timer);
    // Loaded when there is something to play, so that pages without a broadcast stay light.
    this.#library ??= import(LIBRARY).then(({ default: Hls }) => Hls);
    let Hls;
    try {
      Hls = await this.#library;
    } catch {
      this.#library = null;
      this.#again();
      return;
    }
    if (this.#url !== url) return;
    this.#close();
    if (Hls.isSupported()) this.#open(Hls);
    else if (this.#video.canPlayType(NATIVE)) this.#video.src = url;
  }

  unload() {
    this.#url = null;
    clearTimeout(this.#timer);
    this.#close();
    this.#video.removeAttribute('src');
    this.#video.load();
  }

  reload() {
    if (this.#url) this.load(this.#url);
  }

  /** Seconds behind the live edge; 0 while unknown. */
  get behind() {
    if (this.#hls) return this.#hls.latency;
    const { seekable } = this.#video;
    return seekable.length ? seekable.end(seekable.length - 1) - this.#video.currentTime : 0;
  }

  /** How far behind the edge playback means to be. */
  get aim() {
    return this.#hls?.targetLatency ?? 6;
  }

  /** When what is shown reached the server, in milliseconds since 1970; null while unknown. */
  get date() {
    const start = this.#video.getStartDate?.().getTime();
    return (this.#hls ? this.#hls.playingDate?.getTime() : start + this.#video.currentTime * 1000) || null;
  }

  /** Seconds since then, by this machine's clock. */
  get latency() {
    return this.date && (Date.now() - this.date) / 1000;
  }

  /** The pictures that one may choose from, best first; a browser's own player chooses by itself. */
  get levels() {
    const levels = (this.#hls?.levels ?? []).map(({ height, bitrate }, level) => ({ level, height, bitrate }));
    return levels.sort((a, b) => b.bitrate - a.bitrate);
  }

  /** Which of them; -1 for whichever the line can carry. */
  get level() {
    return this.#hls && !this.#hls.autoLevelEnabled ? this.#hls.loadLevel : -1;
  }

  set level(level) {
    if (!this.#hls) return;
    this.#hls.nextLevel = level;
    local.set('quality', this.#hls.levels[level]?.height ?? null);
  }

  /** The height of the picture that is shown. */
  get height() {
    return this.#hls?.levels[this.#hls.currentLevel]?.height ?? null;
  }

  toEdge() {
    const { seekable } = this.#video;
    if (seekable.length === 0) return;
    this.#video.currentTime = this.#hls?.liveSyncPosition ?? seekable.end(seekable.length - 1);
  }

  #open(Hls) {
    const hls = new Hls({
      // Fragmented MP4 passes through unchanged, which is too little work to be worth a worker.
      enableWorker: false,
      lowLatencyMode: true,
      backBufferLength: 60,
      // While the streamer's line is down nothing new comes, for as long as the broadcast waits.
      playlistLoadPolicy: { default: PATIENT },
      // Catches up so slowly that nobody hears it.
      maxLiveSyncPlaybackRate: 1.04,
    });
    this.#hls = hls;
    hls.on(Hls.Events.MANIFEST_PARSED, (_, { levels }) => {
      const wished = levels.findIndex(({ height }) => height === local.get('quality'));
      if (levels.length > 1 && wished >= 0) hls.loadLevel = wished;
    });
    hls.on(Hls.Events.ERROR, (_, { fatal, type }) => {
      if (!fatal || this.#hls !== hls) return;
      // A decoder can be restarted in place once; a second fault so soon needs a new player.
      if (type === Hls.ErrorTypes.MEDIA_ERROR && Date.now() - this.#mended > LONGEST_RETRY_MS) {
        this.#mended = Date.now();
        hls.recoverMediaError();
      } else this.#again();
    });
    hls.on(Hls.Events.LEVEL_LOADED, (_, { details }) => {
      // A playlist that has ended before anything of it was played is that of the broadcast before.
      if (!details.live && !this.#recorded && this.#video.currentTime === 0 && this.#hls === hls) this.#again();
    });
    hls.loadSource(this.#url);
    hls.attachMedia(this.#video);
  }

  /** Keeps whoever went back with the best picture, the publisher's own, and lets the line choose again near the edge. */
  #hold() {
    if (!this.#hls || this.#hls.levels.length < 2) return;
    const best = Math.max(...this.#hls.levels.map(({ maxBitrate }) => maxBitrate));
    this.#hls.config.minAutoBitrate = !this.#recorded && this.behind > BACK_SECONDS ? best : 0;
  }

  #again() {
    clearTimeout(this.#timer);
    const longest = Math.min(LONGEST_RETRY_MS, RETRY_MS * 2 ** this.#attempts);
    this.#attempts += 1;
    this.#close();
    this.#timer = setTimeout(() => this.reload(), longest * (0.5 + Math.random() / 2));
  }

  #close() {
    this.#hls?.destroy();
    this.#hls = null;
  }
}
