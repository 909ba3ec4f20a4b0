/** A connection as the server knows it: whose it is, what it hears, how fast it may ask. */

import type { ServerFrame } from "../protocol.js";
import { Refusal } from "./refusal.js";
import type { Link } from "./socket.js";
import { type Identity, isOver } from "./tokens.js";

const COST_MS = 1_000;
const BURST = 20;
const TYPING_MS = 1_000;

export class Connection {
  readonly connectionId: string;
  readonly openedAt: number;
  readonly sessions = new Set<string>();
  readonly watched = new Set<string>();
  userId: string | null = null;
  /** What its newest token says; null before authentication. */
  identity: Identity | null = null;
  isOpen = true;
  /** Stops the timers that were set when it was opened. */
  stopTimers: () => void = () => {};
  readonly #link: Link;
  readonly #typed = new Map<string, { readonly at: number; readonly isTyping: boolean }>();
  #chargedUntil = 0;

  get allowed(): readonly string[] | null {
    return this.identity?.allowed ?? null;
  }

  get tokenExpiresAt(): number {
    return this.identity?.expiresAt ?? 0;
  }

  constructor(connectionId: string, openedAt: number, link: Link) {
    this.connectionId = connectionId;
    this.openedAt = openedAt;
    this.#link = link;
  }

  send(frame: ServerFrame | string): void {
    if (!this.isOpen) return;
    this.#link.send(typeof frame === "string" ? frame : JSON.stringify(frame));
  }

  /** Closes the socket alone: the lease is the stack's business. */
  closeSocket(code: number, reason = ""): void {
    this.isOpen = false;
    this.#link.close(code, reason);
  }

  /** Whose connection it is. Throws a Refusal. */
  userAt(now: number): string {
    if (!this.isOpen || this.userId === null) {
      throw new Refusal(
        "not-authenticated",
        "Authenticate first; open a new connection if this one was closed.",
      );
    }
    if (isOver(this.tokenExpiresAt, now)) {
      throw new Refusal("token-expired", "Authenticate again with a fresh token.");
    }
    return this.userId;
  }

  /** Charges actions to the rate limit: 20 at once, then one a second. Throws a Refusal. */
  charge(now: number, actions = 1): void {
    const after = Math.max(this.#chargedUntil, now) + actions * COST_MS;
    const excess = after - now - BURST * COST_MS;
    if (excess > 0) {
      const seconds = Math.ceil(excess / 1000);
      throw new Refusal("rate-limited", `Ask again in ${seconds} s.`, seconds);
    }
    this.#chargedUntil = after;
  }

  /**
   * Whether `typing` is relayed now, which is charged: not sooner than a second after the last, but
   * for a stop after a start.
   */
  relaysTyping(sessionId: string, isTyping: boolean, now: number): boolean {
    const last = this.#typed.get(sessionId);
    const isSoon = last !== undefined && now - last.at < TYPING_MS;
    if (isSoon && (isTyping || !last.isTyping)) return false;
    this.charge(now);
    this.#typed.set(sessionId, { at: now, isTyping });
    return true;
  }
}
