/** The steps of which the transition of `user-link.ts` is made. */

import type { ConnectionState, DropReason } from "../api.js";
import type { PresenceError } from "../errors.js";
import type { AuthenticationSuccess } from "../protocol.js";
import {
  NEVER,
  nothingUnderWay,
  type UserLinkState,
  type UserLinkTurn,
} from "./user-link-state.js";

/** After so long a connection was good: the next attempts begin with the shortest wait. */
const STABLE_MS = 10_000;
/** How long the link before a handover stays open: answers may still come through it. */
export const SYNC_MS = 5_000;
const AHEAD_MS = 60_000;
const AGAIN_MS = 5_000;

/** How long before the end of a token or connection the next one is asked for. */
const ahead = (leftMs: number) => Math.min(AHEAD_MS, leftMs / 4);

/** When a renewal or handover that failed is tried again. */
const again = ({ now, random }: UserLinkTurn) => now + AGAIN_MS * (0.5 + random);

// ── beginning and ending ─────────────────────────────────────────────────────────────────────

/** Ends all that is under way. */
export function become({ state, now, effects }: UserLinkTurn, connection: ConnectionState): void {
  const { current, opening, former, skewMs } = state;
  effects.push(["close", opening], ["close", former], ["close", current]);
  if (current) {
    effects.push(["lost"]);
    state.lostAt ||= now + skewMs;
  }
  Object.assign(state, nothingUnderWay, { connection });
}

export function connect(turn: UserLinkTurn): void {
  become(turn, { name: turn.isOnline ? "connecting" : "offline" });
  if (turn.isOnline) open(turn);
}

/** Opens a link: the only one, or the next one beside the one in use. */
export function open(turn: UserLinkTurn): void {
  const { state } = turn;
  state.opening = state.attempts += 1;
  state.handOverAt = NEVER;
  prepare(turn, state.opening);
}

export function renew(turn: UserLinkTurn): void {
  const { state } = turn;
  state.renewal = state.attempts += 1;
  state.renewAt = NEVER;
  prepare(turn, state.renewal);
}

/** Asks for the stack's addresses where they are not known, then for a token. */
export function prepare({ state, effects }: UserLinkTurn, attempt: number): void {
  const reason = attempt === state.renewal ? "expiring" : state.reason;
  effects.push(state.config ? ["provideToken", attempt, reason] : ["configure", attempt]);
}

export function end(turn: UserLinkTurn, connection: ConnectionState, error: PresenceError): void {
  become(turn, connection);
  turn.effects.push(["end"], ["reject", error]);
}

// ── what went wrong ──────────────────────────────────────────────────────────────────────────

export function stumble(turn: UserLinkTurn, error: PresenceError): void {
  const { state, canRenew, effects } = turn;
  const { code } = error;
  state.config = undefined; // the address may be another one by now
  if (error.isRetryable) {
    const isNetwork = code === "not-connected" || code === "timeout";
    recover(turn, isNetwork ? "network" : "server", error);
  } else if (/token|authenticated/.test(code) && canRenew && state.reason !== "rejected") {
    state.reason = "rejected";
    effects.push(["goodUntil", 0]);
    connect(turn);
  } else {
    end(turn, { name: "failed", error }, error);
  }
}

export function recover(turn: UserLinkTurn, reason: DropReason, error?: PresenceError): void {
  const { state, now, isOnline, random, backoff } = turn;
  if (now - state.readyAt > STABLE_MS) state.failures = 0;
  state.readyAt = NEVER;
  if (state.reason === "rejected") state.reason = "reconnect"; // the token since then may be over
  if (reason === "sleep" || !isOnline) {
    connect(turn);
  } else {
    const attempt = ++state.failures;
    const retryAt = now + (error?.retryAfterSeconds ?? 0) * 1000 + backoff(attempt, () => random);
    become(turn, { name: "recovering", attempt, retryAt, reason, error });
    state.retryAt = retryAt;
  }
}

/** The link in use is good meanwhile. */
export function failHandover(turn: UserLinkTurn): void {
  const { state, effects } = turn;
  effects.push(["close", state.opening]);
  state.opening = 0;
  state.handOverAt = again(turn);
}

/** The token in use is good until it ends; then the server closes, and all begins anew. */
export function failRenewal(turn: UserLinkTurn, error: PresenceError): void {
  const { state, canRenew, effects } = turn;
  if (state.isAsked) effects.push(["reject", error]);
  state.renewal = 0;
  state.isAsked = false;
  state.renewAt = canRenew ? again(turn) : NEVER;
}

// ── what went well ───────────────────────────────────────────────────────────────────────────

/** Remembers how long the token is good, and renews it before it ends. */
function accept(turn: UserLinkTurn, terms: AuthenticationSuccess): void {
  const { state, now, canRenew, effects } = turn;
  const left = terms.tokenExpiresAt - terms.serverTime;
  state.renewAt = canRenew ? now + left - ahead(left) : NEVER;
  effects.push(["goodUntil", now + left], ["resolve", terms]);
}

/** Uses the link that was opened; one that is in use already is released a little later. */
export function adopt(turn: UserLinkTurn, terms: AuthenticationSuccess): void {
  const { state, now, random, effects } = turn;
  const { current, opening, lostAt } = state;
  const left = terms.connectionExpiresAt - terms.serverTime;
  accept(turn, terms);
  effects.push(["ready", opening, terms, !current, lostAt]);
  Object.assign(state, {
    connection: { name: "ready" },
    current: opening,
    opening: 0,
    former: current,
    releaseAt: current ? now + SYNC_MS : NEVER,
    // At random, because those who were connected together would be cut together.
    handOverAt: now + left - ahead(left) * (1 + random),
    readyAt: now,
    reason: "reconnect",
    lostAt: 0,
  } satisfies Partial<UserLinkState>);
}

export function finishRenewal(turn: UserLinkTurn, terms: AuthenticationSuccess): void {
  const { state, effects } = turn;
  state.renewal = 0;
  state.isAsked = false;
  accept(turn, terms);
  effects.push(["renewed", state.current, terms]);
}
