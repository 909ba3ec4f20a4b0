import type { Store } from "./api.js";

/** A value that is computed when it is asked for, and not again before it has changed. */
export interface View<T> extends Store<T> {
  /** Whether there are subscribers. */
  isWatched(): boolean;
  /** Says that the value may be another now. */
  changed(): void;
}

/**
 * @param compute gives the value
 * @param watched is told when the first subscriber comes (true) and when the last one leaves
 */
export function view<T>(compute: () => T, watched?: (isWatched: boolean) => void): View<T> {
  const listeners = new Set<(event: undefined) => void>();
  let isDirty = true;
  let value: T;
  return {
    get() {
      if (isDirty) {
        value = compute();
        isDirty = false;
      }
      return value;
    },
    isWatched: () => listeners.size > 0,
    changed() {
      isDirty = true;
      tell(listeners, undefined);
    },
    subscribe(listener) {
      const entry = () => listener(); // the same function may subscribe twice
      listeners.add(entry);
      if (listeners.size === 1) watched?.(true);
      return () => {
        if (listeners.delete(entry) && !listeners.size) watched?.(false);
      };
    },
  };
}

/** Calls all listeners of this moment; an error in one of them does not stop the others. */
export function tell<E>(listeners: ReadonlySet<(event: E) => void>, event: E): void {
  for (const listener of [...listeners]) {
    try {
      listener(event);
    } catch (error) {
      console.error(error);
    }
  }
}

/** One of each, made when it is asked for first. */
export function keyed<T>(make: (key: string) => T): {
  readonly all: Map<string, T>;
  get(key: string): T;
} {
  const all = new Map<string, T>();
  return {
    all,
    get(key) {
      const found = all.get(key) ?? make(key);
      all.set(key, found);
      return found;
    },
  };
}

/** Runs it for so many ids at a time, for all of them at once. */
export function inPages(
  ids: readonly string[],
  size: number,
  run: (some: string[]) => Promise<void>,
): Promise<unknown> {
  const pages: Promise<void>[] = [];
  for (let at = 0; at < ids.length; at += size) pages.push(run(ids.slice(at, at + size)));
  return Promise.all(pages);
}
