import type { Clock, Lifecycle, LifecycleEvent, PresenceClientOptions } from "./api.js";
import { createTimer } from "./timer.js";

const IDLE_MS = 5 * 60_000;
const HIDDEN_MS = 60_000;

/** Whether a person seems to be at this device. */
export interface Activity {
  isActive(): boolean;
  start(): void;
  stop(): void;
}

/** @param changed is called when somebody has come or gone */
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

  /** Looks again when the patience may be over; a touch in between costs no timer. */
  function look(): void {
    const was = isActive;
    const left = touchedAt + (lifecycle.isVisible() ? idleMs : hiddenMs) - clock.now();
    isActive = left > 0;
    if (isActive) timer.start(left, look);
    if (was !== isActive) changed();
  }

  function happened(event?: LifecycleEvent): void {
    touchedAt = clock.now();
    if (event !== "activity" || !isActive) look();
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
      happened();
      unsubscribe = lifecycle.subscribe((event) => {
        // Whoever is away does not come back by a screen that turns itself off.
        if (["activity", "visible", isActive && "hidden"].includes(event)) happened(event);
      });
    },
    stop,
  };
}
