import type { Clock, DropReason, SocketLike, Stats } from "../api.js";
import { linkWakesAt, openingLink, transitionLink } from "../core/link.js";
import { createMachine } from "../core/machine.js";
import { asPresenceError, noLink, noSocket, PresenceError } from "../errors.js";
import type { AuthenticationSuccess, ClientFrame, ServerFrame } from "../protocol.js";
import { ANSWER_MS, type Deferred, deferred, within } from "../timing.js";

/** One socket: `core/link.ts` decides, this runs it. */
export interface Link {
  /** What the server has been told through this link: both end with it. */
  readonly joined: Set<string>;
  readonly watched: Set<string>;
  /** Whether the server takes several chat sessions in one frame; told when it is authenticated. */
  takesLists: boolean;
  /** Resolves when the socket is open; rejects with `not-connected` or `timeout`. */
  readonly opened: Promise<void>;
  isDown(): boolean;
  send(frame: ClientFrame): void;
  /** Rejects with the refusal; `timeout` also if the link goes down meanwhile. */
  ask<T extends ServerFrame>(frame: ClientFrame): Promise<T>;
  /** Begins to keep the lease, as the server wants it. */
  keepAlive(terms: AuthenticationSuccess): void;
  /** Renews the lease, says whether the user is at the device, and asks for an answer if doubted. */
  beat(isDoubted?: boolean): void;
  stats(): Pick<Stats, "roundTripMs" | "leaseEndsAt">;
  /** Ends the link; `down` is not called. */
  close(): void;
}

export interface LinkEvents {
  /** Whether the user is at the device. */
  isActive(): boolean;
  frame(frame: ServerFrame): void;
  down(reason: DropReason): void;
  wire(direction: "in" | "out", frame: ClientFrame | ServerFrame): void;
}

function open(url: string, WebSocket: new (url: string) => SocketLike): SocketLike {
  try {
    return new WebSocket(url);
  } catch (cause) {
    throw noSocket(cause);
  }
}

export function openLink(
  url: string,
  WebSocket: new (url: string) => SocketLike,
  clock: Clock,
  on: LinkEvents,
): Link {
  const socket = open(url, WebSocket);
  const opened = deferred<void>();
  const { state, dispatch } = createMachine({
    clock,
    initial: openingLink(clock.now()),
    transition: transitionLink,
    wakeAt: linkWakesAt,
    around: () => ({ now: clock.now(), isActive: on.isActive() }),
    effects: {
      transmit(frame) {
        on.wire("out", frame);
        socket.send(JSON.stringify(frame));
      },
      deliver(frame) {
        on.wire("in", frame);
        on.frame(frame);
      },
      resolve: (answer, frame) => answer?.resolve(frame),
      reject: (answer, error) => answer?.reject(error),
      closeSocket() {
        socket.onmessage = null; // not `onerror`: in Node, an unhandled error ends the process
        socket.close(1000);
        opened.reject(noLink());
      },
      down: on.down,
    },
  });
  socket.onopen = () => opened.resolve();
  socket.onclose = socket.onerror = () => dispatch("closed", "network");
  socket.onmessage = ({ data }) => dispatch("received", read(data));

  return {
    joined: new Set(),
    watched: new Set(),
    takesLists: false,
    opened: within(clock, ANSWER_MS, opened.promise),
    isDown: () => state().isDown,
    send: (frame) => dispatch("send", frame),
    ask(frame) {
      const answer = deferred<never>();
      const error = unsendable(frame);
      if (error) answer.reject(error);
      else dispatch("ask", frame, answer as Deferred<never> as Deferred<ServerFrame>);
      return answer.promise;
    },
    keepAlive: (terms) => dispatch("accepted", terms),
    beat: (isDoubted) => dispatch("beat", isDoubted),
    stats() {
      const { roundTripMs, leaseFrom, leaseMs } = state();
      return { roundTripMs, leaseEndsAt: leaseFrom + leaseMs };
    },
    close: () => dispatch("closed"),
  };
}

/** The server takes 8 KiB; API Gateway closes the connection for a frame beyond 32. */
export const MAX_LENGTH = 8192;

/** Why a frame cannot be sent at all, if it cannot. */
function unsendable(frame: ClientFrame): PresenceError | undefined {
  try {
    if (JSON.stringify(frame).length > MAX_LENGTH)
      return new PresenceError("payload-too-large", "Send at most 8 KiB.");
  } catch (cause) {
    return asPresenceError(cause, "invalid-message", "Send JSON.");
  }
}

/** A frame of ours; what API Gateway says by itself (`message` without `type`) is an error. */
function read(data: unknown): ServerFrame | undefined {
  try {
    const frame = JSON.parse(String(data));
    const message = frame?.message;
    return frame?.type ? frame : message && { type: "error", code: "unavailable", message };
  } catch {
    // no JSON, so not ours
  }
}
