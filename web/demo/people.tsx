import { type FormEvent, useState } from "react";
import type { UserPresence } from "../src/index.js";
import {
  english,
  OnlineUsersList,
  UserStatusIndicator,
  useConnection,
  useLastSeenText,
  useOnlineUserIds,
  useUserStatus,
  useUserStatuses,
} from "../src/react/index.js";
import type { Device } from "./device.js";
import { useValue } from "./observable.js";
import { Avatar, IdField } from "./parts.js";
import type { Person } from "./person.js";

/** The person who looks, and the device. */
export interface Viewed {
  readonly person: Person;
  readonly device: Device;
}

function BlockButton({ person, device, userId }: Viewed & { userId: string }) {
  const blocked = useValue(person.blocked);
  const [problem, setProblem] = useState("");
  const [isAsking, setAsking] = useState(false);
  if (!blocked) return null;
  const isBlocked = blocked.has(userId);
  const word = isBlocked ? "Unblock" : "Block";
  const click = async () => {
    setAsking(true);
    setProblem("");
    await person
      .setBlocked(device, userId, !isBlocked)
      .catch((error: Error) => setProblem(error.message));
    setAsking(false);
  };
  return (
    <>
      <button
        type="button"
        className="small"
        data-pressed={isBlocked ? "" : undefined}
        aria-label={`${word} ${userId}`}
        aria-disabled={isAsking}
        onClick={() => !isAsking && click()}
      >
        {word}
      </button>
      {problem && <small role="alert">{problem}</small>}
    </>
  );
}

function PersonRow({ person, device, user }: Viewed & { user: UserPresence }) {
  const { userId, status, text, version } = user;
  const isOwn = userId === person.userId;
  return (
    <div className="person">
      {/* Another one for each version: it lights up once. */}
      <span className="news" key={version} aria-hidden />
      <Avatar userId={userId} hasStatus />
      <div className="person-text">
        <span className="person-name">
          <bdi>{userId}</bdi>
          {isOwn && <em>you</em>}
        </span>
        <small>
          <span>{english.status[status]}</span>
          {text && (
            <>
              {" · "}
              <bdi>{text}</bdi>
            </>
          )}
        </small>
      </div>
      {!isOwn && <BlockButton person={person} device={device} userId={userId} />}
    </div>
  );
}

function GoneRow({ person, device, userId }: Viewed & { userId: string }) {
  const seen = useLastSeenText(userId);
  const blocked = useValue(person.blocked);
  return (
    <li className="person">
      <Avatar userId={userId} hasStatus />
      <div className="person-text">
        <span className="person-name">
          <bdi>{userId}</bdi>
        </span>
        <small>Offline{seen && `, last seen ${seen}`}</small>
      </div>
      {/* A user who is offline cannot be blocked here, but unblocked. */}
      {blocked?.has(userId) && <BlockButton person={person} device={device} userId={userId} />}
    </li>
  );
}

/** Users who were online since the page was opened, and are not any more. */
function Gone({ person, device }: Viewed) {
  const { userIds } = useOnlineUserIds();
  const [seen, setSeen] = useState<readonly string[]>([]);
  const unseen = userIds.filter((id) => !seen.includes(id) && id !== person.userId);
  if (unseen.length) setSeen([...seen, ...unseen]);
  const absent = seen.filter((id) => !userIds.includes(id));
  const presences = useUserStatuses(absent);
  // An erased user was never there.
  const gone = absent.filter((id) => presences.get(id)?.lastSeen != null);
  if (!gone.length) return null;
  return (
    <section className="gone">
      <h3>Went offline</h3>
      <ul aria-label="Went offline">
        {gone.map((userId) => (
          <GoneRow key={userId} person={person} device={device} userId={userId} />
        ))}
      </ul>
    </section>
  );
}

function WatchedRow({ person, userId }: { person: Person; userId: string }) {
  const presence = useUserStatus(userId);
  return (
    <li className="person">
      <div className="person-text">
        <bdi className="person-name">{userId}</bdi>
        <small>
          <UserStatusIndicator userId={userId} size="sm" showText showLastSeen />
          {presence && !presence.isOnline && presence.lastSeen === null && ", never seen"}
        </small>
      </div>
      <button
        type="button"
        className="small"
        aria-label={`Unwatch ${userId}`}
        onClick={() => person.unwatch(userId)}
      >
        Unwatch
      </button>
    </li>
  );
}

/** Some users by their ids, with or without a common chat session. */
function Watching({ person }: { person: Person }) {
  const watched = useValue(person.watched);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    person.watch((new FormData(form).get("userId") as string).trim());
    form.reset();
  };
  return (
    <section className="watching">
      <h3>Watching</h3>
      {watched.length > 0 ? (
        <ul aria-label="Watching">
          {watched.map((userId) => (
            <WatchedRow key={userId} person={person} userId={userId} />
          ))}
        </ul>
      ) : (
        <p className="hint">Users that you watch are shown here, online or not.</p>
      )}
      <form className="in-line" onSubmit={submit}>
        <IdField name="userId" aria-label="User id" placeholder="linus" required />
        <button type="submit">Watch</button>
      </form>
    </section>
  );
}

/** The users that a person sees. */
export function People({ person, device }: Viewed) {
  const { name } = useConnection();
  const { userIds, isLoading } = useOnlineUserIds();
  const isAlone = name === "ready" && !isLoading && !userIds.some((id) => id !== person.userId);
  return (
    <aside className="people" aria-label={`People, as ${person.name} sees them`}>
      {name !== "ready" && userIds.length > 0 && (
        <p className="stale">as it was when the link was lost</p>
      )}
      <OnlineUsersList
        aria-labelledby={undefined}
        aria-label={`Online, as ${person.name} sees it`}
        renderUser={(user) => <PersonRow person={person} device={device} user={user} />}
      />
      {isAlone && (
        <p className="hint">
          You are alone here. Open a tab on the other side, or run{" "}
          <code>.venv/bin/presence join margaret</code>.
        </p>
      )}
      <Gone person={person} device={device} />
      <Watching person={person} />
    </aside>
  );
}
