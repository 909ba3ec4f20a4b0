import { type HTMLAttributes, type ReactElement, useEffect, useState } from "react";
import type { ConnectionState } from "../../api.js";
import { useConnection } from "../hooks.js";
import { type PresenceLabels, useLabels } from "../labels.js";
import { useShared } from "../provider.js";
import { classes } from "./status.js";

export interface ConnectionBannerProps extends HTMLAttributes<HTMLDivElement> {
  /** Nothing is said of a link that is back sooner; 2,000 if left out. */
  readonly graceMs?: number;
}

function sentence(connection: ConnectionState, labels: PresenceLabels): string {
  switch (connection.name) {
    case "failed":
      return labels.failed(connection.error);
    case "recovering":
      return labels.reconnecting(null);
    case "offline":
      return labels.offline;
    default:
      return labels.connecting;
  }
}

/** Says that the link is down, and what happens next. Empty while all is well. */
export function ConnectionBanner({
  graceMs = 2_000,
  className,
  ...rest
}: ConnectionBannerProps): ReactElement {
  const labels = useLabels();
  const { clock } = useShared();
  const connection = useConnection();
  const { name } = connection;
  const isDown = name !== "ready" && name !== "idle" && name !== "closed";
  const [isLate, setLate] = useState(false);
  useEffect(() => {
    if (!isDown) return;
    const stop = clock.after(graceMs, () => setLate(true));
    return () => {
      stop();
      setLate(false);
    };
  }, [isDown, graceMs, clock]);

  const isFailed = name === "failed";
  const isShown = isFailed || (isDown && isLate);
  const isTrying = isShown && !isFailed && name !== "offline";
  const seconds = connection.retryInSeconds;
  return (
    <div {...rest} className={classes("banner", className)} data-state={isShown ? name : undefined}>
      <span role="status" className={isTrying && seconds ? "presence-hidden" : undefined}>
        {isShown && sentence(connection, labels)}
      </span>
      {isTrying && seconds ? <span aria-hidden>{labels.reconnecting(seconds)}</span> : null}
      {isTrying && (
        <button type="button" onClick={() => connection.retryNow()}>
          {labels.retry}
        </button>
      )}
    </div>
  );
}
