/** All components in all they can show, on a server in memory: it needs no stack. */

import { type ReactNode, useEffect, useId, useState } from "react";
import type { Status } from "../src/index.js";
import {
  ChatApp,
  type ChatMessage,
  ChatRoom,
  ConnectionBanner,
  english,
  OnlineUsersList,
  type Size,
  SocketProvider,
  StatusPicker,
  TypingIndicator,
  UserStatusIndicator,
} from "../src/react/index.js";
import { capitalised } from "./parts.js";
import { ME, MINUTE, NAMES, run, STATUSES, type Stage, setStage } from "./stage.js";

const SIZES: readonly Size[] = ["xs", "sm", "md", "lg"];
const MESSAGES: readonly ChatMessage[] = [
  {
    id: "1",
    senderId: NAMES.online,
    text: "Is the engine ready?",
    createdAt: Date.now() - 4 * MINUTE,
  },
  {
    id: "2",
    senderId: ME,
    text: "It weaves algebraic patterns.",
    createdAt: Date.now() - 3 * MINUTE,
  },
  {
    id: "3",
    senderId: NAMES.busy,
    text: "שלום — ready when you are",
    createdAt: Date.now() - MINUTE,
  },
  { id: "4", senderId: ME, text: "On my way", createdAt: Date.now(), state: "sending" },
  { id: "5", senderId: ME, text: "Can you hear me?", createdAt: Date.now(), state: "failed" },
];

function Exhibit({ title, note, children }: { title: string; note: string; children: ReactNode }) {
  const heading = useId();
  return (
    <section className="exhibit" aria-labelledby={heading}>
      <h3 id={heading}>{title}</h3>
      <p className="hint">{note}</p>
      {children}
    </section>
  );
}

function Indicators({ stage }: { stage: Stage }) {
  return (
    <table>
      <thead>
        <tr>
          <th scope="col">Status</th>
          {SIZES.map((size) => (
            <th key={size} scope="col">
              {size}
            </th>
          ))}
          <th scope="col">With text</th>
        </tr>
      </thead>
      <tbody>
        {STATUSES.map((status) => (
          <SocketProvider key={status} client={status === "invisible" ? stage.hidden : stage.live}>
            <IndicatorRow status={status} />
          </SocketProvider>
        ))}
        <SocketProvider client={stage.cut}>
          <IndicatorRow status="busy" name="Stale" />
        </SocketProvider>
      </tbody>
    </table>
  );
}

function IndicatorRow({ status, name }: { status: Status; name?: string }) {
  const userId = NAMES[status];
  return (
    <tr>
      <th scope="row">{name ?? english.status[status]}</th>
      {SIZES.map((size) => (
        <td key={size}>
          <UserStatusIndicator userId={userId} size={size} />
        </td>
      ))}
      <td>
        <UserStatusIndicator userId={userId} showText showLastSeen />
      </td>
    </tr>
  );
}

function Exhibits({ stage }: { stage: Stage }) {
  const { live, cut, refused } = stage;
  useEffect(() => run(stage), [stage]);
  return (
    <div className="exhibits">
      <Exhibit
        title="UserStatusIndicator"
        note="A shape of its own for each status: colour is not needed to tell them apart."
      >
        <Indicators stage={stage} />
      </Exhibit>
      <Exhibit title="OnlineUsersList" note="Live, and as it was when the link went down.">
        <div className="pair">
          <SocketProvider client={live} nameOf={capitalised}>
            <OnlineUsersList aria-labelledby={undefined} aria-label="Live" />
          </SocketProvider>
          <SocketProvider client={cut} nameOf={capitalised}>
            <OnlineUsersList aria-labelledby={undefined} aria-label="Stale" />
          </SocketProvider>
        </div>
      </Exhibit>
      <Exhibit title="StatusPicker" note="Native radio buttons: the arrow keys do as everywhere.">
        <SocketProvider client={live}>
          <StatusPicker />
        </SocketProvider>
      </Exhibit>
      <Exhibit title="ConnectionBanner" note="Nothing while all is well; what happens next if not.">
        <div className="stack">
          <SocketProvider client={cut}>
            <ConnectionBanner graceMs={1} />
          </SocketProvider>
          <SocketProvider client={refused}>
            <ConnectionBanner graceMs={1} />
          </SocketProvider>
        </div>
      </Exhibit>
      <ChatExhibits stage={stage} />
    </div>
  );
}

function ChatExhibits({ stage: { fake, live } }: { stage: Stage }) {
  return (
    <>
      <Exhibit title="TypingIndicator" note="Dots and names for the eye, a sentence for the ear.">
        <SocketProvider client={live} nameOf={capitalised}>
          <TypingIndicator chatSessionId="lobby" />
        </SocketProvider>
      </Exhibit>
      <Exhibit title="ChatRoom" note="Messages that are there, on their way, and not sent.">
        <SocketProvider client={live} nameOf={capitalised}>
          <ChatRoom
            chatSessionId="lobby"
            currentUserId={ME}
            messages={MESSAGES}
            onSendMessage={() => {}}
            onRetryMessage={() => {}}
          />
        </SocketProvider>
      </Exhibit>
      <Exhibit title="ChatApp" note="Everything at once; without a user it asks for a name.">
        <div className="small-app">
          <ChatApp {...fake.device().options} />
        </div>
      </Exhibit>
    </>
  );
}

function Toggle({
  label,
  isOn,
  set,
}: {
  label: string;
  isOn: boolean;
  set: (isOn: boolean) => void;
}) {
  return (
    <label className="toggle">
      <input type="checkbox" checked={isOn} onChange={(event) => set(event.target.checked)} />
      {label}
    </label>
  );
}

export function Gallery() {
  const [stage, setStageOf] = useState<Stage>();
  const [isRightToLeft, setRightToLeft] = useState(false);
  const [hasContrast, setContrast] = useState(false);
  useEffect(() => {
    let isWanted = true;
    let made: Stage | undefined;
    void setStage().then((stage) => {
      made = stage;
      if (isWanted) setStageOf(stage);
    });
    return () => {
      isWanted = false;
      for (const it of [made?.live, made?.cut, made?.refused, made?.hidden]) it?.disconnect();
    };
  }, []);
  return (
    <div className="gallery">
      <div className="intro">
        <div>
          <h2>Components</h2>
          <p>
            All of <code>@presence/client/react</code>, on a server in memory from{" "}
            <code>@presence/client/testing</code>.
          </p>
        </div>
        <div className="toggles">
          <Toggle label="Right to left" isOn={isRightToLeft} set={setRightToLeft} />
          <Toggle label="High contrast" isOn={hasContrast} set={setContrast} />
        </div>
      </div>
      <div
        className="showroom"
        dir={isRightToLeft ? "rtl" : "ltr"}
        data-contrast={hasContrast ? "high" : undefined}
      >
        {stage ? <Exhibits stage={stage} /> : <p className="hint">Setting the stage…</p>}
      </div>
    </div>
  );
}
