/**
 * What all tabs know, by key: `connection`, `me`, `onlineUsers`, `onlineRows`, `isGlobal`, and `user ada`,
 * `members lobby`, `typing lobby`. The leader's client says it; the others hold a copy.
 *
 * A leader begins with the copy it held as a follower. While the new connection is made, what it
 * does not know yet stays as it was, so that a hand-over shows nowhere. If that takes too long, or
 * fails, the same is shown as out of date.
 */

import type { ConnectionState, Members, MyStatus, OnlineUsers, UserPresence } from "../api.js";

export type Entries = readonly (readonly [key: string, value: unknown])[];

export const keyOf = {
  user: (userId: string) => `user ${userId}`,
  userIn: (key: string) => key.slice("user ".length),
  members: (chatSessionId: string) => `members ${chatSessionId}`,
  typing: (chatSessionId: string) => `typing ${chatSessionId}`,
};

interface Kind<T> {
  /** Whether a client that has just been made has learnt it already. */
  isKnown(value: T): boolean;
  stale(value: T): T;
}

const list: Kind<OnlineUsers> = {
  isKnown: ({ fresh }) => fresh,
  stale: (value) => ({ ...value, fresh: false }),
};

const kinds = {
  connection: {
    isKnown: ({ name }) => !["idle", "connecting", "authenticating"].includes(name),
    stale: (value) => value,
  } satisfies Kind<ConnectionState>,
  me: {
    isKnown: ({ presence }) => !!presence?.fresh,
    stale: (value) => ({ ...value, presence: staleUser(value.presence) }),
  } satisfies Kind<MyStatus>,
  onlineUsers: list,
  onlineRows: list,
  user: {
    isKnown: (value) => !!value?.fresh,
    stale: staleUser,
  } satisfies Kind<UserPresence | undefined>,
  members: {
    isKnown: ({ state }) => state !== "waiting",
    stale: (value) => ({
      ...value,
      state: value.state === "joined" ? "waiting" : value.state,
      fresh: false,
    }),
  } satisfies Kind<Members>,
  typing: {
    isKnown: ({ length }) => length > 0,
    stale: () => [],
  } satisfies Kind<readonly string[]>,
};

/** What stands in no table is known at once, and never out of date. */
const plain: Kind<unknown> = { isKnown: () => true, stale: (value) => value };

const kindOf = (key: string) =>
  ((kinds as Readonly<Record<string, unknown>>)[key.split(" ")[0] as string] ??
    plain) as Kind<unknown>;

function staleUser(user: UserPresence | undefined): UserPresence | undefined {
  return user && { ...user, fresh: false };
}

/** As it is shown when no connection keeps it up to date. */
export const stale = (entries: Entries): Entries =>
  entries.map(([key, value]) => [key, kindOf(key).stale(value)] as const);

export const isKnown = (key: string, value: unknown): boolean => kindOf(key).isKnown(value);

/** What a new leader has taken over. */
export interface Inheritance {
  readonly values: ReadonlyMap<string, unknown>;
  /** Whether the next connection is still expected to be there in a moment. */
  readonly isMasking: boolean;
}

/** What is shown for what the client says; what it knows takes the place of what was inherited. */
export function shown({ values, isMasking }: Inheritance, key: string, value: unknown): unknown {
  if (isKnown(key, value) || !values.has(key)) return value;
  const { stale } = kindOf(key);
  // The connection is what it is as soon as it is not expected any more.
  return isMasking ? values.get(key) : key === "connection" ? value : stale(values.get(key));
}

export type Listed = Pick<Members, "userIds">;

export const isList = (key: string): boolean => /^(onlineUsers|onlineRows|members )/.test(key);

/** Whether the link is not on its way, but down: there is nothing to wait for. */
export const isDown = ({ name }: ConnectionState): boolean =>
  ["recovering", "offline", "failed", "closed"].includes(name);
