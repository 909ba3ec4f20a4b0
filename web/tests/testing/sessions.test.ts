import { describe, expect, test } from "vitest";
import { createFakePresence } from "../../src/testing/index.js";
import { type AnyFrame, Device } from "./device.js";

const LOBBY = { chatSessionId: "lobby" };
const ids = (presences: readonly AnyFrame[]) => presences.map(({ userId }) => userId);

async function inLobby(...userIds: string[]) {
  const fake = createFakePresence();
  const devices: Device[] = [];
  for (const userId of userIds) {
    const device = await Device.of(fake, userId);
    await device.ask({ action: "join", ...LOBBY });
    devices.push(device);
  }
  for (const device of devices) device.clear();
  return [fake, ...(devices as [Device, Device, Device])] as const;
}

describe("joining", () => {
  test("is answered with the members, and told to the others", async () => {
    const [fake, ada] = await inLobby("ada");
    const grace = await Device.of(fake, "grace");
    const joined = await grace.ask({ action: "join-chat-session", ...LOBBY });

    expect(joined).toMatchObject({
      type: "chat-session-joined",
      chatSessionId: "lobby",
      members: [{ userId: "ada" }, { userId: "grace" }],
      cursor: null,
      memberCount: 2,
    });
    expect(ada.heard).toMatchObject([
      {
        type: "chat-session-members",
        chatSessionId: "lobby",
        joined: [{ userId: "grace", status: "online" }],
        left: [],
        memberCount: 2,
      },
    ]);
    expect(grace.heard).toEqual([joined]);
  });

  test("again, or with a second device, is no news", async () => {
    const [fake, ada, grace] = await inLobby("ada", "grace");
    const phone = await Device.of(fake, "grace");
    expect(ids((await phone.ask({ action: "join", ...LOBBY })).members)).toEqual(["ada", "grace"]);
    await grace.ask({ action: "join", ...LOBBY });
    await phone.ask({ action: "leave", ...LOBBY });
    expect(ada.heard).toEqual([]);
  });

  test("shows the first 50 members, in the order of their ids", async () => {
    const fake = createFakePresence();
    for (let index = 59; index >= 0; index -= 1) fake.server.join(`u${index + 10}`, "lobby");
    const ada = await Device.of(fake, "ada");
    const joined = await ada.ask({ action: "join", ...LOBBY });
    expect(joined.members).toHaveLength(50);
    expect(ids(joined.members).slice(0, 2)).toEqual(["ada", "u10"]);
    expect(joined.memberCount).toBe(61);
    expect(atob(joined.cursor)).toBe("u58");
  });
});

describe("leaving", () => {
  test("is told at once", async () => {
    const [, ada, grace] = await inLobby("ada", "grace");
    expect(await grace.ask({ action: "leave-chat-session", ...LOBBY })).toMatchObject({
      type: "ack",
    });
    expect(ada.told("chat-session-members")).toMatchObject([
      { joined: [], left: ["grace"], memberCount: 1 },
    ]);
    expect(await grace.ask({ action: "leave", ...LOBBY })).toMatchObject({ type: "ack" });
  });

  test("by closing the connection is told after the grace period", async () => {
    const [fake, ada, grace] = await inLobby("ada", "grace");
    grace.socket.close();
    await fake.clock.advance(9_999);
    expect(ada.heard).toEqual([]);
    await fake.clock.advance(1);
    expect(ada.told("user-status-change")).toMatchObject([{ changes: [{ status: "offline" }] }]);
    expect(ada.told("chat-session-members")).toMatchObject([{ left: ["grace"] }]);
  });
});

describe("typing", () => {
  test("is relayed at once to the other connections, one's own included", async () => {
    const [fake, ada, grace, phone] = await inLobby("ada", "grace", "grace");
    grace.send({ action: "typing", ...LOBBY, typing: true });
    await fake.clock.settle();
    const typing = {
      type: "user-typing",
      chatSessionId: "lobby",
      userId: "grace",
      typing: true,
      expiresAt: fake.server.now() + 6_000,
    };
    expect([ada.heard, phone.heard, grace.heard]).toEqual([[typing], [typing], []]);
  });

  test("is dropped sooner than a second later, but for the first stop, without an error", async () => {
    const [fake, ada, grace] = await inLobby("ada", "grace");
    await grace.ask({ action: "typing-start", ...LOBBY });
    await fake.clock.advance(1);
    await grace.ask({ action: "typing-stop", ...LOBBY });
    expect(ada.heard[1]).toMatchObject({ typing: false, expiresAt: fake.server.now() });
    await fake.clock.advance(999);
    for (const action of ["typing-stop", "typing-start"])
      expect(await grace.ask({ action, ...LOBBY })).toMatchObject({ type: "ack" });
    expect(ada.heard).toHaveLength(2);
  });

  test("is for members", async () => {
    const fake = createFakePresence();
    const ada = await Device.of(fake, "ada");
    const typing = { action: "typing", ...LOBBY, typing: true };
    expect(await ada.ask(typing)).toMatchObject({ code: "forbidden", action: "typing" });
  });

  test("by an invisible user reaches their own devices only, at once", async () => {
    const [, ada, grace, phone] = await inLobby("ada", "grace", "grace");
    await grace.ask({ action: "status", status: "invisible" });
    await grace.ask({ action: "typing", ...LOBBY, typing: true });
    expect(ada.told("user-typing")).toEqual([]);
    expect(phone.told("user-typing")).toHaveLength(1);
  });
});

describe("a message", () => {
  test("is answered, and relayed to all others as the same frame", async () => {
    const [fake, ada, grace, phone] = await inLobby("ada", "grace", "grace");
    const content = { text: "Hello" };
    const answer = await grace.ask({ action: "message", ...LOBBY, content, clientId: "mine-1" });
    const { id: _, ...message } = answer;
    expect(message).toEqual({
      type: "new-message",
      chatSessionId: "lobby",
      messageId: expect.stringMatching(/^[0-9a-f]{12}-.+/),
      senderId: "grace",
      content,
      sentAt: fake.server.now(),
      clientId: "mine-1",
    });
    expect([ada.heard, phone.heard]).toEqual([[message], [message]]);
  });

  test("is the same under the same clientId, and of one content", async () => {
    const [, ada, grace] = await inLobby("ada", "grace");
    const say = (content: unknown) =>
      grace.ask({ action: "message", ...LOBBY, content, clientId: "mine-1" });
    const first = await say("Hello");
    const again = await say("Hello");
    expect(again).toEqual({ ...first, id: again.id });
    expect(ada.told("new-message")).toHaveLength(1);
    expect(await say("Bye")).toMatchObject({ code: "conflict", action: "message" });
  });

  test("has an id that sorts by time", async () => {
    const [fake] = await inLobby("ada");
    const said: string[] = [];
    for (let index = 0; index < 20; index += 1) {
      said.push(fake.server.say("grace", "lobby", index).messageId);
      if (index % 3 === 0) await fake.clock.advance(1);
    }
    expect([...said].sort()).toEqual(said);
    expect(new Set(said).size).toBe(20);
  });

  test("is for members, and at most 4 KiB", async () => {
    const [fake, ada] = await inLobby("ada");
    const say = (chatSessionId: string, content: unknown) =>
      ada.ask({ action: "message", chatSessionId, content });
    expect(await say("elsewhere", 1)).toMatchObject({ code: "forbidden" });
    expect(await say("lobby", "é".repeat(2048))).toMatchObject({ code: "payload-too-large" });
    expect(await say("lobby", "é".repeat(2047))).toMatchObject({ type: "new-message" });
    expect(fake.server.received.at(-1)?.frame.action).toBe("message");
  });
});

describe("the others", () => {
  test("come, type, speak and go as a test says", async () => {
    const [fake, ada] = await inLobby("ada");
    await ada.ask({ action: "watch", userIds: ["grace"] });
    ada.clear();
    fake.server.join("grace", "lobby");
    fake.server.type("grace", "lobby");
    fake.server.type("grace", "lobby", false);
    fake.server.say("grace", "lobby", "Hello", "hers-1");
    fake.server.leave("grace", "lobby");
    fake.server.type("alan", "lobby");
    await fake.clock.settle();
    expect(ada.heard).toMatchObject([
      { type: "user-status-change", changes: [{ userId: "grace", status: "online" }] },
      { type: "chat-session-members", joined: [{ userId: "grace" }] },
      { type: "user-typing", typing: true },
      { type: "user-typing", typing: false },
      { type: "new-message", senderId: "grace", content: "Hello", clientId: "hers-1" },
      { type: "chat-session-members", left: ["grace"] },
      { type: "chat-session-members", joined: [{ userId: "alan" }] },
      { type: "user-typing", userId: "alan" },
    ]);
  });
});

const TICK_MS = 2_000;

/** Ada listens to a lobby with so many members besides her; it is large beyond five. */
async function lobby(others: number) {
  const fake = createFakePresence({ largeAudience: 5 });
  const ada = await Device.of(fake, "ada");
  await ada.ask({ action: "join", ...LOBBY });
  for (let number = 0; number < others; number += 1) fake.server.join(`user-${number}`, "lobby");
  await fake.clock.advance(TICK_MS);
  ada.clear();
  return { ...fake, ada };
}

describe("a large room", () => {
  test("is told once a tick how many there are, and of some who came or went", async () => {
    const { server, clock, ada } = await lobby(4);
    for (const name of ["grace", "alan"]) server.join(name, "lobby");
    server.leave("user-0", "lobby");
    await clock.settle();
    expect(ada.heard).toEqual([]);
    await clock.advance(TICK_MS);

    expect(ada.heard).toMatchObject([
      { type: "chat-session-members", left: ["user-0"], memberCount: 6, sampled: true },
    ]);
    expect(ids(ada.heard[0]?.joined)).toEqual(["grace", "alan"]);
    expect(ada.heard[0]?.asOf).toBe(server.now());
  });

  test("says so to a user who joins, and gives the rest in pages", async () => {
    const { server, ada } = await lobby(8);
    const joined = await ada.ask({ action: "join", ...LOBBY });

    expect(joined).toMatchObject({ memberCount: 9, sampled: true });
    expect(joined.asOf).toBeLessThanOrEqual(server.now());
  });

  test("hears no status of its members, no typing, and every message", async () => {
    const { server, clock, ada } = await lobby(8);
    server.user("user-1", { status: "busy" });
    server.type("user-1", "lobby");
    server.say("user-1", "lobby", "hi");
    await clock.settle();
    expect(ada.heard).toMatchObject([{ type: "new-message", content: "hi" }]);
  });

  test("does not name a user who hides from a viewer", async () => {
    const { server, clock, ada } = await lobby(8);
    server.user("shy");
    server.block("shy", "user-1");
    server.join("shy", "lobby");
    await clock.advance(TICK_MS);

    expect(ada.heard).toMatchObject([{ joined: [], left: [], memberCount: 10 }]);
  });

  test("is small again below four fifths, and says so", async () => {
    const { server, clock, ada } = await lobby(5);
    server.leave("user-0", "lobby");
    server.leave("user-1", "lobby");
    await clock.advance(TICK_MS);
    server.leave("user-2", "lobby");
    await clock.advance(TICK_MS);
    server.leave("user-3", "lobby");
    await clock.settle();

    expect(ada.heard.map(({ memberCount, sampled }) => [memberCount, sampled])).toEqual([
      [4, true],
      [3, undefined],
      [2, undefined],
    ]);
    const instants = ada.heard.map(({ asOf }) => asOf);
    expect(instants).toEqual([...new Set(instants)].sort());
  });
});
