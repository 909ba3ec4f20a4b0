import { describe, expect, it } from "vitest";
import { connected, MINUTE, SECOND, scene } from "./setup.js";

describe("one's own data", () => {
  it("are replaced and patched, and others see them", async () => {
    const { client, server, clock, got } = await connected();
    await client.setData({ name: "Ada", at: { page: "/" } });
    await client.patchData({ name: null, at: { page: "/inbox", line: 4 } });
    await clock.settle();
    const data = { at: { page: "/inbox", line: 4 } };
    expect(got("data")).toMatchObject([{ data: { name: "Ada" } }, { patch: { name: null } }]);
    expect(client.me.get().presence?.data).toEqual(data);
    expect(server.presence("ada").data).toEqual(data);
  });

  it("of others come with their presence, and only the newest", async () => {
    const { client, server, clock } = await connected();
    const grace = client.user("grace");
    grace.subscribe(() => {});
    server.user("grace", { data: { page: "/" } });
    server.user("grace", { data: { page: "/inbox" } });
    await clock.settle();
    expect(grace.get()?.data).toEqual({ page: "/inbox" });
    server.user("grace", { status: "invisible" });
    await clock.settle();
    expect(grace.get()).not.toHaveProperty("data");
  });

  it("go with a status in one frame", async () => {
    const { client, server, got } = await connected();
    await client.setStatus("busy", { data: { page: "/call" } });
    expect(got("status")).toMatchObject([{ status: "busy", data: { page: "/call" } }]);
    expect(server.presence("ada")).toMatchObject({ status: "busy", data: { page: "/call" } });
  });

  it("wait for a link, in their order, and new ones take the place of those that wait", async () => {
    const { client, server, network, clock, got } = await connected();
    network.cut();
    await clock.settle();
    const changes = [
      client.patchData({ lost: true }),
      client.setData({ page: "/" }),
      client.patchData({ mood: "fine" }),
      client.patchData({ page: null }),
    ];
    network.restore();
    await clock.advance(SECOND);
    await Promise.all(changes);
    expect(got("data").map(({ data, patch }) => data ?? patch)).toEqual([
      { page: "/" },
      { mood: "fine" },
      { page: null },
    ]);
    expect(server.presence("ada").data).toEqual({ mood: "fine" });
  });

  it("may be said before there is a user", async () => {
    const { client, server, clock } = scene();
    const said = client.setData({ page: "/" });
    client.authenticate("ada");
    await clock.settle();
    await said;
    expect(server.presence("ada").data).toEqual({ page: "/" });
  });

  it("are told one after the other", async () => {
    const { client, server, clock, got } = await connected();
    server.answer("data", { delayMs: SECOND });
    const all = [client.patchData({ a: 1 }), client.patchData({ b: 2 }), client.setData({ c: 3 })];
    await clock.settle();
    expect(got("data")).toHaveLength(1);
    await clock.advance(SECOND);
    await Promise.all(all);
    // What waited behind the first is in no one's way any more.
    expect(got("data").map(({ data, patch }) => data ?? patch)).toEqual([{ a: 1 }, { c: 3 }]);
  });

  it("are said again when the link went down before the answer", async () => {
    const { client, server, clock, got } = await connected();
    server.answer("data", "swallow");
    const change = client.patchData({ page: "/" });
    await clock.settle();
    server.dropAll();
    await clock.advance(SECOND);
    await change;
    expect(got("data")).toHaveLength(2);
    expect(server.presence("ada").data).toEqual({ page: "/" });
  });

  it("are kept by the server over reconnects, and not said again", async () => {
    const { client, server, clock, got } = await connected();
    await client.setData({ page: "/" });
    server.dropAll();
    await clock.advance(MINUTE);
    expect(got("data")).toHaveLength(1);
    expect(client.me.get().presence?.data).toEqual({ page: "/" });
  });

  it("that are refused reject, and the next ones are told", async () => {
    const { client, server } = await connected();
    const refused = client.setData({ a: "x".repeat(1_024) });
    const next = client.patchData({ b: 1 });
    await expect(refused).rejects.toMatchObject({ code: "payload-too-large" });
    await next;
    expect(server.presence("ada").data).toEqual({ b: 1 });
  });

  it("that wait are rejected when there will be no link", async () => {
    const client = scene().another("phone", { apiUrl: "localhost:4000" });
    const change = client.setData({ name: "Ada" });
    client.authenticate("ada");
    await expect(change).rejects.toMatchObject({ code: "api-url-invalid" });
  });

  it("that wait are rejected by a disconnect, and are not those of the next user", async () => {
    const { client, server, clock, network } = await connected();
    network.cut();
    await clock.settle();
    const change = client.setData({ name: "Ada" });
    client.disconnect();
    await expect(change).rejects.toMatchObject({ code: "closed" });
    network.restore();
    client.authenticate("grace");
    await clock.advance(SECOND);
    expect(server.presence("grace").data).toBeUndefined();
  });
});
