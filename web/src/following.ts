import { createSessions, type Sessions } from "./drivers/chat-session.js";
import type { Link } from "./drivers/link.js";
import type { UserLink } from "./drivers/user-link.js";
import { type PresenceError, retryMs } from "./errors.js";
import type { Http } from "./http.js";
import {
  createOnlineList,
  type ListContext,
  type OnlineList,
  type OnlineListContext,
  PAGE,
} from "./online-list.js";
import type { Watching } from "./protocol.js";
import { inPages } from "./store.js";

/** All that the app wants to be told: chat sessions, the list of online users, single users. */
export interface Following {
  readonly sessions: Sessions;
  readonly onlineList: OnlineList;
  /** Tells a link all of it, and resolves when it is answered. */
  sync(link: Link): Promise<void>;
  /** The same, before anything else that was asked for: the link is new. */
  restart(link: Link): Promise<void>;
  /** Tells the link in use what is wanted: soon, or in so many milliseconds. */
  settle(afterMs?: number): void;
  lost(isOver: boolean): void;
}

export type FollowingContext = Omit<WatchContext, "onlineList" | "isCovered" | "settle"> &
  Pick<OnlineListContext, "refreshOnlineMs"> &
  Pick<UserLink, "skewMs">;

export function createFollowing(on: FollowingContext): Following {
  let isSettling = false;
  const later = new Map<number, () => void>();
  let syncing = Promise.resolve();
  const context = { ...on, settle };
  const sessions = createSessions(context);
  const onlineList = createOnlineList({
    ...context,
    isUpToDate: (userId, link) => watchList.isUpToDate(userId, link),
  });
  const watchList = createWatchList({
    ...context,
    onlineList,
    isCovered: (userId, link) => sessions.all().some((it) => it.covers(userId, link)),
  });

  async function sync(link: Link): Promise<void> {
    await sessions.sync(link);
    try {
      await onlineList.sync(link);
      await watchList.sync(link);
    } catch (cause) {
      settle(retryMs(cause as PresenceError));
    }
  }

  function settle(afterMs = 0): void {
    const at = on.clock.now() + afterMs;
    if (afterMs) {
      // One for all that were refused together: each would ask for all of them. A new link is told all.
      if (later.has(at) || !on.link()) return;
      const run = () => {
        later.delete(at);
        settle();
      };
      later.set(at, on.clock.after(afterMs, run));
    } else if (!isSettling) {
      isSettling = true;
      queueMicrotask(settleNow); // after all that is asked at this moment
    }
  }

  function settleNow(): void {
    isSettling = false;
    const link = on.link();
    // One after the other, so that nothing is asked twice.
    if (link) syncing = syncing.then(() => (link.isDown() ? undefined : sync(link)));
  }

  return {
    sessions,
    onlineList,
    sync,
    restart(link) {
      for (const it of sessions.all()) it.dispatch("ready");
      syncing = sync(link);
      return syncing;
    },
    settle,
    lost(isOver) {
      for (const stop of later.values()) stop();
      later.clear();
      for (const it of sessions.all()) it.lost(isOver);
      onlineList.lost(isOver);
      watchList.lost();
    },
  };
}

/** How long after its last subscriber a user is still watched: to look away and back costs nothing. */
const UNWATCH_MS = 60_000;

/** Keeps the users that the app shows watched, each once. */
export interface WatchList {
  /** Whether each change of the user is told to this link. */
  isUpToDate(userId: string, link: Link): boolean | undefined;
  /** Tells the link which users to watch, and asks for the presences that are not known. */
  sync(link: Link): Promise<void>;
  lost(): void;
}

export interface WatchContext extends ListContext {
  readonly http: Http;
  userId(): string | undefined;
  readonly onlineList: OnlineList;
  /** Whether a chat session tells of this user's changes. */
  isCovered(userId: string, link: Link): boolean;
}

export function createWatchList(on: WatchContext): WatchList {
  const { http, presences } = on;
  /** Whether the server refused to watch more users. */
  let isFull = false;
  /** Since when there are users who are watched and not shown; 0 if there are none. */
  let spareSince = 0;
  const isGlobal = () => on.config()?.globalPresence;

  function isUpToDate(userId: string, link: Link): boolean | undefined {
    const isTold = isGlobal() || userId === on.userId() || on.isCovered(userId, link);
    return link.watched.has(userId) || (isTold && presences.store(userId).get()?.fresh);
  }

  async function watch(link: Link, userIds: string[]): Promise<void> {
    try {
      presences.apply((await link.ask<Watching>({ action: "watch", userIds })).users);
      for (const id of userIds) link.watched.add(id);
    } catch (cause) {
      isFull = !(cause as PresenceError).isRetryable;
      if (!isFull) throw cause;
      on.settle();
    }
  }

  async function unwatch(link: Link, userIds: string[]): Promise<void> {
    await link.ask({ action: "unwatch", userIds });
    for (const id of userIds) link.watched.delete(id);
    isFull = false;
  }

  async function query(link: Link, userIds: string[]): Promise<void> {
    const found = await http.request("POST /batch", { userIds });
    // Asked before a gap, it confirms nothing after it.
    if (!link.isDown()) presences.apply(found.users);
  }

  /** Not at once, unless there is no room: one frame for all that were scrolled away. */
  async function unwatchSpare(link: Link, wanted: ReadonlySet<string>): Promise<void> {
    const spare = [...link.watched].filter((id) => !wanted.has(id));
    const now = on.clock.now();
    spareSince = spare.length && (spareSince || now);
    const left = isFull ? 0 : spareSince + UNWATCH_MS - now;
    if (!spare.length) return;
    if (left > 0) {
      on.settle(left);
      return;
    }
    spareSince = 0;
    await inPages(spare, PAGE, (userIds) => unwatch(link, userIds));
  }

  return {
    isUpToDate,
    async sync(link) {
      const { onlineList } = on;
      // A user who was listed before a gap and is not now has gone, or is on a later page.
      const listed = onlineList.users.isWatched() ? presences.online() : [];
      const wanted = new Set([...presences.watched(), ...listed]);
      await unwatchSpare(link, wanted);
      const missing = [...wanted].filter((id) => !isUpToDate(id, link));
      // Only watching can be full.
      const ask = isGlobal() ? query : watch;
      if (!isFull) await inPages(missing, PAGE, (userIds) => ask(link, userIds));
      presences.markStale(
        (id) => !isUpToDate(id, link) && !onlineList.isJustRead(id),
        onlineList.has,
      );
    },
    lost() {
      isFull = false;
    },
  };
}
