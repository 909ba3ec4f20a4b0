/** The clock of the devices. */

import type { Clock } from "../api.js";
import { settled, type Timeline } from "./timeline.js";

export class FakeClock implements Clock {
  readonly #timeline: Timeline;
  /** How far the devices are ahead of the server, in milliseconds. */
  #ahead = 0;

  constructor(timeline: Timeline) {
    this.#timeline = timeline;
  }

  now(): number {
    return this.#timeline.now + this.#ahead;
  }

  after(milliseconds: number, run: () => void): () => void {
    return this.#timeline.after(milliseconds, run, false);
  }

  /**
   * Lets time pass and runs what falls due, in order. Promises settle before the first timer, and
   * after each. `advance(0)` runs what is due already.
   */
  advance(milliseconds: number): Promise<void> {
    return this.#timeline.advance(milliseconds);
  }

  /** Resolves when frames and answers without latency have arrived; no time passes. */
  settle(): Promise<void> {
    return settled();
  }

  /**
   * Lets time pass for the server alone: all devices sleep. Their timers that fell due meanwhile,
   * and what came from the network, wait for the next `advance`. What they have just sent is on its
   * way: `await settle()` first, if it should arrive before.
   */
  sleep(milliseconds: number): void {
    this.#timeline.sleep(milliseconds);
  }

  /** As `sleep`, until an instant of this clock. */
  set(instant: number): void {
    this.sleep(instant - this.now());
  }

  /** Puts the clock of all devices forward (or back): no time passes, and the server knows nothing. */
  shift(milliseconds: number): void {
    this.#ahead += milliseconds;
  }
}
