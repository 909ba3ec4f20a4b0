/** What instants, durations and people are called. */

const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

export function capitalised(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

/** "1:05" */
export function countdown(milliseconds: number): string {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1_000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

export function timeOfDay(instant: number): string {
  return clock.format(instant);
}

/** "1 device", "3 devices" */
export function counted(count: number, noun: string): string {
  return `${count} ${count === 1 ? noun : `${noun}s`}`;
}

/** A hue for a user, from 0 to 359: the same on every page (FNV-1a). */
export function hueOf(userId: string): number {
  let mixed = 0x811c9dc5;
  for (const character of userId)
    mixed = Math.imul(mixed ^ (character.codePointAt(0) ?? 0), 0x01000193);
  return (mixed >>> 0) % 360;
}
