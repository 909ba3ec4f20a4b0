import { type FormEvent, type KeyboardEvent, useEffect, useMemo, useRef } from "react";
import type {
  ChatSession,
  ConnectionState,
  Members,
  MyStatus,
  OnlineUsers,
  PresenceClient,
  PresenceError,
  PresenceEvents,
  UserData,
  UserPresence,
} from "../api.js";
import type { Choice, Status } from "../protocol.js";
import { typing } from "./labels.js";
import { useShared } from "./provider.js";
import { all, joined, never, none, useStore, useTicking } from "./stores.js";

/** All that are online, or those in a chat session. */
type Online = Pick<OnlineUsers, "userIds" | "count" | "fresh"> &
  Partial<Pick<OnlineUsers, "isLoading" | "hasMore"> & Pick<Members, "state">>;

const idle: ConnectionState = { name: "idle" };
const unknown = {};
const waiting = { userIds: none, count: null, state: "waiting", fresh: false } as const;

const connectionOf = (client: PresenceClient) => client.connection;
const userOf = (client: PresenceClient, id: string) => client.user(id);
const knownOf = (client: PresenceClient, id: string) => ({
  get: client.user(id).get,
  subscribe: never,
});
const membersOf = (client: PresenceClient, id: string) =>
  joined<Omit<Members, "error"> & Partial<Members>>(client, id, client.chatSession(id).members);
const listOf = (client: PresenceClient, id: string) =>
  id ? membersOf(client, id) : client.onlineUsers;
const rowsOf = (client: PresenceClient, id: string) =>
  id ? membersOf(client, id) : client.onlineRows;
const typersOf = (client: PresenceClient, id: string) =>
  joined(client, id, client.chatSession(id).typing);

export interface Socket
  extends Pick<
    PresenceClient,
    "authenticate" | "disconnect" | "joinChatSession" | "leaveChatSession" | "setStatus"
  > {
  readonly client: PresenceClient;
  readonly connection: ConnectionState;
  /** Whether a socket is open. */
  readonly isConnected: boolean;
  readonly isAuthenticated: boolean;
}

/** The client and its link. The functions stay the same; it renders again when the link changes. */
export function useSocket(): Socket {
  const { client } = useShared();
  const connection = useStore(connectionOf, "", idle);
  const { authenticate, disconnect, joinChatSession, leaveChatSession, setStatus } = client;
  const isAuthenticated = connection.name === "ready";
  const isConnected = isAuthenticated || connection.name === "authenticating";
  return {
    client,
    connection,
    isConnected,
    isAuthenticated,
    authenticate,
    disconnect,
    joinChatSession,
    leaveChatSession,
    setStatus,
  };
}

export type Connection = ConnectionState & {
  /** Counts down to the next attempt; null when none is planned. */
  readonly retryInSeconds: number | null;
  readonly retryNow: () => void;
};

export function useConnection(): Connection {
  const { clock, client } = useShared();
  const connection = useStore(connectionOf, "", idle);
  const retryAt = connection.name === "recovering" ? connection.retryAt : 0;
  const retryInSeconds = useTicking(
    () => Math.max(0, Math.ceil((retryAt - clock.now()) / 1_000)),
    !!retryAt,
  );
  return {
    ...connection,
    retryInSeconds: retryAt ? retryInSeconds : null,
    retryNow: client.retryNow,
  };
}

export interface UserStatusOptions {
  /** Asks whether the user is there now: for one that a person looks at, not for each of a list. */
  readonly verify?: boolean | undefined;
}

/** How a user is; undefined while it is not known. One user is one subscription. */
export function useUserStatus(
  userId: string,
  { verify = false }: UserStatusOptions = {},
): UserPresence | undefined {
  useLookAt(verify ? userId : "");
  return useStore(userOf, userId, undefined);
}

/** The same; while it is not watched, what is known of the user when this renders. */
export function useUserStatusWhile(userId: string, isWatched: boolean): UserPresence | undefined {
  return useStore(isWatched ? userOf : knownOf, userId, undefined, isWatched);
}

/** Verifies a user while this is mounted; none for an empty id. */
export function useLookAt(userId: string): void {
  const { client } = useShared();
  useEffect(() => (userId ? client.lookAt([userId]) : undefined), [client, userId]);
}

/** How several users are, by id and in the order asked; those not known yet are left out. */
export function useUserStatuses(userIds: readonly string[]): ReadonlyMap<string, UserPresence> {
  const presences = useStore<readonly (UserPresence | undefined)[]>(
    (client) => all(userIds.map((id) => client.user(id))),
    userIds.join(" "),
    none,
  );
  return useMemo(
    () => new Map(presences.flatMap((presence) => (presence ? [[presence.userId, presence]] : []))),
    [presences],
  );
}

export interface OnlineOptions {
  /** Only those in this chat session, which is joined meanwhile. */
  readonly chatSessionId?: string | undefined;
  /**
   * Whether rows of the list watch their users themselves, as `useUserStatus` does while it is
   * mounted. Then a long list costs what is on the screen; else each user in it is watched.
   */
  readonly rows?: boolean;
}

export interface OnlineUserIds {
  readonly userIds: readonly string[];
  /** How many there are in all, or null while it is not known. */
  readonly count: number | null;
  readonly isLoading: boolean;
  readonly fresh: boolean;
  /** Loads the next; null when all are there. */
  readonly loadMore: (() => void) | null;
}

/** The users that are online. It renders again when one comes or goes, not when one changes. */
export function useOnlineUserIds({ chatSessionId, rows }: OnlineOptions = {}): OnlineUserIds {
  const { client } = useShared();
  const of = rows ? rowsOf : listOf;
  const online = useStore<Online>(of, chatSessionId ?? "", waiting, rows);
  return useMemo(
    () => ({
      userIds: online.userIds,
      count: online.count,
      isLoading: online.isLoading ?? online.state === "waiting",
      fresh: online.fresh,
      loadMore: online.hasMore ? () => client.loadMoreOnlineUsers() : null,
    }),
    [client, online],
  );
}

/** The same with how each of them is. It renders again at every change of any of them. */
export function useOnlineUsers(
  options?: OnlineOptions,
): OnlineUserIds & { readonly users: readonly UserPresence[] } {
  const online = useOnlineUserIds(options);
  const users = useUserStatuses(online.userIds);
  return useMemo(() => ({ ...online, users: [...users.values()] }), [online, users]);
}

export interface OwnStatus {
  /** What was chosen last, confirmed or not; `offline` before the first authentication. */
  readonly status: Status;
  readonly text: string | undefined;
  /** Away by itself, because the user seems not to be at this device. */
  readonly isAuto: boolean;
  /** What was chosen and is not confirmed yet. */
  readonly pending: Choice | undefined;
  readonly setStatus: PresenceClient["setStatus"];
}

export function useMyStatus(): OwnStatus {
  const { client } = useShared();
  const { presence, pending, isActive } = useStore<Partial<MyStatus>>(({ me }) => me, "", unknown);
  return {
    status: pending ?? presence?.status ?? "offline",
    text: presence?.text,
    isAuto: !pending && !isActive && presence?.status === "away",
    pending,
    setStatus: client.setStatus,
  };
}

export interface MyPresence extends Pick<PresenceClient, "setData" | "patchData"> {
  /** As the server has it; undefined until the first authentication. */
  readonly presence: UserPresence | undefined;
  readonly data: UserData | undefined;
}

/** One's own presence and what the application says of it. */
export function useMyPresence(): MyPresence {
  const { client } = useShared();
  const { presence } = useStore<Partial<MyStatus>>(({ me }) => me, "", unknown);
  const { setData, patchData } = client;
  return { presence, data: presence?.data, setData, patchData };
}

type TextField = HTMLInputElement | HTMLTextAreaElement;

export interface Typing {
  /** Ids of the others who are typing, first come first. */
  readonly typers: readonly string[];
  /** The same as a sentence; empty if no one is typing. */
  readonly label: string;
  readonly stop: () => void;
  /** For the field that is typed in. */
  readonly inputProps: {
    readonly onInput: (event: FormEvent<TextField>) => void;
    readonly onBlur: () => void;
    readonly onKeyDown: (event: KeyboardEvent<TextField>) => void;
  };
}

/** Who is typing in a chat session, which is joined meanwhile, and telling the others. */
export function useTyping(chatSessionId: string): Typing {
  const { client, labels, nameOf } = useShared();
  const typers = useStore(typersOf, chatSessionId, none);
  const actions = useMemo(() => {
    const session = client.chatSession(chatSessionId);
    const stop = () => session.stopTyping();
    const inputProps: Typing["inputProps"] = {
      onInput: (event) => (event.currentTarget.value ? session.keystroke() : stop()),
      onBlur: stop,
      onKeyDown: (event) => isSend(event) && stop(),
    };
    return { stop, inputProps };
  }, [client, chatSessionId]);
  return { typers, label: (labels?.typing ?? typing)(typers.map(nameOf)), ...actions };
}

/** Enter, but not the one that ends a word of an input method. */
export function isSend(event: KeyboardEvent): boolean {
  return event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing;
}

/** A chat session, joined while this is mounted. */
export function useChatSession(chatSessionId: string): {
  readonly session: ChatSession;
  /** Ids of those who are in it. */
  readonly members: readonly string[];
  readonly state: Members["state"];
  readonly error: PresenceError | undefined;
} {
  const { client } = useShared();
  const { userIds, state, error } = useStore(membersOf, chatSessionId, waiting);
  return { session: client.chatSession(chatSessionId), members: userIds, state, error };
}

/** Calls `listener`, that of the latest render, for each event of this type while mounted. */
export function usePresenceEvent<K extends keyof PresenceEvents>(
  type: K,
  listener: (event: PresenceEvents[K]) => void,
): void {
  const { client } = useShared();
  const latest = useRef(listener);
  useEffect(() => {
    latest.current = listener;
  });
  useEffect(() => client.on(type, (event) => latest.current(event)), [client, type]);
}

/** "5 min. ago", kept up to date; null for a user who is online or not known. */
export function useLastSeenText(userId: string): string | null {
  return useAgo(useUserStatus(userId));
}

/** When the user was seen: at the moment the link went down, if online then. */
export function useAgo(presence: UserPresence | undefined): string | null {
  const shared = useShared();
  const isNow = !presence || (presence.isOnline && presence.fresh);
  return useTicking(() => {
    const at = isNow
      ? null
      : (presence.isOnline && shared.client.stats().lostAt) || presence.lastSeen;
    return at ? shared.ago(at) : null;
  }, !isNow);
}
