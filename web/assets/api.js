// Every call of the HTTP contract that the pages make, by name.

import { Problem, send } from './http.js';
import { knows, t } from './i18n.js';
import { session } from './session.js';

/** As whoever is signed in; an access token that ran out early is renewed once. */
async function call(method, path, options = {}) {
  const token = await session.fresh();
  try {
    return await send(method, path, { ...options, token });
  } catch (problem) {
    if (problem.status !== 401 || !token) throw problem;
    return send(method, path, { ...options, token: await session.renew() });
  }
}

const query = (values) => {
  const kept = Object.entries(values).filter(([, value]) => value !== null && value !== undefined);
  return kept.length ? `?${new URLSearchParams(kept)}` : '';
};
const channel = (room) => `/api/channels/${encodeURIComponent(room)}`;

export const api = {
  channels: (filter) => send('GET', `/api/channels${query(filter)}`),
  channel: (room) => call('GET', channel(room)),
  editChannel: (room, changes) => call('PATCH', channel(room), { body: changes }),
  streamKey: (room) => call('GET', `${channel(room)}/stream-key`),
  health: (room) => call('GET', `${channel(room)}/health`),
  streamKeys: (room) => call('GET', `${channel(room)}/stream-keys`),
  addStreamKey: (room, label) => call('POST', `${channel(room)}/stream-keys`, { body: { label } }),
  revokeStreamKey: (room, key) => call('DELETE', `${channel(room)}/stream-keys/${encodeURIComponent(key)}`),
  newStreamKey: (room) => call('POST', `${channel(room)}/stream-key`, { body: {} }),
  follow: (room) => call('PUT', `${channel(room)}/follow`),
  unfollow: (room) => call('DELETE', `${channel(room)}/follow`),

  messages: (room, page) => send('GET', `${channel(room)}/messages${query(page)}`),
  message: (room, id) => send('GET', `${channel(room)}/messages/${encodeURIComponent(id)}`),
  donations: (room, page) => call('GET', `${channel(room)}/donations${query(page)}`),
  rank: (room, period) => send('GET', `${channel(room)}/donations/rank${query({ period })}`),
  heldDonations: (room) => call('GET', `${channel(room)}/donations/held`),
  approveDonation: (room, id) => call('PUT', `${channel(room)}/donations/held/${encodeURIComponent(id)}`),
  denyDonation: (room, id) => call('DELETE', `${channel(room)}/donations/held/${encodeURIComponent(id)}`),
  donationSettings: (room) => send('GET', `${channel(room)}/donation-settings`),
  setDonationSettings: (room, changes) => call('PATCH', `${channel(room)}/donation-settings`, { body: changes }),
  goal: (room) => send('GET', `${channel(room)}/goal`),
  startGoal: (room, goal) => call('POST', `${channel(room)}/goal`, { body: goal }),
  closeGoal: (room) => call('DELETE', `${channel(room)}/goal`),
  overlay: (room, donation) => send('GET', `${channel(room)}/overlay${query({ donation })}`),
  overlayKey: (room) => call('GET', `${channel(room)}/overlay/key`),
  rotateOverlayKey: (room) => call('POST', `${channel(room)}/overlay/key`, { body: {} }),
  cue: (room, action, donation) => call('POST', `${channel(room)}/overlay/cues`, { body: { action, donation } }),
  alertShown: (room, donation, token) => send('PUT', `${channel(room)}/overlay/shown/${encodeURIComponent(donation)}`, { token }),
  streams: (room, page) => send('GET', `${channel(room)}/streams${query(page)}`),
  recordings: (room, page) => send('GET', `${channel(room)}/recordings${query(page)}`),
  recording: (stream) => send('GET', `/api/recordings/${encodeURIComponent(stream)}`),
  deleteRecording: (stream) => call('DELETE', `/api/recordings/${encodeURIComponent(stream)}`),
  recordingEvents: (stream, page) => send('GET', `/api/recordings/${encodeURIComponent(stream)}/events${query(page)}`),
  course: (room, stream) => send('GET', `${channel(room)}/streams/${encodeURIComponent(stream)}/course`),
  stats: (room) => send('GET', `${channel(room)}/stats`),

  chatSettings: (room) => call('GET', `${channel(room)}/chat-settings`),
  setChatSettings: (room, changes) => call('PATCH', `${channel(room)}/chat-settings`, { body: changes }),
  deleteMessage: (room, id) => call('DELETE', `${channel(room)}/messages/${encodeURIComponent(id)}`),
  timeOut: (room, account, seconds) => call('PUT', `${channel(room)}/timeouts/${encodeURIComponent(account)}`, { body: { seconds } }),
  liftTimeout: (room, account) => call('DELETE', `${channel(room)}/timeouts/${encodeURIComponent(account)}`),
  ban: (room, account) => call('PUT', `${channel(room)}/bans/${encodeURIComponent(account)}`),
  unban: (room, account) => call('DELETE', `${channel(room)}/bans/${encodeURIComponent(account)}`),
  addModerator: (room, account) => call('PUT', `${channel(room)}/moderators/${encodeURIComponent(account)}`),
  removeModerator: (room, account) => call('DELETE', `${channel(room)}/moderators/${encodeURIComponent(account)}`),
  /** `bans`, `timeouts` or `moderators`. */
  standings: (room, kind) => call('GET', `${channel(room)}/${kind}`),
  clearChat: (room) => call('POST', `${channel(room)}/clear`, { body: {} }),
  audit: (room, page) => call('GET', `${channel(room)}/audit${query(page)}`),
  held: (room) => call('GET', `${channel(room)}/held`),
  approve: (room, id) => call('PUT', `${channel(room)}/held/${encodeURIComponent(id)}`),
  deny: (room, id) => call('DELETE', `${channel(room)}/held/${encodeURIComponent(id)}`),
  pinned: (room) => send('GET', `${channel(room)}/pin`),
  pin: (room, message) => call('PUT', `${channel(room)}/pin`, { body: { message } }),
  unpin: (room) => call('DELETE', `${channel(room)}/pin`),

  names: (ids) => send('GET', `/api/accounts/names${query({ ids: ids.join(',') })}`),
  chooseName: (name) => call('PUT', '/api/accounts/me/display-name', { body: { display_name: name } }),
  sessions: () => call('GET', '/api/sessions'),
  endSession: (id) => call('DELETE', `/api/sessions/${encodeURIComponent(id)}`),
  changePassword: (old, fresh) => call('PUT', '/api/accounts/me/password', { body: { old, new: fresh } }),
  eraseAccount: (password) => call('DELETE', '/api/accounts/me', { body: { password } }),

  // 503 says what is missing: that is an answer too.
  ready: () => fetch('/readyz').then((answer) => answer.json()),
  status: () => call('GET', '/api/admin/status'),
  cluster: () => call('GET', '/api/admin/cluster'),
  schemas: () => call('GET', '/api/admin/schemas'),
  operatorLog: (page) => call('GET', `/api/admin/audit${query(page)}`),
  accounts: (filter) => call('GET', `/api/admin/accounts${query(filter)}`),
  grantRole: (id, role) => call('PUT', `/api/admin/accounts/${id}/role`, { body: { role } }),
  personSessions: (id) => call('GET', `/api/admin/accounts/${id}/sessions`),
  endPersonSessions: (id) => call('DELETE', `/api/admin/accounts/${id}/sessions`),
  endPersonSession: (id, one) => call('DELETE', `/api/admin/accounts/${id}/sessions/${one}`),
  erasePerson: (id) => call('DELETE', `/api/admin/accounts/${id}`),
  /** `rebuild`, `verify` or `rollback`. */
  wishRebuild: (name, wish) => call('POST', `/api/admin/rebuilds/${encodeURIComponent(name)}`, { body: { wish } }),
  holdRebuild: (name, what) => call('POST', `/api/admin/rebuilds/${encodeURIComponent(name)}/${what}`),
  deadLetters: () => call('GET', '/api/admin/dead-letters'),
  deadLetter: (id) => call('GET', `/api/admin/dead-letters/${encodeURIComponent(id)}`),
  retryLetter: (id, dry) => call('POST', `/api/admin/dead-letters/${encodeURIComponent(id)}/retry${query({ dry_run: dry || null })}`),
  dropLetter: (id) => call('DELETE', `/api/admin/dead-letters/${encodeURIComponent(id)}`),

  wallet: () => call('GET', '/api/wallet'),
  entries: (page) => call('GET', `/api/wallet/entries${query(page)}`),
  statement: (span) => call('GET', `/api/wallet/statement.csv${query(span)}`, { text: true }),
  checkout: (payment) => send('GET', `/api/sandbox/checkout/${encodeURIComponent(payment)}`),
  choose: (payment, outcome) => send('POST', '/api/sandbox/checkout', { body: { payment, outcome } }),
  topUp: (amount, key) => call('POST', '/api/wallet/top-ups', { body: { amount }, key }),
  donate: (room, donation, key) => call('POST', `${channel(room)}/donations`, { body: donation, key }),
  refund: (donation, amount, key) => call('POST', `/api/donations/${encodeURIComponent(donation)}/refund`, { body: { amount }, key }),
};

/** One sentence for people about anything that was thrown. */
export function explain(fault) {
  if (!(fault instanceof Problem)) return t('error.unknown');
  if (fault.code && knows(`error.${fault.code}`)) return t(`error.${fault.code}`);
  if (fault.status >= 500) return t('error.server');
  return fault.detail || t('error.unknown');
}
