import type {
  Clock,
  DisconnectOptions,
  MyStatus,
  PresenceClient,
  PresenceClientOptions,
  StatusOptions,
  TokenProvider,
} from "./api.js";
import { pending } from "./core/own-status.js";
import { createOwnStatus, type OwnStatusDriver } from "./drivers/own-status.js";
import { createUserLink, type UserLink, type UserLinkEvents } from "./drivers/user-link.js";
import { disconnected, fromFrame, PresenceError } from "./errors.js";
import { createEvents, type Events } from "./events.js";
import { createFollowing, type Following } from "./following.js";
import { createHttp, type Http } from "./http.js";
import { createPresenceStore, type PresenceStore } from "./presence-store.js";
import { type View, view } from "./store.js";
import {
  type Activity,
  browserLifecycle,
  fullJitter,
  setBackMs,
  systemClock,
  watchActivity,
} from "./surroundings.js";
import { createVerifying, type Verifying } from "./verifying.js";

/**
 * How late those who came are listed, where the server does not tell of all users: just before a
 * heartbeat, which the question saves.
 */
const REFRESH_ONLINE_MS = 290_000;

/** The parts of a client. Each is given functions that reach the others when they are called. */
interface Parts {
  readonly http: Http;
  readonly presences: PresenceStore;
  readonly activity: Activity;
  readonly userLink: UserLink;
  readonly following: Following;
  readonly verifying: Verifying;
  readonly ownStatus: OwnStatusDriver;
  readonly me: View<MyStatus>;
  readonly clock: Clock;
}

type Emit = Events["emit"];

/** What the server's frames change, and what a link is told when it comes into use. */
const linkEvents = (emit: Emit, parts: () => Parts): Omit<UserLinkEvents, "isActive" | "wire"> => ({
  frame(frame) {
    const { presences, following } = parts();
    if (frame.type === "user-status-change") presences.apply(frame.changes);
    following.sessions.onFrame(frame);
    if (frame.type === "error" && !frame.id) emit("problem", fromFrame(frame));
    emit(frame.type, frame as never);
  },
  ready(link, terms, isNew, since) {
    const { presences, following, verifying, ownStatus } = parts();
    presences.apply([terms.presence]);
    if (!isNew) {
      following.settle();
      return;
    }
    ownStatus.ready();
    verifying.ready();
    following.restart(link).then(() => {
      if (since && !link.isDown()) emit("resync", { since });
    });
  },
  sync: (link) => parts().following.sync(link),
  entering: () => parts().following.sessions.entering(),
  entered: (link, terms) => parts().following.sessions.entered(link, terms),
  lost: () => lose(parts(), false),
  problem(error) {
    const { userLink, ownStatus } = parts();
    // One that was replaced comes back when the page is shown.
    const isOver = userLink.state.get().name === "failed" && error.code !== "replaced";
    if (isOver) ownStatus.over(error);
    emit("problem", error);
  },
});

/** What is known may be out of date from now on; if it is over, it is forgotten. */
function lose({ presences, following, verifying, me }: Parts, isOver: boolean): void {
  presences.markStale(() => true);
  if (isOver) {
    presences.forget();
    verifying.over();
  }
  following.lost(isOver);
  me.changed();
}

function createParts(options: PresenceClientOptions, emit: Emit): Parts {
  const around = {
    clock: systemClock,
    lifecycle: browserLifecycle(),
    random: Math.random,
    backoff: fullJitter,
    refreshOnlineMs: REFRESH_ONLINE_MS,
    fetch: (...request: Parameters<typeof fetch>) => fetch(...request),
    WebSocket: globalThis.WebSocket,
    ...options,
  };
  const { clock, lifecycle, refreshOnlineMs } = around;

  const http = createHttp(options.apiUrl, around.fetch, clock, async (isRejected) => {
    const tokens = userLink.tokens();
    if (isRejected) tokens?.isGoodUntil(0);
    return tokens?.get(isRejected ? "rejected" : "reconnect");
  });
  const presences = createPresenceStore({
    watched: () => following.settle(),
    membership: () => following.onlineList.changed(),
    changed(userId) {
      if (userId === userLink.userId()) me.changed();
    },
  });
  const activity = watchActivity(clock, lifecycle, options.autoAway, () => {
    userLink.link()?.beat();
    me.changed();
  });
  const userLink = createUserLink(around, http, {
    isActive: activity.isActive,
    wire(direction, frame) {
      const shown = "token" in frame ? { ...frame, token: "…" } : frame;
      emit("wire", { direction, at: clock.now(), frame: shown });
    },
    ...linkEvents(emit, () => parts),
  });
  const context = { ...userLink, clock, lifecycle, refreshOnlineMs, http, presences };
  const following = createFollowing(context);
  const verifying = createVerifying({ ...context, settle: () => following.settle() });
  const presence = () => presences.store(userLink.userId() ?? "").get();
  const ownStatus = createOwnStatus({ ...context, presence, changed: () => me.changed() });
  const me = view<MyStatus>(() => ({
    presence: presence(),
    pending: pending(ownStatus.state(), presence()),
    isActive: activity.isActive(),
  }));
  const parts = { http, presences, activity, userLink, following, verifying, ownStatus, me, clock };
  return parts;
}

/** A local stack makes tokens by itself. */
const developmentToken =
  ({ http, userLink }: Parts): TokenProvider =>
  async ({ userId, signal }) => {
    const url = userLink.config()?.developmentTokenUrl;
    if (!url) throw new PresenceError("not-authenticated", "Give a token or getToken.");
    const call = { method: "POST", url, body: { userId }, signal };
    return (await http.call<{ token: string }>(call)).token;
  };

/** A client of one Presence stack, for one user at a time. It does nothing before `authenticate`. */
export function createPresenceClient(options: PresenceClientOptions): PresenceClient {
  const { on, emit } = createEvents();
  const parts = createParts(options, emit);
  const { http, presences, activity, userLink, following, verifying, ownStatus, me, clock } = parts;
  const { sessions, onlineList } = following;
  const getToken = options.getToken ?? developmentToken(parts);

  function disconnect({ atOnce }: DisconnectOptions = {}): void {
    activity.stop();
    userLink.disconnect(atOnce);
    ownStatus.over(disconnected());
    lose(parts, true);
  }

  return {
    options,
    connection: userLink.state,
    me,
    onlineUsers: onlineList.users,
    onlineRows: onlineList.rows,
    authenticate(userId, token = getToken) {
      const before = userLink.userId();
      if (before !== userId) {
        if (before) disconnect();
        activity.start();
      }
      return userLink.authenticate(userId, token);
    },
    retryNow: userLink.retryNow,
    disconnect,
    setStatus(status, options) {
      const until = options?.until && options.until + setBackMs(clock);
      return ownStatus.setStatus(status, { ...options, until } as StatusOptions);
    },
    verify: verifying.verify,
    lookAt: verifying.lookAt,
    user: presences.store,
    joinChatSession: (id) => sessions.get(id).join(),
    leaveChatSession: (id) => sessions.get(id).leave(),
    chatSession: (id) => sessions.get(id).chat,
    loadMoreOnlineUsers: onlineList.loadMore,
    request: http.request as PresenceClient["request"],
    on,
    stats: () => ({
      lostAt: userLink.lostAt(),
      clockSkewMs: userLink.skewMs() + setBackMs(clock),
      ...userLink.link()?.stats(),
    }),
  };
}
