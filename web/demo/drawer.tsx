import { useEffect, useRef, useState } from "react";
import { useNow } from "./observable.js";
import { Avatar, countdown, counted, Meter } from "./parts.js";
import type { Person } from "./person.js";
import {
  keyOf,
  readTables,
  type Stored,
  type StoredLease,
  type StoredUser,
  usersIn,
} from "./stack.js";

const EVERY_MS = 1_000;

interface Looked {
  readonly stored?: Stored;
  /** How far the server's clock is ahead. */
  readonly ahead: number;
  readonly problem?: string;
}

/** What is stored about some users, read anew each second until it is unmounted. */
function useTables(userIds: readonly string[]): Looked {
  const [looked, setLooked] = useState<Looked>({ ahead: 0 });
  const key = userIds.join(" ");
  useEffect(() => {
    const ended = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    const look = async () => {
      try {
        const stored = await readTables(key.split(" "), ended.signal);
        setLooked({ stored, ahead: stored.now - Date.now() });
      } catch (error) {
        if (ended.signal.aborted) return;
        setLooked((before) => ({ ...before, problem: (error as Error).message }));
      }
      if (!ended.signal.aborted) timer = setTimeout(look, EVERY_MS);
    };
    void look();
    return () => {
      ended.abort();
      clearTimeout(timer);
    };
  }, [key]);
  return looked;
}

function LeaseRow({
  lease,
  left,
  leaseMs,
  person,
}: {
  lease: StoredLease;
  left: number;
  leaseMs: number;
  person: Person | undefined;
}) {
  const here = person?.devices.get().find((it) => it.connectionId === lease.connectionId);
  const ends = left > 0 ? `${countdown(left)} left` : "over, waits for the sweep";
  return (
    <li className="lease-row">
      <span>
        {here?.name ?? (lease.device || "A connection")}{" "}
        <small>{here ? "on this page" : "from before, or elsewhere"}</small>
      </span>
      <Meter left={left} of={leaseMs} />
      <span className="number">{ends}</span>
      <code>{lease.connectionId}</code>
      <small>{lease.isActive ? "active" : "idle"}</small>
    </li>
  );
}

function UserCard({
  user,
  person,
  now,
}: {
  user: StoredUser;
  person: Person | undefined;
  now: number;
}) {
  const seen = Math.max(0, ...user.leases.map(({ expiresAt }) => expiresAt - now));
  const leaseMs = person?.devices.get().find((it) => it.leaseMs)?.leaseMs ?? seen;
  return (
    <li className="stored-user">
      <h3>
        <Avatar userId={user.userId} /> <bdi>{user.userId}</bdi>
      </h3>
      <dl>
        {user.attributes.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {user.leases.length > 0 ? (
        <ul aria-label={`Leases of ${user.userId}`}>
          {user.leases.map((lease) => (
            <LeaseRow
              key={lease.connectionId}
              lease={lease}
              left={lease.expiresAt - now}
              leaseMs={leaseMs}
              person={person}
            />
          ))}
        </ul>
      ) : (
        <p className="hint">No connection holds a lease: offline for all others.</p>
      )}
    </li>
  );
}

function Items({ stored }: { stored: Stored }) {
  return (
    <div className="stored-items">
      {Object.entries(stored.tables).map(([table, items]) => (
        <details key={table}>
          <summary>
            {table} <small>{counted(items.length, "item")}</small>
          </summary>
          <ul>
            {items.map((item) => (
              <li key={keyOf(item)}>
                <details>
                  <summary>
                    <code>{keyOf(item)}</code>
                  </summary>
                  {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it may scroll */}
                  {/* biome-ignore lint/a11y/useSemanticElements: a fieldset holds controls */}
                  <pre tabIndex={0} role="group" aria-label={`Item ${keyOf(item)}`}>
                    {JSON.stringify(item, null, 2)}
                  </pre>
                </details>
              </li>
            ))}
          </ul>
        </details>
      ))}
      {stored.truncated && <p className="hint">There are more items than are shown.</p>}
    </div>
  );
}

function Contents({ people }: { people: readonly Person[] }) {
  const { stored, ahead, problem } = useTables(people.map(({ userId }) => userId));
  const now = useNow() + ahead;
  const find = (userId: string) => people.find((person) => person.userId === userId);
  return (
    <>
      <p role="status">{problem}</p>
      {!stored && !problem && <p className="hint">Reading the tables…</p>}
      {stored && (
        <>
          <ul className="stored-users" aria-label="Stored users">
            {usersIn(stored).map((user) => (
              <UserCard key={user.userId} user={user} person={find(user.userId)} now={now} />
            ))}
          </ul>
          <Items stored={stored} />
        </>
      )}
    </>
  );
}

/** What the server has stored about the people on the page. */
export function Drawer({
  isOpen,
  close,
  people,
}: {
  isOpen: boolean;
  close: () => void;
  people: readonly Person[];
}) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (isOpen) heading.current?.focus();
  }, [isOpen]);
  return (
    <section
      id="drawer"
      className="drawer"
      aria-label="Server"
      hidden={!isOpen}
      onKeyDown={(event) => event.key === "Escape" && close()}
    >
      {isOpen && (
        <>
          <header>
            <h2 ref={heading} tabIndex={-1}>
              What the server has stored
            </h2>
            <p className="hint">Three DynamoDB tables, read each second while this is open.</p>
            <button type="button" className="small" onClick={close}>
              Close the drawer
            </button>
          </header>
          <Contents people={people} />
        </>
      )}
    </section>
  );
}
