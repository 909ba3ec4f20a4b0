/** A device: a client with a network, a clock and a page of its own. */

import {
  browserLifecycle,
  type Clock,
  createPresenceClient,
  type Lifecycle,
  type LifecycleEvent,
  type PresenceClient,
  type Store,
} from "../src/index.js";
import {
  type ChannelLike,
  createSharedClient,
  type LocksLike,
  type Tabs,
} from "../src/tabs/index.js";
import { Network, type NetworkState, type PassedFrame } from "./network.js";
import { Observable } from "./observable.js";

export type Kind = "tab" | "phone" | "shared";
/** What is wrong with its network, or with its page. */
export type Condition = NetworkState | "frozen";
export type Attendance = "there" | "away" | "hidden" | "asleep";

export interface DeviceState {
  readonly condition: Condition;
  readonly attendance: Attendance;
}

/** Five minutes and one minute by default; in a demo that is long to wait. */
export const PATIENCE_MS = 3_000;

const KINDS: Record<Kind, string> = { tab: "Tab", phone: "Phone", shared: "Sharing tab" };
const ALONE = new Observable<Tabs>({ role: "alone", count: 1 });

export class Device {
  readonly kind: Kind;
  /** As the server's lists have it. */
  readonly id: string;
  readonly name: string;
  readonly client: PresenceClient;
  /** Whether its connection is that of another tab. */
  readonly tabs: Store<Tabs>;
  readonly state = new Observable<DeviceState>({ condition: "works", attendance: "there" });
  connectionId: string | undefined;
  leaseMs = 0;
  heartbeatMs = 0;
  /** When the server gives up waiting, if it hears nothing more. */
  leaseEndsAt = 0;
  readonly #clock = new PageClock();
  readonly #surroundings = new Surroundings();
  readonly #network: Network;

  constructor(kind: Kind, number: number, passed: (frame: PassedFrame) => void) {
    this.kind = kind;
    this.id = `${kind}-${number}`;
    this.name = `${KINDS[kind]} ${number}`;
    const system = {
      WebSocket,
      fetch: fetch.bind(window),
    };
    this.#network = new Network(system, (frame) => {
      if (frame.direction === "out" && !frame.isLost) this.leaseEndsAt = frame.at + this.leaseMs;
      passed(frame);
    });
    const options = {
      apiUrl: location.origin,
      device: this.id,
      autoAway: { idleMs: PATIENCE_MS, hiddenMs: PATIENCE_MS },
      WebSocket: this.#network.WebSocket,
      fetch: this.#network.fetch,
      lifecycle: this.#surroundings,
      clock: this.#clock,
    };
    if (kind === "shared") {
      const shared = createSharedClient({ ...options, ...browserOf(this.#clock) });
      this.client = shared;
      this.tabs = shared.tabs;
    } else {
      this.client = createPresenceClient(options);
      this.tabs = ALONE;
    }
    this.client.on("authentication-success", (terms) => {
      this.connectionId = terms.connectionId;
      this.leaseMs = terms.leaseSeconds * 1_000;
      this.heartbeatMs = terms.heartbeatSeconds * 1_000;
      this.leaseEndsAt = Date.now() + this.leaseMs;
    });
    for (const type of ["pong", "heartbeat"] as const)
      this.client.on(type, ({ heartbeatSeconds, leaseSeconds }) =>
        this.#pace(heartbeatSeconds, leaseSeconds),
      );
  }

  /** It keeps another heartbeat from now on. */
  #pace(heartbeatSeconds: number, leaseSeconds = this.leaseMs / 1_000): void {
    this.heartbeatMs = heartbeatSeconds * 1_000;
    this.leaseMs = leaseSeconds * 1_000;
    this.leaseEndsAt = Date.now() + this.leaseMs;
  }

  /** Where its socket leads to. */
  get url(): string {
    return this.#network.url;
  }

  /** Whether its page stands still. */
  get isStill(): boolean {
    const { condition, attendance } = this.state.get();
    return condition === "frozen" || attendance === "asleep";
  }

  set(change: Partial<DeviceState>): void {
    const before = this.isStill;
    this.state.set({ ...this.state.get(), ...change });
    if (this.isStill && !before) this.#stop();
    this.#apply();
    if (before && !this.isStill) this.#go();
  }

  close(): void {
    this.client.disconnect();
    this.#surroundings.end();
  }

  #apply(): void {
    const { condition, attendance } = this.state.get();
    const was = this.#network.state;
    const working = condition === "frozen" ? "works" : condition;
    this.#network.set(attendance === "asleep" ? "black-hole" : working);
    this.#surroundings.isAttended = attendance === "there" && !this.isStill;
    if (this.isStill) return;
    this.#surroundings.show(attendance !== "hidden");
    if (this.#surroundings.isAttended) this.#surroundings.emit("activity");
    // After all that the repair has ended: the browser says it last, too.
    if (was !== "works" && this.#network.state === "works")
      setTimeout(() => this.#surroundings.emit("online"));
  }

  #stop(): void {
    this.#clock.stop();
    this.#network.hold(true);
  }

  #go(): void {
    this.#surroundings.emit("resume");
    this.#network.hold(false);
    this.#clock.go();
  }
}

// What is around its page, as the person at the demo says.

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
    const timer = setTimeout(() => this.run(fire), milliseconds);
    return () => {
      isWanted = false;
      clearTimeout(timer);
    };
  }

  /** Runs something in the page: now, or when it goes on. */
  run(what: () => void): void {
    if (this.#due) this.#due.push(what);
    else what();
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

/** What the tabs of this browser share: a page that stands still is told later. */
function browserOf(page: PageClock): {
  locks?: LocksLike;
  BroadcastChannel: new (name: string) => ChannelLike;
} {
  const later = (what: () => void) => page.run(what);
  const locks: LocksLike = {
    request: (name, options, granted) =>
      new Promise((resolve, reject) => {
        const run = () => new Promise<void>((done) => later(() => void granted().then(done)));
        navigator.locks
          .request(name, options, run)
          .then(resolve, (error) => later(() => reject(error)));
      }),
  };
  class Channel implements ChannelLike {
    onmessage: ChannelLike["onmessage"] = null;
    readonly #real: BroadcastChannel;

    constructor(name: string) {
      this.#real = new BroadcastChannel(name);
      this.#real.onmessage = ({ data }) => later(() => this.onmessage?.({ data: data as never }));
    }

    postMessage(message: unknown): void {
      this.#real.postMessage(message);
    }

    close(): void {
      this.#real.close();
    }
  }
  return { ...(navigator.locks && { locks }), BroadcastChannel: Channel };
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
