/** Tokens that look like a JWT; only those that were made here are accepted. */

import { Refusal } from "./refusal.js";
import { id, type Revocation } from "./requests.js";

/** The clocks of issuers differ: a token is accepted for so long after its end. */
const LEEWAY_MS = 30_000;

/** From its issue on, no token is accepted for longer. */
const LONGEST_LIFE_MS = 24 * 3_600_000 + 2 * LEEWAY_MS;
const MAX_REVOKED = 50;

/** What a token may say besides whose it is. */
export interface TokenOptions {
  /** 3,600 if left out. */
  readonly ttlSeconds?: number;
  /** Names separated by spaces: `presence:publish`, `presence:admin`. */
  readonly scope?: string;
  /** The only chat sessions that this user may join, and prefixes ending in `*`. */
  readonly chatSessions?: readonly string[];
}

export interface Identity {
  readonly userId: string;
  readonly expiresAt: number;
  readonly scope: ReadonlySet<string>;
  /** Null for all. */
  readonly allowed: readonly string[] | null;
  readonly issuedAt: number;
  /** Its claim `jti`. */
  readonly tokenId: string;
}

export class Tokens {
  readonly #known = new Map<string, Identity>();
  readonly #revoked = new Map<string, "token-invalid" | "token-expired">();
  readonly #notBefore = new Map<string, number>();
  /** By the user, the ids of single tokens, each with when it may be forgotten. */
  readonly #revokedIds = new Map<string, ReadonlyMap<string, number>>();

  make(userId: string, options: TokenOptions, now: number): string {
    const issuedAt = Math.floor(now / 1000);
    const expires = issuedAt + (options.ttlSeconds ?? 3600);
    const tokenId = String(this.#known.size + 1);
    const claims = {
      iss: "presence-testing",
      aud: "presence",
      sub: id("userId", userId),
      iat: issuedAt,
      exp: expires,
      jti: tokenId,
      ...(options.scope === undefined ? {} : { scope: options.scope }),
      ...(options.chatSessions === undefined ? {} : { chat_sessions: options.chatSessions }),
    };
    const token = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}.testing`;
    this.#known.set(token, {
      userId,
      expiresAt: expires * 1000,
      scope: new Set((options.scope ?? "").split(" ").filter(Boolean)),
      allowed: options.chatSessions ?? null,
      issuedAt: issuedAt * 1000,
      tokenId,
    });
    return token;
  }

  /** Whose token it is. Throws a Refusal. */
  verify(token: string, now: number): Identity {
    const identity = this.#known.get(token);
    if (!identity) {
      throw new Refusal("token-invalid", "The token is not one that this server has made.");
    }
    const reason = this.#revoked.get(token);
    if (reason === "token-invalid") {
      throw new Refusal("token-invalid", "The token is not one that this stack accepts.");
    }
    if (reason === "token-expired" || isOver(identity.expiresAt, now)) {
      throw new Refusal("token-expired", "The token has expired; ask for a fresh one.");
    }
    if (this.isRevoked(identity)) {
      throw new Refusal("token-invalid", "The token was revoked; sign in again.");
    }
    return identity;
  }

  /** Whether a back end has revoked it. */
  isRevoked({ userId, issuedAt, tokenId }: Identity): boolean {
    const isTooOld = issuedAt < (this.#notBefore.get(userId) ?? 0);
    return isTooOld || (this.#revokedIds.get(userId)?.has(tokenId) ?? false);
  }

  /** As a back end does. Throws a Refusal. */
  revokeOf(userId: string, what: Revocation, now: number): void {
    if ("notBefore" in what) {
      const before = this.#notBefore.get(userId) ?? 0;
      this.#notBefore.set(userId, Math.max(before, what.notBefore));
      return;
    }
    const known = [...(this.#revokedIds.get(userId) ?? [])];
    const kept = new Map(known.filter(([, until]) => until > now));
    if (!kept.has(what.tokenId) && kept.size >= MAX_REVOKED) {
      const message = `${MAX_REVOKED} tokens are revoked; revoke all that were issued so far.`;
      throw new Refusal("conflict", message);
    }
    this.#revokedIds.set(userId, kept.set(what.tokenId, now + LONGEST_LIFE_MS));
  }

  /** As a test says: from now on a token, or every token of a user made so far, is refused. */
  revoke(tokenOrUserId: string, code: "token-invalid" | "token-expired"): void {
    for (const [token, { userId }] of this.#known) {
      if (token === tokenOrUserId || userId === tokenOrUserId) this.#revoked.set(token, code);
    }
  }
}

/** Until when a connection with this token may be served. */
export function servedUntil(tokenExpiresAt: number): number {
  return tokenExpiresAt + LEEWAY_MS;
}

export function isOver(tokenExpiresAt: number, now: number): boolean {
  return servedUntil(tokenExpiresAt) <= now;
}

/** Whether the claim `chat_sessions` lets its user into a chat session. */
export function isAllowed(sessionId: string, allowed: readonly string[] | null): boolean {
  if (allowed === null || allowed.includes(sessionId)) return true;
  return allowed.some((name) => name.endsWith("*") && sessionId.startsWith(name.slice(0, -1)));
}

function part(value: unknown): string {
  return btoa(JSON.stringify(value)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
