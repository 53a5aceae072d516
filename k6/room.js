// 500 members, 100 of them send 25 messages each, as fast as they are acked: every delivery is counted.

import { Viewer, deliveries, faultless, failed, lost, onSilence, summary } from './lib.js';

const members = Number(__ENV.MEMBERS || 500);
const senders = Number(__ENV.SENDERS || 100);
const messages = Number(__ENV.MESSAGES || 25);
const vus = 10;
const all = senders * messages;
const room = `room-${messages}`;

export const options = {
  scenarios: { room: { executor: 'per-vu-iterations', vus, iterations: 1, maxDuration: '1200s' } },
  thresholds: { ...faultless, deliveries: [`count==${members * all}`] },
};

export default function main() {
  const viewers = [];
  let complete = 0;
  const heard = (viewer) => () => {
    if (viewer().seen.size !== all) return;
    complete += 1;
    if (complete === viewers.length) finish();
  };
  const finish = () => {
    clearInterval(silence);
    viewers.forEach((viewer) => viewer.leave());
  };
  const silence = onSilence(viewers, 30, () => {
    for (const viewer of viewers) lost.add(all - viewer.seen.size);
    finish();
  });
  // Senders wait until everybody in this process is in; others' messages before that come as history.
  let inside = 0;
  const entered = () => {
    inside += 1;
    if (inside === viewers.length) setTimeout(() => viewers.forEach(start), 3000);
  };
  const start = (viewer) => {
    if (!viewer.name) return;
    const next = (number) => {
      if (number === messages) return;
      viewer.say(number, (answer) => {
        if (answer.type === 'ack') return next(number + 1);
        if (answer.retry_after_ms) return setTimeout(() => next(number), answer.retry_after_ms);
        failed.add(1);
      });
    };
    next(0);
  };
  for (let n = 0; n < members / vus; n += 1) {
    const name = n < senders / vus ? `talker-${__VU}-${n}` : null;
    const viewer = new Viewer(room, { name, in: entered, heard: heard(() => viewer) });
    viewers.push(viewer);
  }
}

export const handleSummary = summary(`room x${messages}`);
