/** What is around the page of a device, as the person at the demo says. */

import { browserLifecycle, type Clock, type Lifecycle, type LifecycleEvent } from "../src/index.js";

/** The system's time, until it is stopped: then nothing falls due, as in a page that is frozen. */
export class PageClock implements Clock {
  /** What fell due meanwhile; undefined while it runs. */
  #due: (() => void)[] | undefined;

  now(): number {
    return Date.now();
  }

  after(milliseconds: number, run: () => void): () => void {
    let isWanted = true;
    const fire = () => isWanted && run();
    const timer = setTimeout(() => (this.#due ? this.#due.push(fire) : fire()), milliseconds);
    return () => {
      isWanted = false;
      clearTimeout(timer);
    };
  }

  stop(): void {
    this.#due ??= [];
  }

  go(): void {
    const due = this.#due ?? [];
    this.#due = undefined;
    for (const fire of due) fire();
  }
}

const OF_THE_BROWSER: readonly LifecycleEvent[] = ["online", "offline", "leaving", "resume"];
const PULSE_MS = 1_000;

/**
 * The browser's network and its coming and going, with a person of our own in front of the page
 * who touches something each second.
 */
export class Surroundings implements Lifecycle {
  readonly #browser: Lifecycle;
  readonly #listeners = new Set<(event: LifecycleEvent) => void>();
  readonly #pulse: ReturnType<typeof setInterval>;
  readonly #stop: () => void;
  #isVisible = true;
  isAttended = true;

  constructor(browser: Lifecycle = browserLifecycle()) {
    this.#browser = browser;
    this.#stop = browser.subscribe((event) => {
      if (OF_THE_BROWSER.includes(event)) this.emit(event);
    });
    this.#pulse = setInterval(() => {
      if (this.isAttended) this.emit("activity");
    }, PULSE_MS);
  }

  isOnline(): boolean {
    return this.#browser.isOnline();
  }

  isVisible(): boolean {
    return this.#isVisible;
  }

  subscribe(listener: (event: LifecycleEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  show(isVisible: boolean): void {
    if (isVisible === this.#isVisible) return;
    this.#isVisible = isVisible;
    this.emit(isVisible ? "visible" : "hidden");
  }

  emit(event: LifecycleEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }

  end(): void {
    this.#stop();
    clearInterval(this.#pulse);
  }
}
