import type { Clock } from "./api.js";
import { noAnswer } from "./errors.js";

/** How long a socket may take to open, and an answer to come. */
export const ANSWER_MS = 10_000;

/** What is promised, or `timeout` when time is over. */
export function within<T>(
  clock: Clock,
  milliseconds: number,
  promised: T | Promise<T>,
  error = noAnswer,
): Promise<T> {
  let cancel = () => {};
  const late = new Promise<never>((_, reject) => {
    cancel = clock.after(milliseconds, () => reject(error()));
  });
  return Promise.race([promised, late]).finally(cancel);
}

/** At most one thing that is to happen later. */
export interface Timer {
  /** Instead of what was to happen before. */
  start(milliseconds: number, run: () => void): void;
  stop(): void;
}

export function createTimer(clock: Clock): Timer {
  let cancel: (() => void) | undefined;
  return {
    start(milliseconds, run) {
      cancel?.();
      cancel = clock.after(milliseconds, run);
    },
    stop() {
      cancel?.();
    },
  };
}

export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T | PromiseLike<T>): void;
  reject(reason: unknown): void;
}

/** A promise that is settled from outside. A rejection that is ignored is no unhandled one. */
export function deferred<T>(): Deferred<T> {
  let settle: Pick<Deferred<T>, "resolve" | "reject">;
  const promise = new Promise<T>((resolve, reject) => {
    settle = { resolve, reject };
  });
  promise.catch(() => {});
  // biome-ignore lint/style/noNonNullAssertion: a promise calls its executor at once
  return { promise, ...settle! };
}
