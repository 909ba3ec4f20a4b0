// What happens by itself as time passes.

import { describe, expect, it } from "vitest";
import { connected, MINUTE, SECOND, states } from "./setup.js";

describe("the lease", () => {
  it("is kept by a ping every 30 s, counted from when it was sent", async () => {
    const { server, clock, got } = await connected({ latencyMs: 0 });
    await clock.advance(9 * MINUTE);
    expect(got("ping")).toHaveLength(18);
    const times = server.received.filter((it) => it.frame.action === "ping").map((it) => it.at);
    expect(new Set(times.slice(1).map((at, n) => at - (times[n] ?? 0)))).toEqual(new Set([30_000]));
  });

  it("is kept by what was served, too", async () => {
    const { client, clock, got } = await connected();
    const lobby = client.joinChatSession("lobby");
    for (let round = 0; round < 20; round += 1) {
      await clock.advance(20 * SECOND);
      await lobby.send(`No. ${round}`);
    }
    expect(got("ping")).toHaveLength(0);
  });

  it("is kept though some pings are refused: the others see no one leave", async () => {
    const { server, clock, got } = await connected();
    const seen: boolean[] = [];
    server.refuse("ping", { code: "unavailable", retryAfterSeconds: 2 }, 3);
    for (let at = 0; at < 150; at += 1) {
      await clock.advance(SECOND);
      seen.push(server.presence("ada").isOnline);
    }
    expect(got("ping").length).toBeGreaterThan(5);
    expect(new Set(seen)).toEqual(new Set([true]));
  });

  it("is kept by a ping every nine minutes while the page is hidden", async () => {
    const { server, clock, lifecycle, got } = await connected({}, { autoAway: {} });
    lifecycle.setVisible(false);
    await clock.advance(5 * MINUTE);
    const sent = () => got("ping").length + got("check").length;
    const before = sent();
    expect(server.presence("ada").status).toBe("away");
    for (let minute = 0; minute < 60; minute += 1) {
      await clock.advance(MINUTE);
      expect(server.presence("ada").isOnline).toBe(true);
    }
    expect(sent() - before).toBe(7);
    lifecycle.setVisible(true);
    await clock.advance(SECOND);
    expect(server.presence("ada").status).toBe("online");
    const foreground = sent();
    await clock.advance(5 * MINUTE - SECOND);
    expect(sent() - foreground).toBe(10);
  });

  it.each([30, 60, 70, 540])(
    "is kept by the timers of a hidden page, which run once a minute: %s s",
    async (heartbeatSeconds) => {
      const beats = { heartbeatSeconds, backgroundHeartbeatSeconds: heartbeatSeconds };
      const { server, clock, lifecycle } = await connected(beats, { autoAway: {} });
      lifecycle.setVisible(false);
      await clock.advance(2 * MINUTE);
      for (let minute = 0; minute < 60; minute += 1) {
        clock.sleep(MINUTE - 5);
        expect(server.presence("ada").isOnline).toBe(true);
        await clock.advance(5);
      }
    },
  );

  it("of a second device is a slow one, until the first one goes", async () => {
    const { server, clock, got, another } = await connected({ heartbeatSeconds: 60 });
    const phone = another();
    phone.authenticate("ada");
    await clock.advance(10 * MINUTE);
    const told = got("check").filter((it) => it.heartbeatSeconds === 540);
    expect(told).toHaveLength(1);
    expect(server.presence("ada").isOnline).toBe(true);
    for (const { userId, close } of server.connections) if (userId === "ada") close();
    await clock.advance(MINUTE);
    expect(server.presence("ada").isOnline).toBe(true);
  });

  it("notices a dead link after twenty minutes of silence, if nothing else tells of it", async () => {
    const { client, network, clock } = await connected();
    network.blackHole();
    const seen = states(client);
    await clock.advance(20 * MINUTE);
    expect(seen).toEqual([]);
    await clock.advance(MINUTE);
    expect(seen[0]).toBe("recovering");
  });

  it("notices it within 10 s when an answer is awaited", async () => {
    const { client, server, network, clock } = await connected();
    network.blackHole();
    const choice = client.setStatus("busy");
    await clock.advance(10 * SECOND);
    expect(client.connection.get()).toMatchObject({ name: "recovering", reason: "silence" });
    network.restore();
    await clock.advance(MINUTE);
    await choice; // the next link was told
    expect(server.presence("ada").status).toBe("busy");
  });

  it("makes a new link at once after a sleep that was longer", async () => {
    const { client, server, clock, lifecycle, state } = await connected();
    const first = server.connections[0]?.connectionId;
    clock.sleep(10 * MINUTE);
    lifecycle.emit("resume");
    expect(client.user("ada").get()?.fresh).toBe(false);
    await clock.settle();
    expect(state()).toBe("ready");
    expect(server.connections.map((it) => it.connectionId)).not.toContain(first);
  });

  it("asks whether the link still works after a shorter one", async () => {
    const { network, clock, lifecycle, state, client } = await connected();
    network.blackHole();
    clock.sleep(40 * SECOND);
    lifecycle.emit("visible");
    await clock.advance(5 * SECOND);
    expect(client.connection.get()).toMatchObject({ name: "recovering", reason: "silence" });
    network.restore();
    await clock.advance(MINUTE);
    expect(state()).toBe("ready");
  });

  it("is told by stats", async () => {
    const { client, clock } = await connected();
    expect(client.stats().leaseEndsAt).toBe(clock.now() + 75 * SECOND);
    client.disconnect();
    expect(client.stats().leaseEndsAt).toBeUndefined();
  });
});

describe("the handover before the server's cut", () => {
  it("happens without a blink, for oneself and for the others", async () => {
    const { client, server, clock, another, gaps } = await connected({ globalPresence: false });
    const grace = another("phone");
    grace.authenticate("grace");
    const seenByGrace: unknown[] = [];
    grace.user("ada").subscribe(() => seenByGrace.push(grace.user("ada").get()?.status));
    const lobby = client.joinChatSession("lobby");
    client.user("grace").subscribe(() => {});
    await clock.settle();
    seenByGrace.length = 0;
    const seen = states(client);
    const fresh: unknown[] = [];
    client.user("grace").subscribe(() => fresh.push(client.user("grace").get()?.fresh));
    lobby.members.subscribe(() => fresh.push(lobby.members.get().fresh));
    const before = server.connections.find((it) => it.userId === "ada")?.connectionId;

    await clock.advance(119 * MINUTE);
    const after = server.connections.filter((it) => it.userId === "ada");
    expect(after).toHaveLength(1);
    expect(after[0]?.connectionId).not.toBe(before);
    expect(seen.filter((it) => it !== "ready")).toEqual([]);
    expect(fresh).not.toContain(false);
    expect(seenByGrace).toEqual([]);
    expect(gaps()).toBe(0);

    const heard: unknown[] = [];
    lobby.onMessage((message) => heard.push(message.content));
    server.say("grace", "lobby", "Well?");
    await clock.settle();
    expect(heard).toEqual(["Well?"]);
  });

  it("loses no message on the way, and tells none twice", async () => {
    const { client, server, clock } = await connected();
    const lobby = client.joinChatSession("lobby");
    const heard: unknown[] = [];
    lobby.onMessage((message) => heard.push(message.content));
    await clock.advance(117 * MINUTE);
    for (let second = 0; second < 120; second += 1) {
      server.say("grace", "lobby", second);
      await clock.advance(SECOND);
    }
    expect(heard).toEqual(Array.from({ length: 120 }, (_, second) => second));
  });

  it("is spread over a minute, so that not all come at once", async () => {
    const times = [0, 0.99].map(async (luck) => {
      const { server, clock, got } = await connected({}, { random: () => luck });
      const from = clock.now();
      await clock.advance(120 * MINUTE - SECOND);
      expect(got("authenticate")).toHaveLength(2);
      const times = server.received.filter((it) => it.frame.action === "authenticate");
      return (times[1]?.at ?? 0) - from;
    });
    const [late = 0, early = 0] = await Promise.all(times);
    expect(late - early).toBeGreaterThan(55 * SECOND);
    expect(late).toBe(119 * MINUTE);
  });

  it("leaves nothing behind for the next user", async () => {
    const { client, server, clock } = await connected();
    let connections = 1;
    while (connections === 1) {
      await clock.advance(SECOND);
      connections = server.connections.length;
    }
    client.authenticate("linus");
    await clock.settle();
    expect(server.connections.map((it) => it.userId)).toEqual(["linus"]);
  });

  it("is tried again when it fails, and the old link is good meanwhile", async () => {
    const { server, clock, state, gaps } = await connected();
    server.refuse("connect", { code: "unavailable" }, 3);
    await clock.advance(119 * MINUTE + 50 * SECOND);
    expect(state()).toBe("ready");
    expect(gaps()).toBe(0);
    await clock.advance(5 * MINUTE);
    expect(gaps()).toBe(0);
  });
});

describe("whether the user is there", () => {
  const attentive = { autoAway: {} };

  it("is told after 5 minutes without a touch, and at once when they are back", async () => {
    const { client, server, clock, lifecycle } = await connected({}, attentive);
    await clock.advance(4 * MINUTE);
    lifecycle.emit("activity");
    await clock.advance(4 * MINUTE);
    expect(server.presence("ada").status).toBe("online");
    await clock.advance(MINUTE);
    expect(server.presence("ada").status).toBe("away");
    expect(client.me.get().isActive).toBe(false);
    lifecycle.emit("activity");
    await clock.settle();
    expect(server.presence("ada").status).toBe("online");
  });

  it("is told after a minute in a hidden tab", async () => {
    const { server, clock, lifecycle } = await connected({}, attentive);
    lifecycle.setVisible(false);
    await clock.advance(59 * SECOND);
    expect(server.presence("ada").status).toBe("online");
    await clock.advance(SECOND);
    expect(server.presence("ada").status).toBe("away");
    lifecycle.setVisible(true);
    await clock.settle();
    expect(server.presence("ada").status).toBe("online");
  });

  it("does not come back by a screen that turns itself off", async () => {
    const { client, server, clock, lifecycle } = await connected({}, attentive);
    await clock.advance(6 * MINUTE);
    expect(server.presence("ada").status).toBe("away");
    lifecycle.setVisible(false);
    await clock.settle();
    expect(server.presence("ada").status).toBe("away");
    expect(client.me.get().isActive).toBe(false);
  });

  it("does not blink when a hidden tab connects again", async () => {
    const { server, clock, lifecycle, another } = await connected({}, attentive);
    const grace = another();
    grace.authenticate("grace");
    const seen: unknown[] = [];
    grace.user("ada").subscribe(() => seen.push(grace.user("ada").get()?.status));
    lifecycle.setVisible(false);
    await clock.advance(2 * MINUTE);
    server.connections.find((it) => it.userId === "ada")?.close();
    await clock.advance(3 * MINUTE);
    expect(new Set(seen)).toEqual(new Set(["online", "away"]));
    expect(seen.at(-1)).toBe("away");
  });

  it("never changes what was chosen", async () => {
    const { client, server, clock, lifecycle } = await connected({}, attentive);
    client.setStatus("busy");
    lifecycle.setVisible(false);
    await clock.advance(2 * MINUTE);
    expect(server.presence("ada").status).toBe("busy");
  });

  it("is not told where autoAway is off", async () => {
    const { server, clock, lifecycle } = await connected({}, { autoAway: false });
    lifecycle.setVisible(false);
    await clock.advance(20 * MINUTE);
    expect(server.presence("ada").status).toBe("online");
  });
});
