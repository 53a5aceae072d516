// The chat's scrolling list. Rows are made a few times a second and only so many are kept, so that a torrent of messages
// costs what an eye can follow. While one has scrolled up nothing moves: rows wait, and a pill counts them. Where one
// left off, be it by scrolling up or by looking at another tab, a line marks what is new.
// By keyboard the arrows go from message to message, and Enter answers.

import { h, icon } from './dom.js';
import { t } from './i18n.js';
import { markRefunded, rowOf, showWords, strike } from './message.js';
import { excerpt, Replies } from './replies.js';
import { session } from './session.js';
import { markMentions, mentionsMe } from './speech.js';

const CAP = 400;
const NEAR_PX = 48;
// The next rows wait so long for more of them: laying out the list costs the same for one row as for twenty.
const PACE_MS = 120;
const ANNOUNCE_MS = 4_000;
const FOUND_MS = 2_000;

export class Timeline {
  #rows = h('div', { class: 'rows' });
  /** Own messages that have no event yet stand below all others. */
  outbox = h('div', { class: 'rows' });
  #scroller;
  #pill;
  #line = h('div', { class: 'new-line', 'data-testid': 'new-line' }, h('span', null, t('chat.new')));
  /** The first event that came while nobody looked. */
  #newest = null;
  #empty = h('p', { class: 'nothing chat-empty' }, t('chat.empty'));
  #announcer = h('div', { class: 'offscreen', 'aria-live': 'polite' });
  #queue = [];
  #frame = 0;
  #drawnAt = 0;
  #following = true;
  #top = 0;
  #unread = 0;
  /** Of those, the ones that mention or answer who looks. */
  #forMe = 0;
  #unheard = [];
  #announcing = 0;
  /** What can be quoted. */
  replies;

  /** `read(id)` asks for a message that somebody answers and that is not here. What is `over` is not answered any more. */
  constructor(read, { over = false } = {}) {
    this.replies = new Replies(read);
    // A log that announces every row would never stop talking in a busy room, so a separate region sums up.
    this.#scroller = h('div', { class: 'scroller', role: 'log', 'aria-live': 'off', 'aria-label': t('chat.title'), tabindex: 0 }, this.#rows, this.outbox);
    this.#pill = h('button', { type: 'button', class: 'pill', hidden: true, 'data-testid': 'unread', onclick: () => this.follow() });
    this.element = h('div', { class: over ? 'timeline over' : 'timeline' }, this.#scroller, this.#empty, this.#pill, this.#announcer);
    this.#scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    if (!over) this.#scroller.addEventListener('keydown', (event) => this.#step(event));
    // Somewhere else, that is, and not with a button that went when it had done its work.
    this.#scroller.addEventListener('focusout', ({ relatedTarget: to }) => to && !this.#scroller.contains(to) && this.pick(null));
    this.#scroller.addEventListener('click', ({ target }) => {
      const line = target.closest('.reply-line');
      if (line) this.#open(line);
    });
    document.addEventListener('visibilitychange', () => document.hidden && this.#leave());
    new ResizeObserver(() => this.#following && this.#toBottom()).observe(this.#scroller);
  }

  /** Adds events in the room's order. `row`, when given, is an element that already shows one of them. */
  add(event, row = null) {
    this.#queue.push({ event, row });
    this.replies.heard(event);
    if (row) this.#dress(row);
    // Only the newest can still be shown; this also bounds a tab that nobody looks at, where no frame comes.
    if (this.#queue.length > CAP * 2) this.#skip(this.#queue.length - CAP);
    // What was taken away goes at once, also while everything else waits.
    if (event.type === 'chat.deleted' || event.type === 'chat.cleared') {
      this.#amend(event, this.element);
      this.replies.draw(this.element);
      // Nor is it read out any more.
      this.#unheard = [];
      this.#announcer.textContent = '';
    }
    const said = event.type === 'chat.message' || event.type === 'donation.accepted';
    if (!this.#following && said) {
      this.#unread += 1;
      if (this.#isForMe(event)) this.#forMe += 1;
    }
    if (said && !row && (document.hidden || !this.#following)) this.#newest ??= event;
    this.#draw();
  }

  /** From here on whatever comes is new. */
  #leave() {
    this.#newest = null;
  }

  /** Puts an own message at the foot. */
  addPending(row) {
    this.#dress(row);
    this.outbox.append(row);
    this.follow();
  }

  clear() {
    this.#skip(this.#queue.length);
    this.replies.clear();
    this.#unread = 0;
    this.#forMe = 0;
    this.#rows.replaceChildren();
    this.follow();
  }

  /** Back to the newest. */
  follow() {
    this.#following = true;
    this.#draw();
  }

  /** What is known of a message: `{ from, text }`, or `{ removed }`. */
  said(id) {
    return this.replies.of(id);
  }

  /** Brings up what can be done with one row, and with no other. */
  pick(row) {
    for (const other of this.element.querySelectorAll('.message.picked')) other.classList.remove('picked');
    row?.classList.add('picked');
  }

  /** Draws what a row quotes, if it is an answer. */
  #dress(row) {
    if (!row.querySelector('.reply-line')) return;
    this.replies.draw(row);
    markMentions(row);
  }

  #isForMe({ text, from, reply_to: answered }) {
    const me = session.account?.id;
    if (!me || !text || from?.id === me) return false;
    return this.replies.of(answered)?.from?.id === me || mentionsMe(text);
  }

  /** To the message that is answered; where that is not on the page, all that can be known of it is shown in the line. */
  async #open(line) {
    if (this.#find(line.dataset.parent)) return;
    await this.replies.open(line);
    this.replies.draw(this.element);
    markMentions(this.element);
  }

  /** Brings a message into view, and lights it up for a moment; false where it is not on the page. */
  #find(id) {
    const row = this.#scroller.querySelector(`.message[data-id="${CSS.escape(id)}"]`);
    if (!row) return false;
    this.#reveal(row, 0.5);
    row.tabIndex = -1;
    row.focus({ preventScroll: true });
    row.classList.add('found');
    setTimeout(() => row.classList.remove('found'), FOUND_MS);
    return true;
  }

  /** Scrolls no further than needed; what has to move stands at this part of the height. */
  #reveal(row, place) {
    const [inside, box] = [row.getBoundingClientRect(), this.#scroller.getBoundingClientRect()];
    if (inside.top >= box.top && inside.bottom <= box.bottom) return;
    this.#scroller.scrollTop += inside.top - box.top - (box.height - inside.height) * place;
  }

  #step(event) {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    const buttons = Array.from(this.#rows.querySelectorAll('.row-actions [data-do=answer]'));
    const here = document.activeElement.closest('.message');
    const { bottom } = this.#scroller.getBoundingClientRect();
    const inView = (button) => button.closest('.message').getBoundingClientRect().bottom <= bottom + 1;
    // From a message to the next one, and from the list itself up to the last in view.
    const place = here ? buttons.findIndex((button) => here.contains(button)) : buttons.findLastIndex(inView) + 1;
    const button = place < 0 || (!here && step > 0) ? null : buttons[place + step];
    if (!button) return;
    event.preventDefault();
    event.stopPropagation();
    const row = button.closest('.message');
    this.pick(row);
    this.#reveal(row, step < 0 ? 0 : 1);
    const { from, text } = this.said(row.dataset.id) ?? {};
    if (text) button.setAttribute('aria-label', t('chat.answer_to', { name: from?.name ?? t('nobody'), text: excerpt(text) }));
    button.focus({ preventScroll: true });
  }

  /** At once while it is calm. */
  #draw() {
    if (this.#frame) return;
    const wait = this.#drawnAt + PACE_MS - performance.now();
    const frame = () => (this.#frame = requestAnimationFrame(() => this.#flush()));
    this.#frame = wait > 0 ? setTimeout(frame, wait) : frame();
  }

  #flush() {
    this.#frame = 0;
    this.#drawnAt = performance.now();
    if (!this.#following) {
      this.#showPill();
      return;
    }
    this.#unread = 0;
    this.#forMe = 0;
    this.#showPill();
    if (this.#queue.length > CAP) this.#skip(this.#queue.length - CAP);
    const queue = this.#queue;
    this.#queue = [];
    const fragment = document.createDocumentFragment();
    for (const { event, row } of queue) {
      this.#amend(event, fragment);
      const made = row ?? rowOf(event);
      if (!made) continue;
      if (!row) this.#dress(made);
      if (event === this.#newest) fragment.append(this.#line);
      fragment.append(made);
      this.#hear(event);
    }
    const surplus = this.#rows.childElementCount + fragment.childElementCount - CAP;
    for (let left = surplus; left > 0 && this.#rows.firstChild; left -= 1) this.#rows.firstChild.remove();
    this.#rows.append(fragment);
    this.#empty.hidden = this.#rows.childElementCount + this.outbox.childElementCount > 0;
    this.#toBottom();
  }

  /** Drops the oldest `count` of those that wait; an own row among them leaves the foot as well. */
  #skip(count) {
    const skipped = this.#queue.splice(0, count);
    for (const { row } of skipped) row?.remove();
    // All that is left is new then.
    if (skipped.some(({ event }) => event === this.#newest)) this.#newest = this.#queue.find(({ event }) => event.type === 'chat.message')?.event ?? null;
  }

  /** Events that change an earlier row, be it on the page or on its way there in `fragment`. */
  #amend(event, fragment) {
    const find = (selector) => fragment.querySelector(selector) ?? this.element.querySelector(selector);
    if (event.type === 'chat.deleted') {
      const row = find(`.message[data-id="${CSS.escape(event.message)}"]`);
      if (row) strike(row);
    } else if (event.type === 'chat.cleared') {
      const rows = event.account ? `.message[data-author="${CSS.escape(event.account)}"]` : '.message[data-id]';
      for (const place of new Set([fragment, this.element])) for (const row of place.querySelectorAll(`${rows}:not(.removed)`)) strike(row);
    } else if (event.type === 'chat.approved' || event.type === 'chat.denied') {
      find(`.message[data-state="held"][data-id="${CSS.escape(event.message)}"]`)?.remove();
    } else if (event.type === 'donation.refunded') {
      const card = find(`.donation[data-donation="${CSS.escape(event.donation)}"]:not(.refunded)`);
      if (card) markRefunded(card, event);
    } else if (event.type === 'donation.approved') {
      const card = find(`.donation[data-donation="${CSS.escape(event.donation)}"]`);
      if (card) showWords(card, event.message);
    }
  }

  #toBottom() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#top = this.#scroller.scrollTop;
  }

  // Only going up stops the following: growing content also leaves a distance to the foot, but never moves up.
  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    const near = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    if (near && !this.#following) this.follow();
    else if (!near && scrollTop < this.#top - 2 && this.#following) {
      this.#following = false;
      this.#leave();
      this.#showPill();
    }
    this.#top = scrollTop;
  }

  #showPill() {
    this.#pill.hidden = this.#following;
    if (this.#following) return;
    this.#pill.classList.toggle('for-me', this.#forMe > 0);
    this.#pill.replaceChildren(icon('down'), this.#unread ? t('chat.unread', { n: this.#unread }) : t('chat.latest'));
    if (this.#forMe) this.#pill.append(h('span', { class: 'pill-mine' }, t('chat.unread_mine', { n: this.#forMe })));
  }

  #hear(event) {
    if (event.type !== 'chat.message' && event.type !== 'donation.accepted') return;
    this.#unheard.push(event);
    this.#announcing ||= setTimeout(() => {
      this.#announcing = 0;
      const last = this.#unheard.at(-1);
      if (!last) return;
      const name = last.anonymous ? t('anonymous') : (last.from?.name ?? t('nobody'));
      const said = last.type === 'chat.message' ? `${name}: ${last.text}` : t('chat.donated', { name, amount: last.amount });
      this.#announcer.textContent = this.#unheard.length > 1 ? `${t('chat.unread', { n: this.#unheard.length })}. ${said}` : said;
      this.#unheard = [];
    }, ANNOUNCE_MS);
  }
}
