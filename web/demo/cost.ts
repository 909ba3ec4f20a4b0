/** What a month costs, from the meter's day: a sum of five parts, each in dollars. */

import { FIGURES } from "./cost-figures.js";

export interface Usage {
  readonly users: number;
  /** Days of a month on which they come. */
  readonly days: number;
  /** Hours of a day with the page in the foreground, and hidden. */
  readonly shownHours: number;
  readonly hiddenHours: number;
  /** How many others each user has on the screen. */
  readonly contacts: number;
  /** HeartbeatSeconds and BackgroundHeartbeatSeconds. */
  readonly heartbeatSeconds: number;
  readonly backgroundHeartbeatSeconds: number;
}

export const USUAL: Usage = FIGURES;

export interface Part {
  readonly name: string;
  readonly dollars: number;
}

/** A user who pings twice as often costs twice the pings; with twice the contacts, twice the posts. */
export function bill(usage: Usage): readonly Part[] {
  const { shownHours, hiddenHours, contacts, heartbeatSeconds } = usage;
  const userDays = usage.users * usage.days;
  const hours = userDays * (shownHours + hiddenHours);
  const beats =
    (shownHours * 3600) / heartbeatSeconds +
    (hiddenHours * 3600) / usage.backgroundHeartbeatSeconds;
  return [
    { name: "Heartbeats", dollars: userDays * beats * FIGURES.beat },
    { name: "Open connections", dollars: hours * 60 * FIGURES.minute },
    { name: "Contacts on the screen", dollars: hours * contacts * FIGURES.contactHour },
    { name: "All that users do besides", dollars: hours * FIGURES.hour },
    { name: "Without a user", dollars: FIGURES.idle },
  ];
}

export const total = (parts: readonly Part[]): number =>
  parts.reduce((sum, { dollars }) => sum + dollars, 0);
