// One attempt to move points: one Idempotency-Key for as long as its outcome is unknown, so that it can only happen once.

import { uuid } from './dom.js';
import { tab } from './storage.js';

const TRIES = 3;
const PAUSE_MS = 800;
// So long a server knows a key at least; after that a retry might be done a second time.
const KNOWN_MS = 24 * 3_600_000;
// Said at the door, before anybody has looked at the key: they tell nothing of an earlier try.
const AT_THE_DOOR = [401, 408, 429];

export class Attempt {
  /** What is asked for, as long as it is unknown what becomes of it. */
  given = null;
  #place;
  #key = null;
  /** When it was sent first. */
  #at = 0;
  /** True after an answer got lost. */
  #lost = false;

  /** With a `place` in the tab's storage, a reload goes on where the page was; what was under way may have got through. */
  constructor(place = null) {
    this.#place = place;
    const kept = place && tab.get(place);
    if (!kept || Date.now() - kept.at > KNOWN_MS) return;
    this.#key = kept.key;
    this.#at = kept.at;
    this.given = kept.given;
    this.#lost = true;
  }

  /** True after an answer got lost: what was asked for must not change until this attempt is settled. */
  get open() {
    return this.#key !== null;
  }

  /**
   * Runs `request(key)` for what is `given`. Lost answers are asked for again with the same key, a few times here and then
   * by whoever calls `run` again. Any definite answer, yes or no, settles the attempt, and the next one gets a new key.
   */
  async run(given, request) {
    if (!this.open) {
      this.#key = uuid();
      this.#at = Date.now();
    }
    this.given = given;
    this.#keep({ key: this.#key, given, at: this.#at });
    for (let left = TRIES - 1; ; left -= 1) {
      try {
        const answer = await request(this.#key);
        this.#settle();
        return answer;
      } catch (problem) {
        this.#lost ||= problem.uncertain;
        const silent = problem.uncertain || AT_THE_DOOR.includes(problem.status);
        if (!this.#lost || !silent) this.#settle();
        if (!this.open || left === 0) throw problem;
        await new Promise((resolve) => setTimeout(resolve, problem.retryAfter ?? PAUSE_MS));
      }
    }
  }

  #settle() {
    this.#key = null;
    this.given = null;
    this.#lost = false;
    this.#keep(null);
  }

  #keep(kept) {
    if (this.#place) tab.set(this.#place, kept);
  }
}
