/**
 * One socket, from opening it until it is down, decided in one pure function.
 *
 *               accepted              pong, heartbeat: `heartbeatSeconds` may be another
 *    OPENING ─────────────► LEASED ◄──┐
 *       │                     │  └────┴─ tick: a ping at each heartbeat, and again if it is refused
 *       └──────────┬──────────┘
 *                  ▼  closed, no answer and no frame ("silence"), slept longer than the lease
 *                 DOWN   a link that is down never comes back
 *
 * The lease counts from when a frame was sent that the server has served. A ping is answered only if
 * it is refused; a `check` always is. It is sent where there is a reason to doubt the link, and for
 * what changes: whether the user is active, and the heartbeat that follows from that. The server may
 * handle two frames in another order than they were sent, so a change waits for what went before.
 */

import type { DropReason, Stats } from "../api.js";
import { fromFrame, noAnswer, noLink, type PresenceError } from "../errors.js";
import type {
  Ack,
  AuthenticationSuccess,
  ClientFrame,
  ErrorFrame,
  Heartbeat,
  Pong,
  ServerFrame,
} from "../protocol.js";
import { ANSWER_MS, type Deferred } from "../timing.js";
import { type Event, type Table, type Turn, transitionBy } from "./machine.js";

const PONG_MS = 5_000;
/** After so long without any frame, a heartbeat asks for an answer. */
const QUIET_MS = 20 * 60_000;
/** A refused ping is sent again so long before the lease ends, if there is time. */
const SPARE_MS = 5_000;
/** After so long the server has handled a ping, and what changes may be said. */
const ORDER_MS = 2_000;
/**
 * A hidden page's timers run once a minute, a moment late: without this one minute would be two, and
 * nine would be the ten after which API Gateway ends the connection.
 */
const AHEAD_MS = 5_000;

const NEVER = Number.POSITIVE_INFINITY;

/** A promise that the driver made; here it is only passed on. */
type Answer = Deferred<ServerFrame> | undefined;

interface Question {
  readonly id: string;
  readonly askedAt: number;
  /** When it is too late for an answer. */
  readonly until: number;
  /** Undefined if the answer only shows that the link works. */
  readonly answer: Answer;
  /** What a `check` has said. */
  readonly said?: Situation;
}

interface Situation {
  readonly isActive: boolean;
  readonly heartbeatMs: number;
}

export interface LinkState {
  readonly isDown: boolean;
  /** How many questions were asked: the id of the last one. */
  readonly asked: number;
  readonly questions: readonly Question[];
  /** The last frame without an id, or question that was given up: a refusal may still be meant for it. */
  readonly strayAt: number;
  readonly receivedAt: number;
  /** Whose link it is, once it is authenticated. */
  readonly userId: string;
  readonly leaseFrom: number;
  readonly pingedAt: number;
  /** `leaseFrom` before the last ping: still true if that is refused. */
  readonly servedFrom: number;
  /** How many pings were refused one after the other, and when to send the next. */
  readonly refusals: number;
  readonly retryAt: number;
  /** Infinite before authentication, like the heartbeat. */
  readonly leaseMs: number;
  /** What the server knows. */
  readonly kept: Situation;
  /** What it should know next: by the situation, or as it has told. */
  readonly wanted: Situation;
  readonly foregroundMs: number;
  readonly backgroundMs: number;
  readonly roundTripMs: Stats["roundTripMs"];
}

export interface LinkEffects {
  transmit(frame: ClientFrame): void;
  deliver(frame: ServerFrame): void;
  resolve(answer: Answer, frame: ServerFrame): void;
  reject(answer: Answer, error: PresenceError): void;
  closeSocket(): void;
  down(reason: DropReason): void;
}

interface Around {
  readonly now: number;
  /** Whether the user is at the device. */
  readonly isActive: boolean;
}

type LinkTurn = Turn<LinkState, LinkEffects, Around>;

export const openingLink = (now: number): LinkState => ({
  isDown: false,
  asked: 0,
  questions: [],
  strayAt: -ANSWER_MS,
  receivedAt: now,
  userId: "",
  leaseFrom: now,
  pingedAt: now,
  servedFrom: now,
  refusals: 0,
  retryAt: NEVER,
  leaseMs: NEVER,
  kept: { isActive: true, heartbeatMs: NEVER },
  wanted: { isActive: true, heartbeatMs: NEVER },
  foregroundMs: NEVER,
  backgroundMs: NEVER,
  roundTripMs: undefined,
});

function ask(
  { state, now, effects }: LinkTurn,
  frame: ClientFrame,
  more: Pick<Question, "answer"> & Partial<Question>,
): void {
  state.asked += 1;
  const id = `${state.asked}`;
  const question = { id, askedAt: now, until: now + ANSWER_MS, ...more };
  state.questions = [...state.questions, question];
  effects.push(["transmit", { ...frame, id }]);
}

function tell({ state, now, effects }: LinkTurn, frame: ClientFrame): void {
  state.strayAt = now;
  effects.push(["transmit", frame]);
}

/**
 * A refusal without any name, as API Gateway sends it, gets the id of the one question that there
 * is, if nothing else was sent that it can be meant for.
 */
function addressed({ state, now }: LinkTurn, frame: ServerFrame): ServerFrame {
  const [only, another] = state.questions;
  const isNameless = "code" in frame && !frame.id && !(frame as ErrorFrame).action;
  const isMeant = isNameless && only && !another && now - state.strayAt >= ANSWER_MS;
  return isMeant ? { ...frame, id: only.id } : frame;
}

function close({ state, effects }: LinkTurn, reason?: DropReason): void {
  state.isDown = true;
  effects.push(["closeSocket"]);
  for (const { answer } of state.questions) effects.push(["reject", answer, noAnswer()]);
  if (reason) effects.push(["down", reason]);
}

const differs = (one: Situation, other: Situation) =>
  one.isActive !== other.isActive || one.heartbeatMs !== other.heartbeatMs;

/** What the server should know: what it has told stands until the user comes or goes. */
function wanted({ state, isActive }: LinkTurn): Situation {
  if (isActive !== state.wanted.isActive) {
    const heartbeatMs = isActive ? state.foregroundMs : state.backgroundMs;
    state.wanted = { isActive, heartbeatMs };
  }
  return state.wanted;
}

/** Pings; asks for an answer if the link is doubted, if it was quiet for long, or for a change. */
function beat(turn: LinkTurn, isDoubted = false): void {
  const { state, now } = turn;
  const { kept, leaseFrom, pingedAt, leaseMs, questions } = state;
  const next = wanted(turn);
  const isChange = differs(next, kept);
  const pending = questions.find((it) => it.said);
  const isUnordered = isChange && !isDoubted && state.strayAt === pingedAt;
  const waitsUntil = pending ? pending.until : isUnordered ? pingedAt + ORDER_MS : 0;
  if (waitsUntil > now) {
    state.retryAt = waitsUntil;
    return;
  }
  if (state.retryAt === NEVER) state.refusals = 0;
  Object.assign(state, { servedFrom: leaseFrom, leaseFrom: now, pingedAt: now, retryAt: NEVER });
  if (now - Math.max(leaseFrom, pingedAt) > leaseMs) close(turn, "sleep");
  else if (isChange || isDoubted || now - state.receivedAt >= QUIET_MS) check(turn, next);
  else tell(turn, { action: "ping", ...about(turn, next) });
}

function check(turn: LinkTurn, said: Situation): void {
  const { now, state } = turn;
  const until = now + Math.min(PONG_MS, state.leaseMs / 4);
  ask(turn, { action: "check", ...about(turn, said) }, { answer: undefined, said, until });
}

const about = ({ state }: LinkTurn, { isActive, heartbeatMs }: Situation) => ({
  userId: state.userId,
  active: isActive,
  heartbeatSeconds: heartbeatMs / 1000,
});

/** The server has told how often to ping. Another answer may follow from saying so: not at once. */
function pace(turn: LinkTurn, frame: Pong | Heartbeat): void {
  const { state, now } = turn;
  if (state.kept.heartbeatMs === NEVER) return;
  // Not 0: a ping would follow every pong at once.
  const heartbeatMs = frame.heartbeatSeconds * 1000 || state.kept.heartbeatMs;
  // If the user has come or gone since, it is about what is over.
  if (wanted(turn).isActive === state.kept.isActive)
    state.wanted = { ...state.wanted, heartbeatMs };
  if (frame.leaseSeconds) state.leaseMs = frame.leaseSeconds * 1000;
  if (!differs(wanted(turn), state.kept)) return;
  if (frame.type === "heartbeat") beat(turn);
  else state.retryAt = now + ORDER_MS;
}

/** A refused ping has renewed nothing, and is sent again before the lease ends. */
function refused({ state, now }: LinkTurn, { isRetryable, retryAfterSeconds }: PresenceError) {
  const { leaseFrom, pingedAt, servedFrom, leaseMs, kept } = state;
  if (!isRetryable) return;
  if (leaseFrom === pingedAt) state.leaseFrom = servedFrom;
  const seconds = Math.max(retryAfterSeconds ?? 0, 2 ** state.refusals);
  const dueAt = now + Math.min(seconds * 1000, kept.heartbeatMs);
  const latest = state.leaseFrom + leaseMs - SPARE_MS;
  state.refusals += 1;
  state.retryAt = latest > now + 1000 ? Math.min(dueAt, latest) : dueAt;
}

/** Whether it refuses a ping; API Gateway names none. */
function isOfPing({ state, now }: LinkTurn, frame: ErrorFrame): boolean {
  if (!frame.code || frame.id) return false;
  const { strayAt, pingedAt, questions } = state;
  const isLast = strayAt === pingedAt && now - pingedAt < ANSWER_MS && !questions.length;
  return frame.action ? frame.action === "ping" : isLast;
}

function answered(turn: LinkTurn, frame: ServerFrame): void {
  const { state, effects } = turn;
  if (isOfPing(turn, frame as ErrorFrame)) refused(turn, fromFrame(frame as ErrorFrame));
  const question = state.questions.find((it) => it.id === (frame as Ack).id);
  if (!question) return;
  const { answer, askedAt, said } = question;
  state.questions = state.questions.filter((it) => it !== question);
  state.roundTripMs = state.receivedAt - askedAt;
  if ("code" in frame) {
    if (said) refused(turn, fromFrame(frame));
    effects.push(["reject", answer, fromFrame(frame)]);
  } else {
    state.leaseFrom = Math.max(state.leaseFrom, askedAt);
    if (said) Object.assign(state, { kept: said, retryAt: NEVER });
    effects.push(["resolve", answer, frame]);
  }
}

const table = {
  send: tell,

  ask(turn, frame: ClientFrame, answer: Answer) {
    const { state, effects, isActive } = turn;
    if (state.isDown) {
      effects.push(["reject", answer, noLink()]);
      return;
    }
    if (frame.action === "authenticate" && frame.heartbeatSeconds)
      state.kept = {
        isActive: frame.active ?? isActive,
        heartbeatMs: frame.heartbeatSeconds * 1000,
      };
    ask(turn, frame, { answer });
  },

  /** `frame` is undefined if what came is not a frame of ours. */
  received(turn, told: ServerFrame | undefined) {
    const { state, now, effects } = turn;
    state.receivedAt = now;
    if (!told) return;
    const frame = addressed(turn, told);
    effects.push(["deliver", frame]);
    // The socket is open and the connection is over: what is sent through it renews no lease.
    if ((frame as ErrorFrame).code === "not-authenticated") close(turn, "server");
    else answered(turn, frame);
    if (frame.type === "probe") beat(turn); // a viewer waits for it
    if (frame.type === "heartbeat" || frame.type === "pong") pace(turn, frame);
  },

  accepted(turn, terms: AuthenticationSuccess) {
    const { state, isActive } = turn;
    const { heartbeatSeconds, backgroundHeartbeatSeconds = heartbeatSeconds } = terms;
    state.userId = terms.userId;
    state.foregroundMs = heartbeatSeconds * 1000;
    state.backgroundMs = backgroundHeartbeatSeconds * 1000;
    state.leaseMs = terms.leaseSeconds * 1000;
    const { kept } = state;
    const isSaid = kept.heartbeatMs < NEVER;
    state.kept = isSaid
      ? { ...kept, heartbeatMs: Math.min(kept.heartbeatMs, state.backgroundMs) }
      : { isActive, heartbeatMs: state.foregroundMs };
    state.wanted = state.kept;
    if (isActive !== state.kept.isActive) state.retryAt = turn.now;
  },

  /** Ping, and ask for an answer if the link is doubted. */
  beat,

  tick(turn) {
    const { state, now, effects } = turn;
    const { receivedAt, questions } = state;
    const late = questions.filter((it) => it.until <= now);
    for (const { answer } of late) effects.push(["reject", answer, noAnswer()]);
    if (late.length) state.strayAt = now;
    state.questions = questions.filter((it) => it.until > now);
    if (late.some((it) => receivedAt <= it.askedAt)) close(turn, "silence");
    else if (beatsAt(state) <= now) beat(turn);
  },

  closed: close,
} satisfies Table<LinkTurn>;

export type LinkEvent = Event<typeof table>;

export const transitionLink = transitionBy<LinkState, LinkEffects, Around, LinkEvent>(
  table,
  ({ isDown }, [name]) => isDown && name !== "ask",
);

function beatsAt({ leaseFrom, kept, retryAt }: LinkState): number {
  const { isActive, heartbeatMs } = kept;
  const aheadMs = isActive ? 0 : Math.min(AHEAD_MS, heartbeatMs / 10);
  return retryAt === NEVER ? leaseFrom + heartbeatMs - aheadMs : retryAt;
}

export const linkWakesAt = (state: LinkState): number =>
  state.isDown ? NEVER : Math.min(beatsAt(state), ...state.questions.map((it) => it.until));
