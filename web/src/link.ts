import type { Clock, DropReason, SocketLike, Stats } from "./api.js";
import { ANSWER_MS, within } from "./deadline.js";
import { type Deferred, deferred } from "./deferred.js";
import { fromFrame, noAnswer, noLink, type PresenceError } from "./errors.js";
import type {
  Ack,
  AuthenticationSuccess,
  ClientFrame,
  ErrorFrame,
  ServerFrame,
} from "./protocol.js";
import { createTimer } from "./timer.js";

const PONG_MS = 5_000;

/** One socket, from opening it until it is down. A link that is down never comes back. */
export interface Link {
  /** What the server has been told through this link: both end with it. */
  readonly joined: Set<string>;
  readonly watched: Set<string>;
  /** Resolves when the socket is open; rejects with `not-connected` or `timeout`. */
  readonly opened: Promise<void>;
  isDown(): boolean;
  send(frame: ClientFrame): void;
  /** Rejects with the refusal; `timeout` also if the link goes down meanwhile. */
  ask<T extends ServerFrame>(frame: ClientFrame, answerMs?: number): Promise<T>;
  /** Begins to keep the lease, as the server wants it. */
  keepAlive(terms: AuthenticationSuccess): void;
  /**
   * Keeps the lease, and says whether a person is at the device. If nothing came for so long, half
   * the lease if nothing is said, it finds out whether anything comes through still.
   */
  beat(quietMs?: number): void;
  stats(): Pick<Stats, "roundTripMs" | "leaseEndsAt">;
  /** Ends the link without a word to `down`. */
  close(): void;
}

export interface LinkEvents {
  /** Whether a person is at the device. */
  isActive(): boolean;
  frame(frame: ServerFrame, link: Link): void;
  down(reason: DropReason, link: Link): void;
  wire(direction: "in" | "out", frame: ClientFrame | ServerFrame): void;
}

export function openLink(
  url: string,
  WebSocket: new (url: string) => SocketLike,
  clock: Clock,
  on: LinkEvents,
): Link {
  const socket = new WebSocket(url);
  const questions = new Map<string, Deferred<ServerFrame>>();
  const opened = deferred<void>();
  const timer = createTimer(clock);
  let count = 0;
  let isDown = false;
  let heardAt = clock.now();
  let leaseFrom = heardAt;
  let leaseMs = Number.POSITIVE_INFINITY;
  let heartbeatMs = 0;
  let roundTripMs: number | undefined;

  function close(): void {
    isDown = true;
    timer.stop();
    socket.onmessage = null; // not `onerror`: in Node, an error that nobody hears ends the process
    socket.close(1000);
    opened.reject(noLink());
    for (const it of questions.values()) it.reject(noAnswer());
  }

  function drop(reason: DropReason): void {
    if (isDown) return;
    close();
    on.down(reason, link);
  }

  async function ask(frame: ClientFrame, answerMs = ANSWER_MS): Promise<ServerFrame> {
    if (isDown) throw noLink();
    const askedAt = clock.now();
    count += 1;
    const id = `${count}`;
    const question = deferred<ServerFrame>();
    questions.set(id, question);
    send({ ...frame, id });
    try {
      const answer = await within(clock, answerMs, question.promise);
      roundTripMs = heardAt - askedAt;
      if ("code" in answer) throw fromFrame(answer);
      // What was served has renewed the lease, and it counts from when it was sent.
      leaseFrom = Math.max(leaseFrom, askedAt);
      return answer;
    } catch (error) {
      if ((error as PresenceError).code === "timeout" && heardAt <= askedAt) drop("silence");
      throw error;
    } finally {
      questions.delete(id);
    }
  }

  function send(frame: ClientFrame): void {
    if (isDown) return;
    on.wire("out", frame);
    socket.send(JSON.stringify(frame));
  }

  function beat(quietMs = leaseMs / 2): void {
    const now = clock.now();
    const ping = { action: "ping", active: on.isActive() } as const;
    if (now - leaseFrom > leaseMs) {
      drop("sleep");
      return;
    }
    leaseFrom = now;
    // A link that died is noticed before the lease ends, without a pong for every ping.
    if (now - heardAt >= quietMs) ask(ping, Math.min(PONG_MS, leaseMs / 4)).catch(() => {});
    else send(ping);
  }

  function heartbeat(): void {
    if (clock.now() - leaseFrom >= heartbeatMs) beat();
    if (!isDown) timer.start(leaseFrom + heartbeatMs - clock.now(), heartbeat);
  }

  socket.onopen = () => opened.resolve();
  socket.onclose = socket.onerror = () => drop("network");
  socket.onmessage = ({ data }) => {
    heardAt = clock.now();
    const frame = read(data);
    if (!frame) return;
    on.wire("in", frame);
    on.frame(frame, link);
    // The socket is open, the connection is over: nothing sent through it keeps anybody online.
    if ((frame as ErrorFrame).code === "not-authenticated") drop("server");
    questions.get((frame as Ack).id)?.resolve(frame);
  };

  const link: Link = {
    joined: new Set(),
    watched: new Set(),
    opened: within(clock, ANSWER_MS, opened.promise),
    isDown: () => isDown,
    send,
    ask: ask as Link["ask"],
    keepAlive(terms) {
      heartbeatMs = terms.heartbeatSeconds * 1000;
      leaseMs = terms.leaseSeconds * 1000;
      heartbeat();
    },
    beat,
    stats: () => ({ roundTripMs, leaseEndsAt: leaseFrom + leaseMs }),
    close,
  };
  return link;
}

/** A frame of ours. API Gateway's own (`message` without `type`) and what is no JSON are not. */
function read(data: unknown): ServerFrame | undefined {
  try {
    const frame = JSON.parse(String(data));
    return frame?.type && frame;
  } catch {
    // no JSON, so not ours
  }
}
