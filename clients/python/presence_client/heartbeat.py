"""When a connection sends its next ping. Instants and durations are in seconds."""

from dataclasses import dataclass
from math import inf

from presence_client.models import Frame

#: After so long without any frame, a heartbeat asks for an answer: no other sign may come.
QUIET = 600.0
#: A refused ping is sent again so long before the lease ends, if there is time.
_SPARE = 5.0
_RETRYABLE = frozenset({"rate-limited", "unavailable", "internal"})


@dataclass(slots=True)
class Heartbeat:
    """The server counts the lease from the last frame that it has served.

    Attributes:
        seconds, lease: as the server says them.
        served_at: when the last frame was sent that was not refused, as far as is known.
        heard_at: when the last frame came.
    """

    seconds: float = inf
    lease: float = inf
    served_at: float = 0.0
    heard_at: float = 0.0
    _served_before: float = 0.0
    _pinged_at: float = 0.0
    _refusals: int = 0
    _retry_at: float | None = None

    @property
    def due_at(self) -> float:
        return self.served_at + self.seconds if self._retry_at is None else self._retry_at

    def is_quiet(self, now: float) -> bool:
        return now - self.heard_at >= QUIET

    def told(self, frame: Frame, now: float) -> None:
        """A frame came, which may say other times."""
        self.heard_at = now
        self.seconds = frame.get("heartbeatSeconds", self.seconds)
        self.lease = frame.get("leaseSeconds", self.lease)

    def sent(self, now: float) -> None:
        self.served_at = now

    def pinged(self, now: float) -> None:
        """A ping is sent, of which nothing is heard if it is served."""
        if self._retry_at is None:
            self._refusals = 0
        self._served_before, self._pinged_at, self._retry_at = self.served_at, now, None
        self.served_at = now

    def refused(self, frame: Frame, now: float) -> None:
        """The last ping has renewed nothing: it is sent again before the lease ends."""
        if frame.get("code") not in _RETRYABLE:
            return
        if self.served_at == self._pinged_at:
            self.served_at = self._served_before
        wait = max(frame.get("retryAfterSeconds", 0), 2**self._refusals)
        due_at, latest = now + min(wait, self.seconds), self.served_at + self.lease - _SPARE
        self._refusals += 1
        self._retry_at = min(due_at, latest) if latest > now + 1 else due_at
