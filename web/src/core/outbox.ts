/**
 * Messages on their way: they wait for a link, and are sent one after the other, because two of
 * them could overtake each other.
 */

import { noLink, type PresenceError } from "../errors.js";
import type { NewMessage } from "../protocol.js";
import type { Deferred } from "../timing.js";

const OUTBOX_SIZE = 50;
const OUTBOX_MS = 30_000;

/** The promise is the driver's; here it is only passed on. */
export interface Unsent extends Deferred<NewMessage> {
  readonly content: unknown;
  readonly clientId: string;
}

interface Waiting {
  readonly unsent: Unsent;
  readonly until: number;
}

export interface OutboxState {
  readonly waiting: readonly Waiting[];
  readonly isSending: boolean;
}

export const emptyOutbox: OutboxState = { waiting: [], isSending: false };

/** Why no more messages are taken, or undefined. */
export const full = ({ waiting }: OutboxState): PresenceError | undefined =>
  waiting.length < OUTBOX_SIZE ? undefined : noLink();

export const put = (state: OutboxState, unsent: Unsent, now: number): OutboxState => ({
  ...state,
  waiting: [...state.waiting, { unsent, until: now + OUTBOX_MS }],
});

/** Takes the next one, if it is its turn. */
export function next(state: OutboxState): [state: OutboxState, unsent: Unsent | undefined] {
  const [first, ...waiting] = state.waiting;
  if (!first || state.isSending) return [state, undefined];
  return [{ waiting, isSending: true }, first.unsent];
}

/** Takes out those that have waited until `now`: all of them if it is infinite. */
export function expire(state: OutboxState, now: number): [state: OutboxState, late: Unsent[]] {
  const late = state.waiting.filter((it) => it.until <= now).map((it) => it.unsent);
  return [{ ...state, waiting: state.waiting.filter((it) => it.until > now) }, late];
}

export const outboxWakesAt = ({ waiting }: OutboxState): number =>
  Math.min(...waiting.map((it) => it.until));
