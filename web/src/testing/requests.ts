/** What a client's frame asks for, parsed and checked: `protocol/requests.py` of the server. */

import type { Choice, ClientFrame, Disclosure } from "../protocol.js";
import { Refusal } from "./refusal.js";
import { MAX_SESSIONS } from "./user.js";

export type Fields = Readonly<Record<string, unknown>>;
export type Action = ClientFrame["action"];

export const MAX_PAGE = 100;
export const DEFAULT_PAGE = 50;
const MAX_FRAME_BYTES = 8 * 1024;
export const MAX_BODY_BYTES = 32 * 1024;
const MAX_CONTENT_BYTES = 4 * 1024;
const MAX_TEXT_LENGTH = 140;
const MAX_TOKEN_LENGTH = 6 * 1024;
const MAX_DEPTH = 16;

/** A record, so that the compiler misses a new action here. */
const KNOWN: Readonly<Record<Action, true>> = {
  authenticate: true,
  ping: true,
  check: true,
  status: true,
  data: true,
  online: true,
  join: true,
  leave: true,
  typing: true,
  message: true,
  watch: true,
  unwatch: true,
  verify: true,
};
const ACTIONS = Object.keys(KNOWN) as readonly Action[];
interface Alias {
  readonly action: Action;
  readonly typing?: boolean;
}

const ALIASES: Readonly<Record<string, Alias>> = {
  "get-online-users": { action: "online" },
  "join-chat-session": { action: "join" },
  "leave-chat-session": { action: "leave" },
  "typing-start": { action: "typing", typing: true },
  "typing-stop": { action: "typing", typing: false },
};
const CHOICES: readonly Choice[] = ["online", "away", "busy", "dnd", "invisible"];
const DISCLOSURES: readonly Disclosure[] = ["exact", "coarse", "hidden"];

const ID = /^(?!\.{1,2}$)[!$&()+,\-.0-9:;=@A-Z[\]^_a-z{|}~]{1,128}$/;
const CURSOR = /^[A-Za-z0-9_-]{1,256}$/;
/** Without what is not seen or reorders the text around it; tags only in the flags of subdivisions. */
const TEXT =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is refused
  /^(?:\u{1f3f4}[\u{e0030}-\u{e0039}\u{e0061}-\u{e007a}]{3,7}\u{e007f}|[^\u{0}-\u{1f}\u{7f}-\u{9f}\u{200b}\u{2028}-\u{202e}\u{2060}-\u{206f}\u{feff}\u{fff9}-\u{fffb}\u{e0000}-\u{e007f}])*$/u;

// Text.

/** The JSON object in a text. A key twice passes, unlike on the server. */
export function parseObject(text: string, limit = MAX_FRAME_BYTES): Fields {
  if (byteLength(text) > limit) {
    throw new Refusal("payload-too-large", `Send at most ${limit} bytes.`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid("Send one JSON object.");
  }
  if (!isObject(value)) throw invalid("Send one JSON object.");
  check(value, MAX_DEPTH);
  return value;
}

function check(value: unknown, depth: number): void {
  if (typeof value === "string" && !isPlain(value)) {
    throw invalid("Send text as Unicode, without NUL and lone surrogates.");
  }
  if (value === Infinity || value === -Infinity) {
    throw invalid("Send numbers that a double can hold.");
  }
  if (Number.isInteger(value) && !Number.isSafeInteger(value) && isWrittenOut(value as number)) {
    throw invalid("Send integers up to 2^53 - 1, greater ones as text.");
  }
  if (typeof value !== "object" || value === null) return;
  if (depth === 0) throw invalid(`Nest at most ${MAX_DEPTH} levels.`);
  for (const [name, item] of Object.entries(value)) {
    check(name, depth - 1);
    check(item, depth - 1);
  }
}

/** `JSON.stringify` writes what is larger with an exponent, and so not as an integer. */
const isWrittenOut = (value: number) => Math.abs(value) < 1e21;

function isPlain(text: string): boolean {
  return !text.includes("\0") && !/\p{Surrogate}/u.test(text);
}

/** Of UTF-8. */
export function byteLength(text: string): number {
  let bytes = 0;
  for (const character of text) {
    bytes += bytesOf(character.codePointAt(0) ?? 0);
  }
  return bytes;
}

function bytesOf(code: number): number {
  if (code < 0x80) return 1;
  if (code < 0x800) return 2;
  return code < 0x10000 ? 3 : 4;
}

// Frames.

/** The action in a frame, by its name or an older one, and its fields. */
export function actionIn(fields: Fields): { readonly action: Action; readonly fields: Fields } {
  const name = nameIn(fields);
  const expected = `action has to be one of ${ACTIONS.join(", ")}.`;
  if (name === undefined) throw invalid(expected);
  const alias = Object.hasOwn(ALIASES, name) ? ALIASES[name] : undefined;
  const action = alias?.action ?? ACTIONS.find((known) => known === name);
  if (action === undefined) throw new Refusal("unknown-action", expected);
  // An app that forgets which one must not take its user offline.
  if (name === "leave-chat-session") sessionId(fields);
  return { action, fields: { ...fields, ...alias, action } };
}

/** What a frame says that is refused before it is parsed, if it can be read. */
export function readable(text: string): Fields {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

export function nameIn(fields: Fields): string | undefined {
  return isId(fields.action) ? fields.action : undefined;
}

export function idIn(fields: Fields): string | undefined {
  return isId(fields.id) ? fields.id : undefined;
}

// Fields. Null is the same as leaving it out.

export function isId(value: unknown): value is string {
  return typeof value === "string" && ID.test(value);
}

export function id(name: string, value: unknown): string {
  if (isId(value)) return value;
  throw invalid(
    `${name} has to be 1 to 128 printable ASCII characters without spaces, quotes and / ? # % \\ < > *.`,
  );
}

export function optionalId(fields: Fields, name: string): string | undefined {
  const value = fields[name] ?? undefined;
  return value === undefined ? undefined : id(name, value);
}

export function sessionId(fields: Fields): string {
  return id("chatSessionId", fields.chatSessionId);
}

export const userIds = (fields: Fields, most = MAX_PAGE) => ids(fields, "userIds", 1, most);

function ids(fields: Fields, name: string, least: number, most: number): readonly string[] {
  const value = fields[name];
  if (!Array.isArray(value) || value.length < least || value.length > most) {
    throw invalid(`${name} has to be a list of ${least} to ${most} ids.`);
  }
  return value.map((item) => id(name, item));
}

/** Chat sessions, each once; `isList` says whether the client named them in a list. */
export interface SessionsRequest {
  readonly ids: readonly string[];
  readonly isList: boolean;
}

/** Null if none is named. */
export function optionalSessions(fields: Fields): SessionsRequest | null {
  const isNamed = (fields.chatSessionId ?? fields.chatSessionIds ?? null) !== null;
  return isNamed ? sessions(fields) : null;
}

export function sessions(fields: Fields): SessionsRequest {
  const [one, several] = [fields.chatSessionId ?? null, fields.chatSessionIds ?? null];
  if (several === null) return { ids: [sessionId(fields)], isList: false };
  if (one === null) return { ids: sessionIds(fields, 1), isList: true };
  throw invalid("chatSessionIds has to be left out beside chatSessionId.");
}

function sessionIds(fields: Fields, least: number): readonly string[] {
  return [...new Set(ids(fields, "chatSessionIds", least, MAX_SESSIONS))];
}

/** Null if the client does not say which chat sessions it wants to be in. */
export function optionalSessionIds(fields: Fields): readonly string[] | null {
  return (fields.chatSessionIds ?? null) === null ? null : sessionIds(fields, 0);
}

/** A heartbeat in seconds, or null. */
export function optionalHeartbeat(fields: Fields): number | null {
  const value = fields.heartbeatSeconds ?? null;
  if (value !== null && !(Number.isInteger(value) && (value as number) >= 1)) {
    throw invalid("heartbeatSeconds has to be a whole number of seconds.");
  }
  return value as number | null;
}

export function optionalBoolean(fields: Fields, name: string): boolean | null {
  const value = fields[name] ?? null;
  if (value === null || typeof value === "boolean") return value;
  throw invalid(`${name} has to be true or false.`);
}

export function token(fields: Fields): string {
  const value = fields.token;
  if (typeof value === "string" && value.length >= 1 && value.length <= MAX_TOKEN_LENGTH) {
    return value;
  }
  throw invalid(`token has to be a JWT of at most ${MAX_TOKEN_LENGTH} characters.`);
}

export interface StatusRequest {
  readonly choice: Choice;
  readonly text: string | null;
  readonly until: number | null;
  readonly chosenAt: number | null;
  readonly disclosure: Disclosure | null;
}

export function statusRequest(fields: Fields, now: number): StatusRequest {
  const choice = CHOICES.find((known) => known === fields.status);
  if (!choice) throw invalid(`status has to be one of ${CHOICES.join(", ")}.`);
  return {
    choice,
    text: statusText(fields.text),
    until: until(fields.until, now),
    chosenAt: chosenAt(fields.chosenAt),
    disclosure: disclosure(fields.showLastSeen),
  };
}

function chosenAt(value: unknown): number | null {
  if (value === undefined || value === null) return null;
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw invalid("chosenAt has to be a time in epoch milliseconds.");
}

function disclosure(value: unknown): Disclosure | null {
  if (value === undefined || value === null) return null;
  const known = DISCLOSURES.find((it) => it === value);
  if (!known) throw invalid(`showLastSeen has to be one of ${DISCLOSURES.join(", ")}.`);
  return known;
}

const isShort = (text: string) => [...text].length <= MAX_TEXT_LENGTH;

function statusText(value: unknown): string | null {
  if (value === undefined || value === null) return null;
  if (typeof value === "string" && isShort(value) && TEXT.test(value)) {
    const text = value.normalize("NFC");
    if (isShort(text)) return text || null;
  }
  throw invalid(
    `text has to be text of at most ${MAX_TEXT_LENGTH} characters, without controls and ` +
      "without what is not seen or reorders the text around it.",
  );
}

function until(value: unknown, now: number): number | null {
  if (value === undefined || value === null) return null;
  if (Number.isSafeInteger(value) && (value as number) > now) return value as number;
  throw invalid("until has to be a time to come, in epoch milliseconds.");
}

/** What a back end revokes: one token by its `jti`, or those that were issued before an instant. */
export type Revocation = { readonly tokenId: string } | { readonly notBefore: number };

/** One token, by its `jti`, or all that were issued before an instant that is not to come. */
export function revocation(fields: Fields, now: number): Revocation {
  const { tokenId = null, notBefore = null } = fields;
  if (tokenId !== null) {
    if (typeof tokenId === "string" && tokenId !== "" && notBefore === null) return { tokenId };
    throw invalid("tokenId has to be the jti of a token, without notBefore.");
  }
  if (notBefore === null) return { notBefore: now };
  const at = notBefore as number;
  if (Number.isSafeInteger(at) && at > 0 && at <= now) return { notBefore: at };
  throw invalid("notBefore has to be a time that is past, in epoch milliseconds.");
}

export interface PageRequest {
  readonly limit: number;
  readonly cursor: string | null;
  /** The cursor where the list ends. */
  readonly upTo?: string | null;
  /** Ids that are left out. */
  readonly without?: readonly string[] | null;
}

export function pageRequest(fields: Fields): PageRequest {
  const limit = fields.limit ?? DEFAULT_PAGE;
  if (!Number.isSafeInteger(limit) || (limit as number) < 1 || (limit as number) > MAX_PAGE) {
    throw invalid(`limit has to be a number from 1 to ${MAX_PAGE}.`);
  }
  return { limit: limit as number, cursor: optionalCursor(fields.cursor) };
}

/** Of the socket: with what the client knows already. */
export function onlineRequest(fields: Fields): PageRequest {
  const known = fields.without ?? null;
  return {
    ...pageRequest(fields),
    upTo: optionalCursor(fields.upTo),
    without: known === null ? null : ids(fields, "without", 0, MAX_PAGE),
  };
}

function optionalCursor(value: unknown = null): string | null {
  if (value !== null && !(typeof value === "string" && CURSOR.test(value))) throw unknownCursor();
  return value;
}

export function content(fields: Fields): unknown {
  const value = fields.content ?? null;
  if (value === null) throw invalid("content has to be JSON other than null.");
  if (byteLength(JSON.stringify(value)) > MAX_CONTENT_BYTES) {
    throw new Refusal("payload-too-large", `Send at most ${MAX_CONTENT_BYTES} bytes of content.`);
  }
  return value;
}

// Helpers.

export function invalid(message: string): Refusal {
  return new Refusal("invalid-message", message);
}

export function unknownCursor(): Refusal {
  return invalid("cursor has to be as it came with the page before.");
}

export function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
