"""One WebSocket connection: whose it is, until when, and how fast it may ask."""

from dataclasses import dataclass
from enum import StrEnum

from presence.domain.errors import NotAuthenticated, RateLimited, TokenExpired

#: A token is accepted for this long after its `exp`: the clocks of issuers differ.
TOKEN_LEEWAY_MILLISECONDS = 30_000

#: A connection may ask once a second on average, and this many times at once.
COST_MILLISECONDS = 1_000
BURST = 20


class State(StrEnum):
    """The gate opens once and closes for good."""

    OPEN = "open"
    AUTHENTICATED = "authenticated"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a verified token says, and nothing that a client says besides."""

    user_id: str
    expires_at: int
    scope: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Connection:
    """`endpoint` is the callback URL that it was opened at: another one cannot reach it."""

    connection_id: str
    endpoint: str
    opened_at: int
    state: State = State.OPEN
    user_id: str | None = None
    token_expires_at: int | None = None
    spent_until: int = 0

    def user_at(self, now: int) -> str:
        """Whose connection it is.

        Raises:
            NotAuthenticated: nobody's yet, or nobody's any more.
            TokenExpired: its token is over by more than the leeway (I12).
        """
        if self.state is not State.AUTHENTICATED or self.user_id is None:
            raise NotAuthenticated(
                "Authenticate first; open a new connection if this one was closed."
            )
        if self.is_token_over(now):
            raise TokenExpired("Authenticate again with a fresh token.")
        return self.user_id

    def is_token_over(self, now: int) -> bool:
        return lease_limit(self.token_expires_at or 0) <= now


@dataclass(frozen=True, slots=True)
class Admission:
    """What makes an open connection somebody's."""

    connection_id: str
    opened_at: int
    token_expires_at: int


def lease_limit(token_expires_at: int) -> int:
    """A lease does not outlive its token, so a connection that stays silent ends with it."""
    return token_expires_at + TOKEN_LEEWAY_MILLISECONDS


def spend(spent_until: int, now: int) -> int:
    """What `spent_until` becomes when a connection asks for something at *now*.

    The generic cell rate algorithm (ITU-T I.371): one instant is the whole bucket, so one
    conditional write keeps it.

    Raises:
        RateLimited: the bucket is empty; says in how many seconds it is not.
    """
    after = max(spent_until, now) + COST_MILLISECONDS
    excess = after - now - BURST * COST_MILLISECONDS
    if excess > 0:
        seconds = -(-excess // 1000)
        raise RateLimited(f"Ask again in {seconds} s.", retry_after_seconds=seconds)
    return after
