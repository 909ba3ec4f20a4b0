/** The WebSocket of a device: as strict as a browser's, and never answering inside a call. */

import type { SocketLike } from "../api.js";
import type { FakeNetwork, Pipe } from "./network.js";
import { soon, type Timeline } from "./surroundings.js";

/** What the server writes into. */
export interface Link {
  send(text: string): void;
  close(code: number, reason?: string): void;
}

/** What the server is told about a socket. */
export interface Inbox {
  receive(text: string): void;
  closed(): void;
}

/** Takes a handshake, or refuses it. */
export type Handshake = (url: string, link: Link) => Inbox | null;

const [CONNECTING, OPEN, CLOSING, CLOSED] = [0, 1, 2, 3];
/** What a browser that hears no answer to its close waits. */
const CLOSING_MS = 10_000;

export class FakeSocket implements SocketLike {
  static readonly CONNECTING = CONNECTING;
  static readonly OPEN = OPEN;
  static readonly CLOSING = CLOSING;
  static readonly CLOSED = CLOSED;

  readonly url: string;
  readyState: number = CONNECTING;
  onopen: SocketLike["onopen"] = null;
  onmessage: SocketLike["onmessage"] = null;
  onclose: SocketLike["onclose"] = null;
  onerror: SocketLike["onerror"] = null;

  readonly #network: FakeNetwork;
  readonly #timeline: Timeline;
  readonly #up: Pipe;
  readonly #down: Pipe;
  readonly #forget: () => void;
  #inbox: Inbox | null = null;
  #stopClosing: () => void = () => {};

  constructor(url: string | URL, network: FakeNetwork, timeline: Timeline, handshake: Handshake) {
    this.url = String(url);
    this.#network = network;
    this.#timeline = timeline;
    this.#up = network.pipe(true);
    this.#down = network.pipe(false);
    this.#forget = network.opened(this);
    if (network.isCut) this.sever();
    else this.#up.push(() => this.#shakeHands(handshake));
  }

  send(text: string): void {
    if (this.readyState === CONNECTING) {
      throw new DOMException("The socket is still connecting.", "InvalidStateError");
    }
    if (this.readyState === OPEN) this.#up.push(() => this.#inbox?.receive(text));
  }

  close(code?: number, reason?: string): void {
    if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) {
      throw new DOMException("The code has to be 1000, or 3000 to 4999.", "InvalidAccessError");
    }
    if (this.readyState === CONNECTING) {
      this.readyState = CLOSING;
      this.#closeServerEnd();
      soon(() => this.#end(1006, "", false));
    } else if (this.readyState === OPEN) {
      this.readyState = CLOSING;
      this.#closeServerEnd(() => this.#end(code ?? 1005, reason ?? "", true));
      this.#stopClosing = this.#timeline.after(CLOSING_MS, () => this.#end(1006, "", false), false);
    }
  }

  /** @internal The network was cut. */
  sever(): void {
    this.#up.lose();
    this.#down.lose();
    soon(() => this.#end(1006, "", false));
  }

  /** @internal The server's end of it; the browser has the two methods under the same names. */
  get serverEnd(): Link {
    return {
      send: (text) => this.#down.push(() => this.#receive(text)),
      close: (code, reason = "") => this.#down.push(() => this.#end(code, reason, true)),
    };
  }

  #shakeHands(handshake: Handshake): void {
    this.#inbox = handshake(this.url, this.serverEnd);
    const isAccepted = this.#inbox !== null;
    this.#down.push(() => (isAccepted ? this.#opened() : this.#end(1006, "", false)));
  }

  #closeServerEnd(answered: () => void = () => {}): void {
    this.#up.push(() => {
      this.#inbox?.closed();
      this.#down.push(answered);
    });
  }

  #opened(): void {
    if (this.readyState !== CONNECTING) return;
    this.readyState = OPEN;
    this.onopen?.({ type: "open" } as never);
  }

  #receive(text: string): void {
    if (this.readyState !== OPEN || this.#network.drops(text)) return;
    this.onmessage?.(event("message", { data: text }));
  }

  #end(code: number, reason: string, wasClean: boolean): void {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    this.#stopClosing();
    this.#forget();
    if (!wasClean) this.onerror?.({ type: "error" } as never);
    this.onclose?.(event("close", { code, reason, wasClean }));
  }
}

function event<T extends object>(type: string, fields: T): T & { readonly type: string } {
  return { type, ...fields };
}
