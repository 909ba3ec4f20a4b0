/** Small things that several places show, and what instants, durations and people are called. */

import { type InputHTMLAttributes, type ReactNode, useId, useState } from "react";
import { UserStatusIndicator } from "../src/react/index.js";

const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

export function capitalised(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

/** "1:05" */
export function countdown(milliseconds: number): string {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1_000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

export function timeOfDay(instant: number): string {
  return clock.format(instant);
}

/** "1 device", "3 devices" */
export function counted(count: number, noun: string): string {
  return `${count} ${count === 1 ? noun : `${noun}s`}`;
}

/** A hue for a user, from 0 to 359: the same on every page (FNV-1a). */
export function hueOf(userId: string): number {
  let mixed = 0x811c9dc5;
  for (const character of userId)
    mixed = Math.imul(mixed ^ (character.codePointAt(0) ?? 0), 0x01000193);
  return (mixed >>> 0) % 360;
}

export function Avatar({
  userId,
  isLarge,
  hasStatus,
}: {
  userId: string;
  isLarge?: boolean;
  /** Needs a provider. */
  hasStatus?: boolean;
}) {
  const size = isLarge ? "lg" : "md";
  return (
    <span className="avatar" data-size={size} aria-hidden>
      <span style={{ "--hue": hueOf(userId) } as object}>{capitalised(userId).slice(0, 1)}</span>
      {hasStatus && <UserStatusIndicator userId={userId} size={size} decorative />}
    </span>
  );
}

export interface Choosable<T extends string> {
  readonly value: T;
  readonly label: string;
}

/** One of several, all in sight: radio buttons in a row. */
export function Segments<T extends string>({
  legend,
  value,
  options,
  choose,
}: {
  legend: ReactNode;
  value: T;
  options: readonly Choosable<T>[];
  choose: (value: T) => void;
}) {
  const group = useId();
  return (
    <fieldset className="segments">
      <legend>{legend}</legend>
      <div>
        {options.map((option) => (
          <label key={option.value}>
            <input
              type="radio"
              className="presence-hidden"
              name={group}
              checked={option.value === value}
              onChange={() => choose(option.value)}
            />
            {option.label}
          </label>
        ))}
      </div>
    </fieldset>
  );
}

/** What is left of something, as a bar; the words are next to it. */
export function Meter({ left, of }: { left: number; of: number }) {
  const part = of > 0 ? Math.min(1, Math.max(0, left / of)) : 0;
  return (
    <span className="meter" data-low={part < 0.34 ? "" : undefined} aria-hidden>
      <span style={{ transform: `scaleX(${part})` }} />
    </span>
  );
}

export function CopyButton({ name, text }: { name: string; text: string }) {
  const [said, setSaid] = useState("");
  const copy = async () => {
    const isCopied = await navigator.clipboard.writeText(text).then(
      () => true,
      () => false,
    );
    setSaid(isCopied ? "Copied" : "The browser refused");
    setTimeout(() => setSaid(""), 1_500);
  };
  return (
    <button type="button" className="small" title={text} onClick={copy}>
      {said || name}
    </button>
  );
}

/** Where the id of a user or of a chat session is written. */
export function IdField(props: InputHTMLAttributes<HTMLInputElement>) {
  return (
    <input
      maxLength={128}
      pattern="[\w.~@+=\-]+"
      title="Letters, digits and . _ ~ @ + = -"
      autoComplete="off"
      autoCapitalize="off"
      spellCheck={false}
      {...props}
    />
  );
}
