"""What runs without a request: timers that are due, and the sweep behind everything else."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from presence.application.expiry import Expiry
from presence.application.user_changes import UserChanges, checks_of, is_announced
from presence.chunks import chunked
from presence.deadline import HasTime, in_time
from presence.domain.connection import Durations, State
from presence.domain.errors import Unavailable
from presence.domain.events import TimePassed
from presence.domain.reducer import reduce
from presence.domain.user import User
from presence.fanout.dispatch import OpenSocket
from presence.limits import MAX_BATCH_READ, SWEEP_AHEAD_MILLISECONDS
from presence.metrics import PROBES_UNANSWERED, TIMER_DELAY, Meter
from presence.ports import ConnectionRecords, Count, OnlineIndex, Timers, UserChange, Users


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
    meter: Meter = field(default_factory=Meter)

    def user(self, user_id: str, now: int) -> None:
        """The grace period, or a chosen status, may have ended."""
        before, after = self.changes.apply(user_id, TimePassed(), now)
        self._measure(before, after, now)
        if after.next_change_at is not None and after.next_change_at == before.next_change_at:
            self.changes.schedule_check(user_id, after.next_change_at, now)

    def _measure(self, before: User, after: User, now: int) -> None:
        if (due := before.next_change_at) is not None and due <= now and after != before:
            self.meter.measure(TIMER_DELAY, now - due)
        ended = [lease for name, lease in before.leases.items() if name not in after.leases]
        unheard = sum(lease.seen_at < before.probed_at for lease in ended)
        self.meter.count(PROBES_UNANSWERED, unheard)

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
        self,
        connection_id: str,
        user_id: str,
        sessions: frozenset[str],
        now: int,
        reason: str | None = None,
    ) -> OpenSocket | None:
        """Its lease may have expired, or was removed for this reason."""
        before = self.expiry.expire(connection_id, user_id, sessions, now)
        if before is None:
            return None
        # If the record was closed before, its socket may still be open; the reason is lost.
        is_known = before.user_id is not None
        if reason is None and is_known and before.is_token_expired(now):
            reason = "token-expired"
        return OpenSocket(connection_id, reason)

    def gone(self, connection_ids: Iterable[str], at: int, now: int) -> None:
        """API Gateway answered 410 Gone for their sockets, at this instant or later."""
        for connection_id in connection_ids:
            self.expiry.lose(connection_id, at, now)


@dataclass(frozen=True, slots=True)
class Swept:
    """How far a sweep came: `count` is None if time ran out before all users were looked at.

    `failures` are the errors of users who could not be looked at, by their ids; `connections` are
    the leases of the others.
    """

    looked_at: int
    changed: int
    count: Count | None
    failures: Mapping[str, Exception] = field(default_factory=dict)
    connections: int = 0


@dataclass(frozen=True, slots=True)
class Sweep:
    """Once a minute, every user in the online index: what a lost timer missed ends here."""

    users: Users
    online_index: OnlineIndex
    changes: UserChanges

    def run(self, now: int, has_time: HasTime) -> Swept:
        """Begin behind the user where the last one ran out of time: no user waits for ever.

        Users who cannot be looked at together are looked at one by one, and one who cannot be
        looked at alone is left out, and counted as online.
        """
        online = looked_at = changed = connections = 0
        failures, last = dict[str, Exception](), None
        alone = deque[str]()
        pieces = self._pieces(alone)
        for user_ids in in_time(pieces, has_time):
            last = user_ids[-1]
            try:
                before = list(self.users.read_many(user_ids).values())
                after = self._look_at(before, now)
            except Exception as error:  # noqa: BLE001  an item that cannot be read may be anything
                if len(user_ids) > 1:
                    alone.extend(user_ids)
                else:
                    failures[last] = error
                continue
            online += sum(it.presence.is_online for it in after)
            changed += sum(old != new for old, new in zip(before, after, strict=True))
            looked_at += len(after)
            connections += sum(len(it.leases) for it in after)
        is_complete = next(pieces, None) is None
        count = Count(online + len(failures), now) if is_complete else None
        self._remember(count, last)
        return Swept(looked_at, changed, count, failures, connections)

    def _pieces(self, alone: deque[str]) -> Iterator[Sequence[str]]:
        """Users to look at together; those *alone* come next, each by itself."""
        for user_ids in chunked(self._round(), MAX_BATCH_READ):
            yield user_ids
            while alone:
                yield [alone.popleft()]

    def _remember(self, count: Count | None, last: str | None) -> None:
        if count is not None:
            self.online_index.counted(count)
        elif last is not None:
            self.online_index.stop_at(last)

    def _round(self) -> Iterator[str]:
        """Each user once."""
        stopped_at = self.online_index.stopped_at()
        if stopped_at is None:
            return self.online_index.after(None)
        position = self.online_index.position_of(stopped_at)
        ahead, behind = (
            self.online_index.after(position),
            self.online_index.after(None, up_to=position),
        )
        return chain(ahead, behind)

    def _look_at(self, users: Sequence[User], now: int) -> Sequence[User]:
        found = self._end_what_is_over(users, now)
        soon = now + SWEEP_AHEAD_MILLISECONDS
        for before, after in zip(users, found, strict=True):
            if after == before and (at := after.next_change_at) is not None and at <= soon:
                self.changes.schedule_check(after.user_id, at, now)
        return found

    def _end_what_is_over(self, users: Sequence[User], now: int) -> Sequence[User]:
        """The users as they are now, in the same order; those that change are written together.

        A user who was not as read is tried alone, and stays as known if others write to that user
        just now; the next sweep comes in a minute.
        """
        decided = [(it, *reduce(it, TimePassed(), now)) for it in users]
        changes = [(before, after, so) for before, after, so in decided if after != before]
        # Before the writes, as everywhere.
        checks = [check for _, after, so in changes for check in checks_of(after.user_id, so, now)]
        self.changes.timers.check_all(checks)
        refused = self.users.save_all(
            [UserChange(before, after, is_announced(so)) for before, after, so in changes], now
        )
        return [
            self._try_alone(before, now) if before.user_id in refused else after
            for before, after, _ in decided
        ]

    def _try_alone(self, known: User, now: int) -> User:
        try:
            return self.changes.apply(known.user_id, TimePassed(), now)[1]
        except Unavailable:
            return known
