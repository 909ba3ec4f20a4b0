/** What is around a client that several tabs share. */

import type { Clock, Lifecycle, LifecycleEvent } from "../api.js";
import { browserLifecycle } from "../surroundings.js";

/**
 * What a browser says about the page; one that it freezes is left, too: while it stands still, another
 * tab has to lead.
 */
export function pageLifecycle(): Lifecycle {
  const page = browserLifecycle();
  return {
    ...page,
    subscribe(listener) {
      const stop = page.subscribe(listener);
      if (typeof document === "undefined") return stop;
      const freeze = () => listener("leaving");
      document.addEventListener("freeze", freeze);
      return () => {
        stop();
        document.removeEventListener("freeze", freeze);
      };
    },
  };
}

export interface SharedLifecycle extends Lifecycle {
  tell(event: LifecycleEvent): void;
  /** Whether a page of any tab is visible. */
  see(isVisible: boolean): void;
}

/**
 * All tabs as one page: it is hidden if all are, and touched if one is.
 *
 * @param touchedAt when a person was last at one of them, as the leader before knew
 */
export function sharedLifecycle(page: Lifecycle, touchedAt: () => number): SharedLifecycle {
  const listeners = new Set<(event: LifecycleEvent) => void>();
  let isVisible = true;
  const tell = (event: LifecycleEvent) => {
    if (event === "visible") isVisible = true;
    for (const listener of [...listeners]) listener(event);
  };
  return {
    isOnline: () => page.isOnline(),
    isUnattended: !!page.isUnattended,
    isVisible: () => isVisible,
    touchedAt,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    tell,
    see(isSeen) {
      const was = isVisible;
      isVisible = isSeen;
      if (was && !isSeen) tell("hidden");
    },
  };
}

export interface PromptClock extends Clock {
  /** Runs what is due. */
  poke(): void;
}

/**
 * The timers of a hidden page run once a minute (Chrome, after five minutes). What is due runs as soon
 * as a message of another tab wakes the page, so that a tab on the screen is served in time.
 */
export function promptClock(clock: Clock): PromptClock {
  const waiting = new Set<{ readonly at: number; run(): void }>();
  return {
    now: () => clock.now(),
    after(milliseconds, run) {
      const stop = () => {
        waiting.delete(entry);
        cancel();
      };
      const entry = {
        at: clock.now() + milliseconds,
        run() {
          stop();
          run();
        },
      };
      const cancel = clock.after(milliseconds, entry.run);
      waiting.add(entry);
      return stop;
    },
    poke() {
      const due = [...waiting].filter((it) => it.at <= clock.now());
      for (const it of due.sort((a, b) => a.at - b.at)) if (waiting.has(it)) it.run();
    },
  };
}
