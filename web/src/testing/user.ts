/** Who a user is, and who sees what of them: the server's `domain/user.py`. Values only. */

import type { Choice, Presence, Status } from "../protocol.js";

/** One connection's claim that its user is here, and the chat sessions that it has joined. */
export interface Lease {
  readonly expiresAt: number;
  readonly seenAt: number;
  readonly isActive: boolean;
  readonly sessions: ReadonlySet<string>;
}

/** What a blocked viewer goes on seeing. */
export interface Mask {
  readonly lastSeen: number | null;
  readonly version: number;
}

export interface User {
  readonly userId: string;
  readonly version: number;
  readonly ownVersion: number;
  readonly leases: ReadonlyMap<string, Lease>;
  readonly choice: Choice;
  readonly text: string | null;
  readonly until: number | null;
  readonly status: Exclude<Status, "invisible">;
  readonly graceUntil: number | null;
  /** Chat sessions whose last connection was closed, each with how long it is expected back. */
  readonly lingering: ReadonlyMap<string, number>;
  readonly lastSeen: number | null;
  readonly blocked: ReadonlyMap<string, Mask>;
}

/** Whoever looks: a user id, or null for somebody without a token. */
export type Viewer = string | null;

const NOBODY: ReadonlySet<string> = new Set();

export function unknownUser(userId: string): User {
  return {
    userId,
    version: 0,
    ownVersion: 0,
    leases: new Map(),
    choice: "online",
    text: null,
    until: null,
    status: "offline",
    graceUntil: null,
    lingering: new Map(),
    lastSeen: null,
    blocked: new Map(),
  };
}

/** Connected, or expected back within the grace period; whatever others may see. */
export function isHere(user: User): boolean {
  return user.leases.size > 0 || user.graceUntil !== null;
}

/** Not connected, and expected back. Beside a lease nobody looks at the grace period. */
export function isInGrace(user: User): boolean {
  return user.leases.size === 0 && user.graceUntil !== null;
}

/** The chat sessions that the user is in, whoever may see that. */
export function sessionsOf(user: User): ReadonlySet<string> {
  return new Set([...user.lingering.keys(), ...heldSessions(user)]);
}

/** Those that a connection is in. */
export function heldSessions(user: User): ReadonlySet<string> {
  return new Set([...user.leases.values()].flatMap((lease) => [...lease.sessions]));
}

/** As everybody sees the user who is not blocked. */
export function publicPresence(user: User): Presence {
  const text = user.status === "offline" ? null : user.text;
  return presence(user.userId, user.status, user.lastSeen, user.version, text);
}

/** As the user's own devices see them: the truth. */
export function ownPresence(user: User): Presence {
  if (!isHere(user) || user.choice !== "invisible") {
    return { ...publicPresence(user), version: user.ownVersion };
  }
  return presence(user.userId, "invisible", user.lastSeen, user.ownVersion, user.text);
}

export function maySee(viewer: Viewer, user: User): boolean {
  return viewer === null || !user.blocked.has(viewer);
}

export function seenBy(viewer: Viewer, user: User): Presence {
  if (viewer === user.userId) return ownPresence(user);
  const mask = viewer === null ? undefined : user.blocked.get(viewer);
  if (mask) return presence(user.userId, "offline", mask.lastSeen, mask.version, null);
  return publicPresence(user);
}

/** The chat sessions in which somebody sees the user: whoever is offline is in none. */
export function sessionsSeenBy(viewer: Viewer, user: User): ReadonlySet<string> {
  return maySee(viewer, user) && user.status !== "offline" ? sessionsOf(user) : NOBODY;
}

/**
 * When something about the user changes by itself next; Infinity for never. In grace a choice waits
 * for its end.
 */
export function changesAt(user: User): number {
  const leases = [...user.leases.values()].map((lease) => lease.expiresAt);
  const never = Number.POSITIVE_INFINITY;
  const graceOrChoice = (isInGrace(user) ? user.graceUntil : user.until) ?? never;
  const held = heldSessions(user);
  const expected = [...user.lingering].map(([name, until]) => (held.has(name) ? never : until));
  return Math.min(graceOrChoice, ...expected, ...leases);
}

/** Whether whoever knows `before` has to hear `after`; a newer lastSeen alone is no news. */
export function isNews(before: Presence, after: Presence): boolean {
  return before.status !== after.status || before.text !== after.text;
}

/** Whether nothing but the version differs. */
export function looksLike(one: Presence, other: Presence): boolean {
  return !isNews(one, other) && one.lastSeen === other.lastSeen;
}

function presence(
  userId: string,
  status: Status,
  lastSeen: number | null,
  version: number,
  text: string | null,
): Presence {
  const known = { userId, status, isOnline: status !== "offline", lastSeen, version };
  return text === null ? known : { ...known, text };
}
