import type { ChatSession, Clock, Members } from "../api.js";
import {
  type ChatSessionEffects,
  type ChatSessionEvent,
  chatSessionWakesAt,
  covers,
  type Entered,
  transitionChatSession,
  unjoined,
  wanted,
} from "../core/chat-session.js";
import { createMachine } from "../core/machine.js";
import { fromFrame, noLink, type PresenceError, retryMs } from "../errors.js";
import type { Http } from "../http.js";
import type { PresenceStore } from "../presence-store.js";
import type {
  AuthenticationSuccess,
  ChatSessionJoined,
  ChatSessionsJoined,
  NewMessage,
  ServerFrame,
} from "../protocol.js";
import { inPages, keyed, tell, view } from "../store.js";
import { createTimer, deferred, type Timer } from "../timing.js";
import type { Link } from "./link.js";

const REMEMBERED_MESSAGES = 500;
/** Chat sessions in one frame: those of a user. */
const TOGETHER = 50;

/** One chat session, joined or not: `core/chat-session.ts` decides, this runs it. */
export interface SessionDriver {
  readonly chat: ChatSession;
  join(): ChatSession;
  leave(): void;
  /** What the link has to be told. */
  wants(joined: ReadonlySet<string>): "join" | "leave" | "";
  dispatch(...event: ChatSessionEvent): void;
  onFrame(frame: ServerFrame): void;
  /** Whether the link tells us about this user because of this session. */
  covers(userId: string, link: Link): boolean;
  /** The link is down; if it is over, nothing is known any more. */
  lost(isOver: boolean): void;
}

export interface SessionContext {
  readonly clock: Clock;
  readonly http: Http;
  readonly presences: PresenceStore;
  link(): Link | undefined;
  userId(): string | undefined;
  /** How far the server's clock is ahead. */
  skewMs(): number;
  /** Something has to be told to the server, in so many milliseconds. */
  settle(afterMs?: number): void;
}

type Listeners = Set<(message: NewMessage) => void>;
type Dispatch = (...event: ChatSessionEvent) => void;

/** Not to be met again among the last few hundred messages of one user. */
const newId = () => Math.random().toString(36).slice(2);

function createEffects(
  chatSessionId: string,
  { http, presences, link, settle }: SessionContext,
  listeners: Listeners,
  dispatch: Dispatch,
  again: Timer,
): ChatSessionEffects {
  return {
    settle,
    rejoin: () => link()?.joined.delete(chatSessionId),
    apply: presences.apply,
    load(cursor, visit) {
      const route =
        `GET /chat-sessions/${encodeURIComponent(chatSessionId)}/members?limit=100${cursor && `&cursor=${cursor}`}` as const;
      http.request(route).then(
        (page) => dispatch("page", page, visit),
        (error) => {
          if (!link()) return; // the next one joins anew
          again.start(retryMs(error), () => dispatch("page", { members: [], cursor }, visit));
        },
      );
    },
    tellTyping: (typing) => link()?.send({ action: "typing", chatSessionId, typing }),
    async post({ content, clientId, resolve, reject }) {
      const frame = { action: "message", chatSessionId, content, clientId } as const;
      const answer = link()?.ask<NewMessage>(frame) ?? Promise.reject(noLink());
      await answer.then(resolve, reject);
      dispatch("posted");
    },
    reject: (unsent, error) => unsent.reject(error),
    deliver: (message) => tell(listeners, message),
  };
}

/** What the app sees of it. */
const createChat = (
  views: Pick<ChatSession, "id" | "members" | "typing">,
  listeners: Listeners,
  dispatch: Dispatch,
): ChatSession => ({
  ...views,
  send(content, clientId = newId()) {
    const unsent = { ...deferred<NewMessage>(), content, clientId };
    dispatch("send", unsent);
    return unsent.promise;
  },
  keystroke: () => dispatch("keystroke"),
  stopTyping: () => dispatch("stopTyping"),
  onMessage(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
});

type Get = (chatSessionId: string) => SessionDriver;
interface Told extends Pick<ChatSessionsJoined, "refused"> {
  readonly joined: readonly Entered[];
}

/** What was told of several chat sessions that were to be joined. */
function entered(link: Link, { joined, refused }: Told, get: Get): void {
  for (const it of joined) {
    link.joined.add(it.chatSessionId);
    get(it.chatSessionId).dispatch("joined", it);
  }
  for (const it of refused) get(it.chatSessionId).dispatch("refused", fromFrame(it));
}

/** As `chatSessionId` if it is one: a server of before this takes no list. */
const naming = ([id, ...more]: readonly string[]) =>
  more.length ? { chatSessionIds: [id as string, ...more] } : { chatSessionId: id as string };

async function enter(ids: readonly string[], link: Link, get: Get): Promise<void> {
  for (const id of ids) get(id).dispatch("entering");
  try {
    const frame = { action: "join", ...naming(ids) } as const;
    const answer = await link.ask<ChatSessionJoined | ChatSessionsJoined>(frame);
    entered(link, "joined" in answer ? answer : { joined: [answer], refused: [] }, get);
  } catch (error) {
    if (link.isDown()) return;
    for (const id of ids) get(id).dispatch("refused", error as PresenceError);
  }
}

async function exit(ids: readonly string[], link: Link, get: Get): Promise<void> {
  for (const id of ids) {
    link.joined.delete(id);
    get(id).dispatch("lost", true);
  }
  // Frames may overtake each other: to join again has to wait for the answer.
  try {
    await link.ask({ action: "leave", ...naming(ids) });
  } catch (error) {
    if (link.isDown()) return;
    for (const id of ids) get(id).dispatch("unleft", error as PresenceError);
  }
}

export function createSession(id: string, on: SessionContext): SessionDriver {
  const { clock, skewMs, userId } = on;
  const listeners: Listeners = new Set();
  const again = createTimer(clock);
  const isIn = (link = on.link()) => !!link?.joined.has(id);
  const { state, dispatch } = createMachine({
    clock,
    initial: unjoined,
    transition: transitionChatSession,
    wakeAt: chatSessionWakesAt,
    around: () => ({ now: clock.now(), skewMs: skewMs(), userId: userId(), isIn: isIn() }),
    effects: createEffects(id, on, listeners, (...event) => dispatch(...event), again),
    changed(after, before) {
      if (after.members !== before.members) members.changed();
      // One event only adds to them, or only removes.
      if (after.typists.size !== before.typists.size) typing.changed();
    },
  });
  const members = view<Members>(() => {
    const { present, count, fresh, error } = state().members;
    const joined = error ? "refused" : fresh ? "joined" : "waiting";
    return { userIds: [...present].sort(), count, state: joined, error, fresh };
  });
  const typing = view<readonly string[]>(() => [...state().typists.keys()]);
  const chat = createChat({ id, members, typing }, listeners, dispatch);

  return {
    chat,
    join() {
      dispatch("join");
      return chat;
    },
    leave: () => dispatch("leave"),
    wants: (joined) => wanted(state(), joined.has(id), clock.now()),
    dispatch,
    onFrame: (frame) => dispatch("received", frame),
    covers: (user, link) => isIn(link) && covers(state(), user),
    lost(isOver) {
      again.stop();
      dispatch("lost", isOver);
    },
  };
}

/** All chat sessions of this client. */
export interface Sessions {
  get(chatSessionId: string): SessionDriver;
  all(): SessionDriver[];
  onFrame(frame: ServerFrame): void;
  /** Makes the link take part in those that are wanted, and not in the others. */
  sync(link: Link): Promise<unknown>;
  /** Those that a new link has to join; it names them when it is authenticated. */
  entering(): readonly string[];
  entered(link: Link, terms: AuthenticationSuccess): void;
}

/** Says of each message whether it is new, by the newest that were delivered. */
export function createDelivered(): (message: NewMessage) => boolean {
  const delivered = new Set<string>();

  /** A message that was sent again, however late, has the same `clientId` of the same sender there. */
  return ({ messageId, chatSessionId, senderId, clientId }) => {
    const key = clientId ? `${chatSessionId} ${senderId} ${clientId}` : messageId;
    const isKnown = delivered.has(key);
    delivered.add(key);
    for (const oldest of delivered)
      if (delivered.size > REMEMBERED_MESSAGES) delivered.delete(oldest);
    return !isKnown;
  };
}

export function createSessions(on: SessionContext): Sessions {
  const isNew = createDelivered();
  const { get, all } = keyed((id) => createSession(id, on));
  const wanting = (action: "join" | "leave", joined: ReadonlySet<string>) =>
    [...all].filter(([, it]) => it.wants(joined) === action).map(([id]) => id);
  const ask = (link: Link, action: "join" | "leave", run: typeof enter) => {
    const ids = wanting(action, link.joined);
    return inPages(ids, link.takesLists ? TOGETHER : 1, (some) => run(some, link, get));
  };
  return {
    get,
    all: () => [...all.values()],
    sync: (link) => Promise.all([ask(link, "join", enter), ask(link, "leave", exit)]),
    entering() {
      const ids = wanting("join", new Set()).slice(0, TOGETHER);
      for (const id of ids) get(id).dispatch("entering");
      return ids;
    },
    entered(link, { joined, refused = [] }) {
      // A server of before this says nothing of them: each is joined by itself.
      link.takesLists = !!joined;
      if (joined) entered(link, { joined, refused }, get);
    },
    onFrame(frame) {
      if ("chatSessionId" in frame && (frame.type !== "new-message" || isNew(frame)))
        get(frame.chatSessionId).onFrame(frame);
    },
  };
}
