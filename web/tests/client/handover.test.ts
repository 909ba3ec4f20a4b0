import { describe, expect, it } from "vitest";
import { connected, MINUTE, SECOND, states } from "./setup.js";

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
