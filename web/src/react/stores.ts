import { useMemo, useSyncExternalStore } from "react";
import type { PresenceClient, Store } from "../api.js";
import { useShared } from "./provider.js";

/** What is rendered on a server, and in a browser until it is hydrated. */
export const none: readonly never[] = [];
export const never = () => () => {};

/** What is in the store that `of` finds for `key`, and in this mode; `initial` before hydration. */
export function useStore<T>(
  of: (client: PresenceClient, key: string) => Store<T>,
  key: string,
  initial: T,
  mode = false,
): T {
  const { client } = useShared();
  // biome-ignore lint/correctness/useExhaustiveDependencies: `of` depends on key and mode alone
  const { get, subscribe } = useMemo(() => of(client, key), [client, key, mode]);
  return useSyncExternalStore(subscribe, get, () => initial);
}

/** What `compute` says, looked at again each second while `isActive`; null before hydration. */
export function useTicking<T extends string | number | null>(compute: () => T, isActive: boolean) {
  const { tick } = useShared();
  return useSyncExternalStore(isActive ? tick : never, compute, () => null);
}

/** Several stores as one. */
export function all<T>(stores: readonly Store<T>[]): Store<readonly T[]> {
  let last: readonly T[] = none;
  return {
    get() {
      const next = stores.map((store) => store.get());
      if (next.some((value, at) => value !== last[at])) last = next;
      return last;
    },
    subscribe(listener) {
      const stops = stores.map((store) => store.subscribe(listener));
      return () => {
        for (const stop of stops) stop();
      };
    },
  };
}

/**
 * A store of a chat session that is joined while it has subscribers. The client joins and
 * leaves a moment later, so mounting twice at once tells the server nothing.
 */
export function joined<T>(client: PresenceClient, id: string, store: Store<T>): Store<T> {
  return {
    get: store.get,
    subscribe(listener) {
      client.joinChatSession(id);
      const stop = store.subscribe(listener);
      return () => {
        stop();
        client.leaveChatSession(id);
      };
    },
  };
}
