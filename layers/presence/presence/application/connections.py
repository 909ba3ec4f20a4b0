"""The life of a connection: open, authenticate, ping, close."""

from dataclasses import dataclass, replace

from presence.application.access import Access
from presence.application.user_changes import UserChanges
from presence.domain.connection import Admission, Connection, Durations, Identity, State, over
from presence.domain.errors import Forbidden, PresenceError
from presence.domain.events import Authenticated, Disconnected, Renewed
from presence.domain.user import User
from presence.limits import NEW_CONNECTION_MILLISECONDS
from presence.ports import ConnectionRecords, OnlineIndex, Subscriptions, Timers


@dataclass(frozen=True, slots=True)
class AuthenticateCommand:
    """`is_active` says whether a person is at the device; None keeps what is known.

    It comes with the token: said a moment later, a user who is away would be online in between.
    `opened_at` is when API Gateway opened the socket, in epoch milliseconds.
    """

    connection_id: str
    identity: Identity
    opened_at: int
    device: str | None = None
    is_active: bool | None = None


@dataclass(frozen=True, slots=True)
class Welcome:
    """The answer to `authenticate`; instants are in epoch milliseconds."""

    user: User
    online_count: int
    token_expires_at: int
    connection_expires_at: int


@dataclass(frozen=True, slots=True)
class Connections:
    """`endpoint` is the callback URL at which this deployment reaches its sockets."""

    records: ConnectionRecords
    subscriptions: Subscriptions
    online_index: OnlineIndex
    timers: Timers
    changes: UserChanges
    access: Access
    durations: Durations
    endpoint: str

    def open(self, connection_id: str, now: int) -> None:
        """Store the connection, and check it when it should have authenticated.

        The timer is set first: without one, a connection could stay open unauthenticated until API
        Gateway ends it.
        """
        self.timers.check_connection(connection_id, self.durations.authentication // 1000)
        self.records.open(Connection(connection_id, self.endpoint, opened_at=now))

    def authenticate(self, command: AuthenticateCommand, now: int) -> Welcome:
        """Bind the connection to the user of the token, or renew its token.

        Raises:
            NotAuthenticated: the connection is closed.
            Forbidden: it is another user's.
            TooManyConnections, Conflict: see `reduce`.
        """
        identity, connection_id = command.identity, command.connection_id
        admission = Admission(
            connection_id, command.opened_at, identity.expires_at, identity.allowed_sessions
        )
        lease = self.durations.new_lease(identity.expires_at, now, command.device)
        lease = replace(lease, sessions=self._joined_before(command, now))
        event = Authenticated(connection_id, lease, command.is_active)
        try:
            before, after = self.changes.apply(identity.user_id, event, now, admission)
        except Forbidden as error:
            raise self._reason_of_refusal(connection_id) from error
        # The count includes every user that others saw online; one's own devices always count one.
        others = max(0, self.online_index.count().online - before.presence.is_online)
        ends_at = command.opened_at + self.durations.connection
        return Welcome(after, others + 1, identity.expires_at, ends_at)

    def _joined_before(self, command: AuthenticateCommand, now: int) -> frozenset[str]:
        """The chat sessions of the connection, whose lease may have expired since it joined them.

        A new connection has none, which saves the read.
        """
        if now - command.opened_at <= NEW_CONNECTION_MILLISECONDS:
            return frozenset()
        connection = self.records.read(command.connection_id, consistent=True)
        return frozenset() if connection is None else connection.sessions

    def _reason_of_refusal(self, connection_id: str) -> PresenceError:
        """Why the record refused; a client that hears that it is over opens a new connection."""
        connection = self.records.read(connection_id, consistent=True)
        if connection is None or connection.state is State.CLOSED:
            return over()
        return Forbidden("This connection is another user's; open a new one.")

    def ping(self, connection_id: str, is_active: bool | None, now: int) -> None:
        """Renew the lease, without a charge if the last renewal was long enough ago.

        One conditional write on the usual path, which creates and repairs nothing. A refused write
        returns the user, who decides what else there is to do.

        Raises:
            NotAuthenticated, TokenExpired: see `Access.require_authenticated`.
            RateLimited: see `Access.charge`.
        """
        connection = self.access.require_authenticated(connection_id, now)
        by = self.durations.between_pings
        renewal = self.access.renew(connection, now, is_active=is_active, by=by)
        if not renewal.is_done:
            self._ping_unusual(connection, renewal.user, is_active, now)

    def _ping_unusual(
        self, connection: Connection, user: User, is_active: bool | None, now: int
    ) -> None:
        """The lease is gone, or was renewed just now, or the person at the device came or went."""
        if connection.connection_id in user.leases:
            self.access.charge(connection, now)
            lease = self.access.lease_of(connection, now)
            event = Renewed(connection.connection_id, lease, is_active)
            _, user = self.changes.apply(user.user_id, event, now, known=user)
        if connection.connection_id not in user.leases:
            self.access.readmit(connection, user, now, is_active=is_active)

    def close(self, connection_id: str, now: int, *, grace: int | None = None) -> Connection | None:
        """Close the record, then remove the subscriptions and the lease. May be repeated.

        The record first: an `authenticate` that comes later is refused. The user is always written:
        a lease that an earlier `authenticate` added is removed. If this stops halfway, the lease
        expires, and `Expiry.expire` finishes the work.

        Returns the connection as it was before; None if there is no record.
        """
        connection = self.records.close(connection_id, now)
        if connection is None or connection.user_id is None:
            return connection
        self.subscriptions.remove(connection)
        grace = self.durations.grace if grace is None else grace
        event = Disconnected(connection_id, grace_until=now + grace)
        self.changes.apply(connection.user_id, event, now)
        return connection
