import { useId, useState } from "react";
import { bill, total, USUAL, type Usage } from "./cost.js";

const dollars = new Intl.NumberFormat("en-US", {
  style: "currency",
  currency: "USD",
  minimumSignificantDigits: 3,
  maximumSignificantDigits: 3,
});

interface Field {
  readonly label: string;
  readonly unit: string;
  readonly min: number;
  readonly max: number;
}

/** The parameters of the template end where these do. */
const FIELDS: Readonly<Record<keyof Usage, Field>> = {
  users: { label: "Users", unit: "a day", min: 0, max: 1_000_000 },
  days: { label: "Days", unit: "a month", min: 0, max: 31 },
  shownHours: { label: "Page shown", unit: "hours a day", min: 0, max: 24 },
  hiddenHours: { label: "Page hidden", unit: "hours a day", min: 0, max: 24 },
  contacts: { label: "Contacts on the screen", unit: "for each user", min: 0, max: 1_000 },
  heartbeatSeconds: { label: "HeartbeatSeconds", unit: "s", min: 10, max: 540 },
  backgroundHeartbeatSeconds: { label: "BackgroundHeartbeatSeconds", unit: "s", min: 10, max: 540 },
};

const NAMES = Object.keys(FIELDS) as (keyof Usage)[];

function Amount({
  field: { label, unit, ...bounds },
  value,
  set,
}: {
  field: Field;
  value: number;
  set: (value: number) => void;
}) {
  const id = useId();
  const [text, setText] = useState(`${value}`);
  return (
    <div className="amount">
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        type="number"
        inputMode="decimal"
        step="any"
        required
        {...bounds}
        value={text}
        aria-describedby={`${id}-unit`}
        onChange={({ currentTarget }) => {
          setText(currentTarget.value);
          // What is out of bounds is marked by the browser, and changes no sum.
          if (currentTarget.validity.valid) set(currentTarget.valueAsNumber);
        }}
      />
      <small id={`${id}-unit`}>{unit}</small>
    </div>
  );
}

/** What a month of other users costs, by the prices of the meter's day. */
export function Calculator() {
  const [usage, setUsage] = useState<Usage>(USUAL);
  const parts = bill(usage);
  const sum = total(parts);
  return (
    <div className="calculator">
      <div className="intro">
        <div>
          <h2>What it costs</h2>
          <p>
            The list prices of AWS, without free tiers, by the meter of <code>bench/bill</code>. Its
            whole bills are in <code>docs/cost.md</code>.
          </p>
        </div>
      </div>
      <form className="amounts" aria-label="Usage" onSubmit={(event) => event.preventDefault()}>
        {NAMES.map((name) => (
          <Amount
            key={name}
            field={FIELDS[name]}
            value={usage[name]}
            set={(value) => setUsage((before) => ({ ...before, [name]: value }))}
          />
        ))}
      </form>
      <table className="bill">
        <caption>A month</caption>
        <tbody>
          {parts.map((part) => (
            <tr key={part.name}>
              <th scope="row">{part.name}</th>
              <td className="share" aria-hidden>
                <span style={{ inlineSize: `${sum ? (100 * part.dollars) / sum : 0}%` }} />
              </td>
              <td>{dollars.format(part.dollars)}</td>
            </tr>
          ))}
        </tbody>
        <tfoot>
          <tr>
            <th scope="row">Total</th>
            <td aria-hidden />
            <td>
              <output aria-label="Total">{dollars.format(sum)}</output>
            </td>
          </tr>
        </tfoot>
      </table>
    </div>
  );
}
