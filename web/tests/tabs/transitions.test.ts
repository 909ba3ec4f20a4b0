import { describe, expect, it } from "vitest";
import { noLink } from "../../src/errors.js";
import { callsWakeAt, noCalls, transitionCalls } from "../../src/tabs/calls.js";
import {
  coming,
  type GroupEvent,
  type GroupState,
  groupWakesAt,
  transitionGroup,
} from "../../src/tabs/group.js";
import type { Body } from "../../src/tabs/messages.js";
import { noWants } from "../../src/tabs/wants.js";
import { deferred } from "../../src/timing.js";

const START = 1_000_000;

/** Runs events one after the other, on frozen states; returns the last state, and all effects. */
function play(events: readonly (readonly [now: number, ...GroupEvent])[], isVisible = true) {
  let state: GroupState = Object.freeze(coming("me", noWants));
  const did: (readonly unknown[])[] = [];
  for (const [now, ...event] of events) {
    const around = { now: START + now, deviceNow: START + now, isVisible };
    const [after, effects] = transitionGroup(state, event, around);
    state = Object.freeze(after);
    did.push(...effects);
  }
  return { state, did, names: did.map(([name]) => name) };
}

const heard = (now: number, from: string, body: Body) =>
  [now, "received", { ...body, from }] as const;
const stats = { lostAt: 0, clockSkewMs: 0 };

describe("a tab in its group", () => {
  it("says hello and asks for the lock when its own is held, and not before", () => {
    const early = heard(0, "one", { kind: "lead", term: 5 });
    expect(play([early]).did).toEqual([]);
    const { did, state } = play([early, [1, "enter"], [2, "enter"]]);
    expect(did).toEqual([["post", { kind: "hello", wants: noWants }], ["contend"]]);
    expect(state).toMatchObject({ role: "following", leaderId: "" });
  });

  it("leads with a term above each that it has heard", () => {
    const term = START + 60_000;
    const led = heard(1, "one", { kind: "lead", term });
    const { state, did } = play([[0, "enter"], led, [2, "granted"]]);
    expect(state).toMatchObject({ role: "leading", leaderId: "me", term: term + 1 });
    expect(did).toContainEqual(["post", { kind: "lead", term: term + 1 }]);
  });

  it("asks a silent leader twice, then steals the lock, then asks again", () => {
    const led = heard(0, "one", { kind: "here", term: 5, stats });
    const checks = [5_000, 7_500, 10_000, 15_000].map((now) => [now, "tick"] as const);
    const { names, state } = play([[0, "enter"], led, ...checks]);
    expect(names).toEqual(["post", "contend", "led", "measure", "post", "post", "steal", "post"]);
    expect(groupWakesAt(state)).toBe(START + 17_500);
    const hidden = play([[0, "enter"], led], false);
    expect(groupWakesAt(hidden.state)).toBe(START + 30_000);
  });

  it("asks nothing of one that answers, and nothing of itself", () => {
    const led = heard(0, "one", { kind: "lead", term: 5 });
    const here = heard(5_100, "one", { kind: "here", term: 5, stats });
    const { state } = play([[0, "enter"], led, [5_000, "tick"], here]);
    expect(state.checks).toBe(0);
    expect(groupWakesAt(state)).toBe(START + 10_100);
    const own = play([
      [0, "enter"],
      [1, "granted"],
    ]);
    expect(groupWakesAt(own.state)).toBe(Number.POSITIVE_INFINITY);
  });

  it("gives way to a leader of a later term, and to no other", () => {
    const own = [
      [0, "enter"],
      [1, "granted"],
    ] as const;
    const before = heard(2, "one", { kind: "lead", term: START });
    expect(play([...own, before]).state.role).toBe("leading");
    const later = heard(2, "one", { kind: "lead", term: START + 9 });
    const { state, names } = play([...own, later]);
    expect(state).toMatchObject({ role: "following", leaderId: "one", isRobbed: false });
    expect(names).toContain("resign");
  });

  it("goes alone when it was robbed and hears no leader", () => {
    const { state, names } = play([
      [0, "enter"],
      [1, "granted"],
      [2, "robbed"],
      [3_000, "tick"],
      [6_000, "tick"],
    ]);
    expect(state.role).toBe("alone");
    expect(names.slice(-4)).toEqual(["release", "isolate", "lead", "led"]);
  });

  it("does nothing that was asked of it long ago", () => {
    const at = START - 10_000;
    const call = { kind: "call", id: 1, call: ["setStatus", "busy", undefined] } as const;
    const own = [
      [0, "enter"],
      [1, "granted"],
    ] as const;
    const { names } = play([...own, heard(2, "one", { ...call, at })]);
    expect(names).not.toContain("run");
    expect(play([...own, heard(2, "one", { ...call, at: at + 10 })]).names).toContain("run");
  });

  it("is out for good when it has left", () => {
    const { state, names } = play([
      [0, "enter"],
      [1, "leave"],
      [2, "granted"],
      [3, "tick"],
    ]);
    expect(state.role).toBe("out");
    expect(names.slice(-3)).toEqual(["post", "release", "isolate"]);
  });
});

describe("calls of a tab", () => {
  const answer = deferred<never>();
  const send = ["send", "lobby", "Hello", "mine-1"] as const;
  const publish = ["request", "POST /chat-sessions/lobby/messages", {}] as const;

  it("wait for a leader, a message for half a minute", () => {
    const [waiting, none] = transitionCalls(noCalls, ["call", send, answer], { now: 0 });
    expect(none).toEqual([]);
    expect(callsWakeAt(waiting)).toBe(30_000);
    const [, late] = transitionCalls(waiting, ["tick"], { now: 30_000 });
    expect(late).toEqual([["reject", answer, noLink()]]);
    const [asked, now] = transitionCalls(waiting, ["led"], { now: 1 });
    expect(now).toEqual([["ask", 1, send]]);
    expect(callsWakeAt(asked)).toBe(Number.POSITIVE_INFINITY);
  });

  it("are asked again of another leader, if they may be done twice", () => {
    let [state] = transitionCalls(noCalls, ["led"], { now: 0 });
    for (const call of [send, publish])
      [state] = transitionCalls(state, ["call", call, answer], { now: 0 });
    const [after, effects] = transitionCalls(state, ["led"], { now: 1 });
    expect(effects.map(([name]) => name)).toEqual(["ask", "reject"]);
    const [done, told] = transitionCalls(after, ["answered", 1, "value", undefined], { now: 2 });
    expect(told).toEqual([["resolve", answer, "value"]]);
    expect(done.pending.size).toBe(0);
    expect(transitionCalls(done, ["answered", 1, "again", undefined], { now: 3 })[1]).toEqual([]);
  });
});
