import type { Clock, PresenceClient, Store } from "../api.js";
import { createTimer } from "../timing.js";
import { packed } from "./messages.js";
import {
  type Entries,
  isDown,
  isKnown,
  isList,
  keyOf,
  type Listed,
  shown,
  stale,
} from "./shared-state.js";

/** How long the next connection may take without being seen. */
const HAND_OVER_MS = 5_000;
/** Older than that, what was known is not shown as if it were now. */
const OLD_MS = 75_000;

/** What is published of a client: the values of its stores, as long as they are wanted. */
export interface Gallery {
  show(key: string, store: Store<unknown>): void;
  /** A value that is in no store. */
  put(key: string, value: unknown): void;
  hide(key: string): void;
  all(): Entries;
  stop(): void;
}

export interface GalleryContext {
  readonly clock: Clock;
  /** What was known when this tab began to lead. */
  readonly inherited: Entries;
  /** When that was so; 0 if nothing was known. */
  readonly knownAt: number;
  /** Since when something may have been missed, by the server's clock; 0 if nothing was. */
  readonly since: number;
  publish(entries: Entries): void;
  /** All is known again. */
  caughtUp(since: number): void;
}

/** What was known before: it is shown until the new connection knows it. */
function createInheritance({ clock, inherited, knownAt }: GalleryContext) {
  const values = new Map(clock.now() - knownAt > OLD_MS ? stale(inherited) : inherited);
  let isMasking = true;
  return {
    entries: [...values],
    show(key: string, unpacked: unknown): unknown {
      const value = packed(unpacked);
      const seen = shown({ values, isMasking }, key, value);
      if (isKnown(key, value)) values.delete(key);
      return seen;
    },
    forget: (key: string) => void values.delete(key),
    /** Returns whether that is news. */
    unmask(): boolean {
      const was = isMasking;
      isMasking = false;
      return was;
    },
  };
}

/** What was published last, of each key. */
function createPublished(entries: Entries, read: (key: string) => unknown) {
  const values = new Map(entries);

  function set(key: string, value: unknown): void {
    if (value === undefined) values.delete(key);
    else values.set(key, value);
  }

  return {
    values,
    /** Takes what is so now, and returns what has changed. */
    update(keys: Iterable<string>): Entries {
      const now = [...new Set(keys)].map((key) => [key, read(key)] as const);
      const changed = now.filter(([key, value]) => values.get(key) !== value);
      for (const entry of changed) set(...entry);
      return changed;
    },
  };
}

export function createGallery(on: GalleryContext, client: PresenceClient): Gallery {
  const { entries, show, forget, unmask } = createInheritance(on);
  const stores = new Map<string, { get(): unknown; stop(): void }>();
  const { values, update } = createPublished(entries, read);
  const handOver = createTimer(on.clock);
  /** What may be another now; what was inherited goes if it is not wanted any more. */
  const dirty = new Set(values.keys());
  /** Users in lists that no tab shows: they are told as they are known with the list. */
  let others: ReadonlySet<string> = new Set();
  let { since } = on;

  function mark(key: string): void {
    if (!dirty.size) queueMicrotask(flush);
    dirty.add(key);
  }

  function expectNoMore(): void {
    if (unmask()) for (const key of stores.keys()) mark(key);
  }

  function read(key: string): unknown {
    const store = stores.get(key) ?? (others.has(key) && client.user(keyOf.userIn(key)));
    if (store) return show(key, store.get());
    forget(key);
  }

  function flush(): void {
    if (isDown(client.connection.get())) expectNoMore();
    const keys = [...dirty];
    dirty.clear();
    const lists = update(keys.filter(isList));
    if (lists.length) others = usersIn([...values].filter(([key]) => isList(key)));
    const users = lists.length ? [...values.keys(), ...others].filter(isUser) : [];
    on.publish([...lists, ...update([...keys, ...users])]);
    const isKnownAll = [...stores].every(([key, { get }]) => isKnown(key, get()) || !isTold(key));
    if (!since || client.connection.get().name !== "ready" || !isKnownAll) return;
    on.caughtUp(since);
    since = 0;
  }

  handOver.start(HAND_OVER_MS, expectNoMore);
  queueMicrotask(flush);
  return {
    show(key, store) {
      stores.set(key, { get: store.get, stop: store.subscribe(() => mark(key)) });
      mark(key);
    },
    put(key, value) {
      stores.set(key, { get: () => value, stop() {} });
      mark(key);
    },
    hide(key) {
      stores.get(key)?.stop();
      stores.delete(key);
      mark(key);
    },
    all: () => [...values],
    stop() {
      handOver.stop();
      for (const it of stores.values()) it.stop();
    },
  };
}

const usersIn = (lists: Entries): ReadonlySet<string> =>
  new Set(lists.flatMap(([, list]) => (list as Listed).userIds.map(keyOf.user)));
const isUser = (key: string) => key.startsWith("user ");
/** Whether the connection tells it as soon as there is one. */
const isTold = (key: string) => /^(me|members)/.test(key);
