/** Who is typing in a chat session: this user, as the others are told, and the others. */

const NEVER = Number.POSITIVE_INFINITY;

/** The others stop showing it after 6 s, so it is said again before. */
const TYPING_AGAIN_MS = 4_000;
/** The server drops what comes sooner after the frame before, but for a stop after a start. */
const TYPING_APART_MS = 1_050;

/** This user: IDLE ── keystroke ──► TYPING ── 4 s without one, stop, or a message ──► IDLE. */
export interface TypingState {
  /** When it was last decided to say so; 0 while the user is not typing. */
  readonly typedAt: number;
  /** When the user has stopped, without another keystroke. */
  readonly stopAt: number;
  /** The last frame about it. */
  readonly toldAt: number;
  /** The next one, and what it says. */
  readonly tellAt: number;
  readonly isTyping: boolean;
}

export const idle: TypingState = {
  typedAt: 0,
  stopAt: NEVER,
  toldAt: 0,
  tellAt: NEVER,
  isTyping: false,
};

/** As soon as the server listens, instead of what was to be said then. */
const say = (state: TypingState, isTyping: boolean): TypingState => ({
  ...state,
  isTyping,
  tellAt: state.toldAt + (isTyping ? TYPING_APART_MS : 0),
});

export function keystroke(state: TypingState, now: number, isIn: boolean): TypingState {
  const next = { ...state, stopAt: now + TYPING_AGAIN_MS };
  const isDue = isIn && now - state.typedAt >= TYPING_AGAIN_MS;
  return isDue ? say({ ...next, typedAt: now }, true) : next;
}

export const stop = (state: TypingState): TypingState =>
  state.typedAt ? { ...say(state, false), typedAt: 0 } : state;

/** To the others a message ends the typing. */
export const sent = (state: TypingState): TypingState => ({ ...state, typedAt: 0, tellAt: NEVER });

/** What the clock decides; `isTold` if the others have to be told `isTyping` now. */
export function ticked(
  before: TypingState,
  now: number,
  isIn: boolean,
): [state: TypingState, isTold: boolean] {
  const state = before.stopAt <= now ? { ...stop(before), stopAt: NEVER } : before;
  if (state.tellAt > now) return [state, false];
  // Without a link it is forgotten: it will be old when there is one.
  return [{ ...state, tellAt: NEVER, toldAt: isIn ? now : state.toldAt }, isIn];
}

/** The others who are typing, first come first, each with when it ends by itself. */
export type Typists = ReadonlyMap<string, number>;

/** The same map if nothing is different. */
export function typists(before: Typists, userIds: Iterable<string>, until: number): Typists {
  const after = new Map(before);
  for (const id of userIds)
    if (until) after.set(id, until);
    else after.delete(id);
  return until || after.size < before.size ? after : before;
}

export const ended = (all: Typists, now: number): string[] =>
  [...all].flatMap(([id, until]) => (until <= now ? [id] : []));

export const typingWakesAt = ({ stopAt, tellAt }: TypingState, all: Typists): number =>
  Math.min(stopAt, tellAt, ...all.values());
