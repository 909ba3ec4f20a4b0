/**
 * The status that the user has chosen and that is not confirmed yet, decided in one pure function.
 *
 *             choose          link           answered            3 s, or the change came
 *    NOTHING ───────► WAITING ────► SENDING ─────────► ANSWERED ────────────────────────► NOTHING
 *                        ▲            │  └── refused ──────────────────────────────────►
 *                        └────────────┘ link down, or another choice came meanwhile
 *
 * One choice after the other is sent: two of them could overtake each other.
 */

import type { StatusOptions, UserPresence } from "../api.js";
import type { PresenceError } from "../errors.js";
import type { Choice } from "../protocol.js";
import type { Deferred } from "../timing.js";
import { type Event, type Table, type Turn, transitionBy } from "./machine.js";

/** How long after the answer the change may come that it is the answer to. */
const CHANGE_MS = 3_000;
const NEVER = Number.POSITIVE_INFINITY;

/** The promise is the driver's; here it is only passed on. */
export interface Chosen extends Deferred<void>, StatusOptions {
  readonly status: Choice;
  readonly chosenAt: number;
}

export interface OwnStatusState {
  readonly chosen: Chosen | undefined;
  /** The presence when the choice was sent; another one is the change. */
  readonly before: UserPresence | undefined;
  readonly isSending: boolean;
  readonly doneAt: number;
}

export interface OwnStatusEffects {
  send(chosen: Chosen): void;
  resolve(chosen: Chosen, by?: Promise<void>): void;
  reject(chosen: Chosen, error: PresenceError): void;
}

interface Around {
  readonly now: number;
  readonly hasLink: boolean;
  readonly presence: UserPresence | undefined;
}

type OwnStatusTurn = Turn<OwnStatusState, OwnStatusEffects, Around>;

export const nothingChosen: OwnStatusState = {
  chosen: undefined,
  before: undefined,
  isSending: false,
  doneAt: NEVER,
};

/** What is chosen, until the change has come. */
export const pending = ({ chosen, before }: OwnStatusState, presence: UserPresence | undefined) =>
  (before ?? presence) === presence ? chosen?.status : undefined;

/** Sends the newest choice, unless it was answered or another one is on its way. */
function send({ state, hasLink, presence, effects }: OwnStatusTurn): void {
  const { chosen } = state;
  if (!chosen || !hasLink || state.isSending || state.doneAt !== NEVER) return;
  Object.assign(state, { before: presence, isSending: true, doneAt: NEVER });
  effects.push(["send", chosen]);
}

function forget({ state }: OwnStatusTurn): void {
  Object.assign(state, nothingChosen, { isSending: state.isSending });
}

const table = {
  choose(turn, next: Chosen) {
    const { state, effects } = turn;
    if (state.chosen) effects.push(["resolve", state.chosen, next.promise]);
    forget(turn);
    state.chosen = next;
    send(turn);
  },

  ready: send,

  answered(turn, chosen: Chosen) {
    const { state, now, effects } = turn;
    state.isSending = false;
    effects.push(["resolve", chosen]);
    // Until the change has come, what was chosen is what is so.
    if (state.chosen === chosen) state.doneAt = now + CHANGE_MS;
    else send(turn);
  },

  /** Without an error the link went down, which says nothing about the choice. */
  failed(turn, chosen: Chosen, error: PresenceError | undefined) {
    const { state, effects } = turn;
    state.isSending = false;
    if (error) effects.push(["reject", chosen, error]);
    if (error && state.chosen === chosen) forget(turn);
    send(turn);
  },

  /** There will be no link. */
  over(turn, error: PresenceError) {
    const { chosen } = turn.state;
    if (chosen) turn.effects.push(["reject", chosen, error]);
    forget(turn);
  },

  tick(turn) {
    if (turn.state.doneAt <= turn.now) forget(turn);
  },
} satisfies Table<OwnStatusTurn>;

export const transitionOwnStatus = transitionBy<
  OwnStatusState,
  OwnStatusEffects,
  Around,
  Event<typeof table>
>(table);

export const ownStatusWakesAt = ({ doneAt }: OwnStatusState): number => doneAt;
