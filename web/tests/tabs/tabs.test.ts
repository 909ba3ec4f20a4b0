import { describe, expect, it, vi } from "vitest";
import { createPresenceClient } from "../../src/index.js";
import type { ClientFrame } from "../../src/protocol.js";
import { createSharedClient } from "../../src/tabs/index.js";
import { createFakePresence, type FakePresenceOptions } from "../../src/testing/index.js";
import { Browser, type Tab } from "./browser.js";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;

/** A server, a browser, and another user who looks on. */
async function scene(options: FakePresenceOptions = {}) {
  const fake = createFakePresence({ heartbeatSeconds: 30, ...options });
  const browser = new Browser(fake);
  const grace = createPresenceClient({ ...fake.device().options, autoAway: false });
  grace.authenticate("grace");
  await fake.clock.settle();
  const seen: string[] = [];
  const ada = grace.user("ada");
  ada.subscribe(() => seen.push(ada.get()?.status ?? "unknown"));
  const lobby = grace.joinChatSession("lobby");
  const members: boolean[] = [];
  lobby.members.subscribe(() => members.push(lobby.members.get().userIds.includes("ada")));
  await fake.clock.settle();
  const got = <A extends ClientFrame["action"]>(action: A, userId = "ada") =>
    fake.server.received.flatMap(({ frame, ...it }) =>
      frame.action === action && it.userId !== (userId === "ada" ? "grace" : "")
        ? [frame as Extract<ClientFrame, { action: A }>]
        : [],
    );
  return {
    ...fake,
    fake,
    browser,
    grace,
    lobby,
    /** How Ada looked to Grace, and whether she was in the lobby, after each change. */
    seen,
    members,
    got,
    come: browser.come.bind(browser),
    open: browser.open.bind(browser),
    connectionsOf: (userId: string) => fake.server.connections.filter((it) => it.userId === userId),
  };
}

/** What a store says after each change. */
function witness<T>(store: { get(): unknown; subscribe(listener: () => void): unknown }) {
  const said: T[] = [];
  store.subscribe(() => said.push(store.get() as T));
  return said;
}

const names = (tab: Tab) => witness<{ name: string }>(tab.client.connection);

describe("tabs of one user", () => {
  it("share one connection", async () => {
    const { come, connectionsOf } = await scene();
    const [one, two, three] = [await come(), await come(), await come()];
    expect(connectionsOf("ada")).toHaveLength(1);
    expect([one, two, three].map((it) => it.role)).toEqual(["leader", "follower", "follower"]);
    for (const { client } of [one, two, three]) {
      expect(client.connection.get()).toEqual({ name: "ready" });
      expect(client.me.get().presence).toMatchObject({ userId: "ada", status: "online" });
      expect(client.tabs.get().count).toBe(3);
      expect(client.stats()).toMatchObject({ lostAt: 0, leaseEndsAt: expect.any(Number) });
    }
  });

  it("are authenticated one by one, as the app sees it", async () => {
    const { come, open, clock } = await scene();
    await come();
    const tab = open();
    const heard = vi.fn();
    tab.client.on("authentication-success", heard);
    const welcome = tab.client.authenticate("ada");
    expect(tab.client.authenticate("ada")).toBe(welcome);
    await clock.settle();
    expect(await welcome).toMatchObject({ userId: "ada", heartbeatSeconds: 30 });
    expect(heard).toHaveBeenCalledOnce();
  });

  it("see users, lists and chat sessions in each tab", async () => {
    const { come, clock, server } = await scene();
    const [one, two] = [await come(), await come()];
    const seen = [one, two].map(({ client }) => {
      client.user("grace").subscribe(() => {});
      client.onlineUsers.subscribe(() => {});
      client.joinChatSession("lobby");
      return client;
    });
    await clock.settle();
    server.user("grace", { status: "busy", text: "later" });
    server.type("grace", "lobby");
    await clock.settle();
    for (const client of seen) {
      expect(client.user("grace").get()).toMatchObject({ status: "busy", fresh: true });
      expect(client.onlineUsers.get()).toMatchObject({ userIds: ["ada", "grace"], count: 2 });
      const { members, typing } = client.chatSession("lobby");
      expect(members.get()).toMatchObject({ userIds: ["ada", "grace"], state: "joined" });
      expect(typing.get()).toEqual(["grace"]);
    }
  });

  it("hear each message once, also one that another tab of theirs has sent", async () => {
    const { come, clock, server, lobby } = await scene();
    const [one, two] = [await come(), await come()];
    const heard = [one, two].map(({ client }) => {
      const all: unknown[] = [];
      client.joinChatSession("lobby").onMessage(({ content }) => all.push(content));
      return all;
    });
    const others: unknown[] = [];
    lobby.onMessage(({ content }) => others.push(content));
    await clock.settle();
    server.say("grace", "lobby", "Hello");
    const sent = two.client.chatSession("lobby").send("From the second tab", "mine-1");
    await clock.settle();
    expect(await sent).toMatchObject({ senderId: "ada", clientId: "mine-1" });
    expect(heard).toEqual([
      ["Hello", "From the second tab"],
      ["Hello", "From the second tab"],
    ]);
    expect(others).toEqual(["Hello", "From the second tab"]);
  });

  it("refuse what a client of its own would refuse", async () => {
    const { come, clock, server } = await scene();
    await come();
    const two = await come();
    const room = two.client.chatSession("lobby");
    await expect(room.send("hello")).rejects.toMatchObject({ code: "forbidden" });
    two.client.joinChatSession("lobby");
    await clock.settle();
    await expect(room.send(() => {})).rejects.toMatchObject({ code: "invalid-message" });
    server.refuse("message", { code: "rate-limited", retryAfterSeconds: 7 });
    const sent = expect(room.send("hello")).rejects.toMatchObject({
      code: "rate-limited",
      isRetryable: true,
      retryAfterSeconds: 7,
    });
    await clock.settle();
    await sent;
  });

  it("choose a status in any tab, and see it pending in all", async () => {
    const { come, clock, network, seen } = await scene();
    const [one, two] = [await come(), await come()];
    network.freeze();
    one.device.network.freeze();
    const choice = two.client.setStatus("busy", { text: "later" });
    await clock.settle();
    for (const { client } of [one, two]) expect(client.me.get().pending).toBe("busy");
    one.device.network.restore();
    network.restore();
    await clock.advance(2 * SECOND);
    await choice;
    for (const { client } of [one, two])
      expect(client.me.get()).toMatchObject({
        pending: undefined,
        presence: { status: "busy", text: "later" },
      });
    expect(seen.at(-1)).toBe("busy");
  });

  it("call HTTP routes with the token in use, and before there is one without", async () => {
    const { come, open, clock, server } = await scene({ publicReads: true });
    const idle = open();
    expect(await idle.client.request("GET /online/count")).toMatchObject({ count: 1 });
    await come();
    const two = await come();
    expect(await two.client.request("PUT /last-seen")).toMatchObject({ userId: "ada" });
    const refused = two.client.request("PUT /blocked/ada");
    await expect(refused).rejects.toMatchObject({ code: "conflict" });
    const stop = new AbortController();
    const late = two.client.request("GET /online/count", undefined, stop);
    stop.abort(new Error("No longer."));
    await expect(late).rejects.toThrow("No longer.");
    await clock.settle();
    expect(server.requests.filter((it) => it.route === "PUT /last-seen")).toHaveLength(1);
  });

  it("see the same link: down, waiting, refused", async () => {
    const { come, clock, connectionsOf } = await scene();
    const [one, two] = [await come(), await come()];
    two.client.user("grace").subscribe(() => {});
    await clock.settle();
    const resync = vi.fn();
    two.client.on("resync", resync);
    one.device.network.cut();
    await clock.settle();
    expect(two.client.connection.get()).toEqual(one.client.connection.get());
    expect(two.client.connection.get()).toMatchObject({ name: "recovering", reason: "network" });
    expect(two.client.user("grace").get()).toMatchObject({ fresh: false });
    expect(two.client.stats().lostAt).toBeGreaterThan(0);
    one.device.network.restore();
    two.client.retryNow();
    await clock.settle();
    expect(two.client.connection.get().name).toBe("ready");
    expect(two.client.user("grace").get()).toMatchObject({ fresh: true });
    expect(resync).toHaveBeenCalledOnce();

    connectionsOf("ada").at(-1)?.closing("kicked");
    await clock.settle();
    for (const { client } of [one, two])
      expect(client.connection.get()).toMatchObject({
        name: "failed",
        error: { name: "PresenceError", code: "kicked", isRetryable: false },
      });
  });

  it("hear of a problem in each tab", async () => {
    const { come, clock, server } = await scene();
    const [one, two] = [await come(), await come()];
    const problems = [one, two].map(({ client }) => {
      const heard = vi.fn();
      client.on("problem", heard);
      return heard;
    });
    two.client.joinChatSession("lobby");
    await clock.settle();
    server.refuse("typing", { code: "rate-limited", retryAfterSeconds: 3 });
    two.client.chatSession("lobby").keystroke();
    await clock.advance(2 * SECOND);
    for (const heard of problems)
      expect(heard).toHaveBeenCalledWith(expect.objectContaining({ code: "rate-limited" }));
  });

  it("are told at once, each of them, what keeps them from connecting", async () => {
    const { open, clock } = await scene();
    const outcomes = [open({ apiUrl: "presence.test" }), open({ apiUrl: "presence.test" })].map(
      ({ client }) => {
        const outcome = { rejected: vi.fn(), problem: vi.fn() };
        client.on("problem", outcome.problem);
        client.authenticate("ada").catch(outcome.rejected);
        return outcome;
      },
    );
    await clock.settle();
    const error = expect.objectContaining({ code: "api-url-invalid", isRetryable: false });
    for (const { rejected } of outcomes) expect(rejected.mock.calls).toEqual([[error]]);
    expect(outcomes[0]?.problem.mock.calls).toEqual([[error]]);
  });

  it("authenticate when there is a token, though there was none at first", async () => {
    const { open, clock, server } = await scene();
    let isDown = true;
    const getToken = ({ userId }: { userId: string }) =>
      isDown ? Promise.reject(new Error("503")) : server.tokenFor(userId);
    const tabs = [open({ getToken }), open({ getToken })];
    const refused = tabs.map(({ client }) => {
      const outcome = vi.fn();
      client.authenticate("ada").catch(outcome);
      return outcome;
    });
    await clock.settle();
    for (const outcome of refused)
      expect(outcome).toHaveBeenCalledWith(expect.objectContaining({ code: "token-unavailable" }));
    isDown = false;
    await clock.advance(MINUTE);
    for (const { client } of tabs)
      expect(await client.authenticate("ada")).toMatchObject({ userId: "ada" });
  });
});

describe("what tabs want together", () => {
  it("is each chat session that one of them is in", async () => {
    const { come, clock, got, members } = await scene();
    const [one, two] = [await come(), await come()];
    members.length = 0;
    for (const { client } of [one, two]) client.joinChatSession("lobby");
    await clock.settle();
    one.client.leaveChatSession("lobby");
    await clock.settle();
    expect(got("leave")).toEqual([]);
    expect(one.client.chatSession("lobby").members.get()).toMatchObject({ state: "waiting" });
    expect(two.client.chatSession("lobby").members.get()).toMatchObject({ state: "joined" });
    two.client.leaveChatSession("lobby");
    await clock.settle();
    expect(got("leave")).toHaveLength(1);
    expect(got("join")).toHaveLength(1);
    expect(members).toEqual([true, false]);
  });

  it("is each user that one of them shows, and no other", async () => {
    const { come, clock, got, server } = await scene({ users: [{ userId: "linus" }] });
    const [one, two] = [await come(), await come()];
    const stops = [one, two].map(({ client }) => client.user("linus").subscribe(() => {}));
    await clock.settle();
    expect(got("watch").filter(({ userIds }) => userIds.includes("linus"))).toHaveLength(1);
    stops[0]?.();
    await clock.advance(2 * MINUTE);
    server.user("linus", { status: "busy" });
    await clock.settle();
    expect(two.client.user("linus").get()).toMatchObject({ status: "busy", fresh: true });
    stops[1]?.();
    await clock.advance(2 * MINUTE);
    expect(got("unwatch")).toHaveLength(1);
    expect(two.client.user("linus").get()).toBeUndefined();
  });

  it("reaches each tab as a connection of its own would", async () => {
    const { come, clock, server } = await scene({ users: [{ userId: "linus" }] });
    const [one, two] = [await come(), await come()];
    const heard = [one, two].map(({ client }) => {
      const all: string[] = [];
      client.on("user-status-change", ({ changes }) => {
        for (const it of changes) all.push(it.userId);
      });
      client.on("user-typing", ({ chatSessionId }) => all.push(chatSessionId));
      client.on("new-message", ({ content }) => all.push(`${content}`));
      return all;
    });
    one.client.user("linus").subscribe(() => {});
    two.client.joinChatSession("lobby").onMessage(() => {});
    await clock.settle();
    for (const all of heard) all.length = 0;
    server.user("linus", { status: "busy" });
    server.user("grace", { status: "busy" });
    server.type("grace", "lobby");
    server.say("grace", "lobby", "Hello");
    await clock.settle();
    expect(heard).toEqual([["linus"], ["grace", "lobby", "Hello"]]);
  });

  it("is each user that a person looks at, at once and until no tab does", async () => {
    const { come, clock, got } = await scene();
    const [one, two] = [await come(), await come()];
    const found = two.client.verify(["grace"]);
    await clock.advance(SECOND);
    expect(await found).toMatchObject([{ userId: "grace", status: "online" }]);
    expect(got("verify")).toHaveLength(1);
    const stops = [one, two].map(({ client }) => client.lookAt(["grace"]));
    await clock.advance(SECOND);
    const before = got("verify").length;
    expect(before).toBeGreaterThan(1);
    stops[0]?.();
    await clock.advance(MINUTE);
    two.device.lifecycle.emit("visible");
    await clock.settle();
    expect(got("verify")).toHaveLength(before + 1);
    stops[1]?.();
    await clock.settle();
    two.device.lifecycle.emit("visible");
    await clock.settle();
    expect(got("verify")).toHaveLength(before + 1);
  });

  it("is a list of rows, of which those on the screen are watched", async () => {
    const { come, clock, got } = await scene({ users: [{ userId: "linus", status: "dnd" }] });
    const [, two] = [await come(), await come()];
    two.client.onlineRows.subscribe(() => {});
    two.client.user("grace").subscribe(() => {});
    await clock.settle();
    expect(two.client.onlineRows.get()).toMatchObject({ userIds: ["ada", "grace", "linus"] });
    expect(two.client.user("linus").get()).toMatchObject({ status: "dnd" });
    expect(got("watch").flatMap(({ userIds }) => userIds)).toEqual(["grace"]);
  });

  it("is a list with its users, also those that no row shows", async () => {
    const { come, clock, server } = await scene({ users: [{ userId: "linus", status: "dnd" }] });
    const [, two] = [await come(), await come()];
    const stop = two.client.onlineUsers.subscribe(() => {});
    await clock.settle();
    expect(two.client.user("linus").get()).toMatchObject({ status: "dnd" });
    server.user("linus", { status: "offline" });
    await clock.advance(SECOND);
    expect(two.client.user("linus").get()).toBeUndefined();
    expect(two.client.user("grace").get()).toMatchObject({ status: "online" });
    stop();
    await clock.settle();
    expect(two.client.user("grace").get()).toBeUndefined();
  });

  it("ends when a tab is closed, and when one crashes", async () => {
    const { come, clock, members } = await scene();
    await come();
    members.length = 0;
    for (const end of ["close", "crash"] as const) {
      const two = await come();
      two.client.joinChatSession("lobby");
      await clock.settle();
      two[end]();
      await clock.settle();
    }
    expect(members).toEqual([true, false, true, false]);
  });

  it("ends when a tab crashes that was there before the leader led", async () => {
    const { come, clock, members } = await scene();
    const [one, two, three] = [await come(), await come(), await come()];
    three.client.joinChatSession("lobby");
    await clock.settle();
    one.close();
    await clock.settle();
    members.length = 0;
    three.crash();
    await clock.advance(SECOND);
    expect(two.client.tabs.get()).toEqual({ role: "leader", count: 1 });
    expect(members).toEqual([false]);
  });

  it("is typing as long as one of them is typed in", async () => {
    const { come, clock, lobby } = await scene();
    const [one, two] = [await come(), await come()];
    for (const { client } of [one, two]) client.joinChatSession("lobby");
    await clock.settle();
    const typing = witness(lobby.typing);
    one.client.chatSession("lobby").keystroke();
    await clock.advance(SECOND);
    two.client.chatSession("lobby").keystroke();
    await clock.settle();
    one.client.chatSession("lobby").stopTyping();
    await clock.advance(2 * SECOND);
    expect(typing).toEqual([["ada"]]);
    two.client.chatSession("lobby").stopTyping();
    await clock.advance(SECOND);
    expect(typing).toEqual([["ada"], []]);
  });

  it("is away only if all of them are", async () => {
    const { come, clock, seen } = await scene();
    const autoAway = { idleMs: 5 * MINUTE, hiddenMs: MINUTE };
    const [one, two] = [await come("ada", { autoAway }), await come("ada", { autoAway })];
    seen.length = 0;
    one.device.lifecycle.setVisible(false);
    await clock.advance(2 * MINUTE);
    expect(seen).toEqual([]);
    two.device.lifecycle.emit("activity");
    await clock.advance(4 * MINUTE);
    expect(seen).toEqual([]);
    two.device.lifecycle.setVisible(false);
    await clock.advance(2 * MINUTE);
    expect(seen).toEqual(["away"]);
    expect([one, two].map(({ client }) => client.me.get().isActive)).toEqual([false, false]);
    one.device.lifecycle.setVisible(true);
    await clock.settle();
    expect(seen).toEqual(["away", "online"]);
    await clock.advance(6 * MINUTE);
    two.device.lifecycle.emit("activity");
    await clock.settle();
    expect(seen).toEqual(["away", "online", "away", "online"]);
  });
});

/** Two tabs, of which the second shows something, and what it showed since. */
async function pair(options: FakePresenceOptions = {}) {
  const set = await scene(options);
  const [one, two] = [await set.come(), await set.come()];
  for (const { client } of [one, two]) {
    client.joinChatSession("lobby");
    client.user("grace").subscribe(() => {});
    client.onlineUsers.subscribe(() => {});
  }
  await set.clock.advance(SECOND);
  set.members.length = set.seen.length = 0;
  const { client } = two;
  const grace = client.user("grace");
  const room = client.chatSession("lobby");
  const freshness: boolean[] = [];
  const look = () =>
    freshness.push(
      !!grace.get()?.fresh && client.onlineUsers.get().fresh && room.members.get().fresh,
    );
  for (const store of [grace, client.onlineUsers, room.members]) store.subscribe(look);
  return { ...set, one, two, links: names(two), freshness };
}

describe("when the leader is gone", () => {
  it.each(["close", "crash"] as const)(
    "no one sees a blink, neither the others nor the other tabs (%s)",
    async (end) => {
      const { clock, one, two, links, freshness, seen, members, got, connectionsOf, server } =
        await pair();
      one[end]();
      await clock.settle();
      expect(two.role).toBe("leader");
      expect(got("authenticate").at(-1)).toMatchObject({ chatSessionIds: ["lobby"] });
      await clock.advance(2 * MINUTE);
      expect({ seen, members }).toEqual({ seen: [], members: [] });
      expect(new Set(links.map((it) => it.name))).not.toContain("connecting");
      expect(new Set(links.map((it) => it.name))).not.toContain("recovering");
      expect(freshness).not.toContain(false);
      expect(connectionsOf("ada")).toHaveLength(1);
      server.user("grace", { status: "busy" });
      await clock.settle();
      expect(two.client.user("grace").get()).toMatchObject({ status: "busy", fresh: true });
    },
  );

  it("nothing is left of what only that one wanted", async () => {
    const { come, clock, got } = await scene();
    const one = await come();
    one.client.joinChatSession("elsewhere");
    await clock.settle();
    const two = await come();
    two.client.joinChatSession("lobby");
    await clock.settle();
    one.freeze(); // it is not known to be gone
    await clock.advance(11 * SECOND);
    expect(two.role).toBe("leader");
    expect(got("authenticate").at(-1)?.chatSessionIds).toEqual(["lobby"]);
  });

  it("the next one catches up with what was missed, and says so", async () => {
    const { clock, one, two, server, fake } = await pair();
    const resync = vi.fn();
    two.client.on("resync", resync);
    const before = fake.server.now();
    one.device.network.freeze();
    await clock.advance(SECOND);
    server.user("grace", { status: "dnd" });
    one.crash();
    await clock.advance(SECOND);
    expect(two.client.user("grace").get()).toMatchObject({ status: "dnd", fresh: true });
    expect(resync).toHaveBeenCalledOnce();
    expect(resync.mock.calls[0]?.[0].since).toBeLessThanOrEqual(before + SECOND);
  });

  it("a tab that was away hears since when, whether it leads again or follows", async () => {
    for (const isFollower of [false, true]) {
      const { come, clock, server } = await scene();
      const one = await come();
      if (isFollower) await come();
      const resync = vi.fn();
      one.client.on("resync", resync);
      one.client.user("grace").subscribe(() => {});
      await clock.advance(MINUTE);
      const left = server.now();
      one.device.lifecycle.emit("leaving");
      expect(one.client.connection.get()).toEqual({ name: "offline" });
      expect(one.client.user("grace").get()).toMatchObject({ fresh: false });
      await clock.advance(MINUTE);
      one.device.lifecycle.emit("resume");
      await clock.advance(SECOND);
      expect(one.role).toBe(isFollower ? "follower" : "leader");
      expect(one.client.user("grace").get()).toMatchObject({ fresh: true });
      expect(resync.mock.calls).toEqual([[{ since: left }]]);
    }
  });

  it("what was asked and not answered is asked again, and done once", async () => {
    const { clock, one, two, lobby, server, got } = await pair();
    const heard: unknown[] = [];
    lobby.onMessage(({ content }) => heard.push(content));
    server.answer("message", "swallow");
    const sent = two.client.chatSession("lobby").send("only once");
    const blocked = two.client.request("PUT /blocked/linus");
    await clock.settle();
    one.crash();
    await clock.settle();
    await expect(sent).resolves.toMatchObject({ content: "only once" });
    await blocked;
    expect(got("message")).toHaveLength(2);
    expect(heard).toEqual(["only once"]);
  });

  it("what may not be done twice is said not to be answered", async () => {
    const { clock, one, two } = await pair();
    one.device.network.freeze();
    const published = two.client.request("POST /chat-sessions/lobby/messages", { content: 1 });
    const refused = expect(published).rejects.toMatchObject({ code: "timeout" });
    await clock.settle();
    one.crash();
    await clock.settle();
    await refused;
  });

  it("the user stays away who was away", async () => {
    const { come, clock, seen } = await scene();
    const autoAway = { idleMs: MINUTE };
    const [one] = [await come("ada", { autoAway }), await come("ada", { autoAway })];
    seen.length = 0;
    await clock.advance(2 * MINUTE);
    expect(seen).toEqual(["away"]);
    one.close();
    await clock.advance(MINUTE);
    expect(seen).toEqual(["away"]);
  });

  it("a tab that shows old things without a connection says so", async () => {
    const { clock, one, two, links } = await pair();
    const { network } = two.device;
    network.cut();
    one.crash();
    await clock.settle();
    expect(links.at(-1)?.name).toBe("recovering");
    expect(two.client.user("grace").get()).toMatchObject({ userId: "grace", fresh: false });
    network.restore();
    await clock.advance(10 * SECOND);
    expect(two.client.connection.get().name).toBe("ready");
    expect(two.client.user("grace").get()).toMatchObject({ fresh: true });
  });

  it("a connection that takes too long is not hidden", async () => {
    const { clock, one, two, links, freshness } = await pair();
    two.device.network.freeze();
    one.crash();
    await clock.advance(4 * SECOND);
    expect(two.client.connection.get().name).toBe("ready");
    await clock.advance(2 * SECOND);
    expect(links.at(-1)?.name).toBe("connecting");
    expect(freshness.at(-1)).toBe(false);
    expect(two.client.onlineUsers.get().userIds).toEqual(["ada", "grace"]);
  });

  it("a tab that has only stopped to use it keeps the connection until the next one has its own", async () => {
    const { clock, one, two, connectionsOf, seen } = await pair({ latencyMs: 50 });
    one.client.disconnect();
    expect(one.client.connection.get()).toEqual({ name: "closed" });
    await clock.advance(SECOND);
    expect(connectionsOf("ada")).toHaveLength(2);
    expect(two.role).toBe("leader");
    await clock.advance(MINUTE);
    expect(connectionsOf("ada")).toHaveLength(1);
    expect(seen).toEqual([]);
  });
});

describe("a leader that stands still", () => {
  it("is robbed, and follows when it runs again", async () => {
    const { clock, one, two, seen, members, links, connectionsOf } = await pair();
    one.freeze();
    await clock.advance(11 * SECOND);
    expect(two.role).toBe("leader");
    expect(two.client.connection.get().name).toBe("ready");
    await clock.advance(5 * MINUTE);
    expect({ seen, members }).toEqual({ seen: [], members: [] });
    expect(new Set(links.map((it) => it.name))).toEqual(new Set(["ready"]));
    one.thaw();
    await clock.advance(10 * SECOND);
    expect([one.role, two.role]).toEqual(["follower", "leader"]);
    expect(connectionsOf("ada")).toHaveLength(1);
    expect(one.client.user("grace").get()).toMatchObject({ fresh: true });
    expect({ seen, members }).toEqual({ seen: [], members: [] });
  });

  it("hears and tells nothing twice when it runs again", async () => {
    const { come, clock, one, two, server } = await pair();
    await come(); // so that there is another tab to tell
    const heard = [one, two].map(({ client }) => {
      const all: unknown[] = [];
      client.chatSession("lobby").onMessage(({ content }) => all.push(content));
      return all;
    });
    const raw = vi.fn();
    two.client.on("new-message", raw);
    one.freeze();
    await clock.advance(15 * SECOND);
    server.say("grace", "lobby", "Hello");
    await clock.advance(SECOND);
    one.device.network.restore(); // its own connection has heard it, too
    await clock.settle();
    one.thaw();
    await clock.advance(10 * SECOND);
    expect([one.role, two.role]).toEqual(["follower", "leader"]);
    expect(heard).toEqual([["Hello"], ["Hello"]]);
    expect(raw).toHaveBeenCalledOnce();
  });

  it("does nothing late that another one has done", async () => {
    const { clock, one, two, seen } = await pair();
    one.freeze();
    const busy = two.client.setStatus("busy");
    await clock.advance(15 * SECOND);
    await busy;
    two.client.setStatus("online");
    await clock.advance(15 * SECOND);
    one.thaw();
    await clock.advance(15 * SECOND);
    expect(seen).toEqual(["busy", "online"]);
  });

  it("is found out late while no tab is on the screen, and what is old is shown as old", async () => {
    const { clock, one, two, freshness } = await pair();
    two.device.lifecycle.setVisible(false);
    two.isThrottled = true;
    one.freeze();
    await clock.advance(4 * MINUTE);
    expect([two.role, two.client.connection.get().name]).toEqual(["leader", "ready"]);
    expect(freshness).toContain(false);
    expect(freshness.at(-1)).toBe(true);
  });

  it("is found out at once when another tab is looked at", async () => {
    const { clock, one, two } = await pair();
    two.device.lifecycle.setVisible(false);
    await clock.advance(MINUTE);
    one.freeze();
    two.device.lifecycle.setVisible(true);
    await clock.advance(6 * SECOND);
    expect([two.role, two.client.connection.get().name]).toEqual(["leader", "ready"]);
  });

  it("is robbed by a tab that has just come", async () => {
    const { come, clock } = await scene();
    const one = await come();
    one.freeze();
    const two = await come();
    expect([two.role, two.client.connection.get().name]).toEqual(["waiting", "connecting"]);
    await clock.advance(6 * SECOND);
    expect([two.role, two.client.connection.get().name]).toEqual(["leader", "ready"]);
  });

  it("is robbed by a tab that does not know what the others want, and is told", async () => {
    const { come, clock, one, two, members, got } = await pair();
    await clock.advance(4 * SECOND);
    two.device.lifecycle.setVisible(false); // it checks later
    one.freeze();
    const three = await come();
    await clock.advance(6 * SECOND);
    expect([two.role, three.role]).toEqual(["follower", "leader"]);
    expect(got("authenticate").at(-1)?.chatSessionIds).toEqual(["lobby"]);
    await clock.advance(3 * MINUTE);
    expect(members).toEqual([]);
  });

  it("hands over at once if the browser says that it freezes the page", async () => {
    const { clock, one, two, seen } = await pair();
    one.device.lifecycle.emit("leaving");
    one.freeze();
    await clock.settle();
    expect(two.role).toBe("leader");
    one.thaw();
    one.device.lifecycle.emit("resume");
    await clock.settle();
    expect([one.role, one.client.connection.get().name]).toEqual(["follower", "ready"]);
    expect(seen).toEqual([]);
  });

  it("is not one that is only slow: its timers run when a tab on the screen asks", async () => {
    const { come, clock, lobby } = await scene();
    const [one, two] = [await come(), await come()];
    two.client.joinChatSession("lobby");
    await clock.settle();
    one.isThrottled = true;
    const typing = witness(lobby.typing);
    two.client.chatSession("lobby").keystroke();
    await clock.advance(10 * SECOND);
    expect(one.role).toBe("leader");
    expect(typing).toEqual([["ada"], []]);
  });

  it("and gets the lock when another one closes, is passed over", async () => {
    const { come, clock, seen, one, two } = await pair();
    const three = await come();
    two.freeze(); // the next in the queue
    one.close();
    await clock.advance(9 * SECOND);
    expect([three.role, three.client.connection.get().name]).toEqual(["leader", "ready"]);
    expect(seen).toEqual([]);
    two.thaw();
    await clock.advance(SECOND);
    expect([two.role, three.role]).toEqual(["follower", "leader"]);
  });

  it("robs once: a tab that hears no other one goes its own way", async () => {
    const { come, clock, got, connectionsOf } = await scene();
    const [one, two] = [await come(), await come()];
    two.isDeaf = true;
    await clock.advance(5 * MINUTE);
    expect([one.role, two.role].sort()).toEqual(["alone", "leader"]);
    expect(connectionsOf("ada")).toHaveLength(2);
    expect(got("authenticate").length).toBeLessThan(6);
  });
});

describe("groups", () => {
  it("end for all tabs when the user logs out in one", async () => {
    for (const who of [0, 1]) {
      const { clock, one, two, connectionsOf, seen } = await pair();
      const sent = two.client.setStatus("busy");
      [one, two][who]?.client.disconnect({ atOnce: true });
      const ended = expect(sent).rejects.toMatchObject({ code: "closed" });
      await clock.settle();
      await ended;
      for (const { client } of [one, two]) {
        expect(client.connection.get()).toEqual({ name: "closed" });
        expect(client.me.get().presence).toBeUndefined();
        expect(client.user("grace").get()).toBeUndefined();
      }
      expect(connectionsOf("ada")).toEqual([]);
      expect(seen.at(-1)).toBe("offline");
      await clock.advance(MINUTE);
      expect(connectionsOf("ada")).toEqual([]);
    }
  });

  it("are of one user each, and a tab may change", async () => {
    const { come, clock, connectionsOf } = await scene();
    const [one, two] = [await come("ada"), await come("linus")];
    expect([one.role, two.role]).toEqual(["leader", "leader"]);
    expect([connectionsOf("ada").length, connectionsOf("linus").length]).toEqual([1, 1]);
    two.client.authenticate("ada");
    await clock.settle();
    expect(two.role).toBe("follower");
    expect(two.client.me.get().presence?.userId).toBe("ada");
    expect(connectionsOf("linus")).toEqual([]);
  });

  it("are of one stack each", async () => {
    const { come, connectionsOf } = await scene();
    await come();
    const other = createFakePresence();
    const { apiUrl, WebSocket, fetch, getToken } = other.options;
    const elsewhere = { apiUrl: `${apiUrl}/other`, WebSocket, fetch, getToken };
    const two = await come("ada", elsewhere);
    expect(two.role).toBe("leader");
    expect(connectionsOf("ada")).toHaveLength(1);
  });

  it("are of one browser profile: a private window is another one", async () => {
    const { come, fake, connectionsOf } = await scene();
    await come();
    const two = await new Browser(fake).come();
    expect(two.role).toBe("leader");
    expect(connectionsOf("ada")).toHaveLength(2);
  });

  it("are of one version: pages that do not understand each other have a connection each", async () => {
    const { come, connectionsOf } = await scene();
    const rename = (group: string) => group.replace(/^presence\/\d+ /, "presence/next ");
    const [one, two, three] = [await come(), await come("ada", { rename }), await come()];
    expect([one, two, three].map((it) => it.role)).toEqual(["leader", "leader", "follower"]);
    expect(connectionsOf("ada")).toHaveLength(2);
  });
});

describe("a browser that cannot share", () => {
  const refusing = { request: () => Promise.reject(new DOMException("No.", "SecurityError")) };
  const throwing = class {
    constructor() {
      throw new DOMException("No.", "SecurityError");
    }
  } as never;

  it.each([
    ["no locks", { locks: undefined }],
    ["no channels", { BroadcastChannel: undefined }],
    ["locks that are refused", { locks: refusing }],
    ["channels that are refused", { BroadcastChannel: throwing }],
  ])("has a connection of its own, without a word: %s", async (_what, lacking) => {
    for (const name of ["navigator", "BroadcastChannel"]) vi.stubGlobal(name, undefined);
    const { fake, connectionsOf, clock } = await scene();
    const browser = new Browser(fake);
    const tabs = [await browser.come("ada", lacking), await browser.come("ada", lacking)];
    vi.unstubAllGlobals();
    expect(tabs.map((it) => it.role)).toEqual(["alone", "alone"]);
    expect(connectionsOf("ada")).toHaveLength(2);
    for (const { client } of tabs) {
      client.joinChatSession("lobby");
      client.user("grace").subscribe(() => {});
      await clock.settle();
      expect(client.connection.get().name).toBe("ready");
      expect(client.user("grace").get()).toMatchObject({ fresh: true });
      client.disconnect();
    }
    await clock.advance(MINUTE);
    expect(connectionsOf("ada")).toEqual([]);
  });
});

describe("a tab by itself", () => {
  it("tells the others nothing while there are none", async () => {
    const { come, clock, browser } = await scene();
    const one = await come();
    one.client.user("grace").subscribe(() => {});
    await clock.advance(MINUTE);
    expect(browser.posted.map((it) => it.kind)).toEqual(["hello", "lead"]);
  });

  it("leaves nothing behind when it is disconnected", async () => {
    const { come, clock, connectionsOf, browser } = await scene();
    const one = await come();
    one.client.disconnect();
    await clock.settle();
    expect(connectionsOf("ada")).toEqual([]);
    expect(one.device.lifecycle.listenerCount).toBe(0);
    expect(browser.channels.size).toBe(0);
    expect(one.role).toBe("waiting");
  });

  it("keeps what it wants and what waits until it is authenticated", async () => {
    const { open, clock } = await scene();
    const { client } = open();
    const room = client.joinChatSession("lobby");
    const status = client.setStatus("busy");
    const sent = room.send("first");
    client.authenticate("ada");
    await clock.advance(SECOND);
    await Promise.all([status, sent]);
    expect(client.me.get().presence?.status).toBe("busy");
  });

  it("does not keep a message longer than half a minute", async () => {
    const { open, clock } = await scene();
    const { client } = open();
    const sent = client.joinChatSession("lobby").send("first");
    const late = expect(sent).rejects.toMatchObject({ code: "not-connected" });
    await clock.advance(31 * SECOND);
    await late;
  });
});

describe("tokens", () => {
  it("are asked for in the tab that leads", async () => {
    const { come, clock, fake } = await scene();
    const asked = [0, 1].map(() => vi.fn(({ userId }) => fake.server.tokenFor(userId)));
    const [one] = [
      await come("ada", { getToken: asked[0] as never }),
      await come("ada", { getToken: asked[1] as never }),
    ];
    expect(asked.map((it) => it.mock.calls.length)).toEqual([1, 0]);
    one.close();
    await clock.settle();
    expect(asked.map((it) => it.mock.calls.length)).toEqual([1, 1]);
  });

  it("are renewed by any tab", async () => {
    const { come, clock, server, got } = await scene();
    const [one, two] = [await come(), await come()];
    for (const [at, { client }] of [two, one].entries()) {
      const token = server.tokenFor("ada", { ttlSeconds: 3_600 + at });
      const renewed = client.authenticate("ada", token);
      await clock.settle();
      await renewed;
      expect(got("authenticate").at(-1)?.token).toBe(token);
    }
    const provided = server.tokenFor("ada", { ttlSeconds: 7_200 });
    const renewed = two.client.authenticate("ada", () => provided);
    await clock.settle();
    await renewed;
    expect(got("authenticate").at(-1)?.token).toBe(provided);
  });

  it("that are refused are refused in each tab, and a good one helps all", async () => {
    const { come, clock, server } = await scene();
    const getToken = () => "not-a-token";
    const [one, two] = [await come("ada", { getToken }), await come("ada", { getToken })];
    for (const { client } of [one, two])
      expect(client.connection.get()).toMatchObject({
        name: "failed",
        error: { code: "token-invalid" },
      });
    two.client.authenticate("ada", server.tokenFor("ada"));
    await clock.settle();
    for (const { client } of [one, two]) expect(client.connection.get().name).toBe("ready");
  });
});

it("is made on a server, and does nothing there", () => {
  const client = createSharedClient({ apiUrl: "https://presence.test" });
  expect(client.tabs.get().count).toBe(1);
});
