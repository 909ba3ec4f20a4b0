import type { Store, UserPresence } from "./api.js";
import type { Presence } from "./protocol.js";
import { keyed, type View, view } from "./store.js";

interface Person {
  held?: Presence | undefined;
  /** The period in which `held` was last confirmed; it is fresh in that one only. */
  confirmedIn: number;
  readonly view: View<UserPresence | undefined>;
}

/** Everybody of whom something is known, each at the newest version heard. */
export interface People {
  /** Takes what the server says, in whatever order it comes. */
  apply(presences: readonly Presence[]): void;
  store(userId: string): Store<UserPresence | undefined>;
  /** Whom somebody is subscribed to. */
  watched(): string[];
  /** Who is online, as far as is known, in alphabetical order. */
  online(): readonly string[];
  /**
   * Nothing is confirmed any more: the link is down. If it is over, nothing is known any more:
   * somebody else may look from now on, for whom other versions count.
   */
  lost(isOver?: boolean): void;
}

export function createPeople(on: {
  /** Somebody began or ceased to look at somebody. */
  watched(isWatched: boolean): void;
  /** The set of those online changed. */
  membership(): void;
  /** Something about this user changed. */
  changed(userId: string): void;
}): People {
  let period = 0;
  let online: readonly string[] | undefined;
  const people = keyed((): Person => {
    const it: Person = {
      confirmedIn: -1,
      view: view(() => it.held && { ...it.held, fresh: it.confirmedIn === period }, on.watched),
    };
    return it;
  });

  /** Returns whether somebody came or went. */
  function take(told: Presence): boolean {
    const it = people.get(told.userId);
    const { held, confirmedIn } = it;
    // Before it is confirmed after a gap, the same version does that, and version 0 is somebody
    // who has been erased in it.
    const isOld =
      confirmedIn === period
        ? told.version <= (held?.version ?? -1)
        : told.version > 0 && told.version < (held?.version ?? 0);
    if (isOld) return false;
    it.held = told;
    it.confirmedIn = period;
    it.view.changed();
    on.changed(told.userId);
    return held?.isOnline !== told.isOnline;
  }

  const ids = (which: (person: Person) => boolean | undefined) =>
    [...people.all].filter(([, it]) => which(it)).map(([id]) => id);

  function membership(): void {
    online = undefined;
    on.membership();
  }

  return {
    apply(presences) {
      // Not `some`: each of them has to be taken.
      if (presences.filter(take).length) membership();
    },
    store: (userId) => ({
      get: () => people.get(userId).view.get(),
      subscribe: (listener) => people.get(userId).view.subscribe(listener),
    }),
    watched: () => ids((it) => it.view.isWatched()),
    online() {
      online ??= ids((it) => it.held?.isOnline).sort();
      return online;
    },
    lost(isOver) {
      period += 1;
      for (const [userId, it] of people.all) {
        if (isOver) it.held = undefined;
        if (it.view.isWatched() || it.held?.isOnline) it.view.changed();
        else people.all.delete(userId); // nobody looks, and there is nothing to doubt
      }
      membership();
    },
  };
}
