import type { Clock, Lifecycle, UserPresence } from "./api.js";
import type { Link } from "./drivers/link.js";
import { disconnected, noLink, type PresenceError } from "./errors.js";
import type { PresenceStore } from "./presence-store.js";
import type { Verified } from "./protocol.js";
import { inPages } from "./store.js";
import { createTimer, type Deferred, deferred, type Timer } from "./timing.js";

/** As many users as a frame may ask for. */
const MOST = 10;
/** When a user whose answer is awaited is asked for again, after the first time. */
const AGAIN_MS = [700, 2_000];

interface Question {
  readonly since: number;
  readonly answer: Deferred<UserPresence>;
  /** How often it was asked again. */
  again: number;
  readonly timer: Timer;
}

/** Asks whether users are there now, and again until they have answered or are offline. */
export interface Verifying {
  /** Resolves when it is known of all of them, in the order asked. */
  verify(userIds: readonly string[]): Promise<readonly UserPresence[]>;
  /** The same at once, for each new link, and when the page is shown again, until it is stopped. */
  lookAt(userIds: readonly string[]): () => void;
  /** A new link is in use. */
  ready(): void;
  /** Nothing will be known any more. */
  over(): void;
}

export interface VerifyingContext {
  readonly clock: Clock;
  readonly lifecycle: Lifecycle;
  readonly presences: PresenceStore;
  link(): Link | undefined;
  settle(): void;
}

/** Users who are asked for, each once however many want to know. */
function createQuestions(on: VerifyingContext) {
  const { clock, presences } = on;
  const questions = new Map<string, Question>();
  /** To be asked for when all that is asked at this moment is known. */
  const due = new Set<string>();

  function ask(userId: string): void {
    if (!due.size) queueMicrotask(askAll);
    due.add(userId);
  }

  function askAll(): void {
    const userIds = [...due];
    due.clear();
    inPages(userIds, MOST, askSome);
  }

  async function askSome(userIds: string[]): Promise<void> {
    try {
      const link = on.link();
      if (!link) throw noLink();
      const told = await link.ask<Verified>({ action: "verify", userIds });
      presences.apply(told.users);
      on.settle(); // it may be a user of whom no change is told
      for (const id of userIds) answered(id, told);
    } catch (refusal) {
      refuse(userIds, refusal as PresenceError);
    }
  }

  function refuse(userIds: Iterable<string>, error: PresenceError): void {
    for (const id of userIds) taken(id)?.answer.reject(error);
  }

  function answered(userId: string, { awaited, probeSeconds }: Verified): void {
    const question = questions.get(userId);
    const afterMs = [...AGAIN_MS, (probeSeconds + 1) * 1000][question?.again ?? 0];
    if (question && awaited.includes(userId) && afterMs) {
      question.again += 1;
      question.timer.start(question.since + afterMs - clock.now(), () => ask(userId));
    } else {
      taken(userId)?.answer.resolve(presences.store(userId).get() as UserPresence);
    }
  }

  function taken(userId: string): Question | undefined {
    const question = questions.get(userId);
    questions.delete(userId);
    question?.timer.stop();
    return question;
  }

  function question(userId: string): Promise<UserPresence> {
    const known = questions.get(userId);
    if (known) return known.answer.promise;
    const timer = createTimer(clock);
    const begun = { since: clock.now(), answer: deferred<UserPresence>(), again: 0, timer };
    questions.set(userId, begun);
    ask(userId);
    return begun.answer.promise;
  }

  return { question, over: () => refuse(questions.keys(), disconnected()) };
}

export function createVerifying(on: VerifyingContext): Verifying {
  const { question, over } = createQuestions(on);
  const looks = new Set<readonly string[]>();
  let unsubscribe = () => {};

  const look = (userIds: readonly string[]) => {
    if (on.link()) for (const id of userIds) void question(id);
  };
  const lookAgain = () => looks.forEach(look);

  return {
    verify: (userIds) => Promise.all(userIds.map(question)),
    lookAt(userIds) {
      const entry = [...userIds]; // the same list may be looked at twice
      if (!looks.size)
        unsubscribe = on.lifecycle.subscribe((event) => {
          if (event === "visible") lookAgain();
        });
      looks.add(entry);
      look(entry);
      return () => {
        if (looks.delete(entry) && !looks.size) unsubscribe();
      };
    },
    ready: lookAgain,
    over,
  };
}
