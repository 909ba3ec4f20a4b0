import { describe, expect, it } from "vitest";
import type { ChatSession, NewMessage } from "../../src/index.js";
import { WELCOME } from "../testing/device.js";
import { connected, MINUTE, type Scene, SECOND, scene } from "./setup.js";

function heard(session: ChatSession): unknown[] {
  const all: unknown[] = [];
  session.onMessage((message: NewMessage) => all.push(message.content));
  return all;
}

/** Ada and so many others are in the lobby; `tell` lets her hear of it as the server may tell it. */
async function lobby(...others: string[]) {
  const set = await connected({ globalPresence: false });
  for (const name of others) set.server.join(name, "lobby");
  const chat = set.client.joinChatSession("lobby");
  await set.clock.advance(SECOND);
  const online = { status: "online", isOnline: true, lastSeen: null, version: 1 } as const;
  const tell = (fields: {
    joined?: string[];
    left?: string[];
    memberCount: number;
    asOf: number;
  }) => {
    set.server.connections[0]?.send({
      type: "chat-session-members",
      chatSessionId: "lobby",
      left: [],
      ...fields,
      joined: (fields.joined ?? []).map((userId) => ({ userId, ...online })),
    });
    return set.clock.settle();
  };
  return { ...set, tell, now: set.server.now(), members: () => chat.members.get() };
}

describe("taking part", () => {
  it("tells who is there, and how they are", async () => {
    const { client, server, clock } = await connected({ globalPresence: false });
    server.join("grace", "lobby");
    server.user("grace", { status: "busy" });
    const lobby = client.joinChatSession("lobby");
    expect(lobby.members.get()).toMatchObject({ state: "waiting", fresh: false });
    await clock.settle();
    expect(lobby.members.get()).toMatchObject({
      userIds: ["ada", "grace"],
      count: 2,
      state: "joined",
      fresh: true,
    });
    expect(client.user("grace").get()).toMatchObject({ status: "busy", fresh: true });
    server.join("linus", "lobby");
    await clock.settle();
    expect(lobby.members.get()).toMatchObject({ userIds: ["ada", "grace", "linus"], count: 3 });
    server.leave("grace", "lobby");
    await clock.settle();
    expect(lobby.members.get()).toMatchObject({ userIds: ["ada", "linus"], count: 2 });
  });

  it("is counted: it ends when it was left as often as joined", async () => {
    const { client, clock, got } = await connected();
    client.joinChatSession("lobby");
    client.joinChatSession("lobby");
    await clock.settle();
    client.leaveChatSession("lobby");
    await clock.settle();
    expect(got("leave")).toEqual([]);
    client.leaveChatSession("lobby");
    client.leaveChatSession("lobby");
    await clock.settle();
    expect(got("join")).toHaveLength(1);
    expect(got("leave")).toHaveLength(1);
    expect(client.chatSession("lobby").members.get()).toMatchObject({ userIds: [], count: null });
  });

  it("is left again when the server did not serve that: the others see no ghost", async () => {
    const { client, server, clock, another, got } = await connected();
    const phone = another("phone");
    phone.authenticate("grace");
    const { members } = phone.joinChatSession("lobby");
    client.joinChatSession("lobby");
    await clock.settle();
    server.refuse("leave", { code: "rate-limited", retryAfterSeconds: 3 }, 2);
    client.leaveChatSession("lobby");
    await clock.advance(2 * SECOND);
    expect(members.get().userIds).toEqual(["ada", "grace"]);
    expect(client.chatSession("lobby").members.get()).toMatchObject({ userIds: [], count: null });
    await clock.advance(5 * SECOND);
    expect(members.get().userIds).toEqual(["grace"]);
    await clock.advance(MINUTE);
    expect(got("leave")).toHaveLength(3);
  });

  it("is joined, not left again, when the app wants it back meanwhile", async () => {
    const { client, server, clock, actions } = await connected();
    const { members } = client.joinChatSession("lobby");
    await clock.settle();
    server.refuse("leave", { code: "unavailable", retryAfterSeconds: 3 });
    client.leaveChatSession("lobby");
    await clock.settle();
    client.joinChatSession("lobby");
    await clock.advance(10 * SECOND);
    expect(actions()).toEqual(["authenticate", "join", "leave", "join"]);
    expect(members.get()).toMatchObject({ userIds: ["ada"], state: "joined", fresh: true });
  });

  it("is joined again when the server has said that it was left, and not before", async () => {
    const { client, server, clock, actions } = await connected();
    client.joinChatSession("lobby");
    await clock.settle();
    server.answer("leave", { delayMs: SECOND });
    client.leaveChatSession("lobby");
    await clock.settle();
    client.joinChatSession("lobby");
    await clock.settle();
    expect(actions()).toEqual(["authenticate", "join", "leave"]);
    await clock.advance(SECOND);
    expect(actions()).toEqual(["authenticate", "join", "leave", "join"]);
  });

  it("knows users who came while the members were on their way", async () => {
    const { client, server, clock } = await connected();
    server.answer("join", { delayMs: SECOND });
    const lobby = client.joinChatSession("lobby");
    await clock.settle();
    server.join("grace", "lobby");
    server.join("linus", "lobby");
    server.leave("linus", "lobby");
    await clock.advance(2 * SECOND);
    expect(lobby.members.get()).toMatchObject({ userIds: ["ada", "grace"], state: "joined" });
  });

  it("is counted as of then when the members come later than who came after them", async () => {
    const { client, server, clock } = await connected();
    server.join("alan", "lobby");
    server.answer("join", { delayMs: SECOND });
    const lobby = client.joinChatSession("lobby");
    await clock.advance(100);
    server.join("grace", "lobby");
    server.leave("alan", "lobby");
    await clock.advance(SECOND);
    expect(lobby.members.get()).toMatchObject({ userIds: ["ada", "grace"], count: 2 });
  });

  it("ends when a fresh token does not allow it any more", async () => {
    const tokens = [{ ttlSeconds: 600 }, { ttlSeconds: 600, chatSessions: ["hall"] }];
    const { client, server, clock } = await connected(
      { globalPresence: false },
      { getToken: ({ userId }) => server.tokenFor(userId, tokens.shift()) },
    );
    server.join("grace", "lobby");
    const [lobby, hall] = ["lobby", "hall"].map((id) => client.joinChatSession(id));
    await clock.advance(MINUTE);
    expect(lobby?.members.get().state).toBe("joined");
    await clock.advance(10 * MINUTE);
    expect(lobby?.members.get()).toMatchObject({ state: "refused", fresh: false });
    expect(client.user("grace").get()?.fresh).not.toBe(true);
    expect(hall?.members.get().state).toBe("joined");
  });

  it("says nothing when it is left and joined again at the same moment", async () => {
    const { client, clock, actions } = await connected();
    client.joinChatSession("lobby");
    client.leaveChatSession("lobby");
    await clock.settle();
    expect(actions()).toEqual(["authenticate"]);
    client.joinChatSession("lobby");
    client.leaveChatSession("lobby");
    client.joinChatSession("lobby");
    await clock.settle();
    expect(actions()).toEqual(["authenticate", "join"]);
  });

  it("goes on after a reconnect, and is not shown as if it were now meanwhile", async () => {
    const { client, server, clock, got } = await connected();
    const lobby = client.joinChatSession("lobby");
    server.join("grace", "lobby");
    await clock.settle();
    server.dropAll();
    await clock.settle();
    expect(lobby.members.get()).toMatchObject({ userIds: ["ada", "grace"], fresh: false });
    server.leave("grace", "lobby");
    await clock.advance(SECOND);
    expect(lobby.members.get()).toMatchObject({ userIds: ["ada"], fresh: true });
    expect(got("join")).toHaveLength(1);
    expect(got("authenticate")[1]).toMatchObject({ chatSessionIds: ["lobby"] });
  });

  it("is refused for a reason, and not asked for again on this connection", async () => {
    const { client, server, clock, got } = await connected();
    server.refuse("join", { code: "forbidden" });
    const lobby = client.joinChatSession("lobby");
    const message = lobby.send("Hello");
    await clock.advance(MINUTE);
    expect(lobby.members.get()).toMatchObject({ state: "refused", error: { code: "forbidden" } });
    expect(got("join")).toHaveLength(1);
    await expect(message).rejects.toMatchObject({ code: "forbidden" });
    await expect(lobby.send("Hello?")).rejects.toMatchObject({ code: "forbidden" });
    server.dropAll();
    await clock.advance(SECOND);
    expect(lobby.members.get()).toMatchObject({ state: "joined", error: undefined });
  });

  it("is asked for again when the server could not say", async () => {
    const { client, server, clock } = await connected();
    server.refuse("join", { code: "unavailable" });
    const lobby = client.joinChatSession("lobby");
    await clock.advance(5 * SECOND);
    expect(lobby.members.get().state).toBe("joined");
  });

  it("loads all members, up to 1,000", async () => {
    const { client, server, clock } = await connected({ largeAudience: 10_000 });
    for (let n = 0; n < 230; n += 1) server.join(`user-${1000 + n}`, "team:{hall}|1");
    for (let n = 0; n < 1200; n += 1) server.join(`user-${1000 + n}`, "stadium");
    server.answer("GET /chat-sessions/{chatSessionId}/members", { body: {}, status: 503 });
    const hall = client.joinChatSession("team:{hall}|1");
    await clock.advance(5 * SECOND);
    expect(hall.members.get().userIds).toHaveLength(231);
    expect(server.requests.at(-1)?.path).toContain("/chat-sessions/team%3A%7Bhall%7D%7C1/members");
    const stadium = client.joinChatSession("stadium");
    await clock.advance(5 * SECOND);
    expect(stadium.members.get().count).toBe(1201);
    expect(stadium.members.get().userIds.length).toBeGreaterThanOrEqual(1000);
  }, 20_000);

  it("does not bring back users who left while the members were loaded", async () => {
    const { client, server, clock } = await connected();
    for (let n = 0; n < 120; n += 1) server.join(`user-${1000 + n}`, "hall");
    server.answer("GET /chat-sessions/{chatSessionId}/members", { delayMs: 2000 });
    const hall = client.joinChatSession("hall");
    await clock.advance(SECOND);
    server.leave("user-1110", "hall");
    await clock.advance(5 * SECOND);
    expect(hall.members.get().userIds).not.toContain("user-1110");
    expect(hall.members.get().userIds).toHaveLength(120);
  });
});

describe("what comes in another order than it happened", () => {
  it("does not bring back who has left, whenever and however often it comes", async () => {
    const { tell, now, members } = await lobby("alan");
    await tell({ left: ["bob"], memberCount: 2, asOf: now + 2 });
    for (const asOf of [now + 1, now + 1]) await tell({ joined: ["bob"], memberCount: 3, asOf });
    expect(members()).toMatchObject({ userIds: ["ada", "alan"], count: 2 });
    await tell({ joined: ["bob"], memberCount: 3, asOf: now + 3 });
    await tell({ left: ["bob"], memberCount: 2, asOf: now + 2 });
    expect(members()).toMatchObject({ userIds: ["ada", "alan", "bob"], count: 3 });
  });

  it("is not mistaken for the rest of a batch that takes several frames", async () => {
    const { tell, now, members } = await lobby();
    for (const name of ["grace", "linus"]) {
      await tell({ joined: [name], memberCount: 3, asOf: now + 1 });
    }
    expect(members()).toMatchObject({ userIds: ["ada", "grace", "linus"], count: 3 });
  });

  it("counts anew when it is joined anew", async () => {
    const { client, clock, tell, now, members } = await lobby("alan");
    await tell({ left: ["bob"], memberCount: 1, asOf: now + 5 });
    client.leaveChatSession("lobby");
    await clock.settle();
    client.joinChatSession("lobby");
    await clock.settle();
    expect(members()).toMatchObject({ userIds: ["ada", "alan"], count: 2 });
  });
});

describe("a link that goes down during a join", () => {
  it("does not hold up the next one", async () => {
    const { client, server, clock } = await connected();
    client.onlineUsers.subscribe(() => {});
    await clock.settle();
    server.answer("join", "swallow");
    const lobby = client.joinChatSession("lobby");
    await clock.settle();
    server.dropAll();
    await clock.advance(2 * SECOND);
    expect(lobby.members.get().state).toBe("joined");
    expect(client.onlineUsers.get().fresh).toBe(true);
  });
});

describe("typing", () => {
  it("is told at once, then every 4 s, and that it has stopped", async () => {
    const { client, clock, got, server } = await connected();
    const lobby = client.joinChatSession("lobby");
    await clock.settle();
    for (let key = 0; key < 50; key += 1) {
      lobby.keystroke();
      await clock.advance(200);
    }
    expect(got("typing").map((it) => it.typing)).toEqual([true, true, true]);
    await clock.advance(4 * SECOND);
    expect(got("typing").map((it) => it.typing)).toEqual([true, true, true, false]);
    const times = server.received.filter((it) => it.frame.action === "typing").map((it) => it.at);
    expect((times[1] ?? 0) - (times[0] ?? 0)).toBe(4 * SECOND);
  });

  it("stops at once when it is told to, and the others see it", async () => {
    const { client, clock, got, another } = await connected();
    const lobby = client.joinChatSession("lobby");
    const grace = another("grace");
    grace.authenticate("grace");
    const seen = grace.joinChatSession("lobby").typing;
    await clock.settle();
    lobby.keystroke();
    await clock.advance(0);
    expect(seen.get()).toEqual(["ada"]);
    lobby.stopTyping();
    lobby.stopTyping();
    await clock.advance(0);
    expect(got("typing").map((it) => it.typing)).toEqual([true, false]);
    expect(seen.get()).toEqual([]);
    await clock.advance(MINUTE);
    expect(got("typing")).toHaveLength(2);
  });

  it("begins anew after it has stopped", async () => {
    const { client, clock, got } = await connected();
    const lobby = client.joinChatSession("lobby");
    await clock.settle();
    lobby.keystroke();
    await clock.advance(2 * SECOND);
    lobby.stopTyping();
    await clock.advance(2 * SECOND);
    lobby.keystroke();
    await clock.advance(0);
    expect(got("typing").map((it) => it.typing)).toEqual([true, false, true]);
  });

  it("is told after a message as soon as the server listens, and not before", async () => {
    const { client, clock, got, server } = await connected();
    const lobby = client.joinChatSession("lobby");
    await clock.settle();
    lobby.keystroke();
    await clock.advance(100);
    void lobby.send("Hello");
    await clock.advance(100);
    lobby.keystroke();
    await clock.advance(2 * SECOND);
    expect(got("typing").map((it) => it.typing)).toEqual([true, true]);
    const times = server.received.filter((it) => it.frame.action === "typing").map((it) => it.at);
    expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThan(SECOND);
  });

  it("is nothing to wait with: without a link, or outside the session, it is dropped", async () => {
    const { client, server, clock, got } = await connected();
    client.chatSession("lobby").keystroke();
    client.joinChatSession("lobby");
    await clock.settle();
    server.dropAll();
    await clock.settle();
    client.chatSession("lobby").keystroke();
    await clock.advance(MINUTE);
    expect(got("typing")).toEqual([]);
  });

  it("of others is shown until they stop, say something, leave, or nothing more comes", async () => {
    const { client, server, clock } = await connected();
    const lobby = client.joinChatSession("lobby");
    const { typing } = lobby;
    await clock.settle();
    server.type("grace", "lobby");
    server.type("linus", "lobby");
    await clock.settle();
    expect(typing.get()).toEqual(["grace", "linus"]);
    server.say("grace", "lobby", "Hello");
    await clock.settle();
    expect(typing.get()).toEqual(["linus"]);
    await clock.advance(5 * SECOND);
    server.type("linus", "lobby");
    await clock.advance(5 * SECOND);
    expect(typing.get()).toEqual(["linus"]);
    await clock.advance(SECOND);
    expect(typing.get()).toEqual([]);
    server.type("linus", "lobby");
    await clock.settle();
    server.leave("linus", "lobby");
    await clock.settle();
    expect(typing.get()).toEqual([]);
  });

  it("of others ends in time although our clock is an hour off", async () => {
    const set = scene();
    set.clock.shift(60 * MINUTE);
    set.client.authenticate("ada");
    const { typing } = set.client.joinChatSession("lobby");
    await set.clock.settle();
    set.server.type("grace", "lobby");
    await set.clock.advance(5 * SECOND);
    expect(typing.get()).toEqual(["grace"]);
    await set.clock.advance(SECOND);
    expect(typing.get()).toEqual([]);
  });

  it("of others is not shown without a link, nor one's own", async () => {
    const { client, server, clock, another } = await connected();
    const { typing } = client.joinChatSession("lobby");
    const phone = another("phone");
    phone.authenticate("ada");
    const other = phone.joinChatSession("lobby");
    await clock.settle();
    other.keystroke();
    server.type("grace", "lobby");
    await clock.settle();
    expect(typing.get()).toEqual(["grace"]);
    server.dropAll();
    await clock.settle();
    expect(typing.get()).toEqual([]);
  });
});

describe("messages", () => {
  it("reach all members once, the sender too, and say who sent them when", async () => {
    const { client, clock, another, server } = await connected();
    const lobby = client.joinChatSession("lobby");
    const grace = another();
    grace.authenticate("grace");
    const hers = grace.joinChatSession("lobby");
    await clock.settle();
    const [mine, others] = [heard(lobby), heard(hers)];
    const sent = await lobby.send({ text: "Hello" }, "mine-1");
    await clock.settle();
    expect(sent).toMatchObject({ senderId: "ada", sentAt: server.now(), clientId: "mine-1" });
    expect(mine).toEqual([{ text: "Hello" }]);
    expect(others).toEqual([{ text: "Hello" }]);
  });

  it("may name what every object inherits: it arrives as it was sent, and changes nothing", async () => {
    const { client, clock, another, server } = await connected();
    const lobby = client.joinChatSession("lobby");
    const grace = another();
    grace.authenticate("grace");
    const others = heard(grace.joinChatSession("lobby"));
    await clock.settle();
    const text =
      '{"__proto__":{"isAdmin":true},"constructor":{"prototype":{"isAdmin":true}},"toString":1}';
    await lobby.send(JSON.parse(text));
    for (const type of ["__proto__", "constructor", "toString"])
      server.connections[0]?.send(JSON.stringify({ type, chatSessionId: "lobby", id: type }));
    await clock.settle();
    expect(others.map((it) => JSON.stringify(it))).toEqual([text]);
    expect(({} as { isAdmin?: true }).isAdmin).toBeUndefined();
    expect(await lobby.send("next")).toMatchObject({ content: "next" });
  });

  it("of users and sessions who are called like what every object inherits are theirs alone", async () => {
    const { client, clock, server } = await connected({ globalPresence: false });
    const names = ["__proto__", "constructor", "hasOwnProperty"];
    const rooms = names.map((name) => client.joinChatSession(name));
    const all = rooms.map(heard);
    await clock.settle();
    for (const name of names) {
      server.join(name, name);
      server.type(name, name);
      server.say(name, name, name, name);
      server.type(name, name, false);
    }
    await clock.settle();
    expect(all).toEqual(names.map((name) => [name]));
    expect(rooms.map((it) => it.members.get().userIds)).toEqual(
      names.map((name) => [name, "ada"].sort()),
    );
    for (const name of names) expect(client.user(name).get()).toMatchObject({ status: "online" });
  });

  it("are told once, however often they come", async () => {
    const { client, server, clock } = await connected();
    const all = heard(client.joinChatSession("lobby"));
    await clock.settle();
    const message = server.say("grace", "lobby", 1, "a");
    server.connections[0]?.send(message);
    server.say("grace", "lobby", "the same, sent again", "a");
    server.say("linus", "lobby", 2, "a");
    await clock.settle();
    expect(all).toEqual([1, 2]);
  });

  it("wait for a link, in their order", async () => {
    const { client, server, clock, network } = await connected();
    const lobby = client.joinChatSession("lobby");
    const all = heard(lobby);
    await clock.settle();
    network.cut();
    await clock.settle();
    const sent = [1, 2, 3].map((content) => lobby.send(content));
    network.restore();
    await clock.advance(SECOND);
    await Promise.all(sent);
    expect(all).toEqual([1, 2, 3]);
    expect(server.presence("ada").isOnline).toBe(true);
  });

  it("do not overtake each other", async () => {
    const { client, server, clock, got } = await connected();
    const lobby = client.joinChatSession("lobby");
    await clock.settle();
    server.answer("message", { delayMs: SECOND });
    lobby.send(1);
    lobby.send(2);
    await clock.settle();
    expect(got("message").map((it) => it.content)).toEqual([1]);
    await clock.advance(SECOND);
    expect(got("message").map((it) => it.content)).toEqual([1, 2]);
  });

  it("that wait for the one before are told by the next link", async () => {
    const { client, server, clock } = await connected();
    const lobby = client.joinChatSession("lobby");
    const all = heard(lobby);
    await clock.settle();
    server.answer("message", "swallow");
    const first = expect(lobby.send(1)).rejects.toMatchObject({ code: "timeout" });
    const second = lobby.send(2);
    await clock.settle();
    server.dropAll();
    await clock.advance(SECOND);
    await Promise.all([first, second]);
    expect(all).toEqual([2]);
  });

  it("do not wait for longer than 30 s, nor more than 50 of them", async () => {
    const { client, clock, network, got } = await connected();
    const lobby = client.joinChatSession("lobby");
    await clock.settle();
    network.cut();
    await clock.settle();
    const waiting = Array.from({ length: 50 }, (_, n) => lobby.send(n));
    await expect(lobby.send("one too many")).rejects.toMatchObject({
      code: "not-connected",
      isRetryable: true,
    });
    await clock.advance(30 * SECOND);
    const results = await Promise.allSettled(waiting);
    expect(new Set(results.map((it) => it.status))).toEqual(new Set(["rejected"]));
    network.restore();
    await clock.advance(MINUTE);
    expect(got("message")).toEqual([]);
  });

  it("are not sent twice: whether one arrived may stay open", async () => {
    const { client, server, clock, got } = await connected();
    const lobby = client.joinChatSession("lobby");
    await clock.settle();
    server.answer("message", "swallow");
    const sent = lobby.send("Hello");
    await clock.settle();
    server.dropAll();
    await expect(sent).rejects.toMatchObject({ code: "timeout", isRetryable: true });
    await clock.advance(MINUTE);
    expect(got("message")).toHaveLength(1);
  });

  it("are for those who have joined", async () => {
    const { client } = await connected();
    await expect(client.chatSession("lobby").send("Hello")).rejects.toMatchObject({
      code: "forbidden",
    });
  });

  it("are refused for a reason", async () => {
    const { client, clock } = await connected();
    const lobby = client.joinChatSession("lobby");
    await clock.settle();
    await expect(lobby.send("x".repeat(5000))).rejects.toMatchObject({ code: "payload-too-large" });
  });

  it("are not kept for another user", async () => {
    const { client, clock, got } = await connected();
    const sent = client.joinChatSession("lobby").send("as Ada");
    client.authenticate("linus");
    await expect(sent).rejects.toMatchObject({ code: "closed" });
    await clock.advance(MINUTE);
    expect(got("message")).toEqual([]);
  });
});

describe("a refusal", () => {
  it("of what is not as strict as the server wants holds nothing up", async () => {
    const { client, clock, server } = await connected();
    const lobby = client.joinChatSession("lobby");
    await clock.settle();
    const before = server.now();
    const refused = expect(lobby.send({ orderId: 2 ** 60 })).rejects.toMatchObject({
      code: "invalid-message",
      isRetryable: false,
    });
    const next = lobby.send("next");
    await clock.settle();
    await refused;
    expect(await next).toMatchObject({ content: "next", sentAt: before });
  });

  it.each([
    ["too large", "é".repeat(5_000), "payload-too-large"],
    [
      "so large that API Gateway would close the connection",
      "x".repeat(40_000),
      "payload-too-large",
    ],
    ["no JSON", 1n, "invalid-message"],
  ])("comes at once for what is %s", async (_, content, code) => {
    const { client, clock, server, state } = await connected();
    const lobby = client.joinChatSession("lobby");
    await clock.settle();
    const before = server.now();
    const refused = expect(lobby.send(content)).rejects.toMatchObject({ code, isRetryable: false });
    const next = lobby.send("next");
    await clock.settle();
    await refused;
    expect(await next).toMatchObject({ content: "next", sentAt: before });
    expect(state()).toBe("ready");
  });

  const byApiGateway = { message: "Internal server error", connectionId: "c", requestId: "r" };

  it("of API Gateway itself, which names nothing, is that of the one request there is", async () => {
    const { client, clock, server } = await connected();
    const problems: string[] = [];
    client.on("problem", (it) => problems.push(it.code));
    server.answer("status", { body: byApiGateway });
    const refused = expect(client.setStatus("busy")).rejects.toMatchObject({
      code: "unavailable",
      message: "Internal server error",
    });
    await clock.settle();
    await refused;
    expect(problems).toEqual([]);
  });

  it("that may be meant for several is told as a problem, and rejects none", async () => {
    const { client, clock, server } = await connected();
    const problems: string[] = [];
    client.on("problem", (it) => problems.push(it.code));
    const lobby = client.joinChatSession("lobby");
    await clock.settle();
    lobby.keystroke();
    await clock.advance(0);
    server.answer("message", { body: byApiGateway });
    const open = expect(lobby.send("Hello")).rejects.toMatchObject({ code: "timeout" });
    await clock.settle();
    expect(problems).toEqual(["unavailable"]);
    await clock.advance(MINUTE);
    await open;
  });
});

describe("a request without an answer", () => {
  it("is told as a problem when it is refused", async () => {
    const { client, server, clock } = await connected();
    const problems: string[] = [];
    client.on("problem", (it) => problems.push(it.code));
    const lobby = client.joinChatSession("lobby");
    await clock.settle();
    server.refuse("typing", { code: "rate-limited" });
    lobby.keystroke();
    await clock.advance(0);
    expect(problems).toEqual(["rate-limited"]);
  });
});

describe("as many chat sessions as a user may be in", () => {
  const rooms = Array.from({ length: 50 }, (_, index) => `room-${index}`);
  /** What a server answers that knows nothing of `chatSessionIds`. */
  const OLD = {
    ...WELCOME,
    tokenExpiresAt: 4_102_444_800_000,
    connectionExpiresAt: 4_102_444_800_000,
  };
  const joined = ({ client }: Scene) =>
    rooms.filter((id) => client.chatSession(id).members.get().state === "joined").length;

  async function inAll(options = {}) {
    const found = await connected(options);
    for (const id of rooms) found.client.joinChatSession(id);
    await found.clock.settle();
    return found;
  }

  it("are joined and left in one frame each", async () => {
    const all = await inAll();
    expect(joined(all)).toBe(50);
    expect(all.actions().filter((it) => it === "join")).toHaveLength(1);
    for (const id of rooms) all.client.leaveChatSession(id);
    await all.clock.settle();
    expect(all.got("leave")).toMatchObject([{ chatSessionIds: rooms }]);
  });

  it("are joined again by the frame that authenticates, and no other user hears of it", async () => {
    const all = await inAll();
    const bob = all.another("bob");
    const heard: unknown[] = [];
    await bob.authenticate("bob");
    for (const id of rooms) bob.joinChatSession(id);
    await all.clock.settle();
    bob.on("chat-session-members", (frame) => heard.push(frame));
    const before = all.actions().length;
    all.server.dropAll();
    await all.clock.advance(MINUTE);
    expect(joined(all)).toBe(50);
    expect(heard).toEqual([]);
    const since = all.server.received.slice(before).filter(({ frame }) => frame.action !== "ping");
    const seen = since.filter(({ frame }) => frame.action !== "online");
    expect(seen.map(({ frame }) => frame.action)).toEqual(["authenticate", "authenticate"]);
  });

  it("are handed over to the next connection by the frame that authenticates it", async () => {
    const all = await inAll({ maxConnectionSeconds: 600 });
    await all.clock.advance(10 * MINUTE);
    expect(all.got("authenticate").at(-1)).toMatchObject({ chatSessionIds: rooms });
    expect(all.got("join")).toHaveLength(1);
    expect(joined(all)).toBe(50);
  });

  it("are asked for again by one frame when the server was too busy for them", async () => {
    const all = await connected();
    const some = rooms.slice(1);
    all.server.refuse("join", { code: "rate-limited", retryAfterSeconds: 3 }, 2);
    for (const id of some) all.client.joinChatSession(id);
    await all.clock.advance(SECOND);
    all.client.joinChatSession("one-more"); // does not ask for the others before their time
    await all.clock.advance(MINUTE);
    expect(joined(all)).toBe(49);
    expect(all.got("join").map((it) => it.chatSessionIds?.length)).toEqual([
      49,
      undefined,
      49,
      undefined,
    ]);
  });

  it("are refused one by one", async () => {
    const all = await inAll();
    const late = all.client.joinChatSession("late");
    all.client.joinChatSession("later");
    await all.clock.settle();
    expect(late.members.get()).toMatchObject({ state: "refused", error: { code: "conflict" } });
    all.client.leaveChatSession("room-0");
    all.client.leaveChatSession("late");
    await all.clock.settle();
    all.client.joinChatSession("late");
    await all.clock.settle();
    expect(late.members.get()).toMatchObject({ state: "joined" });
  });

  it("show all their members, however few of them the answer has", async () => {
    const { client, server, clock } = await connected();
    for (let index = 0; index < 20; index += 1) server.join(`user-${index}`, "room-7");
    for (const id of rooms) client.joinChatSession(id);
    await clock.settle();
    expect(client.chatSession("room-7").members.get().userIds).toHaveLength(21);
  });

  it("are joined one by one where the server takes no list", async () => {
    const { client, server, clock, got } = scene();
    const presence = { ...server.presence("ada", "ada"), version: 1 };
    server.answer("authenticate", { body: { ...OLD, presence, serverTime: clock.now() } });
    client.joinChatSession("lobby");
    client.joinChatSession("team");
    client.authenticate("ada");
    await clock.settle();
    expect(got("join").map((it) => it.chatSessionId)).toEqual(["lobby", "team"]);
  });
});
