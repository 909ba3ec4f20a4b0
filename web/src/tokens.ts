import type { Clock, TokenProvider, TokenReason } from "./api.js";
import { asPresenceError, disconnected } from "./errors.js";
import { within } from "./timing.js";

/** How long a provider may take, and how long a token has to be good to be begun with. */
const SPARE_MS = 30_000;

/** The token of one user: kept while it is good, asked for once however many need it. */
export interface Tokens {
  readonly userId: string;
  readonly source: string | TokenProvider;
  /** Whether asking again may give another one. */
  readonly canRenew: boolean;
  get(reason: TokenReason): Promise<string>;
  /** The server said until when the last one is good, by our clock; 0 is not at all. */
  isGoodUntil(at: number): void;
  /** The answer of the provider is not wanted any more. */
  cancel(): void;
}

export function createTokens(userId: string, source: string | TokenProvider, clock: Clock): Tokens {
  const cancelled = new AbortController();
  let token = "";
  let goodUntil = 0;
  let flight: Promise<string> | undefined;

  async function provide(reason: TokenReason): Promise<string> {
    try {
      const { signal } = cancelled;
      const given = typeof source === "string" ? source : source({ userId, reason, signal });
      const provided = await within(clock, SPARE_MS, given);
      if (!provided) throw provided;
      token = provided;
      goodUntil = Number.POSITIVE_INFINITY;
      return token;
    } catch (error) {
      throw asPresenceError(error, "token-unavailable", "No token.");
    }
  }

  return {
    userId,
    source,
    canRenew: typeof source !== "string",
    async get(reason) {
      if (reason !== "expiring" && goodUntil - clock.now() > SPARE_MS) return token;
      flight ??= provide(reason).finally(() => {
        flight = undefined;
      });
      return flight;
    },
    isGoodUntil(at) {
      goodUntil = at;
    },
    cancel() {
      cancelled.abort(disconnected());
    },
  };
}
