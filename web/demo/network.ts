/** A network that can be broken: the sockets and the requests of one device go through it. */

import type { SocketLike } from "../src/index.js";

export type NetworkState =
  | "works"
  /** Sockets drop, nothing connects, requests fail. The server is not told. */
  | "cut"
  /** Sockets stay open, and all that is sent is lost both ways. */
  | "black-hole";

export interface PassedFrame {
  readonly direction: "in" | "out";
  readonly at: number;
  readonly text: string;
  readonly isLost: boolean;
}

/** What the browser has. */
export interface System {
  readonly WebSocket: new (url: string) => SocketLike;
  readonly fetch: typeof fetch;
}

const OPEN = 1;
const CLOSED = 3;
/** What a browser says of a socket that ended without a word. */
const ABNORMAL = 1006;
const nothing = undefined as never;

export class Network {
  readonly WebSocket: new (
    url: string,
  ) => SocketLike;
  readonly #system: System;
  readonly #passed: (frame: PassedFrame) => void;
  readonly #sockets = new Set<BreakableSocket>();
  /** Sockets that the device has lost, and of which the server has not heard. */
  readonly #orphans = new Set<SocketLike>();
  /** Requests on their way into a black hole. */
  readonly #waiting = new Set<() => void>();
  #state: NetworkState = "works";
  /** What has arrived while the page stood still; undefined while it runs. */
  #held: (() => void)[] | undefined;
  url = "";

  constructor(system: System, passed: (frame: PassedFrame) => void) {
    this.#system = system;
    this.#passed = passed;
    const network = this;
    this.WebSocket = class extends BreakableSocket {
      constructor(url: string) {
        super(url, network);
      }
    };
  }

  get state(): NetworkState {
    return this.#state;
  }

  set(state: NetworkState): void {
    if (state === this.#state) return;
    this.#state = state;
    if (state === "cut") for (const socket of [...this.#sockets]) socket.lose();
    if (state === "works") this.#repaired();
    for (const look of [...this.#waiting]) look();
  }

  /** Whether what arrives waits: a page that stands still handles no event. */
  hold(isHeld: boolean): void {
    const arrived = this.#held;
    this.#held = isHeld ? (arrived ?? []) : undefined;
    if (!isHeld) for (const arrive of arrived ?? []) arrive();
  }

  readonly fetch: typeof fetch = async (input, init) => {
    await this.#passable();
    const response = await this.#system.fetch(input, init);
    await this.#passable();
    return response;
  };

  /** A device that has moved to another network has lost what was under way. */
  #repaired(): void {
    for (const orphan of this.#orphans) orphan.close(1000);
    this.#orphans.clear();
    for (const socket of [...this.#sockets]) socket.lose();
  }

  #passable(): Promise<void> {
    if (this.#state === "works") return Promise.resolve();
    if (this.#state === "cut") return Promise.reject(new TypeError("There is no network."));
    return new Promise((_, reject) => {
      const look = () => {
        this.#waiting.delete(look);
        reject(new TypeError("The network has changed."));
      };
      this.#waiting.add(look);
    });
  }

  // What the sockets need.

  /** @internal */
  dial(socket: BreakableSocket): SocketLike | undefined {
    this.url = socket.url;
    this.#sockets.add(socket);
    if (this.#state === "cut") queueMicrotask(() => socket.lose());
    return this.#state === "works" ? new this.#system.WebSocket(socket.url) : undefined;
  }

  /** @internal Returns whether it goes out. */
  sends(text: string, isOpen: boolean): boolean {
    const isLost = !isOpen || this.#state !== "works";
    this.#passed({ direction: "out", at: Date.now(), text, isLost });
    return !isLost;
  }

  /** @internal */
  receives(text: string, arrive: () => void): void {
    const isLost = this.#state !== "works";
    const note = () => this.#passed({ direction: "in", at: Date.now(), text, isLost });
    if (isLost) note();
    else
      this.arrives(() => {
        note();
        arrive();
      });
  }

  /** @internal */
  arrives(arrive: () => void): void {
    if (this.#state !== "works") return;
    if (this.#held) this.#held.push(arrive);
    else arrive();
  }

  /** @internal The device does not need it any more. */
  forget(socket: BreakableSocket, real: SocketLike | undefined, code?: number): void {
    this.#sockets.delete(socket);
    if (!real) return;
    if (this.#state === "works") real.close(code);
    else this.#orphans.add(real);
  }
}

class BreakableSocket implements SocketLike {
  readonly url: string;
  readyState = 0;
  onopen: SocketLike["onopen"] = null;
  onmessage: SocketLike["onmessage"] = null;
  onclose: SocketLike["onclose"] = null;
  onerror: SocketLike["onerror"] = null;
  readonly #network: Network;
  readonly #real: SocketLike | undefined;

  constructor(url: string, network: Network) {
    this.url = url;
    this.#network = network;
    this.#real = network.dial(this);
    if (this.#real) this.#listenTo(this.#real);
  }

  /** Whether there is anything at the other end. */
  get isReal(): boolean {
    return this.#real !== undefined && this.#real.readyState < CLOSED;
  }

  send(text: string): void {
    if (this.#network.sends(text, this.isReal)) this.#real?.send(text);
  }

  close(code?: number): void {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    this.#network.forget(this, this.#letGo(), code);
  }

  /** It has ended, as the device sees it. */
  lose(code = ABNORMAL, reason = ""): void {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    this.#network.forget(this, this.#letGo());
    this.onclose?.({ code, reason });
  }

  #listenTo(real: SocketLike): void {
    real.onopen = () =>
      this.#network.arrives(() => {
        this.readyState = OPEN;
        this.onopen?.(nothing);
      });
    real.onmessage = (event) =>
      this.#network.receives(String(event.data), () => this.onmessage?.(event));
    real.onclose = ({ code, reason }) => this.#network.arrives(() => this.lose(code, reason));
  }

  #letGo(): SocketLike | undefined {
    const real = this.#real;
    if (real) real.onopen = real.onmessage = real.onclose = real.onerror = null;
    return real;
  }
}
