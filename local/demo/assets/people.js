// What a client holds about the others. A presence whose version is not greater than the one held
// is dropped: frames may come twice, late, and over several connections.

export class People {
  #held = new Map();

  /** Take presences in; returns those that were news, as {before, after}. */
  take(presences) {
    const news = [];
    for (const after of presences) {
      const before = this.#held.get(after.userId) ?? null;
      if (before && after.version <= before.version) continue;
      this.#held.set(after.userId, after);
      news.push({ before, after });
    }
    return news;
  }

  /** The server knows nothing of them: it is another one, or they were erased. */
  forget(userIds) {
    for (const userId of userIds) this.#held.delete(userId);
  }

  get(userId) {
    return this.#held.get(userId) ?? null;
  }

  online() {
    return [...this.#held.values()].filter((presence) => presence.isOnline).sort(byName);
  }

  /** Those who left while somebody looked, the last one first. */
  offline() {
    return [...this.#held.values()]
      .filter((presence) => !presence.isOnline && presence.lastSeen !== null)
      .sort((a, b) => b.lastSeen - a.lastSeen);
  }
}

function byName(a, b) {
  return a.userId < b.userId ? -1 : 1;
}
