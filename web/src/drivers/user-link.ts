import type {
  Clock,
  ConnectionState,
  Lifecycle,
  PresenceClientOptions,
  Store,
  TokenProvider,
} from "../api.js";
import { createMachine } from "../core/machine.js";
import {
  type Result,
  transitionUserLink,
  type UserLinkEvent,
  userLinkWakesAt,
} from "../core/user-link.js";
import { SYNC_MS, type UserLinkEffects, unconnected } from "../core/user-link-steps.js";
import { asPresenceError, because, noSocket, type PresenceError } from "../errors.js";
import type { Http } from "../http.js";
import type { Authenticate, AuthenticationSuccess, Config, ServerFrame } from "../protocol.js";
import { view } from "../store.js";
import { type Deferred, deferred, within } from "../timing.js";
import { createTokens, type Tokens } from "../tokens.js";
import { type Link, type LinkEvents, MAX_LENGTH, openLink } from "./link.js";

export interface Surroundings
  extends Required<Pick<PresenceClientOptions, "WebSocket" | "random" | "backoff">> {
  readonly lifecycle: Lifecycle;
  readonly clock: Clock;
  readonly device?: string;
}

export interface UserLinkEvents extends Pick<LinkEvents, "isActive" | "wire"> {
  frame(frame: ServerFrame): void;
  /**
   * A link is in use, or its token was renewed. Unless `isNew`, no frame was missed; `since` is when
   * the link before went down, or 0.
   */
  ready(link: Link, terms: AuthenticationSuccess, isNew: boolean, since: number): void;
  /** The chat sessions to be in, as a new link names them when it is authenticated. */
  entering(): readonly string[];
  entered(link: Link, terms: AuthenticationSuccess): void;
  /** Tells a link all that is wanted of the server, and resolves when it is answered. */
  sync(link: Link): Promise<unknown>;
  /** There is no link any more: what is known may be out of date from now on. */
  lost(): void;
  /** What the app, or a person, has to change. */
  problem(error: PresenceError): void;
}

/** Keeps one user connected over many sockets: `core/user-link.ts` decides, this runs it. */
export interface UserLink {
  readonly state: Store<ConnectionState>;
  /** The link in use, or undefined. */
  link(): Link | undefined;
  config(): Config | undefined;
  /** Of the user that is to be connected, or undefined. */
  tokens(): Tokens | undefined;
  userId(): string | undefined;
  /** How far the server's clock is ahead, in milliseconds. */
  skewMs(): number;
  /** When the link went down, by the server's clock; 0 while there is one. */
  lostAt(): number;
  authenticate(userId: string, source: string | TokenProvider): Promise<AuthenticationSuccess>;
  retryNow(): void;
  disconnect(atOnce?: boolean): void;
}

/** What the effects work on. */
interface Held {
  readonly links: Map<number, Link>;
  tokens?: Tokens | undefined;
  welcome: Deferred<AuthenticationSuccess>;
  unsubscribe(): void;
}

type Dispatch = (...event: UserLinkEvent) => void;

/** As many chat sessions as the frame can name, whose id is not in it yet; the rest joins later. */
function fitting(frame: Authenticate, all: readonly string[]): readonly string[] {
  let left = MAX_LENGTH - JSON.stringify({ ...frame, id: "", chatSessionIds: [] }).length - 20;
  return all.filter(({ length }) => {
    left -= length + 3;
    return left >= 0;
  });
}

/** How soon the first ping will come: a hidden page says so with its token. */
function heartbeat(isActive: boolean, { heartbeatSeconds, backgroundHeartbeatSeconds }: Config) {
  const seconds = isActive ? heartbeatSeconds : backgroundHeartbeatSeconds;
  return seconds ? { heartbeatSeconds: seconds } : {};
}

/** It may have been rejected before: there was no token for a time. */
function welcome(held: Held, terms: AuthenticationSuccess): void {
  held.welcome.resolve(terms);
  held.welcome = deferred();
  held.welcome.resolve(terms);
}

/** Runs what may fail, and sends what came of the attempt. */
const reporting =
  (dispatch: Dispatch) =>
  async (attempt: number, run: () => Promise<Result>): Promise<void> => {
    const result = await run().catch(
      (cause): Result => [
        "failed",
        attempt,
        asPresenceError(cause, "not-connected", `No link${because(cause)}`),
      ],
    );
    dispatch(...result);
  };

function createEffects(
  around: Surroundings,
  http: Http,
  on: UserLinkEvents,
  held: Held,
  dispatch: Dispatch,
): UserLinkEffects {
  const { links } = held;
  const link = (id: number) => links.get(id) as Link;
  const report = reporting(dispatch);

  return {
    configure: (attempt) =>
      report(attempt, async () => {
        if (!around.WebSocket) throw noSocket();
        return ["configured", attempt, await http.config(held.tokens?.signal)];
      }),
    provideToken: (attempt, reason) =>
      report(attempt, async () => ["provided", attempt, await (held.tokens as Tokens).get(reason)]),
    open: (attempt, url, token) =>
      report(attempt, async () => {
        const opened = openLink(url, around.WebSocket, around.clock, {
          ...on,
          frame: (frame) => dispatch("received", attempt, frame),
          down: (reason) => dispatch("down", attempt, reason),
        });
        links.set(attempt, opened);
        await opened.opened;
        return ["opened", attempt, token];
      }),
    authenticate: (attempt, id, token, config) =>
      report(attempt, async () => {
        const about = { userId: held.tokens?.userId, device: around.device };
        const renewal = { action: "authenticate", token, ...about } as Authenticate;
        if (attempt !== id) return ["authenticated", attempt, await link(id).ask(renewal)];
        const active = on.isActive();
        const frame = { ...renewal, active, ...heartbeat(active, config) } as Authenticate;
        const chatSessionIds = fitting(frame, on.entering());
        const terms = await link(id).ask<AuthenticationSuccess>({ ...frame, chatSessionIds });
        on.entered(link(id), terms);
        return ["authenticated", attempt, terms];
      }),
    sync: (attempt, terms) =>
      report(attempt, async () => {
        await within(around.clock, SYNC_MS, on.sync(link(attempt))).catch(() => {});
        return ["synced", attempt, terms];
      }),
    close(id) {
      links.get(id)?.close();
      links.delete(id);
    },
    probe: (id) => links.get(id)?.beat(true),
    deliver: on.frame,
    goodUntil: (at) => held.tokens?.isGoodUntil(at),
    ready(id, terms, isNew, since) {
      link(id).keepAlive(terms);
      on.ready(link(id), terms, isNew, since);
    },
    renewed(id, terms) {
      const { joined } = link(id);
      for (const it of joined) if (!terms.chatSessions.includes(it)) joined.delete(it);
      on.ready(link(id), terms, false, 0);
    },
    lost: on.lost,
    resolve: (terms) => welcome(held, terms),
    reject: (error) => held.welcome.reject(error),
    problem: on.problem,
    end: () => held.unsubscribe(),
  };
}

export function createUserLink(around: Surroundings, http: Http, on: UserLinkEvents): UserLink {
  const { clock, lifecycle, random, backoff } = around;
  const held: Held = { links: new Map(), welcome: deferred(), unsubscribe() {} };
  const { state, dispatch } = createMachine({
    clock,
    initial: unconnected,
    transition: transitionUserLink,
    wakeAt: userLinkWakesAt,
    around: () => ({
      now: clock.now(),
      isOnline: lifecycle.isOnline(),
      canRenew: !!held.tokens?.canRenew,
      random: random(),
      backoff,
    }),
    effects: createEffects(around, http, on, held, (...event) => dispatch(...event)),
    changed(after, before) {
      if (after.connection !== before.connection) shown.changed();
    },
  });
  const shown = view(() => state().connection);

  return {
    state: { ...shown, get: () => state().connection }, // also for who hears of a problem first
    link: () => held.links.get(state().current),
    config: () => state().config,
    tokens: () => held.tokens,
    userId: () => held.tokens?.userId,
    skewMs: () => state().skewMs,
    lostAt: () => state().lostAt,
    authenticate(userId, source) {
      const { tokens, welcome } = held;
      const isSame = tokens?.userId === userId && state().connection.name !== "failed";
      if (isSame && tokens.source === source) return welcome.promise;
      tokens?.cancel();
      held.tokens = createTokens(userId, source, clock);
      held.welcome = deferred();
      welcome.resolve(held.welcome.promise);
      held.unsubscribe();
      held.unsubscribe = lifecycle.subscribe((what) => dispatch("lifecycle", what));
      dispatch("authenticate", isSame);
      return held.welcome.promise;
    },
    retryNow: () => dispatch("retry"),
    disconnect(atOnce) {
      held.tokens?.cancel();
      held.tokens = undefined;
      const { current } = state();
      const link = held.links.get(current);
      if (atOnce && link) {
        // Answered before the socket closes: else its end may be handled first, with a grace period.
        held.links.delete(current);
        const close = () => link.close();
        link.ask({ action: "leave" }).then(close, close);
      }
      dispatch("disconnect");
    },
  };
}
