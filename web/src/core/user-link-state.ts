/** What `user-link.ts` knows of a user's links, and what it wants done. */

import type { Backoff, ConnectionState, TokenReason } from "../api.js";
import type { PresenceError } from "../errors.js";
import type { AuthenticationSuccess, Config, ServerFrame } from "../protocol.js";
import type { Turn } from "./machine.js";

export const NEVER = Number.POSITIVE_INFINITY;

export interface UserLinkState {
  readonly connection: ConnectionState;
  readonly config: Config | undefined;
  /** The number of the last attempt. Below, 0 stands for none. */
  readonly attempts: number;
  readonly current: number;
  readonly opening: number;
  /** The link before a handover. */
  readonly former: number;
  /** The renewal of a token. */
  readonly renewal: number;
  /** Whether the app asked for it, with another token. */
  readonly isAsked: boolean;
  /** How many attempts have failed one after the other. */
  readonly failures: number;
  readonly readyAt: number;
  readonly reason: TokenReason;
  /** When there was a link, by the server's clock; 0 while there is one. */
  readonly lostAt: number;
  readonly skewMs: number;
  readonly retryAt: number;
  readonly renewAt: number;
  readonly handOverAt: number;
  readonly releaseAt: number;
}

export interface UserLinkEffects {
  // What may fail: it comes back as an event with the same attempt.
  configure(attempt: number): void;
  provideToken(attempt: number, reason: TokenReason): void;
  open(attempt: number, url: string, token: string): void;
  authenticate(attempt: number, link: number, token: string): void;
  sync(attempt: number, terms: AuthenticationSuccess): void;
  // What may not.
  close(link: number): void;
  probe(link: number): void;
  deliver(frame: ServerFrame): void;
  /** Until when the token in use is good; 0 if the server does not accept it. */
  goodUntil(at: number): void;
  /** `since` is when the link before went down; 0 if there was none, or for a handover. */
  ready(link: number, terms: AuthenticationSuccess, isNew: boolean, since: number): void;
  renewed(link: number, terms: AuthenticationSuccess): void;
  lost(): void;
  /** Settle the promise of `authenticate`. */
  resolve(terms: AuthenticationSuccess): void;
  reject(error: PresenceError): void;
  end(): void;
}

export interface Around {
  readonly now: number;
  readonly isOnline: boolean;
  /** Whether asking again may give another token. */
  readonly canRenew: boolean;
  /** From 0 to 1. */
  readonly random: number;
  readonly backoff: Backoff;
}

export type UserLinkTurn = Turn<UserLinkState, UserLinkEffects, Around>;

export const nothingUnderWay = {
  current: 0,
  opening: 0,
  former: 0,
  renewal: 0,
  isAsked: false,
  retryAt: NEVER,
  renewAt: NEVER,
  handOverAt: NEVER,
  releaseAt: NEVER,
};

export const unconnected: UserLinkState = {
  ...nothingUnderWay,
  connection: { name: "idle" },
  config: undefined,
  attempts: 0,
  failures: 0,
  readyAt: NEVER,
  reason: "first",
  lostAt: 0,
  skewMs: 0,
};
