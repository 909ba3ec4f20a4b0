/** A browser with tabs: what they share (locks, channels), and what happens to each. */

import type { Clock } from "../../src/index.js";
import type {
  ChannelLike,
  LocksLike,
  SharedClient,
  SharedClientOptions,
} from "../../src/tabs/index.js";
import { createSharedClient } from "../../src/tabs/index.js";
import type { FakeClock, FakeDevice, FakePresence } from "../../src/testing/index.js";

const soon = (run: () => void) => void Promise.resolve().then(run);
const aborted = () => new DOMException("It is another's, or not wanted any more.", "AbortError");

interface Request {
  readonly tab: Tab;
  grant(): void;
  reject(error: Error): void;
}

interface Lock {
  holder: Request | undefined;
  queue: Request[];
}

/** As https://www.w3.org/TR/web-locks/ says, for exclusive locks. */
class Locks {
  readonly #locks = new Map<string, Lock>();

  of(tab: Tab): LocksLike {
    return {
      request: (name, options, granted) =>
        new Promise((resolve, reject) => {
          const lock = this.#lock(name);
          const request: Request = {
            tab,
            reject,
            grant: () =>
              tab.run(async () => {
                await granted();
                resolve(undefined);
                this.#release(lock, request);
              }),
          };
          options.signal?.addEventListener("abort", () => {
            if (!lock.queue.includes(request)) return;
            lock.queue = lock.queue.filter((it) => it !== request);
            reject(aborted());
          });
          if (options.steal) this.#steal(lock, request);
          else lock.queue.push(request);
          soon(() => this.#next(lock));
        }),
    };
  }

  /** The tab is gone: the browser gives its locks back. */
  forget(tab: Tab): void {
    for (const lock of this.#locks.values()) {
      lock.queue = lock.queue.filter((it) => it.tab !== tab);
      if (lock.holder?.tab === tab) this.#release(lock, lock.holder);
    }
  }

  #lock(name: string): Lock {
    const lock = this.#locks.get(name) ?? { holder: undefined, queue: [] };
    this.#locks.set(name, lock);
    return lock;
  }

  #steal(lock: Lock, thief: Request): void {
    const robbed = lock.holder;
    robbed?.tab.run(() => robbed.reject(aborted()));
    lock.holder = thief;
    thief.grant();
  }

  #release(lock: Lock, request: Request): void {
    if (lock.holder !== request) return;
    lock.holder = undefined;
    this.#next(lock);
  }

  #next(lock: Lock): void {
    if (lock.holder) return;
    lock.holder = lock.queue.shift();
    lock.holder?.grant();
  }
}

/** A page's clock: nothing falls due while the page stands still. */
class PageClock implements Clock {
  readonly #tab: Tab;
  readonly #clock: FakeClock;

  constructor(tab: Tab, clock: FakeClock) {
    this.#tab = tab;
    this.#clock = clock;
  }

  now(): number {
    return this.#clock.now();
  }

  after(milliseconds: number, run: () => void): () => void {
    let isWanted = true;
    // A hidden page's timers run once a minute, if the test says so.
    const wait = Math.max(milliseconds, this.#tab.isThrottled ? 60_000 : 0);
    const stop = this.#clock.after(wait, () => this.#tab.runNow(() => isWanted && run()));
    return () => {
      isWanted = false;
      stop();
    };
  }
}

export interface TabOptions extends Partial<SharedClientOptions> {
  /** Of a page of another version: what this version calls its groups, that one calls otherwise. */
  readonly rename?: (group: string) => string;
}

export class Tab {
  readonly client: SharedClient;
  readonly device: FakeDevice;
  isThrottled = false;
  /** Whether what is posted in the browser does not reach it. */
  isDeaf = false;
  #state: "running" | "frozen" | "gone" = "running";
  #held: (() => void)[] = [];
  readonly #sockets = new Set<InstanceType<FakeDevice["options"]["WebSocket"]>>();
  readonly #browser: Browser;

  constructor(browser: Browser, fake: FakePresence, { rename = String, ...options }: TabOptions) {
    const tab = this;
    this.#browser = browser;
    this.device = fake.device();
    const locks = browser.locks.of(this);
    class WebSocket extends this.device.options.WebSocket {
      constructor(url: string) {
        super(url);
        tab.#sockets.add(this as never);
      }
    }
    class Channel extends TabChannel {
      constructor(name: string) {
        super(browser, tab, rename(name));
      }
    }
    this.client = createSharedClient({
      ...this.device.options,
      random: () => 0.5,
      autoAway: false,
      WebSocket: WebSocket as never,
      clock: new PageClock(this, fake.clock),
      locks: { request: (name, ...rest) => locks.request(rename(name), ...rest) },
      BroadcastChannel: Channel,
      ...options,
    });
  }

  get role() {
    return this.client.tabs.get().role;
  }

  /** Runs something in the page, later. */
  run(what: () => void): void {
    soon(() => this.runNow(what));
  }

  runNow(what: () => void): void {
    if (this.#state === "frozen") this.#held.push(what);
    if (this.#state === "running") what();
  }

  /** Nothing runs any more, and the page is told nothing of it. */
  freeze(): void {
    this.#state = "frozen";
    this.device.network.freeze();
  }

  thaw(): void {
    this.#state = "running";
    this.device.network.restore();
    for (const what of this.#held.splice(0)) this.run(what);
  }

  /** The page is closed, or goes into the back-forward cache. */
  close(): void {
    this.device.lifecycle.emit("leaving");
    this.crash();
  }

  /** Its process is gone: the browser closes what was open. */
  crash(): void {
    this.#state = "gone";
    this.#browser.locks.forget(this);
    this.#browser.forget(this);
    for (const socket of this.#sockets) {
      socket.onmessage = socket.onclose = socket.onerror = null;
      socket.close();
    }
  }
}

class TabChannel implements ChannelLike {
  onmessage: ChannelLike["onmessage"] = null;
  readonly tab: Tab;
  readonly name: string;
  readonly #browser: Browser;

  constructor(browser: Browser, tab: Tab, name: string) {
    this.#browser = browser;
    this.tab = tab;
    this.name = name;
    browser.channels.add(this);
  }

  postMessage(message: unknown): void {
    const others = [...this.#browser.channels].filter((it) => it !== this && it.name === this.name);
    this.#browser.posted.push(message as never);
    for (const other of others) {
      const data = structuredClone(message);
      if (!other.tab.isDeaf) other.tab.run(() => other.onmessage?.({ data }));
    }
  }

  close(): void {
    this.onmessage = null;
    this.#browser.channels.delete(this);
  }
}

/** One browser profile; a private window is another one. */
export class Browser {
  readonly locks = new Locks();
  readonly channels = new Set<TabChannel>();
  readonly posted: { readonly kind: string }[] = [];
  readonly #fake: FakePresence;

  constructor(fake: FakePresence) {
    this.#fake = fake;
  }

  open(options: TabOptions = {}): Tab {
    return new Tab(this, this.#fake, options);
  }

  /** A tab that is connected as this user. */
  async come(userId = "ada", options: TabOptions = {}): Promise<Tab> {
    const tab = this.open(options);
    tab.client.authenticate(userId);
    await this.#fake.clock.settle();
    return tab;
  }

  forget(tab: Tab): void {
    for (const channel of this.channels) if (channel.tab === tab) channel.close();
  }
}
