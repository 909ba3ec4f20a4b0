/** The time that the server and the devices share, turned by hand. */

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
