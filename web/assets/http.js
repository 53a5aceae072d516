// One request to the gateway: JSON in, JSON out, and every fault as a `Problem`.

const TIMEOUT_MS = 15_000;

/** What went wrong, as the gateway's problem details tell it; `network` when there was no answer at all. */
export class Problem extends Error {
  constructor(status, { code = null, detail = '', retry_after_ms: retryAfter = null } = {}) {
    super(detail || code || `HTTP ${status}`);
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.retryAfter = retryAfter;
  }

  /** True when the request may or may not have been carried out, so that only a retry with the same key is safe. */
  get uncertain() {
    return this.status === 0 || this.status >= 500;
  }
}

/** `text`: the answer is no JSON. */
export async function send(method, path, { body, token, key, text = false } = {}) {
  const headers = { accept: text ? '*/*' : 'application/json' };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (token) headers.authorization = `Bearer ${token}`;
  if (key) headers['idempotency-key'] = key;
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: 'same-origin',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    throw new Problem(0, { code: 'network' });
  }
  // Nothing to say, as when something is begun that takes its time.
  if (response.status === 204 || response.headers.get('content-length') === '0') return null;
  const answer = await (text && response.ok ? response.text() : response.json()).catch(() => null);
  if (!response.ok) throw new Problem(response.status, answer ?? {});
  // A cut connection can end a good answer early; its outcome is then as unknown as without any answer.
  if (answer === null) throw new Problem(0, { code: 'network' });
  return answer;
}
