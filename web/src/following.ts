import { createSessions, type Sessions } from "./drivers/chat-sessions.js";
import type { Link } from "./drivers/link.js";
import type { UserLink } from "./drivers/user-link.js";
import { type PresenceError, retryMs } from "./errors.js";
import { createOnlineList, type OnlineList } from "./online-list.js";
import { createWatchList, type WatchContext } from "./watch-list.js";

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
  Pick<UserLink, "skewMs">;

export function createFollowing(on: FollowingContext): Following {
  let isSettling = false;
  let syncing = Promise.resolve();
  const context = { ...on, settle };
  const sessions = createSessions(context);
  const onlineList = createOnlineList(context);
  const watchList = createWatchList({
    ...context,
    onlineList,
    isCovered: (userId, link) => sessions.all().some((it) => it.covers(userId, link)),
  });

  async function sync(link: Link): Promise<void> {
    await Promise.all(sessions.all().map((it) => it.sync(link)));
    try {
      await onlineList.sync(link);
      await watchList.sync(link);
    } catch (cause) {
      settle(retryMs(cause as PresenceError));
    }
  }

  function settle(afterMs = 0): void {
    if (afterMs) {
      on.clock.after(afterMs, () => settle());
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
      syncing = sync(link);
      return syncing;
    },
    settle,
    lost(isOver) {
      for (const it of sessions.all()) it.lost(isOver);
      onlineList.lost(isOver);
      watchList.lost();
    },
  };
}
