// 2,000 users enter one room at the same instant.

import { Viewer, faultless, joined, summary } from './lib.js';

const users = Number(__ENV.USERS || 2000);
const vus = 20;

export const options = {
  scenarios: { spike: { executor: 'per-vu-iterations', vus, iterations: 1, maxDuration: '60s' } },
  thresholds: { ...faultless, joined: [`count==${users}`] },
};

export default function spike() {
  let waiting = users / vus;
  const viewers = [];
  const entered = () => {
    waiting -= 1;
    // All stay until the last is in, so that the room is as full as it gets.
    if (waiting === 0) setTimeout(() => viewers.forEach((viewer) => viewer.leave()), 2000);
  };
  for (let n = 0; n < users / vus; n += 1) viewers.push(new Viewer('spike', { in: entered }));
}

export const handleSummary = summary('spike');
