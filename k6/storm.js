// A gateway is killed while people talk; everybody comes back with a cursor and has missed nothing.
// The run script kills the gateway 6 seconds in, and starts another one at the same address.

import { Viewer, audience, faultless, summary } from './lib.js';

const users = Number(__ENV.USERS || 1000);
const vus = 10;
const all = 200;

export const options = {
  scenarios: { storm: { executor: 'per-vu-iterations', vus, iterations: 1, maxDuration: '300s' } },
  thresholds: { ...faultless, joined: [`count>=${users * 2}`] },
};

export default function main() {
  const { viewers, heard } = audience(all);
  for (let n = 0; n < users / vus; n += 1) {
    const talks = __VU === 1 && n === 0;
    const viewer = new Viewer('storm', {
      name: talks ? 'stormy' : null,
      heard,
      in: () => talks && !viewer.talking && talk(viewer),
    });
    viewer.dropped = () => setTimeout(() => viewer.connect(), 200 + Math.random() * 800);
    viewers.push(viewer);
  }
}

/** One message every 100 ms. What is not acked is sent again, with the same nonce, until it is. */
function talk(viewer) {
  viewer.talking = true;
  const next = (number) => {
    if (number === all) return;
    let acked = false;
    const again = () => {
      if (acked) return;
      if (viewer.open) {
        viewer.say(number, (answer) => {
          if (acked) return;
          if (answer.type !== 'ack') return;
          acked = true;
          setTimeout(() => next(number + 1), 100);
        });
      }
      setTimeout(again, 1000);
    };
    again();
  };
  setTimeout(() => next(0), 2000);
}

export const handleSummary = summary('storm');
