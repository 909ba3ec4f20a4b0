/**
 * Changes of one's own data that are not confirmed yet, decided in one pure function.
 *
 * They are sent one after the other, because two of them could overtake each other. One whose link
 * goes down before the answer is sent again through the next: it may come twice, and a patch that
 * comes twice is applied once.
 */

import type { UserData, UserDataPatch } from "../data.js";
import type { PresenceError } from "../errors.js";
import type { Deferred } from "../timing.js";
import { type Event, type Table, type Turn, transitionBy } from "./machine.js";

/** The promise is the driver's; here it is only passed on. */
export interface DataChange extends Deferred<void> {
  /** New data are in the place of all that was said before. */
  readonly said: { readonly data: UserData } | { readonly patch: UserDataPatch };
}

export interface OwnDataState {
  /** The first of them is on its way, if any is. */
  readonly waiting: readonly DataChange[];
  readonly isSending: boolean;
}

export interface OwnDataEffects {
  send(change: DataChange): void;
  resolve(change: DataChange, by?: Promise<void>): void;
  reject(change: DataChange, error: PresenceError): void;
}

interface Around {
  readonly hasLink: boolean;
}

type OwnDataTurn = Turn<OwnDataState, OwnDataEffects, Around>;

export const noChanges: OwnDataState = { waiting: [], isSending: false };

function send({ state, hasLink, effects }: OwnDataTurn): void {
  const [first] = state.waiting;
  if (!first || !hasLink || state.isSending) return;
  state.isSending = true;
  effects.push(["send", first]);
}

const table = {
  change(turn, newest: DataChange) {
    const { state, effects } = turn;
    const sent = state.isSending ? 1 : 0;
    const overtaken = "data" in newest.said ? state.waiting.slice(sent) : [];
    for (const it of overtaken) effects.push(["resolve", it, newest.promise]);
    state.waiting = [...state.waiting.filter((it) => !overtaken.includes(it)), newest];
    send(turn);
  },

  ready: send,

  answered(turn, change: DataChange) {
    turn.effects.push(["resolve", change]);
    next(turn, change);
  },

  /** Without an error the link went down, which says nothing about the change. */
  failed(turn, change: DataChange, error: PresenceError | undefined) {
    if (error) turn.effects.push(["reject", change, error]);
    next(turn, error && change);
  },

  /** There will be no link. */
  over({ state, effects }, error: PresenceError) {
    for (const it of state.waiting) effects.push(["reject", it, error]);
    state.waiting = [];
  },
} satisfies Table<OwnDataTurn>;

/** The next one may be sent; without the one that was answered. */
function next(turn: OwnDataTurn, change: DataChange | undefined): void {
  const { state } = turn;
  state.isSending = false;
  state.waiting = state.waiting.filter((it) => it !== change);
  send(turn);
}

export const transitionOwnData = transitionBy<
  OwnDataState,
  OwnDataEffects,
  Around,
  Event<typeof table>
>(table);
