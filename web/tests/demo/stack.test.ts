import { expect, test } from "vitest";
import { keyOf, type Stored, usersIn } from "../../demo/stack.js";

const stored: Stored = {
  now: 1_000,
  tables: {
    Users: [
      {
        user_id: "ada",
        status: "away",
        choice: "online",
        version: 7,
        ttl: 90,
        leases: {
          later: { expires_at: 9_000, device: "tab-2", active: true },
          sooner: { expires_at: 5_000, device: "tab-1", active: false },
        },
      },
      { user_id: "grace" },
    ],
  },
  truncated: false,
};

test("a user has their leases, the next to end first", () => {
  expect(usersIn(stored)[0]?.leases).toEqual([
    { connectionId: "sooner", device: "tab-1", expiresAt: 5_000, isActive: false },
    { connectionId: "later", device: "tab-2", expiresAt: 9_000, isActive: true },
  ]);
});

test("a user has all attributes that the item has, under their stored names", () => {
  const [ada, grace] = usersIn(stored);
  expect(Object.fromEntries(ada?.attributes ?? [])).toEqual({
    status: "away",
    choice: "online",
    version: "7",
    ttl: "90",
  });
  expect(grace).toEqual({ userId: "grace", attributes: [], leases: [] });
  expect(usersIn({ ...stored, tables: {} })).toEqual([]);
});

test("an item is called by its keys", () => {
  expect(keyOf({ topic: "user:ada", subscriber: "c1" })).toBe("user:ada → c1");
  expect(keyOf({ connection_id: "c1", user_id: "ada" })).toBe("c1");
  expect(keyOf({ user_id: "ada" })).toBe("ada");
});
