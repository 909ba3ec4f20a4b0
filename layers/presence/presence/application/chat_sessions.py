"""Chat sessions: which connections are in them."""

from dataclasses import dataclass

from presence.application.access import Access, over_if_refused
from presence.application.user_changes import RecordRefused, UserChanges
from presence.domain.connection import Connection, Joining, entry_allowing
from presence.domain.errors import Unavailable, no_access
from presence.domain.events import Joined
from presence.domain.standing import AllowedSessions, Standing
from presence.domain.user import User
from presence.limits import JOIN_ATTEMPTS
from presence.ports import Authorizer


@dataclass(frozen=True, slots=True)
class ChatSessions:
    changes: UserChanges
    access: Access
    authorizer: Authorizer

    def join(self, connection_id: str, session_id: str, now: int) -> User:
        """Subscribe a connection to a chat session; its user, who is in it from now on.

        Raises:
            Forbidden: the token or the authorizer refuses.
            Conflict: the user is in too many chat sessions.
            NotAuthenticated, TokenExpired, RateLimited: see `Access.authorize`.
            Unavailable: the lease ended meanwhile, or the token changed too often.
        """
        actor = self.access.authorize(connection_id, now)
        allowed = actor.connection.allowed_sessions
        self.require_entry(actor.user.user_id, actor.user.standing, allowed, session_id)
        connection, event = actor.connection, Joined(connection_id, session_id)
        for attempt in range(JOIN_ATTEMPTS):
            change = _joining(connection, session_id)
            try:
                _, user = self.changes.apply(actor.user.user_id, event, now, change, actor.user)
            except RecordRefused:  # closed, or it has another token than when it was read
                self.changes.pause(attempt)
                connection = self.access.require_authenticated_now(connection_id, now)
            else:
                return _with_lease(user, connection_id)
        raise Unavailable("Authenticate and join one after the other.", retry_after_seconds=1)

    def require_entry(
        self, user_id: str, standing: Standing, allowed: AllowedSessions, session_id: str
    ) -> None:
        """Refuse alike for a chat session that exists and one that does not.

        Raises:
            Forbidden: the token, the back end or the authorizer refuses.
            Unavailable: see `Authorizer.may_join`.
        """
        is_let_in = standing.lets_into(session_id, allowed)
        if not (is_let_in and self.authorizer.may_join(user_id, session_id)):
            raise no_access()

    def leave(self, connection_id: str, session_id: str, now: int) -> None:
        """Undo `join`; it may be undone already.

        Raises:
            NotAuthenticated, TokenExpired, RateLimited: see `Access.authorize`.
        """
        actor = self.access.authorize(connection_id, now)
        with over_if_refused():
            self.changes.leave(actor.connection, session_id, now, actor.user)


def _joining(connection: Connection, session_id: str) -> Joining:
    return Joining(
        connection.connection_id,
        connection.opened_at,
        session_id,
        connection.shards_of(session_id),
        entry_allowing(session_id, connection.allowed_sessions),
    )


def _with_lease(user: User, connection_id: str) -> User:
    if connection_id not in user.leases:
        raise Unavailable("The connection was away for too long; try again.")
    return user
