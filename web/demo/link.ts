/** How a device's link is, in words. */

import type { ConnectionState } from "../src/index.js";
import type { Device } from "./device.js";
import { useNow, useValue } from "./observable.js";
import { countdown } from "./words.js";

/** What the device believes of its link, in two words. */
function linkWords(connection: ConnectionState, isActive: boolean, isFirst: boolean): string {
  switch (connection.name) {
    case "ready":
      return isActive ? "Live" : "Live, nobody there";
    case "recovering":
      return "Reconnecting";
    case "offline":
      return "No network";
    case "failed":
      return connection.error.code === "kicked" ? "Closed by the server" : "Refused";
    default:
      return isFirst ? "Connecting" : "Reconnecting";
  }
}

const STILL = { frozen: "Frozen", asleep: "Asleep" };

/** The same, as somebody sees it who stands in front of the device. */
export function useLink(device: Device): { words: string; detail: string; tone: string } {
  const now = useNow();
  const { condition, attendance } = useValue(device.state);
  const connection = useValue(device.client.connection);
  const { isActive } = useValue(device.client.me);
  if (attendance === "asleep") return { words: STILL.asleep, detail: "", tone: "still" };
  if (condition === "frozen") return { words: STILL.frozen, detail: "", tone: "still" };
  const words = linkWords(connection, isActive, device.connectionId === undefined);
  return { words, detail: detailOf(device, connection, now), tone: connection.name };
}

function detailOf({ client }: Device, connection: ConnectionState, now: number): string {
  if (connection.name === "recovering") return `in ${countdown(connection.retryAt - now)}`;
  if (connection.name === "failed") return connection.error.code;
  const { roundTripMs } = client.stats();
  if (connection.name !== "ready" || roundTripMs === undefined) return "";
  return `${Math.max(1, Math.round(roundTripMs))} ms`;
}
