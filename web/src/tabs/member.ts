import type { Clock, PresenceEvents, Stats } from "../api.js";
import { createMachine, type Machine } from "../core/machine.js";
import { asPresenceError, type PresenceError } from "../errors.js";
import { setBackMs } from "../surroundings.js";
import type { ChannelLike, LocksLike, Tabs } from "./api.js";
import type { Call } from "./calls.js";
import {
  coming,
  type GroupEffects,
  type GroupEvent,
  type GroupState,
  groupWakesAt,
  transitionGroup,
} from "./group.js";
import type { Host } from "./host.js";
import { createTabLocks, type TabLocks } from "./locks.js";
import { type Body, groupName, type LeadersBody, pack } from "./messages.js";
import type { Entries } from "./shared-state.js";
import type { Wants } from "./wants.js";

/** This tab in its group, for one user: `group.ts` decides, this runs it. */
export interface Member {
  state(): GroupState;
  tabs(): Tabs;
  want(wants: Wants): void;
  /** Tells the leader, wherever it is. */
  say(body: Undated<Extract<Body, { kind: "call" | "say" }>>): void;
  /** Tells all other tabs. */
  post(body: Extract<Body, { kind: "end" }>): void;
  shown(): void;
  host(): Host | undefined;
  /** To all tabs, this one included. */
  publish(entries: Entries): void;
  tell(type: keyof PresenceEvents | "message", event: unknown): void;
  leave(how: "now" | "at once" | "soon"): void;
}

export interface MemberContext {
  readonly locks: LocksLike;
  readonly BroadcastChannel: new (name: string) => ChannelLike;
  readonly clock: Clock;
  readonly apiUrl: string;
  readonly userId: string;
  readonly wants: Wants;
  isVisible(): boolean;
  /** A message has woken the page. */
  woken(): void;
  host(member: Member, wants: Wants): Host;
  changed(): void;
  led(): void;
  unled(): void;
  apply(entries: Entries, isFull: boolean, stats?: Stats): void;
  measure(stats: Stats): void;
  returned(): void;
  answered(id: number, value: unknown, error: PresenceError | undefined): void;
  hear(type: keyof PresenceEvents | "message", event: unknown): void;
  loggedOut(): void;
}

type Undated<B> = B extends unknown ? Omit<B, "at"> : never;
type Unsigned<B> = B extends LeadersBody ? Omit<B, "term"> : never;

const deviceNow = (clock: Clock) => clock.now() - setBackMs(clock);
const newId = () => Math.random().toString(36).slice(2);

/** What the effects work on. */
interface Held {
  readonly id: string;
  channel?: ChannelLike | undefined;
  /** The connection, while this tab leads. */
  host?: Host | undefined;
  /** How the connection ends when another tab leads, or none. */
  how: Parameters<Host["stop"]>[0];
}

type Post = (body: Body) => void;
/** What a leader tells the others, if there are any. */
type ToOthers = (body: Unsigned<LeadersBody>) => void;

function createEffects(
  on: MemberContext,
  held: Held,
  locks: TabLocks,
  post: Post,
  toOthers: ToOthers,
  member: () => Member,
): GroupEffects {
  const { id } = held;
  const stats = () => (held.host as Host).stats();

  function tellAll(to?: string): void {
    const entries = (held.host as Host).all();
    const { tabs } = member().state();
    toOthers({ kind: "state", to, entries, isFull: true, stats: stats(), tabs });
  }

  function run(from: string, call: number, what: Call): void {
    const answer = (value: unknown, cause?: unknown) => {
      const error = cause && asPresenceError(cause, "internal", "It failed in another tab.");
      if (from === id) on.answered(call, value, error as PresenceError | undefined);
      else
        toOthers({
          ...{ kind: "answer", to: from, id: call, value },
          error: error ? pack(error as PresenceError) : undefined,
        });
    };
    held.host?.run(what).then(answer, (cause) => answer(undefined, cause));
  }

  return {
    ...on,
    ...locks,
    post,
    isolate() {
      held.channel?.close();
      held.channel = undefined;
      locks.end();
    },
    lead(wants) {
      held.host = on.host(member(), wants);
      on.apply(held.host.all(), true); // what is old is shown as old from now on, also here
      tellAll();
    },
    want: (wants) => held.host?.want(wants),
    resign() {
      held.host?.stop(held.how);
      held.host = undefined;
    },
    tellAll,
    here: () => toOthers({ kind: "here", stats: stats() }),
    run,
    obey: (from, said) => held.host?.obey(from, said),
  };
}

function tabsOf({ role, leaderId, tabs }: GroupState): Tabs {
  const roles = {
    coming: "waiting",
    following: leaderId ? "follower" : "waiting",
    leading: "leader",
    alone: "alone",
    out: "waiting",
  } as const;
  return { role: roles[role], count: tabs.size };
}

/** What the rest of the client is given. */
function createParts(
  on: MemberContext,
  held: Held,
  { state, dispatch }: Machine<GroupState, GroupEvent>,
  post: Post,
  toOthers: ToOthers,
): Member {
  return {
    state,
    tabs: () => tabsOf(state()),
    host: () => held.host,
    want: (wants) => dispatch("want", wants),
    say(undated) {
      const body = { ...undated, at: deviceNow(on.clock) };
      if (held.host) dispatch("received", { ...body, from: held.id });
      else post(body);
    },
    post,
    shown: () => dispatch("shown"),
    publish(entries) {
      on.apply(entries, false);
      toOthers({ kind: "state", entries, isFull: false, stats: (held.host as Host).stats() });
    },
    tell(type, event) {
      on.hear(type, event);
      toOthers({ kind: "event", type, event });
    },
    leave(how) {
      held.how = how === "soon" && state().tabs.size === 1 ? "now" : how;
      dispatch("leave");
    },
  };
}

export function createMember(on: MemberContext): Member {
  const name = groupName(on.apiUrl, on.userId);
  const held: Held = { id: newId(), how: "soon" };
  const post: Post = (body) => held.channel?.postMessage({ ...body, from: held.id });
  const toOthers: ToOthers = (body) => {
    const { tabs, term } = machine.state();
    if (tabs.size > 1) post({ ...body, term } as Body);
  };
  const locks = createTabLocks(on.locks, name, held.id, {
    entered: () => machine.dispatch("enter"),
    granted: () => machine.dispatch("granted"),
    robbed: () => machine.dispatch("robbed"),
    refused: () => machine.dispatch("refused"),
    gone: (tab) => machine.dispatch("gone", tab),
  });
  const machine = createMachine({
    clock: on.clock,
    initial: coming(held.id, on.wants),
    transition: transitionGroup,
    wakeAt: groupWakesAt,
    around: () => ({
      now: on.clock.now(),
      deviceNow: deviceNow(on.clock),
      isVisible: on.isVisible(),
    }),
    effects: createEffects(on, held, locks, post, toOthers, () => member),
    changed(after, before) {
      const [is, was] = [after, before].map(tabsOf);
      if (is?.role !== was?.role || is?.count !== was?.count) on.changed();
    },
  });
  const member = createParts(on, held, machine, post, toOthers);
  try {
    const channel = new on.BroadcastChannel(name);
    held.channel = channel;
    channel.onmessage = ({ data }) => {
      machine.dispatch("received", data as never);
      on.woken();
    };
  } catch {
    queueMicrotask(() => machine.dispatch("refused")); // never within the call that asks for it
  }
  return member;
}
