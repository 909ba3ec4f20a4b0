// What waiting does not mend is said at once: by the promise, by an event, and by the state.

import { afterEach, describe, expect, it, vi } from "vitest";
import {
  type Clock,
  createPresenceClient,
  type PresenceClientOptions,
  PresenceError,
} from "../../src/index.js";
import type { FakePresenceOptions } from "../../src/testing/index.js";
import { MINUTE, type Scene, SECOND, scene } from "./setup.js";

afterEach(() => vi.unstubAllGlobals());

type Options = Partial<PresenceClientOptions>;

/** A clock that knows how many timers wait. */
function counting(clock: Clock): Clock & { waiting: number } {
  const counted = {
    waiting: 0,
    now: () => clock.now(),
    after(milliseconds: number, run: () => void) {
      let isOver = false;
      const end = () => {
        if (!isOver) counted.waiting -= Number.isFinite(milliseconds) ? 1 : 0;
        isOver = true;
      };
      counted.waiting += Number.isFinite(milliseconds) ? 1 : 0;
      const stop = clock.after(milliseconds, () => {
        end();
        run();
      });
      return () => {
        stop();
        end();
      };
    },
  };
  return counted;
}

/** A client that has asked to be authenticated, and what came of it. */
async function asked(
  options: Options | ((set: Scene) => Options) = {},
  prepare: (set: Scene) => unknown = () => {},
  stack: FakePresenceOptions = {},
) {
  const set = scene(stack);
  prepare(set);
  const given = typeof options === "function" ? options(set) : options;
  const clock = counting(set.clock);
  const client = set.another("phone", { clock, ...given });
  const problems: PresenceError[] = [];
  client.on("problem", (error) => problems.push(error));
  const outcome = vi.fn();
  client.authenticate("ada").then(outcome, outcome);
  await set.clock.settle();
  return { ...set, client, problems, outcome, timers: () => clock.waiting };
}

const stranger = (body: unknown, status = 200) => [
  {},
  ({ server }: Scene) => server.answer("GET /config", { body, status }, 9),
];
const token = (given: unknown) => [{ getToken: () => given }];
const address = (apiUrl: unknown) => [{ apiUrl }];
class Blocked {
  constructor() {
    throw new DOMException("An insecure connection may not be initiated.", "SecurityError");
  }
}

describe("what the app, or a person, has to change", () => {
  it.each([
    ["no WebSocket", "no-websocket", /ws/, [{ WebSocket: undefined }]],
    ["a page that may open none", "no-websocket", /insecure/, [{ WebSocket: Blocked }]],
    ["an apiUrl without scheme", "api-url-invalid", /https/, address("localhost:4000")],
    ["one that begins with its host", "api-url-invalid", /https/, address("//presence.test")],
    ["an empty one", "api-url-invalid", /https/, address("")],
    ["none", "api-url-invalid", /undefined.*https/, address(undefined)],
    ["that of the sockets", "api-url-invalid", /https/, address("wss://presence.test")],
    ["that of a page", "api-url-invalid", /no stack/, stranger("<!doctype html>")],
    ["that of another API", "api-url-invalid", /no stack/, stranger({ ok: true })],
    ["that of nothing", "api-url-invalid", /no stack.*404/, stranger({ message: "No" }, 404)],
    ["another version", "protocol-mismatch", /[Uu]pdate/, stranger({ protocol: 2 })],
    ["no token", "token-malformed", /undefined/, token(undefined)],
    ["an empty token", "token-malformed", /empty/, token("")],
    ["an object for a token", "token-malformed", /object/, token({ token: "e.y.J" })],
    ["JSON for a token", "token-malformed", /text alone/, token('{"token":"e.y.J"}')],
    ["a token in quotes", "token-malformed", /text alone/, token('"e.y.J"')],
    ["a page for a token", "token-malformed", /text alone/, token("<html>")],
    ["a token of another stack", "token-invalid", /token/, token("e.y.J")],
    [
      "a user who is not signed in, as the app says",
      "not-authenticated",
      /Sign in/,
      [{ getToken: () => Promise.reject(new PresenceError("not-authenticated", "Sign in.")) }],
    ],
  ] as [string, string, RegExp, [Options, never]][])("%s", async (_name, code, says, args) => {
    const { client, outcome, problems, timers, clock, server } = await asked(...args);
    expect(outcome).toHaveBeenCalledWith(
      expect.objectContaining({ code, message: expect.stringMatching(says), isRetryable: false }),
    );
    const [[error]] = outcome.mock.calls as [[PresenceError]];
    expect(problems).toEqual([error]);
    expect(client.connection.get()).toEqual({ name: "failed", error });
    expect(timers()).toBe(0);
    const before = server.requests.length;
    await clock.advance(10 * MINUTE);
    expect(server.requests).toHaveLength(before);
  });

  it("a page of an origin that the stack does not list", async () => {
    vi.stubGlobal("origin", "https://chat.test");
    const { outcome, problems, client } = await asked({}, ({ server }) => server.refuseOrigin());
    expect(outcome.mock.calls).toMatchObject([
      [
        {
          code: "origin-refused",
          message: expect.stringMatching(/https:\/\/chat.test.*AllowedOr/),
        },
      ],
    ]);
    expect(problems).toHaveLength(1);
    expect(client.connection.get().name).toBe("failed");
  });

  it("a stack that comes up between two questions has refused no origin", async () => {
    vi.stubGlobal("origin", "https://chat.test");
    let isUp = false;
    const { outcome, client } = await asked(({ options }) => ({
      async fetch(url, init) {
        if (init?.mode !== "no-cors" && !isUp) throw new TypeError("Failed to fetch");
        isUp = true;
        return options.fetch(url, init);
      },
    }));
    expect(outcome.mock.calls).toMatchObject([[{ userId: "ada" }]]);
    expect(client.connection.get().name).toBe("ready");
  });

  it("is the state already when a problem tells of it, and keeps no choice waiting", async () => {
    const set = scene();
    const client = set.another("phone", { apiUrl: "localhost:4000" });
    const heard = vi.fn(() => client.connection.get().name);
    client.on("problem", heard);
    const choice = client.setStatus("busy");
    client.authenticate("ada");
    await expect(choice).rejects.toMatchObject({ code: "api-url-invalid" });
    expect(heard).toHaveReturnedWith("failed");
    expect(client.me.get().pending).toBeUndefined();
  });

  it("a request over HTTP says it, too", async () => {
    const client = createPresenceClient({ apiUrl: "localhost:4000" });
    await expect(client.request("GET /online/count")).rejects.toMatchObject({
      code: "api-url-invalid",
    });
  });

  it("one connection too many is told of, and may be taken back by a person", async () => {
    const { client, problems, server, clock } = await asked();
    server.connections[0]?.closing("replaced");
    await clock.advance(MINUTE);
    const error = expect.objectContaining({
      code: "replaced",
      message: expect.stringMatching(/Too many connections/),
    });
    expect(problems).toEqual([error]);
    expect(client.connection.get()).toEqual({ name: "failed", error });
    client.retryNow();
    await clock.settle();
    expect(client.connection.get().name).toBe("ready");
  });

  it("a link that is replaced before it is ready keeps no one waiting", async () => {
    const { outcome } = await asked({}, ({ server, options }) => {
      server.answer("authenticate", { body: { type: "closing", reason: "replaced" } });
      return options;
    });
    expect(outcome.mock.calls).toMatchObject([[{ code: "replaced" }]]);
  });
});

describe("a getToken that throws", () => {
  it("is told of at once, and asked again: it may be for a moment only", async () => {
    let isDown = true;
    const { client, outcome, problems, clock } = await asked(({ server }) => ({
      getToken({ userId }) {
        if (isDown) throw new Error("HTTP 503");
        return server.tokenFor(userId);
      },
    }));
    const error = expect.objectContaining({
      code: "token-unavailable",
      message: expect.stringMatching(/getToken failed: HTTP 503/),
      isRetryable: true,
    });
    expect(outcome.mock.calls).toEqual([[error]]);
    expect(problems).toEqual([error]);
    expect(client.connection.get()).toMatchObject({ name: "recovering", error });
    await expect(client.authenticate("ada")).rejects.toEqual(error);
    isDown = false;
    await clock.advance(MINUTE);
    expect(client.connection.get().name).toBe("ready");
    expect(await client.authenticate("ada")).toMatchObject({ userId: "ada" });
  });

  it("says what it was that it threw, if that is no error", async () => {
    const { problems } = await asked({ getToken: () => Promise.reject("signed out") });
    expect(problems[0]?.message).toMatch(/signed out/);
  });

  it("or never answers, is told of after 30 s", async () => {
    const { outcome, clock, problems } = await asked({ getToken: () => new Promise(() => {}) });
    await clock.advance(29 * SECOND);
    expect(outcome).not.toHaveBeenCalled();
    await clock.advance(SECOND);
    expect(outcome.mock.calls).toMatchObject([
      [{ code: "token-unavailable", message: expect.stringMatching(/getToken does not answer/) }],
    ]);
    expect(problems).toHaveLength(1);
  });

  it("is told of when a token has to be renewed", async () => {
    let isDown = false;
    const set = await asked(({ server }) => ({
      getToken: ({ userId }) =>
        isDown ? Promise.reject(new Error("503")) : server.tokenFor(userId, { ttlSeconds: 600 }),
    }));
    isDown = true;
    await set.clock.advance(9 * MINUTE + SECOND);
    expect(set.client.connection.get().name).toBe("ready");
    expect(set.problems).toMatchObject([{ code: "token-unavailable" }]);
  });
});

describe("what may pass", () => {
  it.each<[string, (set: Scene) => unknown, (set: Scene) => unknown]>([
    ["no network", ({ network }) => network.cut(), ({ network }) => network.restore()],
    ["a network without answers", (it) => it.network.blackHole(), (it) => it.network.restore()],
    ["503", ({ server }) => server.refuse("GET /config", { code: "unavailable" }, 3), () => {}],
    ["429", ({ server }) => server.refuse("authenticate", { code: "rate-limited" }, 3), () => {}],
    ["no socket", ({ server }) => server.refuse("connect", { code: "unavailable" }, 3), () => {}],
  ])("%s is tried again without a word", async (_name, begin, end) => {
    vi.stubGlobal("origin", "https://chat.test");
    const set = scene();
    const { client, clock } = set;
    const problem = vi.fn();
    client.on("problem", problem);
    begin(set);
    const ready = client.authenticate("ada");
    await clock.advance(SECOND);
    end(set);
    await clock.advance(MINUTE);
    expect((await ready).userId).toBe("ada");
    expect(problem).not.toHaveBeenCalled();
  });

  it.each<[string, (set: Scene) => () => void]>([
    [
      "a page instead of the stack",
      ({ server }) => {
        server.refuse("connect", { code: "unavailable" });
        return server.answer("GET /config", { body: "<p>" }, 99);
      },
    ],
    ["a refused origin", ({ server }) => server.refuseOrigin()],
  ])("what has worked is tried again: %s", async (_name, begin) => {
    vi.stubGlobal("origin", "https://chat.test");
    const set = await asked();
    const { client, clock, problems, server } = set;
    expect(client.connection.get().name).toBe("ready");
    const end = begin(set);
    server.dropAll();
    await clock.advance(10 * SECOND);
    expect(client.connection.get().name).not.toBe("failed");
    expect(problems.length).toBeGreaterThan(0);
    end();
    await clock.advance(MINUTE);
    expect(client.connection.get().name).toBe("ready");
  });

  it("what has worked is tried again: a socket, a token", async () => {
    let isBroken = false;
    const fake = scene();
    const Real = fake.options.WebSocket;
    class Fragile {
      constructor(url: string) {
        if (isBroken) throw new Error("SecurityError");
        // biome-ignore lint/correctness/noConstructorReturn: it is the real one otherwise
        return new Real(url);
      }
    }
    for (const options of [
      { WebSocket: Fragile as unknown as typeof Real },
      { getToken: () => (isBroken ? "" : fake.server.tokenFor("ada", { ttlSeconds: 60 })) },
    ]) {
      const client = fake.another("x", options);
      client.authenticate("ada");
      await fake.clock.settle();
      isBroken = true;
      fake.server.dropAll();
      await fake.clock.advance(2 * MINUTE);
      expect(client.connection.get()).toMatchObject({ name: "recovering" });
      isBroken = false;
      await fake.clock.advance(MINUTE);
      expect(client.connection.get().name).toBe("ready");
      client.disconnect();
    }
  });
});

describe("a request over HTTP", () => {
  /** What was asked through `fetch`, and what may still be under way. */
  function watched(set: Scene) {
    const signals: AbortSignal[] = [];
    const fetch: typeof globalThis.fetch = (url, init) => {
      signals.push(init?.signal as AbortSignal);
      return set.options.fetch(url, init);
    };
    return { fetch, open: () => signals.filter((it) => !it.aborted).length, signals };
  }

  it("is aborted when it is too late for an answer: a browser has six connections", async () => {
    const set = scene();
    const { fetch, open, signals } = watched(set);
    const client = set.another("phone", { fetch });
    set.server.answer("GET /config", "swallow", 99);
    client.authenticate("ada");
    for (const _ of Array(6)) client.request("GET /online/count").catch(() => {});
    await set.clock.advance(9 * SECOND);
    expect(open()).toBe(1);
    await set.clock.advance(2 * MINUTE);
    expect(signals.length).toBeGreaterThan(6);
    expect(open()).toBeLessThanOrEqual(1);
  });

  it("is aborted by the app, with its reason, and by disconnect", async () => {
    const set = scene({ publicReads: true });
    const { fetch, open } = watched(set);
    const client = set.another("phone", { fetch });
    set.network.blackHole();
    set.server.answer("GET /online/count", "swallow");
    set.server.answer("GET /config", "swallow");
    const stop = new AbortController();
    const counted = client.request("GET /online/count", undefined, { signal: stop.signal });
    await set.clock.settle();
    expect(open()).toBe(1);
    stop.abort("enough");
    await expect(counted).rejects.toBe("enough");
    expect(open()).toBe(0);
    client.authenticate("ada");
    await set.clock.settle();
    expect(open()).toBe(1);
    client.disconnect();
    expect(open()).toBe(0);
  });

  it("is not begun with a signal that is aborted", async () => {
    const set = scene({ publicReads: true });
    const signal = AbortSignal.abort("never");
    await expect(set.client.request("GET /online/count", undefined, { signal })).rejects.toBe(
      "never",
    );
    expect(set.server.requests).toEqual([]);
  });
});

describe("after disconnect no timer is left", () => {
  it.each<[string, (set: Awaited<ReturnType<typeof asked>>) => unknown, Options?]>([
    ["while it connects", ({ client, network }) => network.freeze() ?? client.retryNow()],
    ["while a token is awaited", () => {}, { getToken: () => new Promise(() => {}) }],
    ["while it waits for the next attempt", ({ network }) => network.cut()],
    [
      "with a message that waits",
      ({ client, network }) => {
        network.cut();
        client
          .joinChatSession("lobby")
          .send("Hello")
          .catch(() => {});
      },
    ],
    [
      "with a message on its way",
      ({ client, server }) => {
        server.answer("message", "swallow");
        client
          .joinChatSession("lobby")
          .send("Hello")
          .catch(() => {});
      },
    ],
    ["while one types", ({ client }) => client.joinChatSession("lobby").keystroke()],
    [
      "while others type",
      ({ client, server }) => {
        client.joinChatSession("lobby");
        server.type("grace", "lobby");
      },
    ],
    ["with a choice that waits", ({ client }) => client.setStatus("busy").catch(() => {})],
    ["with a list on the screen", ({ client }) => client.onlineUsers.subscribe(() => {})],
    [
      "with a user who was scrolled away",
      async ({ client, clock }) => {
        const stop = client.user("linus").subscribe(() => {});
        await clock.settle();
        stop();
      },
    ],
    [
      "with a refused join",
      ({ client, server }) => {
        server.refuse("join", { code: "rate-limited", retryAfterSeconds: 60 });
        client.joinChatSession("lobby");
      },
    ],
    [
      "with a page of members that is awaited",
      ({ client, server }) => {
        for (let n = 0; n < 150; n += 1) server.join(`user-${n}`, "lobby");
        server.refuse("GET /chat-sessions/{chatSessionId}/members", { code: "unavailable" }, 9);
        client.joinChatSession("lobby");
      },
    ],
    [
      "while a user is verified",
      async ({ client, clock, device, another }) => {
        const { network, options } = device("grace");
        const grace = another("grace", options);
        await grace.authenticate("grace");
        network.freeze();
        await clock.advance(MINUTE);
        client.verify(["grace"]).catch(() => {});
        await clock.settle();
        grace.disconnect();
      },
    ],
    [
      "during a handover",
      async ({ client, server, clock }) => {
        client.user("grace").subscribe(() => {});
        await clock.settle();
        server.answer("watch", "swallow", 9);
        await clock.advance(118 * MINUTE + 31 * SECOND);
        expect(server.connections).toHaveLength(2);
      },
    ],
  ])("%s", async (_name, prepare, options = {}) => {
    const set = await asked({ autoAway: {}, ...options }, () => {}, { globalPresence: false });
    await prepare(set);
    await set.clock.settle();
    set.client.disconnect();
    await set.clock.settle();
    expect(set.timers()).toBe(0);
  });

  it("nor is one begun by an answer that comes later", async () => {
    const { client, clock, server, network, timers } = await asked({}, ({ server }) => {
      for (let n = 0; n < 150; n += 1) server.join(`user-${n}`, "lobby");
      server.answer("online", "swallow", 9);
    });
    network.latencyMs = SECOND;
    client.onlineUsers.subscribe(() => {});
    client.joinChatSession("lobby");
    server.refuse("GET /chat-sessions/{chatSessionId}/members", { code: "unavailable" }, 9);
    await clock.advance(3 * SECOND); // the page of members is on its way
    expect(server.requests.at(-1)?.route).toMatch(/members/);
    client.disconnect();
    await clock.advance(2 * SECOND);
    expect(timers()).toBe(0);
  });
});

describe("where there is no page", () => {
  const alone = () => {
    const set = scene();
    const { lifecycle: _, ...options } = set.options;
    return { set, options };
  };

  it("no user is away by itself", async () => {
    const { set, options } = alone();
    const client = createPresenceClient(options);
    await client.authenticate("ada");
    await set.clock.advance(30 * MINUTE);
    expect(client.me.get()).toMatchObject({ isActive: true, presence: { status: "online" } });
  });

  it("but if that is asked for", async () => {
    const { set, options } = alone();
    const client = createPresenceClient({ ...options, autoAway: { idleMs: MINUTE } });
    await client.authenticate("ada");
    await set.clock.advance(2 * MINUTE);
    expect(client.me.get()).toMatchObject({ isActive: false, presence: { status: "away" } });
  });

  it("a lifecycle of the app's own has a person, unless it says that it has none", async () => {
    for (const isUnattended of [true, false]) {
      const { set, options } = alone();
      const { lifecycle } = set;
      const client = createPresenceClient({
        ...options,
        lifecycle: {
          isOnline: () => true,
          isVisible: () => true,
          subscribe: (listener) => lifecycle.subscribe(listener),
          isUnattended,
        },
      });
      await client.authenticate("ada");
      await set.clock.advance(30 * MINUTE);
      expect(client.me.get().isActive).toBe(isUnattended);
    }
  });
});
