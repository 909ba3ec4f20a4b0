/** The server in memory, as its parts work together: connections, users, and the fan-out. */

import type { ClosingReason, Presence, Verified } from "../protocol.js";
import { Connection } from "./connections.js";
import { Fanout } from "./fanout.js";
import { isSettled, needsProbe, unheard, verifiedBy } from "./freshness.js";
import { leaseMs, misfits } from "./heartbeat.js";
import { type Page, page } from "./pages.js";
import type { Effect } from "./reducer.js";
import type { PageRequest, Revocation } from "./requests.js";
import type { Link } from "./socket.js";
import type { Timeline } from "./surroundings.js";
import { isOver, servedUntil, Tokens } from "./tokens.js";
import {
  isSeenIn,
  type Precision,
  seenBy,
  specialViewersOf,
  type User,
  type Viewer,
} from "./user.js";
import { Users } from "./users.js";

/** What the stack's parameters are called in template.yaml. */
export interface Parameters {
  readonly heartbeatSeconds: number;
  readonly backgroundHeartbeatSeconds: number;
  readonly graceSeconds: number;
  readonly authenticationSeconds: number;
  readonly maxConnectionSeconds: number;
  readonly freshSeconds: number;
  readonly probeSeconds: number;
  readonly largeAudience: number;
  readonly globalPresence: boolean;
  readonly publicReads: boolean;
  readonly lastSeenPrecision: Precision;
}

interface ClosingHow {
  readonly retryAfterSeconds?: number;
  /** That of the stack, but after `kicked`. */
  readonly graceSeconds?: number;
}

/** As API Gateway closes: when the time is over, and when it was told to. */
const GOING_AWAY = 1001;
const NORMAL = 1000;
/** A client that leaves on purpose has so long to close its socket. */
const LEAVE_MS = 5_000;
/** What a renewal does not say of a lease. */
const SILENT = { device: null, isActive: true, sessions: new Set<string>(), lasts: null };

export class Stack {
  readonly parameters: Parameters;
  readonly tokens = new Tokens();
  readonly users: Users;
  readonly fanout: Fanout;
  readonly #timeline: Timeline;
  readonly #connections = new Map<string, Connection>();
  #opened = 0;

  constructor(parameters: Parameters, timeline: Timeline) {
    this.parameters = parameters;
    this.#timeline = timeline;
    const { graceSeconds, freshSeconds, lastSeenPrecision: precision } = parameters;
    const rules = { grace: graceSeconds * 1000, precision, fresh: freshSeconds * 1000 };
    this.users = new Users(timeline, rules, (...change) => this.#changed(...change));
    this.fanout = new Fanout({
      ...parameters,
      users: this.users,
      connections: () => this.connections,
      now: () => this.now,
      after: (milliseconds, run) => this.after(milliseconds, run),
    });
  }

  get now(): number {
    return this.#timeline.now;
  }

  /** Runs something later, while devices sleep too. */
  after(milliseconds: number, run: () => void): () => void {
    return this.#timeline.after(milliseconds, run, true);
  }

  // Connections.

  /** Those that are open. */
  get connections(): readonly Connection[] {
    return [...this.#connections.values()];
  }

  open(link: Link): Connection {
    this.#opened += 1;
    const connection = new Connection(`connection-${this.#opened}`, this.now, link);
    const { authenticationSeconds, maxConnectionSeconds } = this.parameters;
    const isTooLate = () =>
      connection.userId === null && this.close(connection, "authentication-timeout");
    const stops = [
      this.after(authenticationSeconds * 1000, isTooLate),
      this.after(maxConnectionSeconds * 1000, () => this.cut(connection)),
    ];
    connection.stopTimers = () => {
      for (const stop of stops) stop();
    };
    this.#connections.set(connection.connectionId, connection);
    return connection;
  }

  /** The server closes it, for a reason of its own or without a word. */
  close(connection: Connection, reason: ClosingReason | null, how: ClosingHow = {}): void {
    if (!connection.isOpen) return;
    const { graceSeconds = reason === "kicked" ? 0 : undefined, ...retry } = how;
    if (reason !== null) connection.send({ type: "closing", reason, ...retry });
    connection.closeSocket(NORMAL);
    this.closed(connection, graceSeconds);
  }

  /** API Gateway closes it, for reasons that are not the server's. */
  cut(connection: Connection, code = GOING_AWAY): void {
    if (!connection.isOpen) return;
    connection.closeSocket(code, code === GOING_AWAY ? "Going away" : "");
    this.closed(connection);
  }

  /** The socket was closed: the lease ends, and the user is expected back for the grace period. */
  closed(connection: Connection, graceSeconds = this.parameters.graceSeconds): void {
    const { connectionId, userId } = connection;
    connection.isOpen = false;
    connection.stopTimers();
    this.#connections.delete(connectionId);
    if (userId === null) return;
    const graceUntil = this.now + graceSeconds * 1000;
    this.users.change(userId, { type: "disconnected", connectionId, graceUntil });
    this.paceOthers(userId, connectionId);
  }

  /** Its user leaves on purpose: without a grace period. Only the socket is left of it. */
  left(connection: Connection): void {
    const { connectionId, userId } = connection;
    if (userId === null) return;
    connection.userId = null;
    connection.sessions.clear();
    connection.watched.clear();
    this.users.change(userId, { type: "disconnected", connectionId, graceUntil: this.now });
    this.paceOthers(userId, connectionId);
    this.after(LEAVE_MS, () => this.close(connection, null));
  }

  /** The end of a lease that is renewed now. */
  leaseEnd({ tokenExpiresAt }: Connection, lasts: number | null): number {
    const usual = leaseMs(this.parameters.heartbeatSeconds);
    return Math.min(this.now + (lasts ?? usual), servedUntil(tokenExpiresAt));
  }

  /** Tells a connection how often to ping. */
  pace(connectionId: string, heartbeatSeconds: number): void {
    const leaseSeconds = leaseMs(heartbeatSeconds) / 1000;
    const frame = { type: "heartbeat", heartbeatSeconds, leaseSeconds } as const;
    const connection = this.#connections.get(connectionId);
    if (connection) this.fanout.post(connection, frame);
  }

  /** After a connection came or went: who has to notice more now. */
  paceOthers(userId: string, connectionId: string): void {
    const user = this.users.get(userId);
    for (const name of misfits(this.parameters, user, this.now)) {
      if (name !== connectionId) this.pace(name, this.parameters.heartbeatSeconds);
    }
  }

  // Users.

  presence(userId: string, viewer: Viewer): Presence {
    return seenBy(viewer, this.users.get(userId));
  }

  /** What a viewer may know of users now; those of whom that is old are probed. */
  verify(userIds: readonly string[], viewer: Viewer): Pick<Verified, "users" | "awaited"> {
    const known = userIds.map((userId) => this.users.get(userId));
    const users = known.map((user) => verifiedBy(viewer, user, this.now));
    const awaited = known.filter((user, at) => !isSettled(users[at] as Presence, user, this.now));
    for (const user of known) if (needsProbe(viewer, user, this.now)) this.#probe(user);
    return { users, awaited: [...new Set(awaited.map(({ userId }) => userId))] };
  }

  #probe({ userId, leases, rules }: User): void {
    const asked = unheard(this.users.get(userId), this.now);
    if (asked.size === 0 || this.users.get(userId).probedAt > this.now - rules.fresh) return;
    this.users.mark(userId);
    const until = this.now + this.parameters.probeSeconds * 1000;
    this.users.change(userId, { type: "probed", unheard: asked, until });
    for (const connectionId of asked.keys()) {
      const connection = this.#connections.get(connectionId);
      const lease = leases.get(connectionId);
      if (connection) this.fanout.post(connection, { type: "probe" });
      else if (lease?.expiresAt === Number.POSITIVE_INFINITY) this.#answer(userId, connectionId);
    }
  }

  /** As a device that never goes silent: that of `Users.tell`. */
  #answer(userId: string, connectionId: string): void {
    const lease = { ...SILENT, seenAt: this.now, expiresAt: Number.POSITIVE_INFINITY };
    this.users.change(userId, { type: "renewed", connectionId, lease, isActive: null });
  }

  /** Deletes everything about a user; the blocks that others have set, if it is said. */
  erase(userId: string, liftsBlocks: boolean): void {
    this.kick(userId);
    const erasing = { type: "erased", allowsSessions: liftsBlocks } as const;
    const { blocked, barred } = this.users.change(userId, erasing);
    this.users.change(userId, { type: "unblocked", viewerIds: [...blocked.keys()], gone: false });
    if (barred.size === 0) this.users.forget(userId);
    const isNaming = (user: User) => specialViewersOf(user).includes(userId);
    for (const { userId: name } of this.users.all.filter((user) => liftsBlocks && isNaming(user))) {
      this.users.change(name, { type: "unblocked", viewerIds: [userId], gone: true });
    }
  }

  /** Refuses tokens of a user, and closes what they opened. Throws a Refusal. */
  revoke(userId: string, what: Revocation): void {
    this.tokens.revokeOf(userId, what, this.now);
    for (const connection of this.connections) {
      const { identity } = connection;
      const isRevoked = identity?.userId === userId && this.tokens.isRevoked(identity);
      if (isRevoked) this.close(connection, "token-expired", { graceSeconds: 0 });
    }
  }

  /** Takes a user out of a chat session, on all devices, until `allowMember`. Throws a Refusal. */
  removeMember(sessionId: string, userId: string): void {
    const { leases } = this.users.change(userId, { type: "barred", sessionId });
    for (const [connectionId, lease] of leases) {
      if (!lease.sessions.has(sessionId)) continue;
      this.#connections.get(connectionId)?.sessions.delete(sessionId);
      this.users.change(userId, { type: "left", connectionId, sessionIds: [sessionId] });
    }
  }

  /** Lets the user join again; brings no device back. */
  allowMember(sessionId: string, userId: string): void {
    this.users.change(userId, { type: "allowed", sessionId });
  }

  /** Closes all connections of a user, who is offline at once. */
  kick(userId: string): void {
    for (const connectionId of this.users.get(userId).leases.keys()) {
      const connection = this.#connections.get(connectionId);
      const graceUntil = this.now;
      if (connection) this.close(connection, "kicked");
      else this.users.change(userId, { type: "disconnected", connectionId, graceUntil });
    }
  }

  #changed(before: User, after: User, effects: readonly Effect[]): void {
    for (const effect of effects) {
      if ("connectionId" in effect) this.#leaseEnded(effect.connectionId, effect.type);
    }
    if (effects.some((effect) => !("connectionId" in effect))) this.fanout.announce(before, after);
  }

  #leaseEnded(connectionId: string, why: "lease-removed" | "lease-replaced"): void {
    const connection = this.#connections.get(connectionId);
    if (!connection) return;
    const isExpired = isOver(connection.tokenExpiresAt, this.now);
    const reason = why === "lease-replaced" ? "replaced" : isExpired ? "token-expired" : null;
    this.close(connection, reason);
  }

  // Lists.

  online(viewer: Viewer, request: PageRequest): Page {
    const seen = this.#current().map((user) => seenBy(viewer, user));
    const online = seen.filter((presence) => presence.isOnline);
    return page("0:", online, request, this.users.onlineCount);
  }

  members(sessionId: string, viewer: Viewer, request: PageRequest, budget?: number): Page {
    const members = this.#current().filter((user) => isSeenIn(sessionId, viewer, user));
    const presences = members.map((user) => seenBy(viewer, user));
    const found = page("", presences, request, members.length, budget);
    return { ...found, count: this.fanout.rooms.count(sessionId) ?? found.count };
  }

  /** In the order of their ids. */
  #current(): readonly User[] {
    const users = this.users.all.map(({ userId }) => this.users.get(userId));
    return users.sort((one, other) => (one.userId < other.userId ? -1 : 1));
  }
}
