import { describe, expect, it, vi } from "vitest";
import { MINUTE, SECOND, scene } from "./setup.js";

describe("tokens", () => {
  it("asks for one once, however many need it", async () => {
    const asked = vi.fn(({ userId }) => fake.server.tokenFor(userId));
    const fake = scene({}, { getToken: (context) => asked(context) });
    fake.client.authenticate("ada");
    fake.client.request("GET /online/count");
    fake.client.request("GET /grace");
    await fake.clock.settle();
    expect(asked.mock.calls.map(([context]) => context.reason)).toEqual(["reconnect"]);
    expect(fake.state()).toBe("ready");
  });

  it("renews it before it ends, on the same connection", async () => {
    const reasons: string[] = [];
    const fake = scene(
      {},
      {
        getToken: ({ userId, reason }) => {
          reasons.push(reason);
          return fake.server.tokenFor(userId, { ttlSeconds: 600 });
        },
      },
    );
    fake.client.authenticate("ada");
    await fake.clock.advance(30 * MINUTE);
    expect(reasons).toEqual(["first", "expiring", "expiring", "expiring"]);
    expect(fake.gaps()).toBe(0);
    expect(fake.got("authenticate")).toHaveLength(4);
  });

  it("goes on with the old one while no new one can be had, and then begins anew", async () => {
    let isDown = false;
    const fake = scene(
      {},
      {
        getToken: ({ userId }) => {
          if (isDown) throw new Error("503");
          return fake.server.tokenFor(userId, { ttlSeconds: 600 });
        },
      },
    );
    fake.client.authenticate("ada");
    await fake.clock.settle();
    isDown = true;
    await fake.clock.advance(10 * MINUTE);
    expect(fake.state()).toBe("ready");
    await fake.clock.advance(2 * MINUTE);
    expect(fake.client.connection.get()).toMatchObject({
      name: expect.stringMatching("recovering|connecting"),
    });
    isDown = false;
    await fake.clock.advance(MINUTE);
    expect(fake.state()).toBe("ready");
  });

  it("asks for another one when the first is refused, and gives up when that is, too", async () => {
    const reasons: string[] = [];
    const fake = scene({}, { getToken: ({ reason }) => `garbage-${reasons.push(reason)}` });
    const refused = expect(fake.client.authenticate("ada")).rejects.toMatchObject({
      code: "token-invalid",
    });
    await fake.clock.advance(MINUTE);
    await refused;
    expect(reasons).toEqual(["first", "rejected"]);
    expect(fake.client.connection.get()).toMatchObject({ name: "failed" });
  });

  it("asks once more when the one instead of a refused one has ended before it was used", async () => {
    let cuts = 0;
    const set = scene(
      {},
      {
        getToken: ({ userId, reason }) => {
          if (reason === "rejected" && !cuts++) set.network.cut();
          return set.server.tokenFor(userId, { ttlSeconds: 60 });
        },
      },
    );
    set.client.authenticate("ada");
    await set.clock.settle();
    set.server.revoke("ada", "token-expired");
    set.server.dropAll();
    await set.clock.advance(3 * MINUTE);
    expect(set.state()).toBe("recovering");
    set.network.restore();
    await set.clock.advance(MINUTE);
    expect(set.state()).toBe("ready");
  });

  it("uses one that is given while the link goes down on the next link", async () => {
    const { client, server, network, clock } = scene();
    client.authenticate("ada", server.tokenFor("ada"));
    await clock.settle();
    network.blackHole();
    const welcome = client.authenticate("ada", server.tokenFor("ada"));
    await clock.advance(11 * SECOND);
    network.restore();
    await clock.advance(MINUTE);
    expect((await welcome).userId).toBe("ada");
    expect(client.connection.get().name).toBe("ready");
  });

  it("takes a token that is given once, and says so when it has ended", async () => {
    const { client, server, clock } = scene();
    client.authenticate("ada", server.tokenFor("ada", { ttlSeconds: 60 }));
    await clock.settle();
    expect(client.connection.get().name).toBe("ready");
    await clock.advance(2 * MINUTE);
    expect(client.connection.get()).toMatchObject({
      name: "failed",
      error: { code: "token-expired" },
    });
    client.authenticate("ada", server.tokenFor("ada"));
    await clock.settle();
    expect(client.connection.get().name).toBe("ready");
  });

  it("renews on the same connection with a token that it is given", async () => {
    const { client, server, clock, got } = scene();
    client.authenticate("ada", server.tokenFor("ada"));
    await clock.settle();
    await client.authenticate("ada", server.tokenFor("ada", { ttlSeconds: 60 }));
    expect(server.connections).toHaveLength(1);
    expect(got("authenticate")).toHaveLength(2);
    await expect(client.authenticate("ada", "garbage")).rejects.toMatchObject({
      code: "token-invalid",
    });
    expect(client.connection.get().name).toBe("ready");
  });

  it("lets a local stack make one, and says what to do in front of another", async () => {
    const local = scene({ developmentTokens: true }, { getToken: undefined as never });
    local.client.authenticate("ada");
    await local.clock.settle();
    expect(local.state()).toBe("ready");

    const deployed = scene({}, { getToken: undefined as never });
    const refused = expect(deployed.client.authenticate("ada")).rejects.toThrow(/getToken/);
    await deployed.clock.settle();
    await refused;
  });

  it("waits 30 s for a provider, and tells it when it need not go on", async () => {
    let signal: AbortSignal | undefined;
    const { client, clock } = scene(
      {},
      {
        getToken: (context) => {
          signal = context.signal;
          return new Promise(() => {});
        },
      },
    );
    client.authenticate("ada");
    await clock.advance(29 * SECOND);
    expect(client.connection.get().name).toBe("connecting");
    await clock.advance(SECOND);
    expect(client.connection.get().name).toBe("recovering");
    expect(signal?.aborted).toBe(false);
    client.disconnect();
    expect(signal?.aborted).toBe(true);
  });
});
