/**
 * Everything about one user's presence: `domain/reducer.py` of the server, function for function.
 *
 * tests/vectors.py tells thousands of stories with that one, and this one gives the same answers.
 * What differs, and why:
 *
 * - A lease has no `device` and a user no `revision`: the server in memory reads neither.
 * - There is no `LeaseExpired` event and no `TimerDue` effect: they are for timers that come late
 *   or twice. The clock in memory is exact, so each user is looked at when something changes.
 */

import type { Choice, Presence } from "../protocol.js";
import { Refusal } from "./refusal.js";
import {
  erased,
  isHere,
  isInGrace,
  joinedSessions,
  type Lease,
  looksLike,
  MAX_BLOCKED,
  MAX_CONNECTIONS,
  MAX_SESSIONS,
  ownPresence,
  publicPresence,
  saysMoreThan,
  seenBy,
  sessionsOf,
  sessionsSeenBy,
  type User,
  type Viewer,
} from "./user.js";

interface OfConnection<Type extends string> {
  readonly type: Type;
  readonly connectionId: string;
}

interface Heard<Type extends string> extends OfConnection<Type> {
  readonly lease: Lease;
  /** Whether a person is there, if known. */
  readonly isActive: boolean | null;
}

interface InSession<Type extends string> extends OfConnection<Type> {
  readonly sessionId: string;
}

export interface Chosen {
  readonly type: "chosen";
  readonly choice: Choice;
  readonly text: string | null;
  readonly until: number | null;
}

export type UserEvent =
  | Heard<"authenticated">
  | Heard<"renewed">
  | (OfConnection<"disconnected"> & { readonly graceUntil: number })
  | { readonly type: "grace-ended" }
  | InSession<"joined">
  | InSession<"left">
  | Chosen
  | { readonly type: "seen" }
  | { readonly type: "blocked"; readonly viewerId: string }
  | { readonly type: "unblocked"; readonly viewerIds: readonly string[] }
  | { readonly type: "erased" }
  | { readonly type: "time-passed" };

export type Effect =
  | { readonly type: "presence-changed"; readonly before: Presence; readonly after: Presence }
  | { readonly type: "view-changed" }
  | (OfConnection<"lease-removed"> & { readonly sessions: ReadonlySet<string> });

/** What the clock alone decides is decided first. Throws a Refusal; the user is unchanged then. */
export function reduce(
  user: User,
  event: UserEvent,
  now: number,
): readonly [User, readonly Effect[]] {
  let settled = settle(user, now);
  // What the clock has changed is what the viewer sees from now on, so it has its version.
  if (event.type === "blocked") settled = countVersions(user, settled, now);
  let after = endChoice(apply(settled, event, now), now);
  after = decideStatus(after);
  after = hideOrShow(settled, after, now);
  after = countVersions(user, after, now);
  return [after, effects(user, settled, after)];
}

// What the clock decides.

/** Without what is over, in the order in which it ended, however late that is noticed. */
function settle(user: User, now: number): User {
  const ends = [...user.leases.values()].map((lease) => lease.expiresAt);
  const over = [...ends, user.until ?? now].filter((end) => end < now);
  return [...over.sort((one, other) => one - other), now].reduce(withoutOver, user);
}

function withoutOver(user: User, at: number): User {
  const rest = endChoice(withoutExpired(user, at), at);
  const joined = joinedSessions(rest);
  const isKept = (name: string, until: number) => until > at || joined.has(name);
  return decideStatus({ ...rest, pendingLeaves: filtered(rest.pendingLeaves, isKept) });
}

/** Without a choice that is over; in grace it goes on, as does all that others see. */
function endChoice(user: User, at: number): User {
  if (user.until === null || user.until > at || isInGrace(user)) return user;
  const ended: User = { ...user, choice: "online", text: null, until: null };
  return hideOrShow(user, ended, at);
}

/**
 * Without the leases and the grace that are over.
 *
 * A user who falls silent was last seen when last heard, not when that was noticed; or when another
 * device left, which is known by its grace period.
 */
function withoutExpired(user: User, at: number): User {
  const leases = filtered(user.leases, (_, lease) => lease.expiresAt > at);
  const heard = [...user.leases].flatMap(([name, lease]) => (leases.has(name) ? [] : lease.seenAt));
  let rest: User = { ...user, leases };
  if (leases.size > 0) return rest;
  if (heard.length > 0) rest = seen(rest, Math.max(...heard, Math.min(at, user.graceUntil ?? 0)));
  const isOver = user.graceUntil !== null && user.graceUntil <= at;
  return isOver ? { ...rest, graceUntil: null } : rest;
}

/** The status, and with it the sessions: a user who is not here is expected back in none. */
function decideStatus(user: User): User {
  const pendingLeaves = isHere(user) ? user.pendingLeaves : new Map<string, number>();
  return { ...user, status: statusOf(user), pendingLeaves };
}

function statusOf(user: User): User["status"] {
  if (!isHere(user) || user.choice === "invisible") return "offline";
  if (isInGrace(user) && user.status === "offline") return "offline"; // they left while they hid
  if (user.choice !== "online") return user.choice;
  if (user.leases.size > 0) {
    return [...user.leases.values()].some((lease) => lease.isActive) ? "online" : "away";
  }
  // In grace no device says whether a person is there: others go on seeing what they saw.
  return user.status === "away" ? "away" : "online";
}

// What the event does.

function apply(user: User, event: UserEvent, now: number): User {
  switch (event.type) {
    case "authenticated":
      return add(user, event, now);
    case "renewed":
      return renew(user, event);
    case "disconnected":
      return remove(user, event.connectionId, event.graceUntil, now);
    case "grace-ended":
      return { ...user, graceUntil: null, pendingLeaves: new Map() };
    case "joined":
      return join(user, event);
    case "left":
      return leave(user, event);
    case "chosen":
      return { ...user, choice: event.choice, text: event.text, until: event.until };
    case "seen":
      return seen(user, now);
    case "blocked":
      return block(user, event.viewerId, now);
    case "unblocked":
      return unblock(user, event.viewerIds, now);
    case "erased":
      return erased(user);
    case "time-passed":
      return user;
  }
}

function add(user: User, event: Heard<"authenticated">, now: number): User {
  const known = user.leases.get(event.connectionId);
  if (!known && user.leases.size >= MAX_CONNECTIONS) {
    const message = `Close one of the ${MAX_CONNECTIONS} connections of this user.`;
    throw new Refusal("too-many-connections", message);
  }
  const { sessions } = known ?? event.lease;
  if (new Set([...sessionsOf(user), ...sessions]).size > MAX_SESSIONS) {
    const message = `This user is in ${MAX_SESSIONS} chat sessions; open a new connection.`;
    throw new Refusal("conflict", message);
  }
  const isActive = event.isActive ?? (known ?? event.lease).isActive;
  const lease = { ...heardLast(known, event.lease), isActive, sessions };
  const arriving = user.status === "offline" ? seen(user, now) : user;
  return { ...withLease(arriving, event.connectionId, lease), graceUntil: null };
}

/** What was answered meanwhile holds: a later frame may have overtaken this one. */
function heardLast(known: Lease | undefined, lease: Lease): Lease {
  return known === undefined || known.seenAt <= lease.seenAt ? lease : known;
}

/** Creates nothing: a lease that is gone stays gone. */
function renew(user: User, event: Heard<"renewed">): User {
  const lease = user.leases.get(event.connectionId);
  if (!lease) return user;
  return withLease(user, event.connectionId, {
    ...lease,
    expiresAt: Math.max(lease.expiresAt, event.lease.expiresAt),
    seenAt: Math.max(lease.seenAt, event.lease.seenAt),
    isActive: event.isActive ?? lease.isActive,
  });
}

function remove(user: User, connectionId: string, graceUntil: number, now: number): User {
  const lease = user.leases.get(connectionId);
  if (!lease) return user;
  const leases = filtered(user.leases, (name) => name !== connectionId);
  let left: User = { ...user, leases };
  if (leases.size === 0) left = seen(left, now);
  if (graceUntil <= now) return settle(left, now); // what was over beside this lease counts now
  // Also beside other leases: they may be those of devices that are dead.
  const pendingLeaves = new Map(user.pendingLeaves);
  for (const sessionId of lease.sessions) pendingLeaves.set(sessionId, graceUntil);
  return { ...left, graceUntil, pendingLeaves };
}

function join(user: User, { connectionId, sessionId }: InSession<"joined">): User {
  const lease = user.leases.get(connectionId);
  if (!lease) return user;
  const known = sessionsOf(user);
  if (!known.has(sessionId) && known.size >= MAX_SESSIONS) {
    const message = `Leave one of the ${MAX_SESSIONS} chat sessions of this user first.`;
    throw new Refusal("conflict", message);
  }
  const sessions = new Set([...lease.sessions, sessionId]);
  return withLease(withoutPending(user, sessionId), connectionId, { ...lease, sessions });
}

function withoutPending(user: User, sessionId: string): User {
  return { ...user, pendingLeaves: filtered(user.pendingLeaves, (name) => name !== sessionId) };
}

function leave(user: User, { connectionId, sessionId }: InSession<"left">): User {
  const rest = withoutPending(user, sessionId);
  const lease = rest.leases.get(connectionId);
  if (!lease) return rest;
  const sessions = new Set([...lease.sessions].filter((name) => name !== sessionId));
  return withLease(rest, connectionId, { ...lease, sessions });
}

/** An invisible user is not seen; for all others they left when they became invisible. */
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
  const frozen =
    user.status === "offline"
      ? { lastSeen: user.lastSeen, version: user.version }
      : { lastSeen: now, version: Math.max(user.version + 1, now) };
  return { ...user, blocked: new Map(user.blocked).set(viewerId, frozen) };
}

/** A version that the viewers do not hold, or they would drop the truth as old news. */
function unblock(user: User, viewerIds: readonly string[], now: number): User {
  const views = viewerIds.filter((name) => user.blocked.has(name)).map((id) => seenBy(id, user));
  if (views.length === 0) return user;
  const truth = publicPresence(user);
  const held = Math.max(...views.map(({ version }) => version));
  const isKnown = views.every((it) => it.version === truth.version && looksLike(it, truth));
  const version = user.version > held || isKnown ? user.version : Math.max(held + 1, now);
  return { ...user, blocked: filtered(user.blocked, (name) => !viewerIds.includes(name)), version };
}

// What others see of it.

/**
 * Becoming invisible looks like leaving, and ceasing to be like arriving. A user without a
 * connection has left already, and does not arrive.
 */
function hideOrShow(before: User, after: User, now: number): User {
  const [wasHidden, isHidden] = [before, after].map((user) => user.choice === "invisible");
  return wasHidden !== isHidden && after.leases.size > 0 ? { ...after, lastSeen: now } : after;
}

/** Hybrid clocks: greater than before, and than any version of a user since erased. */
export function countVersions(before: User, after: User, now: number): User {
  const version = looksLike(publicPresence(after), publicPresence(before))
    ? after.version
    : Math.max(after.version, before.version + 1, now);
  const ownVersion = looksLike(ownPresence(after), ownPresence(before))
    ? after.ownVersion
    : Math.max(before.ownVersion + 1, version, now);
  return { ...after, version, ownVersion };
}

export function effects(before: User, settled: User, after: User): readonly Effect[] {
  const removed = [...before.leases]
    .filter(([connectionId]) => !settled.leases.has(connectionId))
    .map(([connectionId, { sessions }]) => ({
      type: "lease-removed" as const,
      connectionId,
      sessions,
    }));
  const [was, is] = [publicPresence(before), publicPresence(after)];
  if (saysMoreThan(is, was)) {
    return [...removed, { type: "presence-changed", before: was, after: is }];
  }
  const isNewsTo = (viewer: Viewer) => isNews(before, after, viewer);
  return specialViewers(before, after).some(isNewsTo)
    ? [...removed, { type: "view-changed" }]
    : removed;
}

/** Whether a viewer has to hear of the difference, in any frame. */
function isNews(before: User, after: User, viewer: Viewer): boolean {
  const [was, is] = [sessionsSeenBy(viewer, before), sessionsSeenBy(viewer, after)];
  const areSame = was.size === is.size && [...was].every((name) => is.has(name));
  return !areSame || saysMoreThan(seenBy(viewer, after), seenBy(viewer, before));
}

/** All viewers whose view may differ from the others', and null for all those others. */
function specialViewers(before: User, after: User): readonly Viewer[] {
  return [null, before.userId, ...new Set([...before.blocked.keys(), ...after.blocked.keys()])];
}

// Maps.

function withLease(user: User, connectionId: string, lease: Lease): User {
  return { ...user, leases: new Map(user.leases).set(connectionId, lease) };
}

function filtered<V>(
  map: ReadonlyMap<string, V>,
  keep: (key: string, value: V) => boolean,
): ReadonlyMap<string, V> {
  return new Map([...map].filter(([key, value]) => keep(key, value)));
}
