/** The HTTP routes under /api/user-status: `entrypoints/http.py` of the server. */

import { dataRequest, optionalData } from "./data.js";
import { leaseMs } from "./heartbeat.js";
import { HTTP_STATUS, noAccess, Refusal } from "./refusal.js";
import * as read from "./requests.js";
import type { Stack } from "./stack.js";
import { type Identity, isAllowed } from "./tokens.js";
import { ownPresence, type Viewer } from "./user.js";

export interface HttpRequest {
  readonly method: string;
  /** Behind the API's address, such as `/api/user-status/online`. */
  readonly path: string;
  readonly query: ReadonlyMap<string, string>;
  /** By their names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** JSON, or text as it is. */
  readonly body?: unknown;
}

/** Where the server is, as `GET /config` says. */
export interface Addresses {
  readonly webSocketUrl: string;
  readonly developmentTokenUrl?: string;
}

interface Call {
  readonly stack: Stack;
  readonly addresses: Addresses;
  readonly request: HttpRequest;
  readonly ids: Ids;
}

/** What stands in the path for `{userId}` and `{chatSessionId}`. */
type Ids = Readonly<Record<string, string>>;

/** Throws a Refusal. */
type Handler = (call: Call) => HttpAnswer;

const BASE = "/api/user-status";
const PUBLISH = "presence:publish";
const ADMIN = "presence:admin";

/** In the order in which they are tried, and as docs/protocol.md names them. */
const ROUTES: readonly (readonly [string, Handler])[] = [
  ["GET /online", online],
  ["GET /online/count", onlineCount],
  ["GET /config", config],
  ["GET /health", () => json({ status: "ok" })],
  ["GET /blocked", listBlocked],
  ["GET /blocked/{userId}", readBlocked],
  ["PUT /blocked/{userId}", block],
  ["DELETE /blocked/{userId}", unblock],
  ["POST /batch", batch],
  ["PUT /last-seen", lastSeen],
  ["PUT /", setStatus],
  ["PUT /data", (call) => changeData(call, { data: bodyOf(call) })],
  ["PATCH /data", (call) => changeData(call, { patch: bodyOf(call) })],
  ["GET /chat-sessions/{chatSessionId}/members", members],
  ["POST /chat-sessions/{chatSessionId}/messages", publish],
  ["DELETE /chat-sessions/{chatSessionId}/members/{userId}", removeMember],
  ["PUT /chat-sessions/{chatSessionId}/members/{userId}", allowMember],
  ["DELETE /users/{userId}/connections", kick],
  ["POST /users/{userId}/revocations", revoke],
  ["GET /users/{userId}", readStatus],
  ["GET /{userId}", readStatus],
  ["DELETE /users/{userId}", erase],
];

/** What a request asks for: the route as docs/protocol.md names it, or null for none. */
export interface Match {
  readonly route: string;
  readonly ids: Ids;
  readonly handler: Handler;
}

export function match(method: string, path: string): Match | null {
  if (path !== BASE && !path.startsWith(`${BASE}/`)) return null;
  const asked = `${method} ${path.slice(BASE.length) || "/"}`;
  for (const [route, handler] of ROUTES) {
    const found = new RegExp(`^${route.replaceAll(/{(\w+)}/g, "(?<$1>[^/]+)")}$`).exec(asked);
    if (found) return { route, ids: decoded(found.groups ?? {}), handler };
  }
  return null;
}

function decoded(parts: Ids): Ids {
  try {
    const pairs = Object.entries(parts).map(([name, part]) => [name, decodeURIComponent(part)]);
    return Object.fromEntries(pairs);
  } catch {
    return parts;
  }
}

export function refused({ code, message, retryAfterSeconds }: Refusal): HttpAnswer {
  const status = HTTP_STATUS[code];
  const headers = {
    ...(retryAfterSeconds === undefined ? {} : { "Retry-After": String(retryAfterSeconds) }),
    ...(status === 401 ? { "WWW-Authenticate": "Bearer" } : {}),
  };
  return json({ error: { code, message } }, status, headers);
}

// Reading.

function online(call: Call): HttpAnswer {
  const viewer = viewerOf(call);
  const page = call.stack.online(viewer, pageRequest(call));
  return json({ users: page.presences, cursor: page.cursor, onlineCount: page.count });
}

function onlineCount(call: Call): HttpAnswer {
  const { stack } = call;
  const page = stack.online(viewerOf(call), { limit: read.MAX_PAGE, cursor: null });
  const count = page.cursor === null ? page.count : stack.users.onlineCount;
  return json({ count, asOf: stack.now });
}

function config({ stack, addresses }: Call): HttpAnswer {
  const { heartbeatSeconds, backgroundHeartbeatSeconds, maxConnectionSeconds, globalPresence } =
    stack.parameters;
  const body = {
    ...addresses,
    heartbeatSeconds,
    backgroundHeartbeatSeconds,
    leaseSeconds: leaseMs(heartbeatSeconds) / 1000,
    maxConnectionSeconds,
    protocol: 1,
    globalPresence,
  };
  return json(body, 200, { "Cache-Control": "public, max-age=60" });
}

/** Needs a token, also where reads are public. */
function verifyStatus(call: Call): HttpAnswer {
  const { users, awaited } = call.stack.verify([userIn(call)], callerOf(call).userId);
  return json(users[0], 200, awaited.length > 0 ? { "Retry-After": "1" } : {});
}

function readStatus(call: Call): HttpAnswer {
  if (call.request.query.get("verify") === "true") return verifyStatus(call);
  const value = call.stack.presence(userIn(call), viewerOf(call));
  const tag = `"${value.version}-${value.status}"`;
  const headers = { ETag: tag, "Cache-Control": "private, no-cache", Vary: "Authorization" };
  const condition = call.request.headers.get("if-none-match") ?? "";
  const tags = condition.split(",").map((item) => item.trim().replace(/^W\//, ""));
  if (condition.trim() === "*" || tags.includes(tag)) return { status: 304, headers };
  return json(value, 200, headers);
}

function batch(call: Call): HttpAnswer {
  const viewer = viewerOf(call);
  const userIds = read.userIds(bodyOf(call));
  return json({ users: userIds.map((userId) => call.stack.presence(userId, viewer)) });
}

function members(call: Call): HttpAnswer {
  const name = sessionIn(call);
  const caller = readerOf(call);
  const isBackEnd = caller?.scope.has(PUBLISH) || caller?.scope.has(ADMIN);
  if (caller && !isBackEnd) requireEntry(call, name, caller);
  const page = call.stack.members(name, caller?.userId ?? null, pageRequest(call));
  const { presences, cursor, count: memberCount } = page;
  return json({
    members: presences,
    cursor,
    memberCount,
    ...call.stack.fanout.rooms.counted(name),
  });
}

// The caller's own.

function setStatus(call: Call): HttpAnswer {
  const { userId } = callerOf(call);
  const body = bodyOf(call);
  const chosen = { ...read.statusRequest(body, call.stack.now), data: optionalData(body) };
  return json(ownPresence(call.stack.users.change(userId, { type: "chosen", ...chosen })));
}

function changeData(call: Call, body: read.Fields): HttpAnswer {
  const { userId } = callerOf(call);
  const change = { type: "data-changed", ...dataRequest(body) } as const;
  return json(ownPresence(call.stack.users.change(userId, change)));
}

function lastSeen(call: Call): HttpAnswer {
  const { userId } = callerOf(call);
  call.stack.users.change(userId, { type: "seen" });
  return json({ userId, lastSeen: call.stack.now });
}

function listBlocked(call: Call): HttpAnswer {
  return json({ userIds: blockedBy(call) });
}

function readBlocked(call: Call): HttpAnswer {
  const blocked = blockedBy(call);
  const userId = userIn(call);
  return json({ userId, blocked: blocked.includes(userId) });
}

function blockedBy(call: Call): readonly string[] {
  return [...call.stack.users.get(callerOf(call).userId).blocked.keys()].sort();
}

function block(call: Call): HttpAnswer {
  const { userId } = callerOf(call);
  const viewerId = userIn(call);
  if (viewerId === userId) {
    throw new Refusal("conflict", "Nobody can hide from themselves; choose the status invisible.");
  }
  call.stack.users.change(userId, { type: "blocked", viewerId });
  return NOTHING;
}

function unblock(call: Call): HttpAnswer {
  const { userId, scope } = callerOf(call);
  if (call.ids.userId === "connections" && scope.has(ADMIN)) {
    throw new Refusal(
      "conflict",
      "DELETE /users/blocked/connections closes the sockets of the user `blocked`; " +
        "to unblock the user `connections`, send a token without presence:admin.",
    );
  }
  call.stack.users.change(userId, {
    type: "unblocked",
    viewerIds: [userIn(call)],
    gone: false,
  });
  return NOTHING;
}

// For back ends.

function publish(call: Call): HttpAnswer {
  const caller = callerOf(call);
  requireScope(caller, PUBLISH);
  const name = sessionIn(call);
  const body = bodyOf(call);
  const content = read.content(body);
  const clientId = read.optionalId(body, "clientId");
  requireEntry(call, name, caller);
  const said = call.stack.fanout.messageOnce(name, caller.userId, content, clientId);
  const { type: _, ...message } = said;
  return json(message);
}

function kick(call: Call): HttpAnswer {
  requireScope(callerOf(call), ADMIN);
  call.stack.kick(userIn(call));
  return NOTHING;
}

function revoke(call: Call): HttpAnswer {
  requireScope(callerOf(call), ADMIN);
  const what = read.revocation(bodyOf(call), call.stack.now);
  call.stack.revoke(userIn(call), what);
  return NOTHING;
}

function removeMember(call: Call): HttpAnswer {
  call.stack.removeMember(...membershipIn(call));
  return NOTHING;
}

function allowMember(call: Call): HttpAnswer {
  call.stack.allowMember(...membershipIn(call));
  return NOTHING;
}

/** The ids, if the caller administers this chat session; a claim limits which. */
function membershipIn(call: Call): readonly [sessionId: string, userId: string] {
  const caller = callerOf(call);
  requireScope(caller, ADMIN);
  const sessionId = sessionIn(call);
  if (!isAllowed(sessionId, caller.allowed)) throw noAccess();
  return [sessionId, userIn(call)];
}

function erase(call: Call): HttpAnswer {
  const caller = callerOf(call);
  if (caller.userId !== call.ids.userId) requireScope(caller, ADMIN);
  call.stack.erase(userIn(call), caller.scope.has(ADMIN));
  return NOTHING;
}

// The caller.

function callerOf({ stack, request }: Call): Identity {
  const [scheme = "", token = ""] = (request.headers.get("authorization") ?? "").split(" ");
  if (scheme.toLowerCase() !== "bearer" || token === "") {
    throw new Refusal("not-authenticated", "Send the header Authorization: Bearer <token>.");
  }
  return stack.tokens.verify(token, stack.now);
}

/** Null for a caller without a token, where those may read. */
function readerOf(call: Call): Identity | null {
  const hasNoToken = !call.request.headers.has("authorization");
  return hasNoToken && call.stack.parameters.publicReads ? null : callerOf(call);
}

function viewerOf(call: Call): Viewer {
  return readerOf(call)?.userId ?? null;
}

function requireScope(caller: Identity, scope: string): void {
  if (!caller.scope.has(scope)) {
    throw new Refusal("forbidden", `The token needs the scope ${scope}.`);
  }
}

/** The token has to allow the chat session, and so has the back end. */
function requireEntry({ stack }: Call, sessionId: string, { userId, allowed }: Identity): void {
  const isBarred = stack.users.get(userId).barred.has(sessionId);
  if (isBarred || !isAllowed(sessionId, allowed)) throw noAccess();
}

// Requests.

const userIn = ({ ids }: Call) => read.id("userId", ids.userId);
const sessionIn = ({ ids }: Call) => read.id("chatSessionId", ids.chatSessionId);

function bodyOf({ request }: Call): read.Fields {
  return read.parseObject(request.body, read.MAX_BODY_BYTES);
}

function pageRequest({ request }: Call): read.PageRequest {
  const limit = request.query.get("limit");
  const isNumber = limit !== undefined && /^[0-9]{1,9}$/.test(limit);
  return read.pageRequest({
    limit: isNumber ? Number(limit) : limit,
    cursor: request.query.get("cursor"),
  });
}

// Answers.

const NOTHING: HttpAnswer = { status: 204, headers: { "Cache-Control": "no-store" } };

export function json(body: unknown, status = 200, headers: HttpAnswer["headers"] = {}): HttpAnswer {
  const usual = { "Content-Type": "application/json", "Cache-Control": "no-store" };
  return { status, headers: { ...usual, ...headers }, body };
}
