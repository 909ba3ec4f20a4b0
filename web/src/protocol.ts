// Made from docs/asyncapi.yaml by `python -m local types`: do not edit.

/** How a user is seen; `invisible` only by the own devices. */
export type Status = "online" | "away" | "busy" | "dnd" | "invisible" | "offline";

/** What a user may choose; `online` takes an earlier choice back. */
export type Choice = "online" | "away" | "busy" | "dnd" | "invisible";

/** What a user lets others learn of `lastSeen`; never more than the stack does. */
export type Disclosure = "exact" | "coarse" | "hidden";

export type ErrorCode =
  | "invalid-message"
  | "unknown-action"
  | "payload-too-large"
  | "not-authenticated"
  | "token-invalid"
  | "token-expired"
  | "forbidden"
  | "not-found"
  | "conflict"
  | "rate-limited"
  | "unavailable"
  | "internal";

/** `connection-limit` and `draining` are reserved; this version does not send them. */
export type ClosingReason =
  | "authentication-timeout"
  | "token-expired"
  | "replaced"
  | "kicked"
  | "connection-limit"
  | "draining";

/** A user as one viewer sees them. Only own devices are told `until` and `showLastSeen`. */
export interface Presence {
  readonly userId: string;
  readonly status: Status;
  /** Whether `status` is not `offline`. */
  readonly isOnline: boolean;
  readonly lastSeen: number | null;
  /**
   * Grows with every change of what this viewer sees. Drop a presence whose version is not greater
   * than the one you hold.
   */
  readonly version: number;
  readonly text?: string;
  readonly until?: number;
  readonly showLastSeen?: Disclosure;
  /**
   * When a device of the user was heard last, in steps; only of those who are verified. No version
   * grows with it.
   */
  readonly heardAt?: number;
}

export interface Authenticate {
  readonly action: "authenticate";
  readonly id?: string;
  /** A JWT. */
  readonly token: string;
  /** Gives nothing; it has to be the subject of the token. */
  readonly userId?: string;
  readonly device?: string;
  /**
   * Whether a person is at the device. Left out, it is true on a new connection, and stays as it
   * was on one that is authenticated.
   */
  readonly active?: boolean;
  /** How soon the first ping is going to come; the usual heartbeat if left out. */
  readonly heartbeatSeconds?: number;
  /** Chat sessions to join with it. A user who was in them within the grace period has not left. */
  readonly chatSessionIds?: readonly string[];
}

export interface Ping {
  readonly action: "ping";
  readonly id?: string;
  /** Whose connection it is, which saves looking that up. */
  readonly userId?: string;
  /** Whether a person is at the device. */
  readonly active?: boolean;
  /** How soon the next ping is going to come; `heartbeatSeconds` if left out. */
  readonly heartbeatSeconds?: number;
}

export interface Check {
  readonly action: "check";
  readonly id?: string;
  readonly userId?: string;
  readonly active?: boolean;
  readonly heartbeatSeconds?: number;
}

export interface SetStatus {
  readonly action: "status";
  readonly id?: string;
  readonly status: Choice;
  /** At most 140 characters. */
  readonly text?: string;
  /** A time to come, when the choice ends by itself, and the one before it is back. */
  readonly until?: number;
  /** When the user chose, if that was a while ago. A newer choice stays. */
  readonly chosenAt?: number;
  /** What others learn of `lastSeen`; kept if left out. */
  readonly showLastSeen?: Disclosure;
}

export interface Online {
  readonly action: "online";
  readonly id?: string;
  /** 50 if left out. A page may hold fewer, because a frame holds 32 KB. */
  readonly limit?: number;
  readonly cursor?: string;
  /** Where to end, as it came with a page; what is behind it is not listed. */
  readonly upTo?: string;
  /**
   * Users that the client knows to be online, because it is told of their changes. They are left
   * out, which costs next to nothing if they are all there are.
   */
  readonly without?: readonly string[];
}

export interface Join {
  readonly action: "join";
  readonly id?: string;
  readonly chatSessionId?: string;
  /** Instead of `chatSessionId`; all of them count as one frame. */
  readonly chatSessionIds?: readonly string[];
}

export interface Leave {
  readonly action: "leave";
  readonly id?: string;
  /** Left out, as `chatSessionIds`, the connection is over, and its user leaves at once. */
  readonly chatSessionId?: string;
  /** Instead of `chatSessionId`; all of them count as one frame. */
  readonly chatSessionIds?: readonly string[];
}

export interface Typing {
  readonly action: "typing";
  readonly id?: string;
  readonly chatSessionId: string;
  readonly typing: boolean;
}

export interface Message {
  readonly action: "message";
  readonly id?: string;
  readonly chatSessionId: string;
  readonly content: unknown;
  /** Repeated to all, and not compared by the server. */
  readonly clientId?: string;
}

export interface Watch {
  readonly action: "watch";
  readonly id?: string;
  readonly userIds: readonly string[];
}

export interface Unwatch {
  readonly action: "unwatch";
  readonly id?: string;
  readonly userIds: readonly string[];
}

export interface Verify {
  readonly action: "verify";
  readonly id?: string;
  readonly userIds: readonly string[];
}

/** What a client sends. The answer repeats its `id`. */
export type ClientFrame =
  | Authenticate
  | Ping
  | Check
  | SetStatus
  | Online
  | Join
  | Leave
  | Typing
  | Message
  | Watch
  | Unwatch
  | Verify;

export interface AuthenticationSuccess {
  readonly type: "authentication-success";
  readonly id?: string;
  readonly userId: string;
  readonly connectionId: string;
  /** As last counted, with the user; 1 if the user may not see all users. */
  readonly onlineCount: number;
  /** How often to send a frame at least, with a person at the device. */
  readonly heartbeatSeconds: number;
  /** The same of a client that is hidden or idle, and says so. */
  readonly backgroundHeartbeatSeconds?: number;
  /** How long the connection counts after a frame, from when it was sent. */
  readonly leaseSeconds: number;
  readonly tokenExpiresAt: number;
  /** The next connection should be open before. */
  readonly connectionExpiresAt: number;
  readonly serverTime: number;
  readonly presence: Presence;
  /** Those that this connection is in; on a new one those that were named. */
  readonly chatSessions: readonly string[];
  /** Those of `chatSessionIds` that were joined. With `refused`, if that was sent. */
  readonly joined?: readonly JoinedChatSession[];
  readonly refused?: readonly RefusedChatSession[];
}

export interface AuthenticationError {
  readonly type: "authentication-error";
  readonly id?: string;
  readonly code: ErrorCode;
  /** A sentence for the developer. */
  readonly message: string;
  readonly retryAfterSeconds?: number;
}

export interface Pong {
  readonly type: "pong";
  readonly id?: string;
  readonly serverTime: number;
  readonly heartbeatSeconds: number;
  readonly leaseSeconds?: number;
}

export interface Heartbeat {
  readonly type: "heartbeat";
  readonly heartbeatSeconds: number;
  readonly leaseSeconds: number;
}

export interface Ack {
  readonly type: "ack";
  readonly id: string;
}

export interface UserStatusChange {
  readonly type: "user-status-change";
  readonly changes: readonly Presence[];
}

export interface OnlineUsersList {
  readonly type: "online-users-list";
  readonly id?: string;
  readonly users: readonly Presence[];
  /** Null on the last page. */
  readonly cursor: string | null;
  /**
   * How many this viewer sees online; beyond 100 the same for all, as last counted. If `without` or
   * `upTo` was sent, only the latter.
   */
  readonly onlineCount?: number;
}

export interface Watching {
  readonly type: "watching";
  readonly id?: string;
  /** In the order asked, as far as one frame holds; the rest comes as changes. */
  readonly users: readonly Presence[];
}

export interface Verified {
  readonly type: "verified";
  readonly id?: string;
  /** What is known now, in the order asked. */
  readonly users: readonly Presence[];
  /** Those of whom this is old. Ask again in a moment, and when a probe is over. */
  readonly awaited: readonly string[];
  /** How long a probe waits for its answer. */
  readonly probeSeconds: number;
}

export interface Probe {
  readonly type: "probe";
}

export interface UserTyping {
  readonly type: "user-typing";
  readonly chatSessionId: string;
  readonly userId: string;
  readonly typing: boolean;
  /** When to stop showing it. */
  readonly expiresAt: number;
}

export interface ChatSessionJoined {
  readonly type: "chat-session-joined";
  readonly id?: string;
  readonly chatSessionId: string;
  /** The first page; the next one comes over HTTP. */
  readonly members: readonly Presence[];
  /** Null if that was the last page. */
  readonly cursor: string | null;
  readonly memberCount: number;
  readonly sampled?: boolean;
  readonly asOf: number;
}

/** One of several that were joined together. */
export interface JoinedChatSession {
  readonly chatSessionId: string;
  /** The first ones, as far as there was space. Left out, ask for them over HTTP. */
  readonly members?: readonly Presence[];
  /** Where the next page begins over HTTP, if there is one. */
  readonly cursor?: string;
  readonly memberCount: number;
  readonly sampled?: boolean;
  readonly asOf: number;
}

/** One of several that was not joined, with the reason. */
export interface RefusedChatSession {
  readonly chatSessionId: string;
  readonly code: ErrorCode;
  /** A sentence for the developer. */
  readonly message: string;
  readonly retryAfterSeconds?: number;
}

/** The answer to a `join` with `chatSessionIds`. */
export interface ChatSessionsJoined {
  readonly type: "chat-sessions-joined";
  readonly id?: string;
  readonly joined: readonly JoinedChatSession[];
  readonly refused: readonly RefusedChatSession[];
}

export interface ChatSessionMembers {
  readonly type: "chat-session-members";
  readonly chatSessionId: string;
  readonly joined: readonly Presence[];
  /** User ids. It may name a user whose join was never told. */
  readonly left: readonly string[];
  /** Those that the viewer sees; in a large room those that most viewers see. */
  readonly memberCount: number;
  readonly sampled?: boolean;
  readonly asOf: number;
}

export interface NewMessage {
  readonly type: "new-message";
  readonly id?: string;
  readonly chatSessionId: string;
  /** The same in every copy; sorts by time as text. */
  readonly messageId: string;
  readonly senderId: string;
  readonly content: unknown;
  readonly sentAt: number;
  /** As the sender said it. */
  readonly clientId?: string;
}

/** The server closes next. */
export interface Closing {
  readonly type: "closing";
  readonly reason: ClosingReason;
  readonly retryAfterSeconds?: number;
}

export interface ErrorFrame {
  readonly type: "error";
  readonly id?: string;
  /** As it was sent. */
  readonly action?: string;
  readonly code: ErrorCode;
  /** A sentence for the developer. */
  readonly message: string;
  readonly retryAfterSeconds?: number;
}

/** What a client is told. It ignores types and fields that it does not know. */
export type ServerFrame =
  | AuthenticationSuccess
  | AuthenticationError
  | Pong
  | Heartbeat
  | Ack
  | UserStatusChange
  | OnlineUsersList
  | Watching
  | Verified
  | Probe
  | UserTyping
  | ChatSessionJoined
  | ChatSessionsJoined
  | ChatSessionMembers
  | NewMessage
  | Closing
  | ErrorFrame;

/** All that a client needs to know of a stack. */
export interface Config {
  readonly webSocketUrl: string;
  readonly heartbeatSeconds: number;
  readonly backgroundHeartbeatSeconds?: number;
  readonly leaseSeconds: number;
  readonly maxConnectionSeconds: number;
  /** The version of the wire protocol. */
  readonly protocol: number;
  /** Whether every authenticated connection hears of every user. */
  readonly globalPresence?: boolean;
  /** Where development tokens are made; only a local stack has it. */
  readonly developmentTokenUrl?: string;
}

export interface OnlinePage {
  readonly users: readonly Presence[];
  /** Null on the last page. */
  readonly cursor: string | null;
  readonly onlineCount: number;
}

export interface OnlineCount {
  readonly count: number;
  readonly asOf: number;
}

/** In the order asked. */
export interface Users {
  readonly users: readonly Presence[];
}

export interface LastSeen {
  readonly userId: string;
  readonly lastSeen: number;
}

/** The users from which the caller hides, in the order of their ids. */
export interface BlockedUsers {
  readonly userIds: readonly string[];
}

export interface BlockedUser {
  readonly userId: string;
  /** Whether the caller hides from this user. */
  readonly blocked: boolean;
}

export interface MembersPage {
  readonly members: readonly Presence[];
  /** Null on the last page. */
  readonly cursor: string | null;
  readonly memberCount: number;
  readonly sampled?: boolean;
  readonly asOf: number;
}

/** As all members of the chat session hear it. */
export interface PublishedMessage {
  readonly chatSessionId: string;
  readonly messageId: string;
  readonly senderId: string;
  readonly content: unknown;
  readonly sentAt: number;
  /** As the sender said it. */
  readonly clientId?: string;
}

export interface Health {
  readonly status: "ok";
}

export interface Problem {
  readonly error: { readonly code: ErrorCode; readonly message: string };
}

export interface StatusBody {
  readonly status: Choice;
  readonly text?: string;
  readonly until?: number;
  readonly chosenAt?: number;
  readonly showLastSeen?: Disclosure;
}

/** One token by its `jti`, or all tokens issued before an instant, by default now. */
export interface RevocationBody {
  readonly tokenId?: string;
  readonly notBefore?: number;
}

export interface BatchBody {
  readonly userIds: readonly string[];
}

export interface MessageBody {
  readonly content: unknown;
  /** The same again within ten minutes is the same message. */
  readonly clientId?: string;
}
