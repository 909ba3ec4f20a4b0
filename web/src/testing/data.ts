/** Data of a user, kept as compact JSON: `domain/data.py` of the server. */

import { Refusal } from "./refusal.js";
import { byteLength, type Fields, invalid, isObject } from "./requests.js";

const MAX_DATA_BYTES = 1024;
const NO_DATA = "{}";

/** The object as it is kept. Throws a Refusal if that is too large. */
export function compact(value: object): string {
  const text = encoded(value);
  if (byteLength(text) <= MAX_DATA_BYTES) return text;
  throw new Refusal("payload-too-large", `Keep data within ${MAX_DATA_BYTES} bytes of JSON.`);
}

/** With sorted names, so that the same object is the same text. */
export function encoded(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(encoded).join(",")}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${encoded(value[name])}`).join(",")}}`;
}

/** The data after a merge patch (RFC 7396). */
export function patched(data: string | null, patch: string): string {
  return compact(merged(JSON.parse(data ?? NO_DATA), JSON.parse(patch)));
}

function merged(target: unknown, patch: Fields): Fields {
  const names = new Map(isObject(target) ? Object.entries(target) : []);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) names.delete(name);
    else names.set(name, isObject(value) ? merged(names.get(name), value) : value);
  }
  return Object.fromEntries(names);
}

/** With these data instead; null keeps them, and those without a name are none. */
export function withData<T extends { readonly data: string | null }>(of: T, data: string | null) {
  return data === null ? of : { ...of, data: data === NO_DATA ? null : data };
}

// What a client's frame says of data.

/** Data as they are kept; null if the client does not say any. */
export function optionalData({ data = null }: Fields): string | null {
  return data === null ? null : compact(object("data", data));
}

/** New data, or a patch of them. */
export interface DataRequest {
  readonly data: string;
  readonly isPatch: boolean;
}

export function dataRequest({ data = null, patch = null }: Fields): DataRequest {
  if (patch === null) return { data: compact(object("data", data)), isPatch: false };
  if (data === null) return { data: encoded(object("patch", patch)), isPatch: true };
  throw invalid("patch has to be left out beside data.");
}

function object(name: string, value: unknown): Fields {
  if (isObject(value)) return value;
  throw invalid(`${name} has to be a JSON object.`);
}
