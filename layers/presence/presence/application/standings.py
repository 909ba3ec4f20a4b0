"""What the back end has decided about callers over HTTP, which have no connection record."""

from collections import OrderedDict

from presence.domain.connection import Identity
from presence.domain.standing import Standing
from presence.limits import KNOWN_STANDINGS, STANDING_MILLISECONDS
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
