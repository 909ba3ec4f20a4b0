// The clock of the device is set while the page is open.

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "../../src/index.js";
import { connected, MINUTE, type Scene, SECOND, scene } from "./setup.js";

/** Time passes for the device, by its own timers, and for the server. */
async function pass({ clock }: Scene, milliseconds: number): Promise<void> {
  for (let left = milliseconds; left > 0; left -= SECOND) {
    await vi.advanceTimersByTimeAsync(SECOND);
    await clock.advance(SECOND);
  }
}

const setBack = (milliseconds: number) => vi.setSystemTime(Date.now() - milliseconds);

describe("a clock that is set back", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  async function ready(): Promise<Scene> {
    const set = scene({ now: Date.now() }, { clock: systemClock });
    set.client.authenticate("ada");
    await pass(set, 10 * SECOND);
    expect(set.state()).toBe("ready");
    return set;
  }

  it("holds up no ping: the others see no one leave", async () => {
    const set = await ready();
    setBack(10 * MINUTE);
    await pass(set, 3 * MINUTE);
    expect(set.got("ping")).toHaveLength(6);
    expect(set.got("authenticate")).toHaveLength(1);
  });

  it("holds up no reconnect", async () => {
    const set = await ready();
    set.server.refuse("connect", { code: "unavailable" }, 2);
    set.server.dropAll();
    await pass(set, SECOND);
    expect(set.state()).toBe("recovering");
    setBack(60 * MINUTE);
    await pass(set, 10 * SECOND);
    expect(set.state()).toBe("ready");
  });

  it("moves no end that the app gives a status, and no time of the server that it reads", async () => {
    const set = await ready();
    setBack(60 * MINUTE);
    await pass(set, SECOND);
    set.client.setStatus("busy", { until: Date.now() + 5 * MINUTE });
    await pass(set, SECOND);
    const [{ until = 0 } = {}] = set.got("status");
    expect(Math.abs(until - set.server.now() - 5 * MINUTE)).toBeLessThan(5 * SECOND);
    const now = Date.now() + set.client.stats().clockSkewMs;
    expect(Math.abs(now - set.server.now())).toBeLessThan(5 * SECOND);
  });
});

it("a clock that is set forward hides no one who types, after the next pong", async () => {
  const { client, server, clock } = await connected();
  const lobby = client.joinChatSession("lobby");
  await clock.settle();
  clock.shift(MINUTE);
  await clock.advance(2 * MINUTE);
  server.type("grace", "lobby");
  await clock.settle();
  expect(lobby.typing.get()).toEqual(["grace"]);
});
