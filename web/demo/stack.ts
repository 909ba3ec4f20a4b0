/** What the local stack says of itself under /dev: whether it answers, and what is stored. */

import { Observable } from "./observable.js";

const PAUSE_MS = 1_000;
const ANSWER_MS = 5_000;

export class StackHealth {
  readonly isDown = new Observable(false);

  /**
   * @param isNeeded whether there is a reason to ask
   * @param isBack is called when it answers again
   */
  async watch(isNeeded: () => boolean, isBack: () => void): Promise<void> {
    for (;;) {
      const wasDown = this.isDown.get();
      if (wasDown || isNeeded()) this.isDown.set(!(await answers()));
      if (wasDown && !this.isDown.get()) isBack();
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

function answers(): Promise<boolean> {
  return fetch("/dev/stack", { signal: AbortSignal.timeout(ANSWER_MS) }).then(
    (answer) => answer.ok,
    () => false,
  );
}

// What is stored, read loosely: the page may be older than the stack.

export interface StoredLease {
  readonly connectionId: string;
  readonly device: string;
  readonly expiresAt: number;
  readonly isActive: boolean;
}

export interface StoredUser {
  readonly userId: string;
  /** The names and values of what is neither a list nor a map. */
  readonly attributes: readonly (readonly [string, string])[];
  readonly leases: readonly StoredLease[];
}

// biome-ignore lint/suspicious/noExplicitAny: items are what the stack makes of them
type Item = Readonly<Record<string, any>>;

export interface Stored {
  readonly now: number;
  readonly tables: Readonly<Record<string, readonly Item[]>>;
  readonly truncated: boolean;
}

export async function readTables(userIds: readonly string[], signal: AbortSignal): Promise<Stored> {
  const users = userIds.map((userId) => `user=${encodeURIComponent(userId)}`).join("&");
  const answer = await fetch(`/dev/tables?${users}`, { signal });
  if (!answer.ok) throw new Error(`The server answered with ${answer.status}.`);
  return answer.json();
}

/** The users' own items, with the leases of their connections, the next to end first. */
export function usersIn({ tables }: Stored): StoredUser[] {
  return (tables.Users ?? []).map(({ user_id, leases, ...item }) => ({
    userId: String(user_id),
    attributes: Object.entries(item).flatMap(([name, value]) =>
      typeof value === "object" ? [] : [[name, String(value)] as const],
    ),
    leases: leasesIn(leases),
  }));
}

function leasesIn(leases: Readonly<Record<string, Item>> = {}): StoredLease[] {
  return Object.entries(leases)
    .map(([connectionId, lease]) => ({
      connectionId,
      device: String(lease.device ?? ""),
      expiresAt: Number(lease.expires_at ?? 0),
      isActive: lease.active !== false,
    }))
    .sort((one, other) => one.expiresAt - other.expiresAt);
}

/** How an item is called in a list: by its keys. */
export function keyOf(item: Item): string {
  const key = item.topic ? `${item.topic} → ${item.subscriber}` : item.connection_id;
  return String(key ?? item.user_id);
}
