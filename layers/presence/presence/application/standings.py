"""Callers over HTTP, which have no connection record: what is refused to them, and their rates."""

from collections import OrderedDict

from presence.domain.connection import Identity
from presence.domain.rate_limit import USER, Charge, Take
from presence.domain.standing import Standing
from presence.limits import (
    KNOWN_READERS,
    KNOWN_STANDINGS,
    STANDING_MILLISECONDS,
    UNCHARGED_UNITS,
)
from presence.ports import Users


class Standings:
    """Remembers what it has read for STANDING_MILLISECONDS: a caller who asks often costs nothing.

    So a decision is in effect in each execution environment after that time.
    """

    def __init__(self, users: Users) -> None:
        self._users = users
        self._known: OrderedDict[str, tuple[int, Standing]] = OrderedDict()

    def of(self, user_id: str, now: int) -> Standing:
        read_at, standing = self._known.get(user_id, (0, Standing()))
        if not 0 <= now - read_at < STANDING_MILLISECONDS:
            standing = self._users.read(user_id).standing
            self._known[user_id] = now, standing
            self._known.move_to_end(user_id)
            if len(self._known) > KNOWN_STANDINGS:
                self._known.popitem(last=False)
        return standing

    def require_accepted(self, identity: Identity, now: int) -> None:
        """Raise TokenInvalid if the token was revoked."""
        self.of(identity.user_id, now).require_accepted(identity.token)


class Reads:
    """Charges what callers read. A write costs ten times as much as a read of one user.

    So the user's limit is charged once for UNCHARGED_UNITS of one environment, and until then, or
    if the user was never stored, the environment's own limit counts, which is as strict.
    """

    def __init__(self, users: Users) -> None:
        self._users = users
        self._known: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def charge(self, user_id: str, units: int, now: int) -> None:
        """Raise RateLimited if the user reads, or does, too much."""
        arrival, uncharged = self._known.get(user_id, (0, 0))
        arrival, uncharged = Take(now, units, USER).of(arrival), uncharged + units
        if uncharged >= UNCHARGED_UNITS:
            self._users.charge(user_id, Charge(now, uncharged))
            uncharged = 0
        self._known[user_id] = arrival, uncharged
        self._known.move_to_end(user_id)
        if len(self._known) > KNOWN_READERS:
            self._known.popitem(last=False)
