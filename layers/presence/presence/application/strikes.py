"""Sockets that go on sending what is refused: they are closed, so that they cost no more."""

from collections import OrderedDict
from dataclasses import dataclass, field

from presence.application.connections import Connections
from presence.domain.errors import NotAuthenticated, PresenceError, RateLimited
from presence.fanout.dispatch import Dispatcher, OpenSocket
from presence.limits import (
    KNOWN_STRIKES,
    LEAVE_SECONDS,
    MAX_LIMITED_FRAMES,
    MAX_UNAUTHENTICATED_FRAMES,
)
from presence.ports import ConnectionRecords, Timers

_MOST: dict[type[PresenceError], int] = {
    NotAuthenticated: MAX_UNAUTHENTICATED_FRAMES,
    RateLimited: MAX_LIMITED_FRAMES,
}


@dataclass(frozen=True, slots=True)
class Strikes:
    """Each execution environment counts for itself, which needs no write and no read."""

    records: ConnectionRecords
    connections: Connections
    dispatcher: Dispatcher
    timers: Timers
    _counts: OrderedDict[tuple[str, str], int] = field(default_factory=OrderedDict)

    def refused(self, connection_id: str, refusal: PresenceError, now: int) -> None:
        """Count a refusal; with too many of a kind, the connection is over."""
        most = _MOST.get(type(refusal))
        if most is None or not self._is_out(connection_id, refusal.code, most):
            return
        reason = "connection-limit"
        if isinstance(refusal, NotAuthenticated):
            reason = "authentication-timeout"
            # It may have authenticated meanwhile, by a frame that another environment served.
            if not self.records.close_unauthenticated(connection_id, now):
                return
        else:
            # First: pings read no record. Stopped halfway, they would renew the lease of a closed
            # connection until its socket ends.
            self.timers.check_connection(connection_id, LEAVE_SECONDS)
            self.connections.close(connection_id, now)
        if self.dispatcher.close_all([OpenSocket(connection_id, reason)]):
            self.timers.check_connection(connection_id, 1)

    def _is_out(self, connection_id: str, code: str, most: int) -> bool:
        key = connection_id, code
        self._counts[key] = self._counts.get(key, 0) + 1
        self._counts.move_to_end(key)
        if len(self._counts) > KNOWN_STRIKES:
            self._counts.popitem(last=False)
        return self._counts[key] % most == 0
