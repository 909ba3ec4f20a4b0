/** What happens around a page, said by a test. */

import type { Lifecycle, LifecycleEvent } from "../api.js";

export class FakeLifecycle implements Lifecycle {
  #isOnline = true;
  #isVisible = true;
  readonly #listeners = new Set<(event: LifecycleEvent) => void>();

  isOnline(): boolean {
    return this.#isOnline;
  }

  isVisible(): boolean {
    return this.#isVisible;
  }

  subscribe(listener: (event: LifecycleEvent) => void): () => void {
    const own = (event: LifecycleEvent) => listener(event);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  /** How many listen; a client that has been closed leaves none behind. */
  get listenerCount(): number {
    return this.#listeners.size;
  }

  /** Tells it, whatever was before; what it says about the page is so from then on. */
  emit(event: LifecycleEvent): void {
    if (event === "online" || event === "offline") this.#isOnline = event === "online";
    if (event === "visible" || event === "hidden") this.#isVisible = event === "visible";
    for (const listener of [...this.#listeners]) listener(event);
  }

  /** What the browser believes; the network itself is `FakeNetwork`. Tells it if it changes. */
  setOnline(isOnline: boolean): void {
    if (isOnline !== this.#isOnline) this.emit(isOnline ? "online" : "offline");
  }

  setVisible(isVisible: boolean): void {
    if (isVisible !== this.#isVisible) this.emit(isVisible ? "visible" : "hidden");
  }
}
