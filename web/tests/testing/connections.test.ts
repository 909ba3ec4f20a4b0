import { describe, expect, test } from "vitest";
import { createFakePresence } from "../../src/testing/index.js";
import { Device, WEB_SOCKET_URL, WELCOME } from "./device.js";

describe("a connection", () => {
  test("answers a check, and of pings those that are refused or have an id", async () => {
    const fake = createFakePresence();
    const ada = await Device.of(fake, "ada");
    ada.send({ action: "ping", userId: "ada", active: true });
    ada.send({ action: "check", userId: "ada" });
    await fake.clock.settle();
    expect(ada.heard).toMatchObject([{ type: "pong", heartbeatSeconds: 30 }]);
    expect(ada.heard[0]).not.toHaveProperty("id");
    ada.send({ action: "ping", userId: "grace" });
    await fake.clock.settle();
    expect(ada.heard[1]).toMatchObject({ type: "error", action: "ping", code: "forbidden" });
  });

  test("lasts as long as its client has said, and is told what to keep", async () => {
    const fake = createFakePresence({ heartbeatSeconds: 60 });
    const [laptop, phone] = [await Device.of(fake, "ada"), await Device.of(fake, "ada")];
    await fake.clock.advance(60_000);
    const ping = { action: "ping", userId: "ada", active: true, heartbeatSeconds: 60 };
    laptop.send(ping);
    await fake.clock.settle();
    const slow = { type: "heartbeat", heartbeatSeconds: 540, leaseSeconds: 810 };
    expect(laptop.told("heartbeat")).toEqual([slow]);

    const kept = await laptop.ask({ ...ping, action: "check", heartbeatSeconds: 540 });
    expect(kept).toMatchObject({ heartbeatSeconds: 540, leaseSeconds: 810 });
    phone.send({ ...ping, active: false, heartbeatSeconds: 540 });
    await fake.clock.settle();
    expect(laptop.told("heartbeat").at(-1)).toEqual({
      ...slow,
      heartbeatSeconds: 60,
      leaseSeconds: 90,
    });

    await fake.clock.advance(809_000);
    expect(fake.server.presence("ada").isOnline).toBe(true);
    await fake.clock.advance(70_000);
    expect(fake.server.presence("ada").isOnline).toBe(false);
  });

  test("is opened, authenticates and pings without any advance", async () => {
    const fake = createFakePresence();
    const device = new Device(fake);
    await fake.clock.settle();
    const now = fake.clock.now();

    const welcome = await device.ask({
      action: "authenticate",
      token: fake.server.tokenFor("ada"),
      userId: "ada",
      device: "laptop",
    });

    expect(welcome).toEqual({
      ...WELCOME,
      tokenExpiresAt: now + 3_600_000,
      connectionExpiresAt: now + 7_200_000,
      serverTime: now,
      presence: { userId: "ada", status: "online", isOnline: true, lastSeen: now, version: now },
    });
    expect(await device.ask({ action: "ping" })).toEqual({
      type: "pong",
      id: "2",
      serverTime: now,
      heartbeatSeconds: 30,
      leaseSeconds: 75,
    });
    expect(fake.server.received).toMatchObject([
      { connectionId: "connection-1", userId: null, at: now, frame: { action: "authenticate" } },
      { connectionId: "connection-1", userId: "ada", frame: { action: "ping" } },
    ]);
  });

  test("is never opened, nor a frame answered, inside the call", async () => {
    const fake = createFakePresence();
    const device = new Device(fake);
    expect(device.socket.readyState).toBe(0);
    expect(() => device.send({ action: "ping" })).toThrow("connecting");
    await fake.clock.settle();
    device.send({ action: "ping" });
    expect(device.heard).toEqual([]);
  });

  test("to anywhere else, or with a token in the URL, is refused", async () => {
    const fake = createFakePresence();
    const codes: number[] = [];
    for (const url of [`${WEB_SOCKET_URL}?token=x`, "wss://elsewhere.test"]) {
      new fake.options.WebSocket(url).onclose = ({ code }) => codes.push(code);
    }
    await fake.clock.settle();
    expect(codes).toEqual([1006, 1006]);
  });

  test("that does not authenticate is closed after 10 s", async () => {
    const fake = createFakePresence();
    const device = new Device(fake);
    await fake.clock.advance(9_999);
    expect(device.heard).toEqual([]);
    await fake.clock.advance(1);
    expect(device.heard).toEqual([{ type: "closing", reason: "authentication-timeout" }]);
    expect(device.closes).toMatchObject([{ code: 1000 }]);
  });

  test("that falls silent is closed without a word when its lease is over", async () => {
    const fake = createFakePresence();
    const ada = await Device.of(fake, "ada");
    const grace = await Device.of(fake, "grace");
    await grace.ask({ action: "watch", userIds: ["ada"] });
    await fake.clock.advance(40_000);
    await grace.ask({ action: "ping" });
    const heardAt = fake.clock.now() - 40_000;

    await fake.clock.advance(34_999);
    expect(ada.closes).toEqual([]);
    await fake.clock.advance(1);

    expect(ada.heard).toEqual([]);
    expect(ada.closes).toHaveLength(1);
    expect(grace.changes).toMatchObject([
      { userId: "ada", status: "offline", isOnline: false, lastSeen: heardAt },
    ]);
  });

  test("lives as long as frames are served, and refused ones do not count", async () => {
    const fake = createFakePresence();
    const [ada, grace] = [await Device.of(fake, "ada"), await Device.of(fake, "grace")];
    await fake.clock.advance(60_000);
    await ada.ask({ action: "online" });
    await grace.ask({ action: "message", chatSessionId: "not-joined", content: "x" });
    await fake.clock.advance(60_000);
    expect(ada.closes).toEqual([]);
    expect(grace.closes).toHaveLength(1);
  });

  test("is cut after two hours, and its user expected back", async () => {
    const fake = createFakePresence();
    const device = new Device(fake);
    await fake.clock.settle();
    const token = fake.server.tokenFor("ada", { ttlSeconds: 86_400 });
    await device.ask({ action: "authenticate", token });
    const beat = (): void => {
      if (device.socket.readyState === 1) device.send({ action: "ping" });
      fake.clock.after(30_000, beat);
    };
    beat();

    await fake.clock.advance(7_199_999);
    expect(device.closes).toEqual([]);
    await fake.clock.advance(1);

    expect(device.closes).toEqual([{ code: 1001, reason: "Going away" }]);
    expect(fake.server.presence("ada").isOnline).toBe(true);
    await fake.clock.advance(10_000);
    expect(fake.server.presence("ada").isOnline).toBe(false);
  });

  test("is one of at most 20 of a user, of which the one heard longest ago goes", async () => {
    const fake = createFakePresence();
    const first = await Device.of(fake, "ada");
    for (let index = 0; index < 20; index += 1) {
      await fake.clock.advance(1);
      await Device.of(fake, "ada");
    }
    await fake.clock.settle();
    expect(first.told("closing")).toMatchObject([{ reason: "replaced" }]);
    expect(first.closes).toHaveLength(1);
    expect(fake.server.connections).toHaveLength(20);
  });
});

describe("grace", () => {
  test("hides a connection that is back within 10 s", async () => {
    const fake = createFakePresence({ globalPresence: true });
    const grace = await Device.of(fake, "grace");
    const ada = await Device.of(fake, "ada");
    await ada.ask({ action: "join", chatSessionId: "lobby" });
    await grace.ask({ action: "join", chatSessionId: "lobby" });
    grace.clear();

    fake.server.dropAll();
    await fake.clock.advance(5_000);
    const again = await Device.of(fake, "ada");
    const graceAgain = await Device.of(fake, "grace");
    await again.ask({ action: "join", chatSessionId: "lobby" });
    const joined = await graceAgain.ask({ action: "join", chatSessionId: "lobby" });
    await fake.clock.advance(20_000);

    expect(ada.closes).toEqual([{ code: 1001, reason: "Going away" }]);
    expect(joined.members.map(({ userId }: { userId: string }) => userId)).toEqual([
      "ada",
      "grace",
    ]);
    expect(graceAgain.heard).toEqual([joined]);
  });

  test("ends with offline, seen last when it began", async () => {
    const fake = createFakePresence({ globalPresence: true, graceSeconds: 3 });
    const grace = await Device.of(fake, "grace");
    const ada = await Device.of(fake, "ada");
    grace.clear();
    ada.socket.close();
    await fake.clock.settle();
    const leftAt = fake.clock.now();
    await fake.clock.advance(2_999);
    expect(grace.heard).toEqual([]);
    await fake.clock.advance(1);
    expect(grace.changes).toMatchObject([{ status: "offline", lastSeen: leftAt }]);
  });
});

describe("a token", () => {
  test("says who it is, and nothing else does", async () => {
    const fake = createFakePresence();
    const device = new Device(fake);
    await fake.clock.settle();
    const token = fake.server.tokenFor("ada");
    expect(await device.ask({ action: "authenticate", token: "garbage" })).toMatchObject({
      type: "authentication-error",
      code: "token-invalid",
    });
    expect(await device.ask({ action: "authenticate", token, userId: "grace" })).toMatchObject({
      type: "authentication-error",
      code: "forbidden",
    });
    expect(await device.ask({ action: "authenticate", token })).toMatchObject({ userId: "ada" });
    const other = fake.server.tokenFor("grace");
    expect(await device.ask({ action: "authenticate", token: other })).toMatchObject({
      code: "forbidden",
    });
  });

  test("looks like a JWT", () => {
    const fake = createFakePresence();
    const parts = fake.server
      .tokenFor("ada", { ttlSeconds: 60, scope: "presence:admin" })
      .split(".");
    const seconds = fake.server.now() / 1000;
    expect(parts).toHaveLength(3);
    expect(JSON.parse(atob(parts[1] ?? ""))).toMatchObject({
      sub: "ada",
      iat: seconds,
      exp: seconds + 60,
      scope: "presence:admin",
    });
  });

  test("is accepted until 30 s after its end, and then expired", async () => {
    const fake = createFakePresence();
    const token = fake.server.tokenFor("ada", { ttlSeconds: 60 });
    const device = new Device(fake);
    await fake.clock.settle();
    expect(await device.ask({ action: "authenticate", token })).toMatchObject({ userId: "ada" });

    await fake.clock.advance(60_000);
    expect(await device.ask({ action: "ping" })).toMatchObject({ type: "pong" });
    await fake.clock.advance(30_000);

    expect(device.told("closing")).toEqual([{ type: "closing", reason: "token-expired" }]);
    expect(device.closes).toHaveLength(1);
    const next = new Device(fake);
    await fake.clock.settle();
    expect(await next.ask({ action: "authenticate", token })).toMatchObject({
      code: "token-expired",
    });
  });

  test("is renewed on the same connection", async () => {
    const fake = createFakePresence();
    const device = new Device(fake);
    await fake.clock.settle();
    await device.ask({
      action: "authenticate",
      token: fake.server.tokenFor("ada", { ttlSeconds: 60 }),
    });
    await fake.clock.advance(50_000);
    const token = fake.server.tokenFor("ada", { ttlSeconds: 600 });
    const welcome = await device.ask({ action: "authenticate", token });
    await fake.clock.advance(60_000);

    expect(welcome.tokenExpiresAt).toBe(fake.server.now() - 60_000 + 600_000);
    expect(await device.ask({ action: "ping" })).toMatchObject({ type: "pong" });
  });

  test("that allows fewer chat sessions makes the connection leave the others", async () => {
    const fake = createFakePresence();
    const ada = await Device.of(fake, "ada");
    await ada.ask({ action: "join", chatSessionId: "lobby" });
    await ada.ask({ action: "join", chatSessionId: "team-1" });
    const token = fake.server.tokenFor("ada", { chatSessions: ["team-*"] });
    await ada.ask({ action: "authenticate", token });
    const said = (chatSessionId: string) =>
      ada.ask({ action: "message", chatSessionId, content: 1 });
    expect(await said("lobby")).toMatchObject({ code: "forbidden" });
    expect(await said("team-1")).toMatchObject({ type: "new-message" });
    expect(await ada.ask({ action: "join", chatSessionId: "lobby" })).toMatchObject({
      code: "forbidden",
    });
  });

  test("that is a guest's is told no count of all", async () => {
    const fake = createFakePresence();
    await Device.of(fake, "bob");
    const welcomes = [];
    for (const chatSessions of [undefined, ["lobby"]]) {
      const device = new Device(fake);
      await fake.clock.settle();
      const token = fake.server.tokenFor("ada", chatSessions ? { chatSessions } : {});
      welcomes.push(await device.ask({ action: "authenticate", token }));
    }
    expect(welcomes.map(({ onlineCount }) => onlineCount)).toEqual([2, 1]);
  });

  test("may be revoked", async () => {
    const fake = createFakePresence();
    const token = fake.server.tokenFor("ada");
    fake.server.revoke("ada", "token-expired");
    const device = new Device(fake);
    await fake.clock.settle();
    expect(await device.ask({ action: "authenticate", token })).toMatchObject({
      code: "token-expired",
    });
    fake.server.revoke(token);
    expect(await device.ask({ action: "authenticate", token })).toMatchObject({
      code: "token-invalid",
    });
    expect(
      await device.ask({ action: "authenticate", token: fake.server.tokenFor("ada") }),
    ).toMatchObject({ userId: "ada" });
  });
});

describe("a frame that is wrong", () => {
  test.each([
    ["not JSON", "{", { code: "invalid-message" }],
    ["a list", "[]", { code: "invalid-message" }],
    ["no action", '{"id":"1"}', { code: "invalid-message", id: "1" }],
    ["no such action", '{"action":"dance"}', { code: "unknown-action", action: "dance" }],
    ["a name of every object", '{"action":"toString"}', { code: "unknown-action" }],
    ["no token", '{"action":"authenticate"}', { type: "authentication-error" }],
    ["too early", '{"action":"ping","id":"1"}', { code: "not-authenticated", action: "ping" }],
    ["a wrong field, too early", '{"action":"join"}', { code: "invalid-message", action: "join" }],
  ])("%s", async (_, text, error) => {
    const fake = createFakePresence();
    const device = new Device(fake);
    await fake.clock.settle();
    device.send(text);
    await fake.clock.settle();
    expect(device.heard).toMatchObject([{ type: "error", ...error }]);
    expect(device.heard[0]).toHaveProperty("message");
  });

  test.each([
    ["too large", `"${"x".repeat(8192)}"`, "payload-too-large"],
    ["nested too deep", `${"[".repeat(16)}${"]".repeat(16)}`, "invalid-message"],
    ["a lone surrogate", '"\\ud800"', "invalid-message"],
    ["an infinite number", "1e999", "invalid-message"],
    ["a number of 64 bits", "1152921504606846976", "invalid-message"],
  ])("is refused under its id and action: %s", async (_, x, code) => {
    const fake = createFakePresence();
    const device = new Device(fake);
    await fake.clock.settle();
    device.send(`{"action":"ping","id":"7","x":${x}}`);
    await fake.clock.settle();
    expect(device.heard).toMatchObject([{ type: "error", code, id: "7", action: "ping" }]);
  });

  test("is not one whose text has what scripts and emoji need; it is told in NFC", async () => {
    const fake = createFakePresence();
    const ada = await Device.of(fake, "ada");
    const flag = "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}";
    const text = `\u200f\u061c\u200d\u200c${flag} cafe\u0301`;
    await ada.ask({ action: "status", status: "busy", text });
    expect(fake.server.presence("ada").text).toBe(text.normalize("NFC"));
  });

  test("beyond what API Gateway takes closes the connection", async () => {
    const fake = createFakePresence();
    const device = new Device(fake);
    await fake.clock.settle();
    device.send("x".repeat(32 * 1024 + 1));
    await fake.clock.settle();
    expect(device.closes).toMatchObject([{ code: 1009 }]);
  });

  test.each([
    [{ action: "status", status: "offline" }],
    [{ action: "status", status: "busy", text: "x".repeat(141) }],
    [{ action: "status", status: "busy", text: "two\nlines" }],
    [{ action: "status", status: "busy", text: "\u202eover" }],
    [{ action: "status", status: "busy", text: "\u{feff}" }],
    [{ action: "status", status: "busy", text: "\u{e0041}" }],
    [{ action: "status", status: "busy", until: 1 }],
    [{ action: "online", limit: 101 }],
    [{ action: "online", cursor: "MDphZGE=" }],
    [{ action: "online", cursor: "bm90aGluZw" }],
    [{ action: "online", cursor: "not a cursor" }],
    [{ action: "join", chatSessionId: "a b" }],
    [{ action: "typing", chatSessionId: "lobby" }],
    [{ action: "message", chatSessionId: "lobby", content: null }],
    [{ action: "watch", userIds: [] }],
    [{ action: "watch", userIds: Array.from({ length: 101 }, (_, index) => `u${index}`) }],
    [{ action: "ping", active: "yes" }],
  ])("%j is an invalid message", async (frame) => {
    const fake = createFakePresence();
    const ada = await Device.of(fake, "ada");
    expect(await ada.ask(frame)).toMatchObject({ type: "error", code: "invalid-message" });
  });
});

describe("asking too much", () => {
  test("is refused after 20 at once, and served again a second later", async () => {
    const fake = createFakePresence();
    const ada = await Device.of(fake, "ada");
    for (let index = 0; index < 20; index += 1) {
      expect(await ada.ask({ action: "online" })).toMatchObject({ type: "online-users-list" });
    }
    expect(await ada.ask({ action: "online" })).toMatchObject({
      code: "rate-limited",
      retryAfterSeconds: 1,
    });
    await fake.clock.advance(1_000);
    expect(await ada.ask({ action: "online" })).toMatchObject({ type: "online-users-list" });
  });

  test("does not concern pings that are 10 s apart, nor authentication", async () => {
    const fake = createFakePresence();
    const ada = await Device.of(fake, "ada");
    for (let index = 0; index < 20; index += 1) await ada.ask({ action: "online" });
    await fake.clock.advance(0);
    const token = fake.server.tokenFor("ada");
    expect(await ada.ask({ action: "authenticate", token })).toMatchObject({ userId: "ada" });
    expect(await ada.ask({ action: "ping" })).toMatchObject({ code: "rate-limited" });
    await fake.clock.advance(10_000);
    for (let index = 0; index < 10; index += 1) await ada.ask({ action: "online" });
    expect(await ada.ask({ action: "ping" })).toMatchObject({ code: "rate-limited" });
    await fake.clock.advance(10_000);
    expect(await ada.ask({ action: "ping" })).toMatchObject({ type: "pong" });
  });
});

describe("what a test says about the next frames", () => {
  test("refuse refuses them, as often as it says", async () => {
    const fake = createFakePresence();
    const ada = await Device.of(fake, "ada");
    fake.server.refuse("join", { code: "unavailable", retryAfterSeconds: 2 });
    const join = { action: "join", chatSessionId: "lobby" };
    expect(await ada.ask(join)).toMatchObject({
      type: "error",
      action: "join",
      code: "unavailable",
      retryAfterSeconds: 2,
    });
    expect(await ada.ask(join)).toMatchObject({ type: "chat-session-joined" });
    const stop = fake.server.refuse("ping", { code: "internal" }, Number.POSITIVE_INFINITY);
    expect(await ada.ask({ action: "ping" })).toMatchObject({ code: "internal" });
    stop();
    expect(await ada.ask({ action: "ping" })).toMatchObject({ type: "pong" });
  });

  test("a handshake can be refused", async () => {
    const fake = createFakePresence();
    fake.server.refuse("connect", { code: "unavailable" });
    const [refused, welcome] = [new Device(fake), new Device(fake)];
    await fake.clock.settle();
    expect(refused.closes).toMatchObject([{ code: 1006 }]);
    expect(welcome.socket.readyState).toBe(1);
  });

  test("answer swallows, delays or replaces what is answered; the action is served", async () => {
    const fake = createFakePresence();
    const ada = await Device.of(fake, "ada");
    fake.server.answer("status", "swallow");
    ada.send({ action: "status", status: "busy", id: "a" });
    fake.server.answer("ping", { delayMs: 700 });
    ada.send({ action: "ping", id: "b" });
    fake.server.answer("online", { body: { message: "Internal server error", requestId: "x" } });
    ada.send({ action: "get-online-users", id: "c" });
    await fake.clock.advance(699);
    expect(fake.server.presence("ada").status).toBe("busy");
    expect(ada.heard).toMatchObject([
      { type: "user-status-change" },
      { message: "Internal server error" },
    ]);
    await fake.clock.advance(1);
    expect(ada.told("pong")).toMatchObject([{ id: "b" }]);
    expect(ada.told("ack")).toEqual([]);
  });

  test("changes may come before the answer to what caused them", async () => {
    const types = async (changesFirst: boolean) => {
      const fake = createFakePresence({ changesFirst });
      const ada = await Device.of(fake, "ada");
      await ada.ask({ action: "status", status: "busy" });
      return ada.heard.map(({ type }) => type);
    };
    expect(await types(false)).toEqual(["ack", "user-status-change"]);
    expect(await types(true)).toEqual(["user-status-change", "ack"]);
  });

  test("a connection says and does what it is told", async () => {
    const fake = createFakePresence();
    const ada = await Device.of(fake, "ada");
    const [connection] = fake.server.connections;
    expect(connection).toMatchObject({ userId: "ada", isOpen: true });
    expect(fake.server.connections[0]).toBe(connection);
    connection?.send('{"type":"from-the-future"}');
    connection?.closing("draining", 3);
    await fake.clock.settle();
    expect(ada.heard).toEqual([
      { type: "from-the-future" },
      { type: "closing", reason: "draining", retryAfterSeconds: 3 },
    ]);
    expect(connection?.isOpen).toBe(false);
    expect(fake.server.presence("ada").isOnline).toBe(true);
  });

  test("a user who is kicked is offline at once", async () => {
    const fake = createFakePresence();
    await Device.of(fake, "ada");
    fake.server.connections[0]?.closing("kicked");
    expect(fake.server.presence("ada").isOnline).toBe(false);
  });
});
