// The chat of one room: the socket's frames go through the room's log into the timeline, own messages through the outbox.
// Used by the watch page and the studio.

import { api } from './api.js';
import { Composer } from './composer.js';
import { h, uuid } from './dom.js';
import { knows, t } from './i18n.js';
import { messageRow } from './message.js';
import { RoomLog } from './roomlog.js';
import { session } from './session.js';
import { join } from './socket.js';
import { markMentions } from './speech.js';
import { Timeline } from './timeline.js';
import { closeMenu, onTools, Pin } from './tools.js';

const ACK_MS = 15_000;
// What was written while the line was down is sent when it is back, if that is soon.
const LINE_MS = 60_000;
const QUIET_MS = 1_500;
const AGAIN_MS = 1_000;
const PASSING = ['busy', 'unavailable'];

export class Chat {
  #room;
  #log;
  #line;
  #timeline;
  #composer = new Composer((text, answered) => this.#write(text, answered), () => this.#names());
  #banner = h('div', { class: 'chat-banner', role: 'status', hidden: true });
  #connecting = 0;
  /** nonce → { entry, row, timer }: own messages whose event has not come yet. */
  #outbox = new Map();
  #heard;
  #pin;
  #pace = 0;

  /** `heard` gets the room's events, each once, in order and as they came together; after a join also `viewers` and `joined`. */
  constructor(room, heard) {
    this.#room = room;
    this.#heard = heard;
    this.#log = new RoomLog(room);
    this.#pin = new Pin(room);
    this.#timeline = new Timeline((id) => api.message(room, id));
    this.element = h('section', { class: 'chat', 'aria-label': t('chat.title') }, this.#banner, this.#pin.element, this.#timeline.element, this.#composer.element);
    this.#timeline.element.addEventListener('click', (event) => this.#clicked(event));
    session.addEventListener('change', () => markMentions(this.#timeline.element));
    api.chatSettings(room).then((settings) => this.#rule(settings), () => null);
    for (const event of this.#log.events) this.#timeline.add(event);
    for (const entry of this.#log.outbox) this.#show(entry);
    this.#line = join(room, {
      cursor: () => this.#log.cursor,
      status: (status) => this.#status(status),
      joined: (frame) => this.#joined(frame),
      events: (frame) => this.#take(frame),
      acked: (nonce, event) => this.#acked(nonce, event),
      refused: (nonce, error) => this.#refused(nonce, error),
    });
  }

  /** Whether the room's events come in now. */
  get connected() {
    return this.element.dataset.line === 'open';
  }

  /** Whether who looks at it may do what moderators do. */
  set moderates(yes) {
    if (yes === (this.element.dataset.moderates === 'on')) return;
    this.element.dataset.moderates = yes ? 'on' : 'off';
    // What began to wait before this tab was there.
    if (yes) api.held(this.#room).then(({ held }) => this.#take({ events: held.map((message) => ({ type: 'chat.held', ...message })) }), () => null);
  }

  /** What this page knows of the messages that others answer. */
  get replies() {
    return this.#timeline.replies;
  }

  /** For a key: where one writes. */
  focus() {
    this.#composer.focus();
  }

  /** Who was heard lately, the last first. */
  #names() {
    const names = this.#log.events.map(({ from }) => from?.name).filter((name) => name && name !== session.account?.name);
    return [...new Set(names.reverse())];
  }

  #clicked(event) {
    const row = event.target.closest('.message');
    if (event.target.closest('[data-do=answer]')) this.#answer(row);
    // Where there is no pointer that hovers, a touch brings up what can be done.
    else if (row && !event.target.closest('a, button')) this.#timeline.pick(row.matches('.picked') ? null : row);
    else onTools(this.#room, event);
  }

  #answer(row) {
    const { id } = row.dataset;
    const said = this.#timeline.said(id);
    closeMenu(row);
    this.#timeline.pick(null);
    if (said?.text) this.#composer.answer({ id, ...said });
  }

  /** The rules, told before somebody runs into them. */
  #rule({ slow_mode_ms: slow, followers_only_ms: follow, emote_only: emotes, hold_for_review: held }) {
    this.#pace = slow;
    const rules = [
      slow > 0 && t('chat.rule_slow', { time: t('rules.seconds', { n: slow / 1000 }) }),
      follow !== null && t('chat.rule_follow'),
      emotes && t('chat.rule_emotes'),
      held && t('chat.rule_held'),
    ];
    this.#composer.rules = rules.filter(Boolean).join(' · ') || null;
  }

  #joined(frame) {
    if (frame.recovered === false && this.#log.cursor) this.#reload();
    // In one batch with the history, so that a broadcast which that began and ended is never acted upon.
    this.#take(frame, [{ type: 'viewers', count: frame.viewers }, { type: 'joined', live: frame.live }]);
    // After the gap, so that a message whose ack got lost is not sent again when its event is there already.
    for (const waiting of this.#outbox.values()) {
      if (waiting.row.dataset.state !== 'pending') continue;
      if (waiting.entry.from.id === session.account?.id) {
        this.#line.chat(waiting.entry);
        this.#await(waiting);
      } else this.#fail(waiting, t('chat.code.unauthorized'));
    }
  }

  #take({ events, cursor }, more = []) {
    const fresh = this.#log.take(events, cursor);
    for (const event of fresh) {
      this.#timeline.add(event, this.#own(event));
      this.#pin.heard(event);
      if (event.type === 'member.timeout_lifted' && event.account === session.account?.id) this.#composer.holdFor(0);
      if (event.type === 'chat.settings') this.#rule(event);
    }
    if (this.#timeline.said(this.#composer.answered)?.removed) this.#composer.answer(null);
    this.#heard([...fresh, ...more]);
  }

  /** The row that already shows `event` because it was written here. Others can copy a nonce, but not be its author. */
  #own(event) {
    const said = event.type === 'chat.message' || event.type === 'chat.held';
    const waiting = said && event.nonce ? this.#outbox.get(event.nonce) : null;
    if (!waiting || event.from?.id !== waiting.entry.from.id) return null;
    this.#settle(waiting, event.id);
    this.#forget(event.nonce);
    const row = messageRow(event, event.type === 'chat.held' ? 'held' : 'sent');
    Object.assign(waiting.row.dataset, row.dataset);
    waiting.row.replaceChildren(...row.childNodes);
    return waiting.row;
  }

  /** The gap is too old for the socket; the read model has the recent past. */
  async #reload() {
    this.#log.clear();
    this.#timeline.clear();
    for (const [nonce, { row }] of this.#outbox) {
      // An acknowledged message is part of the history that comes now.
      if (row.dataset.state !== 'sent') continue;
      row.remove();
      this.#forget(nonce);
    }
    const past = await this.#past();
    const known = new Set(this.#log.events.map((event) => event.id));
    const older = past.filter((event) => !known.has(event.id));
    const events = [...older, ...this.#log.events].sort((a, b) => a.at.localeCompare(b.at));
    const { cursor } = this.#log;
    this.#log.clear();
    this.#timeline.clear();
    for (const event of this.#log.take(events, cursor)) this.#timeline.add(event);
  }

  /** The line may be back before the read model is; without it what was missed would be missing. */
  async #past() {
    for (;;) {
      const history = await api.messages(this.#room, { limit: 100 }).catch(() => null);
      if (history) return history.messages;
      await new Promise((done) => setTimeout(done, AGAIN_MS));
    }
  }

  #write(text, answered) {
    const { id, name, roles } = session.account;
    const entry = { nonce: uuid(), text, at: new Date().toISOString(), from: { id, name, roles }, reply_to: answered };
    this.#show(entry);
    this.#log.setOutbox(this.#entries());
    this.#line.chat(entry);
  }

  #show(entry) {
    const waiting = { entry, row: messageRow(entry, 'pending'), timer: 0 };
    this.#outbox.set(entry.nonce, waiting);
    this.#timeline.addPending(waiting.row);
    if (entry.failed) this.#fail(waiting, t('chat.not_sent'));
    else this.#await(waiting);
  }

  #await(waiting) {
    clearTimeout(waiting.timer);
    waiting.timer = setTimeout(() => this.#fail(waiting, t('chat.no_answer')), this.connected ? ACK_MS : LINE_MS);
  }

  #acked(nonce, event) {
    const waiting = this.#outbox.get(nonce);
    if (waiting) this.#settle(waiting, event);
  }

  #settle({ row, timer }, id) {
    clearTimeout(timer);
    if (row.dataset.state === 'pending' && this.#pace && this.element.dataset.moderates !== 'on') this.#composer.holdFor(this.#pace);
    row.querySelector('.failure')?.remove();
    row.dataset.state = 'sent';
    row.dataset.id = id;
  }

  #refused(nonce, error) {
    const waiting = this.#outbox.get(nonce);
    if (!waiting) return;
    if (PASSING.includes(error.code)) {
      // Sent again by itself for as long as its time to be acknowledged runs.
      setTimeout(() => waiting.row.dataset.state === 'pending' && this.#line.chat(waiting.entry), error.retry_after_ms ?? AGAIN_MS);
      return;
    }
    if (error.retry_after_ms) this.#composer.holdFor(error.retry_after_ms);
    if (error.code === 'banned') this.#composer.block(t('chat.code.banned'));
    this.#fail(waiting, this.#reason(error.code, error.message));
  }

  /** Failed, with a way to send it again under the same nonce and a way to let it go. */
  #fail(waiting, why) {
    const { entry, row } = waiting;
    clearTimeout(waiting.timer);
    row.dataset.state = 'failed';
    // Kept as failed: a refresh must not send what its author may have given up.
    entry.failed = true;
    this.#log.setOutbox(this.#entries());
    row.querySelector('.failure')?.remove();
    const again = () => {
      row.dataset.state = 'pending';
      entry.failed = false;
      row.querySelector('.failure').remove();
      this.#await(waiting);
      this.#line.chat(entry);
    };
    const discard = () => {
      row.remove();
      this.#forget(entry.nonce);
    };
    row.append(
      h(
        'span',
        { class: 'failure' },
        h('span', { role: 'alert' }, why),
        h('button', { type: 'button', class: 'link', 'data-testid': 'retry', onclick: again }, t('chat.retry')),
        h('button', { type: 'button', class: 'link', onclick: discard }, t('chat.discard')),
      ),
    );
    this.#timeline.follow();
  }

  #forget(nonce) {
    this.#outbox.delete(nonce);
    this.#log.setOutbox(this.#entries());
  }

  #entries() {
    return Array.from(this.#outbox.values(), ({ entry }) => entry);
  }

  #status(status) {
    const dropped = this.connected && status.kind !== 'open';
    this.element.dataset.line = status.kind;
    if (dropped) for (const waiting of this.#outbox.values()) if (waiting.row.dataset.state === 'pending') this.#await(waiting);
    if (status.kind === 'connecting' || status.kind === 'waiting') {
      // A line that comes back at once is not worth a word.
      this.#connecting ||= setTimeout(() => this.#tell(t('chat.connecting')), QUIET_MS);
      return;
    }
    clearTimeout(this.#connecting);
    this.#connecting = 0;
    if (status.kind === 'open') {
      this.#composer.unblock();
      this.#tell(null);
    } else {
      const why = this.#reason(status.code, status.reason);
      this.#composer.block(why);
      this.#tell(why, h('button', { type: 'button', class: 'link', onclick: () => this.#line.reconnect() }, t('chat.reconnect')));
    }
  }

  #reason(code, said) {
    if (knows(`chat.code.${code}`)) return t(`chat.code.${code}`);
    return said || t('error.unknown');
  }

  #tell(...content) {
    this.#banner.hidden = content[0] === null;
    this.#banner.replaceChildren(...content.filter((node) => node !== null));
  }
}
