/** The `fetch` of a device, over its network. */

import type { FakeNetwork, Severable } from "./network.js";
import type { HttpAnswer, HttpRequest } from "./routes.js";
import { soon } from "./surroundings.js";

/** What answers a request; null for an unknown address, or where the page may not read it. */
export type Answerer = (
  url: URL,
  request: HttpRequest,
  isOpaque: boolean,
) => Promise<HttpAnswer> | null;

export function fakeFetch(network: FakeNetwork, server: Answerer): typeof fetch {
  return async (input, init = {}) => {
    const url = new URL(typeof input === "object" && "url" in input ? input.url : String(input));
    const request = await requestOf(url, input, init);
    const signal = init.signal ?? (isRequest(input) ? input.signal : null);
    return new Exchange(network, signal).run(
      () => server(url, request, init.mode === "no-cors"),
      url,
    );
  };
}

/** One request on its way, until it is answered, aborted or cut. */
class Exchange implements Severable {
  readonly #network: FakeNetwork;
  readonly #signal: AbortSignal | null;
  #fail: (reason: unknown) => void = () => {};

  constructor(network: FakeNetwork, signal: AbortSignal | null) {
    this.#network = network;
    this.#signal = signal;
  }

  run(serve: () => Promise<HttpAnswer> | null, url: URL): Promise<Response> {
    if (this.#signal?.aborted) return Promise.reject(this.#signal.reason);
    const forget = this.#network.opened(this);
    const abort = () => this.#fail(this.#signal?.reason);
    this.#signal?.addEventListener("abort", abort);
    const answered = new Promise<Response>((resolve, reject) => {
      this.#fail = reject;
      this.#send(serve, (answer) => resolve(response(answer, url)));
    });
    return answered.finally(() => {
      forget();
      this.#signal?.removeEventListener("abort", abort);
    });
  }

  /** @internal The network was cut. */
  sever(): void {
    soon(() => this.#fail(new TypeError("Failed to fetch")));
  }

  #send(serve: () => Promise<HttpAnswer> | null, answered: (answer: HttpAnswer) => void): void {
    if (this.#network.isCut) {
      this.sever();
      return;
    }
    const [up, down] = [this.#network.pipe(true), this.#network.pipe(false)];
    up.push(() => {
      const served = serve();
      if (served) void served.then((answer) => down.push(() => answered(answer)));
      else down.push(() => this.sever());
    });
  }
}

// The request.

async function requestOf(
  url: URL,
  input: RequestInfo | URL,
  init: RequestInit,
): Promise<HttpRequest> {
  const request = isRequest(input) ? input : undefined;
  return {
    method: (init.method ?? request?.method ?? "GET").toUpperCase(),
    path: url.pathname,
    query: new Map(url.searchParams),
    headers: new Map([...headersOf(request?.headers), ...headersOf(init.headers)]),
    body: typeof init.body === "string" ? init.body : ((await request?.text()) ?? ""),
  };
}

function isRequest(input: RequestInfo | URL): input is Request {
  return typeof input === "object" && "method" in input;
}

function headersOf(headers: HeadersInit | undefined): readonly (readonly [string, string])[] {
  const pairs: [string, string][] = [];
  const add = (value: string, name: string) => pairs.push([name.toLowerCase(), value]);
  if (headers === undefined) return pairs;
  if (Array.isArray(headers)) for (const [name = "", value = ""] of headers) add(value, name);
  else if (typeof headers.forEach === "function") headers.forEach(add);
  else for (const [name, value] of Object.entries(headers)) add(String(value), name);
  return pairs;
}

// The response.

/** As much of a Response as is used. Jest's jsdom has none of its own. */
function response(answer: HttpAnswer, url: URL): Response {
  const { status, headers = {}, body } = answer;
  const text = body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body);
  const values = new Map(headersOf(headers as Record<string, string>));
  const made = {
    url: url.href,
    status,
    statusText: "",
    ok: status >= 200 && status < 300,
    type: "cors",
    redirected: false,
    bodyUsed: false,
    headers: {
      get: (name: string) => values.get(name.toLowerCase()) ?? null,
      has: (name: string) => values.has(name.toLowerCase()),
      forEach: (run: (value: string, name: string) => void) => {
        for (const [name, value] of values) run(value, name);
      },
    },
    text: async () => text,
    json: async () => JSON.parse(text) as unknown,
    clone: () => response(answer, url),
  };
  return made as unknown as Response;
}
