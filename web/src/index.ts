/**
 * The client of Presence, for any framework and for none.
 *
 * ```ts
 * const client = createPresenceClient({ apiUrl: "https://…", getToken: () => fetchToken() });
 * await client.authenticate("ada");
 * client.onlineUsers.subscribe(() => console.log(client.onlineUsers.get().userIds));
 * ```
 */
export type * from "./api.js";
export { createPresenceClient } from "./client.js";
export { PresenceError } from "./errors.js";
export type * as protocol from "./protocol.js";
export { browserLifecycle, fullJitter, systemClock } from "./surroundings.js";
