"""How long things last in one stack."""

from dataclasses import dataclass

from presence.domain.connection import lease_limit
from presence.domain.user import Lease
from presence.limits import MIN_PING_MILLISECONDS


@dataclass(frozen=True, slots=True)
class Durations:
    """In milliseconds."""

    heartbeat: int
    lease: int
    grace: int
    authentication: int
    connection: int

    @property
    def between_pings(self) -> int:
        """How far apart the pings of an ordinary client are at least, jitter included."""
        return min(MIN_PING_MILLISECONDS, self.heartbeat // 2)

    def new_lease(self, token_expires_at: int, now: int, device: str | None = None) -> Lease:
        """A lease from *now* on, which does not outlive its token."""
        expires_at = min(now + self.lease, lease_limit(token_expires_at))
        return Lease(expires_at, seen_at=now, device=device)
