import { describe, expect, test, vi } from "vitest";
import type { FakePresence, FakePresenceOptions, TokenOptions } from "../../src/testing/index.js";
import { createFakePresence } from "../../src/testing/index.js";
import { Device } from "./device.js";

const API = "https://presence.test/api/user-status";

function started(options: FakePresenceOptions = {}, token: TokenOptions = {}) {
  const fake = createFakePresence({ users: [{ userId: "grace" }], ...options });
  return { fake, ask: caller(fake, "ada", token) };
}

function caller(fake: FakePresence, userId: string, options: TokenOptions = {}) {
  const authorization = `Bearer ${fake.server.tokenFor(userId, options)}`;
  return async (route: string, body?: unknown, headers: Record<string, string> = {}) => {
    const [method = "", path = ""] = route.split(" ");
    const response = await fake.options.fetch(API + path, {
      method,
      headers: { Authorization: authorization, ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const json = text === "" ? undefined : JSON.parse(text);
    return { status: response.status, headers: response.headers, json };
  };
}

test("config needs no token, and names all that a client needs", async () => {
  const fake = createFakePresence({ heartbeatSeconds: 20, developmentTokens: true });
  const response = await fake.options.fetch(`${API}/config`);
  expect(response.ok).toBe(true);
  expect(await response.json()).toEqual({
    webSocketUrl: "wss://presence.test/live",
    heartbeatSeconds: 20,
    backgroundHeartbeatSeconds: 540,
    leaseSeconds: 75,
    maxConnectionSeconds: 7_200,
    protocol: 1,
    globalPresence: false,
    developmentTokenUrl: "https://presence.test/dev/token",
  });
  expect(
    await (await createFakePresence().options.fetch(`${API}/config`)).json(),
  ).not.toHaveProperty("developmentTokenUrl");
});

test("development tokens are made where config says", async () => {
  const fake = createFakePresence({ developmentTokens: true });
  const response = await fake.options.fetch("https://presence.test/dev/token", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ userId: "ada", ttl: 60 }),
  });
  const { token } = (await response.json()) as { token: string };
  const device = new Device(fake);
  await fake.clock.settle();
  expect(await device.ask({ action: "authenticate", token })).toMatchObject({
    userId: "ada",
    tokenExpiresAt: fake.server.now() + 60_000,
  });
  expect(fake.server.requests).toMatchObject([{ route: "POST /dev/token" }]);
});

describe("reading", () => {
  test("who is online, in pages, and how many", async () => {
    const { ask } = started({
      users: [{ userId: "grace" }, { userId: "alan" }, { userId: "ida" }],
    });
    const first = await ask("GET /online?limit=2");
    expect(first.json).toMatchObject({
      users: [{ userId: "alan" }, { userId: "grace" }],
      onlineCount: 3,
    });
    const second = await ask(`GET /online?limit=2&cursor=${first.json.cursor}`);
    expect(second.json).toMatchObject({ users: [{ userId: "ida" }], cursor: null });
    expect((await ask("GET /online/count")).json).toMatchObject({ count: 3 });
    expect((await ask("GET /online?limit=many")).status).toBe(400);
  });

  test("one user, with version and status as ETag", async () => {
    const { fake, ask } = started();
    const { json, headers } = await ask("GET /grace");
    const tag = `"${json.version}-online"`;
    expect(json).toEqual(fake.server.presence("grace"));
    expect(headers.get("etag")).toBe(tag);
    const unchanged = await ask("GET /grace", undefined, { "If-None-Match": `W/${tag}` });
    expect([unchanged.status, unchanged.json]).toEqual([304, undefined]);
    fake.server.user("grace", { status: "busy" });
    const changed = await ask("GET /grace", undefined, { "If-None-Match": tag });
    expect([changed.status, changed.json.status]).toEqual([200, "busy"]);
  });

  test("a user never seen, and an id that has to be encoded", async () => {
    const { ask } = started();
    expect((await ask(`GET /${encodeURIComponent("no=body@x")}`)).json).toEqual({
      userId: "no=body@x",
      status: "offline",
      isOnline: false,
      lastSeen: null,
      version: 0,
    });
    expect((await ask("GET /a%20b")).status).toBe(400);
  });

  test("several users, in the order asked", async () => {
    const { ask } = started();
    const { json } = await ask("POST /batch", { userIds: ["online", "grace", "online"] });
    expect(json.users.map(({ userId }: { userId: string }) => userId)).toEqual([
      "online",
      "grace",
      "online",
    ]);
    expect((await ask("POST /batch", { userIds: [] })).json.error.code).toBe("invalid-message");
  });

  test("members, for a caller who may join", async () => {
    const { fake, ask } = started({}, { chatSessions: ["lobby"] });
    fake.server.join("grace", "lobby");
    fake.server.join("alan", "lobby");
    const { json } = await ask("GET /chat-sessions/lobby/members?limit=1");
    expect(json).toMatchObject({ members: [{ userId: "alan" }], memberCount: 2 });
    const rest = await ask(`GET /chat-sessions/lobby/members?cursor=${json.cursor}`);
    expect(rest.json).toMatchObject({ members: [{ userId: "grace" }], cursor: null });
    expect((await ask("GET /chat-sessions/attic/members")).status).toBe(403);
  });
});

describe("the caller", () => {
  test("chooses a status, which shows when they are there", async () => {
    const { fake, ask } = started();
    const { json } = await ask("PUT /", { status: "busy", text: "Soon" });
    expect(json).toMatchObject({ userId: "ada", status: "offline" });
    await Device.of(fake, "ada");
    expect(fake.server.presence("ada")).toMatchObject({ status: "busy", text: "Soon" });
  });

  test("is marked as seen, and no client is told", async () => {
    const { fake, ask } = started({ globalPresence: true });
    const grace = await Device.of(fake, "grace");
    expect((await ask("PUT /last-seen")).json).toEqual({
      userId: "ada",
      lastSeen: fake.server.now(),
    });
    await fake.clock.settle();
    expect(grace.heard).toEqual([]);
    expect(fake.server.presence("ada").lastSeen).toBe(fake.server.now());
  });

  test("blocks and unblocks", async () => {
    const { fake, ask } = started();
    await Device.of(fake, "ada");
    expect((await ask("PUT /blocked/grace")).status).toBe(204);
    expect((await ask("GET /blocked")).json).toEqual({ userIds: ["grace"] });
    expect((await ask("GET /blocked/grace")).json).toEqual({ userId: "grace", blocked: true });
    await fake.clock.advance(10_000);
    expect(fake.server.presence("ada", "grace").isOnline).toBe(false);
    expect((await ask("DELETE /blocked/grace")).status).toBe(204);
    expect((await ask("GET /blocked/grace")).json.blocked).toBe(false);
    expect((await ask("PUT /blocked/ada")).status).toBe(409);
  });

  test("is erased, with all their connections", async () => {
    const { fake, ask } = started();
    const device = await Device.of(fake, "ada");
    const grace = await Device.of(fake, "grace");
    await grace.ask({ action: "watch", userIds: ["ada"] });
    await ask("PUT /blocked/alan");
    expect((await ask("DELETE /users/ada")).status).toBe(204);
    await fake.clock.settle();
    expect(device.told("closing")).toMatchObject([{ reason: "kicked" }]);
    expect(grace.changes).toMatchObject([{ status: "offline" }]);
    expect(fake.server.presence("ada")).toMatchObject({ lastSeen: null, version: 0 });
    expect((await ask("GET /blocked")).json).toEqual({ userIds: [] });
    expect((await ask("DELETE /users/grace")).status).toBe(403);
  });
});

describe("a back end", () => {
  test("publishes with its scope", async () => {
    const { fake, ask } = started({}, { scope: "presence:publish" });
    const grace = await Device.of(fake, "grace");
    await grace.ask({ action: "join", chatSessionId: "lobby" });
    const { json } = await ask("POST /chat-sessions/lobby/messages", { content: "Hello" });
    await fake.clock.settle();
    expect(grace.told("new-message")).toEqual([{ type: "new-message", ...json }]);
    const refused = await caller(fake, "ada")("POST /chat-sessions/lobby/messages", { content: 1 });
    expect(refused.json.error).toMatchObject({ code: "forbidden" });
  });

  test("that asks again under the same clientId has published once", async () => {
    const { fake, ask } = started({}, { scope: "presence:publish" });
    const grace = await Device.of(fake, "grace");
    await grace.ask({ action: "join", chatSessionId: "lobby" });
    const publish = async (content: string) =>
      (await ask("POST /chat-sessions/lobby/messages", { content, clientId: "order-7" })).json;
    const first = await publish("Paid.");
    expect(await publish("Paid.")).toEqual(first);
    await fake.clock.settle();
    expect(grace.told("new-message")).toHaveLength(1);
    expect((await publish("Lost.")).error).toMatchObject({ code: "conflict" });
    await fake.clock.advance(10 * 60 * 1000);
    expect((await publish("Paid.")).sentAt).toBe(fake.server.now());
  });

  test("closes a user's connections", async () => {
    const { fake, ask } = started({}, { scope: "presence:admin" });
    const device = await Device.of(fake, "alan");
    expect((await ask("DELETE /users/alan/connections")).status).toBe(204);
    await fake.clock.settle();
    expect(device.told("closing")).toEqual([{ type: "closing", reason: "kicked" }]);
    expect(fake.server.presence("alan").isOnline).toBe(false);
  });
});

describe("an administrator revokes", () => {
  const ALL = "POST /users/alan/revocations";

  test("all tokens of a user so far, which closes what they opened", async () => {
    const { fake, ask } = started({}, { scope: "presence:admin" });
    const alan = caller(fake, "alan");
    const device = await Device.of(fake, "alan");
    const grace = await Device.of(fake, "grace");
    await fake.clock.advance(1);
    expect(await ask(ALL, {})).toMatchObject({ status: 204, json: undefined });
    await fake.clock.settle();
    expect(device.told("closing")).toEqual([{ type: "closing", reason: "token-expired" }]);
    expect(grace.closes).toEqual([]);
    expect(fake.server.presence("alan").isOnline).toBe(false);
    expect((await alan("GET /online")).json.error.code).toBe("token-invalid");
    const soon = { action: "authenticate", token: fake.server.tokenFor("alan") };
    const next = new Device(fake);
    await fake.clock.settle();
    expect(await next.ask(soon)).toMatchObject({ code: "token-invalid" });
    await fake.clock.advance(1_000);
    expect(await next.ask({ ...soon, token: fake.server.tokenFor("alan") })).toMatchObject({
      type: "authentication-success",
    });
  });

  test("those before an instant, or one by its jti", async () => {
    const { fake, ask } = started({}, { scope: "presence:admin" });
    const [first, second] = [caller(fake, "alan"), caller(fake, "alan")];
    expect((await ask(ALL, { tokenId: "2" })).status).toBe(204);
    expect((await first("GET /online")).status).toBe(401);
    expect((await ask(ALL, { notBefore: fake.server.now() })).status).toBe(204);
    expect((await second("GET /online")).status).toBe(200);
  });

  test("no more than 50 one by one", async () => {
    const { fake, ask } = started({}, { scope: "presence:admin" });
    for (let number = 0; number < 50; number += 1) await ask(ALL, { tokenId: `j${number}` });
    expect((await ask(ALL, { tokenId: "j0" })).status).toBe(204);
    expect((await ask(ALL, { tokenId: "more" })).json.error.code).toBe("conflict");
    await fake.clock.advance(24 * 3_600_000 + 60_000);
    expect(
      (await caller(fake, "root", { scope: "presence:admin" })(ALL, { tokenId: "m" })).status,
    ).toBe(204);
  });

  test.each([
    { tokenId: "" },
    { tokenId: 1 },
    { tokenId: "j", notBefore: 1 },
    { notBefore: 0 },
    { notBefore: true },
    { notBefore: 1e15 },
  ])("but not by %j", async (body) => {
    const { ask } = started({}, { scope: "presence:admin" });
    expect((await ask(ALL, body)).json.error.code).toBe("invalid-message");
  });
});

describe("an administrator takes a member out of a chat session", () => {
  const MEMBER = "/chat-sessions/lobby/members/alan";

  async function member() {
    const { fake, ask } = started({}, { scope: "presence:admin" });
    const [alan, grace] = [await Device.of(fake, "alan"), await Device.of(fake, "grace")];
    for (const device of [alan, grace])
      await device.ask({ action: "join", chatSessionId: "lobby" });
    for (const device of [alan, grace]) device.clear();
    return { fake, ask, alan, grace };
  }

  test("on all devices, until allowed again", async () => {
    const { fake, ask, alan, grace } = await member();
    expect(await ask(`DELETE ${MEMBER}`)).toMatchObject({ status: 204, json: undefined });
    await fake.clock.settle();
    expect(grace.told("chat-session-members")).toMatchObject([{ left: ["alan"], memberCount: 1 }]);
    fake.server.say("grace", "lobby", "Hello");
    await fake.clock.settle();
    expect(alan.told("new-message")).toEqual([]);
    const join = { action: "join", chatSessionId: "lobby" };
    for (const frame of [join, { ...join, action: "message", content: 1 }])
      expect(await alan.ask(frame)).toMatchObject({ code: "forbidden" });
    const own = caller(fake, "alan", { scope: "presence:publish" });
    expect((await own("POST /chat-sessions/lobby/messages", { content: 1 })).status).toBe(403);
    expect((await caller(fake, "alan")("GET /chat-sessions/lobby/members")).status).toBe(403);
    expect((await ask(`PUT ${MEMBER}`)).status).toBe(204);
    expect(await alan.ask(join)).toMatchObject({ type: "chat-session-joined" });
  });

  test("also one who is expected back", async () => {
    const { fake, ask, alan, grace } = await member();
    alan.socket.close();
    await fake.clock.settle();
    await ask(`DELETE ${MEMBER}`);
    await fake.clock.settle();
    expect(grace.told("chat-session-members")).toMatchObject([{ left: ["alan"] }]);
  });

  test("only where the own claim allows, and with the scope", async () => {
    const { fake } = await member();
    const elsewhere = { scope: "presence:admin", chatSessions: ["hall"] };
    for (const ask of [caller(fake, "root", elsewhere), caller(fake, "root")])
      for (const method of ["DELETE", "PUT"])
        expect((await ask(`${method} ${MEMBER}`)).json.error.code).toBe("forbidden");
    expect((await caller(fake, "root")("POST /users/alan/revocations", {})).status).toBe(403);
  });

  test("for good: erasing oneself does not bring it back, an administrator's erasure does", async () => {
    const { fake, ask } = await member();
    await ask(`DELETE ${MEMBER}`);
    await caller(fake, "alan")("DELETE /users/alan");
    const again = await Device.of(fake, "alan");
    const join = { action: "join", chatSessionId: "lobby" };
    expect(await again.ask(join)).toMatchObject({ code: "forbidden" });
    await ask("DELETE /users/alan");
    const free = await Device.of(fake, "alan");
    expect(await free.ask(join)).toMatchObject({ type: "chat-session-joined" });
  });
});

describe("ids in a path", () => {
  const ids = [
    "users",
    "blocked",
    "connections",
    "chat-sessions",
    "auth0|5f7c",
    "!a:b[c]{d}^$&,;=@+",
  ];

  test.each(ids)("a user called %s is read, blocked, closed and erased", async (userId) => {
    const { fake, ask } = started({}, { scope: "presence:admin" });
    const device = await Device.of(fake, userId);
    const id = encodeURIComponent(userId);
    expect((await ask(`GET /users/${id}`)).json).toMatchObject({ userId, isOnline: true });
    expect((await ask(`PUT /blocked/${id}`)).status).toBe(204);
    expect((await ask("GET /blocked")).json).toEqual({ userIds: [userId] });
    expect((await ask(`DELETE /users/${id}/connections`)).status).toBe(204);
    await fake.clock.settle();
    expect(device.told("closing")).toHaveLength(1);
    expect((await ask(`DELETE /users/${id}`)).status).toBe(204);
  });

  test("what might mean two deeds does neither", async () => {
    const { ask } = started({}, { scope: "presence:admin" });
    await ask("PUT /blocked/connections");
    expect((await ask("DELETE /blocked/connections")).json.error.code).toBe("conflict");
    expect((await ask("GET /blocked")).json).toEqual({ userIds: ["connections"] });
  });

  test.each([
    "DELETE /grace",
    "DELETE /grace/connections",
    "GET /users/a%2Fb",
    "GET /users/%2E%2E",
  ])("%s is no route or no id", async (route) => {
    const { ask } = started({}, { scope: "presence:admin" });
    expect([400, 404]).toContain((await ask(route)).status);
  });
});

describe("a request that is refused", () => {
  test("says why", async () => {
    const fake = createFakePresence();
    const anonymous = await fake.options.fetch(`${API}/online`);
    expect(anonymous.status).toBe(401);
    expect(anonymous.headers.get("www-authenticate")).toBe("Bearer");
    expect(await anonymous.json()).toMatchObject({ error: { code: "not-authenticated" } });
    const ask = caller(fake, "ada", { ttlSeconds: 60 });
    await fake.clock.advance(90_000);
    expect((await ask("GET /online")).json.error.code).toBe("token-expired");
  });

  test("for no route is answered by API Gateway", async () => {
    const { ask } = started();
    for (const route of ["POST /online", "GET /a/b/c", "GET /"]) {
      expect(await ask(route), route).toMatchObject({
        status: 404,
        json: { message: "Not Found" },
      });
    }
  });

  test("as the test says", async () => {
    const { fake, ask } = started();
    fake.server.refuse("GET /{userId}", { code: "unavailable", retryAfterSeconds: 2 });
    const refused = await ask("GET /grace");
    expect(refused.status).toBe(503);
    expect(refused.headers.get("retry-after")).toBe("2");
    expect((await ask("GET /grace")).status).toBe(200);
    fake.server.answer("GET /online", { status: 429, body: { message: "Too Many Requests" } });
    expect(await ask("GET /online")).toMatchObject({ status: 429 });
    expect(fake.server.requests.map(({ route }) => route)).toEqual([
      "GET /{userId}",
      "GET /{userId}",
      "GET /online",
    ]);
  });

  test("at another address, as a browser does", async () => {
    const fake = createFakePresence();
    await expect(fake.options.fetch("https://elsewhere.test/")).rejects.toThrow(TypeError);
  });
});

describe("a request that is aborted", () => {
  test("before it is sent is never sent", async () => {
    const fake = createFakePresence();
    const asked = fake.options.fetch(`${API}/config`, { signal: AbortSignal.abort() });
    await expect(asked).rejects.toMatchObject({ name: "AbortError" });
    expect(fake.server.requests).toEqual([]);
  });

  test("while it waits for its answer ends, and late answers are forgotten", async () => {
    const { fake, ask } = started();
    const [abort, done] = [new AbortController(), vi.fn()];
    fake.server.answer("GET /config", { delayMs: 1_000 });
    const asked = fake.options.fetch(`${API}/config`, { signal: abort.signal }).finally(done);
    asked.catch(() => {});
    await fake.clock.advance(999);
    expect(done).not.toHaveBeenCalled();
    abort.abort(new Error("enough"));
    await expect(asked).rejects.toThrow("enough");
    await fake.clock.advance(1);
    fake.server.answer("GET /online", "swallow");
    const hanging = ask("GET /online").finally(done);
    hanging.catch(() => {});
    await fake.clock.advance(60_000);
    expect(done).toHaveBeenCalledOnce();
    fake.network.cut();
    await expect(hanging).rejects.toThrow("Failed to fetch");
  });
});

test("a Request is taken as well as an address", async () => {
  const fake = createFakePresence();
  const headers = new Headers({ Authorization: `Bearer ${fake.server.tokenFor("ada")}` });
  const request = new Request(`${API}/batch`, {
    method: "POST",
    headers,
    body: JSON.stringify({ userIds: ["ada"] }),
  });
  expect(await (await fake.options.fetch(request)).json()).toMatchObject({
    users: [{ userId: "ada" }],
  });
  const count = await fake.options.fetch(new URL(`${API}/online/count`), { headers });
  expect(await count.json()).toEqual({ count: 0, asOf: fake.server.now() });
});

test("nothing is asked of the surroundings that Jest's jsdom does not have", async () => {
  const missing = ["Request", "Response", "Headers", "TextEncoder", "MessageChannel", "fetch"];
  for (const name of [...missing, "structuredClone", "setImmediate", "process", "Buffer"]) {
    vi.stubGlobal(name, undefined);
  }
  try {
    const fake = createFakePresence({ users: [{ userId: "grace" }] });
    const ada = await Device.of(fake, "ada");
    const online = await caller(fake, "ada")("GET /online");
    expect(online.json.onlineCount).toBe(2);
    ada.socket.close();
    await fake.clock.advance(10_000);
    expect(fake.server.presence("ada").isOnline).toBe(false);
  } finally {
    vi.unstubAllGlobals();
  }
});

test("with PublicReads, a caller without a token reads what all see", async () => {
  const fake = createFakePresence({ publicReads: true, users: [{ userId: "grace" }] });
  const read = async (path: string) => (await fake.options.fetch(API + path)).json();
  expect(await read("/grace")).toMatchObject({ status: "online" });
  expect(await read("/blocked")).toMatchObject({ error: { code: "not-authenticated" } });
});

test("a refused origin reads nothing and opens nothing, though a server is there", async () => {
  const fake = createFakePresence();
  const end = fake.server.refuseOrigin();
  await expect(fake.options.fetch(`${API}/config`)).rejects.toThrow("Failed to fetch");
  expect(await fake.options.fetch(`${API}/config`, { mode: "no-cors" })).toBeTruthy();
  const socket = new fake.options.WebSocket("wss://presence.test/live");
  const closed = vi.fn();
  socket.onclose = closed;
  await fake.clock.settle();
  expect(closed).toHaveBeenCalledOnce();
  end();
  expect((await fake.options.fetch(`${API}/config`)).ok).toBe(true);
});
