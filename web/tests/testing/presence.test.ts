import { describe, expect, test } from "vitest";
import { createFakePresence } from "../../src/testing/index.js";
import { type AnyFrame, Device } from "./device.js";

const short = (presences: readonly AnyFrame[]) =>
  presences.map(({ userId, status, text }) => [userId, status, ...(text ? [text] : [])].join(" "));

describe("who hears of a change", () => {
  test("one's own connections, watchers and those in a shared chat session", async () => {
    const fake = createFakePresence();
    const names = ["laptop", "phone", "watcher", "member", "stranger"] as const;
    const users = { laptop: "ada", phone: "ada", watcher: "wim", member: "mia", stranger: "sam" };
    const devices = new Map<string, Device>();
    for (const name of names) devices.set(name, await Device.of(fake, users[name]));
    const of = (name: (typeof names)[number]) => devices.get(name) as Device;
    await of("watcher").ask({ action: "watch", userIds: ["ada"] });
    await of("laptop").ask({ action: "join", chatSessionId: "lobby" });
    await of("member").ask({ action: "join", chatSessionId: "lobby" });
    for (const device of devices.values()) device.clear();

    await of("laptop").ask({ action: "status", status: "busy", text: "In a meeting" });

    for (const name of ["laptop", "phone", "watcher", "member"] as const) {
      expect(short(of(name).changes), name).toEqual(["ada busy In a meeting"]);
    }
    expect(of("stranger").heard).toEqual([]);
  });

  test("also of data, once, and not of the same data again", async () => {
    const fake = createFakePresence({ globalPresence: true });
    const sam = await Device.of(fake, "sam");
    const token = fake.server.tokenFor("ada");
    const ada = new Device(fake);
    await fake.clock.settle();
    await ada.ask({ action: "authenticate", token, data: { page: "/" } });
    await ada.ask({ action: "data", patch: { mood: "fine" } });
    await ada.ask({ action: "data", data: { mood: "fine", page: "/" } });
    expect(sam.changes.map(({ data }) => data)).toEqual([
      { page: "/" },
      { mood: "fine", page: "/" },
    ]);
    const both = await ada.ask({ action: "data", data: {}, patch: {} });
    expect(both).toMatchObject({ code: "invalid-message", action: "data" });
    fake.server.user("ada", { status: "invisible", data: { page: "/secret" } });
    await fake.clock.settle();
    expect(fake.server.presence("ada").data).toBeUndefined();
    expect(fake.server.presence("ada", "ada").data).toEqual({ page: "/secret" });
  });

  test("with GlobalPresence, all who have authenticated", async () => {
    const fake = createFakePresence({ globalPresence: true });
    const stranger = await Device.of(fake, "sam");
    const unknown = new Device(fake);
    await fake.clock.settle();
    fake.server.user("ada");
    await fake.clock.settle();
    expect(short(stranger.changes)).toEqual(["ada online"]);
    expect(unknown.heard).toEqual([]);
  });

  test("once, and not of what is no news", async () => {
    const fake = createFakePresence({ globalPresence: true });
    const sam = await Device.of(fake, "sam");
    await sam.ask({ action: "watch", userIds: ["ada", "ada"] });
    const laptop = await Device.of(fake, "ada");
    await Device.of(fake, "ada");
    await laptop.ask({ action: "status", status: "online" });
    expect(short(sam.changes)).toEqual(["ada online"]);
  });
});

describe("user", () => {
  test("makes a user so, and the version grows", async () => {
    const fake = createFakePresence({ globalPresence: true });
    const sam = await Device.of(fake, "sam");
    fake.server.user("ada");
    fake.server.user("ada", { status: "busy", text: "In a meeting" });
    fake.server.user("ada", { status: "away" });
    fake.server.user("ada", { text: "Lunch" });
    fake.server.user("ada", { status: "offline", lastSeen: 5 });
    fake.server.user("ada", { isOnline: true, version: 9_000_000_000_000 });
    await fake.clock.settle();
    expect(short(sam.changes)).toEqual([
      "ada online",
      "ada busy In a meeting",
      "ada away",
      "ada away Lunch",
      "ada offline",
      "ada online",
    ]);
    const versions = sam.changes.map(({ version }) => version);
    expect(versions).toEqual([...new Set(versions)].sort((one, other) => one - other));
    expect(versions.at(-1)).toBe(9_000_000_000_000);
    expect(sam.changes[4]).toMatchObject({ lastSeen: 5, isOnline: false });
  });

  test("may be there before", async () => {
    const fake = createFakePresence({
      users: [
        { userId: "grace", status: "busy", text: "Writing" },
        { userId: "alan", isOnline: false, lastSeen: 7, version: 3 },
        { userId: "ida" },
      ],
    });
    const ada = await Device.of(fake, "ada");
    const online = await ada.ask({ action: "online" });
    expect(short(online.users)).toEqual(["ada online", "grace busy Writing", "ida online"]);
    expect(online).toMatchObject({ cursor: null, onlineCount: 3 });
    expect(fake.server.presence("alan")).toEqual({
      userId: "alan",
      status: "offline",
      isOnline: false,
      lastSeen: 7,
      version: 3,
    });
    expect(() => createFakePresence({ users: [{ status: "busy" }] })).toThrow("userId");
  });

  test("does not take the connections of clients away", async () => {
    const fake = createFakePresence();
    await Device.of(fake, "ada");
    fake.server.user("ada", { status: "busy" });
    expect(fake.server.presence("ada").status).toBe("busy");
    fake.server.user("ada", { status: "offline" });
    expect(fake.server.presence("ada").status).toBe("online");
  });
});

describe("a status", () => {
  test("ends by itself when it was said to", async () => {
    const fake = createFakePresence();
    const ada = await Device.of(fake, "ada");
    const until = fake.server.now() + 20_000;
    await ada.ask({ action: "status", status: "dnd", text: "Thinking", until });
    await fake.clock.advance(19_999);
    expect(fake.server.presence("ada").status).toBe("dnd");
    await fake.clock.advance(1);
    expect(short(ada.changes)).toEqual(["ada dnd Thinking", "ada online"]);
  });

  test("is away while no device has a person, unless another one was chosen", async () => {
    const fake = createFakePresence();
    const laptop = await Device.of(fake, "ada");
    const phone = await Device.of(fake, "ada", fake.device().options, { active: false });
    expect(fake.server.presence("ada").status).toBe("online");
    await laptop.ask({ action: "ping", active: false });
    expect(fake.server.presence("ada").status).toBe("away");
    await phone.ask({ action: "status", status: "busy" });
    expect(fake.server.presence("ada").status).toBe("busy");
    await phone.ask({ action: "status", status: "online" });
    await phone.ask({ action: "ping", active: true });
    expect(short(laptop.changes)).toEqual(["ada away", "ada busy", "ada away", "ada online"]);
  });
});

describe("a user who is invisible", () => {
  test("leaves for the others as if a tab were closed, and is invisible for their own devices", async () => {
    const fake = createFakePresence({ globalPresence: true });
    const [ada, sam] = [await Device.of(fake, "ada"), await Device.of(fake, "sam")];
    ada.clear();
    await fake.clock.advance(5_000);
    const now = fake.server.now();
    await ada.ask({ action: "status", status: "invisible", text: "Not for others" });
    await ada.ask({ action: "join", chatSessionId: "lobby" });

    expect(ada.changes).toMatchObject([
      { status: "invisible", isOnline: true, text: "Not for others" },
    ]);
    expect(sam.changes).toEqual([]);
    await fake.clock.advance(10_000);
    expect(sam.changes).toEqual([
      { userId: "ada", status: "offline", isOnline: false, lastSeen: now, version: now + 10_000 },
    ]);
    const joined = await sam.ask({ action: "join", chatSessionId: "lobby" });
    expect(short(joined.members)).toEqual(["sam online"]);
    const online = await sam.ask({ action: "online" });
    expect(short(online.users)).toEqual(["sam online"]);
  });

  test("appears by choosing another status", async () => {
    const fake = createFakePresence({ globalPresence: true });
    const sam = await Device.of(fake, "sam");
    const ada = await Device.of(fake, "ada");
    await ada.ask({ action: "join", chatSessionId: "lobby" });
    await sam.ask({ action: "join", chatSessionId: "lobby" });
    sam.clear();
    await ada.ask({ action: "status", status: "invisible" });
    await fake.clock.advance(10_000);
    await ada.ask({ action: "status", status: "online" });
    expect(short(sam.changes)).toEqual(["ada offline", "ada online"]);
    expect(sam.told("chat-session-members")).toMatchObject([
      { joined: [], left: ["ada"], memberCount: 1 },
      { joined: [{ userId: "ada" }], left: [], memberCount: 2 },
    ]);
  });

  test("was never away who appears again within the grace period", async () => {
    const fake = createFakePresence({ globalPresence: true });
    const [ada, sam] = [await Device.of(fake, "ada"), await Device.of(fake, "sam")];
    sam.clear();
    await ada.ask({ action: "status", status: "invisible" });
    await fake.clock.advance(9_000);
    await ada.ask({ action: "status", status: "online" });
    await fake.clock.advance(30_000);
    expect(sam.changes).toEqual([]);
  });
});

describe("a user who leaves on purpose", () => {
  test("is offline at once, and the socket is closed a little later", async () => {
    const fake = createFakePresence({ globalPresence: true });
    const [ada, sam] = [await Device.of(fake, "ada"), await Device.of(fake, "sam")];
    sam.clear();
    expect(await ada.ask({ action: "leave" })).toMatchObject({ type: "ack" });
    expect(short(sam.changes)).toEqual(["ada offline"]);
    expect(await ada.ask({ action: "ping" })).toMatchObject({ code: "not-authenticated" });
    await fake.clock.advance(5_000);
    expect(fake.server.connections).toHaveLength(1);
  });

  test("needs a chat session by the name from Socket.IO", async () => {
    const ada = await Device.of(createFakePresence(), "ada");
    const answer = await ada.ask({ action: "leave-chat-session" });
    expect(answer).toMatchObject({ code: "invalid-message" });
  });
});

describe("a viewer who is blocked", () => {
  test("sees the other leave, then nothing more, and all when it is over", async () => {
    const fake = createFakePresence({ users: [{ userId: "grace" }] });
    const ada = await Device.of(fake, "ada");
    await ada.ask({ action: "watch", userIds: ["grace"] });
    fake.server.join("grace", "lobby");
    await ada.ask({ action: "join", chatSessionId: "lobby" });
    ada.clear();

    fake.server.block("grace", "ada");
    fake.server.user("grace", { status: "busy" });
    fake.server.type("grace", "lobby");
    await fake.clock.advance(10_000);
    expect(short(ada.changes)).toEqual(["grace offline"]);
    expect(ada.told("chat-session-members")).toMatchObject([{ left: ["grace"], memberCount: 1 }]);
    expect(ada.told("user-typing")).toEqual([]);
    const frozen = fake.server.presence("grace", "ada");
    expect(fake.server.presence("grace", "sam").status).toBe("busy");

    ada.clear();
    fake.server.unblock("grace", "ada");
    await fake.clock.settle();
    expect(short(ada.changes)).toEqual(["grace busy"]);
    expect(ada.changes[0]?.version).toBeGreaterThan(frozen.version);
    expect(ada.told("chat-session-members")).toMatchObject([{ joined: [{ userId: "grace" }] }]);
  });

  test("still gets messages", async () => {
    const fake = createFakePresence();
    const ada = await Device.of(fake, "ada");
    await ada.ask({ action: "join", chatSessionId: "lobby" });
    fake.server.block("grace", "ada");
    const said = fake.server.say("grace", "lobby", "Hello");
    await fake.clock.settle();
    expect(ada.told("new-message")).toEqual([said]);
  });
});

describe("watching", () => {
  test("is answered in the order asked, until it is undone", async () => {
    const fake = createFakePresence({ users: [{ userId: "grace" }, { userId: "alan" }] });
    const ada = await Device.of(fake, "ada");
    const watching = await ada.ask({ action: "watch", userIds: ["grace", "never", "alan"] });
    expect(short(watching.users)).toEqual(["grace online", "never offline", "alan online"]);
    expect(watching.users[1]).toMatchObject({ lastSeen: null, version: 0 });
    expect(await ada.ask({ action: "unwatch", userIds: ["alan"] })).toMatchObject({ type: "ack" });
    fake.server.user("grace", { status: "away" });
    fake.server.user("alan", { status: "away" });
    await fake.clock.settle();
    expect(short(ada.changes)).toEqual(["grace away"]);
  });

  test("is for 1,000 users, all of those named or none", async () => {
    const fake = createFakePresence();
    const ada = await Device.of(fake, "ada");
    const ids = (from: number) => Array.from({ length: 100 }, (_, index) => `u${from + index}`);
    for (let from = 0; from < 1_000; from += 100) {
      await ada.ask({ action: "watch", userIds: ids(from) });
      await fake.clock.advance(1_000);
    }
    const more = await ada.ask({ action: "watch", userIds: ["u5", "one-more"] });
    expect(more).toMatchObject({ code: "conflict", action: "watch" });
    expect(await ada.ask({ action: "watch", userIds: ["u5"] })).toMatchObject({ type: "watching" });
    fake.server.user("one-more");
    await fake.clock.settle();
    expect(ada.changes).toEqual([]);
  });

  test("says in changes what a frame cannot hold", async () => {
    const text = "\u{1f600}".repeat(140);
    const userIds = Array.from({ length: 100 }, (_, index) => `u${index}`);
    const fake = createFakePresence({ users: userIds.map((userId) => ({ userId, text })) });
    const ada = await Device.of(fake, "ada");
    const watching = await ada.ask({ action: "watch", userIds });
    const told = [...watching.users, ...ada.changes].map(({ userId }) => userId);
    expect(watching.users.length).toBeLessThan(100);
    expect(told).toEqual(userIds);
  });
});

test("the list of those online comes in pages", async () => {
  const userIds = Array.from({ length: 7 }, (_, index) => `u${index}`);
  const fake = createFakePresence({ users: userIds.map((userId) => ({ userId })) });
  const ada = await Device.of(fake, "ada");
  const pages: string[][] = [];
  let cursor: string | null = null;
  do {
    const page: AnyFrame = await ada.ask({ action: "online", limit: 3, cursor });
    pages.push(page.users.map(({ userId }: AnyFrame) => userId));
    expect(page.onlineCount).toBe(8);
    cursor = page.cursor;
  } while (cursor !== null);
  expect(pages).toEqual([
    ["ada", "u0", "u1"],
    ["u2", "u3", "u4"],
    ["u5", "u6"],
  ]);
});
