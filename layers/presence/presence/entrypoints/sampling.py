"""Which refusals have a log line of their own: a flood of them must not cost more than itself."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from presence.limits import REFUSALS_LOGGED

_MINUTE = 60_000


@dataclass(slots=True)
class Sampling:
    """The first REFUSALS_LOGGED of each code and minute have a line; the others are counted.

    Each execution environment counts for itself. Instants are in epoch milliseconds.
    """

    minute: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    unlogged: Counter[str] = field(default_factory=Counter)

    def has_line(self, code: str, now: int) -> bool:
        """Whether a refusal with this code has a line; it is counted."""
        self._turn_to(now)
        self.seen[code] += 1
        return self.seen[code] <= REFUSALS_LOGGED

    def counted(self, now: int) -> Mapping[str, int]:
        """By code, how many had no line in minutes that are over; each is told once."""
        self._turn_to(now)
        found, self.unlogged = self.unlogged, Counter()
        return found

    def _turn_to(self, now: int) -> None:
        minute = now // _MINUTE
        if minute == self.minute:
            return
        self.unlogged += Counter(
            {code: count - REFUSALS_LOGGED for code, count in self.seen.items()}
        )
        self.minute, self.seen = minute, Counter()
