import type { Clock, PresenceClient, UserPresence } from "../api.js";
import { createMachine } from "../core/machine.js";
import {
  type Chosen,
  nothingChosen,
  type OwnStatusState,
  ownStatusWakesAt,
  transitionOwnStatus,
} from "../core/own-status.js";
import { noLink, type PresenceError } from "../errors.js";
import type { ClientFrame } from "../protocol.js";
import { deferred } from "../timing.js";
import type { Link } from "./link.js";

/** How long a choice may take to be sent before it is said when it was made. */
const WAITED_MS = 1_000;

/** The choice of one's own status: `core/own-status.ts` decides, this runs it. */
export interface OwnStatusDriver {
  state(): OwnStatusState;
  readonly setStatus: PresenceClient["setStatus"];
  ready(): void;
  /** Rejects what waits: there will be no link. */
  over(error: PresenceError): void;
}

export interface OwnStatusContext {
  readonly clock: Clock;
  link(): Link | undefined;
  skewMs(): number;
  presence(): UserPresence | undefined;
  changed(): void;
}

function frameOf(
  { status, text, until, chosenAt, showLastSeen }: Chosen,
  now: number,
  skewMs: number,
) {
  return {
    action: "status",
    status,
    text: text || undefined,
    until: until && until + skewMs,
    // One that waited gives way to a newer one. At once it needs no time, and clocks differ.
    chosenAt: now - chosenAt > WAITED_MS ? chosenAt + skewMs : undefined,
    showLastSeen,
  };
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
        const frame = frameOf(chosen, clock.now(), on.skewMs());
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
      const chosen = { ...deferred<void>(), ...options, status, chosenAt: clock.now() };
      dispatch("choose", chosen);
      return chosen.promise;
    },
    ready: () => dispatch("ready"),
    over: (error) => dispatch("over", error),
  };
}
