/**
 * The driver of every pure transition: it holds the state, does the effects in their order, and
 * wakes the transition when it wants to be woken. All that is impure is in the functions given.
 */

import type { Clock } from "../api.js";
import { createTimer } from "../timing.js";

/** One call of a function of `Effects`, as data: `["close", link]`. */
export type Effect<Effects> = {
  [K in keyof Effects]: Effects[K] extends (...args: infer Args) => unknown
    ? readonly [name: K, ...args: Args]
    : never;
}[keyof Effects];

/** The next state, and what has to be done. */
export type Step<State, Effects> = readonly [state: State, effects: readonly Effect<Effects>[]];

/** What a transition works on: a copy of the state, what it may know besides, and what follows. */
export type Turn<State, Effects, Around> = Around & {
  readonly state: { -readonly [K in keyof State]: State[K] };
  readonly effects: Effect<Effects>[];
};

/** What each event changes; `tick` is what the clock decides. */
export interface Table<T> {
  readonly [event: string]: (turn: T, ...args: never[]) => void;
}

/** An entry of such a table, as data: `["received", frame]`. */
export type Event<T> = {
  [K in keyof T]: T[K] extends (turn: never, ...args: infer Args) => unknown
    ? readonly [name: K, ...args: Args]
    : never;
}[keyof T];

/**
 * Makes a pure function of such a table: it copies the state, looks the event up, and gives back
 * the copy as it is then. Events that `isIgnored` change nothing.
 */
export const transitionBy =
  <State extends object, Effects, Around extends object, E extends readonly unknown[]>(
    table: Table<Turn<State, Effects, Around>>,
    isIgnored = (_state: State, _event: E) => false,
  ) =>
  (before: State, event: E, around: Around): Step<State, Effects> => {
    if (isIgnored(before, event)) return [before, []];
    const turn: Turn<State, Effects, Around> = { ...around, state: { ...before }, effects: [] };
    const [name, ...args] = event;
    table[name as string]?.(turn, ...(args as never[]));
    return [turn.state, turn.effects];
  };

export interface MachineParts<State, Effects, E, Around> {
  readonly clock: Clock;
  readonly initial: State;
  readonly transition: (state: State, event: E, around: Around) => Step<State, Effects>;
  /** Epoch milliseconds of the next `tick`; infinity for none. */
  readonly wakeAt: (state: State) => number;
  /** What a transition may know besides its state: the time, the network, a random number. */
  around(): Around;
  readonly effects: Effects;
  /** Called after the effects of each event. */
  changed?(after: State, before: State): void;
}

export interface Machine<State, E extends readonly unknown[]> {
  state(): State;
  dispatch(...event: E): void;
}

export function createMachine<State, Effects, E extends readonly unknown[], Around>(
  parts: MachineParts<State, Effects, E, Around>,
): Machine<State, E> {
  const { clock, wakeAt, effects, changed } = parts;
  const timer = createTimer(clock);
  const queue: (() => void)[] = [];
  let state = parts.initial;
  let wakesAt = Number.POSITIVE_INFINITY;
  let isRunning = false;

  function wake(): void {
    wakesAt = Number.POSITIVE_INFINITY;
    dispatch(...(["tick"] as readonly unknown[] as E));
  }

  function arm(): void {
    const at = wakeAt(state);
    if (at === wakesAt) return;
    wakesAt = at;
    if (at < Number.POSITIVE_INFINITY) timer.start(at - clock.now(), wake);
    else timer.stop();
  }

  /** An event that an effect sends changes the state at once; its own effects wait their turn. */
  function run(): void {
    if (isRunning) return;
    isRunning = true;
    try {
      for (let next = queue.shift(); next; next = queue.shift()) next();
    } finally {
      isRunning = false;
    }
  }

  function dispatch(...event: E): void {
    const before = state;
    const [after, todo] = parts.transition(before, event, parts.around());
    state = after;
    const calls = todo as readonly unknown[] as readonly [keyof Effects, ...never[]][];
    for (const [name, ...args] of calls)
      queue.push(() => (effects[name] as (...all: never[]) => void)(...args));
    queue.push(() => changed?.(after, before));
    arm();
    run();
  }

  return { state: () => state, dispatch };
}
