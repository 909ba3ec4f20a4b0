/** Who a user is, and who sees what of them: `domain/user.py` of the server. Values only. */

import type { Choice, Presence, Status } from "../protocol.js";

export const MAX_CONNECTIONS = 20;
export const MAX_SESSIONS = 50;
export const MAX_BLOCKED = 200;

/** One connection's promise that its user is here, and the chat sessions that it has joined. */
export interface Lease {
  readonly expiresAt: number;
  readonly seenAt: number;
  readonly isActive: boolean;
  readonly sessions: ReadonlySet<string>;
}

/** What a blocked viewer goes on seeing: last seen and version at the time of the block. */
export interface FrozenView {
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
  /** Chat sessions of a closed connection, each with the end of its grace period. */
  readonly pendingLeaves: ReadonlyMap<string, number>;
  readonly lastSeen: number | null;
  readonly blocked: ReadonlyMap<string, FrozenView>;
}

/** A user id, or null for a caller without a token. */
export type Viewer = string | null;

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
    pendingLeaves: new Map(),
    lastSeen: null,
    blocked: new Map(),
  };
}

/** Versions stay, because clients drop older ones; so do blocks, or viewers would see the user leave. */
export function erased({ userId, version, ownVersion, blocked }: User): User {
  return { ...unknownUser(userId), version, ownVersion, blocked };
}

/** Connected, or expected back within the grace period; even if others see the user offline. */
export function isHere(user: User): boolean {
  return user.leases.size > 0 || user.graceUntil !== null;
}

/** Not connected, and expected back. Beside a lease, the grace period does not count. */
export function isInGrace(user: User): boolean {
  return user.leases.size === 0 && user.graceUntil !== null;
}

/** The chat sessions that the user is in, whether others may see that or not. */
export function sessionsOf(user: User): ReadonlySet<string> {
  return new Set([...joinedSessions(user), ...user.pendingLeaves.keys()]);
}

/** Those that a connection is in. */
export function joinedSessions(user: User): ReadonlySet<string> {
  return new Set([...user.leases.values()].flatMap((lease) => [...lease.sessions]));
}

/** As a viewer who is not blocked sees the user. */
export function publicPresence(user: User): Presence {
  const text = user.status === "offline" ? null : user.text;
  return presence(user.userId, user.status, user.lastSeen, user.version, text);
}

/** As the user's own devices see them: the truth. */
export function ownPresence(user: User): Presence {
  const isInvisible = isHere(user) && user.choice === "invisible";
  if (!isInvisible) return { ...publicPresence(user), version: user.ownVersion };
  return presence(user.userId, "invisible", user.lastSeen, user.ownVersion, user.text);
}

export function seenBy(viewer: Viewer, user: User): Presence {
  if (viewer === user.userId) return ownPresence(user);
  const frozen = viewer === null ? undefined : user.blocked.get(viewer);
  if (frozen) return presence(user.userId, "offline", frozen.lastSeen, frozen.version, null);
  return publicPresence(user);
}

/** The chat sessions in which a viewer sees the user; none for a user who is offline to others. */
export function sessionsSeenBy(viewer: Viewer, user: User): ReadonlySet<string> {
  return new Set([...sessionsOf(user)].filter((name) => isSeenIn(name, viewer, user)));
}

/** Whether one of those is this chat session. */
export function isSeenIn(sessionId: string, viewer: Viewer, user: User): boolean {
  if (!maySee(viewer, user) || user.status === "offline") return false;
  if (user.pendingLeaves.has(sessionId)) return true;
  for (const lease of user.leases.values()) if (lease.sessions.has(sessionId)) return true;
  return false;
}

/** When something about the user changes by itself next, besides the ends of leases. */
export function nextChangeAt(user: User): number | null {
  const joined = joinedSessions(user);
  const leaves = [...user.pendingLeaves].filter(([name]) => !joined.has(name));
  const times = [isInGrace(user) ? user.graceUntil : user.until, ...leaves.map(([, at]) => at)];
  const known = times.filter((at) => at !== null);
  return known.length > 0 ? Math.min(...known) : null;
}

export function maySee(viewer: Viewer, user: User): boolean {
  return viewer === null || !user.blocked.has(viewer);
}

/** Whether a viewer who knows `before` has to hear `after`; a newer lastSeen alone is no news. */
export function saysMoreThan(after: Presence, before: Presence): boolean {
  return before.status !== after.status || before.text !== after.text;
}

/** Whether nothing but the version differs. */
export function looksLike(one: Presence, other: Presence): boolean {
  return !saysMoreThan(one, other) && one.lastSeen === other.lastSeen;
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
