import type { Clock, Lifecycle, OnlineUsers } from "./api.js";
import { type PresenceError, retryMs } from "./errors.js";
import type { Http } from "./http.js";
import type { Link } from "./link.js";
import type { People } from "./people.js";
import type { Config, Online, OnlineUsersList, Watching } from "./protocol.js";
import type { Sessions } from "./sessions.js";
import { type View, view } from "./store.js";
import { createTimer } from "./timer.js";

/** As many users as a request may hold. */
const PAGE = 100;
/** How old the list may be where the server does not tell us of everybody. */
const REFRESH_MS = 30_000;

/** Sees to it that we hear of everybody whom somebody looks at, and of nobody twice. */
export interface Audience {
  readonly onlineUsers: View<OnlineUsers>;
  loadMore(): void;
  /** Tells the link whom we want to hear of, and asks how those are of whom we do not know. */
  sync(link: Link): Promise<unknown>;
  lost(isOver?: boolean): void;
}

export interface AudienceContext {
  readonly clock: Clock;
  readonly http: Http;
  readonly people: People;
  link(): Link | undefined;
  userId(): string | undefined;
  config(): Config | undefined;
  readonly lifecycle: Lifecycle;
  settle(afterMs?: number): void;
}

export function createAudience(on: AudienceContext, sessions: Sessions): Audience {
  const { clock, http, people } = on;
  /** Whether no more can be watched, at least on this link. */
  let isFull = false;
  /** Whether there is a list that is kept up to date. */
  let isListed = false;
  let isLoading = false;
  let cursor: string | null = null;
  let count: number | null = null;
  const refresh = createTimer(clock);
  /** Whether the server tells us of everybody. */
  const isGlobal = () => on.config()?.globalPresence;

  const onlineUsers = view<OnlineUsers>(
    () => {
      const userIds = people.online();
      return {
        userIds,
        count: isListed && !cursor ? userIds.length : count,
        isLoading,
        hasMore: !!cursor,
        fresh: isListed,
      };
    },
    () => on.settle(),
  );

  // The list of those online.

  async function list(link: Link, from: string | null): Promise<void> {
    isLoading = true;
    onlineUsers.changed();
    try {
      const page = await link.ask<OnlineUsersList>({
        action: "online",
        limit: PAGE,
        cursor: from,
      } as Online);
      people.apply(page.users);
      cursor = page.cursor;
      count = page.onlineCount;
      isListed = !link.isDown();
      on.settle();
    } finally {
      refreshLater();
      isLoading = false;
      onlineUsers.changed();
    }
  }

  function turn(from: string | null): void {
    const link = on.link();
    if (link && !isLoading) list(link, from).catch(() => {});
  }

  /** Nobody keeps the list up to date. */
  function unlist(): void {
    isListed = false;
    onlineUsers.changed();
  }

  function refreshLater(): void {
    if (isGlobal()) return;
    refresh.start(REFRESH_MS, () => {
      if (!isListed) return;
      if (on.lifecycle.isVisible()) turn(null);
      else refreshLater();
    });
  }

  // Those whom somebody looks at.

  function isHeardOf(userId: string, link: Link): boolean | undefined {
    const isTold =
      isGlobal() || userId === on.userId() || sessions.all().some((it) => it.covers(userId, link));
    return link.watched.has(userId) || (isTold && people.store(userId).get()?.fresh);
  }

  async function watch(link: Link, userIds: string[]): Promise<void> {
    try {
      people.apply((await link.ask<Watching>({ action: "watch", userIds })).users);
      for (const id of userIds) link.watched.add(id);
    } catch (cause) {
      isFull = !(cause as PresenceError).isRetryable;
      if (!isFull) throw cause;
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
    if (!link.isDown()) people.apply(found.users);
  }

  async function follow(link: Link): Promise<void> {
    // Whoever was online before a gap and is not in the list has gone, or is further on.
    const listed = onlineUsers.isWatched() ? people.online() : [];
    const wanted = new Set([...people.watched(), ...listed]);
    const spare = [...link.watched].filter((id) => !wanted.has(id));
    await inPages(spare, (userIds) => unwatch(link, userIds));
    const missing = [...wanted].filter((id) => !isHeardOf(id, link));
    // Only watching can be full.
    const ask = isGlobal() ? query : watch;
    if (!isFull) await inPages(missing, (userIds) => ask(link, userIds));
    people.doubt((id) => !isHeardOf(id, link));
  }

  return {
    onlineUsers,
    loadMore() {
      if (cursor) turn(cursor);
    },
    async sync(link) {
      try {
        if (!onlineUsers.isWatched()) isGlobal() || unlist();
        else if (!isListed) await list(link, null);
        await follow(link);
      } catch (cause) {
        on.settle(retryMs(cause as PresenceError));
      }
    },
    lost(isOver) {
      isFull = false;
      if (isOver) cursor = count = null;
      unlist();
    },
  };
}

function inPages(userIds: string[], run: (some: string[]) => Promise<void>): Promise<unknown> {
  const pages: Promise<void>[] = [];
  for (let at = 0; at < userIds.length; at += PAGE) pages.push(run(userIds.slice(at, at + PAGE)));
  return Promise.all(pages);
}
