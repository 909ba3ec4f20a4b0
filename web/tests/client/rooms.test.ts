import { describe, expect, it } from "vitest";
import type { ServerFrame } from "../../src/protocol.js";
import { connected, type Scene, SECOND } from "./setup.js";

const TICK = 2 * SECOND;

/** Ada is in a lobby with so many others; it is large beyond five. */
async function lobby(others: number) {
  const set = await connected({ globalPresence: false, largeAudience: 5 });
  for (let number = 0; number < others; number += 1) set.server.join(`user-${number}`, "lobby");
  const chat = set.client.joinChatSession("lobby");
  await set.clock.advance(TICK);
  return { ...set, members: () => chat.members.get() };
}

/** A frame of the lobby, as it may come late or twice. */
function tell({ server }: Scene, fields: object): void {
  const frame = { type: "chat-session-members", chatSessionId: "lobby", joined: [], left: [] };
  server.connections[0]?.send({ ...frame, ...fields } as unknown as ServerFrame);
}

describe("a large room", () => {
  it("is counted by its ticks, and shows some of its members", async () => {
    const { server, clock, members } = await lobby(8);
    expect(members()).toMatchObject({ count: 9, state: "joined", fresh: true });
    server.join("zoe", "lobby");
    server.leave("user-3", "lobby");
    expect(members().count).toBe(9);
    await clock.advance(TICK);
    expect(members().count).toBe(9);
    expect(members().userIds).toContain("zoe");
    expect(members().userIds).not.toContain("user-3");
  });

  it("does not tell how its members are, so those that are shown are watched", async () => {
    const { client, server, clock, got } = await lobby(8);
    const seen: unknown[] = [];
    client.user("user-1").subscribe(() => seen.push(client.user("user-1").get()?.status));
    await clock.settle();
    expect(got("watch")).toMatchObject([{ userIds: ["user-1"] }]);
    server.user("user-1", { status: "busy" });
    await clock.settle();
    expect(seen.at(-1)).toBe("busy");
  });

  it("is not read to its end by each user who joins", async () => {
    const { server, members } = await lobby(80);
    expect(members()).toMatchObject({ count: 81 });
    expect(members().userIds.length).toBeLessThan(81);
    expect(server.requests.filter(({ path }) => path.endsWith("/members"))).toEqual([]);
  });

  it("forgets members it showed first, because not all who leave are named", async () => {
    const { server, clock, members } = await lobby(60);
    for (let number = 0; number < 90; number += 1) server.join(`guest-${number}`, "lobby");
    await clock.advance(TICK);
    for (let number = 90; number < 130; number += 1) server.join(`guest-${number}`, "lobby");
    await clock.advance(TICK);
    expect(members().userIds).toHaveLength(100);
    expect(members().userIds).toContain("guest-129");
    expect(members().count).toBe(191);
  });

  it("is right whatever comes late or twice", async () => {
    const set = await lobby(8);
    const now = set.server.now();
    tell(set, { memberCount: 12, sampled: true, asOf: now + 2 });
    tell(set, { memberCount: 11, sampled: true, asOf: now + 1 });
    tell(set, { memberCount: 12, sampled: true, asOf: now + 2, left: ["user-1"] });
    await set.clock.settle();
    expect(set.members().count).toBe(12);
    expect(set.members().userIds).not.toContain("user-1"); // one count may take several frames
  });

  it("is known whole again when it is small, and old counts of it are not believed", async () => {
    const set = await lobby(6);
    for (const number of [0, 1, 2]) set.server.leave(`user-${number}`, "lobby");
    set.server.join("grace", "lobby");
    for (const number of [3, 4]) set.server.leave(`user-${number}`, "lobby");
    await set.clock.advance(TICK);
    expect(set.got("join")).toHaveLength(2);
    expect(set.members()).toMatchObject({ userIds: ["ada", "grace", "user-5"], count: 3 });
    const ended = set.server.now();

    await set.clock.advance(1);
    set.server.join("linus", "lobby");
    await set.clock.settle();
    tell(set, { memberCount: 3, asOf: ended });
    tell(set, { memberCount: 9, sampled: true, asOf: ended - TICK });
    await set.clock.settle();
    expect(set.members().count).toBe(4);
    expect(set.got("join")).toHaveLength(2);
  });
});
