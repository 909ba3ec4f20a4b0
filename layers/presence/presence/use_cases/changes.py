"""The one way in which a user changes: read, reduce, ask for a second look, compare-and-swap."""

from collections.abc import Iterable
from dataclasses import dataclass

from presence.domain.connection import GateChange
from presence.domain.errors import Forbidden, Unavailable
from presence.domain.events import (
    Change,
    Disconnected,
    Due,
    Event,
    LeaseRanOut,
    PresenceChanged,
    ViewChanged,
)
from presence.domain.reducer import reduce
from presence.domain.user import User
from presence.ports import Lost, Timers, Users

#: SQS delays a message by 15 minutes at most (DelaySeconds).
MAX_DELAY_SECONDS = 900
ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Changes:
    users: Users
    timers: Timers

    def apply(
        self,
        user_id: str,
        event: Event,
        now: int,
        gate: GateChange | None = None,
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
            if after == before and gate is None and not isinstance(event, Disconnected):
                return before, after
            try:
                self._save(before, after, now, changes, gate)
            except Lost as lost:
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
        changes: Iterable[Change],
        gate: GateChange | None,
    ) -> None:
        if after == before and before.revision == 0 and gate is None:
            self.users.forget(before)  # a write like any other, that makes nobody
            return
        announce = any(isinstance(change, PresenceChanged | ViewChanged) for change in changes)
        if not self.users.save(before, after, now, announce=announce, gate=gate):
            raise Forbidden("This connection does not allow it.")

    def remind(self, user_id: str, changes: Iterable[Change], now: int) -> None:
        for change in changes:
            match change:
                case Due(at):
                    self.remind_at(user_id, at, now)
                case LeaseRanOut(connection_id, sessions):
                    self.timers.check_lapsed(connection_id, user_id, sessions)
                case PresenceChanged() | ViewChanged():
                    pass  # the stream tells it

    def remind_at(self, user_id: str, at: int, now: int) -> None:
        """Have the user looked at when it is time; what is further off waits for the sweep."""
        # Rounded up: a timer that comes before its time finds nothing to do.
        seconds = max(0, -(-(at - now) // 1000))
        if seconds <= MAX_DELAY_SECONDS:
            self.timers.check_user(user_id, seconds)
