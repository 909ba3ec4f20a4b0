import type { ChatSession, Clock, Members } from "./api.js";
import { type Deferred, deferred } from "./deferred.js";
import { disconnected, noLink, PresenceError, retryMs } from "./errors.js";
import type { Http } from "./http.js";
import type { Link } from "./link.js";
import type { People } from "./people.js";
import type {
  ChatSessionJoined,
  ChatSessionMembers,
  NewMessage,
  Presence,
  ServerFrame,
} from "./protocol.js";
import { tell as tellAll, view } from "./store.js";
import { createTimer, pause } from "./timer.js";

/** The others stop showing it after 6 s, so it is said again before. */
const TYPING_AGAIN_MS = 4_000;
/** The server drops what comes sooner after what it was told before. */
const TYPING_APART_MS = 1_050;
const OUTBOX_SIZE = 50;
const OUTBOX_MS = 30_000;
const MEMBERS_LOADED = 1_000;
/** Of a large room: those who came last, the first page included. */
const MEMBERS_SHOWN = 100;

interface Unsent extends Deferred<NewMessage> {
  readonly content: unknown;
  readonly clientId: string;
}

/** One chat session, as long as the page lives: wanted or not, joined or not. */
export interface Session {
  readonly chat: ChatSession;
  join(): ChatSession;
  leave(): void;
  /** Makes the link take part if that is wanted, and not if not. */
  sync(link: Link): Promise<unknown> | undefined;
  hear(frame: ServerFrame): void;
  /** Whether the link tells us about this user because of this session. */
  covers(userId: string, link: Link): boolean;
  /** The link is down; if it is over, nothing is known any more. */
  lost(isOver?: boolean): void;
}

export interface SessionContext {
  readonly clock: Clock;
  readonly http: Http;
  readonly people: People;
  link(): Link | undefined;
  userId(): string | undefined;
  /** How far the server's clock is ahead. */
  skewMs(): number;
  /** Something has to be told to the server, in so many milliseconds. */
  settle(afterMs?: number): void;
  /** False if the message was heard before. */
  isNew(message: NewMessage): boolean;
}

/** Not to be met again among the last few hundred messages of one user. */
const newId = () => Math.random().toString(36).slice(2);

export function createSession(chatSessionId: string, on: SessionContext): Session {
  const { clock, http, people } = on;
  const listeners = new Set<(message: NewMessage) => void>();
  const outbox = new Set<Unsent>();
  const typists = new Map<string, () => void>();
  /** As of when it is known of somebody that they are here, or not, since this was joined. */
  const moved = new Map<string, number>();
  const stopping = createTimer(clock);
  const telling = createTimer(clock);
  /** How often it was joined and not left. */
  let uses = 0;
  let present = new Set<string>();
  let count: number | null = null;
  let fresh = false;
  /** Whether we hear only of some who come and go. */
  let sampled: boolean | undefined;
  /** As of when is the count; and as of when everybody is known at least. */
  let asOf = 0;
  let since = 0;
  let error: PresenceError | undefined;
  let isSending = false;
  let typedAt = 0;
  /** When the server was last told anything about typing. */
  let toldAt = 0;

  const members = view<Members>(() => ({
    userIds: [...present].sort(),
    count,
    state: error ? "refused" : fresh ? "joined" : "waiting",
    error,
    fresh,
  }));
  const typing = view<readonly string[]>(() => [...typists.keys()]);

  const isIn = (link: Link | undefined): link is Link => !!link?.joined.has(chatSessionId);

  // Taking part.

  async function enter(link: Link): Promise<void> {
    moved.clear();
    try {
      welcome(await link.ask({ action: "join", chatSessionId }), link);
    } catch (cause) {
      if (!link.isDown()) refused(cause as PresenceError);
    }
  }

  function refused(cause: PresenceError): void {
    if (cause.isRetryable) {
      on.settle(retryMs(cause));
    } else {
      fresh = false;
      error = cause;
      reject(cause);
      members.changed();
    }
  }

  function welcome(joined: ChatSessionJoined, link: Link): void {
    since = counted(joined);
    link.joined.add(chatSessionId);
    for (const id of present) if (moves(id, since)) present.delete(id);
    error = undefined;
    fresh = true;
    add(joined.members, since);
    flush();
    load(joined.cursor, link);
  }

  async function load(cursor: string | null, link: Link): Promise<void> {
    const mine = present;
    while (cursor && !sampled && mine.size < MEMBERS_LOADED) {
      const page = await http
        .request(`GET /chat-sessions/${chatSessionId}/members?limit=100&cursor=${cursor}`)
        .catch((cause) => pause(clock, retryMs(cause)));
      if (link.isDown() || mine !== present) return;
      if (!page) continue;
      add(page.members, since);
      cursor = page.cursor;
    }
  }

  /** Whether this is news of somebody: frames come in any order, and some of them twice. */
  const moves = (userId: string, at: number) =>
    at >= Math.max(since, moved.get(userId) ?? 0) && moved.set(userId, at);

  function add(these: readonly Presence[], at: number): void {
    people.apply(these);
    for (const { userId } of these) if (moves(userId, at)) present.add(userId);
    // Who leaves a large room unnamed would stay for ever.
    for (const id of present) if (sampled && present.size > MEMBERS_SHOWN) present.delete(id);
    members.changed();
  }

  /** Keeps the newest count; as of when this one is. */
  function counted(told: ChatSessionJoined | ChatSessionMembers): number {
    const at = told.asOf ?? asOf;
    if (at >= asOf) {
      // To hear of everybody again is not to know everybody: that takes another `join`.
      if (sampled && !told.sampled) on.link()?.joined.delete(chatSessionId);
      asOf = at;
      count = told.memberCount;
      sampled = told.sampled;
    }
    return at;
  }

  function hearMembers(frame: ChatSessionMembers): void {
    const at = counted(frame);
    for (const id of frame.left)
      if (moves(id, at)) {
        present.delete(id);
        typed(id, 0);
      }
    add(frame.joined, at);
    on.settle(); // whoever left is no longer heard of through this session
  }

  function lost(isOver?: boolean): void {
    fresh = false;
    error = undefined; // the next connection may be allowed more
    for (const id of typists.keys()) typed(id, 0);
    if (isOver) {
      present = new Set();
      count = null;
      asOf = 0;
      reject(disconnected());
    }
    members.changed();
  }

  // Typing.

  /** Shows somebody as typing for so long; not at all for 0. */
  function typed(userId: string, forMs: number): void {
    const before = typists.get(userId);
    const isTyping = forMs > 0;
    before?.();
    if (isTyping)
      typists.set(
        userId,
        clock.after(forMs, () => typed(userId, 0)),
      );
    else typists.delete(userId);
    if (!before === isTyping) typing.changed();
  }

  /** Without a link it is forgotten: it will be old when there is one. */
  function tell(typing: boolean): void {
    const link = on.link();
    if (!isIn(link)) return;
    link.send({ action: "typing", chatSessionId, typing });
    toldAt = clock.now();
  }

  /** As soon as the server listens, instead of what was to be told then. */
  function say(isTyping: boolean): void {
    telling.start(toldAt + TYPING_APART_MS - clock.now(), () => tell(isTyping));
  }

  function keystroke(): void {
    const now = clock.now();
    if (now - typedAt >= TYPING_AGAIN_MS && isIn(on.link())) {
      typedAt = now;
      say(true);
    }
    stopping.start(TYPING_AGAIN_MS, stopTyping);
  }

  function stopTyping(): void {
    if (typedAt) say(false);
    typedAt = 0;
  }

  // Messages.

  function send(content: unknown, clientId = newId()): Promise<NewMessage> {
    const unsent = { ...deferred<NewMessage>(), content, clientId };
    const isFull = outbox.size >= OUTBOX_SIZE && noLink();
    const problem = uses ? error || isFull : new PresenceError("forbidden", "Join first.");
    if (problem) unsent.reject(problem);
    else post(unsent);
    return unsent.promise;
  }

  function post(unsent: Unsent): void {
    telling.stop(); // to the others a message ends the typing
    typedAt = 0;
    outbox.add(unsent);
    clock.after(OUTBOX_MS, () => outbox.delete(unsent) && unsent.reject(noLink()));
    flush();
  }

  /** One after the other: two messages could overtake each other. */
  async function flush(): Promise<void> {
    if (isSending) return;
    isSending = true;
    for (const unsent of outbox) {
      const link = on.link();
      if (!isIn(link)) break;
      const { content, clientId } = unsent;
      outbox.delete(unsent);
      await link
        .ask<NewMessage>({ action: "message", chatSessionId, content, clientId })
        .then(unsent.resolve, unsent.reject);
    }
    isSending = false;
  }

  function reject(cause: PresenceError): void {
    for (const unsent of outbox) unsent.reject(cause);
    outbox.clear();
  }

  return {
    chat: {
      id: chatSessionId,
      members,
      typing,
      send,
      keystroke,
      stopTyping,
      onMessage(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    join() {
      uses += 1;
      if (uses === 1) error = undefined;
      on.settle();
      return this.chat;
    },
    leave() {
      if (uses) uses -= 1;
      on.settle();
    },
    sync(link) {
      if (uses) return isIn(link) || error ? undefined : enter(link);
      if (!isIn(link)) return undefined;
      link.joined.delete(chatSessionId);
      lost(true);
      // Frames may overtake each other: to join again has to wait for the answer.
      return link.ask({ action: "leave", chatSessionId }).catch(() => {});
    },
    hear(frame) {
      if (frame.type === "chat-session-members") hearMembers(frame);
      if (frame.type === "user-typing" && frame.userId !== on.userId()) {
        const left = frame.expiresAt - clock.now() - on.skewMs();
        typed(frame.userId, frame.typing ? left : 0);
      }
      if (frame.type === "new-message" && on.isNew(frame)) {
        typed(frame.senderId, 0);
        tellAll(listeners, frame);
      }
    },
    covers: (userId, link) => fresh && !sampled && isIn(link) && present.has(userId),
    lost,
  };
}
