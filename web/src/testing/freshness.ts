/** How fresh the evidence is that a user is there: `domain/freshness.py` of the server. */

import type { Presence } from "../protocol.js";
import { isSeenActingBy, seenBy, type User, type Viewer } from "./user.js";

/** When a user was heard is told in steps of this part of the time for which that is fresh. */
const STEPS_OF_FRESH = 3;

/** As a viewer sees the user, with `heardAt`, if the viewer may learn it. */
export function verifiedBy(viewer: Viewer, user: User, now: number): Presence {
  const at = isSeenActingBy(viewer, user) ? heardAt(user, now) : null;
  return { ...seenBy(viewer, user), ...(at === null ? {} : { heardAt: at }) };
}

/** Whether a viewer who was told this knows how the user is, without waiting for an answer. */
export function isSettled({ isOnline, heardAt }: Presence, { rules }: User, now: number): boolean {
  return !isOnline || (heardAt ?? 0) > now - rules.fresh;
}

/** Whether to ask the user's connections, because this viewer asks. */
export function needsProbe(viewer: Viewer, user: User, now: number): boolean {
  const isDue = user.probedAt <= now - user.rules.fresh;
  return isDue && isSeenActingBy(viewer, user) && unheard(user, now).size > 0;
}

/** The live connections, each with when it was heard last; none if the evidence is fresh. */
export function unheard(user: User, now: number): ReadonlyMap<string, number> {
  const isFresh = (heardAt(user, now) ?? 0) > now - user.rules.fresh;
  return isFresh ? new Map() : live(user, now);
}

/** When the user was heard last, as it is told; null without a live connection. */
function heardAt(user: User, now: number): number | null {
  const times = [...live(user, now).values()];
  if (times.length === 0) return null;
  const newest = Math.max(...times);
  const told = newest - (newest % Math.floor(user.rules.fresh / STEPS_OF_FRESH));
  return newest >= user.probedAt ? Math.max(told, user.probedAt) : told;
}

function live({ leases }: User, now: number): ReadonlyMap<string, number> {
  const here = [...leases].filter(([, lease]) => lease.expiresAt > now);
  return new Map(here.map(([name, { seenAt }]) => [name, seenAt]));
}
