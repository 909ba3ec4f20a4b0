/** A client for tests of the fake server: a socket, and what came through it. */

import type { ClientFrame, ServerFrame } from "../../src/protocol.js";
import type { FakeClientOptions, FakePresence } from "../../src/testing/index.js";

/** A frame of any type, with fields that a test knows to be there. */
// biome-ignore lint/suspicious/noExplicitAny: a test that is wrong about a field fails
export type AnyFrame = Record<string, any> & { readonly type?: string };

export const WEB_SOCKET_URL = "wss://presence.test/live";

/** What ada is told whose device is the first, without times and presence. */
export const WELCOME = {
  type: "authentication-success",
  id: "1",
  userId: "ada",
  connectionId: "connection-1",
  onlineCount: 1,
  heartbeatSeconds: 30,
  backgroundHeartbeatSeconds: 540,
  leaseSeconds: 75,
  chatSessions: [],
};

export class Device {
  readonly heard: AnyFrame[] = [];
  readonly closes: { code: number; reason: string }[] = [];
  readonly socket;
  readonly #fake: FakePresence;
  #id = 0;

  constructor(fake: FakePresence, options: FakeClientOptions = fake.options) {
    this.#fake = fake;
    this.socket = new options.WebSocket(WEB_SOCKET_URL);
    this.socket.onmessage = ({ data }) => this.heard.push(JSON.parse(String(data)) as ServerFrame);
    this.socket.onclose = ({ code, reason }) => this.closes.push({ code, reason });
  }

  /** A user's device, authenticated. */
  static async of(
    fake: FakePresence,
    userId: string,
    options: FakeClientOptions = fake.device().options,
    fields: object = {},
  ): Promise<Device> {
    const device = new Device(fake, options);
    await fake.clock.settle();
    const token = fake.server.tokenFor(userId);
    const answer = await device.ask({ action: "authenticate", token, ...fields });
    if (answer.type !== "authentication-success") throw new Error(JSON.stringify(answer));
    device.clear();
    return device;
  }

  /** Sends a frame, or text, as it is. */
  send(frame: ClientFrame | object | string): void {
    this.socket.send(typeof frame === "string" ? frame : JSON.stringify(frame));
  }

  /** Sends a frame with an id, and returns what is answered. */
  async ask(frame: ClientFrame | object): Promise<AnyFrame> {
    this.#id += 1;
    const id = String(this.#id);
    this.send({ ...frame, id });
    await this.#fake.clock.settle();
    const answer = this.heard.find((heard) => heard.id === id);
    if (!answer) throw new Error(`No answer to ${JSON.stringify(frame)}.`);
    return answer;
  }

  /** What came of one type, in order. */
  told(type: string): AnyFrame[] {
    return this.heard.filter((frame) => frame.type === type);
  }

  /** The presences in all changes that came. */
  get changes(): AnyFrame[] {
    return this.told("user-status-change").flatMap((frame) => frame.changes);
  }

  clear(): void {
    this.heard.length = 0;
  }
}
