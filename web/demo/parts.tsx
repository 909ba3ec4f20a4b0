/** Small things that several places show. */

import { type InputHTMLAttributes, type ReactNode, useId, useState } from "react";
import { UserStatusIndicator } from "../src/react/index.js";
import { capitalised, hueOf } from "./words.js";

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
      <span style={{ inlineSize: `${part * 100}%` }} />
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
