import type { PresenceError } from "../api.js";
import type { Choice, Status } from "../protocol.js";

/** Every text that is shown or read out. Give the provider those that you want otherwise. */
export interface PresenceLabels {
  /** For dates and durations; the browser's own if left out. */
  readonly locale?: string;
  /** "2 min. ago"; 0 seconds are now. Of `Intl`, or in English where that cannot (React Native). */
  readonly ago?: (count: number, unit: "day" | "hour" | "minute" | "second") => string;
  readonly status: Readonly<Record<Status | "unknown", string>>;
  /** What a lone indicator is called. */
  readonly userIs: (name: string, status: string) => string;
  readonly lastSeen: (ago: string) => string;
  /** What was known when the link went down. */
  readonly asOf: (status: string, ago: string) => string;
  /** Empty without names. */
  readonly typing: (names: readonly string[]) => string;
  readonly online: (count: number | null) => string;
  readonly nobody: string;
  readonly loading: string;
  readonly more: string;
  readonly connecting: string;
  /**
   * Null is what is read out: a number would be read out each second. With an `error` that waiting
   * may not mend.
   */
  readonly reconnecting: (seconds: number | null, error?: PresenceError) => string;
  readonly retry: string;
  readonly offline: string;
  /** What went wrong, and what the reader can do. */
  readonly failed: (error: PresenceError) => string;
  readonly myStatus: string;
  readonly statusText: string;
  /** Away because this device was not touched. */
  readonly auto: string;
  readonly chat: (chatSessionId: string) => string;
  readonly messages: string;
  /** Of the field that one writes in. */
  readonly message: string;
  readonly send: string;
  readonly sending: string;
  readonly notSent: string;
  readonly refused: string;
  readonly name: string;
  readonly nameHint: string;
  readonly enter: string;
}

export const choices: readonly Choice[] = ["online", "away", "busy", "dnd", "invisible"];

/** Apart from the others, because it is the only one that the hooks need. */
export function typing([first, second, third]: readonly string[]): string {
  const who = third ? "Several people" : second ? `${first} and ${second}` : first;
  return who ? `${who} ${second ? "are" : "is"} typing…` : "";
}

/** Where the message is about the app or the stack, the reader can do nothing. */
function advice(code: string): string {
  if (/^(api|origin|no-w|replaced)/.test(code)) return "";
  return /^(token|not-a|forb)/.test(code) ? " Sign in again." : " Reload the page.";
}

export const english: PresenceLabels = {
  status: {
    online: "Online",
    away: "Away",
    busy: "Busy",
    dnd: "Do not disturb",
    invisible: "Invisible",
    offline: "Offline",
    unknown: "Unknown",
  },
  userIs: (name, status) => `${name}: ${status}`,
  lastSeen: (ago) => `last seen ${ago}`,
  asOf: (status, ago) => `${status}, as of ${ago}`,
  typing,
  online: (count) => (count === null ? "Online" : `Online: ${count.toLocaleString()}`),
  nobody: "Nobody is online",
  loading: "Loading…",
  more: "Show more",
  connecting: "Connecting…",
  reconnecting: (seconds, error) =>
    `${error?.message ?? "Connection lost."} ${seconds ? `Trying again in ${seconds} s` : "Reconnecting…"}`,
  retry: "Try now",
  offline: "No network. It goes on when you are back online.",
  failed: ({ code, message }) => `Not connected: ${message}${advice(code)}`,
  myStatus: "Your status",
  statusText: "What are you up to?",
  auto: "Away while you are not here",
  chat: (chatSessionId) => `Chat ${chatSessionId}`,
  messages: "Messages",
  message: "Message",
  send: "Send",
  sending: "Sending…",
  notSent: "Not sent.",
  refused: "You cannot take part here.",
  name: "Your name",
  nameHint: "Letters, digits and . _ ~ @ + = -",
  enter: "Enter",
};
