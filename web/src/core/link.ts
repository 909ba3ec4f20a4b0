/**
 * One socket, from opening it until it is down, decided in one pure function.
 *
 *               accepted                          pong: `heartbeatSeconds` may be another
 *    OPENING ─────────────► LEASED ◄──┐
 *       │                     │  └────┴─ tick: a ping at each heartbeat, and again if it is refused
 *       └──────────┬──────────┘
 *                  ▼  closed, no answer and no frame ("silence"), slept longer than the lease
 *                 DOWN   a link that is down never comes back
 *
 * The lease counts from when a frame was sent that the server has served. A ping is answered only if
 * it is refused; a `check` always is, and is sent where there is a reason to doubt the link.
 */

import type { DropReason, Stats } from "../api.js";
import { fromFrame, noAnswer, noLink, type PresenceError } from "../errors.js";
import type {
  Ack,
  AuthenticationSuccess,
  ClientFrame,
  ErrorFrame,
  ServerFrame,
} from "../protocol.js";
import { ANSWER_MS, type Deferred } from "../timing.js";
import { type Event, type Table, type Turn, transitionBy } from "./machine.js";

const PONG_MS = 5_000;
/** After so long without any frame, a heartbeat asks for an answer. */
const QUIET_MS = 10 * 60_000;
/** A refused ping is sent again so long before the lease ends, if there is time. */
const SPARE_MS = 5_000;

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
  readonly heartbeatMs: number;
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
  heartbeatMs: NEVER,
  roundTripMs: undefined,
});

function ask(
  { state, now, effects }: LinkTurn,
  frame: ClientFrame,
  answer?: Answer,
  answerMs = ANSWER_MS,
): void {
  state.asked += 1;
  const id = `${state.asked}`;
  state.questions = [...state.questions, { id, askedAt: now, until: now + answerMs, answer }];
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

/** Asks for an answer if the link is doubted, or was quiet for long. */
function beat(turn: LinkTurn, isDoubted = false): void {
  const { state, now, isActive } = turn;
  const { leaseMs, leaseFrom, pingedAt, receivedAt, userId } = state;
  const about = { userId, active: isActive };
  if (state.retryAt === NEVER) state.refusals = 0;
  Object.assign(state, { servedFrom: leaseFrom, leaseFrom: now, pingedAt: now, retryAt: NEVER });
  if (now - Math.max(leaseFrom, pingedAt) > leaseMs) close(turn, "sleep");
  else if (isDoubted || now - receivedAt >= QUIET_MS)
    ask(turn, { action: "check", ...about }, undefined, Math.min(PONG_MS, leaseMs / 4));
  else tell(turn, { action: "ping", ...about });
}

/** A refused ping has renewed nothing, and is sent again before the lease ends. */
function refused({ state, now }: LinkTurn, { isRetryable, retryAfterSeconds }: PresenceError) {
  const { leaseFrom, pingedAt, servedFrom, leaseMs, heartbeatMs } = state;
  if (!isRetryable) return;
  if (leaseFrom === pingedAt) state.leaseFrom = servedFrom;
  const seconds = Math.max(retryAfterSeconds ?? 0, 2 ** state.refusals);
  const dueAt = now + Math.min(seconds * 1000, heartbeatMs);
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
  const { answer, askedAt } = question;
  state.questions = state.questions.filter((it) => it !== question);
  state.roundTripMs = state.receivedAt - askedAt;
  if ("code" in frame) {
    if (!answer) refused(turn, fromFrame(frame));
    effects.push(["reject", answer, fromFrame(frame)]);
  } else {
    state.leaseFrom = Math.max(state.leaseFrom, askedAt);
    effects.push(["resolve", answer, frame]);
  }
}

const table = {
  send: tell,

  ask(turn, frame: ClientFrame, answer: Answer) {
    if (turn.state.isDown) turn.effects.push(["reject", answer, noLink()]);
    else ask(turn, frame, answer);
  },

  /** `frame` is undefined if what came is not a frame of ours. */
  received(turn, told: ServerFrame | undefined) {
    const { state, now, effects } = turn;
    state.receivedAt = now;
    if (!told) return;
    const frame = addressed(turn, told);
    effects.push(["deliver", frame]);
    // Not 0: a ping would follow every pong at once.
    if (frame.type === "probe")
      beat(turn); // a viewer waits for it
    else if (frame.type === "pong")
      state.heartbeatMs = frame.heartbeatSeconds * 1000 || state.heartbeatMs;
    // The socket is open and the connection is over: what is sent through it renews no lease.
    if ((frame as ErrorFrame).code === "not-authenticated") close(turn, "server");
    else answered(turn, frame);
  },

  accepted({ state }, { userId, heartbeatSeconds, leaseSeconds }: AuthenticationSuccess) {
    state.userId = userId;
    state.heartbeatMs = heartbeatSeconds * 1000;
    state.leaseMs = leaseSeconds * 1000;
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

const beatsAt = ({ leaseFrom, heartbeatMs, retryAt }: LinkState): number =>
  retryAt === NEVER ? leaseFrom + heartbeatMs : retryAt;

export const linkWakesAt = (state: LinkState): number =>
  state.isDown ? NEVER : Math.min(beatsAt(state), ...state.questions.map((it) => it.until));
