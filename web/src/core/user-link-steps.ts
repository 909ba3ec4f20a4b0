/** What is known of a user's links, and the steps of which the transition of `user-link.ts` is made. */

import type { Backoff, ConnectionState, DropReason, TokenReason } from "../api.js";
import type { PresenceError } from "../errors.js";
import type { AuthenticationSuccess, Config, ServerFrame } from "../protocol.js";
import type { Turn } from "./machine.js";

export const NEVER = Number.POSITIVE_INFINITY;
/** After so long a connection was good: the next attempts begin with the shortest wait. */
const STABLE_MS = 10_000;
/** How long the link before a handover stays open: answers may still come through it. */
export const SYNC_MS = 5_000;
const AHEAD_MS = 60_000;
const AGAIN_MS = 5_000;
/** How long to believe that there is no network: browsers may say so where there is one. */
const OFFLINE_MS = 30_000;

// ── the state ────────────────────────────────────────────────────────────────────────────────

export interface UserLinkState {
  readonly connection: ConnectionState;
  readonly config: Config | undefined;
  /** The number of the last attempt. Below, 0 stands for none. */
  readonly attempts: number;
  readonly current: number;
  readonly opening: number;
  /** The link before a handover. */
  readonly former: number;
  /** The renewal of a token. */
  readonly renewal: number;
  /** Whether the app asked for it, with another token. */
  readonly isAsked: boolean;
  /** How many attempts have failed one after the other. */
  readonly failures: number;
  readonly readyAt: number;
  readonly reason: TokenReason;
  /** When there was a link, by the server's clock; 0 while there is one. */
  readonly lostAt: number;
  readonly skewMs: number;
  readonly retryAt: number;
  readonly renewAt: number;
  readonly handOverAt: number;
  readonly releaseAt: number;
}

export interface UserLinkEffects {
  // What may fail: it comes back as an event with the same attempt.
  configure(attempt: number): void;
  provideToken(attempt: number, reason: TokenReason): void;
  open(attempt: number, url: string, token: string): void;
  authenticate(attempt: number, link: number, token: string, config: Config): void;
  sync(attempt: number, terms: AuthenticationSuccess): void;
  // What may not.
  close(link: number): void;
  probe(link: number): void;
  deliver(frame: ServerFrame): void;
  /** Until when the token in use is good; 0 if the server does not accept it. */
  goodUntil(at: number): void;
  /** `since` is when the link before went down; 0 if there was none, or for a handover. */
  ready(link: number, terms: AuthenticationSuccess, isNew: boolean, since: number): void;
  renewed(link: number, terms: AuthenticationSuccess): void;
  lost(): void;
  /** Settle the promise of `authenticate`. */
  resolve(terms: AuthenticationSuccess): void;
  reject(error: PresenceError): void;
  /** Tells the app what it, or a person, has to change. */
  problem(error: PresenceError): void;
  end(): void;
}

export interface Around {
  readonly now: number;
  readonly isOnline: boolean;
  /** Whether asking again may give another token. */
  readonly canRenew: boolean;
  /** From 0 to 1. */
  readonly random: number;
  readonly backoff: Backoff;
}

export type UserLinkTurn = Turn<UserLinkState, UserLinkEffects, Around>;

export const nothingUnderWay = {
  current: 0,
  opening: 0,
  former: 0,
  renewal: 0,
  isAsked: false,
  retryAt: NEVER,
  renewAt: NEVER,
  handOverAt: NEVER,
  releaseAt: NEVER,
};

export const unconnected: UserLinkState = {
  ...nothingUnderWay,
  connection: { name: "idle" },
  config: undefined,
  attempts: 0,
  failures: 0,
  readyAt: NEVER,
  reason: "first",
  lostAt: 0,
  skewMs: 0,
};

/** How long before the end of a token or connection the next one is asked for. */
const ahead = (leftMs: number) => Math.min(AHEAD_MS, leftMs / 4);

/** When to try again: what failed is a renewal or handover, if no time is given. */
const again = ({ now, random }: UserLinkTurn, milliseconds = AGAIN_MS) =>
  now + milliseconds * (0.5 + random);

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
  if (!turn.isOnline) {
    goOffline(turn);
    return;
  }
  become(turn, { name: "connecting" });
  open(turn);
}

/** Waits for a network, and tries now and then whether there is one. */
export function goOffline(turn: UserLinkTurn): void {
  become(turn, { name: "offline" });
  turn.state.retryAt = again(turn, OFFLINE_MS);
}

/** Tries at once, also where there seems to be no network. */
export function retry(turn: UserLinkTurn): void {
  const { state, isOnline } = turn;
  if (isOnline || state.opening || state.connection.name !== "offline") connect(turn);
  if (isOnline) return;
  state.retryAt = NEVER;
  open(turn);
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

/** Tells of what waiting does not mend. */
export function complain({ effects }: UserLinkTurn, error: PresenceError): void {
  effects.push(["problem", error], ["reject", error]);
}

// ── what went wrong ──────────────────────────────────────────────────────────────────────────

/** Whether it is the app's fault, or the stack's; but what has worked before may work again. */
const hasWorked = ({ lostAt }: UserLinkState, code: string) =>
  lostAt > 0 && /url|origin|socket|malformed/.test(code);

export function stumble(turn: UserLinkTurn, error: PresenceError): void {
  const { state, canRenew, effects } = turn;
  const { code } = error;
  state.config = undefined; // the address may be another one by now
  const isAgain = hasWorked(state, code);
  // Why there is no token, and whether for good, only the app knows.
  if (isAgain || code === "token-unavailable") complain(turn, error);
  if (isAgain || error.isRetryable) {
    const isNetwork = code === "not-connected" || code === "timeout";
    recover(turn, isNetwork ? "network" : "server", error);
  } else if (/token|authenticated/.test(code) && canRenew && state.reason !== "rejected") {
    state.reason = "rejected";
    effects.push(["goodUntil", 0]);
    connect(turn);
  } else {
    effects.push(["problem", error]);
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
  effects.push(["problem", error]);
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
