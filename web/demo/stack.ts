/** Whether the local stack answers. It is asked only while some device has trouble. */

import { Observable } from "./observable.js";

const PAUSE_MS = 1_000;
const ANSWER_MS = 5_000;

export class StackHealth {
  readonly isDown = new Observable(false);

  /**
   * @param isNeeded whether there is a reason to ask
   * @param isBack is called when it answers again
   */
  async watch(isNeeded: () => boolean, isBack: () => void): Promise<void> {
    for (;;) {
      const wasDown = this.isDown.get();
      if (wasDown || isNeeded()) this.isDown.set(!(await answers()));
      if (wasDown && !this.isDown.get()) isBack();
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

function answers(): Promise<boolean> {
  return fetch("/dev/stack", { signal: AbortSignal.timeout(ANSWER_MS) }).then(
    (answer) => answer.ok,
    () => false,
  );
}
