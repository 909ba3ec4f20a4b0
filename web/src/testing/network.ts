/** The network between one device and the server. */

import type { ServerFrame } from "../protocol.js";
import { soon, type Timeline } from "./surroundings.js";

type State = "up" | "cut" | "frozen" | "black-hole";

/** What a cut ends: a socket, a request. */
export interface Severable {
  sever(): void;
}

export class FakeNetwork {
  /** How long everything is on its way, in each direction. */
  latencyMs: number;
  readonly #timeline: Timeline;
  #state: State = "up";
  #held: (() => void)[] = [];
  #drops: ((frame: ServerFrame) => boolean)[] = [];
  readonly #open = new Set<Severable>();

  constructor(timeline: Timeline, latencyMs: number) {
    this.#timeline = timeline;
    this.latencyMs = latencyMs;
  }

  /**
   * The device has no network: its sockets close with 1006 and requests fail, new ones too. The
   * server is told nothing of it: it waits for the lease to run out.
   */
  cut(): void {
    this.#become("cut");
    for (const open of [...this.#open]) open.sever();
  }

  /**
   * Sockets stay open, and nothing passes. What is sent meanwhile is lost for good, and so is what
   * would come later through the same socket or request: TCP leaves nothing out. Use `freeze` for
   * a gap that is survived.
   */
  blackHole(): void {
    this.#become("black-hole");
  }

  /** Sockets stay open, and nothing passes until `restore`; then all of it arrives, in order. */
  freeze(): void {
    this.#become("frozen");
  }

  restore(): void {
    this.#become("up");
    for (const arrive of this.#held.splice(0)) soon(arrive);
  }

  /** The next frames from the server do not arrive, as when a post was refused too often. */
  dropNext(count = 1, which: (frame: ServerFrame) => boolean = () => true): void {
    for (let index = 0; index < count; index += 1) this.#drops.push(which);
  }

  /** @internal */
  get isCut(): boolean {
    return this.#state === "cut";
  }

  /** @internal Whether what passes now is lost for good. */
  get isLossy(): boolean {
    return this.isCut || this.#state === "black-hole";
  }

  /** @internal */
  get isFrozen(): boolean {
    return this.#state === "frozen";
  }

  /** @internal What was on its way when the network froze. */
  hold(arrive: () => void): void {
    this.#held.push(arrive);
  }

  /** @internal Whether the frame is one that `dropNext` takes. */
  drops(text: string): boolean {
    const index = this.#drops.findIndex((which) => which(JSON.parse(text) as ServerFrame));
    if (index >= 0) this.#drops.splice(index, 1);
    return index >= 0;
  }

  /** @internal Until the returned function is called, a cut ends it. */
  opened(severable: Severable): () => void {
    this.#open.add(severable);
    return () => this.#open.delete(severable);
  }

  /** @internal */
  pipe(isTowardsServer: boolean): Pipe {
    return new Pipe(this, this.#timeline, isTowardsServer);
  }

  #become(state: State): void {
    this.#state = state;
    // What was held in a frozen network is lost with it.
    if (this.isLossy) for (const arrive of this.#held.splice(0)) arrive();
  }
}

/** One direction of a socket or request: in order, with latency, and over once it has lost something. */
export class Pipe {
  readonly #network: FakeNetwork;
  readonly #timeline: Timeline;
  readonly #isTowardsServer: boolean;
  #lastAt = 0;
  /** How many wait for a timer; what comes later must not overtake them. */
  #waiting = 0;
  #isLost = false;

  constructor(network: FakeNetwork, timeline: Timeline, isTowardsServer: boolean) {
    this.#network = network;
    this.#timeline = timeline;
    this.#isTowardsServer = isTowardsServer;
  }

  push(deliver: () => void): void {
    if (this.#network.isLossy) this.lose();
    const { now } = this.#timeline;
    this.#lastAt = Math.max(this.#lastAt, now + this.#network.latencyMs);
    const isAwake = this.#isTowardsServer || !this.#timeline.isAsleep;
    if (this.#lastAt <= now && this.#waiting === 0 && isAwake) soon(() => this.#arrive(deliver));
    else this.#wait(this.#lastAt - now, deliver);
  }

  /** Nothing arrives any more. */
  lose(): void {
    this.#isLost = true;
  }

  #wait(milliseconds: number, deliver: () => void): void {
    this.#waiting += 1;
    const arrive = () => {
      this.#waiting -= 1;
      this.#arrive(deliver);
    };
    this.#timeline.after(milliseconds, arrive, this.#isTowardsServer);
  }

  #arrive(deliver: () => void): void {
    if (this.#network.isFrozen) {
      this.#network.hold(() => this.#arrive(deliver));
      return;
    }
    if (this.#network.isLossy) this.lose();
    if (!this.#isLost) deliver();
  }
}
