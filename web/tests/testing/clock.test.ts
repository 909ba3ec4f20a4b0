import { describe, expect, test, vi } from "vitest";
import { createFakePresence } from "../../src/testing/index.js";

const START = Date.UTC(2027, 0, 15, 8);

describe("advance", () => {
  test("runs what is due in order, each at its time", async () => {
    const { clock } = createFakePresence();
    const ran: string[] = [];
    const note = (name: string) => () => ran.push(`${name} ${clock.now() - START}`);
    clock.after(20, note("second"));
    clock.after(10, note("first"));
    clock.after(20, note("third"));
    clock.after(31, note("later"));

    await clock.advance(30);

    expect(ran).toEqual(["first 10", "second 20", "third 20"]);
    expect(clock.now()).toBe(START + 30);
  });

  test("lets a chain of promises settle between two timers", async () => {
    const { clock, options } = createFakePresence();
    const ran: string[] = [];
    clock.after(10, () => {
      void options
        .fetch("https://presence.test/api/user-status/config")
        .then((response) => response.json())
        .then(() => clock.after(5, () => ran.push(`from the chain ${clock.now() - START}`)));
    });
    clock.after(20, () => ran.push("timer 20"));

    await clock.advance(20);

    expect(ran).toEqual(["from the chain 15", "timer 20"]);
  });

  test("of nothing runs what is due at this moment", async () => {
    const { clock } = createFakePresence();
    const run = vi.fn();
    clock.after(0, run);
    await clock.settle();
    expect(run).not.toHaveBeenCalled();
    await clock.advance(0);
    expect(run).toHaveBeenCalledOnce();
  });

  test("twice at once is one after the other", async () => {
    const { clock } = createFakePresence();
    await Promise.all([clock.advance(10), clock.advance(10)]);
    expect(clock.now()).toBe(START + 20);
  });

  test("passes on what a timer throws, and goes on afterwards", async () => {
    const { clock } = createFakePresence();
    clock.after(1, () => {
      throw new Error("from a timer");
    });
    await expect(clock.advance(5)).rejects.toThrow("from a timer");
    await clock.advance(5);
    expect(clock.now()).toBe(START + 6);
  });

  test("is for time that can pass", () => {
    const { clock } = createFakePresence();
    for (const milliseconds of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => clock.advance(milliseconds)).toThrow(RangeError);
      expect(() => clock.sleep(milliseconds)).toThrow(RangeError);
    }
    expect(() => clock.set(0)).toThrow(RangeError);
  });

  test("works beside a test runner's own fake timers", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "setInterval", "queueMicrotask", "Date"] });
    try {
      const { clock } = createFakePresence();
      const run = vi.fn();
      clock.after(10, run);
      await clock.advance(10);
      expect(run).toHaveBeenCalledOnce();
    } finally {
      vi.useRealTimers();
    }
  });

  test("works where there is no MessageChannel", async () => {
    vi.stubGlobal("MessageChannel", undefined);
    try {
      const { clock, options } = createFakePresence();
      const read = vi.fn();
      void options
        .fetch("https://presence.test/api/user-status/config")
        .then((response) => response.json())
        .then(read);
      await clock.settle();
      expect(read).toHaveBeenCalledOnce();
    } finally {
      vi.unstubAllGlobals();
    }
  });
});

test("a timer that was stopped does not run", async () => {
  const { clock } = createFakePresence();
  const run = vi.fn();
  clock.after(10, run)();
  await clock.advance(20);
  expect(run).not.toHaveBeenCalled();
});

test("after a sleep, timers are due, and run at the time of waking", async () => {
  const { clock } = createFakePresence();
  const ran: number[] = [];
  clock.after(1_000, () => ran.push(clock.now() - START));

  clock.sleep(60_000);
  await clock.settle();
  expect(ran).toEqual([]);
  expect(clock.now()).toBe(START + 60_000);

  await clock.advance(0);
  expect(ran).toEqual([60_000]);
});

test("set sleeps until an instant", () => {
  const { clock } = createFakePresence();
  clock.set(START + 5_000);
  expect(clock.now()).toBe(START + 5_000);
});

test("a device's clock may be wrong; its timers are not", async () => {
  const { clock, server } = createFakePresence();
  const ran: number[] = [];
  clock.shift(-90_000);
  clock.after(1_000, () => ran.push(clock.now()));
  await clock.advance(1_000);
  expect(server.now()).toBe(START + 1_000);
  expect(ran).toEqual([START + 1_000 - 90_000]);
});

test("the random numbers are the same in every run, and from 0 to 1", () => {
  const [one, other] = [createFakePresence().options, createFakePresence().options];
  const numbers = Array.from({ length: 100 }, one.random);
  expect(numbers).toEqual(Array.from({ length: 100 }, other.random));
  expect(numbers.every((number) => number >= 0 && number < 1)).toBe(true);
  expect(new Set(numbers).size).toBe(100);
});

test("a lifecycle tells what changes", () => {
  const { lifecycle } = createFakePresence();
  const heard: string[] = [];
  const stop = lifecycle.subscribe((event) => heard.push(event));
  lifecycle.setOnline(true);
  lifecycle.setOnline(false);
  lifecycle.setVisible(false);
  lifecycle.emit("activity");
  expect(heard).toEqual(["offline", "hidden", "activity"]);
  expect([lifecycle.isOnline(), lifecycle.isVisible(), lifecycle.listenerCount]).toEqual([
    false,
    false,
    1,
  ]);
  stop();
  lifecycle.emit("online");
  expect(heard).toHaveLength(3);
  expect(lifecycle.listenerCount).toBe(0);
});
