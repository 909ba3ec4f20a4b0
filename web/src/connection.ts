import type {
  Clock,
  ConnectionState,
  DropReason,
  Lifecycle,
  LifecycleEvent,
  PresenceClientOptions,
  Store,
  TokenProvider,
  TokenReason,
} from "./api.js";
import { type Deferred, deferred } from "./deferred.js";
import { asPresenceError, disconnected, PresenceError } from "./errors.js";
import type { Http } from "./http.js";
import { type Link, openLink } from "./link.js";
import type {
  AuthenticationSuccess,
  ClientFrame,
  Closing,
  Config,
  ServerFrame,
} from "./protocol.js";
import { view } from "./store.js";
import { createTimer, pause } from "./timer.js";
import { createTokens, type Tokens } from "./tokens.js";

/** Who was connected for so long is not in trouble: the next attempts begin with the shortest. */
const STABLE_MS = 10_000;
const SYNC_MS = 5_000;
const AHEAD_MS = 60_000;
const AGAIN_MS = 5_000;
/** How long before the end of something the next one is made. */
const ahead = (leftMs: number) => Math.min(AHEAD_MS, leftMs / 4);

export interface Surroundings
  extends Required<Pick<PresenceClientOptions, "WebSocket" | "random" | "backoff">> {
  readonly lifecycle: Lifecycle;
  readonly clock: Clock;
  readonly device?: string;
}

export interface ConnectionEvents {
  isActive(): boolean;
  frame(frame: ServerFrame): void;
  wire(direction: "in" | "out", frame: ClientFrame | ServerFrame): void;
  /** A link is in use. `isHandover`: it took over from another one, and nothing was missed. */
  ready(link: Link, terms: AuthenticationSuccess, isHandover: boolean): void;
  /** Tells a link all that is wanted of the server, and resolves when it is answered. */
  sync(link: Link): Promise<unknown>;
  /** There is no link any more: what is known may be out of date from now on. */
  lost(): void;
}

/** Keeps one user connected, whatever happens to the links. */
export interface Connection {
  readonly state: Store<ConnectionState>;
  /** The link in use, or undefined. */
  link(): Link | undefined;
  config(): Config | undefined;
  /** Of whoever is to be connected, or undefined. */
  tokens(): Tokens | undefined;
  userId(): string | undefined;
  authenticate(userId: string, source: string | TokenProvider): Promise<AuthenticationSuccess>;
  retryNow(): void;
  disconnect(): void;
}

export function createConnection(
  { clock, lifecycle, random, backoff, WebSocket, device }: Surroundings,
  http: Http,
  on: ConnectionEvents,
): Connection {
  let now: ConnectionState = { name: "idle" };
  const state = view(() => now);
  const retry = createTimer(clock);
  const renewal = createTimer(clock);
  const succession = createTimer(clock);
  let tokens: Tokens | undefined;
  let config: Config | undefined;
  let current: Link | undefined;
  let opening: Link | undefined;
  /** The last one: what was asked through it may still be answered. */
  let former: Link | undefined;
  let welcome: Deferred<AuthenticationSuccess> = deferred();
  /** Raised when what is under way is not wanted any more. */
  let turn = 0;
  let attempt = 0;
  let readyAt = Number.POSITIVE_INFINITY;
  let reason: TokenReason = "first";
  let unsubscribe = () => {};

  /** When what may fail in the background is tried again. */
  const soon = () => AGAIN_MS * (0.5 + random());

  function become(next: ConnectionState): void {
    now = next;
    state.changed();
  }

  /** Ends whatever is under way; returns the number of the new turn. */
  function begin(): number {
    retry.stop();
    renewal.stop();
    succession.stop();
    opening?.close();
    former?.close();
    opening = former = undefined;
    const lost = current;
    current = undefined;
    turn += 1;
    if (lost) {
      lost.close();
      on.lost();
    }
    return turn;
  }

  /** Whoever is to be connected; throws if that has changed since. */
  function wanted(mine: number): Tokens {
    if (mine !== turn || !tokens) throw disconnected();
    return tokens;
  }

  async function tokenFor(mine: number, why: TokenReason): Promise<string> {
    const token = await wanted(mine).get(why);
    wanted(mine);
    return token;
  }

  async function connect(): Promise<void> {
    const mine = begin();
    if (!lifecycle.isOnline()) {
      become({ name: "offline" });
      return;
    }
    become({ name: "connecting" });
    try {
      const opened = await open(mine);
      wanted(mine);
      adopt(...opened);
    } catch (error) {
      if (mine === turn) stumble(asPresenceError(error, "not-connected", "No link."));
    }
  }

  async function open(mine: number): Promise<[Link, AuthenticationSuccess]> {
    config ??= await http.config();
    const token = await tokenFor(mine, reason);
    const link = openLink(config.webSocketUrl, WebSocket, clock, {
      ...on,
      frame: hear,
      down(cause) {
        if (link === current) recover(cause);
      },
    });
    opening = link;
    await link.opened;
    if (!current) become({ name: "authenticating" });
    return [link, await authenticate(link, token)];
  }

  function authenticate(link: Link, token: string): Promise<AuthenticationSuccess> {
    const userId = tokens?.userId;
    const active = on.isActive();
    return link.ask({ action: "authenticate", token, userId, device, active } as ClientFrame);
  }

  function adopt(link: Link, terms: AuthenticationSuccess): void {
    const isHandover = !!current;
    opening = undefined;
    current = link;
    readyAt = clock.now();
    reason = "reconnect";
    link.keepAlive(terms);
    accepted(terms);
    const left = terms.connectionExpiresAt - terms.serverTime;
    // Not all at once: those who were connected together are cut together.
    succession.start(left - ahead(left) * (1 + random()), handOver);
    welcome.resolve(terms);
    on.ready(link, terms, isHandover);
    become({ name: "ready" });
  }

  /** Opens the next link beside this one, and uses it when it hears all that this one hears. */
  async function handOver(): Promise<void> {
    const mine = turn;
    const old = current;
    try {
      const [link, terms] = await open(mine);
      await Promise.race([on.sync(link), pause(clock, SYNC_MS)]);
      wanted(mine);
      if (link.isDown()) throw link;
      adopt(link, terms);
      former = old;
      await pause(clock, SYNC_MS);
      old?.close();
    } catch {
      if (mine !== turn) return;
      opening?.close();
      succession.start(soon(), handOver);
    }
  }

  /** Renews the token before it ends. */
  function accepted({ tokenExpiresAt, serverTime }: AuthenticationSuccess): void {
    const left = tokenExpiresAt - serverTime;
    tokens?.isGoodUntil(clock.now() + left);
    if (tokens?.canRenew) renewal.start(left - ahead(left), renew);
  }

  async function renewNow(mine: number): Promise<AuthenticationSuccess> {
    const token = await tokenFor(mine, "expiring");
    const link = current as Link;
    const terms = await authenticate(link, token);
    if (mine === turn) {
      accepted(terms);
      const { joined } = link;
      for (const id of joined) if (!terms.chatSessions.includes(id)) joined.delete(id);
      on.ready(link, terms, true);
    }
    return terms;
  }

  function renew(): void {
    const mine = turn;
    renewNow(mine).catch(() => {
      // Until it ends the old one is good; then the server closes, and we begin anew.
      if (mine === turn) renewal.start(soon(), renew);
    });
  }

  function hear(frame: ServerFrame, link: Link): void {
    on.frame(frame);
    if (frame.type === "closing" && (link === current || link === opening)) dismissed(frame);
  }

  function dismissed({ reason, retryAfterSeconds }: Closing): void {
    const code = ["kicked", "replaced"].includes(reason) ? "kicked" : "unavailable";
    stumble(new PresenceError(code, `Closed: ${reason}`, retryAfterSeconds));
  }

  function stumble(error: PresenceError): void {
    const { code } = error;
    config = undefined; // the address may be another one by now
    if (error.isRetryable) {
      recover(code === "not-connected" || code === "timeout" ? "network" : "server", error);
    } else if (/token|authenticated/.test(code) && tokens?.canRenew && reason !== "rejected") {
      reason = "rejected";
      tokens.isGoodUntil(0);
      connect();
    } else {
      end(error, { name: "failed", error });
    }
  }

  function recover(cause: DropReason, error?: PresenceError): void {
    if (clock.now() - readyAt > STABLE_MS) attempt = 0;
    readyAt = Number.POSITIVE_INFINITY;
    if (reason === "rejected") reason = "reconnect"; // what came instead may be over by now
    begin();
    if (cause === "sleep" || !lifecycle.isOnline()) {
      connect();
      return;
    }
    attempt += 1;
    const delay = (error?.retryAfterSeconds ?? 0) * 1000 + backoff(attempt, random);
    const retryAt = clock.now() + delay;
    become({ name: "recovering", attempt, retryAt, reason: cause, error });
    retry.start(delay, connect);
  }

  function end(error: PresenceError, last: ConnectionState): void {
    begin();
    unsubscribe();
    become(last);
    welcome.reject(error);
  }

  function happened(event: LifecycleEvent): void {
    if (event === "offline" || event === "leaving") {
      begin();
      become({ name: "offline" });
    } else if (event !== "hidden" && event !== "activity") {
      retryNow();
    }
  }

  function retryNow(): void {
    if (["recovering", "offline"].includes(now.name)) connect();
    else current?.beat(0);
  }

  return {
    state,
    link: () => current,
    config: () => config,
    tokens: () => tokens,
    userId: () => tokens?.userId,
    authenticate(userId, source) {
      const isSame = tokens?.userId === userId && now.name !== "failed";
      if (isSame && tokens?.source === source) return welcome.promise;
      tokens?.cancel();
      tokens = createTokens(userId, source, clock);
      const before = welcome;
      welcome = deferred();
      before.resolve(welcome.promise);
      if (isSame && current) {
        const mine = turn;
        const { resolve, reject } = welcome;
        // If the link went down meanwhile, the next one says how it went.
        renewNow(mine).then(resolve, (error) => mine === turn && reject(error));
        return welcome.promise;
      }
      attempt = 0;
      reason = "first";
      unsubscribe();
      unsubscribe = lifecycle.subscribe(happened);
      connect();
      return welcome.promise;
    },
    retryNow,
    disconnect() {
      tokens?.cancel();
      tokens = undefined;
      end(disconnected(), { name: "closed" });
    },
  };
}
