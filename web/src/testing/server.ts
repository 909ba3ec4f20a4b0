/** The server of `createFakePresence`, as a test sees it. */

import type { Connection } from "./connections.js";
import type { HttpApi, WebSocketApi } from "./gateway.js";
import { leaseMs } from "./heartbeat.js";
import type { Rules } from "./refusal.js";
import type { Stack } from "./stack.js";
import type { FakeConnection, FakeServer } from "./types.js";
import { joinedSessions } from "./user.js";
import { otherDevice } from "./users.js";

export function fakeServer(
  stack: Stack,
  rules: Rules,
  webSocketApi: WebSocketApi,
  httpApi: HttpApi,
): FakeServer {
  const { users, fanout, tokens } = stack;
  const handles = new WeakMap<Connection, FakeConnection>();
  /** The same object for the same connection, each time. */
  function handleOf(connection: Connection): FakeConnection {
    const handle = handles.get(connection) ?? connectionOf(stack, connection);
    handles.set(connection, handle);
    return handle;
  }
  function join(userId: string, sessionId: string): void {
    const connectionId = otherDevice(userId);
    if (!users.get(userId).leases.has(connectionId)) users.tell(userId, {});
    users.change(userId, { type: "joined", connectionId, sessionIds: [sessionId] });
  }
  return {
    received: webSocketApi.received,
    requests: httpApi.requests,
    get connections() {
      return stack.connections.map(handleOf);
    },
    now: () => stack.now,
    user: (userId, presence = {}) => users.tell(userId, presence),
    silence(userId) {
      const seenAt = users.get(userId).leases.get(otherDevice(userId))?.seenAt ?? 0;
      const unheard = new Map([[otherDevice(userId), seenAt]]);
      const until = stack.now + leaseMs(stack.parameters.heartbeatSeconds);
      users.change(userId, { type: "probed", unheard, until });
    },
    presence: (userId, viewerId = null) => stack.presence(userId, viewerId),
    join,
    leave(userId, sessionId) {
      const connectionId = otherDevice(userId);
      users.change(userId, { type: "left", connectionId, sessionIds: [sessionId] });
    },
    type(userId, sessionId, typing = true) {
      if (!joinedSessions(users.get(userId)).has(sessionId)) join(userId, sessionId);
      fanout.typing(sessionId, users.get(userId), typing);
    },
    say: (userId, sessionId, content, clientId) =>
      fanout.message(sessionId, userId, content, clientId),
    block: (userId, viewerId) => void users.change(userId, { type: "blocked", viewerId }),
    unblock(userId, viewerId) {
      users.change(userId, { type: "unblocked", viewerIds: [viewerId], gone: false });
    },
    tokenFor: (userId, options = {}) => tokens.make(userId, options, stack.now),
    revoke: (tokenOrUserId, code = "token-invalid") => tokens.revoke(tokenOrUserId, code),
    refuse: (action, error, times = 1) => rules.refuse(action, error, times),
    answer: (action, how, times = 1) => rules.answer(action, how, times),
    refuseOrigin() {
      rules.allowsOrigin = false;
      return () => {
        rules.allowsOrigin = true;
      };
    },
    dropAll() {
      for (const connection of stack.connections) stack.cut(connection);
    },
  };
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
    closing(reason, retryAfterSeconds) {
      stack.close(connection, reason, retryAfterSeconds === undefined ? {} : { retryAfterSeconds });
    },
  };
}
