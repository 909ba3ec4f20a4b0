"""Chat sessions: which connections are in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from presence.application.access import Access, over_if_refused
from presence.application.user_changes import RecordRefused, UserChanges, halves
from presence.domain.connection import Connection, Joining, entries_allowing
from presence.domain.errors import Conflict, Forbidden, PresenceError, Unavailable, no_access
from presence.domain.events import Joined
from presence.domain.rate_limit import actions_for
from presence.domain.reducer import no_entry
from presence.domain.standing import AllowedSessions, Standing, is_allowed
from presence.domain.user import User
from presence.limits import JOIN_ATTEMPTS
from presence.ports import Authorizer, TooManyRows

#: By chat session, why it was not joined.
Refusals = Mapping[str, PresenceError]


@dataclass(frozen=True, slots=True)
class Entry:
    """The user after a `join`, and of the chat sessions asked for those that were refused."""

    user: User
    refused: Refusals


@dataclass(frozen=True, slots=True)
class ChatSessions:
    changes: UserChanges
    access: Access
    authorizer: Authorizer

    def join(self, connection_id: str, session_ids: Sequence[str], now: int) -> Entry:
        """Subscribe a connection to chat sessions; its user is in them from now on.

        Raises:
            NotAuthenticated, TokenExpired, RateLimited: see `Access.authorize`.
            Unavailable: the lease ended meanwhile, or the token changed too often.
        """
        actions = actions_for(len(session_ids))
        actor = self.access.authorize(connection_id, now, actions, actions)
        allowed, user = actor.connection.allowed_sessions, actor.user
        refused = self.refusals(user.user_id, user.standing, allowed, session_ids)
        asked = [name for name in session_ids if name not in refused]
        entry = self.take_part(actor.connection, user, asked, now)
        return Entry(entry.user, {**refused, **entry.refused})

    def take_part(
        self, connection: Connection, user: User, session_ids: Sequence[str], now: int
    ) -> Entry:
        """As `join`, of what the authorizer allows; *user* as just read."""
        if not session_ids:
            return Entry(user, {})
        try:
            return self._join(connection, user, session_ids, now)
        except TooManyRows:
            first, second = halves(session_ids)
            entry = self.take_part(connection, user, first, now)
            following = self.take_part(connection, entry.user, second, now)
            return Entry(following.user, {**entry.refused, **following.refused})
        except (Forbidden, Conflict) as refusal:  # of all of them
            known = connection.allowed_sessions
            return Entry(user, {it: no_entry(user, it, known) or refusal for it in session_ids})

    def _join(
        self, connection: Connection, known: User, session_ids: Sequence[str], now: int
    ) -> Entry:
        user_id, name = known.user_id, connection.connection_id
        for attempt in range(JOIN_ATTEMPTS):
            allowed = connection.allowed_sessions
            asked = [it for it in session_ids if is_allowed(it, allowed)]
            if not asked:
                raise no_access()
            change = _joining(connection, asked)
            try:
                _, user = self.changes.apply(
                    user_id, Joined(name, tuple(asked)), now, change, known
                )
            except RecordRefused:  # closed, or it has another token than when it was read
                self.changes.pause(attempt)
                connection = self.access.require_authenticated(name, now)
            else:
                after = _with_lease(user, name)
                return Entry(after, not_joined(after, name, allowed, session_ids))
        raise Unavailable("Authenticate and join one after the other.", retry_after_seconds=1)

    def refusals(
        self,
        user_id: str,
        standing: Standing,
        allowed: AllowedSessions,
        session_ids: Sequence[str],
    ) -> Refusals:
        """By the token, the back end and the authorizer, alike for those that do not exist."""
        asked = [name for name in session_ids if standing.lets_into(name, allowed)]
        said = self.authorizer.may_join(user_id, asked) if asked else ()
        verdicts = dict(zip(asked, said, strict=True))
        refused = {name: verdicts.get(name, False) for name in session_ids}
        return {
            name: _not_known() if verdict is None else no_access()
            for name, verdict in refused.items()
            if not verdict
        }

    def require_entry(
        self, user_id: str, standing: Standing, allowed: AllowedSessions, session_id: str
    ) -> None:
        """Refuse alike for a chat session that exists and one that does not.

        Raises:
            Forbidden: the token, the back end or the authorizer refuses.
            Unavailable: the authorizer could not be asked.
        """
        for refusal in self.refusals(user_id, standing, allowed, [session_id]).values():
            raise refusal

    def leave(self, connection_id: str, session_ids: Sequence[str], now: int) -> None:
        """Undo `join`; it may be undone already.

        Raises:
            NotAuthenticated, TokenExpired, RateLimited: see `Access.authorize`.
        """
        actions = actions_for(len(session_ids))
        actor = self.access.authorize(connection_id, now, actions, actions)
        with over_if_refused():
            self.changes.leave(actor.connection, session_ids, now, actor.user)


def not_joined(
    user: User, connection_id: str, allowed: AllowedSessions, session_ids: Sequence[str]
) -> Refusals:
    """Of chat sessions that a connection was to join, those that it is not in, with the reason."""
    joined = user.leases[connection_id].sessions
    return {
        name: no_entry(user, name, allowed) or _not_known()
        for name in session_ids
        if name not in joined
    }


def _joining(connection: Connection, session_ids: Sequence[str]) -> Joining:
    return Joining(
        connection.connection_id,
        connection.opened_at,
        session_ids,
        connection.joined,
        entries_allowing(session_ids, connection.allowed_sessions),
    )


def _not_known() -> Unavailable:
    return Unavailable("Whether you may join cannot be said now; try again.", retry_after_seconds=2)


def _with_lease(user: User, connection_id: str) -> User:
    if connection_id not in user.leases:
        raise Unavailable("The connection was away for too long; try again.")
    return user
