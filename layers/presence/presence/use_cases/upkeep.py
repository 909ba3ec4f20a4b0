"""What nobody asked for: timers that are due, and the sweep behind everything else."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from presence.domain.connection import Connection, State
from presence.domain.errors import Unavailable
from presence.domain.messages import closing, encode
from presence.domain.user import Lease, TimePassed, User, reduce
from presence.ports import Connections, Count, Gateway, Post, Roster, Users
from presence.use_cases.connections import Lifecycle

CHUNK = 100
#: What falls due before the next sweep or the one after it gets a timer of its own.
AHEAD_MILLISECONDS = 120_000


@dataclass(frozen=True, slots=True)
class Settling:
    """Second looks. A timer orders nothing: it says where to look, and may come twice or late."""

    connections: Connections
    users: Users
    gateway: Gateway
    lifecycle: Lifecycle

    def user(self, user_id: str, now: int) -> None:
        """Grace, or a chosen status, may be over."""
        before, after = self.lifecycle.changes.apply(user_id, TimePassed(), now)
        if after.wakes_at is not None and after.wakes_at == before.wakes_at:
            self.lifecycle.changes.remind_at(user_id, after.wakes_at, now)

    def connection(self, connection_id: str, now: int) -> None:
        """It may have stayed unclaimed, or its lease may have run out."""
        connection = self.connections.read(connection_id, consistent=True)
        if connection is None:
            return
        if connection.user_id is None:
            self._unclaimed(connection, now)
            return
        lease = self.users.read(connection.user_id, consistent=True).leases.get(connection_id)
        if connection.state is State.CLOSED:
            self._finish(connection_id, lease, now)
        elif lease is None or lease.is_over(now):
            self.lifecycle.disconnect(connection_id, now)
            self._hang_up(connection_id, "token-expired" if connection.is_token_over(now) else None)

    def _unclaimed(self, connection: Connection, now: int) -> None:
        overdue_at = connection.opened_at + self.lifecycle.durations.authentication
        if connection.state is State.OPEN and now < overdue_at:
            seconds = -(-(overdue_at - now) // 1000)
            self.lifecycle.timers.check_connection(connection.connection_id, seconds)
        elif self.connections.close_unclaimed(connection.connection_id, now):
            self._hang_up(connection.connection_id, "authentication-timeout")

    def _finish(self, connection_id: str, lease: Lease | None, now: int) -> None:
        """A `$disconnect` that died halfway is taken up where it may have stopped."""
        if lease is None:
            self.lifecycle.subscriptions.remove(connection_id)
        else:
            self.lifecycle.disconnect(connection_id, now)

    def _hang_up(self, connection_id: str, reason: str | None) -> None:
        """API Gateway sends no close code of ours, so the reason goes ahead in a frame."""
        if reason is not None:
            self.gateway.post([Post(encode(closing(reason)), [connection_id])])
        self.gateway.close(connection_id)


@dataclass(frozen=True, slots=True)
class Sweep:
    """Once a minute, everybody who is here is looked at: what was lost anywhere ends here."""

    users: Users
    roster: Roster
    lifecycle: Lifecycle

    def run(self, now: int, has_time: Callable[[], bool]) -> Count | None:
        """The new count of those online, or None if time ran out before everybody was seen."""
        online = 0
        candidates = self.roster.after(None)
        while user_ids := list(islice(candidates, CHUNK)):
            if not has_time():
                return None
            for user in self.users.read_many(user_ids).values():
                online += self._look_at(user, now).presence.is_online
        count = Count(online, now)
        self.roster.counted(count)
        return count

    def _look_at(self, user: User, now: int) -> User:
        after, _ = reduce(user, TimePassed(), now)
        if after != user:
            try:
                _, after = self.lifecycle.changes.apply(user.user_id, TimePassed(), now)
            except Unavailable:
                return user  # somebody is writing to this user; the next sweep comes in a minute
        elif after.wakes_at is not None and after.wakes_at <= now + AHEAD_MILLISECONDS:
            self.lifecycle.changes.remind_at(user.user_id, after.wakes_at, now)
        return after
