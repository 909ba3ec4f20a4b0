import type { NewMessage, ServerFrame } from "../protocol.js";
import { keyed } from "../store.js";
import { createSession, type SessionContext, type SessionDriver } from "./chat-session.js";

const REMEMBERED_MESSAGES = 500;

/** All chat sessions of this client. */
export interface Sessions {
  get(chatSessionId: string): SessionDriver;
  all(): SessionDriver[];
  onFrame(frame: ServerFrame): void;
}

export function createSessions(on: SessionContext): Sessions {
  /** The newest messages that were delivered, so that none is delivered twice. */
  const delivered = new Set<string>();

  /** A message that was sent again has another id, and the same `clientId` of the same sender. */
  function isNew({ messageId, senderId, clientId }: NewMessage): boolean {
    const key = clientId ? `${senderId} ${clientId}` : messageId;
    const isKnown = delivered.has(key);
    delivered.add(key);
    for (const oldest of delivered)
      if (delivered.size > REMEMBERED_MESSAGES) delivered.delete(oldest);
    return !isKnown;
  }

  const { get, all } = keyed((id) => createSession(id, on));
  return {
    get,
    all: () => [...all.values()],
    onFrame(frame) {
      if ("chatSessionId" in frame && (frame.type !== "new-message" || isNew(frame)))
        get(frame.chatSessionId).onFrame(frame);
    },
  };
}
