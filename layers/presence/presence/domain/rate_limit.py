"""How fast a connection may act: the generic cell rate algorithm (ITU-T I.371).

Its whole state is one instant, the theoretical arrival, in epoch milliseconds like all instants
here. Without a value that is known beforehand it is charged by one of two writes, each with a
condition on what is stored: so frames that are handled at the same time are all charged.
"""

from dataclasses import dataclass

from presence.domain.errors import RateLimited
from presence.limits import ACTION_MILLISECONDS, BURST, SESSIONS_PER_ACTION


@dataclass(frozen=True, slots=True)
class Charge:
    """So many actions at once, at *now*."""

    now: int
    actions: int = 1

    @property
    def cost(self) -> int:
        return self.actions * ACTION_MILLISECONDS

    @property
    def latest(self) -> int:
        """The latest theoretical arrival that allows it; then, or from `now` on, the cost is added.

        Before `now`, the next theoretical arrival is `restart`.
        """
        return self.now + BURST * ACTION_MILLISECONDS - self.cost

    @property
    def restart(self) -> int:
        return self.now + self.cost

    def refusal(self, arrival: int) -> RateLimited:
        """Says in how many seconds it is allowed after this theoretical arrival."""
        seconds = max(1, -(-(arrival - self.latest) // 1000))
        return RateLimited(f"Ask again in {seconds} s.", retry_after_seconds=seconds)


def take(arrival: int, charge: Charge) -> int:
    """The theoretical arrival after a charge.

    Raises:
        RateLimited: more than BURST actions at once.
    """
    if arrival > charge.latest:
        raise charge.refusal(arrival)
    return charge.restart if arrival < charge.now else arrival + charge.cost


def actions_for(sessions: int) -> int:
    """How many actions it is to join or leave so many chat sessions together."""
    return max(1, -(-sessions // SESSIONS_PER_ACTION))
