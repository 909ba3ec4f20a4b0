// What presences and times are called.

export const STATUSES = ["online", "away", "busy", "dnd", "invisible"];

const LABELS = {
  online: "Online",
  away: "Away",
  busy: "Busy",
  dnd: "Do not disturb",
  invisible: "Invisible",
  offline: "Offline",
};

const STEPS = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "always" });
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

export function label(status) {
  return LABELS[status] ?? status;
}

/** "3 minutes ago", "in 2 hours", "now". */
export function fromNow(time, now = Date.now()) {
  const seconds = (time - now) / 1000;
  for (const [unit, size] of STEPS) {
    if (Math.abs(seconds) >= size) return relative.format(Math.trunc(seconds / size), unit);
  }
  return "just now";
}

/** "1:05" */
export function countdown(milliseconds) {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

export function timeOfDay(time) {
  return clock.format(time);
}

export function capitalised(name) {
  return name.charAt(0).toUpperCase() + name.slice(1);
}
