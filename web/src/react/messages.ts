import { useMemo } from "react";
import type { PresenceClient, PresenceError } from "../api.js";
import type { NewMessage } from "../protocol.js";
import { useShared } from "./provider.js";
import { joined, none, useStore } from "./stores.js";

export interface OwnMessage {
  readonly id: string;
  readonly senderId: string;
  readonly content: unknown;
  readonly createdAt: number;
  readonly clientId?: string | undefined;
  readonly state: "sending" | "sent" | "failed";
  readonly error?: PresenceError;
}

type Messages = readonly OwnMessage[];

const KEPT = 1_000;

/** Whether it is the same message. One's own are shown before they are sent, by their `clientId`. */
const isSame = (a: OwnMessage, b: OwnMessage) =>
  a.clientId && a.clientId === b.clientId && (!a.senderId || a.senderId === b.senderId);

/** In the order of the server, which all see in the end. */
const merge = (messages: Messages, message: OwnMessage): Messages =>
  [...messages.filter((old) => !isSame(old, message)), message]
    .sort((a, b) => a.createdAt - b.createdAt)
    .slice(-KEPT);

/** The messages of a chat session since the store has subscribers, and those on their way. */
function messagesOf(client: PresenceClient, chatSessionId: string, now: () => number) {
  const session = client.chatSession(chatSessionId);
  let messages: Messages = none;
  let listener = () => {};

  function put(message: OwnMessage): void {
    messages = merge(messages, message);
    listener();
  }

  const arrive = ({ messageId, senderId, content, sentAt, clientId }: NewMessage) =>
    put({ id: messageId, senderId, content, createdAt: sentAt, clientId, state: "sent" });

  function post(message: Omit<OwnMessage, "state">): void {
    put({ ...message, state: "sending" });
    session.send(message.content, message.clientId).then(arrive, (error) => {
      // After a timeout it may have arrived all the same, and then it has its own id.
      if (messages.some(({ id }) => id === message.id)) put({ ...message, state: "failed", error });
    });
  }

  function subscribe(changed: () => void): () => void {
    listener = changed;
    const stops = [
      session.onMessage(arrive),
      client.connection.subscribe(() => {
        // What one user has read is not the next one's.
        if (client.connection.get().name === "closed") messages = none;
        changed();
      }),
    ];
    return () => {
      for (const stop of stops) stop();
    };
  }

  return {
    store: joined(client, chatSessionId, { get: () => messages, subscribe }),
    send(content: unknown) {
      const id = Math.random().toString(36);
      const senderId = client.me.get().presence?.userId ?? "";
      post({ id, clientId: id, senderId, content, createdAt: now() });
    },
    retry(id: string) {
      for (const message of messages) if (message.id === id) post(message);
    },
  };
}

/**
 * The messages of a chat session since this was mounted: nothing is stored. One's own are there at
 * once, as `sending`, and `retry` sends one that `failed` again under the same `clientId`.
 */
export function useMessages(chatSessionId: string): {
  readonly messages: readonly OwnMessage[];
  readonly send: (content: unknown) => void;
  readonly retry: (id: string) => void;
} {
  const { client, now } = useShared();
  const { store, send, retry } = useMemo(
    () => messagesOf(client, chatSessionId, now),
    [client, chatSessionId, now],
  );
  const messages = useStore(() => store, chatSessionId, none);
  return { messages, send, retry };
}
