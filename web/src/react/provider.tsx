import {
  createContext,
  type ReactElement,
  type ReactNode,
  useContext,
  useEffect,
  useMemo,
  useRef,
} from "react";
import type {
  Clock,
  PresenceClient,
  PresenceClientOptions,
  PresenceError,
  TokenProvider,
} from "../api.js";
import { createPresenceClient, systemClock } from "../index.js";
import { setBackMs } from "../surroundings.js";
import { english, type PresenceLabels } from "./labels.js";

export interface SocketProviderProps extends Partial<PresenceClientOptions> {
  /** A client of your own; otherwise one is made from `apiUrl` and the other options. */
  readonly client?: PresenceClient;
  /** Makes that client; `createSharedClient` makes one that all tabs of the browser share. */
  readonly createClient?: (options: PresenceClientOptions) => PresenceClient;
  /** With it, it authenticates by itself; without it, call `authenticate` of `useSocket`. */
  readonly userId?: string | undefined;
  readonly labels?: Partial<PresenceLabels>;
  /** What a user is called; the id if left out. Keep it the same function between renders. */
  readonly nameOf?: (userId: string) => string;
  /** Writes every frame to the console. */
  readonly debug?: boolean;
  readonly children?: ReactNode;
}

/** What goes with a client, however many providers share it. */
interface Surroundings {
  readonly client: PresenceClient;
  readonly clock: Clock;
  /** By the server's clock. */
  readonly now: () => number;
  /** Calls `listener` each second; one timer for all. */
  readonly tick: (listener: () => void) => () => void;
  readonly link: {
    /** How many providers keep it connected; StrictMode mounts each twice. */
    holders: number;
    userId?: string | undefined;
  };
}

/** What the hooks below a provider share. */
export interface Shared extends Surroundings {
  readonly labels: Partial<PresenceLabels> | undefined;
  readonly nameOf: (userId: string) => string;
  /** How long ago an instant of the server was, in words. */
  readonly ago: (instant: number) => string;
}

const PresenceContext = createContext<Shared | null>(null);

export function useShared(): Shared {
  const shared = useContext(PresenceContext);
  if (!shared) throw new Error("This needs a <SocketProvider>");
  return shared;
}

/** No one else hears of it; what `disconnect` rejects is wanted. */
function report(error: PresenceError): void {
  if (error.code !== "closed") console.error(error);
}

function hold({ client, link }: Surroundings, userId?: string, token?: TokenProvider): () => void {
  link.holders++;
  if (link.userId !== userId) {
    link.userId = userId;
    if (userId) client.authenticate(userId, token).catch(report);
    else client.disconnect();
  }
  // Later, so that a provider that is mounted again at once finds the same connection.
  return () =>
    queueMicrotask(() => {
      if (--link.holders) return;
      link.userId = undefined;
      client.disconnect();
    });
}

const units = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
] as const;

/** Hermes, React Native's engine, has no `RelativeTimeFormat`. */
function wordsIn(locale: string | undefined): NonNullable<PresenceLabels["ago"]> {
  const Format = globalThis.Intl?.RelativeTimeFormat;
  if (!Format) return (n, unit) => (n ? `${n} ${unit}${n > 1 ? "s" : ""} ago` : "now");
  const words = new Format(locale, { numeric: "auto", style: "short" });
  return (n, unit) => words.format(0 - n, unit);
}

function agoIn(labels: Partial<PresenceLabels> = {}, now: () => number): Shared["ago"] {
  let { ago: words } = labels;
  return (instant) => {
    words ??= wordsIn(labels.locale);
    const seconds = (now() - instant) / 1_000;
    const [unit, size] = units.find(([, size]) => seconds >= size) ?? ["second", 0];
    return words(size && Math.floor(seconds / size), unit);
  };
}

const known = new WeakMap<PresenceClient, Surroundings>();

function around(client: PresenceClient): Surroundings {
  const before = known.get(client);
  if (before) return before;
  const { clock = systemClock } = client.options;
  const listeners = new Set<() => void>();
  const now = () => clock.now() - setBackMs(clock) + client.stats().clockSkewMs;
  const link = { holders: 0 };
  let stop: () => void;
  const run = () => {
    stop = clock.after(1_000, () => {
      run();
      for (const listener of listeners) listener();
    });
  };
  const tick = (listener: () => void) => {
    if (!listeners.size) run();
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (!listeners.size) stop();
    };
  };
  const surroundings = { client, clock, now, tick, link };
  known.set(client, surroundings);
  return surroundings;
}

/**
 * Gives the hooks below it a client. Mounted twice at once (StrictMode) it makes one connection,
 * and it disconnects what it connected when it is unmounted.
 */
export function SocketProvider(props: SocketProviderProps): ReactElement {
  const { client: given, userId, labels, nameOf, debug, children, ...made } = props;
  const { createClient = createPresenceClient, ...options } = made;
  const { apiUrl, getToken } = options;
  const latest = useRef(getToken as TokenProvider);
  // A token is asked of the function of the latest render, with what it closes over.
  const token: TokenProvider | undefined = getToken && ((context) => latest.current(context));
  // biome-ignore lint/correctness/useExhaustiveDependencies: other options count when it is made
  const client = useMemo(() => {
    if (given) return given;
    if (!apiUrl) throw new Error("<SocketProvider> needs apiUrl or client");
    return createClient({ ...options, apiUrl, ...(token && { getToken: token }) });
  }, [given, apiUrl]);
  const surroundings = around(client);
  const shared = useMemo<Shared>(
    () => ({
      ...surroundings,
      labels,
      nameOf: nameOf ?? String,
      ago: agoIn(labels, surroundings.now),
    }),
    [surroundings, labels, nameOf],
  );
  useEffect(() => {
    latest.current = getToken as TokenProvider;
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the token function reads the latest
  useEffect(
    () => (given && !userId ? undefined : hold(surroundings, userId, token)),
    [client, given, userId],
  );
  useEffect(
    () => (debug ? client.on("wire", (event) => console.debug("presence", event)) : undefined),
    [client, debug],
  );
  return <PresenceContext.Provider value={shared}>{children}</PresenceContext.Provider>;
}

/** English, and what the provider was given instead. */
export function useLabels(): PresenceLabels {
  const { labels } = useShared();
  return useMemo(() => ({ ...english, ...labels }), [labels]);
}
