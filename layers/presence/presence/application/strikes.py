"""Sockets that go on sending what is refused: they are closed, so that they cost no more."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from presence.application.connections import Connections
from presence.domain.errors import (
    InvalidMessage,
    NotAuthenticated,
    PayloadTooLarge,
    PresenceError,
    RateLimited,
    TokenExpired,
    TokenInvalid,
    UnknownAction,
)
from presence.domain.rate_limit import Rate, Take
from presence.fanout.dispatch import Dispatcher, OpenSocket
from presence.limits import (
    KNOWN_STRIKES,
    LEAVE_SECONDS,
    MAX_REFUSED_FRAMES,
    MAX_UNAUTHENTICATED_FRAMES,
    REFUSED_FRAME_MILLISECONDS,
)
from presence.ports import ConnectionRecords, Timers

_UNAUTHENTICATED = Rate(REFUSED_FRAME_MILLISECONDS, MAX_UNAUTHENTICATED_FRAMES - 1)
#: Of frames that are refused before they are charged to the rate limit, or by it.
_UNCHARGED = Rate(REFUSED_FRAME_MILLISECONDS, MAX_REFUSED_FRAMES - 1)
_RATES: Mapping[type[PresenceError], Rate] = {
    NotAuthenticated: _UNAUTHENTICATED,
    **dict.fromkeys(
        (RateLimited, InvalidMessage, UnknownAction, PayloadTooLarge, TokenInvalid, TokenExpired),
        _UNCHARGED,
    ),
}


@dataclass(frozen=True, slots=True)
class Strikes:
    """Each execution environment counts for itself, which needs no write and no read.

    It keeps the theoretical arrival of a rate for each connection (see `rate_limit`): a client that
    is refused now and then is never closed, however long it lives.
    """

    records: ConnectionRecords
    connections: Connections
    dispatcher: Dispatcher
    timers: Timers
    _arrivals: OrderedDict[tuple[str, Rate], int] = field(default_factory=OrderedDict)

    def refused(self, connection_id: str, refusal: PresenceError, now: int) -> None:
        """Count a refusal; with too many of a kind, the connection is over."""
        rate = _RATES.get(type(refusal))
        if rate is None or not self._is_out(connection_id, rate, now):
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

    def _is_out(self, connection_id: str, rate: Rate, now: int) -> bool:
        """Whether it is one refusal too many; then counting begins anew."""
        key = connection_id, rate
        try:
            self._arrivals[key] = Take(now, 1, rate).of(self._arrivals.pop(key, 0))
        except RateLimited:
            return True
        if len(self._arrivals) > KNOWN_STRIKES:
            self._arrivals.popitem(last=False)
        return False
