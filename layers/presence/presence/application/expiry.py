"""What nobody asked for: timers that are due, and the sweep behind everything else."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from presence.application.connections import Lifecycle
from presence.domain.connection import State
from presence.domain.errors import Unavailable
from presence.domain.events import TimePassed
from presence.domain.reducer import reduce
from presence.domain.user import User
from presence.fanout.dispatch import Dispatcher
from presence.ports import ConnectionRecords, Count, OnlineIndex, Users

CHUNK = 100
#: What falls due before the next sweep or the one after it gets a timer of its own.
AHEAD_MILLISECONDS = 120_000


@dataclass(frozen=True, slots=True)
class Settling:
    """Second looks. A timer orders nothing: it says where to look, and may come twice or late."""

    connections: ConnectionRecords
    dispatcher: Dispatcher
    lifecycle: Lifecycle

    def user(self, user_id: str, now: int) -> None:
        """Grace, or a chosen status, may be over."""
        before, after = self.lifecycle.changes.apply(user_id, TimePassed(), now)
        if after.next_change_at is not None and after.next_change_at == before.next_change_at:
            self.lifecycle.changes.remind_at(user_id, after.next_change_at, now)

    def connection(self, connection_id: str, now: int) -> None:
        """It may have stayed unclaimed, or whoever closed it may not have hung up.

        Raises:
            Unavailable: see `Dispatcher.close`.
        """
        connection = self.connections.read(connection_id, consistent=True)
        if connection is None or connection.state is State.AUTHENTICATED:
            return
        if connection.state is State.CLOSED:
            self.dispatcher.close(connection_id, None)  # a closed gate has forgotten the reason
            return
        overdue_at = connection.opened_at + self.lifecycle.durations.authentication
        if now < overdue_at:
            seconds = -(-(overdue_at - now) // 1000)
            self.lifecycle.timers.check_connection(connection_id, seconds)
        elif self.connections.close_unclaimed(connection_id, now):
            self.dispatcher.close(connection_id, "authentication-timeout")

    def lapsed(self, connection_id: str, user_id: str, sessions: frozenset[str], now: int) -> None:
        """Its lease may have run out.

        Raises:
            Unavailable: see `Dispatcher.close`.
        """
        before = self.lifecycle.lapsed(connection_id, user_id, sessions, now)
        if before is not None:
            # Whoever closed the gate before us may not have hung up; the reason went with them.
            is_known = before.user_id is not None
            reason = "token-expired" if is_known and before.is_token_over(now) else None
            self.dispatcher.close(connection_id, reason)

    def gone(self, connection_id: str, at: int, now: int) -> None:
        """Its socket seemed to be gone."""
        self.lifecycle.lost(connection_id, at, now)


@dataclass(frozen=True, slots=True)
class Sweep:
    """Once a minute, everybody who is here is looked at: what was lost anywhere ends here."""

    users: Users
    online_index: OnlineIndex
    lifecycle: Lifecycle

    def run(self, now: int, has_time: Callable[[], bool]) -> Count | None:
        """The new count of those online, or None if time ran out before everybody was seen."""
        online = 0
        candidates = self.online_index.after(None)
        while user_ids := list(islice(candidates, CHUNK)):
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
                _, after = self.lifecycle.changes.apply(user.user_id, TimePassed(), now)
            except Unavailable:
                return user  # somebody is writing to this user; the next sweep comes in a minute
        elif after.next_change_at is not None and after.next_change_at <= now + AHEAD_MILLISECONDS:
            self.lifecycle.changes.remind_at(user.user_id, after.next_change_at, now)
        return after
