/** What the package promises. Instants are epoch milliseconds; durations end in their unit. */

import type { UserData, UserDataPatch } from "./data.js";
import type { PresenceError } from "./errors.js";
import type { PresenceClientOptions, TokenProvider } from "./options.js";
import type {
  AuthenticationSuccess,
  BlockedUser,
  BlockedUsers,
  Choice,
  ClientFrame,
  Disclosure,
  LastSeen,
  MembersPage,
  NewMessage,
  OnlineCount,
  OnlinePage,
  Presence,
  ServerFrame,
  Users,
} from "./protocol.js";

export type * from "./data.js";
export type { ErrorCode, PresenceError } from "./errors.js";
export type * from "./options.js";
export type {
  AuthenticationSuccess,
  Choice,
  Disclosure,
  NewMessage,
  OnlinePage,
  Presence,
  Status,
} from "./protocol.js";

/** How a user is, as far as this client knows. */
export interface UserPresence extends Presence {
  /**
   * Whether it is kept up to date at this moment. False while our own link is down: show it dimmed,
   * with `lastSeen`, and never as if it were now.
   */
  readonly fresh: boolean;
}

/**
 * A value that changes. Fits `useSyncExternalStore`: the same object until something differs, and
 * functions that need no `this`.
 */
export interface Store<T> {
  get(): T;
  /** Calls `listener` after each change, until the returned function is called. */
  subscribe(listener: () => void): () => void;
}

export type DropReason =
  /** The socket closed or could not be opened. */
  | "network"
  /** The socket is open, and nothing comes through it any more. */
  | "silence"
  /** The server said `closing`, or refused for now, or there was no token. */
  | "server"
  /** The device slept for longer than the lease. */
  | "sleep";

export type ConnectionState =
  /** `authenticate` was not called yet. */
  | { readonly name: "idle" }
  | { readonly name: "connecting" }
  | { readonly name: "authenticating" }
  | { readonly name: "ready" }
  /** The link is down; the next attempt is made at `retryAt`. */
  | {
      readonly name: "recovering";
      readonly attempt: number;
      readonly retryAt: number;
      readonly reason: DropReason;
      readonly error?: PresenceError | undefined;
    }
  /** The browser knows of no network. It goes on when there is one, and tries every half a minute. */
  | { readonly name: "offline" }
  /** Trying again would not help; `authenticate` starts anew. */
  | { readonly name: "failed"; readonly error: PresenceError }
  /** `disconnect` was called. */
  | { readonly name: "closed" };

/**
 * The users that are online, while it has subscribers: those who go are told at once, those who come
 * within five minutes, and when the page is shown again.
 */
export interface OnlineUsers {
  /** In alphabetical order; `client.user(id)` has how each of them is. */
  readonly userIds: readonly string[];
  /** How many are online in all, or null while it is not known. */
  readonly count: number | null;
  readonly isLoading: boolean;
  /** Whether there are more than are loaded; `loadMoreOnlineUsers` loads the next. */
  readonly hasMore: boolean;
  readonly fresh: boolean;
}

/** The members of a chat session, as far as this user can see them. */
export interface Members {
  readonly userIds: readonly string[];
  readonly count: number | null;
  readonly state: "waiting" | "joined" | "refused";
  /** Why it was refused. */
  readonly error?: PresenceError | undefined;
  readonly fresh: boolean;
}

/** A chat session. It is joined again after each reconnect until it is left. */
export interface ChatSession {
  readonly id: string;
  readonly members: Store<Members>;
  /** Ids of the others who are typing, first come first. An entry ends by itself. */
  readonly typing: Store<readonly string[]>;
  /**
   * Relays a message to all members of the session. It waits for a link for up to 30 s.
   *
   * Rejects with a PresenceError; `timeout` leaves open whether it arrived.
   */
  send(content: unknown, clientId?: string): Promise<NewMessage>;
  /** Call it at every key: the others are told at most every 4 s, and when it has stopped. */
  keystroke(): void;
  stopTyping(): void;
  /** Calls `listener` for each message once, one's own included. */
  onMessage(listener: (message: NewMessage) => void): () => void;
}

/** One's own status. */
export interface MyStatus {
  /** Undefined until the first authentication. */
  readonly presence: UserPresence | undefined;
  /** What was chosen and is not confirmed yet. */
  readonly pending: Choice | undefined;
  /** Whether the user seems to be at this device. */
  readonly isActive: boolean;
}

export interface StatusOptions {
  /** At most 140 characters. */
  readonly text?: string;
  /** When the choice ends by itself, and the one before it is back. */
  readonly until?: number;
  /** What others learn of `lastSeen` from now on; as it was if left out. */
  readonly showLastSeen?: Disclosure;
  /** As by `setData`, in the same write; kept if left out. */
  readonly data?: UserData;
}

export interface DisconnectOptions {
  /**
   * The user leaves on purpose: on no other device, they are offline for others at once, and not
   * when the grace period ends.
   */
  readonly atOnce?: boolean;
}

type FrameEvents = { readonly [F in ServerFrame as F["type"]]: F };

export interface PresenceEvents extends FrameEvents {
  /** A request without an answer, such as typing, was refused. */
  problem: PresenceError;
  /**
   * All is known again after a gap; what happened in between was not told one by one. `since` is by
   * the server's clock: fetch what was said meanwhile from where you keep it.
   */
  resync: { readonly since: number };
  /** Every frame, for a log. A token is shortened. */
  wire: {
    readonly direction: "in" | "out";
    readonly at: number;
    readonly frame: ServerFrame | ClientFrame;
  };
}

export interface Stats {
  /** Of the last frame that was answered on this link, in milliseconds. */
  readonly roundTripMs?: number | undefined;
  /** When the others see us offline if nothing more is sent; undefined without a link. */
  readonly leaseEndsAt?: number;
  /** Since when the link is down, by the server's clock; 0 while it is up, and before there was one. */
  readonly lostAt: number;
  /** How far the server's clock is ahead of ours, in milliseconds. */
  readonly clockSkewMs: number;
}

export interface Abortable {
  readonly signal?: AbortSignal | undefined;
}

/** What the routes under /api/user-status answer: docs/protocol.md §2. */
export interface Routes {
  "PUT /": Presence;
  "PUT /data": Presence;
  "PATCH /data": Presence;
  "GET /online": OnlinePage;
  [page: `GET /online?${string}`]: OnlinePage;
  "GET /online/count": OnlineCount;
  "POST /batch": Users;
  "PUT /last-seen": LastSeen;
  "GET /blocked": BlockedUsers;
  [blocked: `GET /blocked/${string}`]: BlockedUser;
  [block: `PUT /blocked/${string}`]: undefined;
  [members: `GET /chat-sessions/${string}/members${string}`]: MembersPage;
  [messages: `POST /chat-sessions/${string}/messages`]: NewMessage;
  /** `DELETE /blocked/{userId}` and `DELETE /users/{userId}`. */
  [removal: `DELETE /${string}`]: undefined;
}

/**
 * Ids in a route are percent-encoded, with `encodeURIComponent`.
 *
 * `GET /users/{userId}` stands apart with its short form: as a key that would match all others.
 */
export type Route = keyof Routes | `GET /${string}`;

export type Answer<R extends string> = R extends keyof Routes
  ? Routes[R]
  : R extends `GET /${string}`
    ? Presence
    : never;

/** Its functions need no `this`. */
export interface PresenceClient {
  readonly connection: Store<ConnectionState>;
  readonly me: Store<MyStatus>;
  /** Each of them is watched: of a long list, subscribe to `onlineRows`. */
  readonly onlineUsers: Store<OnlineUsers>;
  /**
   * The same for a list of rows: only those are watched who have subscribers of their own, as a row
   * on the screen has (`user`). The others are as of the last time that they were asked for.
   */
  readonly onlineRows: Store<OnlineUsers>;
  readonly options: PresenceClientOptions;

  /**
   * Connects as this user. The token is one, or a provider, or left to `getToken`; a local
   * stack makes one by itself. Calling it again with the same user renews the token; with another
   * one, the first is disconnected.
   *
   * Rejects with a PresenceError. The rejection may be ignored: it is never an unhandled one.
   */
  authenticate(userId: string, token?: string | TokenProvider): Promise<AuthenticationSuccess>;
  /** Tries again now instead of at `retryAt`. */
  retryNow(): void;
  /** Closes the link and stays closed until `authenticate`. */
  disconnect(options?: DisconnectOptions): void;

  /**
   * Chooses one's status; the newest choice waits for a link if there is none, and gives way to one
   * that was made later on another device. `online` takes an earlier choice back. Rejects with a PresenceError if it is refused.
   */
  setStatus(status: Choice, options?: StatusOptions): Promise<void>;
  /**
   * Replaces what the application says of the user: at most 1 KiB of JSON, which all see who see the
   * status text. Changes wait for a link if there is none, and are sent in their order; a later
   * `setData` takes the place of those that wait. Rejects with a PresenceError if it is refused.
   */
  setData(data: UserData): Promise<void>;
  /** The same of a part: null takes a name away, objects are merged, all else replaces. */
  patchData(patch: UserDataPatch): Promise<void>;

  /**
   * Whether these users are there now, in the order asked: at once if they were heard of late, within
   * a second if a device of theirs answers, and in 12 s if none does. Their stores have what is known
   * until then. Rejects with a PresenceError.
   */
  verify(userIds: readonly string[]): Promise<readonly UserPresence[]>;
  /**
   * Verifies these users now, after each reconnect and when the page is shown again, until the
   * returned function is called: for users that a person looks at, and not for a list.
   */
  lookAt(userIds: readonly string[]): () => void;
  /** The presence of a user, kept up to date while it has subscribers. */
  user(userId: string): Store<UserPresence | undefined>;
  /** Takes part in a chat session until `leaveChatSession` was called as often. */
  joinChatSession(chatSessionId: string): ChatSession;
  leaveChatSession(chatSessionId: string): void;
  /** The session of this id, joined or not: the same object each time. */
  chatSession(chatSessionId: string): ChatSession;
  loadMoreOnlineUsers(): void;

  /**
   * Calls a route of the HTTP API with the token in use, or without one before `authenticate`:
   * `request("GET /online/count")`, `request("POST /batch", { userIds })`. Encode ids in a path:
   * `GET /users/${encodeURIComponent(userId)}`.
   *
   * Rejects with a PresenceError, or with the reason of the signal.
   */
  request<R extends string>(
    route: Answer<R> extends never ? Route : R,
    body?: unknown,
    options?: Abortable,
  ): Promise<Answer<R>>;

  on<K extends keyof PresenceEvents>(
    type: K,
    listener: (event: PresenceEvents[K]) => void,
    options?: Abortable,
  ): () => void;
  stats(): Stats;
}
