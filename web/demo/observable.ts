import { useSyncExternalStore } from "react";

/** A value that changes, for React and for other subscribers. */
export class Observable<T> {
  #value: T;
  readonly #listeners = new Set<() => void>();

  constructor(value: T) {
    this.#value = value;
  }

  readonly get = (): T => this.#value;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  set(value: T): void {
    if (value === this.#value) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) listener();
  }
}

type Readable<T> = { get(): T; subscribe(listener: () => void): () => void };

export function useValue<T>(observable: Readable<T>): T {
  return useSyncExternalStore(observable.subscribe, observable.get);
}

const seconds = new Observable(Date.now());
let watchers = 0;
let timer: ReturnType<typeof setInterval> | undefined;

/** The time, read four times a second while a component uses it. */
export function useNow(): number {
  return useSyncExternalStore(tick, seconds.get);
}

function tick(listener: () => void): () => void {
  watchers += 1;
  timer ??= setInterval(() => seconds.set(Date.now()), 250);
  const stop = seconds.subscribe(listener);
  return () => {
    stop();
    watchers -= 1;
    if (watchers) return;
    clearInterval(timer);
    timer = undefined;
  };
}
