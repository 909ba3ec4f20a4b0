/** What is on the display of a device: the own status, other people, and chat sessions. */

import { type FormEvent, useState } from "react";
import {
  ChatRoom,
  ConnectionBanner,
  StatusPicker,
  UserStatusIndicator,
  useMessages,
  useMyStatus,
  useOnlineUserIds,
} from "../src/react/index.js";
import { useNow, useValue } from "./observable.js";
import { Avatar, countdown, counted, IdField } from "./parts.js";
import { People, type Viewed } from "./people.js";
import type { Person } from "./person.js";

const FOR: readonly (readonly [string, number])[] = [
  ["Until changed", 0],
  ["For 10 seconds", 10_000],
  ["For 30 minutes", 1_800_000],
  ["For 8 hours", 28_800_000],
];

/** How long a chosen status lasts. */
function Until() {
  const { status, text, isAuto, setStatus } = useMyStatus();
  const [until, setUntil] = useState({ status: "", lasting: 0, at: 0 });
  const now = useNow();
  const isChosen = status !== "online" && status !== "offline" && !isAuto;
  const left = isChosen && until.status === status ? until.at - now : 0;
  const choose = (milliseconds: number) => {
    if (status === "offline") return;
    const at = milliseconds ? Date.now() + milliseconds : 0;
    setUntil({ status, lasting: milliseconds, at });
    setStatus(status, { ...(text ? { text } : {}), ...(at ? { until: at } : {}) }).catch(() => {});
  };
  return (
    <p className="until">
      <select
        aria-label="How long"
        disabled={!isChosen}
        value={left > 0 ? until.lasting : 0}
        onChange={(event) => choose(Number(event.target.value))}
      >
        {FOR.map(([label, milliseconds]) => (
          <option key={label} value={milliseconds}>
            {label}
          </option>
        ))}
      </select>
      {left > 0 && <small>ends in {countdown(left)}</small>}
    </p>
  );
}

const VEILS = {
  frozen: "This page is frozen.",
  asleep: "This device sleeps.",
};

/** What is on the display of a device. */
export function Screen({
  person,
  device,
  session,
  isShown,
}: Viewed & { session: string; isShown: boolean }) {
  const { condition, attendance } = useValue(device.state);
  const veil =
    attendance === "asleep" ? VEILS.asleep : condition === "frozen" ? VEILS.frozen : undefined;
  return (
    <div className="screen" data-kind={device.kind} hidden={!isShown}>
      <div className="screen-content" inert={veil !== undefined}>
        <ConnectionBanner />
        <div className="me">
          <StatusPicker />
          <Until />
        </div>
        <div className="screen-grid">
          <People person={person} device={device} />
          <Chats session={session} person={person} />
        </div>
      </div>
      {veil && (
        <p className="veil">
          <span>{veil}</span>
        </p>
      )}
    </div>
  );
}

// Chat sessions.

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

function Tabs({
  joined,
  current,
  choose,
}: {
  joined: readonly string[];
  current: string;
  choose: (id: string) => void;
}) {
  return (
    <ul aria-label="Chat sessions">
      {joined.map((id) => (
        <li key={id}>
          <button type="button" aria-pressed={id === current} onClick={() => choose(id)}>
            {id}
          </button>
        </li>
      ))}
    </ul>
  );
}

function JoinForm({ join }: { join: (id: string) => void }) {
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    join((new FormData(form).get("chatSessionId") as string).trim());
    form.reset();
  };
  return (
    <form className="in-line" onSubmit={submit}>
      <IdField name="chatSessionId" aria-label="Chat session" placeholder="another chat" required />
      <button type="submit" className="small">
        Join
      </button>
    </form>
  );
}

/** The chat sessions that a device has joined; one of them is in sight. */
function Chats({ session, person }: { session: string; person: Person }) {
  const [joined, setJoined] = useState<readonly string[]>([session]);
  const [current, setCurrent] = useState(session);
  const join = (id: string) => {
    if (!joined.includes(id)) setJoined([...joined, id]);
    setCurrent(id);
  };
  const leave = (id: string) => {
    const left = joined.filter((other) => other !== id);
    setJoined(left);
    if (id === current) setCurrent(left.at(-1) ?? "");
  };
  return (
    <div className="chats">
      <div className="chats-head">
        <Tabs joined={joined} current={current} choose={setCurrent} />
        {current && (
          <button type="button" className="small" onClick={() => leave(current)}>
            Leave
          </button>
        )}
        <JoinForm join={join} />
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
