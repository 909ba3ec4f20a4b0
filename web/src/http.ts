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
  config(): Promise<Config>;
  /** Any address. The answer's JSON; undefined if it has no body. */
  call<T>(call: Call): Promise<T>;
  /** `GET /online/count`: a method and a path below /api/user-status. */
  request<R extends string>(route: R, body?: object, options?: Abortable): Promise<Answer<R>>;
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
  const base = `${apiUrl.replace(/\/+$/, "")}/api/user-status`;

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

  async function call<T>(it: Call): Promise<T> {
    try {
      return await within(clock, ANSWER_MS, answer<T>(it));
    } catch (error) {
      if (it.signal?.aborted) throw error;
      throw asPresenceError(error, "not-connected", `No answer from ${it.url}.`);
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
    async config() {
      const config = await call<Config>({ method: "GET", url: `${base}/config` });
      if (config.protocol === 1) return config;
      throw new PresenceError("protocol-mismatch", "Update the client.");
    },
  };
}
