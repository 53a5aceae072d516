// 200 messages a second, while 60 viewers join and 60 vanish without a close frame: those who stay notice nothing.

import { Viewer, audience, faultless, failed, summary } from './lib.js';

const seconds = Number(__ENV.SECONDS || 20);
const perSecond = 200;
const talkers = 20;
const all = seconds * perSecond;

export const options = {
  scenarios: {
    stay: { executor: 'per-vu-iterations', exec: 'stay', vus: 2, iterations: 1, maxDuration: '300s' },
    talk: { executor: 'per-vu-iterations', exec: 'talk', vus: 1, iterations: 1, startTime: '2s', maxDuration: '300s' },
    // Iterations are cut off hard when their time is over: the sockets go without a word.
    vanish: { executor: 'constant-vus', exec: 'vanish', vus: 3, duration: `${seconds}s`, startTime: '3s', gracefulStop: '0s' },
  },
  thresholds: faultless,
};

/** 100 in all, from beginning to end. */
export function stay() {
  const { viewers, heard } = audience(all);
  for (let n = 0; n < 50; n += 1) viewers.push(new Viewer('churn', { heard }));
}

export function talk() {
  const viewers = [];
  for (let n = 0; n < talkers; n += 1) {
    const viewer = new Viewer('churn', {
      name: `churner-${n}`,
      in: () => {
        let number = 0;
        const timer = setInterval(() => {
          if (number === all / talkers) {
            clearInterval(timer);
            return setTimeout(() => viewer.leave(), 1000);
          }
          viewer.say(number, (answer) => answer.type === 'ack' || failed.add(1));
          number += 1;
        }, (1000 * talkers) / perSecond);
      },
    });
    viewers.push(viewer);
  }
}

/** 20 a go, three at a time; gone after a second or two. */
export function vanish() {
  const viewers = [];
  for (let n = 0; n < 20; n += 1) viewers.push(new Viewer('churn'));
  setTimeout(() => {
    for (const viewer of viewers) {
      viewer.leaving = true;
      viewer.socket.close(3001);
    }
  }, 1000 + Math.random() * 1000);
}

export const handleSummary = summary('churn');
