import type { PresenceClient, PresenceEvents } from "./api.js";
import { keyed, tell } from "./store.js";

export interface Events {
  readonly on: PresenceClient["on"];
  emit<K extends keyof PresenceEvents>(type: K, event: PresenceEvents[K]): void;
  /** Those with listeners. */
  types(): (keyof PresenceEvents)[];
}

/** @param changed is called when a type has listeners, or none any more */
export function createEvents(changed = () => {}): Events {
  const listeners = keyed(() => new Set<(event: never) => void>());
  return {
    on(type, listener, { signal } = {}) {
      const all = listeners.get(type);
      const entry: typeof listener = (event) => listener(event); // the same function may be given twice
      const off = () => {
        all.delete(entry);
        signal?.removeEventListener("abort", off);
        changed();
      };
      // A signal that is aborted already says nothing more.
      if (signal?.aborted) return off;
      all.add(entry);
      signal?.addEventListener("abort", off);
      changed();
      return off;
    },
    emit: (type, event) => tell(listeners.get(type), event as never),
    types: () =>
      [...listeners.all].flatMap(([type, all]) => (all.size ? [type as keyof PresenceEvents] : [])),
  };
}
