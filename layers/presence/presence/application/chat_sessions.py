"""Chat sessions: which connections are in them."""

from dataclasses import dataclass

from presence.application.access import Access, Actor, over_if_refused
from presence.application.user_changes import UserChanges
from presence.domain.connection import (
    AllowedSessions,
    Connection,
    Joining,
    Leaving,
    entry_allowing,
    is_allowed,
    no_access,
)
from presence.domain.errors import Forbidden, Unavailable
from presence.domain.events import Joined, Left
from presence.domain.user import User
from presence.limits import JOIN_ATTEMPTS
from presence.ports import Authorizer, ConnectionRecords

#: The shard to unsubscribe from if the connection is not known to have joined.
_FIRST = frozenset({0})


@dataclass(frozen=True, slots=True)
class ChatSessions:
    records: ConnectionRecords
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
        self.require_entry(actor.user.user_id, actor.connection.allowed_sessions, session_id)
        connection, event = actor.connection, Joined(connection_id, session_id)
        for _ in range(JOIN_ATTEMPTS):
            change = _joining(connection, session_id)
            try:
                _, user = self.changes.apply(actor.user.user_id, event, now, change, actor.user)
            except Forbidden:  # closed, or it has another token than when it was read
                connection = self.access.require_authenticated_now(connection_id, now)
            else:
                return _with_lease(user, connection_id)
        raise Unavailable("Authenticate and join one after the other.", retry_after_seconds=1)

    def require_entry(self, user_id: str, allowed: AllowedSessions, session_id: str) -> None:
        """Refuse alike for a chat session that exists and one that does not.

        Raises:
            Forbidden: the token or the authorizer refuses.
            Unavailable: see `Authorizer.may_join`.
        """
        if not (is_allowed(session_id, allowed) and self.authorizer.may_join(user_id, session_id)):
            raise no_access()

    def leave(self, connection_id: str, session_id: str, now: int) -> None:
        """Undo `join`; it may be undone already.

        Raises:
            NotAuthenticated, TokenExpired, RateLimited: see `Access.authorize`.
        """
        self._leave(self.access.authorize(connection_id, now), session_id, now)

    def leave_forbidden(self, connection_id: str, now: int, allowed: AllowedSessions) -> None:
        """Leave what a fresh token does not allow any more.

        The lease names the chat sessions as of now; the record may have been read before the last
        `join`.
        """
        connection = self.access.require_authenticated(connection_id, now)
        actor = self.access.touch(connection, now)
        for session_id in actor.user.leases[connection_id].sessions:
            if not is_allowed(session_id, allowed):
                self._leave(actor, session_id, now)

    def _leave(self, actor: Actor, session_id: str, now: int) -> None:
        connection = actor.connection
        connection_id = connection.connection_id
        if session_id not in connection.sessions:
            # An eventually consistent read may lag behind the client's own `join`.
            connection = self.records.read(connection_id, consistent=True) or connection
        change = Leaving(connection_id, session_id, connection.shards_of(session_id) or _FIRST)
        event = Left(connection_id, session_id)
        with over_if_refused():
            self.changes.apply(actor.user.user_id, event, now, change, actor.user)


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
