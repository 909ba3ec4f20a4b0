// The client in Node, against a deployed local stack: PRESENCE_STACK names its stack.json, and
// PRESENCE_PRIVATE_STACK that of one without GlobalPresence, whose connections last for 10 s.

import { describe, expect, it } from "vitest";
import WebSocket from "ws";
import type { SocketLike } from "../../src/index.js";
import { GRACE_MS, join, joinThrough, LEASE_MS, name, stackAt, TRAVEL_MS, until } from "./setup.js";

describe("two people", () => {
  it("see each other, type, talk and leave", async () => {
    const stack = stackAt("PRESENCE_STACK");
    const [ada, grace] = [join(stack), join(stack)];
    const success = await ada.authenticate(name("ada"));
    expect(success.presence.status).toBe("online");
    await grace.authenticate(name("grace"));
    await until(ada.onlineUsers, ({ userIds }) => userIds.includes(name("grace")));

    await grace.setStatus("busy", { text: "Writing" });
    await until(ada.user(name("grace")), (it) => it?.status === "busy" && it.text === "Writing");

    const [mine, hers] = [ada, grace].map((it) => it.joinChatSession(name("room")));
    if (!mine || !hers) throw new Error("There are two.");
    await until(mine.members, ({ userIds }) => userIds.length === 2);
    await until(hers.members, ({ userIds }) => userIds.length === 2);
    hers.keystroke();
    await until(mine.typing, (ids) => ids.includes(name("grace")));
    const heard = new Promise((resolve) => mine.onMessage(resolve));
    const sent = await hers.send({ text: "Hello" });
    expect(await heard).toEqual({ ...sent, id: undefined });
    await until(mine.typing, (ids) => !ids.length);

    expect(await ada.request(`GET /${name("grace")}`)).toMatchObject({ status: "busy" });
    grace.disconnect();
    await until(ada.user(name("grace")), (it) => !it?.isOnline, GRACE_MS + TRAVEL_MS);
    await until(mine.members, ({ userIds }) => userIds.length === 1);
  });
});

describe("a network", () => {
  it("that is cut is noticed at once, and what was missed is known when it is back", async () => {
    const stack = stackAt("PRESENCE_STACK");
    const { client: ada, network } = joinThrough(stack);
    const grace = join(stack);
    await Promise.all([ada.authenticate(name("ada")), grace.authenticate(name("grace"))]);
    const others = grace.user(name("ada"));
    const seen: unknown[] = [];
    await until(others, (it) => it?.isOnline);
    others.subscribe(() => seen.push(others.get()?.status));
    await until(ada.user(name("grace")), (it) => it?.fresh);

    const cutAt = performance.now();
    network.set("cut");
    await until(ada.connection, (it) => it.name === "recovering");
    const noticedMs = performance.now() - cutAt;
    expect(ada.user(name("grace")).get()).toMatchObject({ status: "online", fresh: false });
    await grace.setStatus("dnd");

    network.set("works");
    const backAt = performance.now();
    ada.retryNow();
    await until(ada.user(name("grace")), (it) => it?.status === "dnd" && it.fresh);
    const freshMs = performance.now() - backAt;
    expect(seen).toEqual([]); // back within the grace period
    console.info(JSON.stringify({ noticedMs, freshMs }));
  });

  it("that swallows everything is noticed by what is not answered", async () => {
    const stack = stackAt("PRESENCE_STACK");
    const { client: ada, network } = joinThrough(stack);
    await ada.authenticate(name("ada"));
    const holeAt = performance.now();
    network.set("black-hole");
    ada.setStatus("busy").catch(() => {}); // lost with its link, and told to the next one
    await until(ada.connection, (it) => it.name === "recovering", LEASE_MS + TRAVEL_MS);
    console.info(JSON.stringify({ silenceMs: performance.now() - holeAt }));
    network.set("works");
    await until(ada.connection, (it) => it.name === "ready", 3 * TRAVEL_MS);
  });
});

describe("without GlobalPresence", () => {
  it("a user in sight is watched, and a connection is followed by the next unseen", async () => {
    const stack = stackAt("PRESENCE_PRIVATE_STACK");
    const sockets: SocketLike[] = [];
    class Counted extends WebSocket {
      constructor(url: string) {
        super(url);
        sockets.push(this);
      }
    }
    const ada = join(stack, { WebSocket: Counted });
    const grace = join(stack);
    await Promise.all([ada.authenticate(name("ada")), grace.authenticate(name("grace"))]);
    const room = ada.joinChatSession(name("room"));
    const others = grace.user(name("ada"));
    others.subscribe(() => undefined); // in sight from here on: without a subscriber it is unwatched
    await until(others, (it) => it?.isOnline);
    await until(ada.user(name("grace")), (it) => it?.isOnline);
    await until(room.members, (it) => it.fresh);
    const changes: unknown[] = [];
    others.subscribe(() => changes.push(others.get()));
    ada.on("resync", (gap) => changes.push(gap));
    ada.connection.subscribe(() => {
      if (ada.connection.get().name !== "ready") changes.push(ada.connection.get());
    });
    const stale = () => changes.push(room.members.get());
    room.members.subscribe(() => room.members.get().fresh || stale());

    const first = sockets[0] as SocketLike;
    await expect.poll(() => first.readyState, { timeout: 20_000 }).toBe(WebSocket.CLOSED);
    expect(sockets.length).toBeGreaterThan(1);
    await grace.setStatus("away");
    await until(ada.user(name("grace")), (it) => it?.status === "away");
    const heard = new Promise((resolve) => room.onMessage(resolve));
    await room.send("through the next one");
    expect(await heard).toMatchObject({ content: "through the next one" });
    expect(changes).toEqual([]);
  });
});
