// The API, as a demo shopper who has a token uses it.

const STORED = "flashsale-shopper";

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

/** A key for something that is to happen once. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(STORED));
  } catch {
    return null;
  }
}

function remember(session) {
  try {
    sessionStorage.setItem(STORED, JSON.stringify(session));
  } catch {
    // Then this shopper is forgotten when the page is left.
  }
}

export function createApi(i18n) {
  let session = null;
  let renewing = null;

  /** One request; answers `{status, body}`, or throws a Problem, or what `fetch` throws. */
  async function once(method, path, { body, key, isPublic }) {
    const headers = { "Accept-Language": i18n.language };
    if (!isPublic) headers.Authorization = `Bearer ${session.token}`;
    if (key) headers["Idempotency-Key"] = key;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const text = body === undefined ? undefined : JSON.stringify(body);
    const response = await fetch(path, { method, headers, body: text, cache: "no-store" });
    const answer = response.status === 204 ? {} : await response.json().catch(() => ({}));
    if (!response.ok) throw new Problem(response.status, answer);
    return { status: response.status, body: answer };
  }

  async function withToken(method, path, options) {
    try {
      return await once(method, path, options);
    } catch (error) {
      // The token has expired, or the shop was started anew: the same shopper gets another.
      if (!(error instanceof Problem && error.status === 401) || options.isPublic) throw error;
      renewing ??= begin(session.name).finally(() => {
        renewing = null;
      });
      await renewing;
      return once(method, path, options);
    }
  }

  /** What changes something is sent again under the same key when nobody knows what became of it. */
  async function send(method, path, options = {}) {
    if (method === "GET") return withToken(method, path, options);
    const keyed = { ...options, key: options.key ?? newKey() };
    for (const wait of PAUSES) {
      try {
        return await withToken(method, path, keyed);
      } catch (error) {
        if (error instanceof Problem && error.status !== 504) throw error;
        await pause(wait);
      }
    }
    return withToken(method, path, keyed);
  }

  async function begin(name) {
    const { body } = await once("POST", "dev/session", { body: name ? { name } : {}, isPublic: true });
    session = body;
    remember(session);
  }

  return {
    /** The shopper of this window, or a new one. */
    async start() {
      session = remembered();
      if (!session?.token || !session.name) await begin();
      return session;
    },
    async becomeNew() {
      await begin();
      return session;
    },
    get session() {
      return session;
    },
    async get(path) {
      return (await send("GET", path)).body;
    },
    async getPublic(path) {
      return (await send("GET", path, { isPublic: true })).body;
    },
    send,
  };
}
