"""Who may act: authentication, the rate limit, and the lease that every frame renews."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from presence.application.user_changes import RecordRefused, UserChanges, too_busy
from presence.domain.connection import Connection, Durations, Identity, Returning, State, over
from presence.domain.errors import Forbidden, TokenExpired
from presence.domain.events import Authenticated, Evicted
from presence.domain.rate_limit import Charge
from presence.domain.user import Lease, User
from presence.limits import SWAP_ATTEMPTS
from presence.ports import ConnectionRecords, Renewal, Tokens, Users


@dataclass(frozen=True, slots=True)
class Actor:
    """A connection that may act, and its user as of now."""

    connection: Connection
    user: User

    def takes_part_in(self, session_id: str) -> bool:
        """Whether it has joined a chat session that its token and the back end still allow.

        The user is newer than the record: a lease that is back has left what was barred meanwhile.
        """
        is_barred = session_id in self.user.standing.barred
        return not is_barred and self.connection.takes_part_in(session_id)


@dataclass(frozen=True, slots=True)
class Access:
    records: ConnectionRecords
    users: Users
    changes: UserChanges
    durations: Durations

    def authorize(self, connection_id: str, now: int, actions: int = 1) -> Actor:
        """Charge actions to a connection and renew its lease, as any frame does.

        Raises:
            NotAuthenticated, TokenExpired: see `Connection.user_at`.
            RateLimited: see `charge`.
        """
        connection = self.require_authenticated(connection_id, now)
        return self.touch(self.charge(connection, now, actions), now)

    def require_authenticated(self, connection_id: str, now: int) -> Connection:
        """The connection, if it belongs to a user; every action but `authenticate` begins here.

        Raises:
            NotAuthenticated, TokenExpired: see `Connection.user_at`.
        """
        connection = self.records.read(connection_id)
        if connection is None or connection.state is State.OPEN or connection.is_token_expired(now):
            # An eventually consistent read may lag behind the client's own `authenticate`.
            return self.require_authenticated_now(connection_id, now)
        self._require_user(connection, now)
        return connection

    def require_authenticated_now(self, connection_id: str, now: int) -> Connection:
        """As `require_authenticated`, by a consistent read."""
        connection = self.records.read(connection_id, consistent=True)
        if connection is None:
            raise over()
        self._require_user(connection, now)
        return connection

    def _require_user(self, connection: Connection, now: int) -> None:
        """Refuse a connection that may not act; one whose token is over is closed after the answer.

        It would hear on until its lease is found to have expired. If the client authenticates
        again before the timer comes, the timer finds nothing to do.
        """
        try:
            connection.user_at(now)
        except TokenExpired:
            name, user_id = connection.connection_id, connection.user_id
            self.changes.timers.check_expired(name, str(user_id), connection.sessions, 1)
            raise

    def charge(self, connection: Connection, now: int, actions: int = 1) -> Connection:
        """Charge actions to the rate limit; the connection as it is now.

        The write needs the token and the chat sessions of the record as they were read: no action
        is served by what an eventually consistent read has brought late.

        Raises:
            NotAuthenticated, TokenExpired: the connection, or its token, ended meanwhile.
            RateLimited: see `take`.
            Unavailable: it gets other tokens and chat sessions all the time.
        """
        for attempt in range(SWAP_ATTEMPTS):
            if self.records.charge(connection, Charge(now, actions)):
                return connection
            self.changes.pause(attempt)
            connection = self.require_authenticated_now(connection.connection_id, now)
        raise too_busy()

    def touch(self, connection: Connection, now: int) -> Actor:
        """Renew the lease, or bring back one that expired, without a charge."""
        user = self.renew(connection, now).user
        if connection.connection_id not in user.leases:
            user = self.readmit(connection, user, now)
        return Actor(connection, user)

    def renew(
        self, connection: Connection, now: int, *, is_active: bool | None = None, by: int = 0
    ) -> Renewal:
        """Extend the lease, if that makes it longer by *by* milliseconds at least.

        Raises:
            TokenInvalid: the token was revoked, by a request that stopped before it closed this.
        """
        lease = self.lease_of(connection, now)
        renewal = self.users.renew(
            connection.user_at(now),
            connection.connection_id,
            lease,
            is_active=is_active,
            if_before=lease.expires_at - by,
        )
        if not renewal.user.standing.accepts(connection.token):
            self._end_revoked(connection.connection_id, now)
        return renewal

    def _end_revoked(self, connection_id: str, now: int) -> None:
        """End the lease, and have the rest closed in a moment, unless there is a fresh token."""
        connection = self.require_authenticated_now(connection_id, now)
        user = self.users.read(connection.user_at(now), consistent=True)
        if user.standing.accepts(connection.token):
            return
        if connection_id in user.leases:
            # First: without a lease, no sweep would find that the connection is still open.
            timers, user_id = self.changes.timers, user.user_id
            timers.check_expired(connection_id, user_id, connection.sessions, 1)
            self.changes.apply(user_id, Evicted(frozenset({connection_id})), now)
        user.standing.require_accepted(connection.token)

    def readmit(
        self, connection: Connection, known: User, now: int, *, is_active: bool | None = None
    ) -> User:
        """Bring back an expired lease of a connection that is not closed: the client was late.

        The connection is still subscribed to its chat sessions, so the user is in them again.

        Raises:
            NotAuthenticated, TokenExpired: the connection, or its token, ended meanwhile.
            TokenInvalid: its token was revoked.
            Unavailable: it gets other tokens and chat sessions all the time.
        """
        for attempt in range(SWAP_ATTEMPTS):
            name, token = connection.connection_id, connection.token
            lease = replace(self.lease_of(connection, now), sessions=connection.sessions)
            grace_until = now + self.durations.grace
            event = Authenticated(name, lease, is_active, token, grace_until=grace_until)
            change = Returning(name, connection.revision, connection.joined)
            try:
                return self.changes.apply(known.user_id, event, now, change, known)[1]
            except RecordRefused:  # closed, or not as it was read
                self.changes.pause(attempt)
                connection = self.require_authenticated_now(name, now)
        raise too_busy()

    def lease_of(self, connection: Connection, now: int) -> Lease:
        return self.durations.new_lease(connection.token_expires_at or 0, now)


@contextmanager
def over_if_refused() -> Iterator[None]:
    """A connection that was authenticated a moment ago and is refused now was closed meanwhile."""
    try:
        yield
    except RecordRefused as error:
        raise over() from error


def identify(tokens: Tokens, token: str, expected: str | None, now: int) -> Identity:
    """The identity that a token proves.

    Raises:
        TokenInvalid, TokenExpired, Unavailable: see `Tokens.verify`.
        Forbidden: it is not the *expected* user.
    """
    identity = tokens.verify(token, now)
    if expected not in (None, identity.user_id):
        raise Forbidden("Leave userId out, or send the subject of the token.")
    return identity
