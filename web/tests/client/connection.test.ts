import { describe, expect, it, vi } from "vitest";
import { PresenceError } from "../../src/index.js";
import { connected, MINUTE, SECOND, scene, states } from "./setup.js";

describe("connecting", () => {
  it("does nothing before it authenticates", async () => {
    const { client, server, clock } = scene();
    client.joinChatSession("lobby");
    client.user("grace").subscribe(() => {});
    client.onlineUsers.subscribe(() => {});
    await clock.advance(MINUTE);
    expect(client.connection.get()).toEqual({ name: "idle" });
    expect(server.requests).toEqual([]);
    expect(server.received).toEqual([]);
  });

  it("finds everything else from one address", async () => {
    const { client, server, clock } = scene();
    const seen = states(client);
    const success = client.authenticate("ada");
    await clock.settle();
    expect(await success).toMatchObject({ type: "authentication-success", userId: "ada" });
    expect(seen).toEqual(["connecting", "authenticating", "ready"]);
    expect(server.requests.map((it) => it.route)).toEqual(["GET /config"]);
    expect(server.presence("ada").isOnline).toBe(true);
  });

  it("authenticates before anything else is sent, however early it was asked for", async () => {
    const { client, clock, actions } = scene();
    client.setStatus("busy");
    client.joinChatSession("lobby").send("Hello");
    client.chatSession("lobby").keystroke();
    client.onlineUsers.subscribe(() => {});
    client.authenticate("ada");
    await clock.settle();
    expect(actions()[0]).toBe("authenticate");
    expect(actions().sort()).toEqual(["authenticate", "message", "online", "status"]);
  });

  it("names its user and device, and whether the user is there", async () => {
    const { got } = await connected({}, { device: "laptop" });
    expect(got("authenticate")[0]).toMatchObject({ userId: "ada", device: "laptop", active: true });
  });

  it("makes one connection however often the same is asked", async () => {
    const { client, server, clock } = scene();
    const all = [client.authenticate("ada"), client.authenticate("ada")];
    await clock.settle();
    await Promise.all([...all, client.authenticate("ada")]);
    expect(server.connections).toHaveLength(1);
  });

  it("becomes another user without a trace of the first", async () => {
    const { client, server, clock } = await connected({ users: [{ userId: "grace" }] });
    client.onlineUsers.subscribe(() => {});
    await clock.settle();
    expect(client.user("grace").get()?.isOnline).toBe(true);
    client.authenticate("linus");
    expect(client.user("grace").get()).toBeUndefined();
    expect(client.me.get().presence).toBeUndefined();
    await clock.settle();
    expect(server.connections.map((it) => it.userId)).toEqual(["linus"]);
    expect(client.me.get().presence?.userId).toBe("linus");
  });

  it("leaves nothing behind when it is disconnected", async () => {
    const { client, server, clock, lifecycle } = await connected();
    const status = scene().client.setStatus("busy");
    client.disconnect();
    await clock.advance(10 * MINUTE);
    expect(client.connection.get()).toEqual({ name: "closed" });
    expect(server.connections).toEqual([]);
    expect(lifecycle.listenerCount).toBe(0);
    expect(status).toBeInstanceOf(Promise);
  });

  it("tells the others at once when the user leaves on purpose", async () => {
    const { client, server, clock, actions } = await connected();
    client.disconnect({ atOnce: true });
    await clock.settle();
    expect(actions().at(-1)).toBe("leave");
    expect(server.presence("ada").isOnline).toBe(false);
    expect(server.connections).toEqual([]);
    expect(client.connection.get()).toEqual({ name: "closed" });
  });

  it("closes at once when it is disconnected, and leaves the grace period", async () => {
    const { client, server, clock, network } = await connected();
    client.disconnect();
    await clock.settle();
    expect(server.presence("ada").isOnline).toBe(true);
    client.authenticate("ada");
    await clock.settle();
    network.freeze();
    client.disconnect({ atOnce: true });
    expect(client.connection.get()).toEqual({ name: "closed" });
    await clock.advance(MINUTE);
    network.restore();
    await clock.advance(MINUTE);
    expect(server.connections).toEqual([]);
  });

  it("rejects what waits when it is disconnected", async () => {
    const { client } = scene();
    const waiting = client.authenticate("ada");
    const choice = client.setStatus("busy");
    client.disconnect();
    await expect(waiting).rejects.toMatchObject({ code: "closed", isRetryable: false });
    await expect(choice).rejects.toBeInstanceOf(PresenceError);
  });

  it("can be used again after it was disconnected", async () => {
    const { client, clock, state } = await connected();
    client.disconnect();
    client.authenticate("ada");
    await clock.settle();
    expect(state()).toBe("ready");
  });

  it("does not go on without a server that speaks its protocol", async () => {
    const { client, server, clock } = scene();
    server.answer("GET /config", {
      body: { protocol: 2, webSocketUrl: "wss://presence.test/live" },
    });
    const refused = expect(client.authenticate("ada")).rejects.toMatchObject({
      code: "protocol-mismatch",
    });
    await clock.settle();
    await refused;
    expect(client.connection.get().name).toBe("failed");
  });
});

describe("coming back", () => {
  it("waits longer and longer, at random, and never longer than 30 s", async () => {
    const { client, network, clock } = await connected();
    const waits: number[] = [];
    client.connection.subscribe(() => {
      const state = client.connection.get();
      if (state.name === "recovering") waits.push(state.retryAt - clock.now());
    });
    network.cut();
    await clock.advance(5 * MINUTE);
    expect(waits.slice(0, 8)).toEqual([250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
  });

  it("begins with the shortest wait when it was connected for long enough", async () => {
    const { client, server, clock } = await connected();
    const attempts: number[] = [];
    client.connection.subscribe(() => {
      const state = client.connection.get();
      if (state.name === "recovering") attempts.push(state.attempt);
    });
    for (let round = 0; round < 3; round += 1) {
      server.dropAll();
      await clock.advance(5 * SECOND);
    }
    await clock.advance(11 * SECOND);
    server.dropAll();
    await clock.settle();
    expect(attempts).toEqual([1, 2, 3, 1]);
  });

  it("tries at once when the app asks, the page is shown, or the network is back", async () => {
    for (const cause of ["retryNow", "visible", "online", "resume"] as const) {
      const { client, network, clock, lifecycle, state } = await connected();
      network.cut();
      await clock.advance(MINUTE);
      network.restore();
      await clock.settle();
      expect(state()).toBe("recovering");
      if (cause === "retryNow") client.retryNow();
      else lifecycle.emit(cause);
      await clock.settle();
      expect(state()).toBe("ready");
    }
  });

  it("waits while the browser knows of no network, and says so all the time", async () => {
    const { client, network, server, clock, lifecycle, state, gaps } = await connected();
    network.cut();
    lifecycle.setOnline(false);
    const seen = states(client);
    await clock.advance(10 * MINUTE);
    expect(new Set(seen)).toEqual(new Set(["offline"]));
    expect(seen.length).toBeLessThan(30);
    expect(state()).toBe("offline");
    expect(gaps()).toBe(0);
    network.restore();
    lifecycle.setOnline(true);
    await clock.settle();
    expect(state()).toBe("ready");
    expect(server.connections).toHaveLength(1);
  });

  it("finds a network that the browser does not know of: at once, and when it has waited", async () => {
    const { client, network, clock, lifecycle, state } = scene();
    lifecycle.setOnline(false);
    client.authenticate("ada");
    await clock.settle();
    expect(state()).toBe("ready");
    lifecycle.emit("offline");
    network.cut();
    client.retryNow();
    await clock.settle();
    expect(state()).toBe("offline");
    network.restore();
    await clock.advance(45 * SECOND);
    expect(state()).toBe("ready");
  });

  it("opens nothing while the page is left, whatever the network does", async () => {
    const { client, server, clock, lifecycle } = await connected();
    lifecycle.emit("leaving");
    await clock.advance(10 * MINUTE);
    expect(server.connections).toEqual([]);
    expect(client.connection.get()).toEqual({ name: "offline" });
  });

  it("closes the link when the page is left, and makes one when it is shown again", async () => {
    const { server, clock, lifecycle, state } = await connected();
    lifecycle.emit("leaving");
    await clock.settle();
    expect(server.connections).toEqual([]);
    lifecycle.emit("resume");
    await clock.settle();
    expect(state()).toBe("ready");
  });

  it("says when all is known again", async () => {
    const { client, server, clock } = await connected();
    const since: number[] = [];
    client.on("resync", (gap) => since.push(gap.since));
    const lostAt = clock.now();
    server.dropAll();
    await clock.advance(SECOND);
    expect(since).toEqual([lostAt]);
  });

  it("goes by what the server asks for", async () => {
    const { client, server, clock, state } = scene();
    server.refuse("authenticate", { code: "rate-limited", retryAfterSeconds: 20 });
    client.authenticate("ada");
    await clock.settle();
    expect(client.connection.get()).toMatchObject({
      name: "recovering",
      reason: "server",
      retryAt: clock.now() + 20_250,
      error: { code: "rate-limited" },
    });
    await clock.advance(21 * SECOND);
    expect(state()).toBe("ready");
  });

  it("asks for the address again when a connection could not be made", async () => {
    const { client, server, clock, state } = scene();
    server.refuse("connect", { code: "unavailable" });
    client.authenticate("ada");
    await clock.advance(SECOND);
    expect(state()).toBe("ready");
    expect(server.requests.map((it) => it.route)).toEqual(["GET /config", "GET /config"]);
  });

  it("outlives an address that does not answer", async () => {
    const { client, network, clock, state } = scene();
    network.blackHole();
    client.authenticate("ada");
    await clock.advance(11 * SECOND);
    network.restore();
    await clock.advance(10 * SECOND);
    expect(state()).toBe("ready");
  });

  it("comes back when the server has forgotten its connection, though the socket is open", async () => {
    const { client, server, clock, state, got, gaps } = await connected();
    const first = server.connections[0]?.connectionId;
    server.refuse("ping", { code: "not-authenticated" });
    await clock.advance(MINUTE);
    expect(state()).toBe("ready");
    expect(got("authenticate")).toHaveLength(2);
    expect(server.connections.map((it) => it.connectionId)).not.toContain(first);
    expect(gaps()).toBe(1);

    server.refuse("status", { code: "not-authenticated" });
    const choice = client.setStatus("busy");
    await clock.advance(MINUTE);
    await choice;
    expect(got("authenticate")).toHaveLength(3);
    expect(client.me.get().presence?.status).toBe("busy");
  });

  it("stays away when it is told to", async () => {
    const { client, server, clock } = await connected();
    server.connections[0]?.closing("kicked");
    await clock.advance(10 * MINUTE);
    expect(client.connection.get()).toMatchObject({ name: "failed", error: { code: "kicked" } });
    expect(server.connections).toEqual([]);
  });

  it("comes back when it is told to, and when", async () => {
    const { client, server, clock, state } = await connected();
    server.connections[0]?.closing("authentication-timeout", 30);
    await clock.settle();
    expect(client.connection.get()).toMatchObject({ name: "recovering", reason: "server" });
    await clock.advance(29 * SECOND);
    expect(state()).toBe("recovering");
    await clock.advance(2 * SECOND);
    expect(state()).toBe("ready");
  });
});

describe("listeners", () => {
  it("may end it in the moment when it begins", async () => {
    const { client, server, clock } = scene();
    client.on("authentication-success", async () => {
      await null;
      client.disconnect();
    });
    client.authenticate("ada").catch(() => {});
    await clock.advance(3 * MINUTE);
    expect(client.connection.get()).toEqual({ name: "closed" });
    expect(server.connections).toEqual([]);
  });

  it("hear every frame, and no token", async () => {
    const { client, clock } = scene();
    const wire: string[] = [];
    client.on("wire", (it) => wire.push(JSON.stringify(it)));
    client.authenticate("ada");
    await clock.settle();
    expect(wire[0]).toMatch(/"out".*"token":"…"/);
    expect(wire[1]).toMatch(/"in".*"authentication-success"/);
  });

  it("are left alone after their signal", async () => {
    const { client, clock } = scene();
    const controller = new AbortController();
    const heard: unknown[] = [];
    client.on("wire", (it) => heard.push(it), controller);
    controller.abort();
    client.authenticate("ada");
    await clock.settle();
    expect(heard).toEqual([]);
  });

  it("are never called for a signal that was aborted before", async () => {
    const { client, clock } = scene();
    const heard: unknown[] = [];
    client.on("wire", (it) => heard.push(it), { signal: AbortSignal.abort() });
    client.authenticate("ada");
    await clock.settle();
    expect(heard).toEqual([]);
  });

  it("are forgotten by the signal when they are taken back, and each alone", async () => {
    const { client, clock } = scene();
    const { signal } = new AbortController();
    const added = vi.spyOn(signal, "addEventListener");
    const removed = vi.spyOn(signal, "removeEventListener");
    const heard: unknown[] = [];
    const listener = (it: unknown) => heard.push(it);
    const off = client.on("authentication-success", listener, { signal });
    client.on("authentication-success", listener);
    off();
    expect(removed.mock.calls.map((it) => it[1])).toEqual(added.mock.calls.map((it) => it[1]));
    client.authenticate("ada");
    await clock.settle();
    expect(heard).toHaveLength(1);
  });

  it("do not stop anything when they throw", async () => {
    const log = vi.spyOn(console, "error").mockImplementation(() => {});
    const { client, clock, state } = scene();
    client.on("authentication-success", () => {
      throw new Error("theirs");
    });
    client.connection.subscribe(() => {
      throw new Error("theirs");
    });
    client.authenticate("ada");
    await clock.settle();
    expect(state()).toBe("ready");
    expect(log).toHaveBeenCalled();
    log.mockRestore();
  });

  it("get frames of unknown types, which do no harm", async () => {
    const { server, clock, state, gaps } = await connected();
    for (const text of ["{", "[]", "null", '{"message":"Internal server error"}', '{"type":"new"}'])
      server.connections[0]?.send(text);
    await clock.settle();
    expect(state()).toBe("ready");
    expect(gaps()).toBe(0);
  });
});

describe("a connection that another one has replaced", () => {
  async function replaced() {
    const found = await connected();
    found.server.connections[0]?.closing("replaced");
    await found.clock.advance(MINUTE);
    return found;
  }

  it("does not come back by itself, or the two would take turns", async () => {
    const { client, got, lifecycle, clock } = await replaced();
    expect(client.connection.get()).toMatchObject({ name: "failed", error: { code: "replaced" } });
    for (const event of ["hidden", "offline", "online", "activity"] as const) lifecycle.emit(event);
    await clock.advance(MINUTE);
    expect(got("authenticate")).toHaveLength(1);
  });

  it("comes back when the page is shown again, or a person asks", async () => {
    const shown = await replaced();
    shown.lifecycle.emit("hidden");
    shown.lifecycle.emit("visible");
    await shown.clock.settle();
    expect(shown.state()).toBe("ready");

    const asked = await replaced();
    asked.client.retryNow();
    await asked.clock.settle();
    expect(asked.state()).toBe("ready");
  });
});
