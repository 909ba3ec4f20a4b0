import { type HTMLAttributes, type ReactElement, useId, useState } from "react";
import type { Choice } from "../../protocol.js";
import { useMyStatus } from "../hooks.js";
import { choices } from "../labels.js";
import { useLabels } from "../use-labels.js";
import { classes, Mark } from "./status.js";

export interface StatusPickerProps extends HTMLAttributes<HTMLFormElement> {
  /** Which can be chosen; all five if left out. */
  readonly allow?: readonly Choice[];
  /** Whether there is a field for a text. */
  readonly withText?: boolean;
}

/** Chooses one's own status: native radio buttons, so the arrow keys do as everywhere. */
export function StatusPicker({
  allow = choices,
  withText = true,
  className,
  ...rest
}: StatusPickerProps): ReactElement {
  const labels = useLabels();
  const my = useMyStatus();
  const group = useId();
  const [draft, setDraft] = useState<string | null>(null);
  const [problem, setProblem] = useState("");
  const chosen = my.isAuto ? "online" : my.status;
  const choose = (status: Choice, text: string) => {
    setProblem("");
    my.setStatus(status, text ? { text } : {}).then(
      () => setDraft((now) => (now?.trim() === text ? null : now)),
      (error: Error) => setProblem(error.message),
    );
  };
  const text = draft ?? my.text ?? "";
  return (
    <form
      {...rest}
      className={classes("picker", className)}
      onSubmit={(event) => {
        event.preventDefault();
        choose(chosen === "offline" ? "online" : chosen, text.trim());
      }}
    >
      <div role="radiogroup" aria-label={labels.myStatus} aria-busy={!!my.pending}>
        {allow.map((status) => (
          <label key={status}>
            <input
              type="radio"
              className="presence-hidden"
              name={group}
              checked={status === chosen}
              onChange={() => choose(status, text.trim())}
            />
            <Mark status={status} /> {labels.status[status]}
          </label>
        ))}
      </div>
      {withText && (
        <input
          aria-label={labels.statusText}
          placeholder={labels.statusText}
          maxLength={140}
          dir="auto"
          value={text}
          onChange={(event) => setDraft(event.target.value)}
          onBlur={(event) => {
            const isNew = text.trim() !== (my.text ?? "");
            if (isNew) event.target.form?.requestSubmit();
          }}
        />
      )}
      <span role="status">{problem || (my.isAuto && labels.auto)}</span>
    </form>
  );
}
