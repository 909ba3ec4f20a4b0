/** What each action of a client does, and what it is answered: the server's `entrypoints/actions.py`. */

import type {
  AuthenticationSuccess,
  ChatSessionsJoined,
  Pong,
  Presence,
  ServerFrame,
} from "../protocol.js";
import type { Connection } from "./connections.js";
import { dataRequest, optionalData } from "./data.js";
import { allowed, lastsOf, leaseMs, wanted } from "./heartbeat.js";
import { fitting, framed, MAX_LIST_BYTES } from "./pages.js";
import { noEntry } from "./reducer.js";
import { noAccess, Refusal } from "./refusal.js";
import * as read from "./requests.js";
import type { Stack } from "./stack.js";
import { type Identity, isAllowed } from "./tokens.js";
import { ownPresence, type User } from "./user.js";

const MAX_WATCHED = 1_000;
const MAX_VERIFIED = 10;
const MIN_PING_MS = 10_000;
const SESSIONS_PER_ACTION = 10;
/** Members that the answer to a `join` of several names, over all of them. */
const LISTED_MEMBERS = 150;
/** What an entry of that answer takes at most, without its members and its name. */
const ENTRY_BYTES = 290;

/** A connection that is authenticated, and asks for something. */
interface Call {
  readonly stack: Stack;
  readonly connection: Connection;
  readonly userId: string;
}

type Run = (stack: Stack, connection: Connection) => ServerFrame;

/** Reads the fields, and returns what is to be done. */
type Parse = (fields: read.Fields, now: number) => Run;

/** What has an `id` gets that of the frame it answers; without one it is not sent. */
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
      device: read.optionalId(fields, "device") ?? null,
      isActive: read.optionalBoolean(fields, "active"),
      heartbeatSeconds: read.optionalHeartbeat(fields),
      sessionIds: read.optionalSessionIds(fields),
      data: optionalData(fields),
    };
    return (stack, connection) => authenticate(stack, connection, request);
  },
  ping: (fields) => {
    const run = pingOf(fields);
    const isAnswered = read.optionalId(fields, "id") !== undefined;
    const asked = read.optionalHeartbeat(fields);
    return (stack, connection) => {
      const pong = run(stack, connection);
      const { heartbeatSeconds } = pong;
      const isTold = !isAnswered && asked !== null;
      if (isTold && heartbeatSeconds !== allowed(stack.parameters, asked))
        stack.pace(connection.connectionId, heartbeatSeconds);
      return { ...pong, id: "" };
    };
  },
  check: (fields) => pingOf(fields),
  status: (fields, now) => {
    const request = { ...read.statusRequest(fields, now), data: optionalData(fields) };
    return charged(({ stack, userId }) => {
      stack.users.change(userId, { type: "chosen", ...request });
      return ACK;
    });
  },
  data: (fields) => {
    const request = dataRequest(fields);
    return charged(({ stack, userId }) => {
      stack.users.change(userId, { type: "data-changed", ...request });
      return ACK;
    });
  },
  online: (fields) => {
    const request = read.onlineRequest(fields);
    const isAll = request.upTo === null && request.without === null;
    return charged(({ stack, userId }) => {
      const { presences: users, cursor, count } = stack.online(userId, request);
      const many = stack.users.onlineCount > read.MAX_PAGE ? stack.users.onlineCount : undefined;
      const onlineCount = isAll ? count : many;
      const page = { type: "online-users-list", users, cursor } as const;
      return onlineCount === undefined ? page : { ...page, onlineCount };
    });
  },
  join: (fields) => {
    const sessions = read.sessions(fields);
    return charged((call) => join(call, sessions), sessions.ids.length);
  },
  leave: (fields) => {
    const sessions = read.optionalSessions(fields);
    if (sessions) return charged((call) => leave(call, sessions.ids), sessions.ids.length);
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
  verify: (fields) => {
    const userIds = read.userIds(fields, MAX_VERIFIED);
    return charged(({ stack, userId }) => {
      const { probeSeconds } = stack.parameters;
      return { type: "verified", ...stack.verify(userIds, userId), probeSeconds };
    });
  },
};

/** An action, of so many chat sessions, that is charged to the rate limit, and renews the lease. */
function charged(run: (call: Call) => ServerFrame, sessions = 1): Run {
  return (stack, connection) => {
    const call = callOf(stack, connection);
    connection.charge(stack.now, Math.ceil(sessions / SESSIONS_PER_ACTION));
    const answer = run(call);
    renew(call);
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
  readonly device: string | null;
  readonly isActive: boolean | null;
  readonly heartbeatSeconds: number | null;
  readonly sessionIds: readonly string[] | null;
  readonly data: string | null;
}

function authenticate(stack: Stack, connection: Connection, request: Authentication): ServerFrame {
  const { expectedUserId, sessionIds } = request;
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
  if (connection.userId !== null && sessionIds?.length) {
    connection.charge(stack.now, Math.ceil(sessionIds.length / SESSIONS_PER_ACTION));
  }
  const others = othersOnline(stack, identity);
  admit(stack, connection, identity, request);
  leaveForbidden({ stack, connection, userId }, identity);
  const { heartbeatSeconds, backgroundHeartbeatSeconds, maxConnectionSeconds } = stack.parameters;
  const answer: AuthenticationSuccess = {
    type: "authentication-success",
    userId,
    connectionId: connection.connectionId,
    onlineCount: others + 1,
    heartbeatSeconds,
    backgroundHeartbeatSeconds,
    leaseSeconds: leaseMs(allowed(stack.parameters, request.heartbeatSeconds)) / 1000,
    tokenExpiresAt: identity.expiresAt,
    connectionExpiresAt: connection.openedAt + maxConnectionSeconds * 1000,
    serverTime: stack.now,
    presence: ownPresence(stack.users.get(userId)),
    chatSessions: [...connection.sessions].sort(),
  };
  if (sessionIds === null) return answer;
  return { ...answer, ...told({ stack, connection, userId }, sessionIds) };
}

/** How many other users are online; none for a guest, who may not see all of them. */
function othersOnline({ users }: Stack, { userId, allowed }: Identity): number {
  if (allowed !== null) return 0;
  return users.onlineCount - (users.get(userId).status === "offline" ? 0 : 1);
}

function admit(
  stack: Stack,
  connection: Connection,
  identity: Identity,
  { device, isActive, heartbeatSeconds, sessionIds, data }: Authentication,
): void {
  const { userId, allowed } = identity;
  const before = [connection.userId, connection.identity] as const;
  [connection.userId, connection.identity] = [userId, identity];
  const arrives = {
    ...heard(stack, connection, isActive, lastsOf(stack.parameters, heartbeatSeconds), device),
    sessionIds: (sessionIds ?? []).filter((id) => isAllowed(id, allowed)),
    graceUntil: stack.now + stack.parameters.graceSeconds * 1000,
    data,
  };
  try {
    const after = stack.users.change(userId, { type: "authenticated", ...arrives });
    takePart(connection, after, arrives.sessionIds);
  } catch (refusal) {
    [connection.userId, connection.identity] = before;
    throw refusal;
  }
}

/** A fresh token may allow less than the one before. */
function leaveForbidden(call: Call, { allowed }: Identity): void {
  for (const sessionId of [...call.connection.sessions]) {
    if (!isAllowed(sessionId, allowed)) leave(call, [sessionId]);
  }
}

// The other actions.

function pingOf(fields: read.Fields): (stack: Stack, connection: Connection) => Pong {
  const named = read.optionalId(fields, "userId");
  const isActive = read.optionalBoolean(fields, "active");
  const asked = read.optionalHeartbeat(fields);
  return (stack, connection) => {
    const call = callOf(stack, connection);
    if (named === undefined || named === call.userId) return ping(call, isActive, asked);
    connection.charge(stack.now);
    throw new Refusal("forbidden", "Leave userId out, or send the subject of the token.");
  };
}

function ping(call: Call, isActive: boolean | null, asked: number | null): Pong {
  const { stack, connection, userId } = call;
  const { parameters, now } = stack;
  const { connectionId } = connection;
  const lease = stack.users.get(userId).leases.get(connectionId);
  const between = Math.min(MIN_PING_MS, parameters.heartbeatSeconds * 500);
  const lasts = lastsOf(parameters, asked);
  const isSoon = (lease?.seenAt ?? 0) > now - between;
  const isChange = lasts !== lease?.lasts || (isActive !== null && isActive !== lease?.isActive);
  if (isSoon || isChange) connection.charge(now);
  stack.users.change(userId, { type: "renewed", ...heard(stack, connection, isActive, lasts) });
  if (isSoon || isChange) stack.paceOthers(userId, connectionId);
  const heartbeatSeconds =
    asked === null
      ? parameters.heartbeatSeconds
      : wanted(parameters, stack.users.get(userId), connectionId, now);
  const leaseSeconds = leaseMs(heartbeatSeconds) / 1000;
  return { type: "pong", serverTime: now, heartbeatSeconds, leaseSeconds };
}

function join(call: Call, { ids, isList }: read.SessionsRequest): ServerFrame {
  const { stack, connection, userId } = call;
  const { connectionId } = connection;
  const sessionIds = ids.filter((id) => isAllowed(id, connection.allowed));
  const [first] = ids as [string];
  try {
    if (sessionIds.length) {
      const after = stack.users.change(userId, { type: "joined", connectionId, sessionIds });
      takePart(connection, after, sessionIds);
    }
  } catch (refusal) {
    if (!isList) throw refusal; // of all of them: none has been joined
  }
  if (isList) return { type: "chat-sessions-joined", ...told(call, ids) };
  if (!connection.sessions.has(first)) throw noAccess();
  const { presences: members, cursor, count } = stack.members(first, userId, FIRST_PAGE);
  const joined = { type: "chat-session-joined", chatSessionId: first, members, cursor } as const;
  return { ...joined, memberCount: count, ...stack.fanout.rooms.counted(first) };
}

const FIRST_PAGE = { limit: read.DEFAULT_PAGE, cursor: null };

/** The connection hears those that it is in now. */
function takePart(connection: Connection, after: User, sessionIds: readonly string[]): void {
  const lease = after.leases.get(connection.connectionId);
  for (const id of sessionIds) if (lease?.sessions.has(id)) connection.sessions.add(id);
}

/** What is told of several chat sessions, with their first members as far as a frame holds them. */
function told(call: Call, ids: readonly string[]): Pick<ChatSessionsJoined, "joined" | "refused"> {
  const { stack, connection, userId } = call;
  const user = stack.users.get(userId);
  const isIn = (id: string) => connection.sessions.has(id);
  const refused = ids
    .filter((id) => !isIn(id))
    .map((id) => {
      const refusal = isAllowed(id, connection.allowed) ? noEntry(user, id) : noAccess();
      const { code, message } = refusal ?? noAccess();
      return { chatSessionId: id, code, message };
    });
  const joined = ids.filter(isIn);
  const limit = Math.min(read.DEFAULT_PAGE, Math.floor(LISTED_MEMBERS / joined.length));
  let space = MAX_LIST_BYTES - sizeOf(refused) - sizeOf([...connection.sessions]);
  for (const id of joined) space -= ENTRY_BYTES + id.length;
  const entries = joined.map((id, index) => {
    const share = space / (joined.length - index);
    const { presences, cursor, count } = stack.members(id, userId, { limit, cursor: null }, share);
    const about = { chatSessionId: id, memberCount: count, ...stack.fanout.rooms.counted(id) };
    if (sizeOf(presences) > share + 2) return about;
    space -= sizeOf(presences);
    return { ...about, members: presences, ...(cursor === null ? {} : { cursor }) };
  });
  return { joined: entries, refused };
}

const sizeOf = (value: unknown) => read.byteLength(JSON.stringify(value));

function leave({ stack, connection, userId }: Call, sessionIds: readonly string[]): ServerFrame {
  const { connectionId } = connection;
  for (const id of sessionIds) connection.sessions.delete(id);
  stack.users.change(userId, { type: "left", connectionId, sessionIds });
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
    renew(call);
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

/** By the time that the client has asked for last. */
function renew({ stack, connection, userId }: Call): void {
  const lasts = stack.users.get(userId).leases.get(connection.connectionId)?.lasts ?? null;
  stack.users.change(userId, { type: "renewed", ...heard(stack, connection, null, lasts) });
}

/** What an event says of a connection that was heard just now. */
function heard(
  stack: Stack,
  connection: Connection,
  isActive: boolean | null,
  lasts: number | null,
  device: string | null = null,
) {
  const [expiresAt, sessions] = [stack.leaseEnd(connection, lasts), new Set<string>()];
  const lease = { expiresAt, seenAt: stack.now, device, isActive: true, sessions, lasts };
  return { connectionId: connection.connectionId, lease, isActive };
}
