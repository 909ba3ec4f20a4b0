import type { Clock } from "./api.js";
import { PresenceError } from "./errors.js";

/** What is promised, or `timeout` when time is over. */
export function within<T>(
  clock: Clock,
  milliseconds: number,
  promised: T | Promise<T>,
): Promise<T> {
  let cancel = () => {};
  const late = new Promise<never>((_, reject) => {
    const over = new PresenceError("timeout", "No answer.");
    cancel = clock.after(milliseconds, () => reject(over));
  });
  return Promise.race([promised, late]).finally(cancel);
}
