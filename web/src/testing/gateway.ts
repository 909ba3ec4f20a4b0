/** Serves HTTP requests and sockets: finds the handler, and answers as the server would or as a test says. */

import type { ClientFrame, ServerFrame } from "../protocol.js";
import { serve } from "./actions.js";
import type { Connection } from "./connections.js";
import { type AnswerHow, Refusal, type Rules } from "./refusal.js";
import {
  actionIn,
  byteLength,
  type Fields,
  idIn,
  nameIn,
  parseObject,
  readable,
} from "./requests.js";
import {
  type Addresses,
  type HttpAnswer,
  type HttpRequest,
  json,
  match,
  refused,
} from "./routes.js";
import type { Inbox, Link } from "./socket.js";
import type { Stack } from "./stack.js";
import type { ReceivedFrame, ReceivedRequest } from "./types.js";

/** What API Gateway takes; beyond it, the connection is closed. */
const MAX_GATEWAY_BYTES = 32 * 1024;
const TOO_LARGE = 1009;

// HTTP.

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

  /** Null for an address that is not this server's, or a page that may not read its answers. */
  respond(url: URL, request: HttpRequest, isOpaque = false): Promise<HttpAnswer> | null {
    if (!this.#rules.allowsOrigin && !isOpaque) return null;
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
    const { route, ids, handler } = found;
    const [stack, addresses] = [this.#stack, this.#addresses];
    return this.#answered(request, route, () => handler({ stack, addresses, request, ids }));
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

// Sockets: the handshake, frames as text, and what they are answered.

export class WebSocketApi {
  readonly received: ReceivedFrame[] = [];
  readonly #stack: Stack;
  readonly #rules: Rules;
  readonly #url: string;
  /** Whether changes are sent before the answer to what caused them. */
  readonly #changesFirst: boolean;

  constructor(stack: Stack, rules: Rules, url: string, changesFirst: boolean) {
    this.#stack = stack;
    this.#rules = rules;
    this.#url = url;
    this.#changesFirst = changesFirst;
  }

  /** Takes a handshake, or refuses it with null. */
  open(url: string, link: Link): Inbox | null {
    const isRefused = !this.#rules.allowsOrigin || this.#rules.refusal("connect");
    if (isRefused || url !== this.#url) return null;
    const connection = this.#stack.open(link);
    return {
      receive: (text) => this.#receive(connection, text),
      closed: () => {
        if (connection.isOpen) this.#stack.closed(connection);
      },
    };
  }

  #receive(connection: Connection, text: string): void {
    if (!connection.isOpen) return;
    if (byteLength(text) > MAX_GATEWAY_BYTES) {
      this.#stack.cut(connection, TOO_LARGE);
      return;
    }
    const serve = () => this.#serve(connection, text);
    const [answer, tellOthers] = this.#stack.fanout.holding(serve);
    const inOrder = this.#changesFirst ? [tellOthers, answer] : [answer, tellOthers];
    for (const send of inOrder) send();
  }

  /** Serves a frame, and returns what sends the answer. */
  #serve(connection: Connection, text: string): () => void {
    let fields = readable(text);
    try {
      fields = parseObject(text);
      const { connectionId, userId } = connection;
      const frame = fields as unknown as ClientFrame;
      this.received.push({ connectionId, userId, at: this.#stack.now, frame });
      const asked = actionIn(fields);
      const names = [asked.action, nameIn(fields) ?? asked.action];
      const refusal = this.#rules.refusal(...names);
      if (refusal) throw refusal;
      const answer = serve(this.#stack, connection, asked.action, asked.fields);
      return this.#sender(
        connection,
        withId(answer, idIn(fields)),
        this.#rules.answerHow(...names),
      );
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      return () => connection.send(errorFrame(fields, refusal));
    }
  }

  #sender(connection: Connection, answer: ServerFrame | null, how: AnswerHow | undefined) {
    return () => {
      if (answer === null || how === "swallow") return;
      if (how === undefined) connection.send(answer);
      else if ("delayMs" in how) this.#stack.after(how.delayMs, () => connection.send(answer));
      else connection.send(asText(how.body));
    };
  }
}

function asText(body: unknown): string {
  return typeof body === "string" ? body : JSON.stringify(body);
}

function withId(answer: ServerFrame, id: string | undefined): ServerFrame | null {
  if (id !== undefined) return { ...answer, id } as ServerFrame;
  return "id" in answer ? null : answer;
}

function errorFrame(fields: Fields, { code, message, retryAfterSeconds }: Refusal): ServerFrame {
  const [action, id] = [nameIn(fields), idIn(fields)];
  const rest = {
    ...(id === undefined ? {} : { id }),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  };
  if (action === "authenticate") return { type: "authentication-error", code, message, ...rest };
  return { type: "error", code, message, ...(action === undefined ? {} : { action }), ...rest };
}
