/** The server of `createFakePresence`, as a test sees it. */

import type { NewMessage, Presence } from "../protocol.js";
import type { Connection } from "./connections.js";
import { HttpApi } from "./http.js";
import { Rules } from "./refusal.js";
import type { Addresses, HttpAnswer, HttpRequest } from "./routes.js";
import type { Door } from "./socket.js";
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
import { joinedSessions, type Viewer } from "./user.js";
import { otherDevice } from "./users.js";
import { WebSocketApi } from "./websocket.js";

export interface ServerOptions {
  readonly apiUrl: string;
  readonly addresses: Addresses;
  readonly changesFirst: boolean;
}

export class Server implements FakeServer {
  readonly #stack: Stack;
  readonly #rules = new Rules();
  readonly #webSocketApi: WebSocketApi;
  readonly #httpApi: HttpApi;
  readonly #handles = new Map<string, FakeConnection>();

  constructor(stack: Stack, { apiUrl, addresses, changesFirst }: ServerOptions) {
    const url = addresses.webSocketUrl;
    this.#stack = stack;
    this.#webSocketApi = new WebSocketApi(stack, this.#rules, { url, changesFirst });
    this.#httpApi = new HttpApi(stack, this.#rules, apiUrl, addresses);
  }

  get received(): readonly ReceivedFrame[] {
    return this.#webSocketApi.received;
  }

  get requests(): readonly ReceivedRequest[] {
    return this.#httpApi.requests;
  }

  get connections(): readonly FakeConnection[] {
    return this.#stack.connections.map((connection) => this.#handle(connection));
  }

  now(): number {
    return this.#stack.now;
  }

  user(userId: string, presence: Partial<Presence> = {}): void {
    this.#stack.users.tell(userId, presence);
  }

  presence(userId: string, viewerId: Viewer = null): Presence {
    return this.#stack.presence(userId, viewerId);
  }

  join(userId: string, sessionId: string): void {
    const { users } = this.#stack;
    const connectionId = otherDevice(userId);
    if (!users.get(userId).leases.has(connectionId)) users.tell(userId, {});
    users.change(userId, { type: "joined", connectionId, sessionId });
  }

  leave(userId: string, sessionId: string): void {
    const connectionId = otherDevice(userId);
    this.#stack.users.change(userId, { type: "left", connectionId, sessionId });
  }

  type(userId: string, chatSessionId: string, typing = true): void {
    const { users, fanout } = this.#stack;
    const isJoined = joinedSessions(users.get(userId)).has(chatSessionId);
    if (!isJoined) this.join(userId, chatSessionId);
    fanout.typing(chatSessionId, users.get(userId), typing);
  }

  say(userId: string, chatSessionId: string, content: unknown, clientId?: string): NewMessage {
    const said = { chatSessionId, senderId: userId, content };
    return this.#stack.fanout.message(clientId === undefined ? said : { ...said, clientId });
  }

  block(userId: string, viewerId: string): void {
    this.#stack.users.change(userId, { type: "blocked", viewerId });
  }

  unblock(userId: string, viewerId: string): void {
    this.#stack.users.change(userId, { type: "unblocked", viewerIds: [viewerId] });
  }

  tokenFor(userId: string, options: TokenOptions = {}): string {
    return this.#stack.tokens.make(userId, options, this.#stack.now);
  }

  revoke(tokenOrUserId: string, code: "token-invalid" | "token-expired" = "token-invalid"): void {
    this.#stack.tokens.revoke(tokenOrUserId, code);
  }

  refuse(action: string, error: RefusedWith, times = 1): () => void {
    return this.#rules.refuse(action, error, times);
  }

  answer(action: string, how: AnswerHow, times = 1): () => void {
    return this.#rules.answer(action, how, times);
  }

  dropAll(): void {
    for (const connection of this.#stack.connections) this.#stack.cut(connection);
  }

  /** @internal */
  readonly door: Door = (url, link) => this.#webSocketApi.open(url, link);

  /** @internal Null for an address that is not this server's. */
  respond(url: URL, request: HttpRequest): Promise<HttpAnswer> | null {
    return this.#httpApi.respond(url, request);
  }

  /** The same object for the same connection, each time. */
  #handle(connection: Connection): FakeConnection {
    const { connectionId } = connection;
    const handle = this.#handles.get(connectionId) ?? connectionOf(this.#stack, connection);
    this.#handles.set(connectionId, handle);
    return handle;
  }
}

function connectionOf(stack: Stack, connection: Connection): FakeConnection {
  return {
    connectionId: connection.connectionId,
    get userId() {
      return connection.userId;
    },
    get isOpen() {
      return connection.isOpen;
    },
    send: (frame) => connection.send(frame),
    close: (code) => stack.cut(connection, code),
    closing: (reason, retryAfterSeconds) => stack.close(connection, reason, retryAfterSeconds),
  };
}
