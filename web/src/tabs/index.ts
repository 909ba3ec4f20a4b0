/**
 * One connection for all tabs of a browser: `createSharedClient` in the place of
 * `createPresenceClient`, with the same promises.
 *
 * ```ts
 * const client = createSharedClient({ apiUrl: "https://…", getToken: () => fetchToken() });
 * await client.authenticate("ada");
 * client.tabs.get(); // { role: "leader", count: 1 }
 * ```
 */
export type * from "./api.js";
export { createSharedClient } from "./client.js";
