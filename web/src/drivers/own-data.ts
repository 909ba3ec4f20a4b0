import type { Clock, PresenceClient } from "../api.js";
import { createMachine } from "../core/machine.js";
import { type DataChange, noChanges, transitionOwnData } from "../core/own-data.js";
import { noLink, type PresenceError } from "../errors.js";
import { deferred } from "../timing.js";
import type { Link } from "./link.js";

/** Changes of one's own data: `core/own-data.ts` decides, this runs it. */
export interface OwnDataDriver extends Pick<PresenceClient, "setData" | "patchData"> {
  ready(): void;
  over(error: PresenceError): void;
}

export interface OwnDataContext {
  readonly clock: Clock;
  link(): Link | undefined;
}

export function createOwnData({ clock, link: current }: OwnDataContext): OwnDataDriver {
  const { dispatch } = createMachine({
    clock,
    initial: noChanges,
    transition: transitionOwnData,
    wakeAt: () => Number.POSITIVE_INFINITY,
    around: () => ({ hasLink: !!current() }),
    effects: {
      async send(change) {
        const link = current();
        try {
          if (!link) throw noLink();
          await link.ask({ action: "data", ...change.said });
          dispatch("answered", change);
        } catch (cause) {
          const error = link?.isDown() === false ? (cause as PresenceError) : undefined;
          dispatch("failed", change, error);
        }
      },
      resolve: (change, by) => change.resolve(by),
      reject: (change, error) => change.reject(error),
    },
  });
  function change(said: DataChange["said"]): Promise<void> {
    const next = { ...deferred<void>(), said };
    dispatch("change", next);
    return next.promise;
  }
  return {
    setData: (data) => change({ data }),
    patchData: (patch) => change({ patch }),
    ready: () => dispatch("ready"),
    over: (error) => dispatch("over", error),
  };
}
