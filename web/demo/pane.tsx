import { useId, useState } from "react";
import { english, SocketProvider, usePresenceEvent, useUserStatus } from "../src/react/index.js";
import type { Device } from "./device.js";
import { Devices, Lab, Nowhere, useLink } from "./devices.js";
import { useValue } from "./observable.js";
import { Avatar } from "./parts.js";
import type { Person } from "./person.js";
import { Screen } from "./screen.js";
import { Wire } from "./wire.js";

/** One of the texts, as this page wants it. */
const labels = {
  online: (count: number | null) => (count === null ? "Online" : `${count} online`),
};

function LinkWords({
  words,
  detail,
  tone,
  name,
}: {
  words: string;
  detail?: string;
  tone: string;
  name: string;
}) {
  return (
    <p className="link" data-tone={tone}>
      <i aria-hidden />
      <span role="status" aria-label={`Link of ${name}`}>
        {words}
      </span>
      {detail && <small>{detail}</small>}
    </p>
  );
}

function Link({ device, name }: { device: Device; name: string }) {
  return <LinkWords {...useLink(device)} name={name} />;
}

function OwnStatus({ userId }: { userId: string }) {
  const presence = useUserStatus(userId);
  const status = presence?.status ?? "unknown";
  const words = status === "invisible" ? "Invisible: offline for others" : english.status[status];
  return (
    <span data-own data-stale={presence?.fresh === false ? "" : undefined}>
      {words}
    </span>
  );
}

/** For screen readers: a sentence for each change. */
function Announcer() {
  const [said, setSaid] = useState("");
  usePresenceEvent("user-status-change", ({ changes }) => {
    const sentences = changes.map(({ userId, status, text }) => {
      const is = `${userId} is ${english.status[status].toLowerCase()}`;
      return text ? `${is}: ${text}` : is;
    });
    setSaid(sentences.join(". "));
  });
  return (
    <p className="presence-hidden" aria-live="polite">
      {said}
    </p>
  );
}

/** Who it is, how they are, and whether their device is connected. */
function Head({ person, id }: { person: Person; id: string }) {
  const selected = useValue(person.selected);
  const heading = <h2 id={id}>{person.name}</h2>;
  if (selected)
    return (
      <SocketProvider client={selected.client}>
        <Avatar userId={person.userId} isLarge hasStatus />
        <div>
          {heading}
          <OwnStatus userId={person.userId} />
        </div>
        <Link device={selected} name={person.name} />
        <Announcer key={selected.id} />
      </SocketProvider>
    );
  return (
    <>
      <Avatar userId={person.userId} isLarge />
      <div>
        {heading}
        <span data-own>Offline</span>
      </div>
      <LinkWords words="No open tab" tone="closed" name={person.name} />
    </>
  );
}

/** Everything of one person. */
export function Pane({
  person,
  session,
  remove,
}: {
  person: Person;
  session: string;
  remove?: () => void;
}) {
  const heading = useId();
  const devices = useValue(person.devices);
  const selected = useValue(person.selected);
  const blocked = useValue(person.blocked);
  return (
    <section className="pane" aria-labelledby={heading} data-blocks={blocked ? "known" : undefined}>
      <header className="who">
        <Head person={person} id={heading} />
        {remove && (
          <button type="button" className="small" onClick={remove}>
            Remove <span className="presence-hidden">{person.name}</span>
          </button>
        )}
      </header>
      {devices.length > 0 ? (
        <Devices person={person} devices={devices} />
      ) : (
        <Nowhere person={person} />
      )}
      {devices.map((device) => (
        <SocketProvider
          key={device.id}
          client={device.client}
          nameOf={person.nameOf}
          labels={labels}
        >
          <Screen person={person} device={device} session={session} isShown={device === selected} />
        </SocketProvider>
      ))}
      {selected && <Lab key={selected.id} device={selected} person={person} />}
      <Wire person={person} />
    </section>
  );
}
