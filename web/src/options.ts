/** What a client is made with. */

export type TokenReason =
  | "first"
  /** The one in use ends soon. */
  | "expiring"
  /** The server did not accept the last one. */
  | "rejected"
  /** A new connection is made and the last one is too old. */
  | "reconnect";

/** Asked for a token when one is needed, never twice at once. */
export type TokenProvider = (context: {
  readonly userId: string;
  readonly reason: TokenReason;
  /** Aborted by `disconnect`. */
  readonly signal: AbortSignal;
}) => string | Promise<string>;

/** What happens around the page; a browser, React Native, Node and tests differ by this object. */
export type LifecycleEvent =
  | "online"
  | "offline"
  | "visible"
  | "hidden"
  /** The page may be stopped now, or left: the link is closed. */
  | "leaving"
  /** It is back from a sleep, a freeze or the back-forward cache. */
  | "resume"
  /** The user touched the device. */
  | "activity";

export interface Lifecycle {
  isOnline(): boolean;
  isVisible(): boolean;
  /** When a person was last at the device, if that was before the client was made. */
  touchedAt?(): number;
  /** No person can touch it, as in Node or a worker: then no user is away by itself. */
  readonly isUnattended?: boolean;
  subscribe(listener: (event: LifecycleEvent) => void): () => void;
}

/** Time, so that tests can turn it by hand. */
export interface Clock {
  /** Epoch milliseconds. */
  now(): number;
  /** Returns what stops it. */
  after(milliseconds: number, run: () => void): () => void;
}

/** Milliseconds until attempt number `attempt` (from 1 on). */
export type Backoff = (attempt: number, random: () => number) => number;

/** As a method: so the listener may be of a socket that tells more of its events. */
export type Listener<E> = { heard(event: E): void }["heard"] | null;

/** As much of a WebSocket as is used: the browser's, Node's, and that of the package `ws` fit. */
export interface SocketLike {
  readonly readyState: number;
  onopen: Listener<never>;
  onmessage: Listener<{ readonly data: unknown }>;
  onclose: Listener<{ readonly code: number; readonly reason: string }>;
  onerror: Listener<never>;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export interface PresenceClientOptions {
  /** The HTTP API's address; everything else comes from its `GET /api/user-status/config`. */
  readonly apiUrl: string;
  /** Without it `authenticate` has to be given tokens, except in front of a local stack. */
  readonly getToken?: TokenProvider;
  /** A name of this device, in the server's lists. */
  readonly device?: string;
  /**
   * When the user counts as away: after 5 minutes without a touch, or 1 minute hidden. Without a page
   * (Node, a worker) never, if nothing is said.
   */
  readonly autoAway?: false | { readonly idleMs?: number; readonly hiddenMs?: number };
  /**
   * How late a list of online users shows those who came, where not all users are told to all: five
   * minutes. Those who go are shown at once.
   */
  readonly refreshOnlineMs?: number;
  /** Full jitter between 0 and 0.5 s, doubled up to 30 s, by default. */
  readonly backoff?: Backoff;
  /** The one of the surroundings, if there is one: before version 22 Node has none. */
  readonly WebSocket?: new (
    url: string,
  ) => SocketLike;
  readonly fetch?: typeof fetch;
  readonly lifecycle?: Lifecycle;
  readonly clock?: Clock;
  /** From 0 to 1, like `Math.random`. */
  readonly random?: () => number;
}
