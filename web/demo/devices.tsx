/** The devices of a person: which there are, what each believes of its link, and what may go wrong. */

import type { ConnectionState } from "../src/index.js";
import type { TabRole } from "../src/tabs/index.js";
import { type Attendance, type Condition, type Device, PATIENCE_MS } from "./device.js";
import { useNow, useValue } from "./observable.js";
import { type Choosable, countdown, counted, Meter, Segments } from "./parts.js";
import type { Person } from "./person.js";

/** Where the connection of tabs that share one is. */
const ROLES: Partial<Record<TabRole, string>> = { leader: " · leads", follower: " · follows" };

function Chip({ device, person }: { device: Device; person: Person }) {
  const selected = useValue(person.selected);
  const { words, tone } = useLink(device);
  const connection = useValue(device.client.connection);
  const { role } = useValue(device.tabs);
  const why = connection.name === "failed" ? ` · ${connection.error.message}` : "";
  return (
    <li data-tone={tone} data-selected={device === selected ? "" : undefined}>
      <button
        type="button"
        className="chip"
        aria-pressed={device === selected}
        onClick={() => person.selected.set(device)}
      >
        <DeviceIcon kind={device.kind} />
        <span>
          {device.name} <small>{words + why + (ROLES[role] ?? "")}</small>
        </span>
      </button>
      <button
        type="button"
        className="close"
        aria-label={`Close ${device.name}`}
        title={`Close ${device.name}`}
        onClick={({ currentTarget }) => {
          const pane = currentTarget.closest(".pane");
          person.close(device);
          // The button has gone, and with it the focus: a keyboard would begin at the top again.
          setTimeout(() => pane?.querySelector<HTMLElement>("[data-opener]")?.focus());
        }}
      >
        <svg viewBox="0 0 10 10" width="10" height="10" aria-hidden>
          <path d="M1 1l8 8M9 1L1 9" stroke="currentColor" strokeWidth="1.5" />
        </svg>
      </button>
    </li>
  );
}

function DeviceIcon({ kind }: { kind: Device["kind"] }) {
  const path = kind === "phone" ? "M4.5 1.5h7v13h-7zM7 12.5h2" : "M2.5 3h11v8h-11zM1 13.500h14";
  return (
    <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden>
      <path d={path} fill="none" stroke="currentColor" strokeWidth="1.5" strokeLinejoin="round" />
    </svg>
  );
}

/** The devices of a person, one of which is looked at. */
export function Devices({ person, devices }: { person: Person; devices: readonly Device[] }) {
  useNow();
  const live = devices.filter(
    ({ client, tabs }) =>
      client.connection.get().name === "ready" && tabs.get().role !== "follower",
  ).length;
  return (
    <div className="devices">
      <h3>{counted(live, "device")} connected</h3>
      <ul aria-label="Devices">
        {devices.map((device) => (
          <Chip key={device.id} device={device} person={person} />
        ))}
      </ul>
      <div className="openers">
        <button type="button" className="small" data-opener onClick={() => person.open("tab")}>
          Open another tab
        </button>
        <button type="button" className="small" onClick={() => person.open("phone")}>
          Open on a phone
        </button>
        <button
          type="button"
          className="small"
          title="All such tabs have one connection together"
          onClick={() => person.open("shared")}
        >
          Open a sharing tab
        </button>
      </div>
    </div>
  );
}

/** In place of the devices, when all are closed. */
export function Nowhere({ person }: { person: Person }) {
  return (
    <div className="nowhere">
      <p>
        <strong>{person.name} has closed every device.</strong>
      </p>
      <p>
        The others see it when the grace period is over: after ten seconds, by default. A device
        that is back before that was never away.
      </p>
      <button type="button" className="primary" data-opener onClick={() => person.open("tab")}>
        Open a tab
      </button>
    </div>
  );
}

// The link of a device.

/** What the device believes of its link, in two words. */
function linkWords(connection: ConnectionState, isActive: boolean, isFirst: boolean): string {
  switch (connection.name) {
    case "ready":
      return isActive ? "Live" : "Live, idle";
    case "recovering":
      return "Reconnecting";
    case "offline":
      return "No network";
    case "failed":
      return connection.error.code === "kicked" ? "Closed by the server" : "Refused";
    default:
      return isFirst ? "Connecting" : "Reconnecting";
  }
}

const STILL = { frozen: "Frozen", asleep: "Asleep" };

/** The same, besides what a person in front of the device sees: whether its page runs. */
export function useLink(device: Device): { words: string; detail: string; tone: string } {
  const now = useNow();
  const { condition, attendance } = useValue(device.state);
  const connection = useValue(device.client.connection);
  const { isActive } = useValue(device.client.me);
  if (attendance === "asleep") return { words: STILL.asleep, detail: "", tone: "still" };
  if (condition === "frozen") return { words: STILL.frozen, detail: "", tone: "still" };
  const words = linkWords(connection, isActive, device.connectionId === undefined);
  return { words, detail: detailOf(device, connection, now), tone: connection.name };
}

function detailOf({ client }: Device, connection: ConnectionState, now: number): string {
  if (connection.name === "recovering") return `in ${countdown(connection.retryAt - now)}`;
  if (connection.name === "failed") return connection.error.code;
  const { roundTripMs } = client.stats();
  if (connection.name !== "ready" || roundTripMs === undefined) return "";
  return `${Math.max(1, Math.round(roundTripMs))} ms`;
}

// What may go wrong.

const CONDITIONS: readonly Choosable<Condition>[] = [
  { value: "works", label: "Works" },
  { value: "cut", label: "Cut" },
  { value: "black-hole", label: "Black hole" },
  { value: "frozen", label: "Frozen" },
];

const ATTENDANCES: readonly Choosable<Attendance>[] = [
  { value: "there", label: "There" },
  { value: "away", label: "Stepped away" },
  { value: "hidden", label: "Tab hidden" },
  { value: "asleep", label: "Asleep" },
];

/** What happens now, and how it ends. */
function explain(device: Device, isOver: boolean, name: string): string {
  const { leaseMs, heartbeatMs, state, tabs } = device;
  const { condition, attendance } = state.get();
  const end = isOver
    ? `The lease is over: with the next sweep, once a minute, ${name} is offline for the others, unless another device is connected.`
    : "The server does not know it, and waits until the lease ends.";
  if (attendance === "asleep") return `The device sleeps: nothing runs, nothing is sent. ${end}`;
  if (condition === "cut") return `The socket has dropped and nothing connects. ${end}`;
  if (condition === "black-hole")
    return `The socket looks open, but frames are lost both ways. The client notices the silence by itself. ${end}`;
  if (condition === "frozen")
    return `The page's timers stand still, so no heartbeat is sent. ${end}`;
  const patience = `after ${PATIENCE_MS / 1_000} s here, minutes in real life`;
  if (attendance === "away") return `No touch, no key: away ${patience}.`;
  if (attendance === "hidden") return `The tab is in the background: away ${patience}.`;
  if (tabs.get().role === "follower")
    return "The tab that leads has the connection. When it is closed or frozen, another one leads.";
  if (!leaseMs) return "Connecting for the first time.";
  return `A heartbeat every ${heartbeatMs / 1_000} s renews a lease of ${leaseMs / 1_000} s.`;
}

function Lease({ device }: { device: Device }) {
  const now = useNow();
  const left = device.leaseEndsAt - now;
  if (!device.leaseMs || device.tabs.get().role === "follower") return null;
  return (
    <p className="lease">
      <Meter left={left} of={device.leaseMs} />
      <span>{left > 0 ? `lease ends in ${countdown(left)}` : "lease is over"}</span>
    </p>
  );
}

/** What may go wrong with a device, to try out. */
export function Lab({ device, person }: { device: Device; person: Person }) {
  useNow();
  const { condition, attendance } = useValue(device.state);
  const of = <span className="presence-hidden"> of {device.name}</span>;
  const isOver = device.leaseMs > 0 && device.leaseEndsAt < Date.now();
  const isFine = condition === "works" && attendance === "there";
  return (
    <section className="lab" aria-label={`What happens to ${device.name} of ${person.name}`}>
      <Segments
        legend={<>Network{of}</>}
        value={condition}
        options={CONDITIONS}
        choose={(condition) => device.set({ condition })}
      />
      <Segments
        legend={<>Person{of}</>}
        value={attendance}
        options={ATTENDANCES}
        choose={(attendance) => device.set({ attendance })}
      />
      <div className="lab-says" data-fine={isFine ? "" : undefined}>
        <p>{explain(device, isOver, person.name)}</p>
        <Lease device={device} />
      </div>
    </section>
  );
}
