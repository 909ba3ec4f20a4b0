/** What `@presence/client/tabs` promises. */

import type { Listener, PresenceClient, PresenceClientOptions, Store } from "../api.js";

/** As much of the browser's BroadcastChannel as is used. */
export interface ChannelLike {
  onmessage: Listener<{ readonly data: unknown }>;
  postMessage(message: unknown): void;
  close(): void;
}

/** As much of the browser's LockManager as is used: https://www.w3.org/TR/web-locks/ */
export interface LocksLike {
  request(
    name: string,
    options: { readonly signal?: AbortSignal; readonly steal?: boolean },
    granted: () => Promise<void>,
  ): Promise<unknown>;
}

export interface SharedClientOptions extends PresenceClientOptions {
  /** Those of the browser, if left out. */
  readonly locks?: LocksLike | undefined;
  readonly BroadcastChannel?: (new (name: string) => ChannelLike) | undefined;
}

export type TabRole =
  /** It is not connected, or no leader was heard yet. */
  | "waiting"
  /** The connection is in this tab. */
  | "leader"
  /** The connection is in another tab. */
  | "follower"
  /** It has a connection of its own: the browser cannot share one. */
  | "alone";

export interface Tabs {
  readonly role: TabRole;
  /** How many tabs share the connection, as far as this one knows; itself included. */
  readonly count: number;
}

export interface SharedClient extends PresenceClient {
  readonly tabs: Store<Tabs>;
}
