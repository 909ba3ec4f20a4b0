"""How exactly others learn when a user was last seen: what the stack says, and the user."""

from dataclasses import dataclass
from enum import StrEnum


class Precision(StrEnum):
    """How exactly others are told when a user was last seen; coarser from one to the next."""

    EXACT = "exact"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    OFF = "off"

    @property
    def step(self) -> int:
        """Milliseconds from one instant that others are told to the next.

        A version is a reading of the clock, so it is as coarse as `last_seen`; without `last_seen`
        it says no more than the day.
        """
        minute = 60_000
        steps = {Precision.EXACT: 1, Precision.MINUTE: minute, Precision.HOUR: 60 * minute}
        return steps.get(self, 24 * 60 * minute)

    def coarsen(self, at: int | None) -> int | None:
        return None if at is None or self is Precision.OFF else at - at % self.step

    def version_at(self, now: int) -> int:
        """The clock as a version shows it: rounded up, or a version would lie before its cause."""
        return -(-now // self.step) * self.step


class Disclosure(StrEnum):
    """What a user lets others know of `last_seen`; never more than the stack does."""

    EXACT = "exact"
    COARSE = "coarse"
    HIDDEN = "hidden"


_PRECISIONS = {
    Disclosure.EXACT: Precision.EXACT,
    Disclosure.COARSE: Precision.HOUR,
    Disclosure.HIDDEN: Precision.OFF,
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What a stack decides for all its users: `grace` in ms, and how exactly `last_seen` is told.

    `fresh` is for how many ms a frame of a user is evidence that the user is there.

    The store gives each user that it reads the rules; they are not stored.
    """

    grace: int = 0
    precision: Precision = Precision.EXACT
    fresh: int = 30_000

    def precision_with(self, disclosure: Disclosure) -> Precision:
        """As the stack or the user says, whichever is coarser."""
        order = list(Precision)
        return max(self.precision, _PRECISIONS[disclosure], key=order.index)
