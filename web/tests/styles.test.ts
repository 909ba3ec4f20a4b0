// What axe cannot judge without a browser: that text and marks stand out from what is behind them.

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

const sheet = readFileSync(new URL("../src/styles.css", import.meta.url), "utf8");

function colours(block: string): Record<string, string> {
  const found = [...block.matchAll(/--presence-([\w-]+): (#[\da-f]+);/g)];
  return Object.fromEntries(found.map(([, name, value]) => [name, value]));
}

/** Relative luminance, as WCAG 2 defines it. */
function luminance(hex: string): number {
  const digits = hex.length === 4 ? hex.replace(/[\da-f]/g, "$&$&") : hex;
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(digits.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: string, other: string): number {
  const [dark = 0, light = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

const [light = "", dark = ""] = sheet.split("@media (prefers-color-scheme: dark)");
const schemes: [string, Record<string, string>][] = [
  ["light", colours(light)],
  ["dark", colours(dark.slice(0, dark.indexOf("}\n}")))],
];

const marks = ["online", "away", "busy", "dnd", "offline"];

describe.each(schemes)("%s", (_, colour) => {
  const between = (one: string, other: string) => contrast(colour[one] ?? "", colour[other] ?? "");

  test.each(["ground", "raised"])("text and marks stand out from the %s", (behind) => {
    for (const text of ["text", "muted"])
      expect(between(text, behind), text).toBeGreaterThanOrEqual(4.5);
    for (const mark of [...marks, "accent", "line"])
      expect(between(mark, behind), mark).toBeGreaterThanOrEqual(3);
  });

  test("what stands on the accent can be read", () => {
    expect(between("on-accent", "accent")).toBeGreaterThanOrEqual(4.5);
  });
});

test("motion, forced colours, the focus and both directions of writing are thought of", () => {
  expect(sheet).toContain("prefers-reduced-motion: reduce");
  expect(sheet).toContain("forced-colors: active");
  expect(sheet).toContain(":focus-visible");
  expect(sheet).not.toMatch(
    /(margin|padding|border)-(left|right)|\b(left|right):|text-align: (l|r)/,
  );
});
