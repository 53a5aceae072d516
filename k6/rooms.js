// 1,000 rooms with two viewers each; one message in each room reaches its two and nobody else.

import { Viewer, deliveries, faultless, failed, lost, onSilence, summary } from './lib.js';

const rooms = Number(__ENV.ROOMS || 1000);
const vus = 10;

export const options = {
  scenarios: { rooms: { executor: 'per-vu-iterations', vus, iterations: 1, maxDuration: '300s' } },
  thresholds: { ...faultless, deliveries: [`count==${rooms * 2}`] },
};

export default function main() {
  const viewers = [];
  let waiting = 0;
  const finish = () => {
    clearInterval(silence);
    // A moment longer, in case a message comes where it does not belong.
    setTimeout(() => viewers.forEach((viewer) => viewer.leave()), 1000);
  };
  const silence = onSilence(viewers, 30, () => {
    lost.add(waiting);
    finish();
  });
  const heard = () => {
    waiting -= 1;
    if (waiting === 0) finish();
  };
  for (let n = 0; n < rooms / vus; n += 1) {
    const room = `room-${__VU}-${n}`;
    let inside = 0;
    const entered = () => {
      inside += 1;
      if (inside === 2) talker.say(0, (answer) => answer.type === 'ack' || failed.add(1));
    };
    waiting += 2;
    const talker = new Viewer(room, { name: `talker-${__VU}-${n}`, in: entered, heard });
    viewers.push(talker, new Viewer(room, { in: entered, heard }));
  }
}

export const handleSummary = summary('rooms');
