/** Who a user is, and who sees what of them: `domain/user.py` of the server. Values only. */

import type { Choice, Disclosure, Presence, Status } from "../protocol.js";

export const MAX_CONNECTIONS = 20;
export const MAX_SESSIONS = 50;
export const MAX_BLOCKED = 200;
export const MAX_SCENES = 4;
export const MAX_BARRED = 100;
export const MAX_RETURNED = 20;
export const MAX_EARLIER_CHOICES = 3;

/** How exactly others are told when a user was last seen; coarser from one to the next. */
export const PRECISIONS = ["exact", "minute", "hour", "day", "off"] as const;
export type Precision = (typeof PRECISIONS)[number];

const DAY_MS = 86_400_000;
const STEP_MS: Readonly<Record<Precision, number>> = {
  exact: 1,
  minute: 60_000,
  hour: 3_600_000,
  day: DAY_MS,
  off: DAY_MS,
};
const DISCLOSED = { exact: "exact", coarse: "hour", hidden: "off" } as const;

/** What a stack decides for all its users; `grace` and `fresh` are in milliseconds. */
export interface Rules {
  readonly grace: number;
  /** For how long a frame of a user is evidence that the user is there. */
  readonly fresh: number;
  readonly precision: Precision;
}

/** As the stack or the user says, whichever is coarser. */
export function precisionWith({ precision }: Rules, disclosure: Disclosure): Precision {
  const own = DISCLOSED[disclosure];
  return PRECISIONS.indexOf(own) > PRECISIONS.indexOf(precision) ? own : precision;
}

/** The clock as a version shows it: rounded up, or a version would lie before its cause. */
export function versionAt(precision: Precision, now: number): number {
  return Math.ceil(now / STEP_MS[precision]) * STEP_MS[precision];
}

function coarsened(precision: Precision, at: number | null): number | null {
  return at === null || precision === "off" ? null : at - (at % STEP_MS[precision]);
}

/** One connection's promise that its user is here, and the chat sessions that it has joined. */
export interface Lease {
  readonly expiresAt: number;
  readonly seenAt: number;
  readonly device: string | null;
  readonly isActive: boolean;
  readonly sessions: ReadonlySet<string>;
  /** How long each renewal is good, as the client has asked for; null for the usual time. */
  readonly lasts: number | null;
}

/** What viewers go on seeing of a user who hides, as if the last connection had been closed. */
export interface Farewell {
  readonly until: number;
  readonly status: Exclude<Status, "invisible">;
  readonly text: string | null;
  readonly data: string | null;
  /** Chat sessions, each with the instant at which the user is seen to leave it. */
  readonly sessions: ReadonlyMap<string, number>;
}

/** What a blocked viewer goes on seeing: last seen and version at the time of the block. */
export interface FrozenView {
  readonly lastSeen: number | null;
  readonly version: number;
  readonly farewell: Farewell | null;
  readonly disclosure: Disclosure;
}

/** A viewer who was blocked, and whose versions are ahead of the public ones. */
export interface Returned {
  readonly ahead: number;
  readonly lastSeen: number | null;
}

/** A choice that comes back when a timed one ends. */
export interface EarlierChoice {
  readonly choice: Choice;
  readonly text: string | null;
  readonly until: number | null;
}

export interface User {
  readonly userId: string;
  readonly version: number;
  readonly ownVersion: number;
  readonly leases: ReadonlyMap<string, Lease>;
  readonly choice: Choice;
  readonly text: string | null;
  /** As compact JSON (see `data.ts`); no part of a choice. */
  readonly data: string | null;
  readonly until: number | null;
  /** The choices that come back when timed ones end, the next one last. */
  readonly earlier: readonly EarlierChoice[];
  readonly chosenAt: number;
  readonly status: Exclude<Status, "invisible">;
  readonly graceUntil: number | null;
  /** Chat sessions of a closed connection, each with the end of its grace period. */
  readonly pendingLeaves: ReadonlyMap<string, number>;
  /** What all others go on seeing of a user who became invisible. */
  readonly farewell: Farewell | null;
  readonly lastSeen: number | null;
  /** When a person was last at a device that is not active any more. */
  readonly activeAt: number;
  readonly disclosure: Disclosure;
  readonly blocked: ReadonlyMap<string, FrozenView>;
  /** Whether there ever was a viewer in `blocked`. */
  readonly hasBlocked: boolean;
  readonly returned: ReadonlyMap<string, Returned>;
  /** Chat sessions that the back end has taken the user out of, until it allows them again. */
  readonly barred: ReadonlySet<string>;
  /** When the user's connections were last asked whether they are there. */
  readonly probedAt: number;
  /** A version that an unknown user has to exceed. */
  readonly floor: number;
  readonly rules: Rules;
}

/** A user id, or null for a caller without a token. */
export type Viewer = string | null;

export function unknownUser(userId: string, rules: Rules, floor = 0): User {
  return {
    userId,
    version: 0,
    ownVersion: 0,
    leases: new Map(),
    choice: "online",
    text: null,
    data: null,
    until: null,
    earlier: [],
    chosenAt: 0,
    status: "offline",
    graceUntil: null,
    pendingLeaves: new Map(),
    farewell: null,
    lastSeen: null,
    activeAt: 0,
    disclosure: "exact",
    blocked: new Map(),
    hasBlocked: false,
    returned: new Map(),
    barred: new Set(),
    probedAt: 0,
    floor,
    rules,
  };
}

/**
 * Versions stay, or are raised beyond those of viewers who were blocked once, because clients drop
 * older ones; so do blocks, or viewers would see the user leave, and what is barred.
 */
export function erased(user: User): User {
  const { userId, ownVersion, rules } = user;
  const { blocked, hasBlocked, barred, probedAt } = user;
  const kept = { blocked, hasBlocked, barred, probedAt };
  const ahead = [...user.returned.values()].map((it) => user.version + it.ahead + 1);
  const version = Math.max(user.version, ...ahead);
  return { ...unknownUser(userId, rules), version, ownVersion, ...kept };
}

/** The greatest version that any viewer was told. */
export function newestVersion({ version, ownVersion, blocked, returned }: User): number {
  const frozen = [...blocked.values()].map((view) => view.version);
  const ahead = [...returned.values()].map((it) => version + it.ahead);
  return Math.max(version, ownVersion, ...frozen, ...ahead);
}

export function precisionOf(user: User): Precision {
  return precisionWith(user.rules, user.disclosure);
}

/** Those of all viewers. */
export function farewellsOf(user: User): readonly Farewell[] {
  const blocked = [...user.blocked.values()].map((view) => view.farewell);
  return [user.farewell, ...blocked].filter((farewell) => farewell !== null);
}

/** All of it but the instant, as text: quick blocks have it in common. */
export function sceneOf({ until, status, text, data, sessions }: Farewell): string {
  const leaving = [...sessions].map(([name, at]) => [name, at === until ? null : at]);
  return JSON.stringify([status, text, data, leaving.sort()]);
}

/** What of it is left. */
export function farewellAt(farewell: Farewell | null, now: number): Farewell | null {
  if (farewell === null || farewell.until <= now) return null;
  const left = [...farewell.sessions].filter(([, until]) => until > now);
  return { ...farewell, sessions: new Map(left) };
}

export function endsOf({ until, sessions }: Farewell): readonly number[] {
  return [until, ...sessions.values()];
}

export function mapped<A, B>(
  map: ReadonlyMap<string, A>,
  to: (value: A, key: string) => B,
): ReadonlyMap<string, B> {
  return new Map([...map].map(([key, value]) => [key, to(value, key)]));
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

/** Those in which the user is, or is seen by any viewer. */
export function allSessions(user: User): ReadonlySet<string> {
  const seen = farewellsOf(user).flatMap(({ sessions }) => [...sessions.keys()]);
  return new Set([...sessionsOf(user), ...seen]);
}

/** Those that a connection is in. */
export function joinedSessions(user: User): ReadonlySet<string> {
  return new Set([...user.leases.values()].flatMap((lease) => [...lease.sessions]));
}

/** As a viewer who is not blocked sees the user. */
export function publicPresence(user: User): Presence {
  const { userId, status, version, farewell } = user;
  const said = status === "offline" ? NOTHING : (farewell ?? user);
  return presence(userId, status, coarsened(precisionOf(user), user.lastSeen), version, said);
}

/** As the user's own devices see them: the truth, and what they chose, also while offline. */
export function ownPresence(user: User): Presence {
  const { userId, lastSeen, ownVersion, until, disclosure } = user;
  return {
    ...presence(userId, ownStatus(user), lastSeen, ownVersion, user),
    ...(until === null ? {} : { until }),
    ...(disclosure === "exact" ? {} : { showLastSeen: disclosure }),
  };
}

function ownStatus(user: User): Status {
  if (user.choice === "invisible") return isHere(user) ? "invisible" : "offline";
  return user.farewell ? "offline" : user.status;
}

export function seenBy(viewer: Viewer, user: User): Presence {
  if (viewer === user.userId) return ownPresence(user);
  const frozen = viewer === null ? undefined : user.blocked.get(viewer);
  if (frozen) return frozenPresence(user, frozen);
  const known = publicPresence(user);
  const returned = viewer === null ? undefined : user.returned.get(viewer);
  if (!returned) return known;
  const lastSeen = Math.max(user.lastSeen ?? 0, returned.lastSeen ?? 0) || null;
  return {
    ...known,
    version: user.version + returned.ahead,
    lastSeen: coarsened(precisionOf(user), lastSeen),
  };
}

function frozenPresence(user: User, { farewell, version, ...view }: FrozenView): Presence {
  const lastSeen = coarsened(precisionWith(user.rules, view.disclosure), view.lastSeen);
  const said = farewell ?? NOTHING;
  return presence(user.userId, said.status, lastSeen, version, said);
}

/** What a viewer sees instead of a user who hides; null if the user does not, or has left. */
function farewellFor(viewer: Viewer, user: User): Farewell | null {
  const frozen = viewer === null ? undefined : user.blocked.get(viewer);
  return frozen ? frozen.farewell : user.farewell;
}

/** Whether a viewer may learn that the user does something at this moment. */
export function isSeenActingBy(viewer: Viewer, user: User): boolean {
  const isLeaving = viewer !== user.userId && farewellFor(viewer, user) !== null;
  return seenBy(viewer, user).isOnline && !isLeaving;
}

/** The chat sessions in which a viewer sees the user; none for a user who is offline to others. */
export function sessionsSeenBy(viewer: Viewer, user: User): ReadonlySet<string> {
  return new Set([...allSessions(user)].filter((name) => isSeenIn(name, viewer, user)));
}

/** Whether one of those is this chat session. */
export function isSeenIn(sessionId: string, viewer: Viewer, user: User): boolean {
  const farewell = farewellFor(viewer, user);
  if (farewell) return farewell.sessions.has(sessionId);
  if (!maySee(viewer, user) || user.status === "offline") return false;
  if (user.pendingLeaves.has(sessionId)) return true;
  for (const lease of user.leases.values()) if (lease.sessions.has(sessionId)) return true;
  return false;
}

/** When something about the user changes by itself next, besides the ends of leases. */
export function nextChangeAt(user: User): number | null {
  const joined = joinedSessions(user);
  const leaves = [...user.pendingLeaves].filter(([name]) => !joined.has(name));
  const told = farewellsOf(user).flatMap(endsOf);
  const graceOrChoice = isInGrace(user) ? user.graceUntil : user.until;
  const times = [graceOrChoice, ...leaves.map(([, at]) => at), ...told];
  const known = times.filter((at) => at !== null);
  return known.length > 0 ? Math.min(...known) : null;
}

export function maySee(viewer: Viewer, user: User): boolean {
  return viewer === null || !user.blocked.has(viewer);
}

/** The other users whose view may differ from the public one. */
export function specialViewersOf(user: User): readonly string[] {
  return [...user.blocked.keys(), ...user.returned.keys()];
}

/** Whether a viewer who knows `before` has to hear `after`; a newer lastSeen alone is no news. */
export function saysMoreThan(after: Presence, before: Presence): boolean {
  return (["status", "text", "until", "showLastSeen", "data"] as const).some(
    (name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]),
  );
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
  { text, data }: Pick<User, "text" | "data">,
): Presence {
  return {
    ...{ userId, status, isOnline: status !== "offline", lastSeen, version },
    ...(text === null ? {} : { text }),
    ...(data === null ? {} : { data: JSON.parse(data) }),
  };
}

/** What is seen of a user who is offline. */
const NOTHING = { status: "offline", text: null, data: null } as const;
