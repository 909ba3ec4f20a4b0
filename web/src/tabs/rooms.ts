import type { ChatSession, Clock, NewMessage } from "../api.js";
import { createDelivered } from "../drivers/chat-session.js";
import { PresenceError } from "../errors.js";
import { keyed, tell } from "../store.js";
import type { Call } from "./calls.js";
import type { Copy } from "./copy.js";
import type { Said } from "./messages.js";

/** The leader is told of a key at most so often. */
const KEY_MS = 1_000;

/** The chat sessions as this tab is in them, whatever the other tabs do. */
export interface Rooms {
  /** Those that this tab is in. */
  joined(): string[];
  isIn(chatSessionId: string): boolean;
  join(chatSessionId: string): ChatSession;
  leave(chatSessionId: string): void;
  get(chatSessionId: string): ChatSession;
  deliver(message: NewMessage): void;
}

export interface RoomsContext {
  readonly clock: Clock;
  copy(): Copy;
  call(call: Call): Promise<never>;
  say(said: Said): void;
  changed(): void;
}

const newId = () => Math.random().toString(36).slice(2);

interface Room {
  uses: number;
  readonly listeners: Set<(message: NewMessage) => void>;
  readonly chat: ChatSession;
}

/** As it would go over the wire; a message cannot hold more either. Undefined if it is no JSON. */
export function plain<T>(value: T): T | undefined {
  try {
    return JSON.parse(JSON.stringify(value)) as T;
  } catch {
    return undefined;
  }
}

function createRoom(id: string, on: RoomsContext): Room {
  let keyAt = Number.NEGATIVE_INFINITY;
  const listeners: Room["listeners"] = new Set();

  async function send(content: unknown, clientId: string): Promise<NewMessage> {
    const told = plain(content);
    if (!room.uses) throw new PresenceError("forbidden", "Join first.");
    if (told === undefined) throw new PresenceError("invalid-message", "Send JSON.");
    keyAt = Number.NEGATIVE_INFINITY;
    return on.call(["send", id, told, clientId]);
  }

  const room: Room = {
    uses: 0,
    listeners,
    chat: {
      id,
      members: on.copy().members(id),
      typing: on.copy().typing(id),
      send(content, clientId = newId()) {
        const sent = send(content, clientId);
        sent.catch(() => {}); // a rejection that is ignored is no unhandled one
        return sent;
      },
      keystroke() {
        if (!room.uses || on.clock.now() - keyAt < KEY_MS) return;
        keyAt = on.clock.now();
        on.say(["keystroke", id]);
      },
      stopTyping() {
        keyAt = Number.NEGATIVE_INFINITY;
        if (room.uses) on.say(["stopTyping", id]);
      },
      onMessage(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
  };
  return room;
}

export function createRooms(on: RoomsContext): Rooms {
  const isNew = createDelivered();
  const { get, all } = keyed((id) => createRoom(id, on));

  function use(id: string, change: number): void {
    const room = get(id);
    room.uses = Math.max(0, room.uses + change);
    on.copy().moved(id);
    on.changed();
  }

  return {
    joined: () => [...all].flatMap(([id, { uses }]) => (uses ? [id] : [])),
    isIn: (id) => !!all.get(id)?.uses,
    join(id) {
      use(id, 1);
      return get(id).chat;
    },
    leave: (id) => use(id, -1),
    get: (id) => get(id).chat,
    deliver(message) {
      const { uses, listeners } = get(message.chatSessionId);
      if (uses && isNew(message)) tell(listeners, message);
    },
  };
}
