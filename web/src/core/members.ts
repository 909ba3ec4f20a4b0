/**
 * Who is in a chat session, by frames that come in any order, and some of them twice.
 *
 * `asOf`, of a frame, is the instant before all that it says was read. The newest count wins, and of
 * each user the newest move. Of a large room (`isSampled`) only some members are known.
 */

import type { PresenceError } from "../errors.js";
import type { ChatSessionJoined, ChatSessionMembers, Presence } from "../protocol.js";

const MEMBERS_LOADED = 1_000;
/** Of a large room: those who came last, the first page included. */
const MEMBERS_SHOWN = 100;

export interface MembersState {
  readonly present: ReadonlySet<string>;
  readonly count: number | null;
  /** `asOf` of the count. */
  readonly asOf: number;
  readonly isSampled: boolean;
  /** `asOf` of the answer to `join`: older frames move no one. */
  readonly since: number;
  /** When each user last came or left, since `join` was asked for. */
  readonly movedAt: ReadonlyMap<string, number>;
  readonly fresh: boolean;
  readonly error: PresenceError | undefined;
  /** Counts the joins and leaves: pages that were asked for before are too old. */
  readonly visit: number;
}

export const noMembers: MembersState = {
  present: new Set(),
  count: null,
  asOf: 0,
  isSampled: false,
  since: 0,
  movedAt: new Map(),
  fresh: false,
  error: undefined,
  visit: 0,
};

const idsOf = (presences: readonly Presence[]) => presences.map((it) => it.userId);

/** Whether this is not older than what is known of the user. */
const isNewest = (state: MembersState, userId: string, at: number) =>
  at >= Math.max(state.since, state.movedAt.get(userId) ?? 0);

/** Of a large room only the newest: its frames do not name all who leave. */
const newest = ({ isSampled }: MembersState, present: ReadonlySet<string>) =>
  isSampled && present.size > MEMBERS_SHOWN ? [...present].slice(-MEMBERS_SHOWN) : present;

/** Who came and who left, at that time; a user who moved later stays as is. */
function move(
  state: MembersState,
  left: Iterable<string>,
  came: readonly string[],
  at: number,
): MembersState {
  const gone = [...left].filter((id) => isNewest(state, id, at));
  const here = came.filter((id) => isNewest(state, id, at));
  const moved = [...gone, ...here].map((id) => [id, at] as const);
  const present = new Set(state.present);
  for (const id of gone) present.delete(id);
  for (const id of here) present.add(id);
  return {
    ...state,
    present: new Set(newest(state, present)),
    movedAt: new Map([...state.movedAt, ...moved]),
  };
}

/** What the answer to `join` says of a chat session. */
type Joined = Omit<ChatSessionJoined, "type" | "cursor">;

function count(state: MembersState, told: Joined | ChatSessionMembers): MembersState {
  const { asOf, memberCount, sampled } = told;
  return asOf < state.asOf ? state : { ...state, asOf, count: memberCount, isSampled: !!sampled };
}

export const entering = (state: MembersState): MembersState => ({
  ...state,
  movedAt: new Map(),
  visit: state.visit + 1,
});

/** The answer to `join`: users that it does not name have left, unless they came later. */
export function joined(state: MembersState, frame: Joined): MembersState {
  const since = frame.asOf;
  const next = { ...count(state, frame), since, error: undefined, fresh: true };
  return move(move(next, next.present, [], since), [], idsOf(frame.members), since);
}

export function changed(state: MembersState, frame: ChatSessionMembers): MembersState {
  return move(count(state, frame), frame.left, idsOf(frame.joined), frame.asOf);
}

export const loaded = (state: MembersState, members: readonly Presence[]): MembersState =>
  move(state, [], idsOf(members), state.since);

export const isToLoad = ({ isSampled, present }: MembersState): boolean =>
  !isSampled && present.size < MEMBERS_LOADED;

export const refused = (state: MembersState, error: PresenceError): MembersState => ({
  ...state,
  fresh: false,
  error,
});

/** The link is down; the next connection may be allowed more. */
export const stale = (state: MembersState): MembersState => ({
  ...state,
  fresh: false,
  error: undefined,
  visit: state.visit + 1,
});

/** Left, or the user is another one: nothing is known any more. */
export const over = (state: MembersState): MembersState => ({
  ...stale(state),
  present: new Set(),
  count: null,
  asOf: 0,
});
