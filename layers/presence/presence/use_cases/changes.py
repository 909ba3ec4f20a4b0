"""The one way in which a user changes: read, reduce, ask for a second look, compare-and-swap."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from presence.domain.errors import Unavailable
from presence.domain.user import (
    Change,
    Disconnected,
    Due,
    Event,
    LeaseRanOut,
    PresenceChanged,
    User,
    reduce,
)
from presence.ports import Lost, Timers, Users

#: SQS delays a message by 15 minutes at most (DelaySeconds).
MAX_DELAY_SECONDS = 900
ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Changes:
    users: Users
    timers: Timers

    def apply(self, user_id: str, event: Event, now: int) -> tuple[User, User]:
        """The user before and after *event*; both are stored states.

        A `Disconnected` is written even if it seems to change nothing: an `authenticate` that
        runs beside it must lose the compare-and-swap (F39, and the model's CAS+SKIPNOOP).

        Raises:
            TooManyConnections: see `reduce`.
            Unavailable: too many others write to this user at this moment.
        """

        def save(before: User, after: User, *, announce: bool) -> None:
            if after != before or isinstance(event, Disconnected):
                self.users.save(before, after, now, announce=announce)

        return self.apply_with(save, user_id, event, now)

    def apply_with(
        self, save: Callable[..., None], user_id: str, event: Event, now: int
    ) -> tuple[User, User]:
        """As `apply`, with another way to write *after*; `save` raises `Lost` to try again."""
        before = self.users.read(user_id)
        for _ in range(ATTEMPTS):
            after, changes = reduce(before, event, now)
            # Timers first: one too many does nothing, one that is missing would be missed.
            self.remind(user_id, changes, now)
            try:
                save(before, after, announce=_is_announced(changes))
            except Lost as lost:
                before = lost.current or self.users.read(user_id, consistent=True)
            else:
                return before, after
        raise Unavailable(
            "Too much happens to this user at once; try again.", retry_after_seconds=1
        )

    def remind(self, user_id: str, changes: Iterable[Change], now: int) -> None:
        for change in changes:
            match change:
                case Due(at):
                    self.remind_at(user_id, at, now)
                case LeaseRanOut(connection_id):
                    self.timers.check_connection(connection_id, 0)
                case PresenceChanged():
                    pass  # the stream tells it

    def remind_at(self, user_id: str, at: int, now: int) -> None:
        """Have the user looked at when it is time; what is further off waits for the sweep."""
        # Rounded up: a timer that comes before its time finds nothing to do.
        seconds = max(0, -(-(at - now) // 1000))
        if seconds <= MAX_DELAY_SECONDS:
            self.timers.check_user(user_id, seconds)


def _is_announced(changes: Iterable[Change]) -> bool:
    return any(isinstance(change, PresenceChanged) for change in changes)
