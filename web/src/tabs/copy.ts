import type {
  ConnectionState,
  Members,
  MyStatus,
  OnlineUsers,
  Store,
  UserPresence,
} from "../api.js";
import { keyed, type View, view } from "../store.js";
import { unpacked } from "./messages.js";
import { type Entries, keyOf, stale } from "./shared-state.js";

const none: readonly never[] = [];
const unlisted: OnlineUsers = {
  userIds: none,
  count: null,
  isLoading: false,
  hasMore: false,
  fresh: false,
};
const unjoined: Members = { userIds: none, count: null, state: "waiting", fresh: false };

/** What is shown before anything is known. */
const initial: Readonly<Record<string, unknown>> = {
  connection: { name: "idle" } satisfies ConnectionState,
  me: { presence: undefined, pending: undefined, isActive: true } satisfies MyStatus,
  onlineUsers: unlisted,
  onlineRows: unlisted,
  members: unjoined,
  typing: none,
};

/** What this tab knows of what all tabs share: the stores of its client. */
export interface Copy {
  readonly connection: Store<ConnectionState>;
  readonly me: Store<MyStatus>;
  readonly onlineUsers: View<OnlineUsers>;
  readonly onlineRows: View<OnlineUsers>;
  user(userId: string): Store<UserPresence | undefined>;
  members(chatSessionId: string): Store<Members>;
  typing(chatSessionId: string): Store<readonly string[]>;
  /** Users that have subscribers. */
  watched(): string[];
  /** Whether the connection hears of all users; undefined while that is not known. */
  isGlobal(): boolean | undefined;
  all(): Entries;
  apply(entries: Entries, isFull?: boolean): void;
  /** The tab joined or left this chat session. */
  moved(chatSessionId: string): void;
}

/**
 * @param wanted is called when a store gets its first subscriber or loses its last one
 * @param isIn says whether this tab is in a chat session
 */
export function createCopy(wanted: () => void, isIn: (chatSessionId: string) => boolean): Copy {
  const values = new Map<string, unknown>();

  function read(key: string): unknown {
    const [kind = "", id = ""] = key.split(" ");
    const isOurs = !["members", "typing"].includes(kind) || isIn(id);
    return (isOurs ? values.get(key) : undefined) ?? initial[kind];
  }

  const views = keyed((key): View<unknown> => view(() => read(key), wanted));
  const viewOf = <T>(key: string) => views.get(key) as View<T>;

  function set(key: string, value: unknown): void {
    if (value === undefined) values.delete(key);
    else values.set(key, value);
    views.all.get(key)?.changed();
  }

  return {
    connection: viewOf("connection"),
    me: viewOf("me"),
    onlineUsers: viewOf("onlineUsers"),
    onlineRows: viewOf("onlineRows"),
    user: (id) => viewOf(keyOf.user(id)),
    members: (id) => viewOf(keyOf.members(id)),
    typing: (id) => viewOf(keyOf.typing(id)),
    watched: () =>
      [...views.all].flatMap(([key, it]) => {
        const [kind, id] = key.split(" ");
        return kind === "user" && it.isWatched() ? [id as string] : [];
      }),
    isGlobal: () => values.get("isGlobal") as boolean | undefined,
    all: () => [...values],
    apply(entries, isFull) {
      const told = new Set(entries.map(([key]) => key));
      const gone = isFull ? [...values.keys()].filter((key) => !told.has(key)) : [];
      for (const key of gone) set(key, undefined);
      for (const [key, value] of entries) set(key, unpacked(value));
    },
    moved(id) {
      for (const key of [keyOf.members(id), keyOf.typing(id)]) views.all.get(key)?.changed();
    },
  };
}

/** As it is shown without a connection; it says why. */
export const unconnected = (entries: Entries, connection: ConnectionState): Entries => [
  ...stale(entries),
  ["connection", connection],
];
