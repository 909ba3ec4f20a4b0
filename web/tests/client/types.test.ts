// What `tsc` says of this file is the test.

import type { WebSocket as NodesOwn } from "undici-types";
import { describe, expectTypeOf, it } from "vitest";
import Ws from "ws";
import { createPresenceClient, type PresenceClientOptions } from "../../src/index.js";
import type { ChannelLike, LocksLike } from "../../src/tabs/index.js";

type Taken = NonNullable<PresenceClientOptions["WebSocket"]>;

describe("options.WebSocket", () => {
  it("takes the package ws, the browser's own and Node's as they are", () => {
    expectTypeOf<typeof Ws>().toExtend<Taken>();
    expectTypeOf<typeof WebSocket>().toExtend<Taken>();
    expectTypeOf<typeof NodesOwn>().toExtend<Taken>();
    createPresenceClient({ apiUrl: "https://presence.test", WebSocket: Ws });
    createPresenceClient({ apiUrl: "https://presence.test", WebSocket: globalThis.WebSocket });
    class Counted extends Ws {}
    createPresenceClient({ apiUrl: "https://presence.test", WebSocket: Counted });
  });

  it("and those of a shared client take what the browser has", () => {
    expectTypeOf<typeof navigator.locks>().toExtend<LocksLike>();
    expectTypeOf<typeof BroadcastChannel>().toExtend<new (name: string) => ChannelLike>();
  });

  it("takes nothing that is no WebSocket", () => {
    expectTypeOf<typeof EventSource>().not.toExtend<Taken>();
    expectTypeOf<typeof Worker>().not.toExtend<Taken>();
    // @ts-expect-error: one of them, not what makes them
    createPresenceClient({ apiUrl: "https://presence.test", WebSocket: {} as Ws });
  });
});
