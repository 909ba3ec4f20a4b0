import type { Clock, Lifecycle, OnlineUsers } from "./api.js";
import type { Link } from "./drivers/link.js";
import type { PresenceStore } from "./presence-store.js";
import type { Config, Online, OnlineUsersList } from "./protocol.js";
import { type View, view } from "./store.js";
import { createTimer } from "./timing.js";

/** As many users as a request may hold. */
export const PAGE = 100;
/** How old the list may be where the server does not tell of all users. */
const REFRESH_MS = 30_000;

/** The list of online users, page by page, kept up to date while it has subscribers. */
export interface OnlineList {
  readonly users: View<OnlineUsers>;
  loadMore(): void;
  /** Loads the first page if it is wanted and not there. */
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

export function createOnlineList(on: ListContext): OnlineList {
  /** Whether it is kept up to date. */
  let isListed = false;
  let isLoading = false;
  let cursor: string | null = null;
  let count: number | null = null;
  const refresh = createTimer(on.clock);

  function compute(): OnlineUsers {
    const userIds = on.presences.online();
    const known = isListed && !cursor ? userIds.length : count;
    return { userIds, count: known, isLoading, hasMore: !!cursor, fresh: isListed };
  }

  const users = view(compute, () => on.settle());

  async function load(link: Link, from: string | null): Promise<void> {
    isLoading = true;
    users.changed();
    try {
      const frame = { action: "online", limit: PAGE, cursor: from } as Online;
      const page = await link.ask<OnlineUsersList>(frame);
      on.presences.apply(page.users);
      cursor = page.cursor;
      count = page.onlineCount;
      isListed = !link.isDown();
      on.settle();
    } finally {
      refreshLater();
      isLoading = false;
      users.changed();
    }
  }

  function turn(from: string | null): void {
    const link = on.link();
    if (link && !isLoading) load(link, from).catch(() => {});
  }

  function refreshLater(): void {
    if (on.config()?.globalPresence) return;
    refresh.start(REFRESH_MS, () => {
      if (!isListed) return;
      if (on.lifecycle.isVisible()) turn(null);
      else refreshLater();
    });
  }

  /** It is not kept up to date any more. */
  function unlist(): void {
    isListed = false;
    users.changed();
  }

  return {
    users,
    loadMore() {
      if (cursor) turn(cursor);
    },
    async sync(link) {
      if (!users.isWatched()) on.config()?.globalPresence || unlist();
      else if (!isListed) await load(link, null);
    },
    lost(isOver) {
      if (isOver) cursor = count = null;
      unlist();
    },
  };
}
