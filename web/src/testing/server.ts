/** The server of `createFakePresence`: the protocol of docs/protocol.md, in memory. */

import type { ClientFrame, NewMessage, Presence, ServerFrame, Status } from "../protocol.js";
import { serve } from "./actions.js";
import type { Gate } from "./gate.js";
import { Refusal } from "./refusal.js";
import { actionIn, byteLength, type Fields, idIn, nameIn, parseObject } from "./requests.js";
import * as routes from "./routes.js";
import type { Door, Inbox, Link } from "./socket.js";
import type { Stack } from "./stack.js";
import type { TokenOptions } from "./tokens.js";
import type {
  AnswerHow,
  FakeConnection,
  FakeServer,
  ReceivedFrame,
  ReceivedRequest,
  RefusedWith,
} from "./types.js";
import { seenBy, type Viewer } from "./user.js";

export interface ServerOptions {
  readonly apiUrl: string;
  readonly addresses: routes.Addresses;
  readonly changesFirst: boolean;
}

/** What a test has said about the next requests of one action. */
interface Rule<T> {
  readonly action: string;
  readonly what: T;
  left: number;
}

/** What API Gateway takes; beyond it, the connection is closed. */
const MAX_GATEWAY_BYTES = 32 * 1024;

export class Server implements FakeServer {
  readonly received: ReceivedFrame[] = [];
  readonly requests: ReceivedRequest[] = [];
  readonly #stack: Stack;
  readonly #options: ServerOptions;
  readonly #refusals: Rule<RefusedWith>[] = [];
  readonly #answers: Rule<AnswerHow>[] = [];
  readonly #handles = new Map<string, FakeConnection>();

  constructor(stack: Stack, options: ServerOptions) {
    this.#stack = stack;
    this.#options = options;
  }

  // What a test does with it.

  now(): number {
    return this.#stack.now;
  }

  get connections(): readonly FakeConnection[] {
    return this.#stack.gates.map((gate) => this.#handle(gate));
  }

  user(userId: string, presence: Partial<Presence> = {}): void {
    const before = seenBy(userId, this.#stack.user(userId));
    const isNamed = presence.status !== undefined || presence.isOnline !== undefined;
    const status = isNamed ? statusIn(presence) : before.isOnline ? before.status : "online";
    this.#stack.apply(userId, { is: "told", ...toldOf(userId, status, presence) });
  }

  presence(userId: string, viewerId: Viewer = null): Presence {
    return this.#stack.presence(userId, viewerId);
  }

  join(userId: string, chatSessionId: string): void {
    const connectionId = otherDevice(userId);
    if (!this.#stack.user(userId).leases.has(connectionId)) this.user(userId);
    this.#stack.apply(userId, { is: "joined", connectionId, sessionId: chatSessionId });
  }

  leave(userId: string, chatSessionId: string): void {
    const connectionId = otherDevice(userId);
    this.#stack.apply(userId, { is: "left", connectionId, sessionId: chatSessionId });
  }

  type(userId: string, chatSessionId: string, typing = true): void {
    this.#requireThere(userId, chatSessionId);
    this.#stack.typing(chatSessionId, this.#stack.user(userId), typing);
  }

  say(userId: string, chatSessionId: string, content: unknown, clientId?: string): NewMessage {
    return this.#stack.say(chatSessionId, userId, content, clientId);
  }

  block(userId: string, viewerId: string): void {
    this.#stack.apply(userId, { is: "blocked", viewerId });
  }

  unblock(userId: string, viewerId: string): void {
    this.#stack.apply(userId, { is: "unblocked", viewerIds: [viewerId] });
  }

  tokenFor(userId: string, options: TokenOptions = {}): string {
    return this.#stack.tokens.make(userId, options, this.#stack.now);
  }

  revoke(tokenOrUserId: string, code: "token-invalid" | "token-expired" = "token-invalid"): void {
    this.#stack.tokens.revoke(tokenOrUserId, code);
  }

  refuse(action: string, error: RefusedWith, times = 1): () => void {
    return add(this.#refusals, action, error, times);
  }

  answer(action: string, how: AnswerHow, times = 1): () => void {
    return add(this.#answers, action, how, times);
  }

  dropAll(): void {
    for (const gate of this.#stack.gates) this.#stack.cut(gate);
  }

  #requireThere(userId: string, chatSessionId: string): void {
    const sessions = [...this.#stack.user(userId).leases.values()].map((lease) => lease.sessions);
    if (!sessions.some((joined) => joined.has(chatSessionId))) this.join(userId, chatSessionId);
  }

  #handle(gate: Gate): FakeConnection {
    const known = this.#handles.get(gate.connectionId);
    if (known) return known;
    const made = connectionOf(this.#stack, gate);
    this.#handles.set(gate.connectionId, made);
    return made;
  }

  // Sockets.

  /** @internal */
  readonly door: Door = (url: string, link: Link): Inbox | null => {
    const isRefused = take(this.#refusals, "connect") !== undefined;
    if (isRefused || url !== this.#options.addresses.webSocketUrl) return null;
    const gate = this.#stack.open(link);
    return {
      receive: (text) => this.#receive(gate, text),
      closed: () => {
        if (gate.isOpen) this.#stack.forget(gate);
      },
    };
  };

  #receive(gate: Gate, text: string): void {
    if (!gate.isOpen) return;
    if (byteLength(text) > MAX_GATEWAY_BYTES) {
      this.#stack.cut(gate, 1009);
      return;
    }
    let send: () => void = () => {};
    const tellOthers = this.#stack.holding(() => {
      send = this.#serve(gate, text);
    });
    const inOrder = this.#options.changesFirst ? [tellOthers, send] : [send, tellOthers];
    for (const run of inOrder) run();
  }

  /** Serves a frame, and returns what sends the answer. */
  #serve(gate: Gate, text: string): () => void {
    let fields: Fields = {};
    try {
      fields = parseObject(text);
      this.#note(gate, fields);
      const asked = actionIn(fields);
      const names = [asked.action, nameIn(fields) ?? asked.action];
      throwIf(take(this.#refusals, ...names));
      const answer = serve(this.#stack, gate, asked.action, asked.fields);
      return this.#sender(gate, withId(answer, idIn(fields)), take(this.#answers, ...names));
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      return () => gate.send(errorFrame(fields, refusal));
    }
  }

  #sender(gate: Gate, answer: ServerFrame | null, how: AnswerHow | undefined): () => void {
    if (answer === null || how === "swallow") return () => {};
    if (how === undefined) return () => gate.send(answer);
    if ("delayMs" in how) return () => this.#stack.after(how.delayMs, () => gate.send(answer));
    return () => gate.send(typeof how.body === "string" ? how.body : JSON.stringify(how.body));
  }

  #note({ connectionId, userId }: Gate, fields: Fields): void {
    const frame = fields as unknown as ClientFrame;
    this.received.push({ connectionId, userId, at: this.#stack.now, frame });
  }

  // HTTP.

  /** @internal Null for an address that is not this server's. */
  respond(url: URL, request: routes.HttpRequest): Promise<routes.HttpAnswer> | null {
    const { apiUrl, addresses } = this.#options;
    if (url.href === addresses.developmentTokenUrl) return this.#developmentToken(request);
    if (!url.href.startsWith(apiUrl)) return null;
    const path = url.pathname.slice(new URL(apiUrl).pathname.replace(/\/$/, "").length);
    return this.#route({ ...request, path });
  }

  #route(request: routes.HttpRequest): Promise<routes.HttpAnswer> {
    const { method, path } = request;
    const found = routes.match(method, path);
    if (!found) {
      const notFound = () => routes.json({ message: "Not Found" }, 404);
      return this.#answered(request, `${method} ${path}`, notFound);
    }
    const { addresses } = this.#options;
    const serve = () => routes.answer(this.#stack, addresses, request, found);
    return this.#answered(request, found.route, serve);
  }

  #developmentToken(request: routes.HttpRequest): Promise<routes.HttpAnswer> {
    return this.#answered(request, `${request.method} ${request.path}`, () => {
      const { userId, scope, ttl } = parseObject(request.body);
      const token = this.tokenFor(String(userId), {
        ...(typeof scope === "string" ? { scope } : {}),
        ...(typeof ttl === "number" ? { ttlSeconds: ttl } : {}),
      });
      return routes.json({ token });
    });
  }

  #answered(
    { method, path, body }: routes.HttpRequest,
    route: string,
    serve: () => routes.HttpAnswer,
  ): Promise<routes.HttpAnswer> {
    this.requests.push({ method, path, route, at: this.#stack.now, body });
    try {
      throwIf(take(this.#refusals, route));
      return this.#sent(this.#served(serve), take(this.#answers, route));
    } catch (refusal) {
      if (refusal instanceof Refusal) return Promise.resolve(routes.refused(refusal));
      throw refusal;
    }
  }

  #served(serve: () => routes.HttpAnswer): routes.HttpAnswer {
    let answer: routes.HttpAnswer = { status: 500 };
    const tellOthers = this.#stack.holding(() => {
      answer = serve();
    });
    tellOthers();
    return answer;
  }

  #sent(answer: routes.HttpAnswer, how: AnswerHow | undefined): Promise<routes.HttpAnswer> {
    if (how === "swallow") return new Promise(() => {});
    if (how !== undefined && "delayMs" in how) {
      return new Promise((resolve) => {
        this.#stack.after(how.delayMs, () => resolve(answer));
      });
    }
    return Promise.resolve(how ? { status: how.status ?? 200, body: how.body } : answer);
  }
}

// Connections, as a test sees them.

function connectionOf(stack: Stack, gate: Gate): FakeConnection {
  return {
    connectionId: gate.connectionId,
    get userId() {
      return gate.userId;
    },
    get isOpen() {
      return gate.isOpen;
    },
    send: (frame) => gate.send(frame),
    close: (code) => stack.cut(gate, code),
    closing: (reason, retryAfterSeconds) => stack.close(gate, reason, retryAfterSeconds),
  };
}

// Users, as a test tells of them.

/** The device of those of whom a test tells. */
function otherDevice(userId: string): string {
  return `elsewhere-${userId}`;
}

export function toldOf(userId: string, status: Status, presence: Partial<Presence>) {
  return {
    connectionId: otherDevice(userId),
    status,
    text: presence.text ?? null,
    ...(presence.lastSeen === undefined ? {} : { lastSeen: presence.lastSeen }),
    ...(presence.version === undefined ? {} : { version: presence.version }),
  };
}

export function statusIn({ status, isOnline }: Partial<Presence>): Status {
  return status ?? (isOnline === false ? "offline" : "online");
}

// Rules.

function add<T>(rules: Rule<T>[], action: string, what: T, times: number): () => void {
  const rule = { action, what, left: times };
  rules.push(rule);
  return () => {
    rule.left = 0;
  };
}

function take<T>(rules: readonly Rule<T>[], ...actions: readonly string[]): T | undefined {
  const rule = rules.find(({ action, left }) => left > 0 && actions.includes(action));
  if (rule) rule.left -= 1;
  return rule?.what;
}

function throwIf(error: RefusedWith | undefined): void {
  if (error) throw refusalOf(error);
}

function refusalOf({ code, message, retryAfterSeconds }: RefusedWith): Refusal {
  return new Refusal(code, message ?? `The test refuses with ${code}.`, retryAfterSeconds);
}

// Frames.

function withId(answer: ServerFrame | null, id: string | undefined): ServerFrame | null {
  if (answer === null) return null;
  if (id !== undefined) return { ...answer, id } as ServerFrame;
  return answer.type === "ack" || answer.type === "pong" ? null : answer;
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
