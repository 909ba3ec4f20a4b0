/**
 * Everything about one user's presence: `domain/reducer.py` of the server, function for function.
 *
 * tests/vectors.py tells thousands of stories with that one, and this one gives the same answers.
 * What differs, and why:
 *
 * - A user has no `revision`: the server in memory does not read it.
 * - Revoked tokens are those of `tokens.ts`; of the back end's decisions a user has the barred chat
 *   sessions only.
 * - There is no `LeaseExpired` event and no `TimerDue` effect: they are for timers that come late
 *   or twice. The clock in memory is exact, so each user is looked at when something changes.
 */

import type { Choice, Disclosure, Presence } from "../protocol.js";
import { patched, withData } from "./data.js";
import { noAccess, Refusal } from "./refusal.js";
import {
  allSessions,
  type EarlierChoice,
  endsOf,
  erased,
  type Farewell,
  farewellAt,
  farewellsOf,
  isHere,
  isInGrace,
  joinedSessions,
  type Lease,
  looksLike,
  MAX_BARRED,
  MAX_BLOCKED,
  MAX_CONNECTIONS,
  MAX_EARLIER_CHOICES,
  MAX_RETURNED,
  MAX_SCENES,
  MAX_SESSIONS,
  mapped,
  ownPresence,
  precisionOf,
  precisionWith,
  publicPresence,
  type Returned,
  saysMoreThan,
  sceneOf,
  seenBy,
  sessionsSeenBy,
  specialViewersOf,
  type User,
  type Viewer,
  versionAt,
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

interface InSessions<Type extends string> extends OfConnection<Type> {
  readonly sessionIds: readonly string[];
}

/** Of `sessionIds` it joins those that it may. */
interface Authenticated extends Heard<"authenticated">, InSessions<"authenticated"> {
  /** When the user leaves what a connection was in that is replaced. */
  readonly graceUntil: number;
  /** Replaces the user's; null keeps it. */
  readonly data: string | null;
}

/** A probe was taken for these connections, each of which was heard last at this instant. */
interface Probed {
  readonly type: "probed";
  readonly unheard: ReadonlyMap<string, number>;
  readonly until: number;
}

interface OfSession<Type extends string> {
  readonly type: Type;
  readonly sessionId: string;
}

export interface Chosen {
  readonly type: "chosen";
  readonly choice: Choice;
  readonly text: string | null;
  readonly until: number | null;
  /** When the user chose, if that was a while ago; null is now. */
  readonly chosenAt: number | null;
  /** Null keeps it. */
  readonly disclosure: Disclosure | null;
  /** Replaces the user's; null keeps it. */
  readonly data: string | null;
}

export type UserEvent =
  | Authenticated
  | Heard<"renewed">
  | (OfConnection<"disconnected"> & { readonly graceUntil: number })
  | Probed
  | { readonly type: "grace-ended" }
  | InSessions<"joined">
  | InSessions<"left">
  | Chosen
  | { readonly type: "data-changed"; readonly data: string; readonly isPatch: boolean }
  | { readonly type: "seen" }
  | { readonly type: "blocked"; readonly viewerId: string }
  | { readonly type: "unblocked"; readonly viewerIds: readonly string[]; readonly gone: boolean }
  | OfSession<"barred">
  | OfSession<"allowed">
  | { readonly type: "erased"; readonly allowsSessions: boolean }
  | { readonly type: "time-passed" };

export type Effect =
  | { readonly type: "presence-changed"; readonly before: Presence; readonly after: Presence }
  | { readonly type: "view-changed" }
  | (OfConnection<"lease-removed" | "lease-replaced"> & { readonly sessions: ReadonlySet<string> });

/** What the clock alone decides is decided first. Throws a Refusal; the user is unchanged then. */
export function reduce(
  user: User,
  event: UserEvent,
  now: number,
): readonly [User, readonly Effect[]] {
  const settled = settle(user, now);
  let after = endChoice(apply(settled, event, now), now);
  after = decideStatus(hideOrShow(settled, after, now));
  after = countVersions(user, after, now);
  const replaced = event.type === "authenticated" ? gone("lease-replaced", settled, after) : [];
  return [after, [...replaced, ...effects(user, settled, after)]];
}

// What the clock decides.

/** Without what is over, in the order in which it ended, however late that is noticed. */
function settle(user: User, now: number): User {
  let [rest, last] = [user, 0];
  for (;;) {
    const at = Math.min(now, ...endsIn(rest).filter((end) => end > last));
    rest = withoutOver(rest, at);
    if (at === now) return rest;
    last = at;
  }
}

/** The ends of the leases, of the choice, and of what is seen of a user who hides. */
function endsIn(user: User): readonly number[] {
  const leases = [...user.leases.values()].map((lease) => lease.expiresAt);
  return [
    ...leases,
    ...(user.until === null ? [] : [user.until]),
    ...farewellsOf(user).flatMap(endsOf),
  ];
}

function withoutOver(user: User, at: number): User {
  const rest = endFarewells(endChoice(withoutExpired(user, at), at), at);
  const joined = joinedSessions(rest);
  const isKept = (name: string, until: number) => until > at || joined.has(name);
  return decideStatus({ ...rest, pendingLeaves: filtered(rest.pendingLeaves, isKept) });
}

/** With the choice before one that is over; in grace it goes on, as does all that others see. */
function endChoice(user: User, at: number): User {
  let rest = user;
  while (rest.until !== null && rest.until <= at && !isInGrace(rest)) {
    const back = rest.earlier.at(-1) ?? NO_CHOICE;
    const ended: User = { ...rest, ...back, earlier: rest.earlier.slice(0, -1) };
    rest = hideOrShow(decideStatus(rest), ended, at);
  }
  return rest;
}

/** Viewers who have seen a hidden user for long enough see the user offline. */
function endFarewells(user: User, at: number): User {
  const blocked = mapped(user.blocked, (view) => ({
    ...view,
    farewell: farewellAt(view.farewell, at),
  }));
  if (user.farewell === null) return { ...user, blocked };
  const farewell = farewellAt(user.farewell, at);
  return { ...user, blocked, farewell, status: farewell ? user.status : "offline" };
}

/**
 * Without the leases and the grace that are over.
 *
 * A user who falls silent was last seen when last heard on an active device, not when that was
 * noticed; or when another device left.
 */
function withoutExpired(user: User, at: number): User {
  const leases = filtered(user.leases, (_, lease) => lease.expiresAt > at);
  let rest: User = { ...user, leases };
  for (const [name, lease] of user.leases) {
    if (!leases.has(name) && lease.isActive) rest = active(rest, lease.seenAt);
  }
  if (leases.size > 0) return rest;
  if (user.leases.size > 0) rest = seen(rest, rest.activeAt);
  const isOver = user.graceUntil !== null && user.graceUntil <= at;
  return isOver ? { ...rest, graceUntil: null } : rest;
}

/**
 * The status, and with it the sessions: a user who is not here is expected back in none.
 * A user who is away was last seen at the last activity.
 */
function decideStatus(user: User): User {
  const pendingLeaves = isHere(user) ? user.pendingLeaves : new Map<string, number>();
  const isShown = user.leases.size > 0 && user.choice !== "invisible";
  const rest = isShown ? { ...user, farewell: null } : user;
  const after = { ...rest, status: statusOf(rest), pendingLeaves };
  const isAway = after.leases.size > 0 && after.choice === "online" && after.status === "away";
  return isAway ? seen(after, after.activeAt) : after;
}

function statusOf(user: User): User["status"] {
  if (user.farewell) return user.farewell.status;
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
    case "probed":
      return awaitAnswers(user, event);
    case "grace-ended":
      return { ...endAllFarewells(user), graceUntil: null, pendingLeaves: new Map() };
    case "joined":
      return join(user, event);
    case "left":
      return leave(user, event);
    case "chosen":
      return choose(user, event, now);
    case "data-changed":
      return withData(user, event.isPatch ? patched(user.data, event.data) : event.data);
    case "seen":
      return seen(user, now);
    case "blocked":
      return block(user, event.viewerId, now);
    case "unblocked":
      return unblock(user, event.viewerIds, event.gone);
    case "barred":
      return bar(user, event.sessionId);
    case "allowed":
      return { ...user, barred: without(user.barred, event.sessionId) };
    case "erased":
      return erased(event.allowsSessions ? { ...user, barred: new Set() } : user);
    case "time-passed":
      return user;
  }
}

function add(before: User, event: Authenticated, now: number): User {
  const known = before.leases.get(event.connectionId);
  const isFull = !known && before.leases.size >= MAX_CONNECTIONS;
  const user = isFull
    ? remove(before, toReplace(before, event.lease.device), event.graceUntil, now)
    : before;
  const brought = [...(known ?? event.lease).sessions];
  const sessions = new Set(brought.filter((name) => !user.barred.has(name)));
  if (new Set([...allSessions(user), ...sessions]).size > MAX_SESSIONS) {
    const message = `This user is in ${MAX_SESSIONS} chat sessions; open a new connection.`;
    throw new Refusal("conflict", message);
  }
  const isActive = event.isActive ?? (known ?? event.lease).isActive;
  const lease = { ...heardLast(known, event.lease), isActive, sessions };
  let arriving = activeNoMore(user, known, lease, now);
  const isArrival = user.status === "offline" && (isActive || user.lastSeen === null);
  if (isArrival) arriving = seen(arriving, now);
  const here = { ...withLease(arriving, event.connectionId, lease), graceUntil: null };
  return takePart(withData(here, event.data), event);
}

/** The connection that was heard longest ago, of the same device if there is one. */
function toReplace({ leases }: User, device: string | null): string {
  const same = [...leases].filter(([, lease]) => device && lease.device === device);
  const all = same.length > 0 ? same : [...leases];
  const [[oldest]] = all.sort(
    ([one, { seenAt }], [other, lease]) => seenAt - lease.seenAt || (one < other ? -1 : 1),
  ) as [[string, Lease]];
  return oldest;
}

/** What was answered meanwhile holds: a later frame may have overtaken this one. */
function heardLast(known: Lease | undefined, lease: Lease): Lease {
  if (!known) return lease;
  const lasts = lease.lasts ?? known.lasts;
  if (known.seenAt > lease.seenAt) return { ...known, lasts };
  return { ...lease, lasts, expiresAt: lasts === null ? lease.expiresAt : lease.seenAt + lasts };
}

/** Creates nothing: a lease that is gone stays gone. It becomes shorter only if it was asked to. */
function renew(user: User, event: Heard<"renewed">): User {
  const lease = user.leases.get(event.connectionId);
  if (!lease) return user;
  const { expiresAt, lasts } = event.lease;
  const isNewer = lasts !== lease.lasts && event.lease.seenAt >= lease.seenAt;
  const renewed = {
    ...lease,
    expiresAt: isNewer ? expiresAt : Math.max(lease.expiresAt, expiresAt),
    lasts: isNewer ? lasts : lease.lasts,
    seenAt: Math.max(lease.seenAt, event.lease.seenAt),
    isActive: event.isActive ?? lease.isActive,
  };
  const after = activeNoMore(user, lease, renewed, renewed.seenAt);
  return withLease(after, event.connectionId, renewed);
}

/** With the last activity, if a person was at the device of a lease, and is not now. */
function activeNoMore(user: User, before?: Lease, after?: Lease, at = 0): User {
  return before?.isActive && !after?.isActive ? active(user, at) : user;
}

/** A person was at a device; what an invisible user does is not kept. */
function active(user: User, at: number): User {
  if (user.choice === "invisible") return user;
  return { ...user, activeAt: Math.max(at, user.activeAt) };
}

/** Also for viewers that the user hides from: a user who has closed the last tab is gone now. */
function endAllFarewells(user: User): User {
  return endFarewells(user, Math.max(0, ...farewellsOf(user).map(({ until }) => until)));
}

function remove(user: User, connectionId: string, graceUntil: number, now: number): User {
  const lease = user.leases.get(connectionId);
  if (!lease) return user;
  const leases = filtered(user.leases, (name) => name !== connectionId);
  let left = activeNoMore({ ...user, leases }, lease, undefined, now);
  if (leases.size === 0) left = seen(left, left.activeAt);
  if (graceUntil <= now) return settle(left, now); // what was over beside this lease counts now
  // Also beside other leases: they may be those of devices that are dead.
  const pendingLeaves = new Map(user.pendingLeaves);
  for (const sessionId of lease.sessions) pendingLeaves.set(sessionId, graceUntil);
  return { ...left, graceUntil, pendingLeaves };
}

/** Lengthens no lease; one that was renewed since says another `seenAt`. */
function awaitAnswers(user: User, { unheard, until }: Probed): User {
  const isAwaited = (name: string, lease: Lease) => unheard.get(name) === lease.seenAt;
  const leases = mapped(user.leases, (lease, name) =>
    isAwaited(name, lease) ? { ...lease, expiresAt: Math.min(lease.expiresAt, until) } : lease,
  );
  return { ...user, leases };
}

function join(user: User, event: InSessions<"joined">): User {
  if (!user.leases.has(event.connectionId)) return user;
  const refusals = event.sessionIds.map((name) => noEntry(user, name));
  if (refusals[0] && refusals.every((it) => it)) throw refusals[0];
  return takePart(user, event);
}

/** Why the user may not join a chat session; null if they may. */
export function noEntry(user: User, sessionId: string): Refusal | null {
  if (user.barred.has(sessionId)) return noAccess();
  const known = allSessions(user);
  if (known.has(sessionId) || known.size < MAX_SESSIONS) return null;
  const message = `Leave one of the ${MAX_SESSIONS} chat sessions of this user first.`;
  return new Refusal("conflict", message);
}

/** In those that the user may join, in their order. */
function takePart(before: User, { connectionId, sessionIds }: InSessions<string>): User {
  let user = before;
  for (const sessionId of sessionIds) {
    if (noEntry(user, sessionId)) continue;
    const lease = user.leases.get(connectionId) as Lease;
    const sessions = new Set([...lease.sessions, sessionId]);
    user = withLease(withoutPending(user, sessionId), connectionId, { ...lease, sessions });
  }
  return user;
}

/** Connections that are in it have to leave it yet. */
function bar(user: User, sessionId: string): User {
  const barred = new Set([...user.barred, sessionId]);
  if (barred.size > MAX_BARRED) {
    const message = `${MAX_BARRED} chat sessions are barred; revoke the user's tokens.`;
    throw new Refusal("conflict", message);
  }
  return { ...withoutPending(user, sessionId), barred };
}

function withoutPending(user: User, sessionId: string): User {
  return { ...user, pendingLeaves: filtered(user.pendingLeaves, (name) => name !== sessionId) };
}

function leave(user: User, { connectionId, sessionIds }: InSessions<"left">): User {
  const rest = sessionIds.reduce(withoutPending, user);
  const lease = rest.leases.get(connectionId);
  if (!lease) return rest;
  const sessions = new Set([...lease.sessions].filter((name) => !sessionIds.includes(name)));
  return withLease(rest, connectionId, { ...lease, sessions });
}

/** An invisible user is not seen; for all others they left when they became invisible. */
function seen(user: User, at: number): User {
  if (user.choice === "invisible") return user;
  return { ...user, lastSeen: Math.max(at, user.lastSeen ?? 0) || null };
}

const NO_CHOICE: EarlierChoice = { choice: "online", text: null, until: null };

/** With the choice, unless a newer one is known; a timed one remembers those before it. */
function choose(user: User, event: Chosen, now: number): User {
  // One that is over when it comes was never made.
  if (event.until !== null && event.until <= now) return user;
  const asked = Math.min(event.chosenAt ?? now, now);
  if (event.chosenAt !== null && asked < user.chosenAt) return user;
  const { choice, text, until } = event;
  return {
    ...withData(user, event.data),
    choice,
    text,
    until,
    earlier: earlierThan(user, event),
    chosenAt: event.chosenAt === null ? Math.max(now, user.chosenAt) : asked,
    disclosure: event.disclosure ?? user.disclosure,
  };
}

/** The choices that outlast a timed one; the same choice again with an end gets that end. */
function earlierThan(user: User, event: Chosen): readonly EarlierChoice[] {
  const end = event.until;
  if (end === null) return [];
  const { choice, text, until } = user;
  const isSame = choice === event.choice && text === event.text;
  const known = isSame ? user.earlier : [...user.earlier, { choice, text, until }];
  const isChosen = (it: EarlierChoice) => it.choice !== "online" || it.text !== null;
  const lasting = known.filter((it) => it.until === null && isChosen(it));
  const timed = known.filter((it) => it.until !== null && it.until > end);
  return [...lasting, ...timed.slice(-MAX_EARLIER_CHOICES)];
}

/** For the viewer it looks as if the user left now; or as it looked, if they had left. */
function block(user: User, viewerId: string, now: number): User {
  if (user.blocked.has(viewerId)) return user;
  if (user.blocked.size >= MAX_BLOCKED) {
    throw new Refusal("conflict", `Unblock one of the ${MAX_BLOCKED} users first.`);
  }
  const farewell = user.farewell ?? farewellOf(user, now);
  requireFewScenes(user, farewell, now);
  const returned = user.returned.get(viewerId)?.lastSeen ?? 0;
  const view = {
    lastSeen: Math.max(lastSeenAt(user, now) ?? 0, returned) || null,
    version: seenBy(viewerId, user).version,
    farewell,
    disclosure: user.disclosure,
  };
  return {
    ...user,
    blocked: new Map(user.blocked).set(viewerId, view),
    hasBlocked: true,
    returned: filtered(user.returned, (name) => name !== viewerId),
  };
}

/** Viewers go on seeing few different states of a user who hides, for as long as that takes. */
function requireFewScenes(user: User, farewell: Farewell | null, now: number): void {
  const known = farewellsOf(user);
  const scenes = new Set([...known, ...(farewell ? [farewell] : [])].map(sceneOf));
  if (scenes.size <= MAX_SCENES) return;
  const seconds = Math.ceil((Math.min(...known.map(({ until }) => until)) - now) / 1000);
  throw new Refusal("rate-limited", `Block this user in ${seconds} s.`, seconds);
}

/** The viewers see the truth, from the version on that they hold; those who are gone need none. */
function unblock(user: User, viewerIds: readonly string[], gone: boolean): User {
  const returned = new Map(user.returned);
  for (const name of viewerIds) {
    const view = user.blocked.get(name);
    if (gone) returned.delete(name);
    else if (view) returned.set(name, { ahead: 0, lastSeen: view.lastSeen });
  }
  return {
    ...user,
    blocked: filtered(user.blocked, (name) => !viewerIds.includes(name)),
    returned,
  };
}

// What others see of it.

/**
 * Becoming invisible looks like leaving, and ceasing to be like arriving. A user without a
 * connection has left already, and does not arrive; one who shows up while others still see what
 * was before is back within the grace period.
 */
function hideOrShow(before: User, after: User, now: number): User {
  const [wasHidden, isHidden] = [before, after].map((user) => user.choice === "invisible");
  if (wasHidden === isHidden) return after;
  if (isHidden) {
    const farewell = before.farewell ?? farewellOf(before, now);
    return { ...after, farewell, lastSeen: lastSeenAt(before, now) };
  }
  return before.farewell === null && isActive(after) ? seen(after, now) : after;
}

/** What is seen from now on of a user who hides; null if the user is offline. */
function farewellOf(user: User, now: number): Farewell | null {
  const until = user.leases.size > 0 ? now + user.rules.grace : (user.graceUntil ?? now);
  if (until <= now || user.status === "offline") return null;
  const sessions = new Map(user.pendingLeaves);
  for (const name of joinedSessions(user)) sessions.set(name, until);
  const { text, data } = user.farewell ?? user;
  return { until, status: user.status, text, data, sessions };
}

/** `lastSeen` as if the user's last connection were closed now. */
function lastSeenAt(user: User, now: number): number | null {
  if (user.leases.size === 0 || user.choice === "invisible") return user.lastSeen;
  return Math.max(user.lastSeen ?? 0, isActive(user) ? now : user.activeAt) || null;
}

function isActive(user: User): boolean {
  return [...user.leases.values()].some((lease) => lease.isActive);
}

/** Hybrid clocks: greater than before, and than any version of a user since erased. */
export function countVersions(before: User, after: User, now: number): User {
  const clock = versionAt(precisionOf(after), now);
  const version = looksLike(publicPresence(after), publicPresence(before))
    ? after.version
    : Math.max(after.version, Math.max(before.version, before.floor) + 1, clock);
  const counted = countForReturned(
    before,
    countForBlocked(before, { ...after, version }, now),
    clock,
  );
  const own = ownPresence(counted);
  const changed = looksLike(own, ownPresence(before))
    ? after.ownVersion
    : Math.max(Math.max(before.ownVersion, before.floor) + 1, counted.version, now);
  // A large room may name users to themselves, as others see them: that must look older.
  const isPublic = looksLike(own, publicPresence(counted));
  return { ...counted, ownVersion: isPublic ? changed : Math.max(changed, counted.version + 1) };
}

/** The version of what a viewer sees, who saw `known` before. */
function nextVersion(known: Presence, seen: Presence, clock: number): number {
  return looksLike(seen, known) ? known.version : Math.max(known.version + 1, clock);
}

function countForBlocked(before: User, after: User, now: number): User {
  const blocked = mapped(after.blocked, (view, name) => {
    const clock = versionAt(precisionWith(after.rules, view.disclosure), now);
    return { ...view, version: nextVersion(seenBy(name, before), seenBy(name, after), clock) };
  });
  return { ...after, blocked };
}

/** Each viewer stays ahead until the public view has caught up; if there are too many, it is made to. */
function countForReturned(before: User, after: User, clock: number): User {
  const ahead = new Map<string, Returned>();
  for (const [name, { lastSeen }] of after.returned) {
    const version = nextVersion(seenBy(name, before), seenBy(name, after), clock);
    const kept = { ahead: Math.max(0, version - after.version), lastSeen };
    if (kept.ahead > 0 || (lastSeen ?? 0) > (after.lastSeen ?? 0)) ahead.set(name, kept);
  }
  if (ahead.size <= MAX_RETURNED) return { ...after, returned: ahead };
  const most = Math.max(...[...ahead.values()].map((it) => it.ahead));
  return { ...after, version: after.version + most + 1, returned: new Map() };
}

/** Each connection that has a lease before and none after. */
function gone(
  type: "lease-removed" | "lease-replaced",
  before: User,
  after: User,
): readonly Effect[] {
  return [...before.leases]
    .filter(([connectionId]) => !after.leases.has(connectionId))
    .map(([connectionId, { sessions }]) => ({ type, connectionId, sessions }));
}

export function effects(before: User, settled: User, after: User): readonly Effect[] {
  const removed = gone("lease-removed", before, settled);
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
  const special = [...specialViewersOf(before), ...specialViewersOf(after)];
  return [null, before.userId, ...new Set(special)];
}

// Maps and sets.

function without(names: ReadonlySet<string>, name: string): ReadonlySet<string> {
  return new Set([...names].filter((it) => it !== name));
}

function withLease(user: User, connectionId: string, lease: Lease): User {
  return { ...user, leases: new Map(user.leases).set(connectionId, lease) };
}

function filtered<V>(
  map: ReadonlyMap<string, V>,
  keep: (key: string, value: V) => boolean,
): ReadonlyMap<string, V> {
  return new Map([...map].filter(([key, value]) => keep(key, value)));
}
