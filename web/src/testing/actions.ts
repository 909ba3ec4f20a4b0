/** What each action of a client does, and what it is answered: the server's `entrypoints/actions.py`. */

import type { Presence, ServerFrame } from "../protocol.js";
import type { Connection } from "./connections.js";
import { fitting, framed } from "./pages.js";
import { Refusal } from "./refusal.js";
import * as read from "./requests.js";
import type { Stack } from "./stack.js";
import { type Identity, isAllowed } from "./tokens.js";
import { ownPresence } from "./user.js";

const MAX_WATCHED = 1_000;
const MIN_PING_MS = 10_000;

/** A connection that is authenticated, and asks for something. */
interface Call {
  readonly stack: Stack;
  readonly connection: Connection;
  readonly userId: string;
}

type Run = (stack: Stack, connection: Connection) => ServerFrame;

/** Reads the fields, and returns what is to be done. */
type Parse = (fields: read.Fields, now: number) => Run;

/** It gets the id of what it answers; without one it is not sent. */
const ACK: ServerFrame = { type: "ack", id: "" };

/** Serves a frame. Throws a Refusal; the lease runs on only if it does not. */
export function serve(
  stack: Stack,
  connection: Connection,
  action: read.Action,
  fields: read.Fields,
): ServerFrame {
  const run = ACTIONS[action](fields, stack.now);
  read.optionalId(fields, "id");
  return run(stack, connection);
}

const ACTIONS: Readonly<Record<read.Action, Parse>> = {
  authenticate: (fields) => {
    const request = {
      token: read.token(fields),
      expectedUserId: read.optionalId(fields, "userId"),
      device: read.optionalId(fields, "device"),
      isActive: read.optionalBoolean(fields, "active"),
    };
    return (stack, connection) => authenticate(stack, connection, request);
  },
  ping: (fields) => {
    const isActive = read.optionalBoolean(fields, "active");
    return (stack, connection) => ping(callOf(stack, connection), isActive);
  },
  status: (fields, now) => {
    const request = read.statusRequest(fields, now);
    return charged(({ stack, userId }) => {
      stack.users.change(userId, { type: "chosen", ...request });
      return ACK;
    });
  },
  online: (fields) => {
    const request = read.pageRequest(fields);
    return charged(({ stack, userId }) => {
      const { presences: users, cursor, count } = stack.online(userId, request);
      return { type: "online-users-list", users, cursor, onlineCount: count };
    });
  },
  join: (fields) => {
    const sessionId = read.sessionId(fields);
    return charged((call) => join(call, sessionId));
  },
  leave: (fields) => {
    const sessionId = read.optionalSessionId(fields);
    if (sessionId !== undefined) return charged((call) => leave(call, sessionId));
    return (stack, connection) => leaveAltogether(callOf(stack, connection));
  },
  typing: (fields) => {
    const isTyping = read.optionalBoolean(fields, "typing");
    if (isTyping === null) throw read.invalid("typing has to be true or false.");
    const sessionId = read.sessionId(fields);
    return (stack, connection) => typing(callOf(stack, connection), sessionId, isTyping);
  },
  message: (fields) => {
    const sessionId = read.sessionId(fields);
    const content = read.content(fields);
    const clientId = read.optionalId(fields, "clientId");
    return charged(({ stack, connection, userId }) => {
      requireJoined(connection, sessionId);
      return stack.fanout.messageOnce(sessionId, userId, content, clientId, connection);
    });
  },
  watch: (fields) => {
    const userIds = read.userIds(fields);
    return charged((call) => ({ type: "watching", users: watch(call, userIds) }));
  },
  unwatch: (fields) => {
    const userIds = read.userIds(fields);
    return charged(({ connection }) => {
      for (const userId of userIds) connection.watched.delete(userId);
      return ACK;
    });
  },
};

/** An action that is charged to the connection's rate limit, and renews its lease. */
function charged(run: (call: Call) => ServerFrame): Run {
  return (stack, connection) => {
    const call = callOf(stack, connection);
    connection.charge(stack.now);
    const answer = run(call);
    renew(call, null);
    return answer;
  };
}

function callOf(stack: Stack, connection: Connection): Call {
  return { stack, connection, userId: connection.userAt(stack.now) };
}

// Authentication.

interface Authentication {
  readonly token: string;
  readonly expectedUserId: string | undefined;
  readonly isActive: boolean | null;
}

function authenticate(stack: Stack, connection: Connection, request: Authentication): ServerFrame {
  const { expectedUserId, isActive } = request;
  const identity = stack.tokens.verify(request.token, stack.now);
  const { userId } = identity;
  if (expectedUserId !== undefined && expectedUserId !== userId) {
    throw new Refusal("forbidden", "Leave userId out, or send the subject of the token.");
  }
  if (!connection.isOpen) {
    throw new Refusal("not-authenticated", "This connection is over; open a new one.");
  }
  if (connection.userId !== null && connection.userId !== userId) {
    throw new Refusal("forbidden", "This connection is another user's; open a new one.");
  }
  const wasOnline = stack.users.get(userId).status !== "offline";
  const others = stack.users.onlineCount - (wasOnline ? 1 : 0);
  admit(stack, connection, identity, isActive);
  connection.allowed = identity.allowed;
  leaveForbidden({ stack, connection, userId });
  const { heartbeatSeconds, leaseSeconds, maxConnectionSeconds } = stack.parameters;
  return {
    type: "authentication-success",
    userId,
    connectionId: connection.connectionId,
    onlineCount: others + 1,
    heartbeatSeconds,
    leaseSeconds,
    tokenExpiresAt: identity.expiresAt,
    connectionExpiresAt: connection.openedAt + maxConnectionSeconds * 1000,
    serverTime: stack.now,
    presence: ownPresence(stack.users.get(userId)),
    chatSessions: [...connection.sessions].sort(),
  };
}

function admit(
  stack: Stack,
  connection: Connection,
  { userId, expiresAt }: Identity,
  isActive: boolean | null,
): void {
  const before = [connection.userId, connection.tokenExpiresAt] as const;
  [connection.userId, connection.tokenExpiresAt] = [userId, expiresAt];
  try {
    stack.users.change(userId, { type: "authenticated", ...heard(stack, connection, isActive) });
  } catch (refusal) {
    [connection.userId, connection.tokenExpiresAt] = before;
    throw refusal;
  }
}

/** A fresh token may allow less than the one before. */
function leaveForbidden(call: Call): void {
  for (const sessionId of [...call.connection.sessions]) {
    if (!isAllowed(sessionId, call.connection.allowed)) leave(call, sessionId);
  }
}

// The other actions.

function ping(call: Call, isActive: boolean | null): ServerFrame {
  const { stack, connection, userId } = call;
  const lease = stack.users.get(userId).leases.get(connection.connectionId);
  const between = Math.min(MIN_PING_MS, stack.parameters.heartbeatSeconds * 500);
  const isSoon = (lease?.expiresAt ?? 0) > stack.leaseEnd(connection) - between;
  const isChange = isActive !== null && isActive !== lease?.isActive;
  if (isSoon || isChange) connection.charge(stack.now);
  renew(call, isActive);
  const { heartbeatSeconds } = stack.parameters;
  return { type: "pong", id: "", serverTime: stack.now, heartbeatSeconds };
}

function join(call: Call, chatSessionId: string): ServerFrame {
  const { stack, connection, userId } = call;
  if (!isAllowed(chatSessionId, connection.allowed)) {
    throw new Refusal("forbidden", "Ask for access to this chat session.");
  }
  const { connectionId } = connection;
  stack.users.change(userId, { type: "joined", connectionId, sessionId: chatSessionId });
  connection.sessions.add(chatSessionId);
  const first = { limit: read.DEFAULT_PAGE, cursor: null };
  const { presences: members, cursor, count } = stack.members(chatSessionId, userId, first);
  const joined = { type: "chat-session-joined", chatSessionId, members, cursor } as const;
  return { ...joined, memberCount: count, ...stack.fanout.rooms.counted(chatSessionId) };
}

function leave({ stack, connection, userId }: Call, sessionId: string): ServerFrame {
  connection.sessions.delete(sessionId);
  stack.users.change(userId, { type: "left", connectionId: connection.connectionId, sessionId });
  return ACK;
}

/** The client closes the socket; the server does, if the client does not. */
function leaveAltogether({ stack, connection }: Call): ServerFrame {
  stack.left(connection);
  return ACK;
}

function typing(call: Call, sessionId: string, isTyping: boolean): ServerFrame {
  const { stack, connection, userId } = call;
  requireJoined(connection, sessionId);
  if (connection.relaysTyping(sessionId, isTyping, stack.now)) {
    renew(call, null);
    stack.fanout.typing(sessionId, stack.users.get(userId), isTyping, connection);
  }
  return ACK;
}

/** The presences that one frame holds; the rest is sent as changes. */
function watch(
  { stack, connection, userId }: Call,
  userIds: readonly string[],
): readonly Presence[] {
  const watched = new Set([...connection.watched, ...userIds]);
  if (watched.size > MAX_WATCHED) {
    throw new Refusal("conflict", `Watch at most ${MAX_WATCHED} users on a connection.`);
  }
  for (const name of userIds) connection.watched.add(name);
  const presences = userIds.map((name) => stack.presence(name, userId));
  const count = fitting(presences);
  for (const changes of framed(presences.slice(count))) {
    stack.fanout.post(connection, { type: "user-status-change", changes });
  }
  return presences.slice(0, count);
}

function requireJoined(connection: Connection, sessionId: string): void {
  if (!connection.sessions.has(sessionId)) {
    throw new Refusal("forbidden", "Join the chat session first.");
  }
}

function renew({ stack, connection, userId }: Call, isActive: boolean | null): void {
  stack.users.change(userId, { type: "renewed", ...heard(stack, connection, isActive) });
}

/** What an event says of a connection that was heard just now. */
function heard(stack: Stack, connection: Connection, isActive: boolean | null) {
  const expiresAt = stack.leaseEnd(connection);
  const lease = { expiresAt, seenAt: stack.now, isActive: true, sessions: new Set<string>() };
  return { connectionId: connection.connectionId, lease, isActive };
}
