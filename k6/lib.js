// What the scenarios share: tokens, and a viewer of a room who counts what comes.

import crypto from 'k6/crypto';
import encoding from 'k6/encoding';
import { WebSocket } from 'k6/experimental/websockets';
import { Counter, Trend } from 'k6/metrics';

export const base = __ENV.LEMONAIR_URL || 'http://127.0.0.1:8080';
const socket = `${base.replace('http', 'ws')}/ws`;

export const joined = new Counter('joined');
export const failed = new Counter('failed');
export const deliveries = new Counter('deliveries');
export const lost = new Counter('lost');
export const doubled = new Counter('doubled');
export const misordered = new Counter('misordered');
export const joinTime = new Trend('join_time', true);
export const latency = new Trend('latency', true);

/** What no run may have. */
export const faultless = {
  failed: ['count==0'],
  lost: ['count==0'],
  doubled: ['count==0'],
  misordered: ['count==0'],
};

/** An access token, signed as the server does; the run script gives both the same secret. */
export function token(name) {
  const now = Math.floor(Date.now() / 1000);
  const digest = crypto.sha256(name, 'hex');
  const sub = `${digest.slice(0, 8)}-${digest.slice(8, 12)}-7${digest.slice(13, 16)}-8${digest.slice(17, 20)}-${digest.slice(20, 32)}`;
  const claims = { iss: 'lemonair', aud: 'access', sub, name, role: 'viewer', sid: null, unlimited: true, iat: now, exp: now + 3600 };
  const encode = (value) => encoding.b64encode(JSON.stringify(value), 'rawurl');
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${signed}.${crypto.hmac('sha256', __ENV.LEMONAIR_SECRET, signed, 'base64rawurl')}`;
}

/** Somebody in a room. `heard(viewer)` is called for each message once; what comes twice or out of order is counted. */
export class Viewer {
  constructor(room, { name = null, heard = null, in: entered = null } = {}) {
    Object.assign(this, { room, name, heard, entered });
    this.seen = new Set();
    this.cursor = null;
    this.last = new Map();
    this.acks = new Map();
    this.open = false;
    this.connect();
  }

  connect() {
    this.began = Date.now();
    this.socket = new WebSocket(socket);
    this.socket.onopen = () => {
      const ask = { type: 'join', id: 'join', room: this.room };
      if (this.name) ask.token = token(this.name);
      if (this.cursor) ask.since = this.cursor;
      this.socket.send(JSON.stringify(ask));
    };
    this.socket.onmessage = ({ data }) => this.receive(JSON.parse(data));
    this.socket.onerror = () => {
      if (!this.leaving && !this.open) failed.add(1);
    };
    this.socket.onclose = () => {
      this.open = false;
      if (!this.leaving && this.dropped) this.dropped();
    };
  }

  receive(frame) {
    if (frame.cursor) this.cursor = frame.cursor;
    if (frame.type === 'joined') {
      this.open = true;
      joined.add(1);
      joinTime.add(Date.now() - this.began);
      if (!frame.recovered) lost.add(1);
    }
    // Samples are dear: one of each kind for a frame, of which the oldest message has waited longest.
    const fresh = (frame.events || []).filter((event) => this.take(event));
    if (fresh.length > 0) {
      deliveries.add(fresh.length);
      if (frame.type === 'events') latency.add(Date.now() - Number(fresh[0].text.split(' ')[2]));
    }
    if (frame.type === 'joined' && this.entered) this.entered(this);
    if (frame.type === 'ack' || frame.type === 'error') {
      const answered = this.acks.get(frame.id);
      this.acks.delete(frame.id);
      if (answered) answered(frame);
      else if (frame.type === 'error') failed.add(1);
    }
  }

  /** Whether it is a message that was not here before. A sender numbers them; each sender's must come in order. */
  take(event) {
    if (event.type !== 'chat.message') return false;
    if (this.seen.has(event.id)) {
      doubled.add(1);
      return false;
    }
    this.seen.add(event.id);
    const [sender, number] = event.text.split(' ');
    if (Number(number) <= (this.last.get(sender) ?? -1)) misordered.add(1);
    this.last.set(sender, Number(number));
    if (this.heard) this.heard(this);
    return true;
  }

  /** Sends message `number`; `answered(frame)` gets the ack or the error. */
  say(number, answered) {
    const id = `${this.name}-${number}`;
    this.acks.set(id, answered);
    this.socket.send(JSON.stringify({ type: 'chat', id, nonce: id, room: this.room, text: `${this.name} ${number} ${Date.now()}` }));
  }

  leave() {
    this.leaving = true;
    this.socket.close();
  }
}

/** Calls `then` when nothing has come for so long: what has not come by then is lost. */
export function onSilence(viewers, seconds, then) {
  let before = -1;
  const timer = setInterval(() => {
    const now = viewers.reduce((sum, { seen }) => sum + seen.size, 0);
    if (now === before) {
      clearInterval(timer);
      then();
    }
    before = now;
  }, seconds * 1000);
  return timer;
}

/** Those who stay until each has so many messages, or until nothing comes any more. */
export function audience(all) {
  const viewers = [];
  let complete = 0;
  const leave = () => {
    clearInterval(silence);
    viewers.forEach((viewer) => viewer.leave());
  };
  const silence = onSilence(viewers, 30, () => {
    for (const { seen } of viewers) lost.add(all - seen.size);
    leave();
  });
  const heard = ({ seen }) => {
    if (seen.size === all && (complete += 1) === viewers.length) leave();
  };
  return { viewers, heard };
}

/** The one line that the run script prints of a scenario. */
export function summary(name) {
  return (data) => {
    const value = (metric, key = 'count') => data.metrics[metric]?.values[key] ?? 0;
    const passed = Object.values(data.metrics).every(({ thresholds }) => Object.values(thresholds || {}).every(({ ok }) => ok));
    const row = [
      name.padEnd(10),
      String(value('joined')).padStart(7),
      `${Math.round(value('join_time', 'p(95)'))} ms`.padStart(9),
      String(value('deliveries')).padStart(10),
      String(value('lost')).padStart(6),
      String(value('doubled')).padStart(8),
      String(value('misordered')).padStart(11),
      `${Math.round(value('latency', 'p(95)'))} ms`.padStart(9),
      passed ? 'passed' : 'FAILED',
    ];
    return { stdout: `${row.join(' ')}\n` };
  };
}
