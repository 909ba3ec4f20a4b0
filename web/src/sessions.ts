import type { NewMessage } from "./protocol.js";
import { createSession, type Session, type SessionContext } from "./session.js";
import { keyed } from "./store.js";

const REMEMBERED_MESSAGES = 500;

/** All chat sessions of this client. */
export interface Sessions {
  get(chatSessionId: string): Session;
  all(): Session[];
}

export function createSessions(on: Omit<SessionContext, "isNew">): Sessions {
  /** The newest messages that were told, so that none is told twice. */
  const told = new Set<string>();

  /** A message that was sent again has another id, and the same one of its sender's. */
  function isNew({ messageId, senderId, clientId }: NewMessage): boolean {
    const key = clientId ? `${senderId} ${clientId}` : messageId;
    const isKnown = told.has(key);
    told.add(key);
    for (const oldest of told) if (told.size > REMEMBERED_MESSAGES) told.delete(oldest);
    return !isKnown;
  }

  const sessions = keyed((id) => createSession(id, { ...on, isNew }));
  return { get: sessions.get, all: () => [...sessions.all.values()] };
}
