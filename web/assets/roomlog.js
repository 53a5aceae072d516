// What this tab knows of one room: recent events in order, the cursor behind the last of them, and own messages on their
// way. Kept in sessionStorage so that a refresh goes on from the cursor and loses and repeats nothing.

import { tab } from './storage.js';

const KEPT = 200;
const SAVE_EVERY_MS = 1_000;

/** A held message and the one it becomes when it is let through have the same id. */
const key = ({ type, id }) => (type === 'chat.held' ? `held.${id}` : id);

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
    const fresh = events.filter((event) => !event.id || !this.#seen.has(key(event)));
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
    for (const event of events) this.#seen.add(key(event));
    // Trimmed by halves, so that a busy room does not rebuild the set for every message.
    if (this.events.length > KEPT * 2) {
      this.events = this.events.slice(-KEPT);
      this.#seen = new Set(this.events.map(key));
    }
  }

  /** A removed message must not come back from storage. */
  #amend(event) {
    if (event.type === 'chat.deleted') this.#remove((kept) => (kept.message ?? kept.id) === event.message);
    else if (event.type === 'chat.cleared') this.#remove((kept) => !event.account || (kept.author ?? kept.from)?.id === event.account);
    else if (event.type === 'chat.approved' || event.type === 'chat.denied') this.events = this.events.filter((kept) => kept.type !== 'chat.held' || kept.id !== event.message);
  }

  #remove(gone) {
    for (const kept of this.events) {
      if (!['chat.message', 'chat.held', 'chat.pinned'].includes(kept.type) || !gone(kept)) continue;
      kept.text = '';
      kept.removed = true;
    }
  }

  #save() {
    clearTimeout(this.#saving);
    this.#saving = 0;
    tab.set(this.#key, { cursor: this.cursor, events: this.events.slice(-KEPT), outbox: this.outbox });
  }
}
