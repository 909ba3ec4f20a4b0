/** What `@presence/client/testing` promises. */

import type { PresenceClientOptions } from "../api.js";
import type { ClientFrame, ClosingReason, NewMessage, Presence, ServerFrame } from "../protocol.js";
import type { FakeNetwork } from "./network.js";
import type { AnswerHow, RefusedWith } from "./refusal.js";
import type { FakeClock, FakeLifecycle } from "./surroundings.js";
import type { TokenOptions } from "./tokens.js";
import type { Precision } from "./user.js";

export type { AnswerHow, RefusedWith };

export interface FakePresenceOptions {
  /** The users who are there before: online, if nothing else is said. `userId` is required of each. */
  readonly users?: readonly Partial<Presence>[];
  /** 2027-01-15T08:00:00Z if left out. */
  readonly now?: number;
  /** 30 */
  readonly heartbeatSeconds?: number;
  /** 540. Of a client that is hidden or idle; a lease is one and a half of it. */
  readonly backgroundHeartbeatSeconds?: number;
  /** 10 */
  readonly graceSeconds?: number;
  /** 10 */
  readonly authenticationSeconds?: number;
  /** 7,200. Connections are cut then. */
  readonly maxConnectionSeconds?: number;
  /** 30. For how long a frame proves to viewers who verify a user that the user is there. */
  readonly freshSeconds?: number;
  /** 10. A connection that has not answered a probe by then is over. */
  readonly probeSeconds?: number;
  /** 1,000. A chat session with more members is a large room, which is told every 2 s. */
  readonly largeAudience?: number;
  /** Whether every connection hears of every user; false. */
  readonly globalPresence?: boolean;
  /** Whether the reading HTTP routes need no token; false. */
  readonly publicReads?: boolean;
  /** How exactly others are told `lastSeen`, as the stack's parameter says; `exact`. */
  readonly lastSeenPrecision?: Precision;
  /** How long everything is on its way, in each direction; 0: it needs no `advance`. */
  readonly latencyMs?: number;
  /** Whether `GET /config` names a place where tokens are made, as a local stack does; false. */
  readonly developmentTokens?: boolean;
  /** Whether changes come before the answer to what caused them. Both may happen; false. */
  readonly changesFirst?: boolean;
}

/** What a client is made with. */
export type FakeClientOptions = Required<
  Pick<
    PresenceClientOptions,
    "apiUrl" | "getToken" | "WebSocket" | "fetch" | "lifecycle" | "clock" | "random"
  >
> &
  Pick<PresenceClientOptions, "device">;

export interface FakeDevice {
  readonly options: FakeClientOptions;
  readonly network: FakeNetwork;
  readonly lifecycle: FakeLifecycle;
}

export interface FakePresence extends FakeDevice {
  readonly server: FakeServer;
  readonly clock: FakeClock;
  /** Another device, with its own network and lifecycle. */
  device(name?: string): FakeDevice;
}

export interface ReceivedFrame {
  readonly connectionId: string;
  /** Whose connection it was when the frame came. */
  readonly userId: string | null;
  readonly at: number;
  readonly frame: ClientFrame;
}

export interface ReceivedRequest {
  readonly method: string;
  readonly path: string;
  /** As docs/protocol.md names it, such as `GET /{userId}`. */
  readonly route: string;
  readonly at: number;
  readonly body: string;
}

export interface FakeConnection {
  readonly connectionId: string;
  /** Null before authentication. */
  readonly userId: string | null;
  readonly isOpen: boolean;
  /** Sends a frame, or any text, besides those that the server sends. */
  send(frame: ServerFrame | string): void;
  /** Closes it as API Gateway does, with 1001 if nothing else is said; the grace period begins. */
  close(code?: number): void;
  /** Says why, and closes it. After `kicked` there is no grace period. */
  closing(reason: ClosingReason, retryAfterSeconds?: number): void;
}

/**
 * The server. It tells a lease that ran out at once, where the real one may take 63 s more.
 *
 * An action is called as on the wire (`join`), a route as in docs/protocol.md (`GET /{userId}`),
 * and the handshake `connect`.
 */
export interface FakeServer {
  /** Every frame that came and was a JSON object, refused ones as well. */
  readonly received: readonly ReceivedFrame[];
  /** Every HTTP request that came. */
  readonly requests: readonly ReceivedRequest[];
  /** Those that are open. */
  readonly connections: readonly FakeConnection[];
  /** The server's time. */
  now(): number;

  /**
   * Makes a user so, as on a device of theirs that never goes silent: online, if they were offline
   * and no status is given. All recipients are told, and the version grows.
   * A `text` that is left out is cleared. `offline` takes that device away, and no other.
   */
  user(userId: string, presence?: Partial<Presence>): void;
  /** How a viewer sees a user; null is a caller without a token. */
  presence(userId: string, viewerId?: string | null): Presence;
  /** That device dies without a word: it answers no probe, and its lease runs out. */
  silence(userId: string): void;
  /** The user is in a chat session, on that device; they come online for it. */
  join(userId: string, chatSessionId: string): void;
  leave(userId: string, chatSessionId: string): void;
  /** The user types, or has stopped; they join first if they have not. */
  type(userId: string, chatSessionId: string, typing?: boolean): void;
  /** A message of the user in a chat session, joined or not, as a back end may send it. */
  say(userId: string, chatSessionId: string, content: unknown, clientId?: string): NewMessage;
  /** The user leaves for a viewer, as if the last connection were closed: told after the grace period. */
  block(userId: string, viewerId: string): void;
  unblock(userId: string, viewerId: string): void;

  /** A token of this user. Others than these are refused with `token-invalid`. */
  tokenFor(userId: string, options?: TokenOptions): string;
  /** From now on a token, or all that a user has, is refused; `token-invalid` if nothing is said. */
  revoke(tokenOrUserId: string, code?: "token-invalid" | "token-expired"): void;

  /** Refuses an action, a route or the handshake, once if nothing else is said. Returns its end. */
  refuse(action: string, error: RefusedWith, times?: number): () => void;
  /** Serves an action or a route and answers otherwise, once if nothing else is said. Returns its end. */
  answer(action: string, how: AnswerHow, times?: number): () => void;
  /**
   * Takes the pages' origin off the stack's list: what is answered cannot be read, as if there were
   * no server, and handshakes are refused. Sockets stay open. Returns its end.
   */
  refuseOrigin(): () => void;
  /** Closes all sockets, as API Gateway does now and then: 1001, and the grace period begins. */
  dropAll(): void;
}
