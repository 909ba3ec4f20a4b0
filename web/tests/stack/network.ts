/** A network that can be cut: a TCP proxy in front of the stack's WebSocket API. */

import { connect, createServer, type Socket } from "node:net";

export class Network {
  readonly #server = createServer((socket) => this.#accept(socket));
  readonly #sockets = new Set<Socket>();
  readonly #target: URL;
  #isCut = false;
  #isBlackHole = false;

  constructor(target: string) {
    this.#target = new URL(target);
  }

  /** Listens; returns the address to use in place of the target's. */
  async open(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    const url = new URL(this.#target);
    url.port = String((this.#server.address() as { port: number }).port);
    return url.href;
  }

  close(): void {
    this.cut();
    this.#server.close();
  }

  /** Ends all that is open; whoever comes is turned away. */
  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Nothing passes any more through what is open, and nothing says so. */
  blackHole(): void {
    this.#isBlackHole = true;
    for (const socket of this.#sockets) socket.pause();
  }

  restore(): void {
    this.#isCut = this.#isBlackHole = false;
  }

  #accept(near: Socket): void {
    if (this.#isCut) {
      near.destroy();
      return;
    }
    const far = connect(Number(this.#target.port), this.#target.hostname);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from);
      from.pipe(to);
      from.on("error", () => to.destroy());
      from.on("close", () => {
        this.#sockets.delete(from);
        // What ends behind a black hole is not noticed on this side.
        if (!this.#isBlackHole) to.destroy();
      });
      if (this.#isBlackHole) from.pause();
    }
  }
}
