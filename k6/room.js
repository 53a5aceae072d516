// 500 members, 100 of them send 25 messages each, as fast as they are acked: every delivery is counted.

import { Viewer, audience, deliveries, faultless, failed, summary } from './lib.js';

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
  const { viewers, heard } = audience(all);
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
    viewers.push(new Viewer(room, { name, in: entered, heard }));
  }
}

export const handleSummary = summary(`room x${messages}`);
