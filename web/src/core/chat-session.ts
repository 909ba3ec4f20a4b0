/**
 * One chat session, as long as the client lives, decided in one pure function.
 *
 *             first `join` of the app         chat-session-joined
 *     UNUSED ─────────────────────► WAITING ─────────────────────► JOINED
 *        ▲                           │ ▲  ▲        link down          │
 *        │ left as often as joined   │ │  └─────────────────────────┘
 *        └──── (from any state)      ▼ │ link down
 *                                   REFUSED
 *
 * What the server is told follows from it: see `wanted`.
 */

import { disconnected, noLink, PresenceError, retryMs } from "../errors.js";
import type { JoinedChatSession, NewMessage, Presence, ServerFrame } from "../protocol.js";
import { type Event, type Table, type Turn, transitionBy } from "./machine.js";
import * as members from "./members.js";
import * as outbox from "./outbox.js";
import * as typing from "./typing.js";

export interface ChatSessionState {
  /** How often the app has joined and not left. */
  readonly uses: number;
  /** Whether the server did not serve the last `leave`: for the others we are still in. */
  readonly isUnleft: boolean;
  /** When `join` may be asked for again, after a refusal. */
  readonly retryAt: number;
  readonly members: members.MembersState;
  readonly typing: typing.TypingState;
  readonly typists: typing.Typists;
  readonly outbox: outbox.OutboxState;
}

interface Page {
  readonly members: readonly Presence[];
  readonly cursor: string | null;
}

/** What is told of a chat session that was joined. */
export type Entered = Omit<JoinedChatSession, "cursor"> & Partial<Pick<Page, "cursor">>;

export interface ChatSessionEffects {
  /** The server has to be told something, in so many milliseconds. */
  settle(afterMs?: number): void;
  /** All changes are told again, but not all members are known: that takes another `join`. */
  rejoin(): void;
  load(cursor: string, visit: number): void;
  apply(presences: readonly Presence[]): void;
  tellTyping(isTyping: boolean): void;
  post(unsent: outbox.Unsent): void;
  reject(unsent: outbox.Unsent, error: PresenceError): void;
  deliver(message: NewMessage): void;
}

interface Around {
  readonly now: number;
  readonly skewMs: number;
  readonly userId: string | undefined;
  /** Whether the link in use has joined this session. */
  readonly isIn: boolean;
}

type SessionTurn = Turn<ChatSessionState, ChatSessionEffects, Around>;

export const unjoined: ChatSessionState = {
  uses: 0,
  isUnleft: false,
  retryAt: 0,
  members: members.noMembers,
  typing: typing.idle,
  typists: new Map(),
  outbox: outbox.emptyOutbox,
};

/** What a link has to be told, at this time, to be as the app wants it. */
export function wanted(state: ChatSessionState, isIn: boolean, now: number): "join" | "leave" | "" {
  const { uses, isUnleft, retryAt, members } = state;
  if (!uses) return isIn || isUnleft ? "leave" : "";
  return isIn || members.error || now < retryAt ? "" : "join";
}

/** Whether a member's changes are told because of this session. */
export const covers = ({ members }: ChatSessionState, userId: string): boolean =>
  members.fresh && !members.isSampled && members.present.has(userId);

function post({ state, isIn, effects }: SessionTurn): void {
  const [next, unsent] = outbox.next(state.outbox);
  if (!unsent || !isIn) return;
  state.outbox = next;
  effects.push(["post", unsent]);
}

/** Rejects the messages that have waited until `now`. */
function expire({ state, effects }: SessionTurn, now: number, error: PresenceError): void {
  const [next, late] = outbox.expire(state.outbox, now);
  state.outbox = next;
  for (const unsent of late) effects.push(["reject", unsent, error]);
}

function load({ state, effects }: SessionTurn, { members: presences, cursor }: Page): void {
  effects.push(["apply", presences]);
  if (cursor !== null && members.isToLoad(state.members))
    effects.push(["load", cursor, state.members.visit]);
}

/** Shows these users as typing until then; not at all for 0. */
function show({ state }: SessionTurn, userIds: Iterable<string>, until = 0): void {
  state.typists = typing.typists(state.typists, userIds, until);
}

/** What frames of the session change, by their type; other types change nothing. */
const frames: {
  readonly [F in ServerFrame as F["type"]]?: (turn: SessionTurn, frame: F) => void;
} = {
  "chat-session-members"(turn, frame) {
    const { state, effects } = turn;
    const wasSampled = state.members.isSampled;
    state.members = members.changed(state.members, frame);
    const { present, isSampled } = state.members;
    show(
      turn,
      frame.left.filter((id) => !present.has(id)),
    );
    effects.push(["apply", frame.joined]);
    if (wasSampled && !isSampled) effects.push(["rejoin"]);
    effects.push(["settle"]); // changes of members who left are not told because of this session any more
  },

  "user-typing"(turn, { userId, typing, expiresAt }) {
    const until = expiresAt - turn.skewMs;
    if (userId !== turn.userId) show(turn, [userId], typing && until > turn.now ? until : 0);
  },

  "new-message"(turn, message) {
    show(turn, [message.senderId]);
    turn.effects.push(["deliver", message]);
  },
};

const table = {
  join({ state, effects }) {
    if (!state.uses) {
      state.members = { ...state.members, error: undefined };
      state.retryAt = 0;
    }
    state.uses += 1;
    effects.push(["settle"]);
  },

  leave({ state, effects }) {
    state.uses = Math.max(0, state.uses - 1);
    effects.push(["settle"]);
  },

  /** `join` was sent. */
  entering({ state }) {
    state.isUnleft = false;
    state.members = members.entering(state.members);
  },

  joined(turn, frame: Entered) {
    const { state } = turn;
    // Without members there was no space for the first one.
    const { members: presences = [], cursor = frame.members ? null : "" } = frame;
    state.members = members.joined(state.members, { ...frame, members: presences });
    load(turn, { members: presences, cursor });
    post(turn);
  },

  /** A link is in use, which may have joined before it was. */
  ready: post,

  page(turn, page: Page, visit: number) {
    const { state } = turn;
    if (visit !== state.members.visit) return;
    state.members = members.loaded(state.members, page.members);
    load(turn, page);
  },

  refused(turn, error: PresenceError) {
    const { state, now, effects } = turn;
    if (error.isRetryable) {
      state.retryAt = now + retryMs(error);
      effects.push(["settle", retryMs(error)]);
    } else {
      state.members = members.refused(state.members, error);
      expire(turn, Number.POSITIVE_INFINITY, error);
    }
  },

  /** `leave` was refused, or not answered. */
  unleft({ state, effects }, error: PresenceError) {
    if (!error.isRetryable) return;
    state.isUnleft = true;
    effects.push(["settle", retryMs(error)]);
  },

  /** The link is down; if it is over, nothing is known any more. */
  lost(turn, isOver: boolean) {
    const { state } = turn;
    state.isUnleft = false;
    show(turn, state.typists.keys());
    state.retryAt = 0;
    state.members = (isOver ? members.over : members.stale)(state.members);
    if (!isOver) return;
    state.typing = typing.idle;
    expire(turn, Number.POSITIVE_INFINITY, disconnected());
  },

  received(turn, frame: ServerFrame) {
    if (Object.hasOwn(frames, frame.type)) frames[frame.type]?.(turn, frame as never);
  },

  keystroke({ state, now, isIn }) {
    state.typing = typing.keystroke(state.typing, now, isIn);
  },

  stopTyping({ state }) {
    state.typing = typing.stop(state.typing);
  },

  send(turn, unsent: outbox.Unsent) {
    const { state, now, effects } = turn;
    const error = state.uses
      ? (state.members.error ?? outbox.full(state.outbox))
      : new PresenceError("forbidden", "Join first.");
    if (error) {
      effects.push(["reject", unsent, error]);
    } else {
      state.typing = typing.sent(state.typing);
      state.outbox = outbox.put(state.outbox, unsent, now);
      post(turn);
    }
  },

  /** The message before was answered, or was not. */
  posted(turn) {
    turn.state.outbox = { ...turn.state.outbox, isSending: false };
    post(turn);
  },

  tick(turn) {
    const { state, now, isIn, effects } = turn;
    const [typed, isTold] = typing.ticked(state.typing, now, isIn);
    state.typing = typed;
    if (isTold) effects.push(["tellTyping", typed.isTyping]);
    show(turn, typing.ended(state.typists, now));
    expire(turn, now, noLink());
  },
} satisfies Table<SessionTurn>;

export type ChatSessionEvent = Event<typeof table>;

export const transitionChatSession = transitionBy<
  ChatSessionState,
  ChatSessionEffects,
  Around,
  ChatSessionEvent
>(table);

export const chatSessionWakesAt = (state: ChatSessionState): number =>
  Math.min(typing.typingWakesAt(state.typing, state.typists), outbox.outboxWakesAt(state.outbox));
