import { type HTMLAttributes, type ReactElement, useId, useState } from "react";
import type { UserPresence } from "../../api.js";
import type { Choice, Status } from "../../protocol.js";
import { useAgo, useMyStatus, useUserStatus } from "../hooks.js";
import { choices, type PresenceLabels } from "../labels.js";
import { useLabels, useShared } from "../provider.js";

export type Size = "xs" | "sm" | "md" | "lg";

const sizes: Record<Size, number> = { xs: 8, sm: 10, md: 12, lg: 16 };

/** A class of ours, and those of the app after it. */
export function classes(own: string, more?: string): string {
  return more ? `presence-${own} ${more}` : `presence-${own}`;
}

const disc = "M0 8a8 8 0 1 1 16 0A8 8 0 1 1 0 8";
const minus = "M4 6.5h8v3H4z";
const ring = "M1.5 8a6.5 6.5 0 1 1 13 0a6.5 6.5 0 1 1-13 0";
const shapes: Partial<Record<string, string>> = {
  online: disc,
  away: "M6 0a8 8 0 1 0 10 10A7 7 0 0 1 6 0",
  busy: disc + minus,
  dnd: `M0 0h16v16H0z${minus}`,
};

/** A shape of its own for each status, because not all users can tell the colours apart. */
export function Mark({ status, size = "md" }: { status: string; size?: Size }): ReactElement {
  const shape = shapes[status];
  return (
    <svg
      className="presence-mark"
      data-status={status}
      viewBox="0 0 16 16"
      width={sizes[size]}
      height={sizes[size]}
      fill={shape ? "currentColor" : "none"}
      fillRule="evenodd"
      stroke={shape ? undefined : "currentColor"}
      strokeWidth={3}
      strokeDasharray={status === "invisible" ? "5.2 3" : undefined}
      aria-hidden
    >
      <path d={shape ?? ring} />
    </svg>
  );
}

/** "Away", "Away, as of 2 min. ago", "Offline, last seen yesterday". */
export function describe(
  labels: PresenceLabels,
  presence: UserPresence | undefined,
  ago: string | null,
  withLastSeen = true,
): string {
  const status = labels.status[statusOf(presence)];
  if (!ago) return status;
  if (!presence?.fresh) return labels.asOf(status, ago);
  return withLastSeen ? `${status}, ${labels.lastSeen(ago)}` : status;
}

export function statusOf(presence: UserPresence | undefined): Status | "unknown" {
  return presence?.status ?? "unknown";
}

export interface UserStatusIndicatorProps extends HTMLAttributes<HTMLSpanElement> {
  readonly userId: string;
  readonly size?: Size;
  /** The status as text next to the mark. */
  readonly showText?: boolean;
  /** With the text, since when the user is offline. */
  readonly showLastSeen?: boolean;
  /** Hidden from screen readers, for when the status is said next to it. */
  readonly decorative?: boolean;
}

/** How a user is. Dimmed, with "as of …" and never green while our own link is down. */
export function UserStatusIndicator({
  userId,
  size = "md",
  showText,
  showLastSeen,
  decorative,
  className,
  ...rest
}: UserStatusIndicatorProps): ReactElement {
  const labels = useLabels();
  const { nameOf } = useShared();
  const presence = useUserStatus(userId);
  const text = describe(labels, presence, useAgo(presence), showLastSeen);
  const name = decorative
    ? { "aria-hidden": true }
    : showText || showLastSeen
      ? {}
      : { role: "img", "aria-label": labels.userIs(nameOf(userId), text) };
  return (
    <span
      title={text}
      {...name}
      {...rest}
      className={classes("status", className)}
      data-stale={presence && !presence.fresh ? "" : undefined}
    >
      <Mark status={statusOf(presence)} size={size} />
      {(showText || showLastSeen) && <span>{text}</span>}
    </span>
  );
}

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
