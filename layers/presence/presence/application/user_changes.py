"""How an event changes a user: read, reduce, schedule timers, compare-and-swap."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from presence.domain.connection import ConnectionChange
from presence.domain.errors import Forbidden, Unavailable
from presence.domain.events import (
    Effect,
    LeaseRemoved,
    PresenceChanged,
    TimerDue,
    UserEvent,
    ViewChanged,
    must_write,
)
from presence.domain.reducer import reduce
from presence.domain.user import User
from presence.limits import MAX_DELAY_SECONDS, SWAP_ATTEMPTS
from presence.ports import ExpiredCheck, Timers, UserCheck, Users, WriteConflict


@dataclass(frozen=True, slots=True)
class UserChanges:
    users: Users
    timers: Timers

    def apply(
        self,
        user_id: str,
        event: UserEvent,
        now: int,
        connection_change: ConnectionChange | None = None,
        known: User | None = None,
    ) -> tuple[User, User]:
        """The user before and after *event*; both are stored states.

        *connection_change* is written with it; *known*, the user as just read, saves a read.

        Raises:
            Forbidden: the connection is closed, or another user's, or has another claim.
            TooManyConnections, Conflict, LeaseStillValid: see `reduce`.
            Unavailable: too many others write to this user at this moment.
        """
        before = known or self.users.read(user_id)
        for _ in range(SWAP_ATTEMPTS):
            after, effects = reduce(before, event, now)
            # Timers before the write: a superfluous timer does nothing, a missing one is missed.
            self.timers.check_all(list(checks_of(user_id, effects, now)))
            try:
                if after != before or connection_change is not None or must_write(event):
                    self._swap(before, after, now, effects, connection_change)
            except WriteConflict as conflict:
                before = conflict.current or self.users.read(user_id, consistent=True)
            else:
                return before, after
        raise _too_busy()

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
            Forbidden: see `apply`.
        """
        if after == before and before.revision == 0 and connection_change is None:
            # An unknown user stays unknown: a conditional delete checks that, and leaves no item.
            self.users.forget(before)
            return
        announce = is_announced(effects)
        if not self.users.save(
            before, after, now, announce=announce, connection_change=connection_change
        ):
            raise Forbidden("This connection does not allow it.")

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
        match effect:
            case TimerDue(at):
                # Rounded up: a timer that fires early finds nothing to do.
                seconds = max(0, -(-(at - now) // 1000))
                if seconds <= MAX_DELAY_SECONDS:
                    yield UserCheck(user_id, seconds)
            case LeaseRemoved(connection_id, sessions):
                yield ExpiredCheck(connection_id, user_id, sessions)
            case PresenceChanged() | ViewChanged():
                pass  # announced by the stream


def _too_busy() -> Unavailable:
    return Unavailable("Too much happens to this user at once; try again.", retry_after_seconds=1)
