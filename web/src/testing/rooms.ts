/** Large rooms, which are told by ticks: the server's `use_cases/rooms.py`. */

import type { ServerFrame } from "../protocol.js";
import { publicPresence, sessionsSeenBy, type User } from "./user.js";

type Frame = Extract<ServerFrame, { type: "chat-session-members" }>;

/** How old is what is said of a room, and whether it is large. */
export type Counted = Pick<Frame, "sampled" | "asOf">;

export interface Stage {
  readonly largeAudience: number;
  now(): number;
  after(milliseconds: number, run: () => void): unknown;
  user(userId: string): User;
  /** How many most people see in a chat session. */
  count(sessionId: string): number;
  /** Tells everybody who listens to the session. */
  tell(sessionId: string, frame: Frame): void;
}

interface Room {
  isLarge: boolean;
  isAwaited: boolean;
  count: number;
  asOf: number;
  /** Who came or went since the last tick, the newest last. */
  readonly moved: Set<string>;
}

const TICK_MS = 2_000;
const SAMPLE = 50;
const STAYS_LARGE = 0.8;

export class Rooms {
  readonly #on: Stage;
  readonly #rooms = new Map<string, Room>();
  #asOf = 0;

  constructor(on: Stage) {
    this.#on = on;
  }

  isLarge(sessionId: string): boolean {
    return this.#rooms.get(sessionId)?.isLarge ?? false;
  }

  /** How many there are, as last counted; undefined if the room is not large. */
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
    this.#asOf = Math.max(this.#on.now(), this.#asOf + 1);
    return this.#asOf;
  }

  /** Somebody may have come or gone; whether a tick will tell it. */
  moved(sessionId: string, before: User, after: User): boolean {
    const [was, is] = [before, after].map((user) => sessionsSeenBy(null, user).has(sessionId));
    if (was !== is && this.#on.count(sessionId) > this.#on.largeAudience) this.#open(sessionId);
    const room = this.#rooms.get(sessionId);
    if (!room?.isLarge) return false;
    if (was !== is) this.#await(sessionId, room);
    const isNameable = was !== is && !before.blocked.size && !after.blocked.size;
    if (isNameable) remember(room.moved, after.userId);
    return true;
  }

  #open(sessionId: string): void {
    if (this.isLarge(sessionId)) return;
    const count = this.#on.count(sessionId);
    const asOf = this.#instant();
    const room = { isLarge: true, isAwaited: false, count, asOf, moved: new Set<string>() };
    this.#rooms.set(sessionId, room);
  }

  #await(sessionId: string, room: Room): void {
    if (room.isAwaited) return;
    room.isAwaited = true;
    this.#on.after(TICK_MS, () => this.#tick(sessionId, room));
  }

  #tick(chatSessionId: string, room: Room): void {
    const users = [...room.moved].map((userId) => this.#on.user(userId));
    const named = users.filter((user) => !user.blocked.size);
    const isHere = (user: User) => sessionsSeenBy(null, user).has(chatSessionId);
    room.isAwaited = false;
    room.moved.clear();
    room.count = this.#on.count(chatSessionId);
    room.isLarge = room.count >= STAYS_LARGE * this.#on.largeAudience;
    room.asOf = this.#instant();
    this.#on.tell(chatSessionId, {
      type: "chat-session-members",
      chatSessionId,
      joined: named.filter(isHere).map(publicPresence),
      left: named.filter((user) => !isHere(user)).map((user) => user.userId),
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
