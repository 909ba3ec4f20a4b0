/** Clients in Node in front of deployed stacks, and what the tests wait for. */

import { readFileSync } from "node:fs";
import { afterEach, beforeEach } from "vitest";
import WebSocket from "ws";
import { Network } from "../../demo/network.js";
import {
  createPresenceClient,
  type PresenceClient,
  type PresenceClientOptions,
  type Store,
} from "../../src/index.js";

export interface Stack {
  readonly demoUrl: string;
  readonly webSocketUrl: string;
}

export const stackAt = (name: string): Stack =>
  JSON.parse(readFileSync(String(process.env[name]), "utf8"));
/** As in tests/conftest.py. */
export const GRACE_MS = 3_000;
export const LEASE_MS = 6_000;
/** What a change may take on its way, on a busy machine. */
export const TRAVEL_MS = 5_000;
export const SWEEP_MS = 60_000;

/** Resolves as soon as the store holds what is looked for. */
export function until<T>(
  store: Store<T>,
  is: (value: T) => unknown,
  withinMs = TRAVEL_MS,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      stop();
      reject(new Error(`It stayed ${JSON.stringify(store.get())}.`));
    }, withinMs);
    const look = () => {
      if (!is(store.get())) return;
      clearTimeout(late);
      stop();
      resolve(store.get());
    };
    const stop = store.subscribe(look);
    look();
  });
}

let mark = 0;
const clients: PresenceClient[] = [];
export const name = (person: string) => `${person}-${process.pid}-${mark}`;

beforeEach(() => {
  mark += 1;
});

afterEach(() => {
  for (const client of clients.splice(0)) client.disconnect();
});

export function join(stack: Stack, options: Partial<PresenceClientOptions> = {}): PresenceClient {
  const client = createPresenceClient({
    apiUrl: stack.demoUrl,
    WebSocket,
    autoAway: false,
    ...options,
  });
  clients.push(client);
  return client;
}

/** A client whose sockets go through a network that can be broken, as in the demo. */
export function joinThrough(stack: Stack) {
  const network = new Network({ WebSocket, fetch }, () => {});
  return { client: join(stack, { WebSocket: network.WebSocket }), network };
}
