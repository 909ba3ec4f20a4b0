import { type FormEvent, useState } from "react";
import {
  ChatRoom,
  UserStatusIndicator,
  useMessages,
  useOnlineUserIds,
} from "../src/react/index.js";
import { Avatar, IdField } from "./parts.js";
import type { Person } from "./person.js";
import { counted } from "./words.js";

const PAGE = 8;

/** Who is in a chat session, some at a time. */
function Members({ chatSessionId }: { chatSessionId: string }) {
  const { userIds, count } = useOnlineUserIds({ chatSessionId });
  const [pages, setPages] = useState(1);
  const shown = userIds.slice(0, pages * PAGE);
  const others = (count ?? 0) - shown.length;
  return (
    <div className="members">
      <span data-member-count>{count === null ? "not joined" : counted(count, "member")}</span>
      <ul aria-label="Members">
        {shown.map((userId) => (
          <li key={userId} title={userId}>
            <Avatar userId={userId} hasStatus />
            <span className="presence-hidden">
              {userId} <UserStatusIndicator userId={userId} showText />
            </span>
          </li>
        ))}
      </ul>
      {others > 0 && (
        <button type="button" className="small" onClick={() => setPages(pages + 1)}>
          {Math.min(PAGE, others)} more
        </button>
      )}
    </div>
  );
}

function Chat({ chatSessionId, person }: { chatSessionId: string; person: Person }) {
  const { messages, send, retry } = useMessages(chatSessionId);
  return (
    <>
      <Members chatSessionId={chatSessionId} />
      {messages.length === 0 && <p className="hint silence">Nothing has been said yet.</p>}
      <ChatRoom
        chatSessionId={chatSessionId}
        currentUserId={person.userId}
        aria-label={`Chat ${chatSessionId}, as ${person.name} sees it`}
        messages={messages}
        onSendMessage={(text) => send({ text })}
        onRetryMessage={({ id }) => retry(id)}
      />
    </>
  );
}

/** The chat sessions that a device has joined; one of them is in sight. */
export function Chats({ session, person }: { session: string; person: Person }) {
  const [joined, setJoined] = useState<readonly string[]>([session]);
  const [current, setCurrent] = useState(session);
  const join = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const id = (new FormData(form).get("chatSessionId") as string).trim();
    if (!joined.includes(id)) setJoined([...joined, id]);
    setCurrent(id);
    form.reset();
  };
  const leave = (id: string) => {
    const left = joined.filter((other) => other !== id);
    setJoined(left);
    if (id === current) setCurrent(left.at(-1) ?? "");
  };
  return (
    <div className="chats">
      <div className="chats-head">
        <ul aria-label="Chat sessions">
          {joined.map((id) => (
            <li key={id}>
              <button type="button" aria-pressed={id === current} onClick={() => setCurrent(id)}>
                {id}
              </button>
            </li>
          ))}
        </ul>
        {current && (
          <button type="button" className="small" onClick={() => leave(current)}>
            Leave
          </button>
        )}
        <form className="in-line" onSubmit={join}>
          <IdField
            name="chatSessionId"
            aria-label="Chat session"
            placeholder="another chat"
            required
          />
          <button type="submit" className="small">
            Join
          </button>
        </form>
      </div>
      {joined.map((id) => (
        <div className="chat" key={id} hidden={id !== current}>
          <Chat chatSessionId={id} person={person} />
        </div>
      ))}
      {!joined.length && <p className="hint">In no chat session. Join one.</p>}
    </div>
  );
}
