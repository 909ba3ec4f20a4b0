/** From one change, or one frame of a client, to the frames that connections get. */

import type { NewMessage, ServerFrame } from "../protocol.js";
import type { Connection } from "./connections.js";
import { Refusal } from "./refusal.js";
import {
  allSessions,
  isSeenActingBy,
  isSeenIn,
  publicPresence,
  saysMoreThan,
  seenBy,
  specialViewersOf,
  type User,
  type Viewer,
} from "./user.js";
import type { Users } from "./users.js";

const TYPING_MS = 6_000;
/** How long the same `clientId` of a user in a chat session is the same message. */
const CLIENT_ID_MS = 10 * 60_000;

type Message = NewMessage & { readonly type: "new-message" };

/** What the fan-out needs of the server. */
export interface Audience extends Pick<Host, "largeAudience" | "now" | "after"> {
  readonly globalPresence: boolean;
  readonly users: Users;
  /** Those that are open. */
  readonly connections: () => readonly Connection[];
}

type Said = [
  chatSessionId: string,
  senderId: string,
  content: unknown,
  clientId: string | undefined,
  from?: Connection,
];

export class Fanout {
  readonly rooms: LargeRooms;
  readonly #to: Audience;
  /** What waits until the answer to the frame that caused it is decided; null if nothing does. */
  #held: (() => void)[] | null = null;
  #messages = 0;
  /** What users have sent under a `clientId`, by the user, the chat session and it. */
  readonly #sent = new Map<string, Message>();

  constructor(to: Audience) {
    this.#to = to;
    this.rooms = new LargeRooms({
      ...to,
      user: (userId) => to.users.get(userId),
      count: (sessionId) => this.#memberCount(sessionId, null),
      send: (sessionId, frame) => this.#relay(sessionId, frame),
    });
  }

  /** Sends a frame; while `holding`, when that is over. */
  post(connection: Connection, frame: ServerFrame): void {
    if (this.#held) this.#held.push(() => connection.send(frame));
    else connection.send(frame);
  }

  /** Runs something, and returns its result, and what sends all frames that follow from it. */
  holding<T>(run: () => T): readonly [T, () => void] {
    const outer = this.#held;
    const held: (() => void)[] = [];
    this.#held = held;
    try {
      const sendAll = () => {
        for (const send of held) send();
      };
      return [run(), sendAll];
    } finally {
      this.#held = outer;
    }
  }

  /** Tells a change of a user to all recipients. */
  announce(before: User, after: User): void {
    const sessions = new Set([...allSessions(before), ...allSessions(after)]);
    for (const connection of this.#to.connections()) {
      if (!this.#isRecipient(connection, after, sessions)) continue;
      const seen = seenBy(connection.userId, after);
      if (saysMoreThan(seen, seenBy(connection.userId, before))) {
        this.post(connection, { type: "user-status-change", changes: [seen] });
      }
    }
    for (const sessionId of sessions) {
      const isByTick = this.rooms.moved(sessionId, before, after);
      if (!isByTick) this.#announceMembership(sessionId, before, after);
    }
  }

  #isRecipient(connection: Connection, user: User, sessions: ReadonlySet<string>): boolean {
    if (connection.userId === null) return false;
    if (this.#to.globalPresence || connection.userId === user.userId) return true;
    const shared = [...connection.sessions].filter((name) => sessions.has(name));
    const isShared = shared.some((name) => !this.rooms.isLarge(name));
    return isShared || connection.watched.has(user.userId);
  }

  /** A user's own coming is in the answer to `join`, so it is no news to them. */
  #announceMembership(sessionId: string, before: User, after: User): void {
    const counted = this.rooms.counted(sessionId);
    for (const connection of this.#subscribers(sessionId)) {
      const viewer = connection.userId;
      if (viewer === null || viewer === after.userId) continue;
      const was = isSeenIn(sessionId, viewer, before);
      const is = isSeenIn(sessionId, viewer, after);
      if (was === is) continue;
      this.post(connection, {
        type: "chat-session-members",
        chatSessionId: sessionId,
        joined: is ? [seenBy(viewer, after)] : [],
        left: is ? [] : [after.userId],
        memberCount: this.#memberCount(sessionId, viewer),
        ...counted,
      });
    }
  }

  typing(chatSessionId: string, user: User, typing: boolean, from?: Connection): void {
    if (this.rooms.isLarge(chatSessionId)) return;
    const { userId } = user;
    const expiresAt = this.#to.now() + (typing ? TYPING_MS : 0);
    const frame = { type: "user-typing", chatSessionId, userId, typing, expiresAt } as const;
    this.#relay(chatSessionId, frame, from, user);
  }

  /** The same as `message`; sent again under its `clientId`, it is answered as the first time. */
  messageOnce(...[chatSessionId, senderId, content, clientId, from]: Said): Message {
    if (clientId === undefined)
      return this.message(chatSessionId, senderId, content, clientId, from);
    const key = `${senderId} ${chatSessionId} ${clientId}`;
    const before = this.#sent.get(key);
    if (before === undefined || before.sentAt <= this.#to.now() - CLIENT_ID_MS) {
      const message = this.message(chatSessionId, senderId, content, clientId, from);
      this.#sent.set(key, message);
      return message;
    }
    if (JSON.stringify(before.content) === JSON.stringify(content)) return before;
    throw new Refusal("conflict", "Give each message a clientId of its own.");
  }

  message(...[chatSessionId, senderId, content, clientId, from]: Said): Message {
    this.#messages += 1;
    const sentAt = this.#to.now();
    const time = sentAt.toString(16).padStart(12, "0");
    const messageId = `${time}-${String(this.#messages).padStart(8, "0")}`;
    const said = { chatSessionId, messageId, senderId, content, sentAt };
    const frame = { type: "new-message", ...said, ...(clientId && { clientId }) } as const;
    this.#relay(chatSessionId, frame, from);
    return frame;
  }

  /** Sends a frame to the other connections; if it is of a user, to those that see them online. */
  #relay(sessionId: string, frame: ServerFrame, from?: Connection, of?: User): void {
    for (const connection of this.#subscribers(sessionId)) {
      const isHidden = of !== undefined && !isSeenActingBy(connection.userId, of);
      if (connection !== from && !isHidden) this.post(connection, frame);
    }
  }

  #subscribers(sessionId: string): readonly Connection[] {
    return this.#to.connections().filter((connection) => connection.sessions.has(sessionId));
  }

  #memberCount(sessionId: string, viewer: Viewer): number {
    return this.#to.users.all.filter((user) => isSeenIn(sessionId, viewer, user)).length;
  }
}

// Chat sessions with so many members that they are told by ticks: the server's `fanout/large_rooms.py`.

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
    const special = [...specialViewersOf(before), ...specialViewersOf(after)];
    const isNameable = was !== is && special.length === 0;
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
    const named = users.filter((user) => specialViewersOf(user).length === 0);
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
