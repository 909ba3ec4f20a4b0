import { type HTMLAttributes, type ReactElement, useEffect, useState } from "react";
import type { ConnectionState, PresenceError } from "../../api.js";
import { useConnection } from "../hooks.js";
import type { PresenceLabels } from "../labels.js";
import { useLabels, useShared } from "../provider.js";
import { classes } from "./status.js";

export interface ConnectionBannerProps extends HTMLAttributes<HTMLDivElement> {
  /** Nothing is said of a link that is back sooner; 2,000 if left out. */
  readonly graceMs?: number;
}

/** What the app, the stack or a person has to change, though it may mend itself. */
function problem(connection: ConnectionState): PresenceError | undefined {
  const error = connection.name === "recovering" ? connection.error : undefined;
  return error && /^(token|api|origin|no-w)/.test(error.code) ? error : undefined;
}

function sentence(connection: ConnectionState, labels: PresenceLabels): string {
  switch (connection.name) {
    case "failed":
      return labels.failed(connection.error);
    case "recovering":
      return labels.reconnecting(null, problem(connection));
    case "offline":
      return labels.offline;
    default:
      return labels.connecting;
  }
}

/** Another connection took the place of this one, which comes back if a person wants it. */
const isReplaced = (connection: ConnectionState): boolean =>
  connection.name === "failed" && connection.error.code === "replaced";

/** Whether it has been so for that long. */
function useLasting(isSo: boolean, milliseconds: number): boolean {
  const { clock } = useShared();
  const [isLasting, setLasting] = useState(false);
  useEffect(() => {
    if (!isSo) return;
    const stop = clock.after(milliseconds, () => setLasting(true));
    return () => {
      stop();
      setLasting(false);
    };
  }, [isSo, milliseconds, clock]);
  return isSo && isLasting;
}

/** Says that the link is down, and what happens next. Empty while all is well. */
export function ConnectionBanner({
  graceMs = 2_000,
  className,
  ...rest
}: ConnectionBannerProps): ReactElement {
  const labels = useLabels();
  const connection = useConnection();
  const { name, retryInSeconds: seconds, retryNow } = connection;
  const isLate = useLasting(!["ready", "idle", "closed"].includes(name), graceMs);
  const error = problem(connection);
  const isShown = isLate || name === "failed" || !!error;
  const isTrying = isShown && name !== "failed" && name !== "offline";
  return (
    <div {...rest} className={classes("banner", className)} data-state={isShown ? name : undefined}>
      <span role="status" className={isTrying && seconds ? "presence-hidden" : undefined}>
        {isShown && sentence(connection, labels)}
      </span>
      {isTrying && seconds ? <span aria-hidden>{labels.reconnecting(seconds, error)}</span> : null}
      {(isTrying || isReplaced(connection)) && (
        <button type="button" onClick={() => retryNow()}>
          {labels.retry}
        </button>
      )}
    </div>
  );
}
