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
import { useAgo, useOnlineUserIds, useUserStatusWhile } from "../hooks.js";
import { useLabels, useShared } from "../provider.js";
import { isScreenKnown, useOnScreen } from "../screen.js";
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

/** So many rows are taken to be on the screen until it is known. */
const FIRST_ROWS = 20;

type RowProps = {
  userId: string;
  renderUser: OnlineUsersListProps["renderUser"];
  /** Counts when the row is drawn for the first time. */
  isFirst: boolean;
};

const isSame = (one: RowProps, other: RowProps) =>
  one.userId === other.userId && one.renderUser === other.renderUser;

// Remembered, so that a change of one user renders one row.
const Row = memo(({ userId, renderUser, isFirst }: RowProps): ReactElement => {
  const labels = useLabels();
  const { nameOf } = useShared();
  const row = useRef<HTMLLIElement>(null);
  const isShown = useOnScreen(row, isFirst || !isScreenKnown());
  const presence = useUserStatusWhile(userId, isShown);
  const ago = useAgo(isShown ? presence : undefined);
  const text = describe(labels, presence, ago);
  return (
    <li ref={row} data-stale={presence && !presence.fresh ? "" : undefined}>
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
}, isSame);

/** The button that loads more: scrolled to, it does so by itself. */
function More({ load, label }: { load: () => void; label: string }): ReactElement {
  const button = useRef<HTMLButtonElement>(null);
  const isShown = useOnScreen(button, false);
  useEffect(() => {
    if (isShown) load();
  }, [isShown, load]);
  return (
    <button type="button" ref={button} onClick={load}>
      {label}
    </button>
  );
}

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
  const online = useOnlineUserIds({ chatSessionId, rows: true });
  const { userIds, count, isLoading, loadMore } = online;
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
          {shown.map((userId, at) => (
            <Row key={userId} userId={userId} renderUser={renderUser} isFirst={at < FIRST_ROWS} />
          ))}
        </ul>
      ) : (
        <p>{isLoading ? labels.loading : count === null ? "" : (empty ?? labels.nobody)}</p>
      )}
      {loadMore && shown.length === userIds.length && (
        <More key={userIds.length} load={loadMore} label={labels.more} />
      )}
    </section>
  );
}
