import type { Clock } from "./api.js";
import { noAnswer } from "./errors.js";

/** How long a socket may take to open, and an answer to come. */
export const ANSWER_MS = 10_000;

/** What is promised, or `timeout` when time is over. */
export function within<T>(
  clock: Clock,
  milliseconds: number,
  promised: T | Promise<T>,
): Promise<T> {
  let cancel = () => {};
  const late = new Promise<never>((_, reject) => {
    cancel = clock.after(milliseconds, () => reject(noAnswer()));
  });
  return Promise.race([promised, late]).finally(cancel);
}
