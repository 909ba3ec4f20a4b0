/** What /dev/tables tells of what is stored, read loosely: the page may be older than the stack. */

export interface StoredLease {
  readonly connectionId: string;
  readonly device: string;
  readonly expiresAt: number;
  readonly isActive: boolean;
}

export interface StoredUser {
  readonly userId: string;
  readonly status: string;
  readonly choice: string;
  readonly text: string | undefined;
  readonly version: number;
  /** When DynamoDB forgets the item, in epoch milliseconds. */
  readonly forgottenAt: number;
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
  return (tables.Users ?? []).map((item) => ({
    userId: String(item.user_id),
    status: String(item.status ?? "offline"),
    choice: String(item.choice ?? "online"),
    text: item.text,
    version: Number(item.version ?? 0),
    forgottenAt: Number(item.ttl ?? 0) * 1_000,
    leases: leasesIn(item),
  }));
}

function leasesIn({ leases }: Item): StoredLease[] {
  return Object.entries((leases ?? {}) as Record<string, Item>)
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
