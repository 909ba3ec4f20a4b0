/** What is around the devices: the time that they share with the server, and the page of each. */

import type { Clock, Lifecycle, LifecycleEvent } from "../api.js";

export type Stop = () => void;

interface Timer {
  readonly dueAt: number;
  readonly isServers: boolean;
  readonly run: () => void;
}

/** So many turns of the event loop are waited for between two timers. */
const TURNS = 2;
/** Where there is no MessageChannel (jsdom under Jest), so many microtasks instead. */
const MICROTASKS = 64;

/** The time that the server and the devices share, turned by hand. */
export class Timeline {
  #now: number;
  /** In the order in which they were set. */
  #timers: Timer[] = [];
  #advancing: Promise<void> = Promise.resolve();
  #isAsleep = false;

  constructor(now: number) {
    this.#now = now;
  }

  get now(): number {
    return this.#now;
  }

  /** Whether the devices sleep at this moment. */
  get isAsleep(): boolean {
    return this.#isAsleep;
  }

  /** Runs something later: the server's timers while devices sleep, too. */
  after(milliseconds: number, run: () => void, isServers: boolean): Stop {
    if (milliseconds === Number.POSITIVE_INFINITY) return () => {};
    const timer = { dueAt: this.#now + Math.max(0, milliseconds || 0), isServers, run };
    this.#timers.push(timer);
    return () => this.#remove(timer);
  }

  /** Runs what is due until then, in order. Calls made meanwhile wait for each other. */
  advance(milliseconds: number): Promise<void> {
    const forward = duration(milliseconds);
    const turn = this.#advancing.then(() => this.#advanceTo(this.#now + forward));
    this.#advancing = turn.catch(() => {});
    return turn;
  }

  /** Lets time pass for the server alone; the timers of devices that fell due stay due. */
  sleep(milliseconds: number): void {
    const until = this.#now + duration(milliseconds);
    this.#isAsleep = true;
    for (let timer = this.#next(until, true); timer; timer = this.#next(until, true)) {
      this.#run(timer);
    }
    this.#isAsleep = false;
    this.#now = until;
  }

  async #advanceTo(until: number): Promise<void> {
    await settled();
    for (let timer = this.#next(until); timer; timer = this.#next(until)) {
      this.#run(timer);
      await settled();
    }
    this.#now = Math.max(this.#now, until);
  }

  #run(timer: Timer): void {
    this.#remove(timer);
    this.#now = Math.max(this.#now, timer.dueAt);
    timer.run();
  }

  #next(until: number, isServers?: boolean): Timer | undefined {
    let next: Timer | undefined;
    for (const timer of this.#timers) {
      const counts = timer.dueAt <= until && (isServers === undefined || timer.isServers);
      if (counts && (next === undefined || timer.dueAt < next.dueAt)) next = timer;
    }
    return next;
  }

  #remove(timer: Timer): void {
    this.#timers = this.#timers.filter((other) => other !== timer);
  }
}

/** Time goes forward, and comes to an end. */
function duration(milliseconds: number): number {
  if (Number.isFinite(milliseconds) && milliseconds >= 0) return milliseconds;
  throw new RangeError(`${milliseconds} ms cannot pass.`);
}

/** Resolves when promises that wait for nothing but each other have settled. */
export async function settled(): Promise<void> {
  if (typeof MessageChannel === "undefined") {
    for (let turn = 0; turn < MICROTASKS; turn += 1) await Promise.resolve();
    return;
  }
  for (let turn = 0; turn < TURNS; turn += 1) await eventLoopTurn();
}

/** Test runners replace setTimeout and queueMicrotask, but leave MessageChannel alone. */
function eventLoopTurn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/** Runs something soon, never inside the call that asks for it. */
export function soon(run: () => void): void {
  void Promise.resolve().then(run);
}

/** The clock of the devices. */
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

/** What happens around a page, said by a test. */
export class FakeLifecycle implements Lifecycle {
  #isOnline = true;
  #isVisible = true;
  readonly #listeners = new Set<(event: LifecycleEvent) => void>();

  isOnline(): boolean {
    return this.#isOnline;
  }

  isVisible(): boolean {
    return this.#isVisible;
  }

  subscribe(listener: (event: LifecycleEvent) => void): () => void {
    const own = (event: LifecycleEvent) => listener(event);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  /** How many listen; a client that has been closed leaves none behind. */
  get listenerCount(): number {
    return this.#listeners.size;
  }

  /** Tells it, even if it is no change; what it says about the page is so from then on. */
  emit(event: LifecycleEvent): void {
    if (event === "online" || event === "offline") this.#isOnline = event === "online";
    if (event === "visible" || event === "hidden") this.#isVisible = event === "visible";
    for (const listener of [...this.#listeners]) listener(event);
  }

  /** What the browser believes; the network itself is `FakeNetwork`. Tells it if it changes. */
  setOnline(isOnline: boolean): void {
    if (isOnline !== this.#isOnline) this.emit(isOnline ? "online" : "offline");
  }

  setVisible(isVisible: boolean): void {
    if (isVisible !== this.#isVisible) this.emit(isVisible ? "visible" : "hidden");
  }
}
