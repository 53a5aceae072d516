// The one WebSocket of a page, with several rooms on it. It joins with the room's cursor, so that whatever happened while
// the line was down comes with the answer, and reconnects with a jittered backoff unless the gateway says not to.

import { session } from './session.js';

const PING_EVERY_MS = 25_000;
const SILENCE_MS = 8_000;
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 20_000;
// A token that was good for this long and is refused now has run out, rather than being wrong.
const SETTLED_MS = 60_000;
const OPENING = {};

const rooms = new Map();
const asked = new Map();
let socket = null;
let frame = 0;
let attempts = 0;
let retry = 0;
let heartbeat = 0;
let silence = 0;
let joinedAt = 0;

/**
 * Joins `room`. The listener is told `status({kind, …})`, `joined(frame)`, `events(frame)`, `acked(nonce, event)` and
 * `refused(nonce, error)`, and is asked for its `cursor()`; its `token`, where it has one, stands for it in place of the
 * session's. The answer sends chat: false when the room is not joined now.
 */
export function join(room, listener) {
  const member = { room, listener, joined: false };
  rooms.set(room, member);
  if (socket?.readyState === WebSocket.OPEN) enter(member);
  else open();
  return {
    chat({ text, nonce, reply_to }) {
      if (!member.joined) return false;
      ask({ type: 'chat', room, text, nonce, reply_to }, { member, nonce });
      return true;
    },
    /** For a button: after a close that must not be answered by the page itself. */
    reconnect() {
      attempts = 0;
      if (session.account) session.renew().then(open, open);
      else open();
    },
  };
}

async function open() {
  clearTimeout(retry);
  retry = 0;
  if (socket || rooms.size === 0) return;
  tell({ kind: 'connecting' });
  // Taken before the wait, so that two callers do not open two sockets.
  socket = OPENING;
  await session.fresh();
  const line = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`);
  socket = line;
  // A socket that was given up may still speak; only the current one is heard.
  const on = (type, act) => line.addEventListener(type, (event) => line === socket && act(event));
  on('open', () => {
    heartbeat = setInterval(ping, PING_EVERY_MS);
    for (const member of rooms.values()) enter(member);
  });
  on('message', ({ data }) => {
    clearTimeout(silence);
    silence = 0;
    receive(JSON.parse(data));
  });
  on('close', ({ code, reason }) => closed(code, reason));
}

function ask(request, waiter) {
  frame += 1;
  const id = String(frame);
  asked.set(id, waiter);
  socket.send(JSON.stringify({ ...request, id }));
}

function enter(member) {
  const request = { type: 'join', room: member.room };
  const token = member.listener.token ?? session.token;
  if (token) request.token = token;
  const since = member.listener.cursor();
  if (since) request.since = since;
  ask(request, { member });
}

function receive(message) {
  const waiter = asked.get(message.id);
  asked.delete(message.id);
  if (message.type === 'joined') {
    const member = waiter?.member ?? rooms.get(message.room);
    if (!member) return;
    attempts = 0;
    joinedAt = Date.now();
    member.joined = true;
    member.listener.status({ kind: 'open' });
    member.listener.joined(message);
  } else if (message.type === 'events') {
    rooms.get(message.room)?.listener.events(message);
  } else if (message.type === 'ack') {
    waiter?.member.listener.acked(waiter.nonce, message.event);
  } else if (message.type === 'error' && waiter?.nonce) {
    waiter.member.listener.refused(waiter.nonce, message);
  } else if (message.type === 'error' && waiter?.member) {
    notJoined(waiter.member, message);
  }
}

/** A join was answered with an error. What passes by itself is tried again; the rest is shown. */
function notJoined(member, error) {
  if (error.retry_after_ms || error.code === 'busy' || error.code === 'unavailable') {
    setTimeout(() => socket?.readyState === WebSocket.OPEN && enter(member), error.retry_after_ms ?? FIRST_WAIT_MS);
    return;
  }
  member.listener.status({ kind: 'closed', code: error.code, reason: error.message });
}

function ping() {
  if (socket?.readyState !== WebSocket.OPEN || silence) return;
  ask({ type: 'ping' }, {});
  const asking = socket;
  silence = setTimeout(() => {
    // A dead line can take minutes to answer a close, so this does not wait for the close event.
    closed(1006, '');
    asking.close();
  }, SILENCE_MS);
}

function closed(code, reason) {
  drop();
  if (code >= 4000 && code < 4500) {
    if (code === 4401 && session.account && Date.now() - joinedAt > SETTLED_MS) {
      joinedAt = Date.now();
      session.renew().then(open, () => tell({ kind: 'closed', code, reason }));
      return;
    }
    tell({ kind: 'closed', code, reason });
    return;
  }
  wait();
}

/** Forgets the socket and everything that was asked on it. */
function drop() {
  clearInterval(heartbeat);
  clearTimeout(silence);
  silence = 0;
  socket = null;
  asked.clear();
  for (const member of rooms.values()) member.joined = false;
}

function wait() {
  const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempts);
  attempts += 1;
  const delay = longest * (0.2 + 0.8 * Math.random());
  tell({ kind: 'waiting', until: Date.now() + delay });
  retry = setTimeout(open, delay);
}

function tell(status) {
  for (const { listener } of rooms.values()) listener.status(status);
}

// Another account means another identity in every room: the line is made anew, and the cursors fill the gap.
session.addEventListener('change', () => {
  // One that is being opened reads the token when it joins.
  if (socket === OPENING) return;
  const former = socket;
  drop();
  former?.close(1000);
  open();
});

addEventListener('online', () => {
  if (!socket && retry) open();
});

// A laptop that wakes finds its line dead: ask at once instead of at the next heartbeat.
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) ping();
});
