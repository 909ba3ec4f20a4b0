/** What the server refuses, on the socket and over HTTP. */

import type { ErrorCode } from "../protocol.js";

export class Refusal extends Error {
  readonly code: ErrorCode;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, message: string, retryAfterSeconds?: number) {
    super(message);
    this.code = code;
    this.retryAfterSeconds = retryAfterSeconds;
  }
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
  "too-many-connections": 429,
  unavailable: 503,
  internal: 500,
};
