"""How an event changes a user: read, reduce, schedule timers, compare-and-swap."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from presence.domain.connection import Connection, ConnectionChange, Leaving
from presence.domain.errors import Unavailable
from presence.domain.events import (
    Effect,
    LeaseRemoved,
    LeaseReplaced,
    Left,
    PresenceChanged,
    TimerDue,
    UserEvent,
    ViewChanged,
    must_write,
)
from presence.domain.rate_limit import Charge
from presence.domain.reducer import reduce
from presence.domain.user import User
from presence.limits import (
    INTEGRATION_SECONDS,
    MAX_DELAY_SECONDS,
    ROWS_PER_UNIT,
    SWAP_ATTEMPTS,
)
from presence.metrics import LOST_SWAPS, Meter
from presence.ports import ExpiredCheck, Timers, TooManyRows, UserCheck, Users, WriteConflict


class RecordRefused(Exception):
    """The connection is closed, or another user's, or its record is not as it was read."""


#: The shard to unsubscribe from if the connection is not known to have joined.
_FIRST = frozenset({0})


@dataclass(frozen=True, slots=True)
class UserChanges:
    """`pause` waits after a compare-and-swap that was lost for the n-th time, from 0 on."""

    users: Users
    timers: Timers
    pause: Callable[[int], None]
    meter: Meter = field(default_factory=Meter)

    def apply(
        self,
        user_id: str,
        event: UserEvent,
        now: int,
        connection_change: ConnectionChange | None = None,
        known: User | None = None,
        *,
        charge: Charge | None = None,
    ) -> tuple[User, User]:
        """The user before and after *event*; both are stored states.

        *connection_change* is written with it, and so is *charge*, to the user's rate limit;
        *known*, the user as just read, saves a read.

        Raises:
            RecordRefused: see there.
            Conflict, Forbidden, TokenInvalid, LeaseStillValid: see `reduce`.
            RateLimited: see `Take.of`.
            TooManyRows: see `Users.save`.
            Unavailable: too many others write to this user at this moment.
        """
        before = known or self.users.read(user_id)
        for attempt in range(SWAP_ATTEMPTS):
            try:
                return before, self._written(before, event, now, connection_change, charge)
            except WriteConflict as conflict:
                self.meter.count(LOST_SWAPS)
                before = self._as_of_now(user_id, conflict, attempt)
        raise too_busy()

    def _written(
        self,
        before: User,
        event: UserEvent,
        now: int,
        connection_change: ConnectionChange | None,
        charge: Charge | None,
    ) -> User:
        """The user after *event*, written unless there is nothing to write; as `_swap`."""
        after, effects = self._reduced(before, event, now)
        if charge is not None:
            after = charged(before, after, charge)
        # Timers before the write: a superfluous timer does nothing, a missing one is missed.
        self.timers.check_all(list(checks_of(before.user_id, effects, now)))
        if after != before or connection_change is not None or must_write(event):
            self._swap(before, after, now, effects, connection_change)
        return after

    def _as_of_now(self, user_id: str, conflict: WriteConflict, attempt: int) -> User:
        """The user after a lost compare-and-swap; at first, as the refusal brought it.

        Who loses again waits, and reads after that: in between, others write.
        """
        if attempt == 0 and conflict.current is not None:
            return conflict.current
        self.pause(attempt)
        return self.users.read(user_id, consistent=True)

    def leave(
        self,
        connection: Connection,
        session_ids: Sequence[str],
        now: int,
        known: User | None = None,
    ) -> None:
        """Let a connection leave chat sessions; *known* as in `apply`.

        Raises:
            RecordRefused: the connection is closed.
        """
        name = connection.connection_id
        left = {it: connection.shards_of(it) or _FIRST for it in session_ids}
        event, change = Left(name, tuple(session_ids)), Leaving(name, left)
        try:
            self.apply(str(connection.user_id), event, now, change, known)
        except TooManyRows:
            for half in halves(session_ids):
                self.leave(connection, half, now)

    def _reduced(self, before: User, event: UserEvent, now: int) -> tuple[User, tuple[Effect, ...]]:
        """As `reduce`; a user who is stored for the first time exceeds all versions of erased ones.

        Viewers may hold such a version of this very user.
        """
        after, effects = reduce(before, event, now)
        if before.revision or after == before:
            return after, effects
        after, effects = reduce(replace(before, floor=self.users.floor()), event, now)
        return replace(after, floor=0), effects

    def _swap(
        self,
        before: User,
        after: User,
        now: int,
        effects: Iterable[Effect],
        connection_change: ConnectionChange | None,
    ) -> None:
        """Write *after*, if the stored user is still *before*.

        Raises:
            WriteConflict: the stored user is another.
            RecordRefused: see there.
        """
        if after == before and before.revision == 0 and connection_change is None:
            # An unknown user stays unknown: a conditional delete checks that, and leaves no item.
            self.users.forget(before)
            return
        announce = is_announced(effects)
        if not self.users.save(
            before, after, now, announce=announce, connection_change=connection_change
        ):
            raise RecordRefused

    def schedule_check(self, user_id: str, at: int, now: int) -> None:
        """Set a timer for *at*; the sweep does so later for what is beyond the delay of SQS."""
        self.timers.check_all(list(checks_of(user_id, [TimerDue(at)], now)))


def is_announced(effects: Iterable[Effect]) -> bool:
    return any(isinstance(effect, PresenceChanged | ViewChanged) for effect in effects)


def checks_of(
    user_id: str, effects: Iterable[Effect], now: int
) -> Iterator[UserCheck | ExpiredCheck]:
    """The timers that the effects ask for, as far as SQS delays a message that long."""
    for effect in effects:
        yield from _checks_of(user_id, effect, now)


def _checks_of(user_id: str, effect: Effect, now: int) -> Iterator[UserCheck | ExpiredCheck]:
    match effect:
        case TimerDue(at) if at - now <= MAX_DELAY_SECONDS * 1000:
            # Rounded up: a timer that fires early finds nothing to do.
            yield UserCheck(user_id, max(0, -(-(at - now) // 1000)))
        case LeaseRemoved(connection_id, sessions):
            yield ExpiredCheck(connection_id, user_id, sessions)
        case LeaseReplaced(connection_id, sessions):
            # Before the write the lease is valid, and is left alone. The second check comes when no
            # function can write any more that sets it.
            yield ExpiredCheck(connection_id, user_id, sessions, 1, "replaced")
            late = INTEGRATION_SECONDS + 1
            yield ExpiredCheck(connection_id, user_id, sessions, late, "replaced")
        case TimerDue() | PresenceChanged() | ViewChanged():
            pass  # left to the sweep, or announced by the stream


def halves(names: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """What one transaction does not take, for two.

    Raises:
        Unavailable: there is only one; time has to end what else the write would end.
    """
    middle = len(names) // 2
    if not middle:
        raise too_busy()
    return names[:middle], names[middle:]


def charged(before: User, after: User, charge: Charge) -> User:
    """With the charge, and with what more it costs to begin and to end memberships.

    Raises:
        RateLimited: see `Take.of`.
    """
    moved = before.sessions_seen_by(None) ^ after.sessions_seen_by(None)
    units = charge.units + len(moved) // ROWS_PER_UNIT
    return replace(after, arrival=replace(charge, units=units).user.of(after.arrival))


def too_busy() -> Unavailable:
    return Unavailable("Too much happens to this user at once; try again.", retry_after_seconds=1)
