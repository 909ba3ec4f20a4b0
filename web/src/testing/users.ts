/** The users of the server in memory, and the one way in which each of them changes. */

import type { Presence, Status } from "../protocol.js";
import { compact } from "./data.js";
import { countVersions, type Effect, reduce, type UserEvent } from "./reducer.js";
import type { Timeline } from "./surroundings.js";
import {
  newestVersion,
  nextChangeAt,
  ownPresence,
  type Rules,
  type User,
  unknownUser,
} from "./user.js";

type Outcome = readonly [User, readonly Effect[]];

/** What follows from a change. */
export type Changed = (before: User, after: User, effects: readonly Effect[]) => void;

export class Users {
  readonly #timeline: Timeline;
  readonly #rules: Rules;
  readonly #changed: Changed;
  readonly #users = new Map<string, User>();
  readonly #stopTimers = new Map<string, () => void>();

  /** The greatest version of any user who was erased: one who comes back exceeds it. */
  #floor = 0;

  constructor(timeline: Timeline, rules: Rules, changed: Changed) {
    this.#timeline = timeline;
    this.#rules = rules;
    this.#changed = changed;
  }

  /** The user as of now. */
  get(userId: string): User {
    const known = this.#stored(userId);
    return changesAt(known) <= this.#timeline.now
      ? this.change(userId, { type: "time-passed" })
      : known;
  }

  /** All users as of their last change. */
  get all(): readonly User[] {
    return [...this.#users.values()];
  }

  /** How many are online for a viewer who is not blocked. */
  get onlineCount(): number {
    return this.all.filter((user) => user.status !== "offline").length;
  }

  /** Throws a Refusal; nothing has changed then. */
  change(userId: string, event: UserEvent): User {
    return this.#apply(userId, (user, now) => reduce(user, event, now));
  }

  /** The user is probed now; this is no change. */
  mark(userId: string): void {
    this.#users.set(userId, { ...this.get(userId), probedAt: this.#timeline.now });
  }

  /** Makes a user as a test says, as on a device of theirs that never goes silent. */
  tell(userId: string, said: Partial<Presence>): void {
    this.#apply(userId, (user, now) => told(user, said, now));
  }

  /** The same, before any client is there. */
  seed(userId: string, said: Partial<Presence>): void {
    this.#users.set(userId, told(this.#stored(userId), said, this.#timeline.now)[0]);
  }

  forget(userId: string): void {
    this.#floor = Math.max(this.#floor, newestVersion(this.#stored(userId)));
    this.#users.delete(userId);
    this.#stopTimers.get(userId)?.();
  }

  #stored(userId: string): User {
    return this.#users.get(userId) ?? unknownUser(userId, this.#rules, this.#floor);
  }

  #apply(userId: string, decide: (user: User, now: number) => Outcome): User {
    const before = this.#stored(userId);
    const [after, effects] = decide(before, this.#timeline.now);
    this.#users.set(userId, after);
    this.#lookAgain(after);
    this.#changed(before, after, effects);
    return after;
  }

  #lookAgain(user: User): void {
    const { userId } = user;
    const look = () => this.change(userId, { type: "time-passed" });
    this.#stopTimers.get(userId)?.();
    const inMs = changesAt(user) - this.#timeline.now;
    this.#stopTimers.set(userId, this.#timeline.after(inMs, look, true));
  }
}

/** When something about the user changes by itself, leases included; Infinity for never. */
function changesAt(user: User): number {
  const ends = [...user.leases.values()].map((lease) => lease.expiresAt);
  return Math.min(nextChangeAt(user) ?? Number.POSITIVE_INFINITY, ...ends);
}

// Users as a test tells of them.

/** The device that `tell` uses. */
export function otherDevice(userId: string): string {
  return `elsewhere-${userId}`;
}

function told(before: User, said: Partial<Presence>, now: number): Outcome {
  let user = before;
  const effects: Effect[] = [];
  for (const event of eventsOf(before, said, now)) {
    const [after, more] = reduce(user, event, now);
    user = after;
    effects.push(...more);
  }
  if (said.lastSeen !== undefined && said.lastSeen !== user.lastSeen) {
    user = countVersions(before, { ...user, lastSeen: said.lastSeen }, now);
  }
  const isNewer = said.version !== undefined && said.version > before.version;
  return [isNewer ? { ...user, version: said.version } : user, effects];
}

/** What would have to happen for the user to be so. */
function eventsOf(user: User, said: Partial<Presence>, now: number): readonly UserEvent[] {
  const connectionId = otherDevice(user.userId);
  const status = statusOf(user, said);
  const choice = status === "offline" ? "online" : status;
  const { text = null, until = null, showLastSeen: disclosure = null } = said;
  const data = said.data === undefined ? null : compact(said.data);
  const chosen = { type: "chosen", choice, text, until, chosenAt: null, disclosure, data } as const;
  if (status === "offline") {
    return [
      { type: "disconnected", connectionId, graceUntil: now },
      { type: "grace-ended" },
      { ...chosen, text: null },
    ];
  }
  const sessions: ReadonlySet<string> = new Set();
  const lease = {
    expiresAt: Number.POSITIVE_INFINITY,
    seenAt: now,
    device: null,
    isActive: true,
    lasts: null,
    sessions,
  };
  const arrives = { type: "authenticated", connectionId, lease, isActive: true } as const;
  const arrived = { ...arrives, sessionIds: [], graceUntil: now, data: null };
  // What hiding would show of a user for the length of a grace period is over.
  return status === "invisible" ? [chosen, arrived, { type: "grace-ended" }] : [chosen, arrived];
}

/** Without a status, a user stays as they are, and comes online if they were offline. */
function statusOf(user: User, { status, isOnline }: Partial<Presence>): Status {
  if (status !== undefined) return status;
  if (isOnline !== undefined) return isOnline ? "online" : "offline";
  const known = ownPresence(user);
  return known.isOnline ? known.status : "online";
}
