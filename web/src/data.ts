/**
 * What data an application says of its users. Declare it, and every presence has that type:
 *
 * ```ts
 * declare module "@presence/client" {
 *   interface PresenceTypes {
 *     user: { name: string; avatar?: string };
 *   }
 * }
 * ```
 */
// biome-ignore lint/suspicious/noEmptyInterface: applications add to it
export interface PresenceTypes {}

/** Data of a user. No one but the application's own clients has looked at what comes in it. */
export type UserData = PresenceTypes extends { readonly user: infer T extends object }
  ? T
  : { readonly [name: string]: unknown };

/** A merge patch (RFC 7396): null takes a name away, objects are merged, all else replaces. */
export type Patch<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? { readonly [K in keyof T]?: Patch<T[K]> | null }
    : T;

export type UserDataPatch = Patch<UserData>;
