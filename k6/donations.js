// 50 donors give, each donation asked for up to three times with one key: as many donations as keys.

import http from 'k6/http';
import exec from 'k6/execution';
import { check } from 'k6';
import { Counter, Trend } from 'k6/metrics';

const base = __ENV.LEMONAIR_URL || 'http://127.0.0.1:8080';
const donors = Number(__ENV.DONORS || 50);
const each = Number(__ENV.EACH || 20);

const decided = new Counter('decided');
const wrong = new Counter('wrong');
const answer = new Trend('answer', true);

export const options = {
  scenarios: { donations: { executor: 'per-vu-iterations', vus: donors, iterations: each, maxDuration: '120s' } },
  thresholds: { wrong: ['count==0'], decided: [`count==${donors * each}`] },
  setupTimeout: '120s',
};

const json = { 'Content-Type': 'application/json' };

function signUp(name) {
  const body = JSON.stringify({ name, password: 'correct horse battery' });
  const answered = http.post(`${base}/api/accounts`, body, { headers: json });
  if (answered.status !== 201) exec.test.abort(`cannot sign up: ${answered.status} ${answered.body}`);
  return answered.json('tokens.access_token');
}

export function setup() {
  const room = `star${Date.now() % 1e9}`;
  signUp(room);
  const tokens = [];
  for (let n = 0; n < donors; n += 1) {
    const token = signUp(`${room}d${n}`);
    const headers = { ...json, Authorization: `Bearer ${token}` };
    http.post(`${base}/api/wallet/top-ups`, JSON.stringify({ amount: each * 10 }), { headers });
    tokens.push(token);
  }
  return { room, tokens };
}

export default function donate({ room, tokens }) {
  const key = `k-${exec.vu.idInTest}-${exec.vu.iterationInScenario}`;
  const headers = { ...json, Authorization: `Bearer ${tokens[exec.vu.idInTest - 1]}`, 'Idempotency-Key': key };
  const body = JSON.stringify({ amount: 10, message: key });
  const ids = new Set();
  for (let n = 0; n < 1 + (exec.vu.iterationInScenario % 3); n += 1) {
    const answered = http.post(`${base}/api/channels/${room}/donations`, body, { headers });
    answer.add(answered.timings.duration);
    if (!check(answered, { accepted: ({ status }) => status === 201 })) wrong.add(1);
    ids.add(answered.json('id'));
  }
  if (ids.size !== 1) wrong.add(1);
  decided.add(ids.size);
}

export function teardown({ room, tokens }) {
  const stats = http.get(`${base}/api/channels/${room}/stats`).json();
  if (stats.donations !== donors * each || stats.donated !== donors * each * 10) wrong.add(1);
  for (const token of tokens) {
    const wallet = http.get(`${base}/api/wallet`, { headers: { Authorization: `Bearer ${token}` } }).json();
    if (wallet.balance !== 0) wrong.add(1);
  }
}

export function handleSummary({ metrics }) {
  const value = (metric, key = 'count') => metrics[metric]?.values[key] ?? 0;
  const passed = Object.values(metrics).every(({ thresholds }) => Object.values(thresholds || {}).every(({ ok }) => ok));
  const row = `donations: ${value('decided')} decided, ${value('wrong')} wrong, answer p95 ${Math.round(value('answer', 'p(95)'))} ms, ${passed ? 'passed' : 'FAILED'}`;
  return { stdout: `${row}\n` };
}
