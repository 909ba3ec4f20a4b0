/** Serves HTTP requests: finds the route, and answers as the server would or as a test says. */

import { Refusal, type Rules } from "./refusal.js";
import { parseObject } from "./requests.js";
import {
  type Addresses,
  type HttpAnswer,
  type HttpRequest,
  json,
  match,
  refused,
} from "./routes.js";
import type { Stack } from "./stack.js";
import type { AnswerHow, ReceivedRequest } from "./types.js";

export class HttpApi {
  readonly requests: ReceivedRequest[] = [];
  readonly #stack: Stack;
  readonly #rules: Rules;
  readonly #apiUrl: string;
  readonly #addresses: Addresses;

  constructor(stack: Stack, rules: Rules, apiUrl: string, addresses: Addresses) {
    this.#stack = stack;
    this.#rules = rules;
    this.#apiUrl = apiUrl;
    this.#addresses = addresses;
  }

  /** Null for an address that is not this server's. */
  respond(url: URL, request: HttpRequest): Promise<HttpAnswer> | null {
    if (url.href === this.#addresses.developmentTokenUrl) {
      const route = `${request.method} ${request.path}`;
      return this.#answered(request, route, () => this.#developmentToken(request));
    }
    if (!url.href.startsWith(this.#apiUrl)) return null;
    const path = url.pathname.slice(new URL(this.#apiUrl).pathname.replace(/\/$/, "").length);
    return this.#route({ ...request, path });
  }

  #route(request: HttpRequest): Promise<HttpAnswer> {
    const { method, path } = request;
    const found = match(method, path);
    if (!found) {
      const notFound = () => json({ message: "Not Found" }, 404);
      return this.#answered(request, `${method} ${path}`, notFound);
    }
    const { route, id, handler } = found;
    const [stack, addresses] = [this.#stack, this.#addresses];
    return this.#answered(request, route, () => handler({ stack, addresses, request, id }));
  }

  #developmentToken({ body }: HttpRequest): HttpAnswer {
    const { userId, scope, ttl } = parseObject(body);
    const options = {
      ...(typeof scope === "string" ? { scope } : {}),
      ...(typeof ttl === "number" ? { ttlSeconds: ttl } : {}),
    };
    const { tokens, now } = this.#stack;
    return json({ token: tokens.make(String(userId), options, now) });
  }

  #answered(
    { method, path, body }: HttpRequest,
    route: string,
    serve: () => HttpAnswer,
  ): Promise<HttpAnswer> {
    this.requests.push({ method, path, route, at: this.#stack.now, body });
    try {
      const refusal = this.#rules.refusal(route);
      if (refusal) throw refusal;
      const [answer, tellOthers] = this.#stack.fanout.holding(serve);
      tellOthers();
      return this.#sent(answer, this.#rules.answerHow(route));
    } catch (refusal) {
      if (refusal instanceof Refusal) return Promise.resolve(refused(refusal));
      throw refusal;
    }
  }

  #sent(answer: HttpAnswer, how: AnswerHow | undefined): Promise<HttpAnswer> {
    if (how === "swallow") return new Promise(() => {});
    if (how !== undefined && "delayMs" in how) {
      return new Promise((resolve) => {
        this.#stack.after(how.delayMs, () => resolve(answer));
      });
    }
    return Promise.resolve(how ? { status: how.status ?? 200, body: how.body } : answer);
  }
}
