/**
 * What tabs tell each other through their BroadcastChannel. Each message reaches all other tabs of
 * the group, in the order in which its sender posted it.
 */

import type { PresenceEvents, Stats } from "../api.js";
import { fromFrame, type PresenceError } from "../errors.js";
import type { Call } from "./calls.js";
import type { Entries } from "./shared-state.js";
import type { Wants } from "./wants.js";

/** Part of the group's name: pages of versions that do not understand each other never meet. */
const VERSION = 2;

/**
 * The name of the channel and of the lock of those who share a connection: one stack, one user. The
 * browser keeps origins and private windows apart. No hash: two users could have the same.
 */
export const groupName = (apiUrl: string, userId: string): string =>
  `presence/${VERSION} ${apiUrl.replace(/\/+$/, "")} ${userId}`;

/** What a tab says to the leader without waiting for an answer. */
export type Said =
  /** A person is at this tab. */
  | readonly [name: "touch"]
  /** Its page is shown. */
  | readonly [name: "shown"]
  | readonly [name: "keystroke" | "stopTyping", chatSessionId: string]
  | readonly [name: "retryNow"]
  | readonly [name: "loadMore"];

/** An error cannot be posted with its fields. */
export type PackedError = Pick<PresenceError, "code" | "message" | "retryAfterSeconds">;

export type Body =
  /** A tab has come, or found itself without a leader. */
  | { readonly kind: "hello"; readonly wants: Wants }
  | { readonly kind: "wants"; readonly wants: Wants }
  /** The tab closes, or its page may be stopped; or that other tab is gone. */
  | { readonly kind: "bye"; readonly tab?: string }
  /** The user has logged out. */
  | { readonly kind: "end" }
  /** Whether the leader is there. */
  | { readonly kind: "check" }
  | LeadersBody
  /** `at` is when, by the device's clock: a leader that was frozen does not do it late. */
  | { readonly kind: "call"; readonly at: number; readonly id: number; readonly call: Call }
  | { readonly kind: "say"; readonly at: number; readonly said: Said };

/** What only a leader says. `term` is greater than that of each leader before. */
export type LeadersBody = { readonly term: number } & (
  | { readonly kind: "lead" }
  /** It is there. */
  | { readonly kind: "here"; readonly stats: Stats }
  | {
      readonly kind: "state";
      /** The only one that needs it; all others, if left out. */
      readonly to?: string | undefined;
      readonly entries: Entries;
      readonly stats: Stats;
      /** If it is all there is, and not only what has changed. */
      readonly isFull: boolean;
      /** What each tab wants, told to those who come: one of them may lead next. */
      readonly tabs?: ReadonlyMap<string, Wants>;
    }
  | {
      readonly kind: "event";
      readonly type: keyof PresenceEvents | "message";
      readonly event: unknown;
    }
  | {
      readonly kind: "answer";
      readonly to: string;
      readonly id: number;
      readonly value?: unknown;
      readonly error?: PackedError | undefined;
    }
);

export type Message = Body & { readonly from: string };

export const pack = ({ code, message, retryAfterSeconds }: PresenceError): PackedError => ({
  code,
  message,
  retryAfterSeconds,
});

/** The same with the error in it, if there is one, as it can be posted; and back. */
export const packed = (value: unknown): unknown => withError(value, pack as never);
export const unpacked = (value: unknown): unknown => withError(value, fromFrame as never);

function withError(value: unknown, change: (error: unknown) => unknown): unknown {
  const { error } = (value ?? {}) as { error?: unknown };
  return error ? { ...(value as object), error: change(error) } : value;
}
