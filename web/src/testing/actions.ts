/** What each action of a client does, and what it is answered: the server's `actions.py`. */

import type { Presence, ServerFrame } from "../protocol.js";
import type { Gate } from "./gate.js";
import { Refusal } from "./refusal.js";
import * as read from "./requests.js";
import type { Stack } from "./stack.js";
import { isAllowed } from "./tokens.js";
import { ownPresence } from "./user.js";

const MAX_WATCHED = 1_000;
const MIN_PING_MS = 10_000;

/** A connection that is authenticated, and asks for something. */
interface Call {
  readonly stack: Stack;
  readonly gate: Gate;
  readonly userId: string;
}

type Run = (stack: Stack, gate: Gate) => ServerFrame;

/** Reads the fields, and returns what is to be done. */
type Parse = (fields: read.Fields, now: number) => Run;

/** The id is put in by whoever sends it; without one it is not sent. */
const ACK: ServerFrame = { type: "ack", id: "" };

/** Serves a frame. Throws a Refusal; the lease runs on only if it does not. */
export function serve(
  stack: Stack,
  gate: Gate,
  action: read.Action,
  fields: read.Fields,
): ServerFrame {
  const run = ACTIONS[action](fields, stack.now);
  read.optionalId(fields, "id");
  return run(stack, gate);
}

const ACTIONS: Readonly<Record<read.Action, Parse>> = {
  authenticate: (fields) => {
    const wish = {
      token: read.token(fields),
      claimed: read.optionalId(fields, "userId"),
      device: read.optionalId(fields, "device"),
      isActive: read.optionalBoolean(fields, "active"),
    };
    return (stack, gate) => authenticate(stack, gate, wish);
  },
  ping: (fields) => {
    const isActive = read.optionalBoolean(fields, "active");
    return (stack, gate) => ping(callOf(stack, gate), isActive);
  },
  status: (fields, now) => {
    const wish = read.statusWish(fields, now);
    return paid(({ stack, userId }) => {
      stack.apply(userId, { is: "chosen", ...wish });
      return ACK;
    });
  },
  online: (fields) => {
    const wish = read.pageWish(fields);
    return paid(({ stack, userId }) => {
      const { presences: users, cursor, count } = stack.online(userId, wish);
      return { type: "online-users-list", users, cursor, onlineCount: count };
    });
  },
  join: (fields) => {
    const sessionId = read.sessionId(fields);
    return paid((call) => join(call, sessionId));
  },
  leave: (fields) => {
    const sessionId = read.sessionId(fields);
    return paid((call) => leave(call, sessionId));
  },
  typing: (fields) => {
    const isTyping = read.optionalBoolean(fields, "typing");
    if (isTyping === null) throw read.invalid("typing has to be true or false.");
    const sessionId = read.sessionId(fields);
    return (stack, gate) => typing(callOf(stack, gate), sessionId, isTyping);
  },
  message: (fields) => {
    const sessionId = read.sessionId(fields);
    const content = read.content(fields);
    const clientId = read.optionalId(fields, "clientId");
    return paid(({ stack, gate, userId }) => {
      requireJoined(gate, sessionId);
      return stack.say(sessionId, userId, content, clientId, gate);
    });
  },
  watch: (fields) => {
    const userIds = read.userIds(fields);
    return paid((call) => ({ type: "watching", users: watch(call, userIds) }));
  },
  unwatch: (fields) => {
    const userIds = read.userIds(fields);
    return paid(({ gate }) => {
      for (const userId of userIds) gate.watched.delete(userId);
      return ACK;
    });
  },
};

/** What costs something of the connection's limit, and lets its lease run on. */
function paid(run: (call: Call) => ServerFrame): Run {
  return (stack, gate) => {
    const call = callOf(stack, gate);
    gate.pay(stack.now);
    const answer = run(call);
    renew(call, null);
    return answer;
  };
}

function callOf(stack: Stack, gate: Gate): Call {
  return { stack, gate, userId: gate.userAt(stack.now) };
}

// Authentication.

interface Authentication {
  readonly token: string;
  readonly claimed: string | undefined;
  readonly isActive: boolean | null;
}

function authenticate(stack: Stack, gate: Gate, wish: Authentication): ServerFrame {
  const { claimed, isActive } = wish;
  const identity = stack.tokens.verify(wish.token, stack.now);
  const { userId } = identity;
  if (claimed !== undefined && claimed !== userId) {
    throw new Refusal("forbidden", "Leave userId out, or send the subject of the token.");
  }
  if (!gate.isOpen) {
    throw new Refusal("not-authenticated", "This connection is over; open a new one.");
  }
  if (gate.userId !== null && gate.userId !== userId) {
    throw new Refusal("forbidden", "This connection is another user's; open a new one.");
  }
  const wasOnline = stack.user(userId).status !== "offline";
  const others = stack.onlineCount - (wasOnline ? 1 : 0);
  admit(stack, gate, identity.expiresAt, userId, isActive);
  gate.allowed = identity.allowed;
  leaveForbidden({ stack, gate, userId });
  const { heartbeatSeconds, leaseSeconds, maxConnectionSeconds } = stack.parameters;
  return {
    type: "authentication-success",
    userId,
    connectionId: gate.connectionId,
    onlineCount: others + 1,
    heartbeatSeconds,
    leaseSeconds,
    tokenExpiresAt: identity.expiresAt,
    connectionExpiresAt: gate.openedAt + maxConnectionSeconds * 1000,
    serverTime: stack.now,
    presence: ownPresence(stack.user(userId)),
    chatSessions: [...gate.sessions].sort(),
  };
}

function admit(
  stack: Stack,
  gate: Gate,
  tokenExpiresAt: number,
  userId: string,
  isActive: boolean | null,
): void {
  const before = [gate.userId, gate.tokenExpiresAt] as const;
  [gate.userId, gate.tokenExpiresAt] = [userId, tokenExpiresAt];
  const lease = {
    expiresAt: stack.leaseEnd(gate),
    seenAt: stack.now,
    isActive: true,
    sessions: new Set<string>(),
  };
  const { connectionId } = gate;
  try {
    stack.apply(userId, { is: "authenticated", connectionId, lease, isActive });
  } catch (refusal) {
    [gate.userId, gate.tokenExpiresAt] = before;
    throw refusal;
  }
}

/** A fresh token may allow less than the one before. */
function leaveForbidden(call: Call): void {
  for (const sessionId of [...call.gate.sessions]) {
    if (!isAllowed(sessionId, call.gate.allowed)) leave(call, sessionId);
  }
}

// The other actions.

function ping(call: Call, isActive: boolean | null): ServerFrame {
  const { stack, gate, userId } = call;
  const lease = stack.user(userId).leases.get(gate.connectionId);
  const between = Math.min(MIN_PING_MS, stack.parameters.heartbeatSeconds * 500);
  const isSoon = (lease?.expiresAt ?? 0) > stack.leaseEnd(gate) - between;
  const isChange = isActive !== null && isActive !== lease?.isActive;
  if (isSoon || isChange) gate.pay(stack.now);
  renew(call, isActive);
  const { heartbeatSeconds } = stack.parameters;
  return { type: "pong", id: "", serverTime: stack.now, heartbeatSeconds };
}

function join(call: Call, chatSessionId: string): ServerFrame {
  const { stack, gate, userId } = call;
  if (!isAllowed(chatSessionId, gate.allowed)) {
    throw new Refusal("forbidden", "Ask for access to this chat session.");
  }
  const { connectionId } = gate;
  stack.apply(userId, { is: "joined", connectionId, sessionId: chatSessionId });
  gate.sessions.add(chatSessionId);
  const first = { limit: read.DEFAULT_PAGE, cursor: null };
  const { presences: members, cursor, count } = stack.members(chatSessionId, userId, first);
  const joined = { type: "chat-session-joined", chatSessionId, members, cursor } as const;
  return { ...joined, memberCount: count, ...stack.rooms.counted(chatSessionId) };
}

function leave({ stack, gate, userId }: Call, sessionId: string): ServerFrame {
  gate.sessions.delete(sessionId);
  stack.apply(userId, { is: "left", connectionId: gate.connectionId, sessionId });
  return ACK;
}

function typing(call: Call, sessionId: string, isTyping: boolean): ServerFrame {
  const { stack, gate, userId } = call;
  requireJoined(gate, sessionId);
  if (gate.mayType(sessionId, stack.now)) {
    gate.pay(stack.now);
    gate.typed(sessionId, stack.now);
    renew(call, null);
    stack.typing(sessionId, stack.user(userId), isTyping, gate);
  }
  return ACK;
}

/** How they are, as far as one frame holds it; the rest is sent as changes. */
function watch({ stack, gate, userId }: Call, userIds: readonly string[]): readonly Presence[] {
  const watched = new Set([...gate.watched, ...userIds]);
  if (watched.size > MAX_WATCHED) {
    throw new Refusal("conflict", `Watch at most ${MAX_WATCHED} users on a connection.`);
  }
  for (const name of userIds) gate.watched.add(name);
  const presences = userIds.map((name) => stack.presence(name, userId));
  const count = read.fitting(presences);
  for (const changes of read.framed(presences.slice(count))) {
    stack.post(gate, { type: "user-status-change", changes });
  }
  return presences.slice(0, count);
}

function requireJoined(gate: Gate, sessionId: string): void {
  if (!gate.sessions.has(sessionId)) {
    throw new Refusal("forbidden", "Join the chat session first.");
  }
}

function renew({ stack, gate, userId }: Call, isActive: boolean | null): void {
  const { connectionId } = gate;
  stack.apply(userId, {
    is: "renewed",
    connectionId,
    expiresAt: stack.leaseEnd(gate),
    isActive,
  });
}
