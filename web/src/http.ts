import type { Abortable, Answer, Clock } from "./api.js";
import { ANSWER_MS, within } from "./deadline.js";
import { asPresenceError, fromResponse, PresenceError } from "./errors.js";
import type { Config } from "./protocol.js";

/** The HTTP API. */
export interface Http {
  config(): Promise<Config>;
  /** Any address. The answer's JSON; undefined if it has no body. */
  call<T>(method: string, url: string, body?: object): Promise<T>;
  /** `GET /online/count`: a method and a path below /api/user-status. */
  request<R extends string>(route: R, body?: object, options?: Abortable): Promise<Answer<R>>;
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

  async function call<T>(
    method: string,
    url: string,
    body?: object,
    signal?: AbortSignal,
    credential?: string,
  ): Promise<T> {
    const headers = {
      ...(body && { "content-type": "application/json" }),
      ...(credential && { authorization: `Bearer ${credential}` }),
    };
    const init = { method, headers, body: JSON.stringify(body), signal } as RequestInit;
    const answer = async () => {
      const response = await fetch(url, init);
      if (!response.ok) throw await fromResponse(response);
      return response.status === 204 ? undefined : response.json();
    };
    return within(clock, ANSWER_MS, answer()).catch((error: unknown) => {
      if (signal?.aborted) throw error;
      throw asPresenceError(error, "not-connected", `No answer from ${url}.`);
    });
  }

  async function request<R extends string>(
    route: R,
    body?: object,
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
    call,
    request,
    async config() {
      const config = await call<Config>("GET", `${base}/config`);
      if (config.protocol === 1) return config;
      throw new PresenceError("protocol-mismatch", "Update the client.");
    },
  };
}
