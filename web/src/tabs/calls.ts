/**
 * What a tab has asked of the leader and was not answered, decided in one pure function.
 *
 *            call                 a leader is there               answered
 *    ─────────────────► WAITING ───────────────────► ASKED ─────────────────►
 *                          │                          │  ▲
 *              30 s, a message only     another leader │  │ what may be done twice
 *                          ▼                          └──┘
 *                       rejected ◄──────────────────────┘ what may not: `timeout`
 */

import type { StatusOptions, UserData, UserDataPatch } from "../api.js";
import { type Event, type Table, type Turn, transitionBy } from "../core/machine.js";
import { noAnswer, noLink, type PresenceError } from "../errors.js";
import type { Choice } from "../protocol.js";
import type { Deferred } from "../timing.js";

/** How long a message waits for a link. */
const MESSAGE_MS = 30_000;

export type Call =
  | readonly [name: "welcome"]
  /** With a token, that one is used next. */
  | readonly [name: "renew", token: string | undefined]
  | readonly [name: "send", chatSessionId: string, content: unknown, clientId: string]
  | readonly [name: "setStatus", status: Choice, options: StatusOptions | undefined]
  | readonly [name: "setData", data: UserData]
  | readonly [name: "patchData", patch: UserDataPatch]
  | readonly [name: "verify", userIds: readonly string[]]
  | readonly [name: "request", route: string, body: unknown];

interface Pending {
  readonly call: Call;
  readonly isAsked: boolean;
  /** When it is too late to ask. */
  readonly until: number;
  /** The promise is the driver's; here it is only passed on. */
  readonly answer: Deferred<never>;
}

export interface CallsState {
  readonly hasLeader: boolean;
  /** How many there were: the id of the last one. */
  readonly asked: number;
  readonly pending: ReadonlyMap<number, Pending>;
}

export interface CallsEffects {
  ask(id: number, call: Call): void;
  resolve(answer: Deferred<never>, value: unknown): void;
  reject(answer: Deferred<never>, error: PresenceError): void;
}

type CallsTurn = Turn<CallsState, CallsEffects, { readonly now: number }>;

export const noCalls: CallsState = { hasLeader: false, asked: 0, pending: new Map() };

/**
 * Whether it may be done twice. A message has a `clientId`, by which the server knows it again for
 * ten minutes; over HTTP a repeated PUT or DELETE changes nothing, and `POST /batch` reads.
 */
function isRepeatable([name, what]: Call): boolean {
  return name !== "request" || /^(GET|PUT|DELETE) |^POST \/batch$/.test(what);
}

/** Takes it out. */
function take({ state }: CallsTurn, id: number): Pending | undefined {
  const found = state.pending.get(id);
  const pending = new Map(state.pending);
  pending.delete(id);
  state.pending = pending;
  return found;
}

const table = {
  call({ state, now, effects }, call: Call, answer: Deferred<never>) {
    state.asked += 1;
    const until = call[0] === "send" ? now + MESSAGE_MS : Number.POSITIVE_INFINITY;
    const pending = { call, answer, until, isAsked: state.hasLeader };
    state.pending = new Map([...state.pending, [state.asked, pending]]);
    if (state.hasLeader) effects.push(["ask", state.asked, call]);
  },

  /** There is another leader, which knows of none of them. */
  led(turn) {
    const { state, effects } = turn;
    state.hasLeader = true;
    for (const [id, { call, answer, isAsked }] of state.pending) {
      if (isAsked && !isRepeatable(call)) {
        take(turn, id);
        effects.push(["reject", answer, noAnswer()]);
      } else effects.push(["ask", id, call]);
    }
    state.pending = new Map(
      [...state.pending].map(([id, it]) => [id, { ...it, isAsked: true }] as const),
    );
  },

  /** There is no leader to ask. */
  unled({ state }) {
    state.hasLeader = false;
  },

  answered(turn, id: number, value: unknown, error: PresenceError | undefined) {
    const found = take(turn, id);
    if (!found) return;
    turn.effects.push(error ? ["reject", found.answer, error] : ["resolve", found.answer, value]);
  },

  /** Nothing will be answered any more. */
  ended(turn, error: PresenceError) {
    const { state, effects } = turn;
    for (const { answer } of state.pending.values()) effects.push(["reject", answer, error]);
    state.pending = new Map();
    state.hasLeader = false;
  },

  tick(turn) {
    const { state, now, effects } = turn;
    for (const [id, { answer, until, isAsked }] of state.pending) {
      if (isAsked || until > now) continue;
      take(turn, id);
      effects.push(["reject", answer, noLink()]);
    }
  },
} satisfies Table<CallsTurn>;

export const transitionCalls = transitionBy<
  CallsState,
  CallsEffects,
  { readonly now: number },
  Event<typeof table>
>(table);

export const callsWakeAt = ({ pending }: CallsState): number =>
  Math.min(
    ...[...pending.values()].map((it) => (it.isAsked ? Number.POSITIVE_INFINITY : it.until)),
  );
