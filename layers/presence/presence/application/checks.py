"""What runs without a request: timers that are due, and the sweep behind everything else."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from presence.application.expiry import Expiry
from presence.application.user_changes import UserChanges
from presence.chunks import chunked
from presence.domain.connection import Durations, State
from presence.domain.errors import Unavailable
from presence.domain.events import TimePassed
from presence.domain.reducer import reduce
from presence.domain.user import User
from presence.fanout.dispatch import OpenSocket
from presence.limits import MAX_BATCH_READ, SWEEP_AHEAD_MILLISECONDS
from presence.ports import ConnectionRecords, Count, OnlineIndex, Timers, Users


@dataclass(frozen=True, slots=True)
class OnTimer:
    """One handler for each check of the port `Timers`.

    A timer says what to look at, and never what to do: it may come late or twice. A socket that has
    to be closed is returned: API Gateway may be slow to close it, and no user waits for that.
    """

    records: ConnectionRecords
    timers: Timers
    changes: UserChanges
    expiry: Expiry
    durations: Durations

    def user(self, user_id: str, now: int) -> None:
        """The grace period, or a chosen status, may have ended."""
        before, after = self.changes.apply(user_id, TimePassed(), now)
        if after.next_change_at is not None and after.next_change_at == before.next_change_at:
            self.changes.schedule_check(user_id, after.next_change_at, now)

    def connection(self, connection_id: str, now: int) -> OpenSocket | None:
        """It may not have authenticated in time, or its record is closed and its socket is not."""
        connection = self.records.read(connection_id, consistent=True)
        if connection is None or connection.state is State.AUTHENTICATED:
            return None
        if connection.state is State.CLOSED:
            return OpenSocket(connection_id)  # a closed record has no reason any more
        overdue_at = connection.opened_at + self.durations.authentication
        if now < overdue_at:
            self.timers.check_connection(connection_id, -(-(overdue_at - now) // 1000))
        elif self.records.close_unauthenticated(connection_id, now):
            return OpenSocket(connection_id, "authentication-timeout")
        return None

    def expired(
        self, connection_id: str, user_id: str, sessions: frozenset[str], now: int
    ) -> OpenSocket | None:
        """Its lease may have expired."""
        before = self.expiry.expire(connection_id, user_id, sessions, now)
        if before is None:
            return None
        # If the record was closed before, its socket may still be open; the reason is lost.
        is_known = before.user_id is not None
        reason = "token-expired" if is_known and before.is_token_expired(now) else None
        return OpenSocket(connection_id, reason)

    def gone(self, connection_ids: Iterable[str], at: int, now: int) -> None:
        """API Gateway answered 410 Gone for their sockets, at this instant or later."""
        for connection_id in connection_ids:
            self.expiry.lose(connection_id, at, now)


@dataclass(frozen=True, slots=True)
class Sweep:
    """Once a minute, every user in the online index: what a lost timer missed ends here."""

    users: Users
    online_index: OnlineIndex
    changes: UserChanges

    def run(self, now: int, has_time: Callable[[], bool]) -> Count | None:
        """The new count of users online; None if time ran out before all were looked at."""
        online = 0
        for user_ids in chunked(self.online_index.after(None), MAX_BATCH_READ):
            if not has_time():
                return None
            for user in self.users.read_many(user_ids).values():
                online += self._look_at(user, now).presence.is_online
        count = Count(online, now)
        self.online_index.counted(count)
        return count

    def _look_at(self, user: User, now: int) -> User:
        after, _ = reduce(user, TimePassed(), now)
        if after != user:
            try:
                _, after = self.changes.apply(user.user_id, TimePassed(), now)
            except Unavailable:
                return user  # too many writes to this user; the next sweep comes in a minute
        elif (at := after.next_change_at) is not None and at <= now + SWEEP_AHEAD_MILLISECONDS:
            self.changes.schedule_check(user.user_id, at, now)
        return after
