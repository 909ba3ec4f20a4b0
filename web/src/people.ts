import type { Store, UserPresence } from "./api.js";
import type { Presence } from "./protocol.js";
import { keyed, type View, view } from "./store.js";

interface Person {
  held?: Presence | undefined;
  /** Whether we were told, and hear of every change. */
  fresh: boolean;
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
  /** Nobody tells us of these any more. */
  doubt(which: (userId: string) => boolean): void;
  /** Nothing is known any more: somebody else may look, for whom other versions count. */
  forget(): void;
}

export function createPeople(on: {
  /** Somebody began or ceased to look at somebody. */
  watched(isWatched: boolean): void;
  /** The set of those online changed. */
  membership(): void;
  /** Something about this user changed. */
  changed(userId: string): void;
}): People {
  let online: readonly string[] | undefined;
  const people = keyed((): Person => {
    const it: Person = {
      fresh: false,
      view: view(() => it.held && { ...it.held, fresh: it.fresh }, on.watched),
    };
    return it;
  });

  /** Returns whether somebody came or went. */
  function take(told: Presence): boolean {
    const it = people.get(told.userId);
    const { held, fresh } = it;
    const { version } = told;
    // Before it is confirmed after a gap, the same version does that, and version 0 is somebody
    // who has been erased in it.
    const known = held?.version ?? -1;
    if (fresh ? version <= known : version && version < known) return false;
    it.held = told;
    it.fresh = true;
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
    doubt(which) {
      for (const [userId, it] of people.all) {
        if (!which(userId)) continue;
        const { fresh, held, view } = it;
        it.fresh = false;
        // Nobody looks, and there is nothing to doubt.
        if (!view.isWatched() && !held?.isOnline) people.all.delete(userId);
        else if (fresh) view.changed();
      }
    },
    forget() {
      for (const it of people.all.values()) {
        it.held = undefined;
        it.view.changed();
      }
      membership();
    },
  };
}
