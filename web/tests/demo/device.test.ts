import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { PageClock, Surroundings } from "../../demo/device.js";
import { createFakePresence } from "../../src/testing/index.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("the clock of a page", () => {
  test("runs what falls due while it stood still when it goes on", () => {
    const clock = new PageClock();
    const ran: string[] = [];
    clock.after(10, () => ran.push("first"));
    clock.after(20, () => ran.push("second"));
    const forget = clock.after(15, () => ran.push("forgotten"));
    clock.stop();
    vi.advanceTimersByTime(50);
    expect(ran).toEqual([]);
    forget();
    clock.go();
    expect(ran).toEqual(["first", "second"]);
  });

  test("keeps what other tabs say until the page goes on", () => {
    const clock = new PageClock();
    const heard: string[] = [];
    clock.run(() => heard.push("at once"));
    clock.stop();
    clock.run(() => heard.push("later"));
    expect(heard).toEqual(["at once"]);
    clock.go();
    expect(heard).toEqual(["at once", "later"]);
  });

  test("keeps time otherwise", () => {
    const clock = new PageClock();
    const run = vi.fn();
    clock.after(10, run);
    clock.stop();
    clock.go();
    vi.advanceTimersByTime(10);
    expect(run).toHaveBeenCalledOnce();
    expect(clock.now()).toBe(Date.now());
  });
});

describe("the surroundings of a page", () => {
  function setUp() {
    const browser = createFakePresence().lifecycle;
    const surroundings = new Surroundings(browser);
    const heard: string[] = [];
    surroundings.subscribe((event) => heard.push(event));
    return { browser, surroundings, heard };
  }

  test("have a person who touches something each second while they are there", () => {
    const { surroundings, heard } = setUp();
    vi.advanceTimersByTime(2_000);
    surroundings.isAttended = false;
    vi.advanceTimersByTime(2_000);
    expect(heard).toEqual(["activity", "activity"]);
    surroundings.end();
  });

  test("pass on the browser's network and its coming and going, and nothing of its person", () => {
    const { browser, surroundings, heard } = setUp();
    for (const event of ["offline", "online", "hidden", "activity", "leaving", "resume"] as const)
      browser.emit(event);
    expect(heard).toEqual(["offline", "online", "leaving", "resume"]);
    surroundings.end();
    expect(browser.listenerCount).toBe(0);
  });

  test("tell once when the tab is hidden, and when it is seen again", () => {
    const { surroundings, heard } = setUp();
    surroundings.show(true);
    surroundings.show(false);
    surroundings.show(false);
    expect(surroundings.isVisible()).toBe(false);
    surroundings.show(true);
    expect(heard).toEqual(["hidden", "visible"]);
    surroundings.end();
  });
});
