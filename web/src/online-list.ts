import type { Clock, Lifecycle, OnlineUsers } from "./api.js";
import type { Link } from "./drivers/link.js";
import type { PresenceStore } from "./presence-store.js";
import type { Config, Online, OnlineUsersList } from "./protocol.js";
import { type View, view } from "./store.js";
import { createTimer } from "./timing.js";

/** As many users as a request may hold. */
export const PAGE = 100;
/** The page is shown again: asked for sooner than that, the list is good enough. */
const RETURN_MS = 10_000;
/** A frame holds 8 KiB. */
const WITHOUT_LENGTH = 6_000;
/** Until then, a row that was read has time to be drawn, and watched if it is on the screen. */
const DRAWN_MS = 1_000;

/**
 * The list of online users, page by page. It is asked for once; after that the server is asked now
 * and then for what it does not tell by itself. Those who are watched are left out, so that the
 * answer is empty, and costs next to nothing, where no user came.
 */
export interface OnlineList extends Pick<Pages, "has" | "isJustRead"> {
  /** Of these, all are watched while there are subscribers. */
  readonly users: View<OnlineUsers>;
  /** The same; only those are watched who have subscribers of their own. */
  readonly rows: View<OnlineUsers>;
  /** The set of users that are online changed. */
  changed(): void;
  loadMore(): void;
  /** Loads it if it is wanted and not there. */
  sync(link: Link): Promise<void>;
  lost(isOver: boolean): void;
}

export interface ListContext {
  readonly clock: Clock;
  readonly lifecycle: Lifecycle;
  readonly presences: PresenceStore;
  link(): Link | undefined;
  config(): Config | undefined;
  /** Something has to be told to the server, in so many milliseconds. */
  settle(afterMs?: number): void;
}

export interface OnlineListContext extends ListContext {
  readonly refreshOnlineMs: number;
  /** Whether each change of the user is told to this link. */
  isUpToDate(userId: string, link: Link): boolean | undefined;
}

/** As many as a frame holds: the others are read again, which is only dearer. */
function fitting(userIds: readonly string[]): readonly string[] {
  let length = 0;
  return userIds.slice(0, PAGE).filter((it) => {
    length += it.length + 3;
    return length < WITHOUT_LENGTH;
  });
}

/** The pages that are loaded: what is asked for, and what came. */
interface Pages {
  /** Whether the user is on one of them. */
  has(userId: string): boolean;
  /** Whether the user's page came a moment ago. */
  isJustRead(userId: string): boolean;
  /** Where they end; null if these are all. */
  end(): string | null;
  /** How many are online, as was told last. */
  count(): number | null;
  /** Asks for all that is not told on these pages: at first, for the first one. */
  refresh(link: Link): Promise<void>;
  more(link: Link): Promise<void>;
  forget(): void;
}

function createPages({ clock, presences, isUpToDate }: OnlineListContext): Pages {
  let end: string | null = null;
  let count: number | null = null;
  /** The users, and when each was read. */
  let read = new Map<string, number>();

  async function ask(link: Link, about: Partial<Online>, into: typeof read) {
    const frame = { action: "online", limit: PAGE, ...about } as const;
    const page = await link.ask<OnlineUsersList>(frame);
    presences.apply(page.users);
    for (const { userId } of page.users) into.set(userId, clock.now());
    count = page.onlineCount ?? count;
    return page.cursor;
  }

  return {
    has: (userId) => read.has(userId),
    isJustRead: (userId) => clock.now() - (read.get(userId) ?? 0) < DRAWN_MS,
    end: () => end,
    count: () => count,
    async refresh(link) {
      // The first time, all are asked for: only then is told how many there are, if these are few.
      const known = read.size ? presences.online().filter((id) => isUpToDate(id, link)) : [];
      const without = fitting(known);
      const about = { ...(end && { upTo: end }), ...(without.length && { without }) };
      const next = new Map(without.map((id) => [id, 0]));
      let at = await ask(link, about, next);
      // No further than was loaded before, however many came.
      for (let left = Math.ceil(read.size / PAGE) - 1; at && left > 0; left--)
        at = await ask(link, { ...about, cursor: at }, next);
      read = next;
      if (at || !end) end = at;
    },
    async more(link) {
      if (end) end = await ask(link, { cursor: end }, read);
    },
    forget() {
      end = count = null;
      read.clear();
    },
  };
}

/** Loads the pages, and asks again when they may be out of date. */
function createLoader(on: OnlineListContext, pages: Pages, changed: () => void) {
  const { clock, lifecycle } = on;
  const timer = createTimer(clock);
  const state = { isListed: false, isLoading: false };
  let readAt = 0;

  async function load(link: Link, how: (link: Link) => Promise<void>): Promise<void> {
    state.isLoading = true;
    changed();
    try {
      await how(link);
      state.isListed = !link.isDown();
      on.settle();
      on.settle(DRAWN_MS);
    } finally {
      readAt = clock.now();
      if (state.isListed) timer.start(on.refreshOnlineMs, refresh);
      state.isLoading = false;
      changed();
    }
  }

  function turn(how: (link: Link) => Promise<void>): void {
    const link = on.link();
    if (link && !state.isLoading) load(link, how).catch(() => {});
  }

  /** A page that is hidden waits until it is shown. */
  function refresh(): void {
    const isOld = state.isListed && clock.now() - readAt >= RETURN_MS;
    if (isOld && lifecycle.isVisible() && !on.config()?.globalPresence) turn(pages.refresh);
  }

  return { state, load, turn, refresh, stop: timer.stop };
}

export function createOnlineList(on: OnlineListContext): OnlineList {
  const pages = createPages(on);
  const { state, load, turn, refresh, stop: stopRefreshing } = createLoader(on, pages, changed);
  const users = view(compute, watched);
  const rows = view(compute, watched);
  const isWanted = () => users.isWatched() || rows.isWatched();
  let stop = () => {};

  function compute(): OnlineUsers {
    const { isListed, isLoading } = state;
    const userIds = on.presences.online();
    const hasMore = !!pages.end();
    const count = isListed && !hasMore ? userIds.length : pages.count();
    return { userIds, count, isLoading, hasMore, fresh: isListed };
  }

  function changed(): void {
    users.changed();
    rows.changed();
  }

  function watched(): void {
    stop();
    stop = isWanted()
      ? on.lifecycle.subscribe((event) => event === "visible" && refresh())
      : () => {};
    on.settle();
  }

  /** It is not kept up to date any more. */
  function unlist(): void {
    stopRefreshing();
    state.isListed = false;
    changed();
  }

  return {
    users,
    rows,
    changed,
    has: pages.has,
    isJustRead: pages.isJustRead,
    loadMore() {
      if (pages.end()) turn(pages.more);
    },
    async sync(link) {
      if (!isWanted()) on.config()?.globalPresence || unlist();
      else if (!state.isListed) await load(link, pages.refresh);
    },
    lost(isOver) {
      if (isOver) pages.forget();
      unlist();
    },
  };
}
