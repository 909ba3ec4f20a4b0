import type { Abortable, Answer, Clock } from "./api.js";
import { within } from "./deadline.js";
import { asPresenceError, fromResponse, PresenceError } from "./errors.js";
import type { Config } from "./protocol.js";

const ANSWER_MS = 10_000;

/** The HTTP API. */
export interface Http {
  config(): Promise<Config>;
  developmentToken(url: string, userId: string): Promise<string>;
  /** `GET /online/count`: a method and a path below /api/user-status. */
  request<R extends string>(route: R, body?: unknown, options?: Abortable): Promise<Answer<R>>;
}

/**
 * @param token gives the token in use, or undefined where there is none; `isRejected` asks for
 *   another one
 */
export function createHttp(
  apiUrl: string,
  fetch: typeof globalThis.fetch,
  clock: Clock,
  token: (isRejected: boolean) => Promise<string | undefined>,
): Http {
  const base = `${apiUrl.replace(/\/+$/, "")}/api/user-status`;

  /** The answer's JSON; undefined if it has no body. */
  async function call<T>(
    method: string,
    url: string,
    body?: unknown,
    signal?: AbortSignal,
    credential?: string,
  ): Promise<T> {
    const headers = {
      ...(body ? { "content-type": "application/json" } : {}),
      ...(credential ? { authorization: `Bearer ${credential}` } : {}),
    };
    const init = { method, headers, body: JSON.stringify(body), signal } as RequestInit;
    const response = await within(clock, ANSWER_MS, fetch(url, init)).catch((error: unknown) => {
      if (signal?.aborted) throw error;
      throw asPresenceError(error, "not-connected", `No answer from ${url}.`);
    });
    if (!response.ok) throw await fromResponse(response);
    return response.status === 204 ? (undefined as T) : response.json();
  }

  async function request<R extends string>(
    route: R,
    body?: unknown,
    options: Abortable = {},
    isAgain = false,
  ): Promise<Answer<R>> {
    const credential = await token(isAgain);
    const [method = "", path] = route.split(" ");
    try {
      return await call(method, base + path, body, options.signal, credential);
    } catch (error) {
      if (isAgain || (error as PresenceError).code !== "token-expired") throw error;
      return request(route, body, options, true);
    }
  }

  return {
    request,
    async config() {
      const config = await call<Config>("GET", `${base}/config`);
      if (config.protocol === 1) return config;
      throw new PresenceError("protocol-mismatch", `Protocol ${config.protocol}, not 1.`);
    },
    developmentToken: async (url, userId) =>
      (await call<{ token: string }>("POST", url, { userId })).token,
  };
}
