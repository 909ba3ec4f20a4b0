import type { Problem, ErrorCode as ServerErrorCode } from "./protocol.js";

/** The server's codes, and what can go wrong before a server is reached. */
export type ErrorCode =
  | ServerErrorCode
  /** `getToken` threw, or did not answer in time. */
  | "token-unavailable"
  /** What was given as a token is none. */
  | "token-malformed"
  /** `apiUrl` is no http(s) address, or there is no stack at it. */
  | "api-url-invalid"
  /** The stack does not let pages of this origin read what it answers. */
  | "origin-refused"
  /** There is no WebSocket here, or it cannot be made. */
  | "no-websocket"
  /** The link is down, and what was asked for cannot wait. */
  | "not-connected"
  /** No answer in time: whether it was done is not known. */
  | "timeout"
  /** `disconnect` was called meanwhile. */
  | "closed"
  /** The server has closed this connection for good. */
  | "kicked"
  /** The user has so many connections that another one took the place of this one. */
  | "replaced"
  /** The server speaks another version of the protocol. */
  | "protocol-mismatch";

const RETRYABLE: readonly ErrorCode[] = [
  "rate-limited",
  "unavailable",
  "internal",
  "token-unavailable",
  "not-connected",
  "timeout",
];

/** Everything that this package rejects with. `message` says what to change, in a sentence. */
export class PresenceError extends Error {
  override readonly name = "PresenceError";
  readonly code: ErrorCode;
  /** Whether the same again may work. */
  readonly isRetryable: boolean;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, message: string, retryAfterSeconds?: number, cause?: unknown) {
    super(message, { cause });
    this.code = code;
    this.isRetryable = RETRYABLE.includes(code);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

export const noLink = () => new PresenceError("not-connected", "No link.");
/** It may have been done, or not. */
export const noAnswer = () => new PresenceError("timeout", "No answer.");
export const noSocket = (cause?: unknown) =>
  new PresenceError(
    "no-websocket",
    `No WebSocket${because(cause)}. Give one as an option, as of the package ws.`,
  );
export const disconnected = () => new PresenceError("closed", "Closed.");

type Told = Pick<PresenceError, "code" | "message"> & { retryAfterSeconds?: number | undefined };

export const fromFrame = ({ code, message, retryAfterSeconds }: Told): PresenceError =>
  new PresenceError(code, message, retryAfterSeconds);

/** What an answer over HTTP says, also if it is API Gateway's own and has no code of ours. */
export async function fromResponse(response: Response): Promise<PresenceError> {
  const told = ((await response.json().catch(() => undefined)) as Problem | undefined)?.error;
  const { status, url } = response;
  const code = status === 429 ? "rate-limited" : status < 500 ? "invalid-message" : "unavailable";
  const retryAfterSeconds = Number(response.headers.get("Retry-After")) || undefined;
  return fromFrame({ code, message: `HTTP ${status}: ${url}`, retryAfterSeconds, ...told });
}

/** What something that was thrown says. */
export const because = (cause: unknown): string =>
  cause ? `: ${(cause as Error).message ?? cause}` : "";

/** The error, as one of ours. */
export function asPresenceError(error: unknown, code: ErrorCode, message: string): PresenceError {
  return error instanceof PresenceError
    ? error
    : new PresenceError(code, message, undefined, error);
}

const RETRY_MS = 5_000;

/** When what was refused may be asked for again. */
export const retryMs = ({ retryAfterSeconds = 0 }: PresenceError): number =>
  retryAfterSeconds * 1000 || RETRY_MS;
