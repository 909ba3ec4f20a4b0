/**
 * One tab among those that share a connection, decided in one pure function.
 *
 *           its own lock is held       the group's lock is granted
 *    COMING ───────────► FOLLOWING ──────────────────────────► LEADING
 *         │               │   │  ▲                               │
 *   locks │        robbed │   │  └───────────────────────────────┘ the lock was stolen
 *    fail │   and unheard │   └─ two checks without an answer: the lock is stolen, then LEADING
 *         └───► ALONE ◄───┘
 *                                            any ──► OUT: leave
 *
 * The lock says who leads: the browser grants it when the leader closes or crashes. A tab that is
 * frozen keeps it. So followers check whether the leader answers, and one that does not is robbed:
 * it learns so when it runs again. Messages of a leader of before are known by their `term`.
 */

import type { PresenceEvents, Stats } from "../api.js";
import { type Event, type Table, type Turn, transitionBy } from "../core/machine.js";
import { fromFrame, type PresenceError } from "../errors.js";
import type { Call } from "./calls.js";
import type { Body, LeadersBody, Message, Said } from "./messages.js";
import type { Entries } from "./shared-state.js";
import { union, type Wants } from "./wants.js";

/** After so long without a word of the leader it is asked whether it is there. */
const QUIET_MS = 5_000;
/** No one looks at a hidden page: it lets the device sleep. */
const HIDDEN_QUIET_MS = 30_000;
/** How long an answer may take, and how often it is asked for before the lock is stolen. */
const ANSWER_MS = 2_500;
const CHECKS = 2;
/** By then another tab leads, and was asked again. */
const LATE_MS = QUIET_MS + CHECKS * ANSWER_MS;
const NEVER = Number.POSITIVE_INFINITY;

export interface GroupState {
  readonly id: string;
  readonly role: "coming" | "following" | "leading" | "alone" | "out";
  /** The tab that leads, or empty. */
  readonly leaderId: string;
  readonly term: number;
  readonly checkAt: number;
  /** How many checks were not answered. */
  readonly checks: number;
  /** Whether the lock was stolen from this tab, and no leader was heard since. */
  readonly isRobbed: boolean;
  /** What each tab wants, this one included. */
  readonly tabs: ReadonlyMap<string, Wants>;
}

export interface GroupEffects {
  post(body: Body): void;
  contend(): void;
  steal(): void;
  release(): void;
  /** Hears and tells the others nothing any more. */
  isolate(): void;
  /** Says when that tab is gone. */
  observe(tab: string): void;
  // The leader.
  lead(wants: Wants): void;
  want(wants: Wants): void;
  resign(): void;
  /** Tells all that is known, to one tab or to all. */
  tellAll(to?: string): void;
  here(): void;
  run(from: string, id: number, call: Call): void;
  obey(from: string, said: Said): void;
  // Each tab.
  led(): void;
  unled(): void;
  apply(entries: Entries, isFull: boolean, stats: Stats): void;
  /** All was told to this tab, which was away. */
  returned(): void;
  measure(stats: Stats): void;
  answered(id: number, value: unknown, error: PresenceError | undefined): void;
  hear(type: keyof PresenceEvents | "message", event: unknown): void;
  /** The user has logged out in another tab. */
  loggedOut(): void;
}

interface Around {
  readonly now: number;
  /** By the device's clock, which is the same in all tabs. */
  readonly deviceNow: number;
  readonly isVisible: boolean;
}

type GroupTurn = Turn<GroupState, GroupEffects, Around>;

export const coming = (id: string, wants: Wants): GroupState => ({
  id,
  role: "coming",
  leaderId: "",
  term: 0,
  checkAt: NEVER,
  checks: 0,
  isRobbed: false,
  tabs: new Map([[id, wants]]),
});

const isLeader = ({ role }: GroupState) => role === "leading" || role === "alone";
const ownWants = ({ tabs, id }: GroupState) => tabs.get(id) as Wants;

const isServed = ({ state, deviceNow }: GroupTurn, at: number) =>
  isLeader(state) && deviceNow - at < LATE_MS;

function setTab({ state }: GroupTurn, tab: string, wants: Wants | undefined): void {
  const tabs = new Map(state.tabs);
  if (wants) tabs.set(tab, wants);
  else tabs.delete(tab);
  state.tabs = tabs;
}

function wantAll({ state, effects }: GroupTurn): void {
  if (isLeader(state)) effects.push(["want", union([...state.tabs.values()])]);
}

/** What a tab wants; it may be one that was not known. */
function learn(turn: GroupTurn, tab: string, wants: Wants): void {
  const { state, effects } = turn;
  if (state.role === "leading" && !state.tabs.has(tab)) effects.push(["observe", tab]);
  setTab(turn, tab, wants);
  wantAll(turn);
}

function unlearn(turn: GroupTurn, tab: string): void {
  const { state, now, effects } = turn;
  if (tab === state.id) return;
  setTab(turn, tab, undefined);
  wantAll(turn);
  if (tab !== state.leaderId) return;
  // The lock is the next one's in a moment, unless that tab is frozen.
  Object.assign(state, { leaderId: "", checks: 1, checkAt: now + ANSWER_MS });
  effects.push(["unled"]);
}

/** Asks for the lock, and whether another tab has it. */
function seek({ state, now, effects }: GroupTurn): void {
  Object.assign(state, { leaderId: "", checks: 1, checkAt: now + ANSWER_MS });
  effects.push(["post", { kind: "hello", wants: ownWants(state) }], ["contend"]);
}

function lose(turn: GroupTurn): void {
  Object.assign(turn.state, { role: "following", isRobbed: true });
  turn.effects.push(["resign"], ["unled"], ["release"]);
  seek(turn);
}

function lead({ state, effects }: GroupTurn): void {
  Object.assign(state, { leaderId: state.id, checkAt: NEVER });
  effects.push(["lead", union([...state.tabs.values()])], ["led"]);
}

function goAlone(turn: GroupTurn): void {
  const { state, effects } = turn;
  effects.push(["release"], ["isolate"]);
  Object.assign(state, { role: "alone", tabs: new Map([[state.id, ownWants(state)]]) });
  lead(turn);
}

/** Follows the tab that has said this. Returns whether it counts: it may be a leader of before. */
function follow(turn: GroupTurn, from: string, { term }: LeadersBody): boolean {
  const { state, now, isVisible, effects } = turn;
  if (term < state.term || (isLeader(state) && term === state.term)) return false;
  if (isLeader(state)) lose(turn);
  const isNew = from !== state.leaderId || term !== state.term;
  const checkAt = now + (isVisible ? QUIET_MS : HIDDEN_QUIET_MS);
  if (isNew && state.leaderId && from !== state.leaderId) setTab(turn, state.leaderId, undefined);
  Object.assign(state, { term, leaderId: from, checks: 0, isRobbed: false, checkAt });
  if (isNew) effects.push(["led"]);
  return true;
}

/** What messages change, by their kind. */
const messages: {
  readonly [B in Body as B["kind"]]: (turn: GroupTurn, from: string, body: B) => void;
} = {
  hello(turn, from, { wants }) {
    learn(turn, from, wants);
    if (turn.state.role === "leading") turn.effects.push(["tellAll", from]);
  },

  wants: (turn, from, { wants }) => learn(turn, from, wants),

  bye: (turn, from, { tab }) => unlearn(turn, tab ?? from),

  end: ({ effects }) => void effects.push(["loggedOut"]),

  check({ state, effects }) {
    if (state.role === "leading") effects.push(["here"]);
  },

  lead(turn, from, body) {
    if (follow(turn, from, body))
      turn.effects.push(["post", { kind: "wants", wants: ownWants(turn.state) }]);
  },

  here(turn, from, body) {
    if (follow(turn, from, body)) turn.effects.push(["measure", body.stats]);
  },

  state(turn, from, body) {
    if (!follow(turn, from, body)) return;
    const { to, entries, isFull, stats, tabs } = body;
    const { state, effects } = turn;
    if (tabs) state.tabs = new Map([...tabs, [state.id, ownWants(state)]]);
    if (!to || to === state.id) effects.push(["apply", entries, isFull, stats]);
    if (to === state.id) effects.push(["returned"]);
  },

  answer(turn, from, body) {
    const { to, id, value, error } = body;
    if (follow(turn, from, body) && to === turn.state.id)
      turn.effects.push(["answered", id, value, error && fromFrame(error)]);
  },

  call(turn, from, { at, id, call }) {
    if (isServed(turn, at)) turn.effects.push(["run", from, id, call]);
  },

  say(turn, from, { at, said }) {
    if (isServed(turn, at)) turn.effects.push(["obey", from, said]);
  },

  event(turn, from, body) {
    if (follow(turn, from, body)) turn.effects.push(["hear", body.type, body.event]);
  },
};

const table = {
  /** The tab's own lock is held: the others can tell from now on whether it is there. */
  enter(turn) {
    if (turn.state.role !== "coming") return;
    turn.state.role = "following";
    seek(turn);
  },

  granted(turn) {
    const { state, now, effects } = turn;
    if (state.role !== "following") return;
    setTab(turn, state.leaderId, undefined); // it is closed, crashed or frozen
    state.role = "leading";
    state.term = Math.max(state.term + 1, now);
    effects.push(["post", { kind: "lead", term: state.term }]);
    for (const tab of state.tabs.keys()) if (tab !== state.id) effects.push(["observe", tab]);
    lead(turn);
  },

  /** Another tab has stolen the lock. */
  robbed(turn) {
    if (turn.state.role === "leading") lose(turn);
  },

  /** There are no locks to be had here. */
  refused(turn) {
    if (!isLeader(turn.state)) goAlone(turn);
  },

  gone(turn, tab: string) {
    if (!turn.state.tabs.has(tab)) return;
    unlearn(turn, tab);
    turn.effects.push(["post", { kind: "bye", tab }]);
  },

  want(turn, wants: Wants) {
    const { state, effects } = turn;
    setTab(turn, state.id, wants);
    wantAll(turn);
    if (state.role === "following") effects.push(["post", { kind: "wants", wants }]);
  },

  received(turn, { from, ...body }: Message) {
    if (turn.state.role !== "coming") messages[body.kind]?.(turn, from, body as never);
  },

  /** The page is shown: whether there is a leader matters now. */
  shown({ state, now }) {
    if (state.role === "following") state.checkAt = Math.min(state.checkAt, now);
  },

  leave({ state, effects }) {
    if (isLeader(state)) effects.push(["resign"]);
    effects.push(["post", { kind: "bye" }], ["release"], ["isolate"]);
    Object.assign(state, { role: "out", leaderId: "", checkAt: NEVER });
  },

  tick(turn) {
    const { state, now, effects } = turn;
    if (state.checkAt > now) return;
    if (state.checks < CHECKS) {
      state.checks += 1;
      state.checkAt = now + ANSWER_MS;
      effects.push(["post", { kind: "check" }]);
    } else if (state.isRobbed) {
      // It does not hear the others: they would rob each other without end.
      goAlone(turn);
    } else {
      state.checks = 0;
      state.checkAt = now + QUIET_MS;
      effects.push(["steal"]);
    }
  },
} satisfies Table<GroupTurn>;

export type GroupEvent = Event<typeof table>;

export const transitionGroup = transitionBy<GroupState, GroupEffects, Around, GroupEvent>(
  table,
  ({ role }) => role === "out",
);

export const groupWakesAt = ({ checkAt }: GroupState): number => checkAt;
