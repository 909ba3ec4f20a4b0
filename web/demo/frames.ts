/** Frames for the eye: what each is called, says in short, and is as a command. */

import type { PassedFrame } from "./network.js";

/** A frame of either side, read loosely. */
// biome-ignore lint/suspicious/noExplicitAny: a log shows frames that no version knows, too
export type Frame = Readonly<Record<string, any>>;

export interface LoggedFrame extends Pick<PassedFrame, "direction" | "at" | "isLost"> {
  readonly key: number;
  readonly frame: Frame;
  /** The device's name. */
  readonly device: string;
}

/** Where commands lead to, and as which user. */
export interface CommandContext {
  readonly userId: string;
  readonly apiUrl: string;
  readonly webSocketUrl: string;
}

export interface Command {
  readonly name: string;
  readonly text: string;
}

/** The frame, without its token: a token in a log is a token lost, even one for development. */
export function read(text: string): Frame {
  try {
    const frame: Frame = JSON.parse(text);
    if (typeof frame?.token !== "string") return frame ?? {};
    return { ...frame, token: `${frame.token.slice(0, 12)}…` };
  } catch {
    return { text };
  }
}

export function nameOf(frame: Frame): string {
  return String(frame.action ?? frame.type ?? "frame");
}

export function isHeartbeat(frame: Frame): boolean {
  return ["ping", "check", "pong"].includes(nameOf(frame)) && frame.active !== false;
}

export function isError(frame: Frame): boolean {
  return nameOf(frame).endsWith("error") || frame.type === "closing";
}

const joined = (...parts: readonly unknown[]) => parts.filter(Boolean).join(" · ");
const ids = (users: readonly Frame[]) => users.map((user) => user.userId).join(", ") || "no users";

const beat = ({ active }: Frame) => (active === false ? "idle" : "");

/** What it says, in short. */
const GISTS: Readonly<Record<string, (frame: Frame) => string>> = {
  authenticate: ({ device, token }) => joined(device, token && "with a token"),
  ping: beat,
  check: beat,
  heartbeat: ({ heartbeatSeconds }) => `every ${heartbeatSeconds} s`,
  status: ({ status, text, until }) => joined(status, text, until && "for a while"),
  data: ({ data, patch }) => said(data ?? patch),
  online: ({ cursor, without }) =>
    joined(cursor ? "the next page" : "", without && `besides ${without.length} known`),
  join: sessionsIn,
  leave: sessionsIn,
  typing: ({ typing }) => (typing ? "writes" : "stopped"),
  message: ({ content }) => said(content),
  watch: ({ userIds }) => userIds.join(", "),
  unwatch: ({ userIds }) => userIds.join(", "),
  verify: ({ userIds }) => userIds.join(", "),
  "authentication-success": ({ userId, leaseSeconds }) =>
    joined(userId, `lease of ${leaseSeconds} s`),
  "user-status-change": ({ changes }) =>
    changes.map((it: Frame) => joined(`${it.userId} ${it.status}`, it.text)).join(", "),
  "online-users-list": ({ users, onlineCount }) =>
    joined(ids(users), onlineCount === undefined ? "besides those known" : `${onlineCount} in all`),
  verified: ({ users, awaited }) =>
    users
      .map((it: Frame) =>
        joined(`${it.userId} ${it.status}`, awaited.includes(it.userId) && "asked"),
      )
      .join(", "),
  watching: ({ users }) => users.map((it: Frame) => `${it.userId} ${it.status}`).join(", "),
  "user-typing": ({ userId, typing }) => `${userId} ${typing ? "writes" : "stopped"}`,
  "chat-session-joined": ({ chatSessionId, memberCount }) =>
    joined(chatSessionId, members(memberCount)),
  "chat-sessions-joined": ({ joined: entered, refused }) =>
    [
      ...entered.map((it: Frame) => joined(it.chatSessionId, members(it.memberCount))),
      ...refused.map((it: Frame) => joined(it.chatSessionId, it.code)),
    ].join(", "),
  "chat-session-members": ({ joined: came, left }) =>
    [...came.map((it: Frame) => `+${it.userId}`), ...left.map((id: string) => `−${id}`)].join(" "),
  "new-message": ({ senderId, content }) => `${senderId}: ${said(content)}`,
  closing: ({ reason }) => reason,
  error: ({ code, message }) => joined(code, message),
  "authentication-error": ({ code, message }) => joined(code, message),
};

/** One chat session, or a list. */
function sessionsIn({ chatSessionId, chatSessionIds }: Frame): string {
  return chatSessionIds?.join(", ") ?? chatSessionId;
}

function members(count: number): string {
  return count === 1 ? "1 member" : `${count} members`;
}

function said(content: unknown): string {
  const text = (content as { text?: unknown } | null)?.text;
  return typeof text === "string" ? text : JSON.stringify(content);
}

/** Empty for a frame that says nothing but its name, or that is not as the protocol has it. */
export function gistOf(frame: Frame): string {
  try {
    return GISTS[nameOf(frame)]?.(frame) ?? "";
  } catch {
    return "";
  }
}

/** Whether a frame has a text in its name, in short or in full. */
export function contains(frame: Frame, wanted: string): boolean {
  const text = `${nameOf(frame)} ${gistOf(frame)} ${JSON.stringify(frame)}`;
  return text.toLowerCase().includes(wanted.trim().toLowerCase());
}

const PRESENCE = ".venv/bin/presence";

/** The same thing, to paste into a terminal at the root of the repository. */
export function commandsOf(frame: Frame, context: CommandContext): Command[] {
  const commands = [
    { name: "presence", text: presenceOf(frame, context) },
    { name: "curl", text: curlOf(frame, context) },
    { name: "wscat", text: frame.action && wscatOf(frame, context) },
  ];
  return commands.flatMap(({ name, text }) => (text ? [{ name, text }] : []));
}

function presenceOf(frame: Frame, { userId }: CommandContext): string | undefined {
  const status = `--status ${frame.status}${frame.text ? ` --text ${quoted(frame.text)}` : ""}`;
  switch (nameOf(frame)) {
    case "authenticate":
      return `${PRESENCE} join ${quoted(userId)} --device ${quoted(frame.device ?? "terminal")}`;
    case "status":
      return `${PRESENCE} join ${quoted(userId)} ${status}`;
    case "online":
    case "online-users-list":
      return `${PRESENCE} online`;
    case "user-status-change":
      return `${PRESENCE} status ${frame.changes.map((it: Frame) => quoted(it.userId)).join(" ")}`;
    case "watch":
      return `${PRESENCE} status ${frame.userIds.map(quoted).join(" ")}`;
    case "watching":
      return `${PRESENCE} status ${frame.users.map((it: Frame) => quoted(it.userId)).join(" ")}`;
    default:
      return undefined;
  }
}

function curlOf(frame: Frame, { userId, apiUrl }: CommandContext): string | undefined {
  const base = `${apiUrl}/api/user-status`;
  const bearer = `-H "Authorization: Bearer $(${PRESENCE} token ${quoted(userId)})"`;
  const send = (method: string, path: string, body: unknown) =>
    `curl -X ${method} ${base}${path} ${bearer} -H 'Content-Type: application/json' -d ${quoted(JSON.stringify(body))}`;
  const { status, text, until, userIds, changes, users, chatSessionId } = frame;
  switch (nameOf(frame)) {
    case "status":
      return send("PUT", "/", { status, text, until });
    case "online":
    case "online-users-list":
      return `curl ${bearer} ${base}/online`;
    case "watch":
      return send("POST", "/batch", { userIds });
    case "watching":
    case "user-status-change":
      return send("POST", "/batch", { userIds: (changes ?? users).map((it: Frame) => it.userId) });
    case "join":
    case "chat-session-joined":
    case "chat-session-members":
      if (chatSessionId === undefined) return undefined;
      return `curl ${bearer} ${base}/chat-sessions/${encodeURIComponent(chatSessionId)}/members`;
    default:
      return undefined;
  }
}

/** What only members of a chat session may send. */
const OF_MEMBERS = ["message", "typing", "leave"];

/** Authenticates, joins if need be, says it, a second after each other, and listens for five. */
function wscatOf(frame: Frame, { userId, webSocketUrl }: CommandContext): string {
  const { id: _, action, chatSessionId, ...rest } = frame;
  const session = chatSessionId ? { chatSessionId } : {};
  const join = OF_MEMBERS.includes(action) ? [{ action: "join", ...session }] : [];
  const said = action === "authenticate" ? [] : [...join, { action, ...session, ...rest }];
  const then = said.map((it) => `; sleep 1; printf '%s\\n' ${quoted(JSON.stringify(it))}`);
  const token = `"$(${PRESENCE} token ${quoted(userId)})"`;
  const hello = `echo '{"action":"authenticate","token":"'${token}'"}'`;
  return `(${hello}${then.join("")}; sleep 5) | npx wscat -c ${quoted(webSocketUrl)}`;
}

/** For a POSIX shell: any text stays one word. */
export function quoted(text: string): string {
  return /^[\w.@+:/-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
