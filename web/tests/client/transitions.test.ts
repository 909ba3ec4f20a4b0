/** The pure transitions, without a server, a socket or a clock. */

import { describe, expect, it } from "vitest";
import { transitionChatSession, unjoined, wanted } from "../../src/core/chat-session.js";
import {
  type LinkEvent,
  type LinkState,
  linkWakesAt,
  openingLink,
  transitionLink,
} from "../../src/core/link.js";
import { changed, joined, type MembersState, noMembers } from "../../src/core/members.js";
import { nothingChosen, transitionOwnStatus } from "../../src/core/own-status.js";
import {
  transitionUserLink,
  type UserLinkEvent,
  userLinkWakesAt,
} from "../../src/core/user-link.js";
import { type UserLinkState, unconnected } from "../../src/core/user-link-steps.js";
import { PresenceError } from "../../src/errors.js";
import type { AuthenticationSuccess, ClientFrame, ServerFrame } from "../../src/protocol.js";
import { deferred } from "../../src/timing.js";
import { MINUTE, SECOND } from "./setup.js";

/** The same numbers from 0 to 1 each time (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const terms: AuthenticationSuccess = {
  type: "authentication-success",
  userId: "ada",
  connectionId: "c1",
  onlineCount: 1,
  heartbeatSeconds: 30,
  leaseSeconds: 75,
  serverTime: 0,
  tokenExpiresAt: 240 * MINUTE,
  connectionExpiresAt: 120 * MINUTE,
  presence: { userId: "ada", status: "online", isOnline: true, lastSeen: null, version: 1 },
  chatSessions: [],
};

const pong = (heartbeatSeconds: number, id = "1"): ServerFrame => ({
  type: "pong",
  id,
  serverTime: 0,
  heartbeatSeconds,
});

describe("a link", () => {
  /** The effects' names of events at these times. */
  function run(...events: [now: number, ...event: LinkEvent][]) {
    let state = openingLink(0);
    const effects = events.map(([now, ...event]) => {
      const [next, todo] = transitionLink(state, event, { now, isActive: true });
      state = next;
      return todo.map(([name, first]) => (name === "down" ? `${name} ${first}` : name));
    });
    return { state, effects };
  }

  const frames = (...events: [now: number, ...event: LinkEvent][]) => {
    let state = openingLink(0);
    return events.flatMap(([now, ...event]) => {
      const [next, todo] = transitionLink(state, event, { now, isActive: true });
      state = next;
      return todo.flatMap((effect) => (effect[0] === "transmit" ? [effect[1]] : []));
    });
  };

  it("pings at each heartbeat, and says whose it is", () => {
    const { state, effects } = run([0, "accepted", terms], [30 * SECOND, "tick"]);
    expect(effects).toEqual([[], ["transmit"]]);
    expect(state.questions).toEqual([]);
    expect(linkWakesAt(state)).toBe(60 * SECOND);
    expect(frames([0, "accepted", terms], [30 * SECOND, "tick"])).toEqual([
      { action: "ping", userId: "ada", active: true, heartbeatSeconds: 30 },
    ]);
  });

  it("asks for an answer when it is doubted, or after twenty minutes without a frame", () => {
    const beats = Array.from({ length: 40 }, (_, n): [number, "tick"] => [
      (n + 1) * 30 * SECOND,
      "tick",
    ]);
    const quiet = frames([0, "accepted", terms], ...beats);
    expect(quiet.map(({ action }) => action)).toEqual([...Array(39).fill("ping"), "check"]);
    expect(frames([0, "accepted", terms], [SECOND, "beat", true])).toEqual([
      { action: "check", userId: "ada", active: true, heartbeatSeconds: 30, id: "1" },
    ]);
  });

  describe("when a ping is refused", () => {
    const refusal = (code: string, retryAfterSeconds?: number, action = "ping") =>
      ({ type: "error", action, code, message: "", retryAfterSeconds }) as ServerFrame;
    const nameless = { type: "error", code: "unavailable", message: "" } as ServerFrame;
    const begin: [number, ...LinkEvent][] = [
      [0, "accepted", terms],
      [30 * SECOND, "tick"],
    ];

    it.each([
      ["as it is told", refusal("rate-limited", 7), 7],
      ["after a second", refusal("internal"), 1],
      ["a heartbeat later at the latest", refusal("unavailable", 60), 30],
      ["also if the gateway names none", nameless, 1],
    ])("sends it again %s", (_, frame, seconds) => {
      const { state } = run(...begin, [31 * SECOND, "received", frame]);
      expect(linkWakesAt(state)).toBe((31 + seconds) * SECOND);
      expect(state.leaseFrom).toBe(0);
      const again = run(...begin, [31 * SECOND, "received", frame], [linkWakesAt(state), "tick"]);
      expect(again.effects.at(-1)).toEqual(["transmit"]);
      expect(again.state.leaseFrom).toBe(linkWakesAt(state));
    });

    it("sends it again before the lease ends", () => {
      const slow = { ...terms, heartbeatSeconds: 60, leaseSeconds: 90 };
      const { state } = run(
        [0, "accepted", slow],
        [60 * SECOND, "tick"],
        [61 * SECOND, "received", refusal("unavailable", 50)],
      );
      expect(linkWakesAt(state)).toBe(85 * SECOND);
    });

    it("waits longer each time, and begins anew after one that was not refused", () => {
      const waits: number[] = [];
      let [state] = transitionLink(openingLink(0), ["accepted", terms], { now: 0, isActive: true });
      for (let round = 0; round < 6; round += 1) {
        const now = linkWakesAt(state);
        [state] = transitionLink(state, ["tick"], { now, isActive: true });
        if (round === 4) continue;
        [state] = transitionLink(state, ["received", refusal("internal")], { now, isActive: true });
        waits.push((linkWakesAt(state) - now) / SECOND);
      }
      expect(waits).toEqual([1, 2, 4, 8, 1]);
    });

    it.each([
      ["that no repetition mends", refusal("forbidden")],
      ["of another action", refusal("unavailable", 1, "status")],
    ])("goes on as before after a refusal %s", (_, frame) => {
      const { state } = run(...begin, [31 * SECOND, "received", frame]);
      expect(linkWakesAt(state)).toBe(60 * SECOND);
    });

    it("does not take what was served since for refused", () => {
      const { state } = run(
        ...begin,
        [31 * SECOND, "ask", { action: "online" }, deferred<ServerFrame>()],
        [32 * SECOND, "received", { type: "ack", id: "1" }],
        [33 * SECOND, "received", refusal("internal")],
      );
      expect(state.leaseFrom).toBe(31 * SECOND);
    });

    it("does not take itself for asleep while the server is down", () => {
      const events: [number, ...LinkEvent][] = [];
      for (let at = 30; at < 300; at += 10)
        events.push([at * SECOND, "tick"], [at * SECOND, "received", refusal("unavailable", 2)]);
      expect(run(...begin, ...events).state.isDown).toBe(false);
    });
  });

  describe("changes its heartbeat", () => {
    const slow: AuthenticationSuccess = {
      ...terms,
      heartbeatSeconds: 60,
      backgroundHeartbeatSeconds: 540,
      leaseSeconds: 90,
    };
    type Told = readonly [now: number, event: LinkEvent, isActive?: boolean];

    /** What it sends, and when it wakes next, after events of a user who is there or not. */
    function life(...told: readonly Told[]) {
      let state = openingLink(0);
      const sent: object[] = [];
      for (const [seconds, event, isActive = true] of told) {
        const [next, todo] = transitionLink(state, event, { now: seconds * SECOND, isActive });
        state = next;
        for (const effect of todo) if (effect[0] === "transmit") sent.push(effect[1]);
      }
      return { state, sent, wakesAt: linkWakesAt(state) / SECOND };
    }

    const said = (active: boolean, heartbeatSeconds: number, id: string) =>
      ({ action: "check", userId: "ada", active, heartbeatSeconds, id }) as const;
    const answer = (id: string, heartbeatSeconds: number, leaseSeconds: number) =>
      ({ type: "pong", id, serverTime: 0, heartbeatSeconds, leaseSeconds }) as ServerFrame;
    const hide: readonly Told[] = [
      [0, ["accepted", slow]],
      [20, ["beat"], false],
      [20, ["received", answer("1", 540, 810)], false],
    ];

    it("says that the user has gone, and then pings rarely", () => {
      const { state, sent, wakesAt } = life(...hide);
      expect(sent).toEqual([said(false, 540, "1")]);
      expect(wakesAt).toBe(20 + 535);
      expect(state.leaseMs).toBe(810 * SECOND);
      const later = life(...hide, [555, ["tick"], false]);
      const ping = { action: "ping", userId: "ada", active: false, heartbeatSeconds: 540 };
      expect(later.sent.at(-1)).toEqual(ping);
    });

    it("says at once that the user is back", () => {
      const { sent, wakesAt } = life(
        ...hide,
        [21, ["beat"]],
        [21, ["received", answer("2", 60, 90)]],
      );
      expect(sent.at(-1)).toEqual(said(true, 60, "2"));
      expect(wakesAt).toBe(81);
    });

    it("waits until a ping is certainly handled, and for the answer to what it said before", () => {
      const begin: Told[] = [
        [0, ["accepted", slow]],
        [60, ["tick"]],
        [61, ["beat"], false],
      ];
      expect(life(...begin)).toMatchObject({ sent: [{ action: "ping" }], wakesAt: 62 });
      const hidden: Told[] = [...begin, [62, ["tick"], false], [63, ["beat"]]];
      expect(life(...hidden).sent.slice(1)).toEqual([said(false, 540, "1")]);
      const back: Told[] = [...hidden, [64, ["received", answer("1", 540, 810)]], [66, ["tick"]]];
      expect(life(...back).sent.slice(2)).toEqual([said(true, 60, "2")]);
    });

    it("obeys when it is told, and says so", () => {
      const told = { type: "heartbeat", heartbeatSeconds: 540, leaseSeconds: 810 } as const;
      const { sent, wakesAt } = life(
        [0, ["accepted", slow]],
        [10, ["received", told]],
        [10, ["received", answer("1", 540, 810)]],
      );
      expect(sent).toEqual([said(true, 540, "1")]);
      expect(wakesAt).toBe(550);
    });

    it("obeys an answer, but does not follow one that changes each time without a pause", () => {
      const events: Told[] = [
        [0, ["accepted", slow]],
        [5, ["beat", true]],
        [5, ["received", answer("1", 540, 810)]],
      ];
      expect(life(...events)).toMatchObject({ sent: [said(true, 60, "1")], wakesAt: 7 });
      expect(life(...events, [7, ["tick"]]).sent.at(-1)).toEqual(said(true, 540, "2"));
    });

    it("says it again if it is refused", () => {
      const refusal = { type: "error", id: "1", code: "rate-limited", message: "" } as ServerFrame;
      const begin: Told[] = [
        [0, ["accepted", slow]],
        [20, ["beat"], false],
        [20, ["received", refusal], false],
      ];
      expect(life(...begin).wakesAt).toBe(21);
      const again = life(...begin, [21, ["tick"], false]);
      expect(again.sent.at(-1)).toEqual(said(false, 540, "2"));
    });

    it("begins with what its authentication has said", () => {
      const frame: ClientFrame = {
        action: "authenticate",
        token: "t",
        active: false,
        heartbeatSeconds: 540,
      };
      const ask: Told = [0, ["ask", frame, deferred<ServerFrame>()], false];
      const begin: Told[] = [ask, [0, ["received", { ...slow, id: "1" }], false]];
      const { sent, wakesAt } = life(...begin, [0, ["accepted", slow], false]);
      expect([sent.length, wakesAt]).toEqual([1, 535]);
      // The user came back before it was accepted.
      expect(life(...begin, [0, ["accepted", slow]]).wakesAt).toBe(0);
    });

    it("keeps to the one of a server that knows no other", () => {
      const { sent, wakesAt } = life(
        [0, ["accepted", terms]],
        [20, ["beat"], false],
        [20, ["received", pong(30)], false],
      );
      expect(sent).toEqual([said(false, 30, "1")]);
      expect(wakesAt).toBe(47);
    });
  });

  it.each<[string, string, [number, ...LinkEvent][]]>([
    ["network", "the socket closes", [[0, "closed", "network"]]],
    ["sleep", "the lease has ended", [[76 * SECOND, "beat"]]],
    [
      "silence",
      "no frame answers",
      [
        [0, "beat", true],
        [5 * SECOND, "tick"],
      ],
    ],
    [
      "server",
      "its connection is unknown",
      [[0, "received", { type: "error", code: "not-authenticated", message: "" }]],
    ],
  ])("is down for good: %s, when %s", (reason, _, events) => {
    const late: [number, ...LinkEvent][] = [
      [80 * SECOND, "received", pong(1)],
      [80 * SECOND, "send", { action: "ping" }],
      [80 * SECOND, "ask", { action: "ping" }, deferred<ServerFrame>()],
    ];
    const { state, effects } = run([0, "accepted", terms], ...events, ...late);
    expect(effects.flat()).toContain(`down ${reason}`);
    expect(effects.slice(-3)).toEqual([[], [], ["reject"]]);
    expect(linkWakesAt(state)).toBe(Number.POSITIVE_INFINITY);
  });

  it("stays up when another frame came after the question, though no answer did", () => {
    const { state, effects } = run(
      [0, "ask", { action: "ping" }, deferred<ServerFrame>()],
      [SECOND, "received", pong(30, "of another question")],
      [10 * SECOND, "tick"],
    );
    expect(effects.at(-1)).toEqual(["reject"]);
    expect(state.isDown).toBe(false);
  });

  it("never changes the state that it was given", () => {
    const before: LinkState = Object.freeze(openingLink(0));
    transitionLink(before, ["accepted", terms], { now: 0, isActive: true });
    expect(before).toEqual(openingLink(0));
  });
});

describe("a user's link", () => {
  const usual = { now: 0, isOnline: true, canRenew: true, random: 0, backoff: () => SECOND };
  const refused = new PresenceError("token-invalid", "No.");
  const away = new PresenceError("not-connected", "No link.");
  const config = { webSocketUrl: "wss://x" } as never;

  function run(events: UserLinkEvent[], around: Partial<typeof usual> = {}, from = unconnected) {
    return events.reduce<{ state: UserLinkState; effects: string[] }>(
      ({ state, effects }, event) => {
        const [next, todo] = transitionUserLink(state, event, { ...usual, ...around });
        return { state: next, effects: [...effects, ...todo.map((it) => it.join(" "))] };
      },
      { state: from, effects: [] },
    );
  }

  const connecting: UserLinkEvent[] = [
    ["authenticate", false],
    ["configured", 1, config],
    ["provided", 1, "t"],
    ["opened", 1, "t"],
  ];
  const ready = run([...connecting, ["authenticated", 1, terms]]).state;

  it.each<[string, UserLinkEvent[], Partial<typeof usual>]>([
    ["connecting", [["authenticate", false]], {}],
    ["offline", [["authenticate", false]], { isOnline: false }],
    ["authenticating", connecting, {}],
    ["ready", [...connecting, ["authenticated", 1, terms]], {}],
    [
      "recovering",
      [
        ["authenticate", false],
        ["failed", 1, away],
      ],
      {},
    ],
    [
      "connecting",
      [
        ["authenticate", false],
        ["failed", 1, refused],
      ],
      {},
    ],
    [
      "failed",
      [
        ["authenticate", false],
        ["failed", 1, refused],
        ["failed", 2, refused],
      ],
      {},
    ],
    [
      "failed",
      [
        ["authenticate", false],
        ["failed", 1, refused],
      ],
      { canRenew: false },
    ],
    ["closed", [...connecting, ["disconnect"]], {}],
  ])("is %s after its events", (name, events, around) => {
    expect(run(events, around).state.connection.name).toBe(name);
  });

  it("ignores what comes of an attempt that is not wanted any more", () => {
    for (const late of [
      ["opened", 1, "t"],
      ["authenticated", 1, terms],
      ["failed", 1, away],
    ] as const) {
      const { state } = run([["authenticate", false], ["disconnect"]]);
      expect(transitionUserLink(state, late, usual)).toEqual([state, []]);
    }
  });

  it("opens the next link beside the one in use, and keeps that one if the next fails", () => {
    const begun = run([["tick"]], { now: ready.handOverAt }, ready).state;
    expect(begun).toMatchObject({ current: 1, opening: 2, connection: { name: "ready" } });
    const failed = run([["failed", 2, away]], {}, begun).state;
    expect(failed).toMatchObject({ current: 1, opening: 0, connection: { name: "ready" } });
    const adopted = run([["synced", 2, terms]], {}, begun);
    expect(adopted.state).toMatchObject({ current: 2, former: 1, lostAt: 0 });
    expect(adopted.effects.some((it) => it.startsWith("lost"))).toBe(false);
  });

  it("goes on from every state but those that wait for the app", () => {
    const random = seeded(7);
    const pick = <T>(all: readonly T[]) => all[Math.floor(random() * all.length)] as T;
    let state = unconnected;
    let now = 0;
    let asked: (readonly [name: string, attempt: number])[] = [];
    /** What comes of what was asked, well or not. */
    const answer = ([name, attempt]: readonly [string, number]): UserLinkEvent => {
      asked = asked.filter((it) => it[1] !== attempt);
      if (random() < 0.2) return ["failed", attempt, random() < 0.8 ? away : refused];
      if (name === "configure") return ["configured", attempt, config];
      if (name === "provideToken") return ["provided", attempt, "t"];
      if (name === "open") return ["opened", attempt, "t"];
      return [name === "sync" ? "synced" : "authenticated", attempt, terms];
    };
    for (let step = 0; step < 3_000; step += 1) {
      const event = pick<() => UserLinkEvent>([
        () => (asked.length ? answer(pick(asked)) : ["tick"]),
        () => (asked.length ? answer(pick(asked)) : ["tick"]),
        () => ["tick"],
        () => ["retry"],
        () => ["lifecycle", pick(["visible", "offline", "hidden"])],
        () => ["down", pick([state.current, state.opening]), pick(["network", "sleep"])],
        () => ["authenticate", random() < 0.5],
        () => (random() < 0.1 ? ["disconnect"] : ["tick"]),
      ])();
      now += pick([SECOND, MINUTE, 120 * MINUTE]);
      const around = { ...usual, now, random: random() };
      const [next, effects] = transitionUserLink(state, event, around);
      state = next;
      for (const [name, attempt] of effects)
        if (["configure", "provideToken", "open", "authenticate", "sync"].includes(name))
          asked.push([name, attempt as number]);
      const { name } = state.connection;
      const isUnderWay = asked.some((it) => it[1] === state.opening);
      const isTimed = userLinkWakesAt(state) < Number.POSITIVE_INFINITY;
      expect(name === "ready").toBe(state.current > 0);
      const isOpening = !state.current && isUnderWay;
      if (name !== "offline")
        expect(["connecting", "authenticating"].includes(name)).toBe(isOpening);
      if (name === "ready") expect(isUnderWay || Number.isFinite(state.handOverAt)).toBe(true);
      else expect(isTimed).toBe(name === "recovering" || (name === "offline" && !isOpening));
    }
  });
});

describe("members", () => {
  const presence = (userId: string) => ({ ...terms.presence, userId });
  const about = { chatSessionId: "lobby" };
  const start = joined(noMembers, {
    ...about,
    members: ["ada", "alan"].map(presence),
    memberCount: 2,
    asOf: 10,
  });
  const frame = (asOf: number, came: string[], left: string[], memberCount: number) => ({
    ...about,
    type: "chat-session-members" as const,
    joined: came.map(presence),
    left,
    memberCount,
    asOf,
  });
  const seen = ({ present, count }: MembersState) => [[...present].sort(), count];

  it("are the same in whatever order, and however often, frames come", () => {
    const frames = [
      frame(11, ["bob"], [], 3),
      frame(12, ["grace"], ["alan"], 3),
      frame(13, ["alan"], ["bob"], 3),
      frame(14, [], ["grace"], 2),
      frame(9, ["zoe"], ["ada"], 9), // from before `join` was answered
    ];
    const random = seeded(3);
    for (let story = 0; story < 200; story += 1) {
      const told = [...frames, ...frames].sort(() => random() - 0.5);
      expect(seen(told.reduce(changed, start))).toEqual([["ada", "alan"], 2]);
    }
  });
});

describe("a chat session", () => {
  const around = { now: 0, skewMs: 0, userId: "ada", isIn: false };

  it("says what a link has to be told, until it is refused", () => {
    const [used] = transitionChatSession(unjoined, ["join"], around);
    const [refused] = transitionChatSession(
      used,
      ["refused", new PresenceError("forbidden", "No.")],
      around,
    );
    const [left] = transitionChatSession(used, ["leave"], around);
    expect([used, refused, left].map((it) => wanted(it, false, 0))).toEqual(["join", "", ""]);
    expect([used, left].map((it) => wanted(it, true, 0))).toEqual(["", "leave"]);
  });
});

describe("the own status", () => {
  it("sends one choice after the other, and only the newest of those that wait", () => {
    const around = { now: 0, hasLink: true, presence: undefined };
    const choices = (["away", "busy", "dnd"] as const).map((status) => ({
      ...deferred<void>(),
      status,
      chosenAt: 0,
    }));
    const sent: string[] = [];
    let state = nothingChosen;
    const run = (...event: Parameters<typeof transitionOwnStatus>[1]) => {
      const [next, effects] = transitionOwnStatus(state, event, around);
      state = next;
      for (const [name, chosen] of effects) if (name === "send") sent.push(chosen.status);
    };
    for (const chosen of choices) run("choose", chosen);
    expect(sent).toEqual(["away"]);
    run("answered", choices[0] as (typeof choices)[0]);
    expect(sent).toEqual(["away", "dnd"]);
  });
});
