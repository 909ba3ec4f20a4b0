// Beside the other stories, because it waits for the sweep.

import { describe, expect, it } from "vitest";
import { type Clock, systemClock } from "../../src/index.js";
import { join, LEASE_MS, name, SWEEP_MS, stackAt, TRAVEL_MS, until } from "./setup.js";

describe("a device that sleeps", () => {
  it("is offline for the others when its lease has run out, and back when it wakes", async () => {
    const stack = stackAt("PRESENCE_STACK");
    const asleep = new Set<() => void>();
    let isAsleep = false;
    // Timers of a device that sleeps wait until it wakes.
    const clock: Clock = {
      now: systemClock.now,
      after: (ms, run) => systemClock.after(ms, () => (isAsleep ? asleep.add(run) : run())),
    };
    const phone = join(stack, { clock });
    const grace = join(stack);
    await Promise.all([phone.authenticate(name("ada")), grace.authenticate(name("grace"))]);
    const others = grace.user(name("ada"));
    await until(others, (it) => it?.isOnline);

    isAsleep = true;
    await until(others, (it) => !it?.isOnline, LEASE_MS + SWEEP_MS + TRAVEL_MS);
    expect(await grace.request(`GET /${name("ada")}`)).toMatchObject({ isOnline: false });
    isAsleep = false;
    for (const run of asleep) run();
    await until(others, (it) => it?.isOnline, 2 * TRAVEL_MS);
    // The others may hear of it before the device has its own answer.
    await until(phone.connection, (it) => it.name === "ready");
  }, 90_000);
});
