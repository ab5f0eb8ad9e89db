// The API, as a demo shopper who has a token uses it.

const STORED = "flashsale-shopper";
const STORED_FORMER = "flashsale-former-shoppers";

/** Longest wait for an answer, in ms: the service itself gives up sooner. */
const READ_LIMIT_MS = 4_000;
const WRITE_LIMIT_MS = 10_000;

/** Pauses before a request whose answer was lost is sent again, in ms. */
const PAUSES = [300, 900, 2_700];

/** No to a request: `code` to decide by, `detail` to show. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? `HTTP ${status}`);
    this.status = status;
    this.code = body.code ?? "";
    this.detail = body.detail ?? "";
    this.body = body;
  }
}

/** No answer at all: the request, or its answer, was lost. */
export class Unanswered extends Error {
  /** `text`: the key of a sentence that says it better than the one for all. */
  constructor(text) {
    super();
    this.text = text;
  }
}

/** The window has become somebody else in between: the answer is nobody's business any more. */
export class SomebodyElse extends Error {}

/** Statuses that say nothing about an earlier request under the same key: this one was not looked at. */
const UNDECIDED = [401, 408, 429, 503];

/** Whether nobody knows what became of a request; `wasOpen`: an earlier one under its key had no answer. */
export function isOpen(error, wasOpen) {
  if (error instanceof Unanswered) return true;
  if (!(error instanceof Problem)) return false;
  // Without a code it was not the service that answered, but something on the way to it.
  return error.status === 504 || error.status === 500 || error.code === "" || (wasOpen && UNDECIDED.includes(error.status));
}

/** A key for something that is to happen once. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function remembered(name) {
  try {
    return JSON.parse(sessionStorage.getItem(name));
  } catch {
    return null;
  }
}

function remember(name, value) {
  try {
    sessionStorage.setItem(name, JSON.stringify(value));
  } catch {
    // Then it is forgotten when the page is left.
  }
}

/** What `fetch` answers, and the body; `Unanswered` also when it breaks off in the middle. */
async function exchange(path, init, limit) {
  try {
    const response = await fetch(path, { ...init, cache: "no-store", signal: AbortSignal.timeout(limit) });
    const text = await response.text();
    return { response, text };
  } catch {
    throw new Unanswered();
  }
}

function parsed(text, isOk) {
  try {
    return text === "" ? {} : JSON.parse(text);
  } catch {
    if (isOk) throw new Unanswered();
    return {};
  }
}

export function createApi(i18n) {
  let session = null;
  /** Who this window was before, the last one at the end. */
  let former = [];
  let renewing = null;

  /** One request, as `who`; answers `{status, body}`, or throws a Problem, or Unanswered. */
  async function once(method, path, { body, key }, who) {
    const headers = { "Accept-Language": i18n.language };
    if (who) headers.Authorization = `Bearer ${who.token}`;
    if (key) headers["Idempotency-Key"] = key;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const init = { method, headers, body: body === undefined ? undefined : JSON.stringify(body) };
    const { response, text } = await exchange(path, init, method === "GET" ? READ_LIMIT_MS : WRITE_LIMIT_MS);
    const answer = parsed(text, response.ok);
    if (!response.ok) throw new Problem(response.status, answer);
    return { status: response.status, body: answer };
  }

  async function withToken(method, path, options, who) {
    try {
      return await once(method, path, options, who);
    } catch (error) {
      // The token has expired, or the shop was started anew: the same shopper gets another.
      if (!(error instanceof Problem && error.status === 401) || !who) throw error;
      renewing ??= renew(who).finally(() => {
        renewing = null;
      });
      await renewing;
      return once(method, path, options, who);
    }
  }

  /** What changes something is sent again under the same key when nobody knows what became of it. */
  async function send(method, path, options = {}) {
    // Whoever the window becomes meanwhile, it goes on as the one who began.
    const who = options.isPublic ? null : session;
    if (method === "GET") return withToken(method, path, options, who);
    const keyed = { ...options, key: options.key ?? newKey() };
    const giveUpAt = performance.now() + WRITE_LIMIT_MS - 1_000;
    let wasOpen = false;
    for (const wait of PAUSES) {
      try {
        return await withToken(method, path, keyed, who);
      } catch (error) {
        if (!isOpen(error, wasOpen)) throw error;
        wasOpen = true;
        if (performance.now() > giveUpAt) throw new Unanswered();
        await pause(wait);
        // Whoever went away sees in his orders what became of it: nothing more is bought behind his back.
        if (who && session !== who) throw new SomebodyElse();
      }
    }
    return withToken(method, path, keyed, who).catch((error) => {
      throw isOpen(error, wasOpen) ? new Unanswered() : error;
    });
  }

  const begin = async (name) => (await once("POST", "dev/session", { body: name ? { name } : {} }, null)).body;

  async function renew(who) {
    Object.assign(who, await begin(who.name));
    keep();
  }

  function keep() {
    remember(STORED, session);
    remember(STORED_FORMER, former);
  }

  /** What only this shopper may see; nobody's when the window has become somebody else. */
  async function get(path) {
    const who = session;
    const { body } = await send("GET", path);
    if (session !== who) throw new SomebodyElse();
    return body;
  }

  return {
    /** The shopper of this window, or a new one. */
    async start() {
      session = remembered(STORED);
      former = remembered(STORED_FORMER) ?? [];
      if (!session?.token || !session.name) session = await begin();
      keep();
    },
    async becomeNew() {
      const next = await begin();
      former.push(session);
      session = next;
      keep();
    },
    /** The last one before this one; this one goes to the end of the queue, so that everybody's turn comes again. */
    becomeFormer() {
      former.unshift(session);
      session = former.pop();
      keep();
    },
    get session() {
      return session;
    },
    get former() {
      return former.at(-1) ?? null;
    },
    get,
    async getPublic(path) {
      return (await send("GET", path, { isPublic: true })).body;
    },
    send,
  };
}
