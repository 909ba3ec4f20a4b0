import type { Clock } from "./api.js";

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

export const pause = (clock: Clock, milliseconds: number): Promise<void> =>
  new Promise((resolve) => {
    clock.after(milliseconds, resolve);
  });
