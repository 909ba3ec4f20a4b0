import type { Clock, Lifecycle, LifecycleEvent, PresenceClientOptions } from "./api.js";
import { createTimer } from "./timer.js";

const IDLE_MS = 5 * 60_000;
const HIDDEN_MS = 60_000;

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
      if (options === false) return;
      stop();
      onEvent();
      unsubscribe = lifecycle.subscribe((event) => {
        // A screen that turns itself off does not mean that the user is back.
        if (["activity", "visible", isActive && "hidden"].includes(event)) onEvent(event);
      });
    },
    stop,
  };
}
