// What this tab knows of one room: recent events in order, the cursor behind the last of them, and own messages on their
// way. Kept in sessionStorage so that a refresh goes on from the cursor and loses and repeats nothing.

import { tab } from './storage.js';

const KEPT = 200;
const SAVE_EVERY_MS = 1_000;

export class RoomLog {
  cursor = null;
  events = [];
  outbox = [];
  #key;
  #seen = new Set();
  #saving = 0;

  constructor(room) {
    this.#key = `room.${room}`;
    const kept = tab.get(this.#key);
    if (kept) {
      this.cursor = kept.cursor;
      this.outbox = kept.outbox;
      this.#keep(kept.events);
    }
    // The throttle below may hold the newest second back; leaving the page must not lose it.
    addEventListener('pagehide', () => this.#save());
  }

  /** Takes events in the room's order and answers those not seen before. */
  take(events, cursor) {
    const fresh = events.filter((event) => !event.id || !this.#seen.has(event.id));
    this.#keep(fresh.filter((event) => event.id));
    for (const event of fresh) this.#amend(event);
    this.cursor = cursor ?? this.cursor;
    this.#saving ||= setTimeout(() => this.#save(), SAVE_EVERY_MS);
    return fresh;
  }

  /** The gap could not be filled: what is here no longer joins what comes. */
  clear() {
    this.cursor = null;
    this.events = [];
    this.#seen.clear();
  }

  /** Own messages that wait for their event, saved at once because a refresh may come at once. */
  setOutbox(outbox) {
    this.outbox = outbox;
    this.#save();
  }

  #keep(events) {
    this.events.push(...events);
    for (const event of events) this.#seen.add(event.id);
    // Trimmed by halves, so that a busy room does not rebuild the set for every message.
    if (this.events.length > KEPT * 2) {
      this.events = this.events.slice(-KEPT);
      this.#seen = new Set(this.events.map((event) => event.id));
    }
  }

  /** A removed message must not come back from storage. */
  #amend(event) {
    if (event.type !== 'chat.deleted') return;
    const target = this.events.find((kept) => kept.id === event.message);
    if (target) {
      target.text = '';
      target.removed = true;
    }
  }

  #save() {
    clearTimeout(this.#saving);
    this.#saving = 0;
    tab.set(this.#key, { cursor: this.cursor, events: this.events.slice(-KEPT), outbox: this.outbox });
  }
}
