/** The server's memory: users, connections, and who hears what when a user changes. */

import type { ClosingReason, Presence, ServerFrame } from "../protocol.js";
import { Gate } from "./gate.js";
import { type Happening, reduce, type Told } from "./reducer.js";
import { cursorAt, fitting, type PageWish, positionIn } from "./requests.js";
import { Rooms } from "./rooms.js";
import type { Link } from "./socket.js";
import type { Timeline } from "./timeline.js";
import { isOver, servedUntil, Tokens } from "./tokens.js";
import {
  changesAt,
  isNews,
  seenBy,
  sessionsOf,
  sessionsSeenBy,
  type User,
  unknownUser,
  type Viewer,
} from "./user.js";

/** What the stack's parameters are called in template.yaml. */
export interface Parameters {
  readonly heartbeatSeconds: number;
  readonly leaseSeconds: number;
  readonly graceSeconds: number;
  readonly authenticationSeconds: number;
  readonly maxConnectionSeconds: number;
  readonly largeAudience: number;
  readonly globalPresence: boolean;
  readonly publicReads: boolean;
}

export interface Page {
  readonly presences: readonly Presence[];
  readonly cursor: string | null;
  readonly count: number;
}

/** As API Gateway closes: when it has had enough, and when it was told to. */
const GOING_AWAY = 1001;
const NORMAL = 1000;

export class Stack {
  readonly parameters: Parameters;
  readonly tokens = new Tokens();
  readonly rooms: Rooms;
  readonly #timeline: Timeline;
  readonly #users = new Map<string, User>();
  readonly #gates = new Map<string, Gate>();
  readonly #stopLooking = new Map<string, () => void>();
  #held: (() => void)[] | null = null;
  #connections = 0;
  #messages = 0;

  constructor(parameters: Parameters, timeline: Timeline) {
    this.parameters = parameters;
    this.#timeline = timeline;
    this.rooms = new Rooms({
      largeAudience: parameters.largeAudience,
      now: () => this.now,
      after: (milliseconds, run) => this.after(milliseconds, run),
      user: (userId) => this.user(userId),
      count: (sessionId) => this.#memberCount(sessionId, null),
      tell: (sessionId, frame) => {
        for (const gate of this.#listeners(sessionId)) this.post(gate, frame);
      },
    });
  }

  get now(): number {
    return this.#timeline.now;
  }

  /** Runs something later, of the server's. */
  after(milliseconds: number, run: () => void): () => void {
    return this.#timeline.after(milliseconds, run, true);
  }

  // Connections.

  get gates(): readonly Gate[] {
    return [...this.#gates.values()];
  }

  open(link: Link): Gate {
    this.#connections += 1;
    const gate = new Gate(`connection-${this.#connections}`, this.now, link);
    const { authenticationSeconds, maxConnectionSeconds } = this.parameters;
    const unclaimed = () => gate.userId === null && this.close(gate, "authentication-timeout");
    const stops = [
      this.after(authenticationSeconds * 1000, unclaimed),
      this.after(maxConnectionSeconds * 1000, () => this.cut(gate)),
    ];
    gate.stopTimers = () => {
      for (const stop of stops) stop();
    };
    this.#gates.set(gate.connectionId, gate);
    return gate;
  }

  /** The server closes it, for a reason of its own or without a word. */
  close(gate: Gate, reason: ClosingReason | null, retryAfterSeconds?: number): void {
    if (!gate.isOpen) return;
    const retry = retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
    if (reason !== null) gate.send({ type: "closing", reason, ...retry });
    gate.hangUp(NORMAL);
    this.forget(gate, reason === "kicked" ? 0 : undefined);
  }

  /** API Gateway closes it, for reasons that are not the server's. */
  cut(gate: Gate, code = GOING_AWAY): void {
    if (!gate.isOpen) return;
    gate.hangUp(code, code === GOING_AWAY ? "Going away" : "");
    this.forget(gate);
  }

  /** What a closed connection stood for ends; its user is expected back for a while. */
  forget(gate: Gate, graceSeconds = this.parameters.graceSeconds): void {
    gate.isOpen = false;
    gate.stopTimers();
    this.#gates.delete(gate.connectionId);
    if (gate.userId === null) return;
    const graceUntil = this.now + graceSeconds * 1000;
    this.apply(gate.userId, {
      is: "disconnected",
      connectionId: gate.connectionId,
      graceUntil,
    });
  }

  /** Until when a connection counts that is heard now. */
  leaseEnd(gate: Gate): number {
    const lease = this.now + this.parameters.leaseSeconds * 1000;
    return Math.min(lease, servedUntil(gate.tokenExpiresAt));
  }

  // Users.

  /** The user as of now. */
  user(userId: string): User {
    const known = this.#users.get(userId) ?? unknownUser(userId);
    return changesAt(known) <= this.now ? this.apply(userId, { is: "time-passed" }) : known;
  }

  presence(userId: string, viewer: Viewer): Presence {
    return seenBy(viewer, this.user(userId));
  }

  /** The one way in which a user changes. Throws a Refusal; nothing has changed then. */
  apply(userId: string, event: Happening): User {
    const before = this.#users.get(userId) ?? unknownUser(userId);
    const { after, lapsed } = reduce(before, event, this.now);
    this.#users.set(userId, after);
    this.#lookAgain(after);
    for (const connectionId of lapsed) this.#lapsed(connectionId);
    this.#announce(before, after);
    return after;
  }

  /** Puts somebody there without telling anybody. */
  seed(userId: string, told: Told): void {
    const { after } = reduce(unknownUser(userId), { is: "told", ...told }, this.now);
    this.#users.set(userId, after);
  }

  /** Nothing says any more that there was such a user. */
  erase(userId: string, liftsBlocks: boolean): void {
    this.kick(userId);
    const erased = this.apply(userId, { is: "erased" });
    for (const gate of this.#gates.values()) gate.watched.delete(userId);
    this.apply(userId, { is: "unblocked", viewerIds: [...erased.blocked.keys()] });
    this.#users.delete(userId);
    this.#stopLooking.get(userId)?.();
    if (!liftsBlocks) return;
    for (const { userId: blocker, blocked } of [...this.#users.values()]) {
      if (blocked.has(userId)) this.apply(blocker, { is: "unblocked", viewerIds: [userId] });
    }
  }

  /** Closes all sockets of a user, who is offline at once. */
  kick(userId: string): void {
    for (const connectionId of this.user(userId).leases.keys()) {
      const gate = this.#gates.get(connectionId);
      if (gate) this.close(gate, "kicked");
      else this.apply(userId, { is: "disconnected", connectionId, graceUntil: this.now });
    }
  }

  // Lists.

  /** How many are online for whoever has not been blocked. */
  get onlineCount(): number {
    return [...this.#users.values()].filter((user) => user.status !== "offline").length;
  }

  online(viewer: Viewer, wish: PageWish): Page {
    const seen = this.#all().map((user) => seenBy(viewer, user));
    const online = seen.filter((presence) => presence.isOnline);
    return page("0:", online, wish, this.onlineCount);
  }

  members(sessionId: string, viewer: Viewer, wish: PageWish): Page {
    const members = this.#all().filter((user) => sessionsSeenBy(viewer, user).has(sessionId));
    const presences = members.map((user) => seenBy(viewer, user));
    const found = page("", presences, wish, members.length);
    return { ...found, count: this.rooms.count(sessionId) ?? found.count };
  }

  #all(): readonly User[] {
    const users = [...this.#users.keys()].map((userId) => this.user(userId));
    return users.sort((one, other) => (one.userId < other.userId ? -1 : 1));
  }

  // What is said.

  typing(sessionId: string, user: User, isTyping: boolean, from?: Gate): void {
    if (this.rooms.isLarge(sessionId)) return;
    const frame: ServerFrame = {
      type: "user-typing",
      chatSessionId: sessionId,
      userId: user.userId,
      typing: isTyping,
      expiresAt: isTyping ? this.now + 6_000 : this.now,
    };
    for (const gate of this.#listeners(sessionId, from)) {
      if (seenBy(gate.userId, user).isOnline) this.post(gate, frame);
    }
  }

  say(
    sessionId: string,
    senderId: string,
    content: unknown,
    clientId?: string,
    from?: Gate,
  ): Extract<ServerFrame, { type: "new-message" }> {
    this.#messages += 1;
    const time = this.now.toString(16).padStart(12, "0");
    const frame = {
      type: "new-message",
      chatSessionId: sessionId,
      messageId: `${time}-${String(this.#messages).padStart(8, "0")}`,
      senderId,
      content,
      sentAt: this.now,
      ...(clientId === undefined ? {} : { clientId }),
    } as const;
    for (const gate of this.#listeners(sessionId, from)) this.post(gate, frame);
    return frame;
  }

  #listeners(sessionId: string, but?: Gate): readonly Gate[] {
    return this.gates.filter((gate) => gate !== but && gate.sessions.has(sessionId));
  }

  // Who hears.

  /** Sends a frame; while `holding`, when that is over. */
  post(gate: Gate, frame: ServerFrame): void {
    if (this.#held) this.#held.push(() => gate.send(frame));
    else gate.send(frame);
  }

  /** Runs something, and returns what sends all that others have to hear of it. */
  holding(run: () => void): () => void {
    const outer = this.#held;
    const held: (() => void)[] = [];
    this.#held = held;
    try {
      run();
    } finally {
      this.#held = outer;
    }
    return () => {
      for (const send of held) send();
    };
  }

  #announce(before: User, after: User): void {
    const sessions = new Set([...sessionsOf(before), ...sessionsOf(after)]);
    for (const gate of this.gates) {
      if (gate.userId === null || !this.#hears(gate, after, sessions)) continue;
      const seen = seenBy(gate.userId, after);
      if (isNews(seenBy(gate.userId, before), seen)) {
        this.post(gate, { type: "user-status-change", changes: [seen] });
      }
    }
    for (const sessionId of sessions) {
      if (!this.rooms.moved(sessionId, before, after)) this.#announceMove(sessionId, before, after);
    }
  }

  #hears(gate: Gate, user: User, sessions: ReadonlySet<string>): boolean {
    if (this.parameters.globalPresence || gate.userId === user.userId) return true;
    const shared = [...gate.sessions].filter((name) => sessions.has(name));
    return gate.watched.has(user.userId) || shared.some((name) => !this.rooms.isLarge(name));
  }

  /** One's own coming was the answer to `join`, so it is no news. */
  #announceMove(sessionId: string, before: User, after: User): void {
    const counted = this.rooms.counted(sessionId);
    for (const gate of this.#listeners(sessionId)) {
      const viewer = gate.userId;
      if (viewer === null || viewer === after.userId) continue;
      const was = sessionsSeenBy(viewer, before).has(sessionId);
      const is = sessionsSeenBy(viewer, after).has(sessionId);
      if (was === is) continue;
      this.post(gate, {
        type: "chat-session-members",
        chatSessionId: sessionId,
        joined: is ? [seenBy(viewer, after)] : [],
        left: is ? [] : [after.userId],
        memberCount: this.#memberCount(sessionId, viewer),
        ...counted,
      });
    }
  }

  #memberCount(sessionId: string, viewer: Viewer): number {
    const members = [...this.#users.values()];
    return members.filter((user) => sessionsSeenBy(viewer, user).has(sessionId)).length;
  }

  // Time.

  #lookAgain(user: User): void {
    this.#stopLooking.get(user.userId)?.();
    const look = () => this.apply(user.userId, { is: "time-passed" });
    this.#stopLooking.set(user.userId, this.after(changesAt(user) - this.now, look));
  }

  #lapsed(connectionId: string): void {
    const gate = this.#gates.get(connectionId);
    if (gate) this.close(gate, isOver(gate.tokenExpiresAt, this.now) ? "token-expired" : null);
  }
}

/** A page of a list that is in the order of ids. */
function page(prefix: string, all: readonly Presence[], wish: PageWish, counted: number): Page {
  const { cursor } = wish;
  const after = cursor === null ? "" : positionIn(prefix, cursor);
  const found = all.filter(({ userId }) => userId > after);
  const limited = found.slice(0, wish.limit);
  const presences = limited.slice(0, fitting(limited));
  const last = presences.at(-1);
  if (last && presences.length < found.length) {
    const count = Math.max(counted, presences.length + 1);
    return { presences, cursor: cursorAt(prefix, last.userId), count };
  }
  const isWhole = cursor === null;
  return {
    presences,
    cursor: null,
    count: isWhole ? found.length : Math.max(counted, found.length),
  };
}
