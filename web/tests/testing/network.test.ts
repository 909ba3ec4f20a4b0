import { describe, expect, test } from "vitest";
import { createFakePresence } from "../../src/testing/index.js";
import { Device } from "./device.js";

const CONFIG = "https://presence.test/api/user-status/config";

describe("cut", () => {
  test("closes sockets with 1006, and the server hears nothing of it", async () => {
    const fake = createFakePresence();
    const ada = await Device.of(fake, "ada", fake.options);

    fake.network.cut();
    expect(ada.closes).toEqual([]);
    await fake.clock.settle();

    expect(ada.closes).toEqual([{ code: 1006, reason: "" }]);
    expect(ada.socket.readyState).toBe(3);
    expect(fake.server.connections).toHaveLength(1);
    await fake.clock.advance(75_000);
    expect(fake.server.connections).toHaveLength(0);
    expect(fake.server.presence("ada").isOnline).toBe(false);
  });

  test("lets nothing new through until it is restored", async () => {
    const fake = createFakePresence();
    fake.network.cut();
    const refused = new Device(fake);
    await expect(fake.options.fetch(CONFIG)).rejects.toThrow(TypeError);
    await fake.clock.settle();
    expect(refused.closes).toEqual([{ code: 1006, reason: "" }]);
    expect(fake.server.requests).toEqual([]);

    fake.network.restore();
    expect((await fake.options.fetch(CONFIG)).status).toBe(200);
    const welcome = new Device(fake);
    await fake.clock.settle();
    expect(welcome.socket.readyState).toBe(1);
  });

  test("fails a request that is on its way", async () => {
    const fake = createFakePresence({ latencyMs: 50 });
    const asked = fake.options.fetch(CONFIG);
    await fake.clock.advance(60);
    expect(fake.server.requests).toHaveLength(1);
    fake.network.cut();
    await expect(asked).rejects.toThrow("Failed to fetch");
  });

  test("concerns one device", async () => {
    const fake = createFakePresence();
    const laptop = await Device.of(fake, "ada");
    fake.network.cut();
    await fake.clock.settle();
    expect(laptop.socket.readyState).toBe(1);
  });
});

describe("a black hole", () => {
  test("takes all that is sent, both ways, and the socket stays open", async () => {
    const fake = createFakePresence({ globalPresence: true });
    const ada = await Device.of(fake, "ada", fake.options);
    fake.network.blackHole();
    const count = fake.server.received.length;

    ada.send({ action: "ping" });
    fake.server.user("grace");
    await fake.clock.settle();

    expect(fake.server.received).toHaveLength(count);
    expect(ada.heard).toEqual([]);
    expect(ada.socket.readyState).toBe(1);
  });

  test("ends what has lost something; new sockets work when it is gone", async () => {
    const fake = createFakePresence();
    const ada = await Device.of(fake, "ada", fake.options);
    fake.network.blackHole();
    ada.send({ action: "ping", id: "lost" });
    const hanging = new Device(fake);
    await fake.clock.advance(60_000);
    expect(hanging.socket.readyState).toBe(0);

    fake.network.restore();
    ada.send({ action: "ping", id: "late" });
    const again = new Device(fake);
    await fake.clock.settle();

    expect(ada.heard).toEqual([]);
    expect(again.socket.readyState).toBe(1);
  });

  test("makes a close take as long as a browser waits for its answer", async () => {
    const fake = createFakePresence();
    const ada = await Device.of(fake, "ada", fake.options);
    fake.network.blackHole();
    ada.socket.close();
    await fake.clock.advance(9_999);
    expect([ada.socket.readyState, ada.closes]).toEqual([2, []]);
    await fake.clock.advance(1);
    expect(ada.closes).toEqual([{ code: 1006, reason: "" }]);
  });

  test("makes a request hang, which can be aborted", async () => {
    const fake = createFakePresence();
    fake.network.blackHole();
    const abort = new AbortController();
    const asked = fake.options.fetch(CONFIG, { signal: abort.signal });
    await fake.clock.settle();
    abort.abort(new Error("enough"));
    await expect(asked).rejects.toThrow("enough");
  });
});

test("a frozen network brings everything when it thaws, in order", async () => {
  const fake = createFakePresence({ globalPresence: true });
  const ada = await Device.of(fake, "ada", fake.options);
  fake.network.freeze();
  ada.send({ action: "ping", id: "held" });
  fake.server.user("grace");
  fake.server.user("grace", { status: "busy" });
  await fake.clock.advance(5_000);
  expect(ada.heard).toEqual([]);

  fake.network.restore();
  await fake.clock.settle();

  expect(ada.changes.map(({ status }) => status)).toEqual(["online", "busy"]);
  expect(ada.told("pong")).toMatchObject([{ id: "held" }]);
});

test("dropNext takes the next frames that are meant", async () => {
  const fake = createFakePresence({ globalPresence: true });
  const ada = await Device.of(fake, "ada", fake.options);
  fake.network.dropNext(1, (frame) => frame.type === "user-status-change");
  expect(await ada.ask({ action: "ping" })).toMatchObject({ type: "pong" });
  fake.server.user("grace");
  fake.server.user("alan");
  await fake.clock.settle();
  expect(ada.changes.map(({ userId }) => userId)).toEqual(["alan"]);
});

test("latency is each way, and keeps the order", async () => {
  const fake = createFakePresence({ latencyMs: 40 });
  const device = new Device(fake);
  await fake.clock.advance(79);
  expect(device.socket.readyState).toBe(0);
  await fake.clock.advance(1);
  expect(device.socket.readyState).toBe(1);

  device.send({ action: "authenticate", token: fake.server.tokenFor("ada"), id: "1" });
  await fake.clock.advance(40);
  device.send({ action: "ping", id: "2" });
  fake.network.latencyMs = 0;
  device.send({ action: "ping", id: "3" });
  expect(device.heard).toEqual([]);
  await fake.clock.advance(80);

  expect(device.heard.map(({ id }) => id).filter(Boolean)).toEqual(["1", "2", "3"]);
  expect(device.heard[0]?.serverTime).toBe(fake.clock.now() - 80);
});

describe("a device that sleeps", () => {
  test("is told only afterwards what happened meanwhile", async () => {
    const fake = createFakePresence();
    const ada = await Device.of(fake, "ada", fake.options);

    fake.clock.sleep(3_600_000);
    await fake.clock.settle();
    expect(fake.server.presence("ada").isOnline).toBe(false);
    expect(ada.closes).toEqual([]);

    await fake.clock.advance(0);
    expect(ada.closes).toHaveLength(1);
  });

  test("hears frames in order, those of its sleep first", async () => {
    const fake = createFakePresence({ globalPresence: true });
    const ada = await Device.of(fake, "ada", fake.options);
    const grace = await Device.of(fake, "grace");
    ada.clear();
    grace.send({ action: "status", status: "busy", until: fake.server.now() + 20_000 });
    await fake.clock.settle();

    fake.clock.sleep(30_000);
    fake.server.user("alan");
    await fake.clock.advance(0);

    const told = ada.changes.map(({ userId, status }) => `${userId} ${status}`);
    expect(told).toEqual(["grace busy", "grace online", "alan online"]);
  });
});

describe("closing a socket", () => {
  test("is answered, and the code is repeated", async () => {
    const fake = createFakePresence();
    const ada = await Device.of(fake, "ada", fake.options);
    ada.socket.close(1000, "done");
    expect([ada.socket.readyState, ada.closes]).toEqual([2, []]);
    await fake.clock.settle();
    expect(ada.closes).toEqual([{ code: 1000, reason: "done" }]);
    expect(fake.server.connections).toEqual([]);
  });

  test("before it is open leaves no connection behind", async () => {
    const fake = createFakePresence();
    const device = new Device(fake);
    device.socket.close();
    await fake.clock.settle();
    expect(device.closes).toEqual([{ code: 1006, reason: "" }]);
    expect(fake.server.connections).toEqual([]);
  });

  test("takes only the codes that a browser takes", async () => {
    const fake = createFakePresence();
    const device = new Device(fake);
    await fake.clock.settle();
    expect(() => device.socket.close(1001)).toThrow("1000");
    device.socket.close(4000);
    await fake.clock.settle();
    expect(device.closes).toMatchObject([{ code: 4000 }]);
  });

  test("twice, or sending afterwards, does nothing", async () => {
    const fake = createFakePresence();
    const device = new Device(fake);
    await fake.clock.settle();
    device.socket.close();
    device.socket.close();
    device.send({ action: "ping" });
    await fake.clock.advance(20_000);
    expect(device.closes).toEqual([{ code: 1005, reason: "" }]);
    expect(fake.server.received).toEqual([]);
  });
});
