/**
 * Keeps one user connected over one socket after another, decided in one pure function.
 *
 *                authenticate                      opened              authenticated
 *    IDLE, CLOSED, FAILED ──► CONNECTING ────────────────► AUTHENTICATING ──► READY ◄─┐
 *                              ▲   ▲  └── failed ──┬──────────┘    down │  │  └──────┘ handover:
 *                    retry, online │               ▼                    │  │  the next link is open
 *                              │   └──────── RECOVERING ◄───────────────┘  │  and synced before the
 *                              └──────────── OFFLINE ◄─────────────────────┘  server cuts this one
 *
 * While OFFLINE a link is tried now and then all the same: a browser may be wrong about the network.
 *
 *    any ──► CLOSED: disconnect     any ──► FAILED: refused, and asking again would not help
 *    FAILED, if another connection took the place of this one ──► CONNECTING: the page is shown, retry
 *
 * Each attempt to open a link, or to renew a token, has a number, which is the link's number, too.
 * What comes of an attempt that is not wanted any more changes nothing.
 */

import type { DropReason, LifecycleEvent } from "../api.js";
import { disconnected, PresenceError } from "../errors.js";
import type { AuthenticationSuccess, Config, ServerFrame } from "../protocol.js";
import { type Event, type Table, transitionBy } from "./machine.js";
import type { Around, UserLinkEffects, UserLinkState, UserLinkTurn } from "./user-link-steps.js";
import * as steps from "./user-link-steps.js";

/** By itself, one that was replaced would replace another, which would come back, too. */
function retry(turn: UserLinkTurn, isAsked = true): void {
  const { state, isOnline, effects } = turn;
  const { connection, current, opening } = state;
  const isReplaced = connection.name === "failed" && connection.error.code === "replaced";
  const isWaiting = (isReplaced && isAsked) || ["recovering", "offline"].includes(connection.name);
  if (isWaiting && (isOnline || !opening)) steps.retry(turn);
  else if (!isWaiting) effects.push(["probe", current]);
}

const closed: Partial<Record<string, string>> = {
  kicked: "An administrator has closed it.",
  replaced: "Too many connections of this user: another one took its place.",
};

/** What comes of an attempt. */
const results = {
  configured(turn, attempt: number, config: Config) {
    turn.state.config = config;
    steps.prepare(turn, attempt);
  },

  provided({ state, effects }, attempt: number, token: string) {
    const { renewal, current, config } = state;
    const known = config as Config;
    if (attempt === renewal) effects.push(["authenticate", attempt, current, token, known]);
    else effects.push(["open", attempt, known.webSocketUrl, token]);
  },

  opened({ state, effects }, attempt: number, token: string) {
    if (!state.current) state.connection = { name: "authenticating" };
    effects.push(["authenticate", attempt, attempt, token, state.config as Config]);
  },

  authenticated(turn, attempt: number, terms: AuthenticationSuccess) {
    const { state, effects } = turn;
    if (attempt === state.renewal) steps.finishRenewal(turn, terms);
    else if (state.current) effects.push(["sync", attempt, terms]);
    else steps.adopt(turn, terms);
  },

  synced: (turn, _attempt: number, terms: AuthenticationSuccess) => steps.adopt(turn, terms),

  failed(turn, attempt: number, error: PresenceError) {
    if (attempt === turn.state.renewal) steps.failRenewal(turn, error);
    else if (turn.state.current) steps.failHandover(turn);
    else steps.stumble(turn, error);
  },
} satisfies Table<UserLinkTurn>;

export type Result = Event<typeof results>;

const table = {
  ...results,

  authenticate(turn, isSame: boolean) {
    const { state } = turn;
    if (isSame && state.current) {
      state.isAsked = true;
      steps.renew(turn);
    } else {
      state.failures = 0;
      state.reason = "first";
      steps.retry(turn);
    }
  },

  disconnect(turn) {
    steps.end(turn, { name: "closed" }, disconnected());
    turn.state.lostAt = 0;
  },

  retry: (turn) => retry(turn),

  lifecycle(turn, event: LifecycleEvent) {
    const isOver = turn.state.connection.name === "failed";
    if (event === "leaving" && !isOver) steps.become(turn, { name: "offline" });
    else if (event === "offline" && !isOver) steps.goOffline(turn);
    else if (!["offline", "leaving", "hidden", "activity"].includes(event))
      retry(turn, event === "visible");
  },

  received(turn, link: number, frame: ServerFrame) {
    const { state, now, effects } = turn;
    const isOurs = link === state.current || link === state.opening;
    effects.push(["deliver", frame]);
    if ("serverTime" in frame) state.skewMs = frame.serverTime - now;
    if (frame.type !== "closing" || !isOurs) return;
    const { reason, retryAfterSeconds } = frame;
    const code = reason === "kicked" || reason === "replaced" ? reason : "unavailable";
    const error = new PresenceError(code, closed[code] ?? `Closed: ${reason}.`, retryAfterSeconds);
    if (code === "replaced") {
      steps.become(turn, { name: "failed", error });
      steps.complain(turn, error);
    } else steps.stumble(turn, error);
  },

  down(turn, link: number, reason: DropReason) {
    const { current, opening } = turn.state;
    if (link === current) steps.recover(turn, reason);
    // Of a first link, the attempt fails by itself.
    else if (current && link === opening) steps.failHandover(turn);
  },

  tick(turn) {
    const { state, now, effects } = turn;
    if (state.retryAt <= now) steps.retry(turn);
    if (state.renewAt <= now) steps.renew(turn);
    if (state.handOverAt <= now) steps.open(turn);
    if (state.releaseAt <= now) {
      effects.push(["close", state.former]);
      state.former = 0;
      state.releaseAt = steps.NEVER;
    }
  },
} satisfies Table<UserLinkTurn>;

export type UserLinkEvent = Event<typeof table>;

export const transitionUserLink = transitionBy<
  UserLinkState,
  UserLinkEffects,
  Around,
  UserLinkEvent
>(
  table,
  ({ opening, renewal }, [name, attempt]) =>
    name in results && attempt !== opening && attempt !== renewal,
);

export const userLinkWakesAt = (state: UserLinkState): number =>
  Math.min(state.retryAt, state.renewAt, state.handOverAt, state.releaseAt);
