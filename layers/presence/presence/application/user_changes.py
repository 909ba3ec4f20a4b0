"""The one way in which a user changes: read, reduce, ask for a second look, compare-and-swap."""

from collections.abc import Iterable
from dataclasses import dataclass

from presence.domain.connection import ConnectionChange
from presence.domain.errors import Forbidden, Unavailable
from presence.domain.events import (
    Disconnected,
    Effect,
    LeaseRemoved,
    PresenceChanged,
    TimerDue,
    UserEvent,
    ViewChanged,
)
from presence.domain.reducer import reduce
from presence.domain.user import User
from presence.ports import Timers, Users, WriteConflict

#: SQS delays a message by 15 minutes at most (DelaySeconds).
MAX_DELAY_SECONDS = 900
ATTEMPTS = 8


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

        `known` is the user as read a moment ago, which saves a read.

        A `Disconnected` is written even if it seems to change nothing: an `authenticate` that
        runs beside it must lose the compare-and-swap (F39, and the model's CAS+SKIPNOOP). Of
        somebody unknown, or erased meanwhile, it leaves nothing all the same.

        Raises:
            Forbidden: the gate refuses: it is closed, or another user's, or has another claim.
            TooManyConnections, Conflict: see `reduce`.
            Unavailable: too many others write to this user at this moment.
        """
        before = known or self.users.read(user_id)
        for _ in range(ATTEMPTS):
            after, changes = reduce(before, event, now)
            # Timers first: one too many does nothing, one that is missing would be missed.
            self.remind(user_id, changes, now)
            if (
                after == before
                and connection_change is None
                and not isinstance(event, Disconnected)
            ):
                return before, after
            try:
                self._save(before, after, now, changes, connection_change)
            except WriteConflict as lost:
                before = lost.current or self.users.read(user_id, consistent=True)
            else:
                return before, after
        raise Unavailable(
            "Too much happens to this user at once; try again.", retry_after_seconds=1
        )

    def _save(
        self,
        before: User,
        after: User,
        now: int,
        changes: Iterable[Effect],
        connection_change: ConnectionChange | None,
    ) -> None:
        if after == before and before.revision == 0 and connection_change is None:
            self.users.forget(before)  # a write like any other, that makes nobody
            return
        announce = any(isinstance(change, PresenceChanged | ViewChanged) for change in changes)
        if not self.users.save(
            before, after, now, announce=announce, connection_change=connection_change
        ):
            raise Forbidden("This connection does not allow it.")

    def remind(self, user_id: str, changes: Iterable[Effect], now: int) -> None:
        for change in changes:
            match change:
                case TimerDue(at):
                    self.remind_at(user_id, at, now)
                case LeaseRemoved(connection_id, sessions):
                    self.timers.check_expired(connection_id, user_id, sessions)
                case PresenceChanged() | ViewChanged():
                    pass  # the stream tells it

    def remind_at(self, user_id: str, at: int, now: int) -> None:
        """Have the user looked at when it is time; what is further off waits for the sweep."""
        # Rounded up: a timer that comes before its time finds nothing to do.
        seconds = max(0, -(-(at - now) // 1000))
        if seconds <= MAX_DELAY_SECONDS:
            self.timers.check_user(user_id, seconds)
