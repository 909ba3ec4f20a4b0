import type { Store } from "./api.js";

/** A value that is computed when it is asked for, and not again before it has changed. */
export interface View<T> extends Store<T> {
  /** Whether somebody is subscribed. */
  isWatched(): boolean;
  /** Says that the value may be another now. */
  changed(): void;
}

/**
 * @param compute gives the value
 * @param watched is told when the first subscriber comes (true) and when the last one leaves
 */
export function view<T>(compute: () => T, watched?: (isWatched: boolean) => void): View<T> {
  const listeners = new Set<() => void>();
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
      for (const listener of [...listeners]) guarded(listener);
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

/** Somebody else's mistake in a listener must not stop us. */
export function guarded(run: () => void): void {
  try {
    run();
  } catch (error) {
    console.error(error);
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
