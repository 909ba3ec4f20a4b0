import type { Attendance, Condition, Device } from "./device.js";
import { PATIENCE_MS } from "./device.js";
import { useNow, useValue } from "./observable.js";
import { type Choosable, Meter, Segments } from "./parts.js";
import type { Person } from "./person.js";
import { countdown } from "./words.js";

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

/** What happens now, and why nobody has to worry. */
function explain({ leaseMs, heartbeatMs, state }: Device, isOver: boolean, name: string): string {
  const { condition, attendance } = state.get();
  const end = isOver
    ? `The lease is over: with the next sweep, once a minute, ${name} is offline for the others, but for another device.`
    : "The server was not told, and waits until the lease ends.";
  if (attendance === "asleep") return `The device sleeps: nothing runs, nothing is sent. ${end}`;
  if (condition === "cut") return `The socket has dropped and nothing connects. ${end}`;
  if (condition === "black-hole")
    return `The socket looks open, but frames are lost both ways. The client notices the silence by itself. ${end}`;
  if (condition === "frozen")
    return `The page's timers stand still, so no heartbeat is sent. ${end}`;
  const patience = `after ${PATIENCE_MS / 1_000} s here, minutes in real life`;
  if (attendance === "away") return `Nobody touches this device: away ${patience}.`;
  if (attendance === "hidden") return `The tab is in the background: away ${patience}.`;
  if (!leaseMs) return "Connecting for the first time.";
  return `A heartbeat every ${heartbeatMs / 1_000} s renews a lease of ${leaseMs / 1_000} s.`;
}

function Lease({ device }: { device: Device }) {
  const now = useNow();
  const left = device.leaseEndsAt - now;
  if (!device.leaseMs) return null;
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
