/** What can happen to a user, and the user after it: the server's `domain/reducer.py`. Pure. */

import type { Choice, Status } from "../protocol.js";
import { Refusal } from "./refusal.js";
import {
  heldSessions,
  isHere,
  isInGrace,
  type Lease,
  looksLike,
  type Mask,
  ownPresence,
  publicPresence,
  seenBy,
  sessionsOf,
  type User,
} from "./user.js";

const MAX_CONNECTIONS = 20;
const MAX_SESSIONS = 50;
const MAX_BLOCKED = 200;

export type Happening =
  | {
      readonly is: "authenticated";
      readonly connectionId: string;
      readonly lease: Lease;
      /** Whether a person is there, if known. */
      readonly isActive: boolean | null;
    }
  | {
      readonly is: "renewed";
      readonly connectionId: string;
      readonly expiresAt: number;
      readonly isActive: boolean | null;
    }
  | { readonly is: "disconnected"; readonly connectionId: string; readonly graceUntil: number }
  | { readonly is: "joined"; readonly connectionId: string; readonly sessionId: string }
  | { readonly is: "left"; readonly connectionId: string; readonly sessionId: string }
  | {
      readonly is: "chosen";
      readonly choice: Choice;
      readonly text: string | null;
      readonly until: number | null;
    }
  | { readonly is: "seen" }
  | { readonly is: "blocked"; readonly viewerId: string }
  | { readonly is: "unblocked"; readonly viewerIds: readonly string[] }
  | { readonly is: "erased" }
  | { readonly is: "time-passed" }
  /** What a test says about somebody who has no connection. */
  | ({ readonly is: "told" } & Told);

export interface Told {
  readonly connectionId: string;
  readonly status: Status;
  readonly text: string | null;
  readonly lastSeen?: number | null;
  readonly version?: number;
}

export interface Outcome {
  readonly after: User;
  /** The connections whose leases have run out. */
  readonly lapsed: readonly string[];
}

/** What the clock alone decides is decided first. Throws a Refusal; the user is unchanged then. */
export function reduce(user: User, event: Happening, now: number): Outcome {
  const later = settle(user, now);
  // Who is blocked sees from now on what the clock has changed, so that has its version.
  const settled = event.is === "blocked" ? withVersions(user, later, now) : later;
  const decided = withStatus(withoutChoice(apply(settled, event, now), now));
  const shown = event.is === "told" ? decided : hiddenOrShown(settled, decided, now);
  const counted = withVersions(user, shown, now);
  const lapsed = [...user.leases.keys()].filter((name) => !settled.leases.has(name));
  return { after: event.is === "told" ? withToldVersion(user, counted, event) : counted, lapsed };
}

// What the clock decides.

/** Without what is over, in the order in which it ended, whenever somebody looks. */
function settle(user: User, now: number): User {
  const ends = [...user.leases.values()].map((lease) => lease.expiresAt);
  const over = [...ends, user.until ?? now].filter((end) => end < now);
  return [...over.sort((one, other) => one - other), now].reduce(withoutOver, user);
}

function withoutOver(user: User, at: number): User {
  const awaited = withoutChoice(withoutLapsed(user, at), at);
  const held = heldSessions(awaited);
  const lingering = filterMap(awaited.lingering, (name, until) => until > at || held.has(name));
  return withStatus({ ...awaited, lingering });
}

/** Without a choice that is over; in grace it goes on, as does all that others see. */
function withoutChoice(user: User, at: number): User {
  if (user.until === null || user.until > at || isInGrace(user)) return user;
  const ended: User = { ...user, choice: "online", text: null, until: null };
  return hiddenOrShown(user, ended, at);
}

/**
 * Without the leases and the grace that are over; beside a lease nobody looks at the grace.
 * Whoever falls silent was last seen when last heard, or when another device left.
 */
function withoutLapsed(user: User, at: number): User {
  const leases = filterMap(user.leases, (_, lease) => lease.expiresAt > at);
  const rest = { ...user, leases };
  if (leases.size > 0) return rest;
  const heard = [...user.leases.values()].map((lease) => lease.seenAt);
  const since = Math.max(...heard, Math.min(at, user.graceUntil ?? 0));
  const last = heard.length > 0 ? seen(rest, since) : rest;
  const isOver = user.graceUntil !== null && user.graceUntil <= at;
  return isOver ? { ...last, graceUntil: null } : last;
}

/** The status, and with it the sessions: whoever is not here is expected back in none. */
function withStatus(user: User): User {
  return { ...user, status: statusOf(user), lingering: isHere(user) ? user.lingering : new Map() };
}

function statusOf(user: User): User["status"] {
  if (!isHere(user) || user.choice === "invisible") return "offline";
  // Who left while they hid is shown by a connection alone.
  if (isInGrace(user) && user.status === "offline") return "offline";
  if (user.choice !== "online") return user.choice;
  if (user.leases.size > 0) {
    return [...user.leases.values()].some((lease) => lease.isActive) ? "online" : "away";
  }
  // In grace nobody is there to be active: others go on seeing what they saw.
  return user.status === "away" ? "away" : "online";
}

// What the event does.

function apply(user: User, event: Happening, now: number): User {
  switch (event.is) {
    case "authenticated":
      return add(user, event.connectionId, event.lease, event.isActive, now);
    case "renewed":
      return renew(user, event.connectionId, event.expiresAt, event.isActive, now);
    case "disconnected":
      return remove(user, event.connectionId, event.graceUntil, now);
    case "joined":
      return join(user, event.connectionId, event.sessionId);
    case "left":
      return leave(user, event.connectionId, event.sessionId);
    case "chosen":
      return { ...user, choice: event.choice, text: event.text, until: event.until };
    case "seen":
      return seen(user, now);
    case "blocked":
      return block(user, event.viewerId, now);
    case "unblocked":
      return unblock(user, event.viewerIds, now);
    case "erased":
      return erase(user);
    case "time-passed":
      return user;
    case "told":
      return tell(user, event, now);
  }
}

function add(
  user: User,
  connectionId: string,
  lease: Lease,
  isActive: boolean | null,
  now: number,
): User {
  const known = user.leases.get(connectionId);
  if (!known && user.leases.size >= MAX_CONNECTIONS) {
    throw new Refusal(
      "too-many-connections",
      `Close one of the ${MAX_CONNECTIONS} connections of this user.`,
    );
  }
  const sessions = new Set([...lease.sessions, ...(known?.sessions ?? [])]);
  const added = { ...lease, sessions, isActive: isActive ?? (known ?? lease).isActive };
  const arriving = user.status === "offline" ? seen(user, now) : user;
  return { ...arriving, leases: withEntry(arriving.leases, connectionId, added), graceUntil: null };
}

/** Creates nothing: a lease that is gone stays gone. */
function renew(
  user: User,
  connectionId: string,
  expiresAt: number,
  isActive: boolean | null,
  now: number,
): User {
  const lease = user.leases.get(connectionId);
  if (!lease) return user;
  const renewed = {
    ...lease,
    expiresAt: Math.max(lease.expiresAt, expiresAt),
    seenAt: Math.max(lease.seenAt, now),
    isActive: isActive ?? lease.isActive,
  };
  return { ...user, leases: withEntry(user.leases, connectionId, renewed) };
}

function remove(user: User, connectionId: string, graceUntil: number, now: number): User {
  const lease = user.leases.get(connectionId);
  if (!lease) return user;
  const hasGrace = graceUntil > now;
  const leases = filterMap(user.leases, (name) => name !== connectionId);
  const rest = { ...user, leases };
  const left = leases.size > 0 ? rest : seen(rest, now);
  if (!hasGrace) return settle(left, now);
  // Also beside other leases: they may be those of devices that are dead.
  const lingering = new Map(user.lingering);
  for (const sessionId of lease.sessions) lingering.set(sessionId, graceUntil);
  return { ...left, graceUntil, lingering };
}

function withoutExpected(user: User, sessionId: string): User {
  return { ...user, lingering: filterMap(user.lingering, (name) => name !== sessionId) };
}

function join(user: User, connectionId: string, sessionId: string): User {
  const lease = user.leases.get(connectionId);
  if (!lease) return user;
  const sessions = sessionsOf(user);
  if (!sessions.has(sessionId) && sessions.size >= MAX_SESSIONS) {
    throw new Refusal(
      "conflict",
      `Leave one of the ${MAX_SESSIONS} chat sessions of this user first.`,
    );
  }
  const joined = { ...lease, sessions: new Set([...lease.sessions, sessionId]) };
  const here = withoutExpected(user, sessionId);
  return { ...here, leases: withEntry(here.leases, connectionId, joined) };
}

function leave(user: User, connectionId: string, sessionId: string): User {
  const rest = withoutExpected(user, sessionId);
  const lease = rest.leases.get(connectionId);
  if (!lease) return rest;
  const left = {
    ...lease,
    sessions: new Set([...lease.sessions].filter((name) => name !== sessionId)),
  };
  return { ...rest, leases: withEntry(rest.leases, connectionId, left) };
}

/** An invisible user is not seen; for everybody else they left when they became invisible. */
function seen(user: User, at: number): User {
  if (user.choice === "invisible") return user;
  return { ...user, lastSeen: Math.max(at, user.lastSeen ?? 0) };
}

/** For the viewer it looks as if the user left now; or as it looked, if they had left. */
function block(user: User, viewerId: string, now: number): User {
  if (user.blocked.has(viewerId)) return user;
  if (user.blocked.size >= MAX_BLOCKED) {
    throw new Refusal("conflict", `Unblock one of the ${MAX_BLOCKED} users first.`);
  }
  const mask: Mask =
    user.status === "offline"
      ? { lastSeen: user.lastSeen, version: user.version }
      : { lastSeen: now, version: Math.max(user.version + 1, now) };
  return { ...user, blocked: withEntry(user.blocked, viewerId, mask) };
}

/** A version that the viewers do not hold, or they would drop the truth as old news. */
function unblock(user: User, viewerIds: readonly string[], now: number): User {
  const held = viewerIds.filter((name) => user.blocked.has(name));
  if (held.length === 0) return user;
  const seenBefore = held.map((name) => seenBy(name, user));
  const blocked = filterMap(user.blocked, (name) => !held.includes(name));
  const newest = Math.max(...seenBefore.map((presence) => presence.version));
  const truth = publicPresence(user);
  const isKnown = seenBefore.every(
    (presence) => looksLike(presence, truth) && presence.version === truth.version,
  );
  const version = user.version > newest || isKnown ? user.version : Math.max(newest + 1, now);
  return { ...user, blocked, version };
}

/** But for the blocks: nobody must see them on the way out. */
function erase(user: User): User {
  return {
    ...user,
    leases: new Map(),
    choice: "online",
    text: null,
    until: null,
    graceUntil: null,
    lingering: new Map(),
    lastSeen: null,
  };
}

function tell(user: User, told: Told, now: number): User {
  const isOffline = told.status === "offline";
  const sessions = user.leases.get(told.connectionId)?.sessions ?? new Set<string>();
  const lease = { expiresAt: Number.POSITIVE_INFINITY, seenAt: now, isActive: true, sessions };
  const leases = isOffline
    ? filterMap(user.leases, (name) => name !== told.connectionId)
    : withEntry(user.leases, told.connectionId, lease);
  const choice = told.status === "offline" ? "online" : told.status;
  const gone = isOffline ? { graceUntil: null, lingering: new Map<string, number>() } : {};
  const text = isOffline ? null : told.text;
  const after: User = { ...user, ...gone, leases, choice, text, until: null };
  if (told.lastSeen !== undefined) return { ...after, lastSeen: told.lastSeen };
  return comesOrGoes(user, after) ? { ...after, lastSeen: now } : after;
}

function comesOrGoes(before: User, after: User): boolean {
  return (statusOf(before) === "offline") !== (statusOf(after) === "offline");
}

// What others see of it.

/**
 * Becoming invisible looks like leaving, and ceasing to be like arriving. Who has no connection
 * has left already, and does not arrive.
 */
function hiddenOrShown(before: User, after: User, now: number): User {
  const isSame = (before.choice === "invisible") === (after.choice === "invisible");
  return !isSame && after.leases.size > 0 ? { ...after, lastSeen: now } : after;
}

/** Hybrid clocks: greater than before, and than any version of a user since erased. */
function withVersions(before: User, after: User, now: number): User {
  const version = looksLike(publicPresence(before), publicPresence(after))
    ? after.version
    : Math.max(after.version, before.version + 1, now);
  const ownVersion = looksLike(ownPresence(before), ownPresence(after))
    ? after.ownVersion
    : Math.max(before.ownVersion + 1, version, now);
  return { ...after, version, ownVersion };
}

/** A version that is said counts if it is greater than the one before. */
function withToldVersion(before: User, after: User, { version = 0 }: Told): User {
  return version > before.version ? { ...after, version } : after;
}

// Maps.

function withEntry<V>(map: ReadonlyMap<string, V>, key: string, value: V): ReadonlyMap<string, V> {
  return new Map(map).set(key, value);
}

function filterMap<V>(
  map: ReadonlyMap<string, V>,
  keep: (key: string, value: V) => boolean,
): ReadonlyMap<string, V> {
  return new Map([...map].filter(([key, value]) => keep(key, value)));
}
