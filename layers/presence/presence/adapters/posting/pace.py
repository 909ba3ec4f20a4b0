"""How many posts may be in flight, and after what time one of them is late."""

from dataclasses import dataclass

FIRST, LEAST, MOST = 16, 2, 256
#: So many posts more with each round.
STEP = 4
#: A larger share of refusals ends the doubling.
MANY = 1 / 8
#: A post is late after so many times what the posts of a round took on the average, in seconds.
LATE, SOONEST, LATEST = 5, 0.05, 0.5


@dataclass(frozen=True, slots=True)
class Pace:
    """Doubled each round until many are refused; then additive increase, multiplicative decrease.

    A round is as many answers as the window holds posts. The cut is half of the share that was
    refused, as in DCTCP (RFC 8257, 3.3), and not half of all: 429 is also what a single client with
    a full buffer causes, which says nothing of the quota that all APIs of the account share. Where
    the quota is the reason, the window comes to rest at twice STEP posts more than it lets through.
    """

    window: int = FIRST
    is_probing: bool = True
    late: float = LATEST

    def after(self, answered: int, refused: int, seconds: float) -> "Pace":
        """The pace behind a round whose answers came after *seconds*, added up."""
        share = refused / answered
        is_probing = self.is_probing and share <= MANY
        growth = self.window if is_probing else STEP
        window = round(self.window * (1 - share / 2)) + growth
        late = min(LATEST, max(SOONEST, LATE * seconds / answered))
        return Pace(min(MOST, max(LEAST, window)), is_probing, late)
