// Who is signed in. The access token lives in this module's memory only; the refresh token in an HttpOnly cookie that
// no script can read. `lemonair.signed_in` in localStorage holds no secret: it only spares strangers a useless request.

import { send } from './http.js';
import { local, word } from './storage.js';

const HINT = 'signed_in';
const RENEW_AT = 0.8;

class Session extends EventTarget {
  account = null;
  #token = null;
  #expires = 0;
  #timer = 0;
  #renewing = null;
  #ready = null;

  /** Resolves when it is known whether somebody is signed in; never rejects. */
  get ready() {
    return (this.#ready ??= word(HINT) ? this.renew().catch(() => null) : Promise.resolve(null));
  }

  get token() {
    return this.#token;
  }

  /** The token to go on with: renewed first where its time ran out unnoticed, as in a laptop that slept. */
  async fresh() {
    await this.ready;
    if (this.#token && Date.now() > this.#expires) await this.renew().catch(() => null);
    return this.#token;
  }

  async signUp(name, password) {
    this.#enter(await send('POST', '/api/accounts', { body: { name, password } }));
  }

  async logIn(name, password) {
    this.#enter(await send('POST', '/api/sessions', { body: { name, password } }));
  }

  async logOut() {
    const token = this.#token;
    this.#leave();
    await send('DELETE', '/api/sessions', { token }).catch(() => null);
  }

  /** Trades the cookie for a new access token. Calls at the same time share one request. */
  renew() {
    this.#renewing ??= this.#renew().finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  async #renew() {
    // Two tabs must not present the same refresh token: the second would look like a stolen one.
    const refresh = () => send('POST', '/api/sessions/refresh', { body: {} });
    try {
      this.#enter(await (navigator.locks ? navigator.locks.request('lemonair.refresh', refresh) : refresh()));
    } catch (problem) {
      if (problem.status >= 400 && problem.status < 500 && problem.status !== 429) this.#leave();
      else this.#renewIn(10_000);
      throw problem;
    }
    return this.#token;
  }

  #enter({ account, tokens }) {
    const changed = account.id !== this.account?.id;
    this.account = account;
    this.#token = tokens.access_token;
    this.#ready = Promise.resolve();
    this.#expires = Date.now() + tokens.expires_in * 1000;
    local.set(HINT, '1');
    this.#renewIn(tokens.expires_in * 1000 * RENEW_AT);
    if (changed) this.dispatchEvent(new Event('change'));
  }

  #leave() {
    const changed = this.account !== null;
    this.account = null;
    this.#token = null;
    clearTimeout(this.#timer);
    local.set(HINT, null);
    if (changed) this.dispatchEvent(new Event('change'));
  }

  #renewIn(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.renew().catch(() => null), Math.min(ms, 2 ** 31 - 1));
  }

  /** Another tab signed in or out. */
  heard(value) {
    if (value === null) this.#leave();
    else if (this.account === null) this.renew().catch(() => null);
  }
}

export const session = new Session();

addEventListener('storage', (event) => {
  if (event.key === `lemonair.${HINT}`) session.heard(event.newValue);
});
