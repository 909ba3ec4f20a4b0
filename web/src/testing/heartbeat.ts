/** How often a connection pings, and how long its lease lasts: the server's `domain/heartbeat.py`. */

import type { Lease, User } from "./user.js";

const MINUTE_MS = 60_000;
const LATE_MS = 15_000;

export interface Heartbeats {
  readonly heartbeatSeconds: number;
  readonly backgroundHeartbeatSeconds: number;
}

/** 1.5 heartbeats, and longer than a hidden tab needs, whose timers run once a minute. */
export function leaseMs(heartbeatSeconds: number): number {
  const minutes = Math.ceil(heartbeatSeconds / 60);
  return Math.max(Math.ceil(heartbeatSeconds * 1.5) * 1000, minutes * MINUTE_MS + LATE_MS);
}

/** What a client may keep that asks for this one. */
export const allowed = (beats: Heartbeats, asked: number | null): number =>
  Math.min(asked ?? beats.heartbeatSeconds, beats.backgroundHeartbeatSeconds);

/** How long each renewal is good; null for the usual time. */
export function lastsOf(beats: Heartbeats, asked: number | null): number | null {
  const lasts = leaseMs(allowed(beats, asked));
  return lasts === leaseMs(beats.heartbeatSeconds) ? null : lasts;
}

/** The heartbeat that a connection should keep, in seconds, beside the others of its user. */
export function wanted(beats: Heartbeats, user: User, connectionId: string, now: number): number {
  if (!user.leases.get(connectionId)?.isActive) return beats.backgroundHeartbeatSeconds;
  const isBeside = [...user.leases].some(
    ([name, it]) => name > connectionId && it.isActive && it.expiresAt > now && !isLong(beats, it),
  );
  return isBeside ? beats.backgroundHeartbeatSeconds : beats.heartbeatSeconds;
}

const isLong = (beats: Heartbeats, { lasts }: Lease) =>
  (lasts ?? 0) > leaseMs(beats.heartbeatSeconds);

/** The connections that keep the background's heartbeat, and should keep the other one. */
export function misfits(beats: Heartbeats, user: User, now: number): readonly string[] {
  const { backgroundHeartbeatSeconds: slow } = beats;
  const long = [...user.leases].filter(([, it]) => it.isActive && isLong(beats, it));
  return long.map(([name]) => name).filter((name) => wanted(beats, user, name, now) < slow);
}
