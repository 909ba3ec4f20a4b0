"""Watch lists: users whose changes a connection is sent without a shared chat session."""

from collections.abc import Sequence
from dataclasses import dataclass

from presence.application.access import Access
from presence.application.statuses import Statuses
from presence.domain.connection import Connection
from presence.domain.errors import Unavailable
from presence.domain.user import Presence
from presence.fanout.sight import Reach
from presence.limits import ROWS_PER_UNIT, WATCH_ATTEMPTS
from presence.ports import Subscriptions


@dataclass(frozen=True, slots=True)
class Watching:
    access: Access
    statuses: Statuses
    subscriptions: Subscriptions

    def watch(self, connection_id: str, user_ids: Sequence[str], now: int) -> Sequence[Presence]:
        """Add users to a connection's watch list; their presences, in the order asked.

        Raises:
            Conflict: the watch list would be too long.
            NotAuthenticated, TokenExpired, RateLimited: see `Access.authorize`.
            Unavailable: it gets other tokens all the time.
        """
        actor = self.access.authorize(connection_id, now, _units(user_ids))
        connection = self._watched(actor.connection, frozenset(user_ids), now)
        # Read after subscribing: changes in between are announced as well.
        reach = Reach(connection.allowed_sessions)
        viewer_id = actor.user.user_id
        return self.statuses.read_many(user_ids, viewer_id, now, reach=reach, consistent=True)

    def _watched(self, connection: Connection, user_ids: frozenset[str], now: int) -> Connection:
        """The connection that watches them: as it was, or with the claim that came in between."""
        for _ in range(WATCH_ATTEMPTS):
            if self.subscriptions.watch(connection, user_ids):
                return connection
            connection = self.access.require_authenticated(connection.connection_id, now)
        raise Unavailable("Authenticate and watch one after the other.", retry_after_seconds=1)

    def unwatch(self, connection_id: str, user_ids: Sequence[str], now: int) -> None:
        self.access.authorize(connection_id, now, _units(user_ids))
        self.subscriptions.unwatch(connection_id, frozenset(user_ids))


def _units(user_ids: Sequence[str]) -> int:
    return 1 + len(user_ids) // ROWS_PER_UNIT
