/** What the gallery stands on: a server in memory, and clients in front of it. */

import type { PresenceClient, Status } from "../src/index.js";
import { createPresenceClient } from "../src/index.js";
import { createFakePresence, type FakePresence } from "../src/testing/index.js";

const TICK_MS = 1_000;
export const MINUTE = 60_000;
export const ME = "ada";
export const STATUSES: readonly Status[] = [
  "online",
  "away",
  "busy",
  "dnd",
  "invisible",
  "offline",
];
/** Which user has which status; invisible is so for others only. */
export const NAMES: Readonly<Record<Status, string>> = {
  online: "grace",
  away: "linus",
  busy: "margaret",
  dnd: "alan",
  invisible: "ivy",
  offline: "katherine",
};
const others = STATUSES.filter((status) => status !== "invisible");

export interface Stage {
  readonly fake: FakePresence;
  /** Of a user whose link works. */
  readonly live: PresenceClient;
  /** Of a user whose link is down. */
  readonly cut: PresenceClient;
  /** Of a user whose token was refused. */
  readonly refused: PresenceClient;
  /** Of a user who is invisible. */
  readonly hidden: PresenceClient;
}

/** A server with a user in each status, and clients in front of it in each state. */
export async function setStage(): Promise<Stage> {
  const now = Date.now();
  const fake = createFakePresence({
    now,
    globalPresence: true,
    users: others.map((status) => ({
      userId: NAMES[status],
      status,
      lastSeen: now - (status === "offline" ? 42 : 3) * MINUTE,
      ...(status === "busy" ? { text: "Back at three" } : {}),
    })),
  });
  for (const userId of [NAMES.online, NAMES.busy]) fake.server.join(userId, "lobby");
  const made = {
    fake,
    live: client(fake),
    cut: client(fake),
    refused: client(fake),
    hidden: client(fake),
  };
  const { live, cut, refused, hidden } = made;
  await Promise.all([
    live.authenticate(ME),
    cut.authenticate(ME),
    hidden.authenticate(NAMES.invisible),
  ]);
  await hidden.setStatus("invisible");
  await refused.authenticate(ME, "not-a-token").catch(() => {});
  return made;
}

const networks = new WeakMap<PresenceClient, { cut(): void }>();

function client(fake: FakePresence): PresenceClient {
  const { options, network } = fake.device();
  const made = createPresenceClient({ ...options, autoAway: false });
  networks.set(made, network);
  return made;
}

/** Lets the time of the server in memory pass, until the returned function is called. */
export function run({ cut, fake }: Stage): () => void {
  // What this client has heard by then is kept, and old.
  void fake.clock.settle().then(() => networks.get(cut)?.cut());
  let ticks = 0;
  const timer = setInterval(() => {
    if (ticks++ % 4 === 0) fake.server.type(NAMES.online, "lobby");
    void fake.clock.advance(TICK_MS);
  }, TICK_MS);
  return () => clearInterval(timer);
}
