import type {
  DisconnectOptions,
  LifecycleEvent,
  NewMessage,
  PresenceClient,
  PresenceEvents,
  Stats,
  StatusOptions,
  TokenProvider,
} from "../api.js";
import { createPresenceClient } from "../client.js";
import { createMachine } from "../core/machine.js";
import { disconnected, fromFrame, type PresenceError } from "../errors.js";
import { createEvents } from "../events.js";
import { createHttp } from "../http.js";
import type { AuthenticationSuccess, UserStatusChange } from "../protocol.js";
import { type View, view } from "../store.js";
import { setBackMs, systemClock } from "../surroundings.js";
import { type Deferred, deferred } from "../timing.js";
import { provided } from "../tokens.js";
import type { SharedClient, SharedClientOptions, Tabs } from "./api.js";
import { type Call, callsWakeAt, noCalls, transitionCalls } from "./calls.js";
import { type Copy, createCopy, unconnected } from "./copy.js";
import { createHost } from "./host.js";
import { createMember, type Member, type MemberContext } from "./member.js";
import type { PackedError, Said } from "./messages.js";
import { createRooms, plain, type Rooms } from "./rooms.js";
import {
  pageLifecycle,
  promptClock,
  type SharedLifecycle,
  sharedLifecycle,
} from "./surroundings.js";
import type { Wants } from "./wants.js";

/** The leader is told of a touch at most so often. */
const TOUCH_MS = 1_000;

/** What a shared client is at this moment. */
interface Held {
  userId: string | undefined;
  source: string | TokenProvider | undefined;
  /** This tab among the others; undefined while it is not connected, or its page may be stopped. */
  member: Member | undefined;
  /** Of the connection in this tab. */
  lifecycle: SharedLifecycle | undefined;
  welcome: Promise<AuthenticationSuccess> | undefined;
  /** Whether the app was told that it is authenticated. */
  isTold: boolean;
  stats: Stats;
  /** When anything was heard of the connection; 0 before. */
  knownAt: number;
  /** Since when something may have been missed, by the server's clock; 0 if nothing was. */
  gapSince: number;
  touchedAt: number;
  unsubscribe(): void;
}

const unheld = () => ({
  userId: undefined,
  source: undefined,
  member: undefined,
  lifecycle: undefined,
  welcome: undefined,
  isTold: false,
  stats: { lostAt: 0, clockSkewMs: 0 },
  knownAt: 0,
  gapSince: 0,
  touchedAt: Number.NEGATIVE_INFINITY,
  unsubscribe() {},
});

type Browser = Pick<MemberContext, "locks" | "BroadcastChannel">;

/** The parts of a shared client. */
interface Parts extends Browser {
  readonly options: SharedClientOptions;
  readonly held: Held;
  readonly copy: Copy;
  readonly rooms: Rooms;
  readonly events: ReturnType<typeof createEvents>;
  readonly tabs: View<Tabs>;
  /** Users that a person looks at. */
  readonly looks: Set<readonly string[]>;
  readonly lifecycle: NonNullable<SharedClientOptions["lifecycle"]>;
  readonly clock: NonNullable<SharedClientOptions["clock"]>;
  readonly hostClock: ReturnType<typeof promptClock>;
  readonly calls: ReturnType<typeof createCalls>;
  announce(): void;
  call(call: Call): Promise<never>;
  say(said: Said): void;
}

function createCalls(clock: Parts["clock"], held: Held) {
  return createMachine({
    clock,
    initial: noCalls,
    transition: transitionCalls,
    wakeAt: callsWakeAt,
    around: () => ({ now: clock.now() }),
    effects: {
      ask: (id: number, call: Call) => held.member?.say({ kind: "call", id, call }),
      resolve: (answer: Deferred<never>, value: unknown) => answer.resolve(value as never),
      reject: (answer: Deferred<never>, error: PresenceError) => answer.reject(error),
    },
  });
}

const wantsOf = ({ rooms, copy, events, lifecycle, looks }: Parts): Wants => ({
  sessions: rooms.joined(),
  users: copy.watched(),
  lists: (["onlineUsers", "onlineRows"] as const).filter((list) => copy[list].isWatched()),
  looks: [...looks].flat(),
  events: [...events.listeners].flatMap(([type, { size }]) =>
    size ? [type as keyof PresenceEvents] : [],
  ),
  isVisible: lifecycle.isVisible(),
});

function createParts(options: SharedClientOptions, browser: Browser): Parts {
  const held: Held = unheld();
  const clock = options.clock ?? systemClock;
  const lifecycle = options.lifecycle ?? pageLifecycle();
  let isAnnouncing = false;

  /** Tells the leader what this tab wants, after all that it is asked for at this moment. */
  function announce(): void {
    if (isAnnouncing) return;
    isAnnouncing = true;
    queueMicrotask(() => {
      isAnnouncing = false;
      held.member?.want(wantsOf(parts));
    });
  }

  function call(what: Call): Promise<never> {
    const answer = deferred<never>();
    calls.dispatch("call", what, answer);
    return answer.promise;
  }

  const say = (said: Said) => held.member?.say({ kind: "say", said });
  const calls = createCalls(clock, held);
  const copy = createCopy(announce, (id) => rooms.isIn(id));
  const rooms: Rooms = createRooms({ clock, call, say, copy: () => copy, changed: announce });
  const events = createEvents();
  const tabs = view<Tabs>(() => held.member?.tabs() ?? { role: "waiting", count: 1 });
  const parts: Parts = {
    ...{ ...browser, options, held, copy, rooms, events, tabs, lifecycle, clock },
    ...{
      looks: new Set<readonly string[]>(),
      announce,
      calls,
      call,
      say,
      hostClock: promptClock(clock),
    },
  };
  return parts;
}

// ── what comes from the other tabs, or from the connection in this one ───────────────────────────

/** The changes of users that this tab wants; what others want besides is theirs. */
function ownChanges(parts: Parts, frame: UserStatusChange): UserStatusChange {
  const { copy, rooms, held } = parts;
  if (copy.isGlobal() !== false || wantsOf(parts).lists.length) return frame;
  const members = rooms.joined().flatMap((id) => copy.members(id).get().userIds);
  const ours = new Set([...copy.watched(), ...members, held.userId]);
  return { ...frame, changes: frame.changes.filter(({ userId }) => ours.has(userId)) };
}

function hear(parts: Parts, type: keyof PresenceEvents | "message", event: unknown): void {
  const { rooms, events, held } = parts;
  const { chatSessionId } = event as { chatSessionId?: string };
  if (type === "message") {
    rooms.deliver(event as NewMessage);
    return;
  }
  if (type === "authentication-success") held.isTold = true;
  if (type === "resync") held.gapSince = 0;
  if (chatSessionId && !rooms.isIn(chatSessionId)) return;
  if (type === "problem") events.emit(type, fromFrame(event as PackedError));
  else if (type !== "user-status-change") events.emit(type, event as never);
  else {
    const frame = ownChanges(parts, event as UserStatusChange);
    if (frame.changes.length) events.emit(type, frame);
  }
}

/** Joins the tabs of this user. */
function enter(parts: Parts): void {
  const { held, copy, calls, tabs, options, lifecycle, hostClock } = parts;
  copy.apply([["connection", { name: "connecting" }]]);
  const dispatch = calls.dispatch;
  held.member = createMember({
    ...parts,
    apiUrl: options.apiUrl,
    userId: held.userId as string,
    wants: wantsOf(parts),
    isVisible: () => lifecycle.isVisible(),
    woken: hostClock.poke,
    changed: tabs.changed,
    led: () => dispatch("led"),
    unled() {
      lose(parts);
      dispatch("unled");
    },
    apply(entries, isFull, stats) {
      know(parts, stats);
      copy.apply(entries, isFull);
    },
    measure: (stats) => know(parts, stats),
    returned() {
      const { gapSince } = held;
      if (gapSince) hear(parts, "resync", { since: gapSince });
    },
    answered: (...answer) => dispatch("answered", ...answer),
    hear: (type, event) => hear(parts, type, event),
    loggedOut: () => leave(parts, "at once"),
    host: (member, wants) => lead(parts, member, wants),
  });
  tabs.changed();
}

function know({ held, clock }: Parts, stats: Stats = held.stats): void {
  Object.assign(held, { stats, knownAt: clock.now() });
}

/** From now on something may be missed: since the last time that anything was heard. */
function lose({ held }: Parts): void {
  const { knownAt, stats } = held;
  held.gapSince ||= stats.lostAt || (knownAt && knownAt + stats.clockSkewMs);
}

/** Makes the connection of all tabs in this one. */
function lead(parts: Parts, member: Member, wants: Wants) {
  const { held, copy, options, lifecycle, hostClock } = parts;
  lose(parts);
  const { isActive } = copy.me.get();
  // A user who was away is not back because another tab leads.
  const touchedAt = isActive ? hostClock.now() : 0;
  held.lifecycle = sharedLifecycle(lifecycle, () => touchedAt);
  return createHost({
    options,
    clock: hostClock,
    lifecycle: held.lifecycle,
    userId: held.userId as string,
    source: () => held.source,
    wants,
    inherited: copy.all(),
    knownAt: held.knownAt,
    since: held.gapSince,
    publish: member.publish,
    tell: member.tell,
  });
}

/** Leaves the tabs of this user for good. */
function leave({ held, copy, calls, tabs }: Parts, how: Parameters<Member["leave"]>[0]): void {
  const { member } = held;
  held.unsubscribe();
  Object.assign(held, unheld());
  member?.leave(how);
  calls.dispatch("ended", disconnected());
  copy.apply([["connection", { name: "closed" }]], true);
  tabs.changed();
}

/** Leaves them until the page runs again. */
function pause(parts: Parts): void {
  const { held, copy, calls, tabs } = parts;
  const { member } = held;
  if (copy.connection.get().name === "ready") know(parts);
  lose(parts);
  held.member = undefined;
  member?.leave("now");
  calls.dispatch("unled");
  copy.apply(unconnected(copy.all(), { name: "offline" }));
  tabs.changed();
}

/** The page is shown, or not any more. */
function look(parts: Parts, isVisible: boolean): void {
  const { held, say } = parts;
  held.member?.want(wantsOf(parts));
  if (!isVisible) return;
  held.member?.shown();
  say(["shown"]);
}

function touch({ held, clock, say }: Parts): void {
  if (clock.now() - held.touchedAt < TOUCH_MS) return;
  held.touchedAt = clock.now();
  say(["touch"]);
}

function onLifecycle(parts: Parts, event: LifecycleEvent): void {
  const { held } = parts;
  if (event === "leaving") pause(parts);
  else if (!held.member && ["resume", "visible"].includes(event)) enter(parts);
  else if (event === "activity") touch(parts);
  else if (event === "visible" || event === "hidden") look(parts, event === "visible");
  else if (held.member?.host()) held.lifecycle?.tell(event);
}

// ── what the app asks for ────────────────────────────────────────────────────────────────────────

/** The leader has a source of tokens of its own, to which a function of this tab cannot be posted. */
async function renew(parts: Parts): Promise<never> {
  const { held, options, call } = parts;
  const own = held.source ?? options.getToken;
  if (typeof own !== "function" || held.member?.host()) {
    return call(["renew", typeof own === "string" ? own : undefined]);
  }
  const { signal } = new AbortController();
  const context = { userId: held.userId as string, reason: "first", signal } as const;
  return call(["renew", await provided(own, context)]);
}

function authenticate(
  parts: Parts,
  userId: string,
  source: Held["source"],
): Promise<AuthenticationSuccess> {
  const { held, copy, lifecycle, events } = parts;
  const isSame = userId === held.userId;
  const hasFailed = copy.connection.get().name === "failed";
  if (isSame && source === held.source && !hasFailed) return held.welcome ?? welcomed(parts);
  if (!isSame && held.userId) leave(parts, "soon");
  Object.assign(held, { userId, source });
  if (isSame) return keep(held, renew(parts));
  held.unsubscribe = lifecycle.subscribe((event) => onLifecycle(parts, event));
  enter(parts);
  const welcome = welcomed(parts);
  welcome.then(
    (terms) => held.isTold || events.emit("authentication-success", terms),
    () => {},
  );
  return welcome;
}

/** How the connection of all tabs was authenticated, or why not yet. */
function welcomed({ held, call }: Parts): Promise<AuthenticationSuccess> {
  return keep(held, call(["welcome"]));
}

/** One that is rejected is asked for again: there may be a token by then. */
function keep(held: Held, welcome: Promise<AuthenticationSuccess>): typeof welcome {
  held.welcome = welcome;
  // A rejection that is ignored is no unhandled one.
  welcome.catch(() => {
    if (held.welcome === welcome) held.welcome = undefined;
  });
  return welcome;
}

/** The leader has to know which events a tab listens to. */
const listening =
  ({ events, announce }: Parts): PresenceClient["on"] =>
  (type, listener, options) => {
    const stop = events.on(type, listener, options);
    const off = () => {
      stop();
      options?.signal?.removeEventListener("abort", off);
      announce();
    };
    options?.signal?.addEventListener("abort", off);
    announce();
    return off;
  };

/** Through the connection of all tabs, or without a token where there is none yet. */
function request({ held, call, options, clock }: Parts): PresenceClient["request"] {
  const fetchNow: typeof fetch = (...all) => (options.fetch ?? fetch)(...all);
  const http = createHttp(options.apiUrl, fetchNow, clock, async () => undefined);
  const ask = (route: string, body: unknown, signal?: AbortSignal) =>
    new Promise((resolve, reject) => {
      const abort = () => reject(signal?.reason);
      if (signal?.aborted) abort();
      signal?.addEventListener("abort", abort);
      call(["request", route, body && plain(body)])
        .finally(() => signal?.removeEventListener("abort", abort))
        .then(resolve, reject);
    });
  return ((route: string, body?: object, { signal }: { signal?: AbortSignal } = {}) =>
    held.userId
      ? ask(route, body, signal)
      : http.request(route, body, { signal })) as PresenceClient["request"];
}

/**
 * A client whose connection is that of all tabs of this browser with the same user and stack. It
 * needs Web Locks and BroadcastChannel; without them it has one of its own.
 */
export function createSharedClient(options: SharedClientOptions): SharedClient {
  const { locks = globalThis.navigator?.locks, BroadcastChannel = globalThis.BroadcastChannel } =
    options;
  if (!locks || !BroadcastChannel) {
    const alone: Tabs = { role: "alone", count: 1 };
    return { ...createPresenceClient(options), tabs: view(() => alone) };
  }
  const parts = createParts(options, { locks, BroadcastChannel });
  const { held, copy, rooms, tabs, clock, call, say, looks, announce } = parts;
  const verify = (userIds: readonly string[]) => call(["verify", [...userIds]]);
  return {
    options,
    tabs,
    connection: copy.connection,
    me: copy.me,
    onlineUsers: copy.onlineUsers,
    onlineRows: copy.onlineRows,
    authenticate: (userId, token) => authenticate(parts, userId, token),
    retryNow: () => say(["retryNow"]),
    disconnect({ atOnce }: DisconnectOptions = {}) {
      if (atOnce) held.member?.post({ kind: "end" });
      leave(parts, atOnce ? "at once" : "soon");
    },
    setStatus(status, options) {
      const until = options?.until && options.until + setBackMs(clock);
      const told = options && plain<StatusOptions>({ ...options, ...(until && { until }) });
      return call(["setStatus", status, told]);
    },
    verify,
    lookAt(userIds) {
      const entry = [...userIds]; // the same list may be looked at twice
      looks.add(entry);
      announce();
      void verify(entry); // now, also if another tab looks at them already
      return () => {
        looks.delete(entry);
        announce();
      };
    },
    user: copy.user,
    joinChatSession: rooms.join,
    leaveChatSession: rooms.leave,
    chatSession: rooms.get,
    loadMoreOnlineUsers: () => say(["loadMore"]),
    request: request(parts),
    on: listening(parts),
    stats() {
      const known = held.member?.host()?.stats() ?? held.stats;
      return { ...known, clockSkewMs: known.clockSkewMs + setBackMs(clock) };
    },
  };
}
