/** Chat sessions with so many members that they are told by ticks: the server's `fanout/large_rooms.py`. */

import type { ServerFrame } from "../protocol.js";
import { isSeenIn, publicPresence, type User } from "./user.js";

type Frame = Extract<ServerFrame, { type: "chat-session-members" }>;

/** How old is what is said of a chat session, and whether it is large. */
export type Counted = Pick<Frame, "sampled" | "asOf">;

/** What the rooms need of the server. */
export interface Host {
  readonly largeAudience: number;
  now(): number;
  after(milliseconds: number, run: () => void): unknown;
  user(userId: string): User;
  /** How many members a viewer who is not blocked sees. */
  count(sessionId: string): number;
  /** Sends a frame to all connections that have joined the session. */
  send(sessionId: string, frame: Frame): void;
}

interface LargeRoom {
  isLarge: boolean;
  hasTick: boolean;
  count: number;
  asOf: number;
  /** Users who came or went since the last tick, the newest last. */
  readonly moved: Set<string>;
}

const TICK_MS = 2_000;
const SAMPLE = 50;
const STAYS_LARGE = 0.8;

export class LargeRooms {
  readonly #host: Host;
  readonly #rooms = new Map<string, LargeRoom>();
  #asOf = 0;

  constructor(host: Host) {
    this.#host = host;
  }

  isLarge(sessionId: string): boolean {
    return this.#rooms.get(sessionId)?.isLarge ?? false;
  }

  /** How many members there are, as last counted; undefined if the room is not large. */
  count(sessionId: string): number | undefined {
    const room = this.#rooms.get(sessionId);
    return room?.isLarge ? room.count : undefined;
  }

  counted(sessionId: string): Counted {
    const room = this.#rooms.get(sessionId);
    return room?.isLarge ? { asOf: room.asOf, sampled: true } : { asOf: this.#instant() };
  }

  /** Now, but never the same twice: here more happens within a millisecond than on a network. */
  #instant(): number {
    this.#asOf = Math.max(this.#host.now(), this.#asOf + 1);
    return this.#asOf;
  }

  /** A user may have come or gone. Returns whether a tick will tell the members. */
  moved(sessionId: string, before: User, after: User): boolean {
    const [was, is] = [before, after].map((user) => isSeenIn(sessionId, null, user));
    if (was !== is && this.#host.count(sessionId) > this.#host.largeAudience) this.#open(sessionId);
    const room = this.#rooms.get(sessionId);
    if (!room?.isLarge) return false;
    if (was !== is) this.#setTick(sessionId, room);
    const isNameable = was !== is && !before.blocked.size && !after.blocked.size;
    if (isNameable) remember(room.moved, after.userId);
    return true;
  }

  #open(sessionId: string): void {
    if (this.isLarge(sessionId)) return;
    const count = this.#host.count(sessionId);
    const asOf = this.#instant();
    const room = { isLarge: true, hasTick: false, count, asOf, moved: new Set<string>() };
    this.#rooms.set(sessionId, room);
  }

  #setTick(sessionId: string, room: LargeRoom): void {
    if (room.hasTick) return;
    room.hasTick = true;
    this.#host.after(TICK_MS, () => this.#tick(sessionId, room));
  }

  #tick(chatSessionId: string, room: LargeRoom): void {
    const users = [...room.moved].map((userId) => this.#host.user(userId));
    const named = users.filter((user) => !user.blocked.size);
    const isMember = (user: User) => isSeenIn(chatSessionId, null, user);
    room.hasTick = false;
    room.moved.clear();
    room.count = this.#host.count(chatSessionId);
    room.isLarge = room.count >= STAYS_LARGE * this.#host.largeAudience;
    room.asOf = this.#instant();
    this.#host.send(chatSessionId, {
      type: "chat-session-members",
      chatSessionId,
      joined: named.filter(isMember).map(publicPresence),
      left: named.filter((user) => !isMember(user)).map((user) => user.userId),
      memberCount: room.count,
      ...this.counted(chatSessionId),
    });
  }
}

function remember(moved: Set<string>, userId: string): void {
  moved.delete(userId);
  moved.add(userId);
  for (const oldest of moved) if (moved.size > SAMPLE) moved.delete(oldest);
}
