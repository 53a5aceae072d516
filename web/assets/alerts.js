// Donations announced one after the other, each once: an alert counts as shown from the moment it begins, here (so that a
// reload does not repeat it while the server's answer is on its way) and, with the key, on the server (so that another
// machine does not either).

import { api } from './api.js';
import { chime } from './chime.js';
import { h } from './dom.js';
import { points, t } from './i18n.js';
import { local } from './storage.js';

const KEPT = 500;
const QUEUED = 200;
const BETWEEN_MS = 600;
// A donation may be on the line a moment before it can be read.
const AGAIN_MS = 3_000;
// A minute, for one that the server never has: those behind it are not to wait for ever.
const UNKNOWN_TRIES = 20;

export class Alerts {
  element = h('div', { class: 'alerts', 'data-testid': 'alerts', 'aria-live': 'polite' });
  #room;
  #key;
  #settings = { alert_minimum: 1, alert_ms: 8_000, alert_volume: 50 };
  #paused = false;
  /** What the line said since it was joined: what is read from the server may be older. */
  #news = {};
  #queue = [];
  /** What is heard before the first answer: until then nobody knows what is too small, or whether to wait. Then null. */
  #early = [];
  #held = new Map();
  #shown;
  /** What the server is still to be told was shown, in the order in which it was: the last of them is what it has replayed. */
  #untold = new Set();
  /** Whether anything was ever shown or passed over here: a new page without a key begins with what comes. */
  #begun;
  #current = null;
  #timer = 0;
  #again = 0;

  constructor(room, key) {
    this.#room = room;
    this.#key = key;
    const kept = local.get(`overlay.${room}`);
    this.#begun = kept !== null || key !== null;
    this.#shown = new Set(kept ?? []);
  }

  /** To be called when the line is joined. */
  load() {
    this.#news = {};
    this.#readTwice();
  }

  #readTwice() {
    clearTimeout(this.#again);
    this.#again = setTimeout(() => this.#read(), AGAIN_MS);
    this.#read();
  }

  async #read() {
    const answer = await api.overlay(this.#room).catch(() => null);
    if (!answer) {
      clearTimeout(this.#again);
      this.#again = setTimeout(() => this.#read(), AGAIN_MS);
      return;
    }
    this.#settings = this.#news.settings ?? answer.settings;
    this.#pause(this.#news.paused ?? answer.paused);
    if (!this.#begun) {
      const heard = new Set(this.#early?.map(({ id }) => id));
      for (const { id } of answer.alerts) if (!heard.has(id)) this.#shown.add(id);
      this.#begun = true;
      this.#keep();
    }
    for (const alert of answer.alerts) {
      // Shown before a reload that came quicker than the server's answer.
      if (this.#shown.has(alert.id) && this.#current?.id !== alert.id) this.#tell(alert.id);
      else this.#add(alert);
    }
    const early = this.#early;
    this.#early = null;
    if (early) this.heard(early);
  }

  heard(events) {
    if (this.#early) {
      const ours = events.filter(({ type }) => type.startsWith('donation.') || type.startsWith('overlay.'));
      // The newest: what is older, the first answer has.
      this.#early = [...this.#early, ...ours].slice(-QUEUED);
      return;
    }
    for (const event of events) {
      switch (event.type) {
        case 'donation.accepted':
          if (event.held) this.#held.set(event.id, event);
          else this.#add(event);
          break;
        case 'donation.approved':
        case 'donation.denied':
          this.#decided(event);
          break;
        case 'donation.refunded':
          if (!event.left) this.#drop(event.donation);
          break;
        case 'donation.settings':
          this.#settings = this.#news.settings = event;
          break;
        case 'overlay.cued':
          this.#cued(event);
      }
    }
  }

  #add(alert) {
    if (this.#shown.has(alert.id) || this.#current?.id === alert.id || this.#queue.some(({ id }) => id === alert.id)) return;
    if (alert.amount < this.#settings.alert_minimum || this.#queue.length >= QUEUED) return;
    this.#queue.push(alert);
    this.#next();
  }

  #decided({ type, donation, message }) {
    const waited = this.#held.get(donation);
    this.#held.delete(donation);
    if (waited) this.#add({ ...waited, message: type === 'donation.approved' ? message : '' });
    else this.#readTwice();
  }

  #drop(donation) {
    this.#held.delete(donation);
    this.#queue = this.#queue.filter(({ id }) => id !== donation);
  }

  async #cued({ id, action, donation }) {
    if (action === 'pause' || action === 'resume') this.#pause((this.#news.paused = action === 'pause'));
    else if (action === 'skip') this.#end();
    else if (action === 'test') this.#first({ id, from: { name: t('overlay.test_name') }, amount: 1000, message: t('overlay.test_message'), again: true });
    else if (action === 'replay') {
      const answer = await api.overlay(this.#room, donation).catch(() => null);
      if (answer?.alerts[0]) this.#first({ ...answer.alerts[0], again: true });
    }
  }

  /** Before all that wait, and also while they are paused: somebody wants to see it now. */
  #first(alert) {
    this.#queue.unshift(alert);
    this.#next();
  }

  #pause(paused) {
    this.#paused = paused;
    this.element.dataset.paused = paused ? 'on' : 'off';
    this.#next();
  }

  #next() {
    if (this.#timer || !this.#queue.length || (this.#paused && !this.#queue[0].again)) return;
    this.#show(this.#queue.shift());
  }

  #show(alert) {
    this.#current = alert;
    if (!alert.again) this.#mark(alert.id);
    const { id, from, anonymous, amount, message } = alert;
    const name = anonymous ? t('anonymous') : (from?.name ?? t('nobody'));
    this.element.replaceChildren(
      h(
        'section',
        { class: 'alert', 'data-testid': 'alert', 'data-id': id, 'data-again': alert.again },
        h('p', { class: 'alert-head' }, h('bdi', { class: 'alert-name' }, name), ' ', h('strong', { class: 'alert-amount' }, points(amount))),
        message && h('p', { class: 'alert-message', dir: 'auto' }, h('bdi', null, message)),
      ),
    );
    chime(this.#settings.alert_volume / 100);
    this.#timer = setTimeout(() => this.#end(), this.#settings.alert_ms);
  }

  #end() {
    if (!this.#current) return;
    clearTimeout(this.#timer);
    this.#current = null;
    this.element.replaceChildren();
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      this.#next();
    }, BETWEEN_MS);
  }

  #mark(id) {
    this.#shown.add(id);
    this.#keep();
    this.#tell(id);
  }

  /** One after the other, each until the server has it: a donation is on the line before it can be read there, and lines drop. */
  async #tell(id) {
    if (!this.#key || this.#untold.has(id)) return;
    this.#untold.add(id);
    // Who came first tells of all.
    if (this.#untold.size > 1) return;
    for (const next of this.#untold) {
      await this.#telling(next);
      this.#untold.delete(next);
    }
  }

  async #telling(id) {
    let unknown = 0;
    for (;;) {
      try {
        await api.alertShown(this.#room, id, this.#key);
        return;
      } catch (problem) {
        // A key that is void stays so; this browser remembers all the same.
        if (problem.status === 401) return;
        if (problem.status === 404 && ++unknown === UNKNOWN_TRIES) return;
      }
      await new Promise((done) => setTimeout(done, AGAIN_MS));
    }
  }

  #keep() {
    local.set(`overlay.${this.#room}`, [...this.#shown].slice(-KEPT));
  }
}
