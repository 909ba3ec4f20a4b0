"""When a connection sends its next ping. Instants and durations are in seconds."""

from dataclasses import dataclass
from math import inf

from presence_client.models import Frame

#: After so long without any frame, a heartbeat asks for an answer: no other sign may come.
QUIET = 1_200.0
#: A refused ping is sent again so long before the lease ends, if there is time.
_SPARE = 5.0
#: The server has handled a ping by then; of two frames, the one that is handled last counts.
_ORDER = 2.0
_RETRYABLE = frozenset({"rate-limited", "unavailable", "internal"})


@dataclass(slots=True)
class Heartbeat:
    """The server counts the lease from the last frame that it has served.

    Attributes:
        seconds: how often the server expects a ping, as it was said last.
        foreground, background: how often to ping with a person at the device, and without.
        lease: how long the server waits.
        served_at: when the last frame was sent that was not refused, as far as is known.
        heard_at: when the last frame came.
    """

    seconds: float = inf
    foreground: float = inf
    background: float = inf
    lease: float = inf
    served_at: float = 0.0
    heard_at: float = 0.0
    _served_before: float = 0.0
    _pinged_at: float = 0.0
    _refusals: int = 0
    _retry_at: float | None = None
    #: What the server has told a device that is, or is not, active.
    _told: tuple[bool, float] | None = None

    def wanted(self, active: bool | None) -> float:
        """How often a device should ping that is active so."""
        is_active = active is not False
        if self._told is not None and self._told[0] == is_active:
            return self._told[1]
        return self.foreground if is_active else self.background

    def is_change(self, active: bool | None) -> bool:
        return self.wanted(active) != self.seconds

    def due_at(self, active: bool | None) -> float:
        due_at = self.served_at + self.seconds if self._retry_at is None else self._retry_at
        return min(due_at, self._pinged_at + _ORDER) if self.is_change(active) else due_at

    def is_quiet(self, now: float) -> bool:
        return now - self.heard_at >= QUIET

    def told(self, frame: Frame, now: float, active: bool | None) -> None:
        """A frame came, which may say other times."""
        self.heard_at = now
        match frame.get("type"):
            case "authentication-success":
                self.foreground = frame["heartbeatSeconds"]
                self.background = frame.get("backgroundHeartbeatSeconds", self.foreground)
                self.seconds = self.foreground if self.seconds == inf else self.seconds
            case "pong" | "heartbeat" if "heartbeatSeconds" in frame:
                self._told = active is not False, frame["heartbeatSeconds"]
        self.lease = frame.get("leaseSeconds", self.lease)

    def sent(self, now: float) -> None:
        self.served_at = now

    def pinged(self, now: float) -> None:
        """A ping is sent, of which nothing is heard if it is served."""
        if self._retry_at is None:
            self._refusals = 0
        self._served_before, self._pinged_at, self._retry_at = self.served_at, now, None
        self.served_at = now

    def refused(self, code: str, retry_after: float, now: float) -> None:
        """The last ping has renewed nothing: it is sent again before the lease ends."""
        if code not in _RETRYABLE:
            return
        if self.served_at == self._pinged_at:
            self.served_at = self._served_before
        wait = max(retry_after, 2**self._refusals)
        due_at, latest = now + min(wait, self.seconds), self.served_at + self.lease - _SPARE
        self._refusals += 1
        self._retry_at = min(due_at, latest) if latest > now + 1 else due_at
