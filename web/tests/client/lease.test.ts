import { describe, expect, it } from "vitest";
import { connected, MINUTE, SECOND, states } from "./setup.js";

describe("the lease", () => {
  it("is kept by a ping every 30 s, counted from when it was sent", async () => {
    const { server, clock, got } = await connected({ latencyMs: 0 });
    await clock.advance(10 * MINUTE);
    expect(got("ping")).toHaveLength(20);
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

  it("notices a dead link before the others do", async () => {
    const { client, server, network, clock } = await connected();
    await clock.advance(20 * SECOND);
    network.blackHole();
    const seen = states(client);
    const others: boolean[] = [];
    client.connection.subscribe(() => others.push(server.presence("ada").isOnline));
    await clock.advance(75 * SECOND);
    expect(seen[0]).toBe("recovering");
    expect(others[0]).toBe(true);
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
