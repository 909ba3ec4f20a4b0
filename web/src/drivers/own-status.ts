import type { Clock, PresenceClient, UserPresence } from "../api.js";
import { createMachine } from "../core/machine.js";
import {
  nothingChosen,
  type OwnStatusState,
  ownStatusWakesAt,
  transitionOwnStatus,
} from "../core/own-status.js";
import { noLink, type PresenceError } from "../errors.js";
import type { ClientFrame } from "../protocol.js";
import { deferred } from "../timing.js";
import type { Link } from "./link.js";

/** The choice of one's own status: `core/own-status.ts` decides, this runs it. */
export interface OwnStatusDriver {
  state(): OwnStatusState;
  readonly setStatus: PresenceClient["setStatus"];
  ready(): void;
  disconnect(): void;
}

export interface OwnStatusContext {
  readonly clock: Clock;
  link(): Link | undefined;
  skewMs(): number;
  presence(): UserPresence | undefined;
  changed(): void;
}

export function createOwnStatus(on: OwnStatusContext): OwnStatusDriver {
  const { clock } = on;
  const { state, dispatch } = createMachine({
    clock,
    initial: nothingChosen,
    transition: transitionOwnStatus,
    wakeAt: ownStatusWakesAt,
    around: () => ({ now: clock.now(), hasLink: !!on.link(), presence: on.presence() }),
    effects: {
      async send(chosen) {
        const link = on.link();
        const { status, text, until } = chosen;
        const end = until && until + on.skewMs();
        const frame = { action: "status", status, text: text || undefined, until: end };
        try {
          if (!link) throw noLink();
          await link.ask(frame as ClientFrame);
          dispatch("answered", chosen);
        } catch (cause) {
          const error = link?.isDown() === false ? (cause as PresenceError) : undefined;
          dispatch("failed", chosen, error);
        }
      },
      resolve: (chosen, by) => chosen.resolve(by),
      reject: (chosen, error) => chosen.reject(error),
    },
    changed: on.changed,
  });
  return {
    state,
    setStatus(status, options) {
      const chosen = { ...deferred<void>(), ...options, status };
      dispatch("choose", chosen);
      return chosen.promise;
    },
    ready: () => dispatch("ready"),
    disconnect: () => dispatch("disconnect"),
  };
}
