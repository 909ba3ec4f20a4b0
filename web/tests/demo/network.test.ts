import { describe, expect, test, vi } from "vitest";
import { Network, type PassedFrame } from "../../demo/network.js";
import type { SocketLike } from "../../src/index.js";

/** The browser's end: a test says what the server does. */
class RealSocket implements SocketLike {
  static made: RealSocket[] = [];
  readyState = 0;
  onopen: SocketLike["onopen"] = null;
  onmessage: SocketLike["onmessage"] = null;
  onclose: SocketLike["onclose"] = null;
  onerror: SocketLike["onerror"] = null;
  readonly sent: string[] = [];
  readonly url: string;
  closedWith: number | undefined;

  constructor(url: string) {
    this.url = url;
    RealSocket.made.push(this);
  }
  send(text: string): void {
    this.sent.push(text);
  }
  close(code?: number): void {
    this.readyState = 3;
    this.closedWith = code;
  }
  open(): void {
    this.readyState = 1;
    this.onopen?.(undefined as never);
  }
  tell(text: string): void {
    this.onmessage?.({ data: text });
  }
  end(code: number): void {
    this.readyState = 3;
    this.onclose?.({ code, reason: "" });
  }
}

function setUp() {
  RealSocket.made = [];
  const passed: PassedFrame[] = [];
  const fetch = vi.fn(async () => new Response("{}"));
  const network = new Network({ WebSocket: RealSocket, fetch }, (frame) => passed.push(frame));
  const dial = () => {
    const socket = new network.WebSocket("wss://presence.test/live");
    const heard: string[] = [];
    const ended: number[] = [];
    socket.onmessage = ({ data }) => heard.push(String(data));
    socket.onclose = ({ code }) => ended.push(code);
    return { socket, heard, ended, real: RealSocket.made.at(-1) as RealSocket };
  };
  const connect = () => {
    const made = dial();
    made.real.open();
    return made;
  };
  return { network, passed, fetch, dial, connect };
}

const lost = (frames: readonly PassedFrame[]) =>
  frames.map(({ direction, text, isLost }) => `${direction} ${text}${isLost ? " lost" : ""}`);

describe("a network that works", () => {
  test("passes frames both ways, and tells of each", () => {
    const { connect, passed } = setUp();
    const { socket, heard, real } = connect();
    socket.send("one");
    real.tell("two");
    expect(real.sent).toEqual(["one"]);
    expect(heard).toEqual(["two"]);
    expect(socket.readyState).toBe(1);
    expect(lost(passed)).toEqual(["out one", "in two"]);
  });

  test("passes on how a socket ends, once", () => {
    const { connect } = setUp();
    const { socket, ended, real } = connect();
    real.end(1001);
    socket.close();
    expect(ended).toEqual([1001]);
    expect(socket.readyState).toBe(3);
  });

  test("closes what the device closes, and the device hears no more of it", () => {
    const { connect } = setUp();
    const { socket, heard, ended, real } = connect();
    socket.close(1000);
    real.tell("late");
    expect(real.closedWith).toBe(1000);
    expect([...heard, ...ended]).toEqual([]);
  });
});

describe("a network that is cut", () => {
  test("drops the socket for the device, and leaves the server waiting", () => {
    const { network, connect } = setUp();
    const { ended, real } = connect();
    network.set("cut");
    expect(ended).toEqual([1006]);
    expect(real.closedWith).toBeUndefined();
    network.set("works");
    expect(real.closedWith).toBe(1000);
  });

  test("lets nothing connect, and fails requests", async () => {
    const { network, dial, fetch } = setUp();
    network.set("cut");
    const { ended } = dial();
    await Promise.resolve();
    expect(ended).toEqual([1006]);
    expect(RealSocket.made).toEqual([]);
    await expect(network.fetch("/config")).rejects.toThrow(TypeError);
    expect(fetch).not.toHaveBeenCalled();
  });
});

describe("a black hole", () => {
  test("keeps the socket open, and loses frames both ways", () => {
    const { network, connect, passed } = setUp();
    const { socket, heard, ended, real } = connect();
    network.set("black-hole");
    socket.send("out there");
    real.tell("in here");
    real.end(1006);
    expect(real.sent).toEqual([]);
    expect([...heard, ...ended]).toEqual([]);
    expect(socket.readyState).toBe(1);
    expect(lost(passed)).toEqual(["out out there lost", "in in here lost"]);
  });

  test("lets neither sockets nor requests come to an end", async () => {
    const { network, dial, fetch } = setUp();
    network.set("black-hole");
    const { socket, ended } = dial();
    const failed = vi.fn();
    const asked = network.fetch("/config").catch(failed);
    await Promise.resolve();
    expect(socket.readyState).toBe(0);
    expect(failed).not.toHaveBeenCalled();
    network.set("works");
    await asked;
    expect(failed).toHaveBeenCalledOnce();
    expect(ended).toEqual([1006]);
    expect(fetch).not.toHaveBeenCalled();
  });

  test("ends what it has swallowed from when it is repaired", () => {
    const { network, connect } = setUp();
    const { ended, real } = connect();
    network.set("black-hole");
    network.set("works");
    expect(ended).toEqual([1006]);
    expect(real.readyState).toBe(3);
  });

  test("does not let the server know that the device has given up", () => {
    const { network, connect } = setUp();
    const { socket, real } = connect();
    network.set("black-hole");
    socket.close(1000);
    expect(real.closedWith).toBeUndefined();
  });
});

describe("a page that stands still", () => {
  test("handles what has arrived when it goes on, in order", () => {
    const { network, connect, passed } = setUp();
    const { heard, ended, real } = connect();
    network.hold(true);
    real.tell("one");
    real.tell("two");
    real.end(1001);
    expect(passed).toEqual([]);
    network.hold(false);
    expect(heard).toEqual(["one", "two"]);
    expect(ended).toEqual([1001]);
  });
});
