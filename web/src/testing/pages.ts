/** Pages of a list that is in the order of user ids: what a frame holds of it, and cursors. */

import type { Presence } from "../protocol.js";
import { byteLength, isId, type PageRequest, unknownCursor } from "./requests.js";

export interface Page {
  readonly presences: readonly Presence[];
  readonly cursor: string | null;
  readonly count: number;
}

/** What a frame of 32 KB holds of a list, beside all other fields. */
export const MAX_LIST_BYTES = 31 * 1024;

/** `counted` is how many there are in all, as far as that is known without reading them. */
export function page(
  prefix: string,
  all: readonly Presence[],
  { cursor, limit, upTo = null, without }: PageRequest,
  counted: number,
  budget = MAX_LIST_BYTES,
): Page {
  const after = cursor === null ? "" : positionIn(prefix, cursor);
  const end = upTo === null ? null : positionIn(prefix, upTo);
  const found = all.filter(
    ({ userId: id }) => id > after && (end === null || id <= end) && !without?.includes(id),
  );
  const limited = found.slice(0, limit);
  const presences = limited.slice(0, fitting(limited, budget));
  const last = presences.at(-1);
  if (last && presences.length < found.length) {
    const count = Math.max(counted, presences.length + 1);
    return { presences, cursor: cursorAt(prefix, last.userId), count };
  }
  const count = cursor === null ? found.length : Math.max(counted, found.length);
  return { presences, cursor: null, count };
}

/** How many of these, from the first on, a frame holds; at least one, if there is one. */
export function fitting(presences: readonly Presence[], budget = MAX_LIST_BYTES): number {
  let bytes = 0;
  for (const [count, presence] of presences.entries()) {
    bytes += byteLength(JSON.stringify(presence)) + 1;
    if (bytes > budget && count > 0) return count;
  }
  return presences.length;
}

/** Cuts a list into parts that fit into a frame each. */
export function framed(presences: readonly Presence[]): readonly (readonly Presence[])[] {
  if (presences.length === 0) return [];
  const count = fitting(presences);
  return [presences.slice(0, count), ...framed(presences.slice(count))];
}

function cursorAt(prefix: string, userId: string): string {
  const text = btoa(prefix + userId);
  return text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** The user id that a cursor stands behind. Throws a Refusal. */
function positionIn(prefix: string, cursor: string): string {
  let position: string;
  try {
    position = atob(cursor.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    throw unknownCursor();
  }
  const userId = position.slice(prefix.length);
  if (!isId(userId) || cursorAt(prefix, userId) !== cursor) throw unknownCursor();
  return userId;
}
