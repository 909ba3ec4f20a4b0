import {
  type HTMLAttributes,
  memo,
  type ReactElement,
  type ReactNode,
  useEffect,
  useId,
  useRef,
  useState,
} from "react";
import type { UserPresence } from "../../api.js";
import { useAgo, useOnlineUserIds, useUserStatus } from "../hooks.js";
import { useLabels, useShared } from "../provider.js";
import { classes, describe, Mark, statusOf } from "./status.js";

export interface OnlineUsersListProps extends HTMLAttributes<HTMLElement> {
  /** Only those in this chat session. */
  readonly chatSessionId?: string;
  /** Shows no more than that. */
  readonly limit?: number;
  /** Instead of mark, name and status. Keep it the same function between renders. */
  readonly renderUser?: (user: UserPresence) => ReactNode;
  /** Shown when the list is empty, instead of the label `nobody`. */
  readonly empty?: ReactNode;
}

type RowProps = { userId: string; renderUser: OnlineUsersListProps["renderUser"] };

// Remembered, so that a change of one user renders one row.
const Row = memo(({ userId, renderUser }: RowProps): ReactElement => {
  const labels = useLabels();
  const { nameOf } = useShared();
  const presence = useUserStatus(userId);
  const ago = useAgo(presence);
  const text = describe(labels, presence, ago);
  return (
    <li data-stale={presence && !presence.fresh ? "" : undefined}>
      {renderUser ? (
        presence && renderUser(presence)
      ) : (
        <>
          <Mark status={statusOf(presence)} />
          <bdi>{nameOf(userId)}</bdi>
          <small dir="auto">{presence?.text ? `${text} · ${presence.text}` : text}</small>
        </>
      )}
    </li>
  );
});

/** The newest text, but not sooner than so many milliseconds after the one before. */
function useThrottled(text: string, milliseconds: number): string {
  const { clock } = useShared();
  const [said, say] = useState("");
  const latest = useRef(text);
  useEffect(() => {
    latest.current = text;
  });
  const isNew = text !== said;
  useEffect(
    () => (isNew ? clock.after(milliseconds, () => say(latest.current)) : undefined),
    [isNew, clock, milliseconds],
  );
  return said;
}

/**
 * Who is online. How many there are is read out every 10 s at most; no row is a live region of its
 * own, for it would never be silent.
 */
export function OnlineUsersList({
  chatSessionId,
  limit,
  renderUser,
  empty,
  className,
  ...rest
}: OnlineUsersListProps): ReactElement {
  const labels = useLabels();
  const { userIds, count, isLoading, loadMore } = useOnlineUserIds({ chatSessionId });
  const shown = userIds.slice(0, limit);
  const heading = useId();
  const summary = useThrottled(count === null ? "" : labels.online(count), 10_000);
  return (
    <section
      aria-labelledby={rest["aria-label"] ? undefined : heading}
      aria-busy={isLoading}
      {...rest}
      className={classes("list", className)}
    >
      <h2 id={heading}>{labels.online(count)}</h2>
      <span role="status" className="presence-hidden">
        {summary}
      </span>
      {shown.length > 0 ? (
        <ul>
          {shown.map((userId) => (
            <Row key={userId} userId={userId} renderUser={renderUser} />
          ))}
        </ul>
      ) : (
        <p>{isLoading ? labels.loading : count === null ? "" : (empty ?? labels.nobody)}</p>
      )}
      {loadMore && shown.length === userIds.length && (
        <button type="button" onClick={loadMore}>
          {labels.more}
        </button>
      )}
    </section>
  );
}
