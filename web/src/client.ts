import { watchActivity } from "./activity.js";
import type {
  MyStatus,
  PresenceClient,
  PresenceClientOptions,
  PresenceEvents,
  SocketLike,
  StatusOptions,
  TokenProvider,
  UserPresence,
} from "./api.js";
import { createAudience } from "./audience.js";
import { createConnection } from "./connection.js";
import { type Deferred, deferred } from "./deferred.js";
import { disconnected, fromFrame, PresenceError } from "./errors.js";
import { createHttp } from "./http.js";
import type { Link } from "./link.js";
import { createPeople } from "./people.js";
import type { AuthenticationSuccess, Choice, ClientFrame, ServerFrame } from "./protocol.js";
import { createSessions } from "./sessions.js";
import { keyed, tell, view } from "./store.js";
import { browserLifecycle, fullJitter, systemClock } from "./surroundings.js";
import { pause } from "./timer.js";

/** How long after the answer the change may come that it is the answer to. */
const CHANGE_MS = 3_000;

interface PendingChoice extends Deferred<void>, StatusOptions {
  readonly status: Choice;
  /** How one was when it was sent. */
  before?: UserPresence | undefined;
}

/** A client of one Presence stack, for one user at a time. It does nothing before `authenticate`. */
export function createPresenceClient(options: PresenceClientOptions): PresenceClient {
  const around = {
    clock: systemClock,
    lifecycle: browserLifecycle(),
    random: Math.random,
    backoff: fullJitter,
    fetch: (...request: Parameters<typeof fetch>) => fetch(...request),
    WebSocket: globalThis.WebSocket as unknown as new (url: string) => SocketLike,
    ...options,
  };
  const { clock, lifecycle } = around;
  const listeners = keyed(() => new Set<(event: never) => void>());
  let clockSkewMs = 0;
  let lostAt = 0;
  let pending: PendingChoice | undefined;
  let isChoosing = false;
  let isSettling = false;
  let syncing = Promise.resolve();

  function emit<K extends keyof PresenceEvents>(type: K, event: PresenceEvents[K]): void {
    tell(listeners.get(type), event as never);
  }

  const http = createHttp(options.apiUrl, around.fetch, clock, async (isRejected) => {
    const tokens = connection.tokens();
    if (isRejected) tokens?.isGoodUntil(0);
    return tokens?.get(isRejected ? "rejected" : "reconnect");
  });

  const people = createPeople({
    watched: (isWatched) => settle(isWatched ? 0 : 5_000),
    membership: () => audience.onlineUsers.changed(),
    changed: (userId) => {
      if (userId === connection.userId()) me.changed();
    },
  });

  const activity = watchActivity(clock, lifecycle, options.autoAway, () => {
    connection.link()?.beat();
    me.changed();
  });

  const me = view<MyStatus>(() => {
    const presence = people.store(connection.userId() ?? "").get();
    const isPending = (pending?.before ?? presence) === presence;
    return {
      presence,
      pending: isPending ? pending?.status : undefined,
      isActive: activity.isActive(),
    };
  });

  const connection = createConnection(around, http, {
    isActive: activity.isActive,
    frame: hear,
    wire(direction, frame) {
      if ("token" in frame) frame = { ...frame, token: "…" };
      emit("wire", { direction, at: clock.now(), frame });
    },
    ready,
    sync,
    lost() {
      lostAt ||= clock.now() + clockSkewMs;
      lost();
    },
  });

  const context = {
    ...connection,
    clock,
    lifecycle,
    http,
    people,
    settle,
    skewMs: () => clockSkewMs,
  };
  const sessions = createSessions(context);
  const audience = createAudience(context, sessions);

  function lost(isOver?: boolean): void {
    people.doubt(() => true);
    if (isOver) people.forget();
    for (const it of sessions.all()) it.lost(isOver);
    audience.lost(isOver);
    me.changed();
  }

  function ready(link: Link, terms: AuthenticationSuccess, isHandover: boolean): void {
    people.apply([terms.presence]);
    me.changed();
    if (isHandover) {
      settle();
      return;
    }
    choose();
    const since = lostAt;
    lostAt = 0;
    syncing = sync(link); // what hangs for the last link keeps nobody waiting
    syncing.then(() => {
      if (since && !link.isDown()) emit("resync", { since });
    });
  }

  /** Makes the server's view of this connection what is wanted: now, or in so many milliseconds. */
  function settle(afterMs = 0): void {
    if (afterMs) {
      clock.after(afterMs, () => settle());
    } else if (!isSettling) {
      isSettling = true;
      queueMicrotask(settleNow); // after all that is asked at this moment
    }
  }

  function settleNow(): void {
    isSettling = false;
    const link = connection.link();
    // One after the other, so that nothing is asked twice.
    if (link) syncing = syncing.then(() => (link.isDown() ? undefined : sync(link)));
  }

  async function sync(link: Link): Promise<void> {
    await Promise.all(sessions.all().map((it) => it.sync(link)));
    await audience.sync(link);
  }

  function hear(frame: ServerFrame): void {
    if (frame.type === "authentication-success") clockSkewMs = frame.serverTime - clock.now();
    if (frame.type === "user-status-change") people.apply(frame.changes);
    if ("chatSessionId" in frame) sessions.get(frame.chatSessionId).hear(frame);
    if (frame.type === "error" && !frame.id) emit("problem", fromFrame(frame));
    emit(frame.type, frame as never);
  }

  /** One after the other: two choices could overtake each other. */
  async function choose(): Promise<void> {
    const chosen = pending;
    const link = connection.link();
    if (!link || !chosen || isChoosing) return;
    isChoosing = true;
    const { status, text, until } = chosen;
    chosen.before = me.get().presence;
    const end = until && until + clockSkewMs;
    try {
      await link
        .ask({ action: "status", status, text: text || undefined, until: end } as ClientFrame)
        .finally(() => {
          isChoosing = false;
          if (pending !== chosen || link.isDown()) choose();
        });
      chosen.resolve();
      // Until the change has come, what was chosen is what is so.
      await pause(clock, CHANGE_MS);
    } catch (error) {
      // A link that went down says nothing about the choice: the next one is asked again.
      if (link.isDown()) return;
      chosen.reject(error);
    }
    if (pending === chosen) pending = undefined;
    me.changed();
  }

  const developmentToken: TokenProvider = async ({ userId }) => {
    const url = connection.config()?.developmentTokenUrl;
    if (url) return (await http.call<{ token: string }>("POST", url, { userId })).token;
    throw new PresenceError("not-authenticated", "Give a token or getToken.");
  };

  function disconnect(): void {
    activity.stop();
    connection.disconnect();
    pending?.reject(disconnected());
    pending = undefined;
    lostAt = 0;
    lost(true);
  }

  return {
    options,
    connection: connection.state,
    me,
    onlineUsers: audience.onlineUsers,
    authenticate(userId, token) {
      const before = connection.userId();
      if (before !== userId) {
        if (before) disconnect();
        activity.start();
      }
      return connection.authenticate(userId, token ?? options.getToken ?? developmentToken);
    },
    retryNow: connection.retryNow,
    disconnect,
    setStatus(status, options) {
      const superseded = pending;
      pending = { ...deferred<void>(), ...options, status };
      superseded?.resolve(pending.promise);
      me.changed();
      choose();
      return pending.promise;
    },
    user: people.store,
    joinChatSession: (id) => sessions.get(id).join(),
    leaveChatSession: (id) => sessions.get(id).leave(),
    chatSession: (id) => sessions.get(id).chat,
    loadMoreOnlineUsers: audience.loadMore,
    request: http.request as PresenceClient["request"],
    on(type, listener, { signal } = {}) {
      const heard = listeners.get(type);
      const off = () => {
        heard.delete(listener);
      };
      heard.add(listener);
      signal?.addEventListener("abort", off, { once: true });
      return off;
    },
    stats: () => ({ lostAt, clockSkewMs, ...connection.link()?.stats() }),
  };
}
