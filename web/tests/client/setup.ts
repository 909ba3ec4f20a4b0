import {
  createPresenceClient,
  type PresenceClient,
  type PresenceClientOptions,
} from "../../src/index.js";
import type { ClientFrame } from "../../src/protocol.js";
import {
  createFakePresence,
  type FakePresence,
  type FakePresenceOptions,
} from "../../src/testing/index.js";

export interface Scene extends FakePresence {
  readonly client: PresenceClient;
  /** What the server got of an action, oldest first. */
  got<A extends ClientFrame["action"]>(action: A): Extract<ClientFrame, { action: A }>[];
  /** The actions that the server got, in order. */
  actions(): string[];
  /** Another client, of another user or device. */
  another(name?: string, options?: Partial<PresenceClientOptions>): PresenceClient;
  state(): string;
  /** How often all had to be asked again after a gap. */
  gaps(): number;
}

/** A client in front of a server in memory: no luck, good tokens, the user always there. */
export function scene(
  server: FakePresenceOptions = {},
  options: Partial<PresenceClientOptions> = {},
): Scene {
  const fake = createFakePresence({ globalPresence: true, ...server });
  const usual = {
    ...fake.options,
    random: () => 0.5,
    autoAway: false as const,
    getToken: ({ userId }: { userId: string }) =>
      fake.server.tokenFor(userId, { ttlSeconds: 24 * 60 * 60 }),
  };
  const client = createPresenceClient({ ...usual, ...options });
  let gaps = 0;
  client.on("resync", () => {
    gaps += 1;
  });
  return {
    ...fake,
    client,
    got: (action) =>
      fake.server.received.flatMap(({ frame }) =>
        frame.action === action ? [frame as never] : [],
      ),
    actions: () => fake.server.received.map(({ frame }) => frame.action),
    another: (name, more) =>
      createPresenceClient({ ...usual, ...fake.device(name).options, ...more }),
    state: () => client.connection.get().name,
    gaps: () => gaps,
  };
}

/** The same, connected as Ada. */
export async function connected(
  server: FakePresenceOptions = {},
  options: Partial<PresenceClientOptions> = {},
): Promise<Scene> {
  const set = scene(server, options);
  set.client.authenticate("ada");
  await set.clock.settle();
  return set;
}

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;

/** The states that a client goes through from now on. */
export function states(client: PresenceClient): string[] {
  const seen: string[] = [];
  client.connection.subscribe(() => seen.push(client.connection.get().name));
  return seen;
}
