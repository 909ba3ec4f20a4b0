// The stories that tests/vectors.py has told with the server's reducer; PRESENCE_VECTORS names them.

import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { isDeepStrictEqual } from "node:util";
import { expect, test } from "vitest";
import type { Presence } from "../../src/protocol.js";
import { needsProbe, verifiedBy } from "../../src/testing/freshness.js";
import { reduce } from "../../src/testing/reducer.js";
import { Refusal } from "../../src/testing/refusal.js";
import { nextChangeAt, seenBy, sessionsSeenBy, type User } from "../../src/testing/user.js";

// biome-ignore lint/suspicious/noExplicitAny: JSON, of which the comparison finds every error
type Json = any;

test("the reducer of the test double answers as the server's does, in every story", async () => {
  let told = 0;
  for await (const line of createInterface(createReadStream(process.env.PRESENCE_VECTORS ?? ""))) {
    const { user, steps } = JSON.parse(line);
    let before = read(user) as User;
    for (const [index, step] of steps.entries()) {
      const { user: after, answer } = answerTo(before, step);
      // The quick comparison first: there are thousands, and one to be shown if it fails.
      const isSame = isDeepStrictEqual(plain(answer), step);
      if (!isSame) expect(plain(answer), `step ${index} of story ${told}`).toEqual(step);
      before = after;
    }
    told += 1;
  }
  expect(told).toBeGreaterThanOrEqual(1_000);
}, 120_000);

function answerTo(before: User, { now, event, views = [] }: Json) {
  try {
    const [user, effects] = reduce(before, read(event) as never, now);
    const seen = views.map(({ viewer }: Json) => ({
      viewer,
      presence: seenBy(viewer, user),
      sessions: sessionsSeenBy(viewer, user),
      heardAt: verifiedBy(viewer, user, now).heardAt ?? null,
      isProbed: needsProbe(viewer, user, now),
    }));
    const answer = { now, event, user, effects, nextChangeAt: nextChangeAt(user), views: seen };
    return { user, answer };
  } catch (refusal) {
    if (!(refusal instanceof Refusal)) throw refusal;
    const { code, message } = refusal;
    return { user: before, answer: { now, event, refused: { code, message } } };
  }
}

const SETS = ["sessions", "barred"];

/** What the file has as objects and lists is in memory a map of leases, a set of sessions, … */
function read(json: Json, name = ""): unknown {
  if (Array.isArray(json)) return SETS.includes(name) ? new Set(json) : json.map((it) => read(it));
  if (typeof json !== "object" || json === null) return json;
  const entries = Object.entries(json).map(([key, value]) => [key, read(value, key)] as const);
  const isMap = ["leases", "pendingLeaves", "blocked", "returned", "sessions", "unheard"].includes(
    name,
  );
  return isMap ? new Map(entries) : Object.fromEntries(entries);
}

/** The other way round. */
function plain(value: Json): Json {
  if (value instanceof Set) return [...value].sort();
  if (value instanceof Map) return plain(Object.fromEntries(value));
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  if ("isOnline" in value) return withoutDerived(value);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}

/** A presence as the server has it in memory: whether it is online is computed, no text is null. */
function withoutDerived({ isOnline, text, until, showLastSeen, ...presence }: Presence): Json {
  const isRight = isOnline === (presence.status !== "offline");
  const optional = { text: text ?? null, until: until ?? null, disclosure: showLastSeen ?? null };
  return { ...presence, ...optional, ...(isRight ? {} : { isOnline }) };
}
