import type { Device } from "./device.js";
import { useLink } from "./link.js";
import { useNow, useValue } from "./observable.js";
import type { Person } from "./person.js";
import { counted } from "./words.js";

function Chip({ device, person }: { device: Device; person: Person }) {
  const selected = useValue(person.selected);
  const { words, tone } = useLink(device);
  const connection = useValue(device.client.connection);
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
          {device.name} <small>{words + why}</small>
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
          // The button has gone, and whoever pressed it by keyboard would begin at the top again.
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

/** Somebody's devices, one of which is looked at. */
export function Devices({ person, devices }: { person: Person; devices: readonly Device[] }) {
  const states = devices.map(({ client }) => client.connection.get().name);
  useNow();
  const live = states.filter((name) => name === "ready").length;
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
      </div>
    </div>
  );
}

/** Of somebody who has closed them all. */
export function Nowhere({ person }: { person: Person }) {
  return (
    <div className="nowhere">
      <p>
        <strong>{person.name} has closed every device.</strong>
      </p>
      <p>
        The others see it when the grace period is over: ten seconds, if nobody has changed it.
        Whoever is back before was never away.
      </p>
      <button type="button" className="primary" data-opener onClick={() => person.open("tab")}>
        Open a tab
      </button>
    </div>
  );
}
