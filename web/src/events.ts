import type { PresenceClient, PresenceEvents } from "./api.js";
import { keyed, tell } from "./store.js";

export interface Events {
  readonly on: PresenceClient["on"];
  emit<K extends keyof PresenceEvents>(type: K, event: PresenceEvents[K]): void;
  /** By type. */
  readonly listeners: ReadonlyMap<string, ReadonlySet<unknown>>;
}

export function createEvents(): Events {
  const { all: listeners, get } = keyed(() => new Set<(event: never) => void>());
  return {
    listeners,
    on(type, listener, { signal } = {}) {
      const all = get(type);
      const entry: typeof listener = (event) => listener(event); // the same function may be given twice
      const off = () => {
        all.delete(entry);
        signal?.removeEventListener("abort", off);
      };
      // A signal that is aborted already says nothing more.
      if (signal?.aborted) return off;
      all.add(entry);
      signal?.addEventListener("abort", off);
      return off;
    },
    emit: (type, event) => tell(get(type), event as never),
  };
}
