import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { bill, total, USUAL } from "../../demo/cost.js";

interface Bill {
  readonly total: number;
  readonly by_cause: Readonly<Record<string, number>>;
  readonly parameters: Readonly<Record<string, number>>;
}

interface Day {
  readonly name: string;
  readonly bills: readonly Bill[];
  readonly variants: readonly Bill[];
}

const record = JSON.parse(
  readFileSync(new URL("../../../bench/bill.json", import.meta.url), "utf8"),
) as { days: readonly Day[] };
const day = record.days.find(({ name }) => name === "readme") as Day;
const off = (found: number, wanted: number) => Math.abs(found / wanted - 1);

describe("the calculator", () => {
  test("says of the meter's day what the meter says", () => {
    expect(off(total(bill(USUAL)), day.bills[0]?.total ?? 0)).toBeLessThan(0.001);
  });

  test.each(day.variants)(
    "is near the meter's bill with $parameters",
    ({ parameters, total: it }) => {
      const found = bill({
        ...USUAL,
        heartbeatSeconds: parameters.HeartbeatSeconds ?? 0,
        backgroundHeartbeatSeconds: parameters.BackgroundHeartbeatSeconds ?? 0,
      });
      expect(off(total(found), it)).toBeLessThan(0.05);
    },
  );

  test("bills what is there without users", () => {
    const parts = bill({ ...USUAL, users: 0 });
    expect(parts.filter(({ dollars }) => dollars > 0).map(({ name }) => name)).toEqual([
      "Without a user",
    ]);
  });

  test("grows with each amount, and falls with slower heartbeats", () => {
    const usual = total(bill(USUAL));
    for (const name of ["users", "days", "shownHours", "hiddenHours", "contacts"] as const)
      expect(total(bill({ ...USUAL, [name]: USUAL[name] + 1 }))).toBeGreaterThan(usual);
    for (const name of ["heartbeatSeconds", "backgroundHeartbeatSeconds"] as const)
      expect(total(bill({ ...USUAL, [name]: USUAL[name] * 2 }))).toBeLessThan(usual);
  });
});
