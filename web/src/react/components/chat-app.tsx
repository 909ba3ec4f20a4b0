import { type FormEvent, type ReactElement, useState } from "react";
import { english } from "../labels.js";
import { useMessages } from "../messages.js";
import { SocketProvider, type SocketProviderProps, useShared } from "../provider.js";
import { ChatRoom } from "./chat-room.js";
import { ConnectionBanner } from "./connection-banner.js";
import { OnlineUsersList } from "./online-users-list.js";
import { StatusPicker, UserStatusIndicator } from "./status.js";

export interface ChatAppProps extends Omit<SocketProviderProps, "children"> {
  /** `lobby` if left out. */
  readonly chatSessionId?: string;
}

type RoomProps = { chatSessionId: string; userId: string };

function Room({ chatSessionId, userId }: RoomProps): ReactElement {
  const { nameOf } = useShared();
  const { messages, send, retry } = useMessages(chatSessionId);
  return (
    <div className="presence-app">
      <ConnectionBanner />
      <aside>
        <details>
          <summary>
            <UserStatusIndicator userId={userId} /> <bdi>{nameOf(userId)}</bdi>
          </summary>
          <StatusPicker />
        </details>
        <OnlineUsersList />
      </aside>
      <ChatRoom
        chatSessionId={chatSessionId}
        currentUserId={userId}
        messages={messages.map((message) =>
          // Written before the own user id was known.
          message.senderId ? message : { ...message, senderId: userId },
        )}
        onSendMessage={(text) => send({ text })}
        onRetryMessage={({ id }) => retry(id)}
      />
    </div>
  );
}

/**
 * Everything at once: provider, own status, online users, one chat room. Without `userId` it asks
 * for a name and goes in under it; a local stack makes the token.
 */
export function ChatApp({
  chatSessionId = "lobby",
  apiUrl = "http://localhost:4000",
  userId: given,
  ...rest
}: ChatAppProps): ReactElement {
  const [chosen, setChosen] = useState("");
  const userId = given ?? chosen;
  const labels = { ...english, ...rest.labels };
  const enter = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const name = new FormData(event.currentTarget).get("name") as string;
    setChosen(name.trim().replace(/\s+/g, "-"));
  };
  if (!userId) {
    return (
      <form className="presence-app presence-enter" onSubmit={enter}>
        <label>
          {labels.name}
          {/* As an id is allowed to be; a space becomes a hyphen. */}
          <input
            name="name"
            required
            maxLength={128}
            pattern="[\w.~@+=\- ]+"
            title={labels.nameHint}
          />
        </label>
        <button type="submit">{labels.enter}</button>
      </form>
    );
  }
  return (
    <SocketProvider {...rest} apiUrl={apiUrl} userId={userId}>
      {/* What one user has read is not the next one's. */}
      <Room key={userId} chatSessionId={chatSessionId} userId={userId} />
    </SocketProvider>
  );
}
