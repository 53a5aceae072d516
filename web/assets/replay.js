// What was said during a recording, in step with its picture. Events are read ahead of the picture, page by page from the
// beginning; so many are kept that seeking back costs nothing, but not those of a whole day.

const PAGE = 500;
const KEPT = 20_000;
const SHOWN = 100;
const AHEAD_MS = 60_000;
// A player's clock may step back a little, which is no leap.
const SLACK_MS = 1_000;

export class Replay {
  #read;
  #events = [];
  #since = null;
  #over = false;
  /** Whether the first events were let go of. */
  #trimmed = false;
  /** How many of the events are on the page. */
  #shown = 0;
  #date = 0;

  /** `read(since, limit)` answers a page: `{ events, next }`. */
  constructor(read) {
    this.#read = read;
  }

  /**
   * What to show now that the picture stands at `date`: events to add, or, after a leap, `anew` and the last that came
   * before. To be called again only when it has answered.
   */
  async at(date) {
    const back = date < this.#date - SLACK_MS;
    // Before what is kept: from the beginning.
    if (back && this.#trimmed && date < time(this.#events[0])) this.#rewind();
    while (!this.#over && (this.#events.length === 0 || time(this.#events.at(-1)) < date + AHEAD_MS)) await this.#more();
    const before = back ? 0 : this.#shown;
    let now = before;
    while (now < this.#events.length && time(this.#events[now]) <= date) now += 1;
    const anew = back || now - before > SHOWN;
    this.#shown = now;
    this.#date = back ? date : Math.max(date, this.#date);
    return { anew, events: this.#events.slice(anew ? Math.max(0, now - SHOWN) : before, now) };
  }

  async #more() {
    const { events, next } = await this.#read(this.#since, PAGE);
    this.#since = next;
    this.#over = next === null;
    this.#events.push(...events.filter(({ at }) => at));
    const surplus = this.#events.length - KEPT;
    if (surplus <= 0) return;
    this.#events.splice(0, surplus);
    this.#trimmed = true;
    this.#shown = Math.max(0, this.#shown - surplus);
  }

  #rewind() {
    this.#events = [];
    this.#since = null;
    this.#over = false;
    this.#trimmed = false;
    this.#shown = 0;
  }
}

const time = ({ at }) => Date.parse(at);
