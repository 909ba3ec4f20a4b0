/** What a tab wants of the connection, and what all tabs want of it together. */

import type { PresenceEvents } from "../api.js";

export type ListName = "onlineUsers" | "onlineRows";

export interface Wants {
  /** Chat sessions to be in. */
  readonly sessions: readonly string[];
  /** Users that are shown. */
  readonly users: readonly string[];
  /** Lists that are shown, as the client calls them. */
  readonly lists: readonly ListName[];
  /** Users that a person looks at. */
  readonly looks: readonly string[];
  /** Types of events that the app listens to. */
  readonly events: readonly (keyof PresenceEvents)[];
  readonly isVisible: boolean;
}

export const noWants: Wants = {
  sessions: [],
  users: [],
  lists: [],
  looks: [],
  events: [],
  isVisible: false,
};

const together = <T>(lists: readonly (readonly T[])[]): T[] => [...new Set(lists.flat())];

export const union = (all: readonly Wants[]): Wants => ({
  sessions: together(all.map((it) => it.sessions)),
  users: together(all.map((it) => it.users)),
  lists: together(all.map((it) => it.lists)),
  looks: together(all.map((it) => it.looks)),
  events: together(all.map((it) => it.events)),
  isVisible: all.some((it) => it.isVisible),
});

/** What is in one of them only. */
export function difference<T>(
  before: readonly T[],
  after: readonly T[],
): { readonly gone: T[]; readonly added: T[] } {
  const [old, next] = [new Set(before), new Set(after)];
  return { gone: before.filter((it) => !next.has(it)), added: after.filter((it) => !old.has(it)) };
}
