// One attempt to move points: one Idempotency-Key for as long as its outcome is unknown, so that it can only happen once.

import { uuid } from './dom.js';

const TRIES = 3;
const PAUSE_MS = 800;

export class Attempt {
  #key = null;

  /** True after an answer got lost: what was asked for must not change until this attempt is settled. */
  get open() {
    return this.#key !== null;
  }

  /**
   * Runs `request(key)`. Lost answers are asked for again with the same key, a few times here and then by whoever calls
   * `run` again. Any definite answer, yes or no, settles the attempt, and the next one gets a new key.
   */
  async run(request) {
    this.#key ??= uuid();
    for (let left = TRIES - 1; ; left -= 1) {
      try {
        const answer = await request(this.#key);
        this.#key = null;
        return answer;
      } catch (problem) {
        if (!problem.uncertain) this.#key = null;
        if (!problem.uncertain || left === 0) throw problem;
        await new Promise((resolve) => setTimeout(resolve, problem.retryAfter ?? PAUSE_MS));
      }
    }
  }
}
