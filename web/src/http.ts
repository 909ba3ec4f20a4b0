import type { Abortable, Answer, Clock } from "./api.js";
import { asPresenceError, fromResponse, PresenceError } from "./errors.js";
import type { Config } from "./protocol.js";
import { ANSWER_MS, within } from "./timing.js";

interface Call extends Abortable {
  readonly method: string;
  readonly url: string;
  readonly body?: object | undefined;
  readonly token?: string | undefined;
}

/** The HTTP API. */
export interface Http {
  config(signal?: AbortSignal): Promise<Config>;
  /** Any address. The answer's JSON; undefined if it has no body. */
  call<T>(call: Call): Promise<T>;
  /** `GET /online/count`: a method and a path below /api/user-status. */
  request<R extends string>(route: R, body?: object, options?: Abortable): Promise<Answer<R>>;
}

/** Calls any address, for no longer than an answer may take. */
function createCalls(fetch: typeof globalThis.fetch, clock: Clock) {
  /** `fetch` never gives up by itself, and a browser has only six connections to a server. */
  async function timed<T>(
    signal: AbortSignal | undefined,
    run: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const over = new AbortController();
    const abort = () => over.abort(signal?.reason);
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
    try {
      return await within(clock, ANSWER_MS, run(over.signal));
    } finally {
      signal?.removeEventListener("abort", abort);
      abort();
    }
  }

  async function answer<T>({ method, url, body, token, signal }: Call): Promise<T> {
    const headers = {
      ...(body && { "content-type": "application/json" }),
      ...(token && { authorization: `Bearer ${token}` }),
    };
    const init = { method, headers, body: JSON.stringify(body), signal } as RequestInit;
    const response = await fetch(url, init);
    if (!response.ok) throw await fromResponse(response);
    return (response.status === 204 ? undefined : await response.json()) as T;
  }

  return {
    async call<T>(it: Call): Promise<T> {
      try {
        return await timed(it.signal, (signal) => answer<T>({ ...it, signal }));
      } catch (error) {
        if (it.signal?.aborted) throw error;
        throw asPresenceError(error, "not-connected", `No answer from ${it.url}.`);
      }
    },
    /** Rejects if there is no server, whether or not a page may read what one answers. */
    reach: ({ url, signal }: Call) =>
      timed(signal, (signal) => fetch(url, { mode: "no-cors", signal })),
  };
}

/**
 * @param tokenFor gives the token in use, or undefined where there is none; `isRejected` asks for
 *   another one
 */
export function createHttp(
  apiUrl: string,
  fetch: typeof globalThis.fetch,
  clock: Clock,
  tokenFor: (isRejected: boolean) => Promise<string | undefined>,
): Http {
  // Where it comes from an environment it may be undefined, which is said when it is used.
  const base = `${`${apiUrl}`.replace(/\/+$/, "")}/api/user-status`;
  const wrong = (why: string) => new PresenceError("api-url-invalid", `apiUrl ${apiUrl}: ${why}`);
  const { call: callAny, reach } = createCalls(fetch, clock);

  async function call<T>(it: Call): Promise<T> {
    if (!/^https?:\/\/./.test(base)) throw wrong("begin it with https:// or http://");
    return callAny(it);
  }

  /** An answer that no stack gives. */
  function diagnosed(error: PresenceError): PresenceError {
    const isStrange = error.code === "invalid-message" || error.cause instanceof SyntaxError;
    return isStrange ? wrong(`no stack there. ${error.message}`) : error;
  }

  /**
   * A browser says the same of a server that refuses the page's origin and of one that is not there.
   * But it reaches the first, which `isThere` says it just did.
   */
  async function configuration(it: Call, isThere = false): Promise<Config> {
    const { origin } = globalThis;
    try {
      return await call<Config>(it);
    } catch (cause) {
      const error = diagnosed(cause as PresenceError);
      if (error.code !== "not-connected" || !origin) throw error;
      if (isThere)
        throw new PresenceError("origin-refused", `Add ${origin} to AllowedOrigins of the stack.`);
      await reach(it).catch(() => {
        throw error;
      });
      return configuration(it, true);
    }
  }

  async function request<R extends string>(
    route: R,
    body?: object,
    { signal }: Abortable = {},
    isAgain = false,
  ): Promise<Answer<R>> {
    const token = await tokenFor(isAgain);
    const [method = "", path] = route.split(" ");
    try {
      return await call({ method, url: base + path, body, token, signal });
    } catch (error) {
      if (isAgain || (error as PresenceError).code !== "token-expired") throw error;
      return request(route, body, { signal }, true);
    }
  }

  return {
    call,
    request,
    async config(signal) {
      const config = await configuration({ method: "GET", url: `${base}/config`, signal });
      if (config?.protocol === 1) return config;
      throw config?.protocol
        ? new PresenceError("protocol-mismatch", "Update the client.")
        : wrong("no stack there");
    },
  };
}
