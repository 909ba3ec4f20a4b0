import { describe, expect, it } from "vitest";
import type { PresenceClient } from "../../src/index.js";
import type { ServerFrame } from "../../src/protocol.js";
import { connected, MINUTE, type Scene, SECOND, scene } from "./setup.js";

/** Subscribes to a user; returns what is seen, from the first change on. */
function look(client: PresenceClient, userId: string) {
  const seen: (string | undefined)[] = [];
  const store = client.user(userId);
  const stop = store.subscribe(() => {
    const it = store.get();
    seen.push(it && `${it.status}${it.fresh ? "" : ", stale"}`);
  });
  return { seen, stop };
}

const change = (version: number, status: "online" | "busy" | "offline"): ServerFrame => ({
  type: "user-status-change",
  changes: [
    { userId: "grace", status, isOnline: status !== "offline", lastSeen: version, version },
  ],
});

function tell(set: Scene, ...frames: ServerFrame[]) {
  for (const frame of frames) set.server.connections[0]?.send(frame);
  return set.clock.settle();
}

describe("what is known of a user", () => {
  it("is the newest that was heard, in whatever order it came", async () => {
    const set = await connected();
    await tell(set, change(5, "busy"), change(4, "offline"), change(5, "offline"));
    expect(set.client.user("grace").get()).toMatchObject({ status: "busy", version: 5 });
  });

  it("is not lowered by a list or by an answer that is older", async () => {
    const set = await connected({ users: [{ userId: "grace", version: 3, lastSeen: 3 }] });
    await tell(set, change(9_000_000_000_000, "busy"));
    set.client.onlineUsers.subscribe(() => {});
    set.client.user("grace").subscribe(() => {});
    await set.clock.settle();
    expect(set.client.user("grace").get()).toMatchObject({ status: "busy", fresh: true });
  });

  it("is the same object until something is different", async () => {
    const set = await connected();
    await tell(set, change(5, "busy"));
    const before = set.client.user("grace").get();
    await tell(set, change(5, "busy"), change(4, "online"));
    expect(set.client.user("grace").get()).toBe(before);
  });

  it("tells only those who look at that user", async () => {
    const set = await connected({ users: [{ userId: "grace" }, { userId: "linus" }] });
    const grace = look(set.client, "grace");
    const linus = look(set.client, "linus");
    await set.clock.settle();
    grace.seen.length = linus.seen.length = 0;
    set.server.user("grace", { status: "busy" });
    await set.clock.settle();
    expect(grace.seen).toEqual(["busy"]);
    expect(linus.seen).toEqual([]);
  });

  it("is unknown before anything was heard, and offline if there is no such user", async () => {
    const set = await connected();
    expect(set.client.user("unknown").get()).toBeUndefined();
    look(set.client, "unknown");
    await set.clock.settle();
    expect(set.client.user("unknown").get()).toMatchObject({ status: "offline", lastSeen: null });
  });
});

describe("without a link", () => {
  it("nothing is shown as if it were now, and nothing is forgotten", async () => {
    const { client, network, clock } = await connected({
      users: [{ userId: "grace", status: "busy" }],
    });
    const { seen } = look(client, "grace");
    const own = look(client, "ada");
    client.onlineUsers.subscribe(() => {});
    await clock.settle();
    network.cut();
    await clock.settle();
    expect(client.user("grace").get()).toMatchObject({ status: "busy", fresh: false });
    expect(client.user("ada").get()?.fresh).toBe(false);
    expect(client.onlineUsers.get()).toMatchObject({ userIds: ["ada", "grace"], fresh: false });
    await clock.advance(MINUTE);
    expect(client.user("grace").get()?.fresh).toBe(false);
    network.restore();
    await clock.advance(MINUTE);
    expect(seen).toEqual(["busy", "busy, stale", "busy"]);
    expect(own.seen.at(-1)).toBe("online");
    expect(client.onlineUsers.get().fresh).toBe(true);
  });

  it.each([true, false])("all that was missed is caught up with (global: %s)", async (isGlobal) => {
    const { client, server, network, clock } = await connected({
      globalPresence: isGlobal,
      users: ["came", "left", "stayed", "changed"].map((userId) => ({
        userId,
        isOnline: userId !== "came",
      })),
    });
    client.onlineUsers.subscribe(() => {});
    const left = look(client, "left");
    await clock.settle();
    network.cut();
    await clock.settle();
    server.user("came");
    server.user("left", { status: "offline" });
    server.user("changed", { status: "dnd" });
    network.restore();
    await clock.advance(MINUTE);
    expect(client.onlineUsers.get().userIds).toEqual(["ada", "came", "changed", "stayed"]);
    expect(client.user("changed").get()).toMatchObject({ status: "dnd", fresh: true });
    expect(left.seen.at(-1)).toBe("offline");
  });

  it("a user who was erased meanwhile is gone", async () => {
    const set = await connected();
    set.client.onlineUsers.subscribe(() => {});
    await tell(set, change(5, "busy"));
    expect(set.client.onlineUsers.get().userIds).toEqual(["ada", "grace"]);
    set.server.dropAll();
    await set.clock.advance(SECOND);
    expect(set.client.onlineUsers.get().userIds).toEqual(["ada"]);
  });

  it("a new client has nothing to show", () => {
    const { client } = scene();
    expect(client.onlineUsers.get()).toEqual({
      userIds: [],
      count: null,
      isLoading: false,
      hasMore: false,
      fresh: false,
    });
    expect(client.me.get()).toEqual({ presence: undefined, pending: undefined, isActive: true });
  });
});

describe("who is online", () => {
  it("is asked for only while there are subscribers", async () => {
    const { client, clock, got } = await connected();
    await clock.advance(MINUTE);
    expect(got("online")).toEqual([]);
    client.onlineUsers.subscribe(() => {});
    await clock.settle();
    expect(got("online")).toHaveLength(1);
  });

  it("follows those who come and go", async () => {
    const { client, server, clock } = await connected();
    client.onlineUsers.subscribe(() => {});
    await clock.settle();
    server.user("grace");
    await clock.settle();
    expect(client.onlineUsers.get()).toMatchObject({ userIds: ["ada", "grace"], count: 2 });
    const before = client.onlineUsers.get();
    server.user("grace", { status: "busy" });
    await clock.settle();
    expect(client.onlineUsers.get()).toBe(before);
    server.user("grace", { status: "offline" });
    await clock.settle();
    expect(client.onlineUsers.get()).toMatchObject({ userIds: ["ada"], count: 1 });
  });

  it("comes in pages", async () => {
    const users = Array.from({ length: 250 }, (_, n) => ({ userId: `user-${1000 + n}` }));
    const { client, clock } = await connected({ users });
    client.onlineUsers.subscribe(() => {});
    await clock.settle();
    expect(client.onlineUsers.get()).toMatchObject({ count: 251, hasMore: true });
    for (let page = 0; page < 3; page += 1) {
      client.loadMoreOnlineUsers();
      expect(client.onlineUsers.get().fresh).toBe(true);
      await clock.settle();
    }
    expect(client.onlineUsers.get()).toMatchObject({ count: 251, hasMore: false });
    expect(client.onlineUsers.get().userIds).toHaveLength(251);
    client.loadMoreOnlineUsers();
    await clock.settle();
    expect(client.onlineUsers.get().userIds).toHaveLength(251);
  });

  it("is asked for again every five minutes without global presence, and when it is shown", async () => {
    const { client, server, clock, got, lifecycle } = await connected({ globalPresence: false });
    client.onlineUsers.subscribe(() => {});
    await clock.settle();
    server.user("grace");
    await clock.advance(289 * SECOND);
    expect(client.onlineUsers.get().userIds).toEqual(["ada"]);
    await clock.advance(2 * SECOND);
    expect(client.onlineUsers.get()).toMatchObject({ userIds: ["ada", "grace"], fresh: true });
    server.user("grace", { status: "offline" });
    await clock.settle();
    expect(client.onlineUsers.get().userIds).toEqual(["ada"]);

    const before = got("online").length;
    lifecycle.setVisible(false);
    server.user("linus");
    await clock.advance(20 * MINUTE);
    expect(got("online")).toHaveLength(before);
    lifecycle.setVisible(true);
    await clock.settle();
    expect(client.onlineUsers.get()).toMatchObject({ userIds: ["ada", "linus"], fresh: true });
    lifecycle.setVisible(false);
    lifecycle.setVisible(true);
    await clock.settle();
    expect(got("online")).toHaveLength(before + 1);
  });

  it("is asked for as often as the app says", async () => {
    const often = { refreshOnlineMs: 20 * SECOND };
    const { client, clock, got } = await connected({ globalPresence: false }, often);
    client.onlineUsers.subscribe(() => {});
    await clock.advance(50 * SECOND);
    expect(got("online")).toHaveLength(3);
  });

  it("costs an empty answer while no user comes: those who are watched are left out", async () => {
    const users = ["grace", "linus"].map((userId) => ({ userId }));
    const { client, server, clock, got } = await connected({ globalPresence: false, users });
    const answers: ServerFrame[] = [];
    client.on("online-users-list", (frame) => answers.push(frame));
    client.onlineUsers.subscribe(() => {});
    await clock.advance(6 * MINUTE);
    expect(got("online").at(-1)).toMatchObject({ without: ["ada", "grace", "linus"] });
    expect(answers.at(-1)).toMatchObject({ users: [], cursor: null });
    expect(client.onlineUsers.get()).toMatchObject({
      userIds: ["ada", "grace", "linus"],
      count: 3,
      fresh: true,
    });
    server.user("alan");
    await clock.advance(5 * MINUTE);
    expect(answers.at(-1)).toMatchObject({ users: [{ userId: "alan" }] });
    expect(client.onlineUsers.get().count).toBe(4);
  });

  it("leaves out no more than a frame can name", async () => {
    const users = Array.from({ length: 90 }, (_, n) => ({
      userId: `${"x".repeat(125)}${100 + n}`,
    }));
    const { client, clock, got } = await connected({ globalPresence: false, users });
    client.onlineUsers.subscribe(() => {});
    await clock.advance(6 * MINUTE);
    const last = got("online").at(-1);
    expect(JSON.stringify(last).length).toBeLessThan(8_192);
    expect(client.onlineUsers.get()).toMatchObject({ count: 91, fresh: true });
  });

  it("is not up to date after a while without subscribers", async () => {
    const { client, server, clock } = await connected({
      globalPresence: false,
      users: [{ userId: "grace" }],
    });
    const stop = client.onlineUsers.subscribe(() => {});
    await clock.settle();
    expect(client.onlineUsers.get()).toMatchObject({ userIds: ["ada", "grace"], fresh: true });
    stop();
    await clock.advance(MINUTE);
    expect(client.onlineUsers.get().fresh).toBe(false);
    server.user("grace", { status: "offline" });
    server.user("linus");
    client.onlineUsers.subscribe(() => {});
    await clock.settle();
    expect(client.onlineUsers.get()).toMatchObject({ userIds: ["ada", "linus"], fresh: true });
  });

  it("is asked for again after an error", async () => {
    const { client, server, clock } = await connected({ users: [{ userId: "grace" }] });
    server.refuse("online", { code: "rate-limited", retryAfterSeconds: 3 });
    client.onlineUsers.subscribe(() => {});
    await clock.settle();
    expect(client.onlineUsers.get()).toMatchObject({ isLoading: false, fresh: false });
    await clock.advance(3 * SECOND);
    expect(client.onlineUsers.get()).toMatchObject({ userIds: ["ada", "grace"], fresh: true });
  });
});

describe("rows of a list, without global presence", () => {
  const users = Array.from({ length: 250 }, (_, n) => ({ userId: `user-${1000 + n}` }));

  async function rows() {
    const set = await connected({ globalPresence: false, users });
    set.client.onlineRows.subscribe(() => {});
    await set.clock.settle();
    return { ...set, list: () => set.client.onlineRows.get() };
  }

  it("are watched while they are shown, and no others", async () => {
    const { client, server, clock, got, list } = await rows();
    const shown = ["user-1000", "user-1001"].map((id) => look(client, id));
    await clock.settle();
    expect(got("watch").map((it) => it.userIds)).toEqual([["user-1000", "user-1001"]]);
    expect(list()).toMatchObject({ count: 251, hasMore: true, fresh: true });
    server.user("user-1001", { status: "offline" });
    server.user("user-1002", { status: "offline" });
    await clock.settle();
    expect(list().userIds).not.toContain("user-1001");
    expect(list().userIds).toContain("user-1002");
    for (const { stop } of shown) stop();
    await clock.advance(61 * SECOND);
    expect(got("unwatch").map((it) => it.userIds)).toEqual([["user-1000", "user-1001"]]);
    expect(list().userIds).toContain("user-1000");
  });

  it("are fresh until they can be watched, and not green and wrong after that", async () => {
    const { client, clock } = await rows();
    expect(client.user("user-1000").get()).toMatchObject({ isOnline: true, fresh: true });
    await clock.advance(SECOND);
    expect(client.user("user-1000").get()).toMatchObject({ isOnline: true, fresh: false });
    look(client, "user-1000");
    await clock.settle();
    expect(client.user("user-1000").get()).toMatchObject({ isOnline: true, fresh: true });
  });

  it("are asked for again as far as they are loaded and not watched", async () => {
    const { client, server, clock, got, list } = await rows();
    client.loadMoreOnlineUsers();
    look(client, "user-1000");
    await clock.settle();
    expect(list().userIds).toHaveLength(200);
    for (const userId of ["user-1000", "user-1001", "user-1150"])
      server.user(userId, { status: "offline" });
    for (const userId of ["user-10005", "user-2000"]) server.user(userId);
    const before = got("online").length;
    await clock.advance(5 * MINUTE);
    const asked = got("online").slice(before);
    expect(asked.map((it) => [it.limit, it.without])).toEqual([
      [100, ["ada"]],
      [100, ["ada"]],
    ]);
    expect(new Set(asked.map((it) => it.upTo)).size).toBe(1);
    expect(list()).toMatchObject({ hasMore: true, fresh: true, count: 250 });
    expect(list().userIds).toHaveLength(198);
    expect(list().userIds).toContain("user-10005");
    expect(list().userIds).not.toContain("user-1001");
    expect(list().userIds).not.toContain("user-1150");
  });

  it("are all asked for again after a gap", async () => {
    const { client, server, clock, list } = await rows();
    client.loadMoreOnlineUsers();
    await clock.settle();
    server.dropAll();
    server.user("user-1150", { status: "offline" });
    await clock.advance(SECOND);
    expect(list()).toMatchObject({ hasMore: true, fresh: true });
    expect(list().userIds).toHaveLength(199);
  });
});

describe("watching, without global presence", () => {
  const quiet = { globalPresence: false };

  it("is asked for once for all users with subscribers", async () => {
    const { client, server, clock, got } = await connected(quiet);
    const looks = ["grace", "linus", "grace"].map((id) => look(client, id));
    await clock.settle();
    expect(got("watch").map((it) => it.userIds)).toEqual([["grace", "linus"]]);
    server.user("linus", { status: "busy" });
    await clock.settle();
    expect(looks[1]?.seen).toEqual(["offline", "busy"]);
  });

  it("ends a minute after the last one has looked away", async () => {
    const { client, clock, got } = await connected(quiet);
    const looks = [look(client, "grace"), look(client, "grace")];
    await clock.settle();
    looks[0]?.stop();
    await clock.advance(2 * MINUTE);
    expect(got("unwatch")).toEqual([]);
    looks[1]?.stop();
    await clock.advance(59 * SECOND);
    expect(got("unwatch")).toEqual([]);
    await clock.advance(SECOND);
    expect(got("unwatch").map((it) => it.userIds)).toEqual([["grace"]]);
  });

  it("leaves no user green whose changes are not told any more", async () => {
    const { client, server, clock } = await connected({
      globalPresence: false,
      users: [{ userId: "grace" }],
    });
    const first = look(client, "grace");
    await clock.settle();
    first.stop();
    await clock.advance(61 * SECOND);
    server.user("grace", { status: "offline" });
    await clock.advance(SECOND);
    expect(client.user("grace").get()).toMatchObject({ status: "online", fresh: false });
    const { seen } = look(client, "grace");
    await clock.settle();
    expect(seen).toEqual(["offline"]);
  });

  it("begins again when the server has said that it has ended, and not before", async () => {
    const { client, server, clock, actions } = await connected({
      globalPresence: false,
      users: [{ userId: "grace" }],
    });
    look(client, "grace").stop();
    const { stop } = look(client, "grace");
    await clock.settle();
    server.answer("unwatch", { delayMs: SECOND });
    stop();
    await clock.advance(MINUTE);
    look(client, "grace");
    await clock.settle();
    const asked = () => actions().filter((it) => it !== "ping");
    expect(asked()).toEqual(["authenticate", "watch", "unwatch"]);
    await clock.advance(SECOND);
    expect(asked()).toEqual(["authenticate", "watch", "unwatch", "watch"]);
  });

  it("is not asked for members of a chat session, until they have left it", async () => {
    const { client, server, clock, got } = await connected(quiet);
    server.join("grace", "lobby");
    client.joinChatSession("lobby");
    const { seen } = look(client, "grace");
    await clock.settle();
    expect(got("watch")).toEqual([]);
    server.user("grace", { status: "busy" });
    await clock.settle();
    expect(seen).toEqual(["online", "busy"]);
    server.leave("grace", "lobby");
    await clock.settle();
    expect(got("watch").map((it) => it.userIds)).toEqual([["grace"]]);
    server.user("grace", { status: "dnd" });
    await clock.settle();
    expect(seen.at(-1)).toBe("dnd");
  });

  it("is not asked for users who were met in a chat session long ago: they are forgotten", async () => {
    const { client, server, clock, got } = await connected(quiet);
    client.joinChatSession("lobby");
    await clock.settle();
    for (let visitor = 0; visitor < 5; visitor += 1) {
      server.join(`visitor-${visitor}`, "lobby");
      await clock.settle();
      server.leave(`visitor-${visitor}`, "lobby");
      await clock.settle();
    }
    client.user("visitor-0").get();
    const { userIds } = client.onlineUsers.get();
    expect(userIds).toEqual(["ada", "visitor-4"]);
    expect(got("watch")).toEqual([]);
  });

  it("is never asked for the own user", async () => {
    const { client, clock, got } = await connected(quiet);
    look(client, "ada");
    await clock.settle();
    expect(got("watch")).toEqual([]);
  });

  it("goes on after a reconnect", async () => {
    const { client, server, clock, got } = await connected(quiet);
    const { seen } = look(client, "grace");
    await clock.settle();
    server.dropAll();
    await clock.advance(SECOND);
    expect(got("watch")).toHaveLength(2);
    expect(seen).toEqual(["offline", "offline, stale", "offline"]);
  });

  it("comes in frames of 100, and stops asking where the server says enough", async () => {
    const { client, server, clock, got } = await connected(quiet);
    for (let n = 0; n < 250; n += 1) look(client, `user-${n}`);
    server.refuse("watch", { code: "conflict" }, 1);
    await clock.advance(MINUTE);
    expect(got("watch").map((it) => it.userIds.length)).toEqual([100, 100, 50]);
  });

  it("goes on where there is room again", async () => {
    const { client, server, clock, got } = await connected(quiet);
    const full = look(client, "grace");
    await clock.settle();
    server.refuse("watch", { code: "conflict" });
    const { seen } = look(client, "linus");
    await clock.advance(MINUTE);
    expect(seen).toEqual([]);
    full.stop();
    await clock.advance(5 * SECOND);
    expect(got("unwatch")).toHaveLength(1);
    expect(seen).toEqual(["offline"]);
  });

  it("is asked for again when the server was busy", async () => {
    const { client, server, clock } = await connected(quiet);
    server.refuse("watch", { code: "rate-limited", retryAfterSeconds: 2 });
    const { seen } = look(client, "grace");
    await clock.advance(2 * SECOND);
    expect(seen).toEqual(["offline"]);
  });
});

describe("with global presence", () => {
  it("users who are not known yet are asked for over HTTP, and none is watched", async () => {
    const { client, server, clock, got } = await connected();
    for (let n = 0; n < 150; n += 1) look(client, `user-${n}`);
    await clock.settle();
    expect(server.requests.filter((it) => it.route === "POST /batch")).toHaveLength(2);
    expect(got("watch")).toEqual([]);
    expect(client.user("user-149").get()).toMatchObject({ status: "offline", fresh: true });
  });

  it("what hangs since before a gap holds up nothing after it", async () => {
    const { client, server, clock } = await connected({ users: [{ userId: "grace" }] });
    server.answer("POST /batch", "swallow");
    look(client, "grace");
    await clock.settle();
    server.dropAll();
    const lobby = client.joinChatSession("lobby");
    await clock.advance(2 * SECOND);
    expect(lobby.members.get().state).toBe("joined");
  });

  it("what was asked before a gap confirms nothing after it", async () => {
    const { server, clock, another, device } = await connected();
    server.user("grace");
    let answer = () => {};
    const phone = another("phone", {
      async fetch(url, request) {
        const found = await device("phone").options.fetch(url, request);
        if (String(url).endsWith("/batch")) await new Promise<void>((go) => (answer = go));
        return found;
      },
    });
    phone.authenticate("linus");
    await clock.settle();
    const { seen } = look(phone, "grace");
    await clock.settle();

    server.dropAll();
    await clock.settle();
    server.user("grace", { status: "busy" });
    answer();
    await clock.settle();
    expect(seen).not.toContain("online");
    await clock.advance(SECOND);
    answer();
    await clock.settle();
    expect(seen.at(-1)).toBe("busy");
  });
});

describe("one's own status", () => {
  it("is chosen, with a text and an end", async () => {
    const { client, server, clock, got } = await connected();
    clock.shift(-60 * MINUTE);
    client.disconnect();
    client.authenticate("ada");
    await clock.settle();
    const choice = client.setStatus("busy", { text: "In a meeting", until: clock.now() + MINUTE });
    expect(client.me.get().pending).toBe("busy");
    await choice;
    expect(client.me.get()).toMatchObject({ pending: undefined, presence: { status: "busy" } });
    // The end is meant by our clock, which is an hour slow.
    expect(got("status")).toMatchObject([{ text: "In a meeting", until: server.now() + MINUTE }]);
    await clock.advance(2 * MINUTE);
    expect(server.presence("ada").status).toBe("online");
  });

  it("is what was chosen until the change has come, though the answer came before", async () => {
    const { client, server, clock, network } = await connected();
    network.dropNext(1, (frame) => frame.type === "user-status-change");
    await client.setStatus("busy");
    expect(client.me.get()).toMatchObject({ pending: "busy", presence: { status: "online" } });
    server.user("ada", { status: "busy", text: "told at last" });
    await clock.settle();
    expect(client.me.get()).toMatchObject({ pending: undefined, presence: { status: "busy" } });
  });

  it("is pending no longer when no change comes, because there was none", async () => {
    const { client, clock } = await connected();
    await client.setStatus("online");
    await clock.advance(5 * SECOND);
    expect(client.me.get().pending).toBeUndefined();
  });

  it("waits for a link, and only the newest choice is sent", async () => {
    const { client, server, network, clock, got } = await connected();
    network.cut();
    await clock.settle();
    const choices = [client.setStatus("away"), client.setStatus("busy"), client.setStatus("dnd")];
    expect(client.me.get().pending).toBe("dnd");
    network.restore();
    await clock.advance(SECOND);
    await Promise.all(choices);
    expect(got("status").map((it) => it.status)).toEqual(["dnd"]);
    expect(server.presence("ada").status).toBe("dnd");
  });

  it("is told one after the other, and of those chosen meanwhile only the last", async () => {
    const { client, server, clock, got } = await connected();
    server.answer("status", { delayMs: SECOND });
    const all = (["away", "busy", "dnd", "invisible"] as const).map((it) => client.setStatus(it));
    await clock.settle();
    expect(got("status").map((it) => it.status)).toEqual(["away"]);
    await clock.advance(SECOND);
    await Promise.all(all);
    expect(got("status").map((it) => it.status)).toEqual(["away", "invisible"]);
    await clock.advance(MINUTE);
    expect(got("status")).toHaveLength(2);
    expect(client.me.get()).toMatchObject({
      presence: { status: "invisible" },
      pending: undefined,
    });
  });

  it("is asked for again when the link went down before the answer", async () => {
    const { client, server, clock } = await connected();
    server.answer("status", "swallow");
    const choice = client.setStatus("busy");
    await clock.settle();
    server.dropAll();
    await clock.advance(SECOND);
    await choice;
    expect(server.presence("ada").status).toBe("busy");
  });

  it("that was chosen without a network gives way to what another device chose later", async () => {
    const { client, server, clock, network, got, another } = await connected();
    const phone = another("phone", { getToken: () => server.tokenFor("ada") });
    phone.authenticate("ada");
    await clock.settle();
    network.cut();
    await clock.settle();
    client.setStatus("dnd", { text: "On the train" });
    const chosenAt = server.now();
    await clock.advance(20 * SECOND);
    await phone.setStatus("busy", { text: "Arrived" });
    network.restore();
    await clock.advance(MINUTE);
    expect(got("status")).toMatchObject([{ status: "busy" }, { status: "dnd", chosenAt }]);
    expect(server.presence("ada")).toMatchObject({ status: "busy", text: "Arrived" });
    expect(client.me.get()).toMatchObject({ pending: undefined, presence: { text: "Arrived" } });
  });

  it("is not said again when the link breaks after the answer", async () => {
    const { client, server, clock, network, got } = await connected();
    network.dropNext(1, (frame) => frame.type === "user-status-change");
    await client.setStatus("busy");
    expect(client.me.get().pending).toBe("busy");
    server.dropAll();
    await clock.advance(10 * SECOND);
    expect(got("status")).toHaveLength(1);
  });

  it("says what others learn of when one was seen", async () => {
    const { client, server } = await connected();
    await client.setStatus("busy", { showLastSeen: "hidden" });
    await client.setStatus("online");
    expect(client.me.get().presence).toMatchObject({ showLastSeen: "hidden" });
    expect(server.presence("ada", "grace").lastSeen).toBeNull();
  });

  it("is refused with a reason", async () => {
    const { client } = await connected();
    const refused = client.setStatus("busy", { text: "x".repeat(141) });
    await expect(refused).rejects.toMatchObject({ code: "invalid-message", isRetryable: false });
    expect(client.me.get().pending).toBeUndefined();
  });
});

describe("over HTTP", () => {
  it("everything can be asked", async () => {
    const { client, server } = await connected({
      users: [{ userId: "grace" }, { userId: "linus", status: "busy" }],
    });
    expect((await client.request("GET /online/count")).count).toBe(3);
    expect(await client.request("GET /linus")).toMatchObject({ status: "busy" });
    const { users } = await client.request("POST /batch", { userIds: ["linus", "grace"] });
    expect(users.map((it) => it.userId)).toEqual(["linus", "grace"]);
    const page = await client.request("GET /online?limit=2");
    expect(page.users).toHaveLength(2);
    const next = await client.request(`GET /online?limit=2&cursor=${page.cursor}`);
    expect(next.users).toHaveLength(1);
    expect((await client.request("PUT /last-seen")).lastSeen).toBe(server.now());
    expect(await client.request("PUT /blocked/grace")).toBeUndefined();
    expect((await client.request("GET /blocked")).userIds).toEqual(["grace"]);
    expect(await client.request("GET /blocked/grace")).toMatchObject({ blocked: true });
    await client.request("DELETE /blocked/grace");
    expect((await client.request("GET /blocked")).userIds).toEqual([]);
    expect(await client.request("PUT /", { status: "dnd" })).toMatchObject({ status: "dnd" });
    // @ts-expect-error there is no such route
    await client.request("PATCH /grace").catch(() => {});
  });

  it("needs no user where reading is public", async () => {
    const { client } = scene({ publicReads: true });
    expect((await client.request("GET /online/count")).count).toBe(0);
  });

  it("says what went wrong", async () => {
    const { client, server, network } = await connected();
    server.refuse("GET /online/count", { code: "rate-limited", retryAfterSeconds: 7 });
    await expect(client.request("GET /online/count")).rejects.toMatchObject({
      code: "rate-limited",
      isRetryable: true,
      retryAfterSeconds: 7,
    });
    server.answer("GET /online/count", { body: { message: "Internal Server Error" }, status: 500 });
    await expect(client.request("GET /online/count")).rejects.toMatchObject({
      code: "unavailable",
    });
    network.cut();
    await expect(client.request("GET /online/count")).rejects.toMatchObject({
      code: "not-connected",
    });
  });

  it("asks for another token when this one has ended", async () => {
    const { client, server } = await connected();
    server.revoke("ada", "token-expired");
    expect((await client.request("GET /online/count")).count).toBe(1);
  });

  it("stops when it is told to, and after 10 s", async () => {
    const { client, server, clock } = await connected();
    const controller = new AbortController();
    server.answer("GET /online/count", "swallow", 2);
    const stopped = client.request("GET /online/count", undefined, controller);
    const late = client.request("GET /online/count");
    controller.abort(new Error("enough"));
    await expect(stopped).rejects.toThrow("enough");
    const refused = expect(late).rejects.toMatchObject({ code: "timeout" });
    await clock.advance(10 * SECOND);
    await refused;
  });
});
