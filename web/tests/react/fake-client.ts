/** A client without a core: stores that a test sets, and what was called. */

import type {
  ChatSession,
  Clock,
  ConnectionState,
  Members,
  MyStatus,
  OnlineUsers,
  PresenceClient,
  PresenceEvents,
  Store,
  UserPresence,
} from "../../src/api.js";
import type { NewMessage, Status } from "../../src/protocol.js";

export interface Cell<T> extends Store<T> {
  set(value: T): void;
  readonly listeners: number;
}

export function cell<T>(value: T): Cell<T> {
  const all = new Set<() => void>();
  return {
    get: () => value,
    set(next) {
      value = next;
      for (const listener of [...all]) listener();
    },
    subscribe(listener) {
      const own = () => listener();
      all.add(own);
      return () => all.delete(own);
    },
    get listeners() {
      return all.size;
    },
  };
}

export interface FakeSession extends ChatSession {
  readonly members: Cell<Members>;
  readonly typing: Cell<readonly string[]>;
  uses: number;
  receive(message: Partial<NewMessage>): void;
  /** What the next messages come to. */
  answer: (content: unknown, clientId?: string) => Promise<NewMessage>;
}

export interface FakeClient extends PresenceClient {
  readonly connection: Cell<ConnectionState>;
  readonly me: Cell<MyStatus>;
  readonly onlineUsers: Cell<OnlineUsers>;
  readonly calls: unknown[][];
  readonly sessions: Map<string, FakeSession>;
  user(userId: string): Cell<UserPresence | undefined>;
  chatSession(id: string): FakeSession;
  emit<K extends keyof PresenceEvents>(type: K, event: PresenceEvents[K]): void;
  /** Sets how a user is. */
  /** What `stats` says of it. */
  lostAt: number;
  put(userId: string, status: Status, more?: Partial<UserPresence>): void;
}

export const waiting: Members = {
  userIds: [],
  count: null,
  state: "waiting",
  error: undefined,
  fresh: false,
};

export function fakeClient({ clock }: { clock?: Clock } = {}): FakeClient {
  const calls: unknown[][] = [];
  const onlineUsers = cell<OnlineUsers>({
    userIds: [],
    count: null,
    isLoading: true,
    hasMore: false,
    fresh: false,
  });
  const users = new Map<string, Cell<UserPresence | undefined>>();
  const sessions = new Map<string, FakeSession>();
  const listeners = new Set<[string, (event: never) => void]>();
  const call =
    (name: string, result?: unknown) =>
    (...args: unknown[]) => {
      calls.push([name, ...args]);
      return result as never;
    };

  function session(id: string): FakeSession {
    const heard = new Set<(message: NewMessage) => void>();
    let number = 0;
    const it: FakeSession = {
      id,
      uses: 0,
      members: cell(waiting),
      typing: cell<readonly string[]>([]),
      answer: async (content, clientId) => ({
        ...message(`${++number}`, content),
        senderId: client.me.get().presence?.userId ?? "",
        ...(clientId ? { clientId } : {}),
      }),
      send(content, clientId) {
        calls.push(["send", id, content, clientId]);
        return it.answer(content, clientId);
      },
      keystroke: call(`keystroke ${id}`),
      stopTyping: call(`stopTyping ${id}`),
      onMessage(listener) {
        heard.add(listener);
        return () => heard.delete(listener);
      },
      receive(part) {
        const full = { ...message(`${++number}`, { text: "" }), ...part };
        for (const listener of heard) listener(full);
      },
    };
    const message = (messageId: string, content: unknown): NewMessage => ({
      type: "new-message",
      chatSessionId: id,
      messageId,
      senderId: "grace",
      content,
      sentAt: client.now(),
    });
    return it;
  }

  const client: FakeClient & { now(): number } = {
    now: () => clock?.now() ?? Date.now(),
    lostAt: 0,
    calls,
    sessions,
    connection: cell<ConnectionState>({ name: "idle" }),
    me: cell<MyStatus>({ presence: undefined, pending: undefined, isActive: true }),
    onlineUsers,
    onlineRows: onlineUsers,
    options: { apiUrl: "http://localhost:4000", ...(clock ? { clock } : {}) },
    authenticate: call("authenticate", Promise.resolve()),
    disconnect: call("disconnect"),
    retryNow: call("retryNow"),
    setStatus: call("setStatus", Promise.resolve()),
    setData: call("setData", Promise.resolve()),
    patchData: call("patchData", Promise.resolve()),
    loadMoreOnlineUsers: call("loadMoreOnlineUsers"),
    user(userId) {
      const found = users.get(userId) ?? cell<UserPresence | undefined>(undefined);
      users.set(userId, found);
      return found;
    },
    put(userId, status, more) {
      const isOnline = status !== "offline";
      const lastSeen = client.now();
      client
        .user(userId)
        .set({ userId, status, isOnline, lastSeen, version: 1, fresh: true, ...more });
    },
    chatSession(id) {
      const found = sessions.get(id) ?? session(id);
      sessions.set(id, found);
      return found;
    },
    joinChatSession(id) {
      calls.push(["join", id]);
      const it = client.chatSession(id);
      it.uses += 1;
      return it;
    },
    leaveChatSession(id) {
      calls.push(["leave", id]);
      client.chatSession(id).uses -= 1;
    },
    on(type, listener) {
      const entry: [string, (event: never) => void] = [type, listener];
      listeners.add(entry);
      return () => listeners.delete(entry);
    },
    request: call("request"),
    verify: call("verify", Promise.resolve([])),
    lookAt(userIds) {
      calls.push(["lookAt", ...userIds]);
      return () => calls.push(["lookAway", ...userIds]);
    },
    emit(type, event) {
      for (const [of, listener] of listeners) if (of === type) listener(event as never);
    },
    stats: () => ({
      roundTripMs: 5,
      clockSkewMs: 0,
      lostAt: client.lostAt,
    }),
  };
  return client;
}
