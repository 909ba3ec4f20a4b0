import { useState } from "react";
import { ConnectionBanner, StatusPicker, useMyStatus } from "../src/react/index.js";
import { Chats } from "./chats.js";
import { useNow, useValue } from "./observable.js";
import { People, type Viewed } from "./people.js";
import { countdown } from "./words.js";

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
