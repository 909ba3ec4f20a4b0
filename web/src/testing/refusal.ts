/** What the server refuses, by itself or because a test says so. */

import type { ErrorCode } from "../protocol.js";

export interface RefusedWith {
  readonly code: ErrorCode;
  readonly message?: string;
  readonly retryAfterSeconds?: number;
}

export type AnswerHow =
  /** It is served, and the answer never comes. */
  | "swallow"
  /** It is served, and the answer comes later. */
  | { readonly delayMs: number }
  /** It is served, and something else is answered; over HTTP with this status. */
  | { readonly body: unknown; readonly status?: number };

export class Refusal extends Error {
  readonly code: ErrorCode;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, message: string, retryAfterSeconds?: number) {
    super(message);
    this.code = code;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** The same for a chat session that exists and one that does not. */
export function noAccess(): Refusal {
  return new Refusal("forbidden", "Ask for access to this chat session.");
}

export const HTTP_STATUS: Readonly<Record<ErrorCode, number>> = {
  "invalid-message": 400,
  "unknown-action": 404,
  "payload-too-large": 413,
  "not-authenticated": 401,
  "token-invalid": 401,
  "token-expired": 401,
  forbidden: 403,
  "not-found": 404,
  conflict: 409,
  "rate-limited": 429,
  unavailable: 503,
  internal: 500,
};

interface Rule<T> {
  readonly action: string;
  readonly what: T;
  left: number;
}

/** What a test has said about the next requests of an action or a route. */
export class Rules {
  readonly #refusals: Rule<RefusedWith>[] = [];
  readonly #answers: Rule<AnswerHow>[] = [];
  /** Whether pages of the devices' origin may ask. */
  allowsOrigin = true;

  refuse(action: string, error: RefusedWith, times: number): () => void {
    return add(this.#refusals, action, error, times);
  }

  answer(action: string, how: AnswerHow, times: number): () => void {
    return add(this.#answers, action, how, times);
  }

  /** What a test wants refused, under one of the names of an action. */
  refusal(...names: readonly string[]): Refusal | undefined {
    const refused = take(this.#refusals, names);
    if (!refused) return undefined;
    const { code, message = `The test refuses with ${code}.`, retryAfterSeconds } = refused;
    return new Refusal(code, message, retryAfterSeconds);
  }

  /** How to answer otherwise than the server would. */
  answerHow(...names: readonly string[]): AnswerHow | undefined {
    return take(this.#answers, names);
  }
}

function add<T>(rules: Rule<T>[], action: string, what: T, times: number): () => void {
  const rule = { action, what, left: times };
  rules.push(rule);
  return () => {
    rule.left = 0;
  };
}

function take<T>(rules: readonly Rule<T>[], names: readonly string[]): T | undefined {
  const rule = rules.find(({ action, left }) => left > 0 && names.includes(action));
  if (rule) rule.left -= 1;
  return rule?.what;
}
