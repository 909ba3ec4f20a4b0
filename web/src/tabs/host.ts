import type {
  Clock,
  NewMessage,
  PresenceClient,
  PresenceClientOptions,
  PresenceEvents,
  Route,
  Stats,
  Store,
  TokenProvider,
} from "../api.js";
import { createPresenceClient } from "../client.js";
import type { Config } from "../protocol.js";
import { keyed } from "../store.js";
import type { Call } from "./calls.js";
import { createGallery, type Gallery, type GalleryContext } from "./gallery.js";
import { pack, type Said } from "./messages.js";
import { type Entries, keyOf } from "./shared-state.js";
import type { PromptClock, SharedLifecycle } from "./surroundings.js";
import { difference, noWants, type Wants } from "./wants.js";

/** How long the connection stays when another tab leads: until that one has its own. */
const LINGER_MS = 5_000;
/** As long as the core takes a user for typing after a key. */
const TYPING_MS = 4_000;

/** The connection of all tabs, in the one that leads. */
export interface Host {
  want(wants: Wants): void;
  run(call: Call): Promise<unknown>;
  obey(tab: string, said: Said): void;
  /** All that is shown. */
  all(): Entries;
  stats(): Stats;
  stop(how: "now" | "at once" | "soon"): void;
}

export interface HostContext extends Omit<GalleryContext, "caughtUp"> {
  readonly options: PresenceClientOptions;
  readonly clock: PromptClock;
  readonly lifecycle: SharedLifecycle;
  readonly userId: string;
  source(): string | TokenProvider | undefined;
  readonly wants: Wants;
  tell(type: keyof PresenceEvents | "message", event: unknown): void;
}

/** What is typed in chat sessions: one person, in however many tabs. */
function createTyping(clock: Clock, client: PresenceClient) {
  /** When a key was last touched, by tab. */
  const touched = keyed(() => new Map<string, number>());
  return {
    keystroke(tab: string, chatSessionId: string) {
      touched.get(chatSessionId).set(tab, clock.now());
      client.chatSession(chatSessionId).keystroke();
    },
    stopTyping(tab: string, chatSessionId: string) {
      const tabs = touched.get(chatSessionId);
      tabs.delete(tab);
      const isTyped = [...tabs.values()].some((at) => clock.now() - at < TYPING_MS);
      if (!isTyped) client.chatSession(chatSessionId).stopTyping();
    },
  };
}

/** The token source of the tab; with `token`, that one first. Another function each time: it renews. */
function sourceOf(on: HostContext, token: string | undefined): string | TokenProvider | undefined {
  const own = on.source() ?? on.options.getToken;
  if (typeof own !== "function") return token ?? own;
  let first = token;
  return (context) => {
    const given = first ?? own(context);
    first = undefined;
    return given;
  };
}

/** Makes the client follow what the tabs want together. */
function createFollower(on: HostContext, client: PresenceClient, gallery: Gallery) {
  const leaves = new Map<string, () => void>();
  let wants = noWants;

  function show(key: string, store: Store<unknown>): void {
    gallery.show(key, store);
    leaves.set(key, () => gallery.hide(key));
  }

  function join(id: string): void {
    const session = client.joinChatSession(id);
    const stop = session.onMessage((message: NewMessage) => on.tell("message", message));
    gallery.show(keyOf.members(id), session.members);
    gallery.show(keyOf.typing(id), session.typing);
    leaves.set(`join ${id}`, () => {
      stop();
      gallery.hide(keyOf.members(id));
      gallery.hide(keyOf.typing(id));
      client.leaveChatSession(id);
    });
  }

  function listen(type: keyof PresenceEvents): void {
    const stop = client.on(type, (event) =>
      on.tell(type, type === "problem" ? pack(event as never) : event),
    );
    leaves.set(`on ${type}`, stop);
    // Whether every connection hears of all users; a tab has to know which of the others are its own.
    if (type === "user-status-change")
      client.request("GET /config").then(
        (config) => gallery.put("isGlobal", !!(config as Partial<Config>).globalPresence),
        () => {},
      );
  }

  function look(id: string): void {
    leaves.set(`look ${id}`, client.lookAt([id]));
  }

  function end(key: string): void {
    leaves.get(key)?.();
    leaves.delete(key);
  }

  function change<T extends string>(
    before: readonly T[],
    after: readonly T[],
    keyFor: (it: T) => string,
    begin: (it: T) => void,
  ): void {
    const { gone, added } = difference(before, after);
    for (const it of gone) end(keyFor(it));
    for (const it of added) begin(it);
  }

  return function want(next: Wants): void {
    const before = wants;
    wants = next;
    on.lifecycle.see(next.isVisible);
    change(before.sessions, next.sessions, (id) => `join ${id}`, join);
    change(before.users, next.users, keyOf.user, (id) => show(keyOf.user(id), client.user(id)));
    change(before.events, next.events, (type) => `on ${type}`, listen);
    change(before.looks, next.looks, (id) => `look ${id}`, look);
    change(before.lists, next.lists, String, (list) => show(list, client[list]));
  };
}

export function createHost(context: HostContext): Host {
  const { options, clock, lifecycle, userId } = context;
  let isOver = false;
  const on: HostContext = {
    ...context,
    publish: (entries) => isOver || context.publish(entries),
    tell: (...event) => isOver || context.tell(...event),
  };
  const client = createPresenceClient({ ...options, clock, lifecycle });
  const caughtUp = (since: number) => on.tell("resync", { since });
  const gallery = createGallery({ ...on, caughtUp }, client);
  const want = createFollower(on, client, gallery);
  const typing = createTyping(clock, client);
  let source = on.source();
  const authenticate = () => client.authenticate(userId, source);
  const orders: { readonly [S in Said as S[0]]: (tab: string, id: string) => void } = {
    touch: () => lifecycle.tell("activity"),
    shown: () => lifecycle.tell("visible"),
    ...typing,
    retryNow: () => client.retryNow(),
    loadMore: () => client.loadMoreOnlineUsers(),
  };

  gallery.show("connection", client.connection);
  gallery.show("me", client.me);
  want(on.wants); // before it authenticates, which names the chat sessions
  void authenticate();

  return {
    want,
    async run(call) {
      switch (call[0]) {
        case "welcome":
          return authenticate();
        case "renew":
          source = sourceOf(on, call[1]);
          return authenticate();
        case "send":
          return client.chatSession(call[1]).send(call[2], call[3]);
        case "setStatus":
          return client.setStatus(call[1], call[2]);
        case "setData":
          return client.setData(call[1]);
        case "patchData":
          return client.patchData(call[1]);
        case "verify":
          return client.verify(call[1]);
        case "request":
          return client.request(call[1] as Route, call[2]);
      }
    },
    obey: (tab, [name, chatSessionId = ""]) => orders[name](tab, chatSessionId),
    all: gallery.all,
    stats: client.stats,
    stop(how) {
      isOver = true;
      gallery.stop();
      if (how === "soon") clock.after(LINGER_MS, () => client.disconnect());
      else client.disconnect({ atOnce: how === "at once" });
    },
  };
}
