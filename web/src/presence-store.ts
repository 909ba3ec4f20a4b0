import type { Store, UserPresence } from "./api.js";
import type { Presence } from "./protocol.js";
import { keyed, type View, view } from "./store.js";

interface Entry {
  held?: Presence | undefined;
  /** Whether it was confirmed on this link, and every change of it is told. */
  fresh: boolean;
  readonly view: View<UserPresence | undefined>;
}

/** The newest known presence of each user. */
export interface PresenceStore {
  /** Takes what the server says, in whatever order it comes. */
  apply(presences: readonly Presence[]): void;
  store(userId: string): Store<UserPresence | undefined>;
  /** Users that have subscribers. */
  watched(): string[];
  /** Users that are online, as far as is known, in alphabetical order. */
  online(): readonly string[];
  /** No frame tells of changes of these users any more; they are forgotten unless they are kept. */
  markStale(which: (userId: string) => boolean, isKept?: (userId: string) => boolean): void;
  /** Forgets all: the next user of this client may see other versions. */
  forget(): void;
}

export interface PresenceStoreEvents {
  /** A user got a first subscriber, or lost the last one. */
  watched(isWatched: boolean): void;
  /** The set of users that are online changed. */
  membership(): void;
  changed(userId: string): void;
}

/** While stale, the version held is confirmed by the same one; version 0 is an erased user. */
function isNewer({ held, fresh }: Entry, { version }: Presence): boolean {
  const known = held?.version ?? -1;
  return fresh ? version > known : !version || version >= known;
}

/** The newer one, with the later `heardAt`, of which no version says which is newer. */
function merged(held: Presence | undefined, told: Presence, isNews: boolean): Presence {
  const heardAt = Math.max(held?.heardAt ?? 0, told.heardAt ?? 0);
  const newer = isNews || !held ? told : held;
  const isKnown = heardAt === (newer.heardAt ?? 0) || !newer.isOnline;
  return isKnown ? newer : { ...newer, heardAt };
}

export function createPresenceStore(on: PresenceStoreEvents): PresenceStore {
  let online: readonly string[] | undefined;
  const entries = keyed((): Entry => {
    const entry: Entry = {
      fresh: false,
      view: view(() => entry.held && { ...entry.held, fresh: entry.fresh }, on.watched),
    };
    return entry;
  });
  const ids = (which: (entry: Entry) => boolean | undefined) =>
    [...entries.all].filter(([, it]) => which(it)).map(([id]) => id);

  /** Returns whether the user came or went. */
  function update(presence: Presence): boolean {
    const entry = entries.get(presence.userId);
    const wasOnline = entry.held?.isOnline;
    const isNews = isNewer(entry, presence);
    const held = merged(entry.held, presence, isNews);
    if (!isNews && held === entry.held) return false;
    entry.held = held;
    entry.fresh ||= isNews;
    entry.view.changed();
    on.changed(presence.userId);
    return wasOnline !== held.isOnline;
  }

  function membershipChanged(): void {
    online = undefined;
    on.membership();
  }

  /** Returns whether a user is forgotten who was online, as far as is known. */
  function markStale([userId, entry]: [string, Entry], isKept: boolean): boolean | undefined {
    const { fresh, held, view } = entry;
    entry.fresh = false;
    // Without subscribers a user is not worth its memory: offline, or not told of since the last time.
    if (view.isWatched() || (held?.isOnline && (fresh || isKept))) {
      if (fresh) view.changed();
      return false;
    }
    entries.all.delete(userId);
    return held?.isOnline;
  }

  return {
    apply(presences) {
      // Not `some`: each of them has to be updated.
      if (presences.filter(update).length) membershipChanged();
    },
    store: (userId) => ({
      get: () => entries.get(userId).view.get(),
      subscribe: (listener) => entries.get(userId).view.subscribe(listener),
    }),
    watched: () => ids((it) => it.view.isWatched()),
    online() {
      online ??= ids((it) => it.held?.isOnline).sort();
      return online;
    },
    markStale(which, isKept = () => false) {
      const stale = [...entries.all].filter(([id]) => which(id));
      if (stale.filter((it) => markStale(it, isKept(it[0]))).length) membershipChanged();
    },
    forget() {
      for (const it of entries.all.values()) {
        it.held = undefined;
        it.view.changed();
      }
      membershipChanged();
    },
  };
}
