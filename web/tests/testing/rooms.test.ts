import { describe, expect, test } from "vitest";
import { createFakePresence } from "../../src/testing/index.js";
import { type AnyFrame, Device } from "./device.js";

const LOBBY = { chatSessionId: "lobby" };
const TICK_MS = 2_000;

/** Ada listens to a lobby with so many members besides her; it is large beyond five. */
async function lobby(others: number) {
  const fake = createFakePresence({ largeAudience: 5 });
  const ada = await Device.of(fake, "ada");
  await ada.ask({ action: "join", ...LOBBY });
  for (let number = 0; number < others; number += 1) fake.server.join(`user-${number}`, "lobby");
  await fake.clock.advance(TICK_MS);
  ada.clear();
  return { ...fake, ada };
}

const names = (presences: readonly AnyFrame[]) => presences.map(({ userId }) => userId);

describe("a large room", () => {
  test("is told once a tick how many there are, and of some who came or went", async () => {
    const { server, clock, ada } = await lobby(4);
    for (const name of ["grace", "alan"]) server.join(name, "lobby");
    server.leave("user-0", "lobby");
    await clock.settle();
    expect(ada.heard).toEqual([]);
    await clock.advance(TICK_MS);

    expect(ada.heard).toMatchObject([
      { type: "chat-session-members", left: ["user-0"], memberCount: 6, sampled: true },
    ]);
    expect(names(ada.heard[0]?.joined)).toEqual(["grace", "alan"]);
    expect(ada.heard[0]?.asOf).toBe(server.now());
  });

  test("says so to a user who joins, and gives the rest in pages", async () => {
    const { server, ada } = await lobby(8);
    const joined = await ada.ask({ action: "join", ...LOBBY });

    expect(joined).toMatchObject({ memberCount: 9, sampled: true });
    expect(joined.asOf).toBeLessThanOrEqual(server.now());
  });

  test("hears no status of its members, no typing, and every message", async () => {
    const { server, clock, ada } = await lobby(8);
    server.user("user-1", { status: "busy" });
    server.type("user-1", "lobby");
    server.say("user-1", "lobby", "hi");
    await clock.settle();
    expect(ada.heard).toMatchObject([{ type: "new-message", content: "hi" }]);
  });

  test("does not name a user who hides from a viewer", async () => {
    const { server, clock, ada } = await lobby(8);
    server.user("shy");
    server.block("shy", "user-1");
    server.join("shy", "lobby");
    await clock.advance(TICK_MS);

    expect(ada.heard).toMatchObject([{ joined: [], left: [], memberCount: 10 }]);
  });

  test("is small again below four fifths, and says so", async () => {
    const { server, clock, ada } = await lobby(5);
    server.leave("user-0", "lobby");
    server.leave("user-1", "lobby");
    await clock.advance(TICK_MS);
    server.leave("user-2", "lobby");
    await clock.advance(TICK_MS);
    server.leave("user-3", "lobby");
    await clock.settle();

    expect(ada.heard.map(({ memberCount, sampled }) => [memberCount, sampled])).toEqual([
      [4, true],
      [3, undefined],
      [2, undefined],
    ]);
    const instants = ada.heard.map(({ asOf }) => asOf);
    expect(instants).toEqual([...new Set(instants)].sort());
  });
});
