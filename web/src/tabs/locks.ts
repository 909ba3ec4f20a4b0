import type { LocksLike } from "./api.js";

/** The locks of one tab in its group. */
export interface TabLocks {
  /** Waits for the group's lock. */
  contend(): void;
  /** Takes it from the tab that has it. */
  steal(): void;
  /** Gives it back, or waits for it no longer, and observes no tab any more. */
  release(): void;
  /** Says when that tab is gone: closed or crashed, the browser gives back its own lock. */
  observe(tab: string): void;
  /** Gives the tab's own lock back, too. */
  end(): void;
}

export interface TabLocksEvents {
  /** The tab's own lock is held. */
  entered(): void;
  granted(): void;
  robbed(): void;
  refused(): void;
  gone(tab: string): void;
}

export function createTabLocks(
  locks: LocksLike,
  group: string,
  tab: string,
  on: TabLocksEvents,
): TabLocks {
  const own = new AbortController();
  /** The group's lock, held or waited for; and those of other tabs that are waited for. */
  let current = new AbortController();
  const observed = new Set<AbortController>();

  /** Holds it from when it is granted until the signal. */
  function hold(
    name: string,
    { signal }: AbortController,
    granted: () => void,
    lost: (error: Error) => void,
    isStolen = false,
  ): void {
    let isHeld = false;
    const until = () => {
      isHeld = true;
      granted();
      return new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        signal.addEventListener("abort", () => resolve());
      });
    };
    const asked = async () => locks.request(name, isStolen ? { steal: true } : { signal }, until);
    asked().catch((error: Error) => {
      if (signal.aborted) return;
      if (isHeld) on.robbed();
      else lost(error);
    });
  }

  function take(isStolen: boolean): void {
    hold(group, current, on.granted, on.refused, isStolen);
  }

  function release(): void {
    for (const it of [current, ...observed]) it.abort();
    current = new AbortController();
    observed.clear();
  }

  hold(`${group} ${tab}`, own, on.entered, on.refused);
  return {
    contend: () => take(false),
    steal() {
      release();
      take(true);
    },
    release,
    observe(other) {
      const waiting = new AbortController();
      const gone = () => {
        observed.delete(waiting);
        waiting.abort(); // the lock is not kept
        on.gone(other);
      };
      observed.add(waiting);
      hold(`${group} ${other}`, waiting, gone, () => {});
    },
    end() {
      release();
      own.abort();
    },
  };
}
