import type { Backoff, Clock, Lifecycle, LifecycleEvent } from "./api.js";

export const systemClock: Clock = {
  now: () => Date.now(),
  after(milliseconds, run) {
    const timer = setTimeout(run, milliseconds);
    return () => clearTimeout(timer);
  },
};

/**
 * Full jitter: anything from 0 to a limit that doubles with each attempt, from 0.5 s to 30 s, so
 * that those who were cut off together do not come back together.
 */
export const fullJitter: Backoff = (attempt, random) =>
  random() * Math.min(30_000, 250 * 2 ** attempt);

/** What the events of a window mean; `visibilitychange` and `pageshow` have to be looked into. */
const MEANING: Readonly<Record<string, LifecycleEvent | undefined>> = {
  online: "online",
  offline: "offline",
  visibilitychange: undefined,
  pagehide: "leaving",
  pageshow: undefined,
  resume: "resume",
  pointerdown: "activity",
  pointermove: "activity",
  keydown: "activity",
  wheel: "activity",
};

/** What a browser says about the page; elsewhere always online and visible, and nothing happens. */
export function browserLifecycle(): Lifecycle {
  const isPage = typeof document !== "undefined";
  const isVisible = () => !isPage || document.visibilityState === "visible";
  const meaning = (event: Event): LifecycleEvent | false | undefined => {
    if (event.type === "visibilitychange") return isVisible() ? "visible" : "hidden";
    if (event.type !== "pageshow") return MEANING[event.type];
    return (event as PageTransitionEvent).persisted && "resume";
  };
  return {
    isOnline: () => !isPage || navigator.onLine,
    isVisible,
    subscribe(listener) {
      const all = new AbortController();
      const heard = (event: Event) => {
        const told = meaning(event);
        if (told) listener(told);
      };
      // Capturing, the window hears what is told to the document, too.
      const how = { signal: all.signal, capture: true };
      if (isPage) for (const type in MEANING) window.addEventListener(type, heard, how);
      return () => all.abort();
    },
  };
}
