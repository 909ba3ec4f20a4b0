import type { Clock, TokenProvider, TokenReason } from "./api.js";
import { asPresenceError, because, disconnected, PresenceError } from "./errors.js";
import { deferred, within } from "./timing.js";

/** How long a provider may take, and how long a token has to be good to be begun with. */
const SPARE_MS = 30_000;

/** The token of one user: kept while it is good, asked for once however many need it. */
export interface Tokens {
  readonly userId: string;
  readonly source: string | TokenProvider;
  /** Whether asking again may give another one. */
  readonly canRenew: boolean;
  /** Aborted when its answer is not wanted any more. */
  readonly signal: AbortSignal;
  get(reason: TokenReason): Promise<string>;
  /** The server said until when the last one is good, by our clock; 0 is not at all. */
  isGoodUntil(at: number): void;
  /** The answer of the provider is not wanted any more. */
  cancel(): void;
}

const unavailable = (why: string, cause?: unknown) =>
  asPresenceError(cause, "token-unavailable", `No token: getToken ${why}`);

/** What was given, if it can be a token: JSON, a page or a token in quotes cannot. */
export function asToken(given: unknown): string {
  if (typeof given === "string" && /^[^\s"{}<>]+$/.test(given)) return given;
  const what = given === "" ? "empty" : typeof given;
  throw new PresenceError("token-malformed", `No token (${what}). Give its text alone.`);
}

/** A token of a provider, or why there is none. */
export async function provided(
  source: string | TokenProvider,
  context: Parameters<TokenProvider>[0],
): Promise<string> {
  let given: unknown;
  try {
    given = await (typeof source === "string" ? source : source(context));
  } catch (cause) {
    throw unavailable(`failed${because(cause)}`, cause);
  }
  return asToken(given);
}

export function createTokens(userId: string, source: string | TokenProvider, clock: Clock): Tokens {
  const cancelled = new AbortController();
  const { signal } = cancelled;
  const over = deferred<never>();
  let token = "";
  let goodUntil = 0;
  let flight: Promise<string> | undefined;

  async function provide(reason: TokenReason): Promise<string> {
    const given = Promise.race([provided(source, { userId, reason, signal }), over.promise]);
    token = await within(clock, SPARE_MS, given, () => unavailable("does not answer"));
    goodUntil = Number.POSITIVE_INFINITY;
    return token;
  }

  return {
    userId,
    source,
    signal,
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
      over.reject(disconnected());
    },
  };
}
