import type { Backoff, Clock, Lifecycle, LifecycleEvent, PresenceClientOptions } from "./api.js";
import { createTimer } from "./timing.js";

const IDLE_MS = 5 * 60_000;
const HIDDEN_MS = 60_000;

/** A timer for longer fires at once (HTML, "timer initialization steps"). */
const LONGEST_MS = 2 ** 31 - 1;

/** How far the device's clock was ahead of `performance`, at most. */
let aheadMs = Number.NEGATIVE_INFINITY;

/**
 * The device's clock, but that it goes on when that one is set back: leases, waits and tokens count
 * by it. A sleep counts, too, which `performance` may leave out.
 */
export const systemClock: Clock = {
  now() {
    const steady = performance.now();
    aheadMs = Math.max(aheadMs, Date.now() - steady);
    return Math.floor(steady + aheadMs);
  },
  after(milliseconds, run) {
    const timer = setTimeout(run, Math.min(milliseconds, LONGEST_MS));
    return () => clearTimeout(timer);
  },
};

/** How far `clock` is ahead of the one that the app reads, because that one was set back. */
export const setBackMs = (clock: Clock): number =>
  clock === systemClock ? clock.now() - Date.now() : 0;

/**
 * Full jitter: anything from 0 to a limit that doubles with each attempt, from 0.5 s to 30 s, so
 * that those who were cut off together do not come back together.
 */
export const fullJitter: Backoff = (attempt, random) =>
  random() * Math.min(30_000, 250 * 2 ** attempt);

/** What the events of a window mean; for `visibilitychange`, look. */
const MEANING: Readonly<Record<string, LifecycleEvent | undefined>> = {
  online: "online",
  offline: "offline",
  visibilitychange: undefined,
  pagehide: "leaving",
  pageshow: "resume",
  resume: "resume",
  pointerdown: "activity",
  pointermove: "activity",
  keydown: "activity",
  wheel: "activity",
};

/** What a browser says about the page; elsewhere always online and visible, and nothing happens. */
export function browserLifecycle(): Lifecycle {
  const isPage = typeof document !== "undefined";
  const isVisible = () => !isPage || !document.hidden;
  return {
    isOnline: () => !isPage || navigator.onLine,
    isVisible,
    isUnattended: !isPage,
    subscribe(listener) {
      const all = new AbortController();
      const onEvent = ({ type }: Event) =>
        listener(MEANING[type] ?? (isVisible() ? "visible" : "hidden"));
      // Capturing, the window gets the events of the document, too.
      if (isPage)
        for (const type in MEANING)
          addEventListener(type, onEvent, { signal: all.signal, capture: true });
      return () => all.abort();
    },
  };
}

/** Whether the user seems to be at this device. */
export interface Activity {
  isActive(): boolean;
  start(): void;
  stop(): void;
}

/** @param changed is called when the user has come back or gone away */
export function watchActivity(
  clock: Clock,
  lifecycle: Lifecycle,
  options: PresenceClientOptions["autoAway"],
  changed: () => void,
): Activity {
  const { idleMs = IDLE_MS, hiddenMs = HIDDEN_MS } = options || {};
  const timer = createTimer(clock);
  let isActive = true;
  let touchedAt = 0;
  let unsubscribe = () => {};

  /** Checks again when the user may have gone; a touch in between starts no timer. */
  function check(): void {
    const was = isActive;
    const left = touchedAt + (lifecycle.isVisible() ? idleMs : hiddenMs) - clock.now();
    isActive = left > 0;
    if (isActive) timer.start(left, check);
    if (was !== isActive) changed();
  }

  function onEvent(event?: LifecycleEvent): void {
    touchedAt = clock.now();
    if (event !== "activity" || !isActive) check();
  }

  function stop(): void {
    timer.stop();
    unsubscribe();
    isActive = true;
  }

  return {
    isActive: () => isActive,
    start() {
      if (!(options ?? !lifecycle.isUnattended)) return;
      stop();
      touchedAt = lifecycle.touchedAt?.() ?? clock.now();
      check();
      unsubscribe = lifecycle.subscribe((event) => {
        // A screen that turns itself off does not mean that the user is back.
        if (["activity", "visible", isActive && "hidden"].includes(event)) onEvent(event);
      });
    },
    stop,
  };
}
