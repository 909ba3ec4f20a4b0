"""How fast a connection and a user may act: the generic cell rate algorithm (ITU-T I.371).

The whole state of a limit is one instant, the theoretical arrival, in epoch milliseconds like all
instants here. Without a value that is known beforehand it is charged by one of two writes, each
with a condition on what is stored: so what is done at the same time is all charged.
"""

from dataclasses import dataclass

from presence.domain.errors import RateLimited
from presence.limits import (
    ACTION_MILLISECONDS,
    BURST,
    READS_PER_UNIT,
    SESSIONS_PER_ACTION,
    USER_BURST,
    USER_UNIT_MILLISECONDS,
)


@dataclass(frozen=True, slots=True)
class Rate:
    """One unit in so many milliseconds on average, and so many at once."""

    milliseconds: int
    burst: int


#: Of a connection, in frames.
CONNECTION = Rate(ACTION_MILLISECONDS, BURST)
#: Of a user over all connections and HTTP, in units (see `limits`).
USER = Rate(USER_UNIT_MILLISECONDS, USER_BURST)


@dataclass(frozen=True, slots=True)
class Take:
    """So many units of a rate, at *now*."""

    now: int
    units: int
    rate: Rate

    @property
    def cost(self) -> int:
        return self.units * self.rate.milliseconds

    @property
    def latest(self) -> int:
        """The latest theoretical arrival that allows it; then, or from `now` on, the cost is added.

        Before `now`, the next theoretical arrival is `restart`.
        """
        return self.now + self.rate.burst * self.rate.milliseconds - self.cost

    @property
    def restart(self) -> int:
        return self.now + self.cost

    def of(self, arrival: int) -> int:
        """The theoretical arrival after it.

        Raises:
            RateLimited: says in how many seconds it is allowed.
        """
        if arrival > self.latest:
            seconds = max(1, -(-(arrival - self.latest) // 1000))
            raise RateLimited(f"Ask again in {seconds} s.", retry_after_seconds=seconds)
        return self.restart if arrival < self.now else arrival + self.cost


@dataclass(frozen=True, slots=True)
class Charge:
    """What is taken at *now*: `units` of the user's rate, `frames` of the connection's."""

    now: int
    units: int = 1
    frames: int = 1

    @property
    def user(self) -> Take:
        return Take(self.now, self.units, USER)

    @property
    def connection(self) -> Take:
        return Take(self.now, self.frames, CONNECTION)


def read_units(users: int) -> int:
    """Of a frame or a call that answers with so many users."""
    return 1 + users // READS_PER_UNIT


def verify_units(users: int) -> int:
    """Of a frame or a call that asks whether so many users are there: each may be probed."""
    return 1 + users


def actions_for(sessions: int) -> int:
    """How many actions it is to join or leave so many chat sessions together."""
    return max(1, -(-sessions // SESSIONS_PER_ACTION))


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The theoretical arrivals of a user, and of one of the user's connections."""

    user: int = 0
    connection: int = 0

    def after(self, charge: Charge) -> "Arrivals":
        """Raises RateLimited."""
        return Arrivals(charge.user.of(self.user), charge.connection.of(self.connection))
