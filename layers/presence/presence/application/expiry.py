"""Connections that end without a clean close: expired leases, lost sockets, evictions."""

from collections.abc import Collection
from dataclasses import dataclass

from presence.application.connections import Connections
from presence.application.user_changes import RecordRefused, UserChanges
from presence.domain.connection import Closing, Connection
from presence.domain.events import Evicted, LeaseExpired, LeaseStillValid, TimePassed
from presence.domain.user import Lease, User
from presence.limits import CLOCKS_APART_MILLISECONDS, YOUNG_SOCKET_MILLISECONDS
from presence.ports import ConnectionRecords, Subscriptions, Timers, Users


@dataclass(frozen=True, slots=True)
class Expiry:
    """`endpoint` as in `Connections`; `sessions` are those that the lease had, where it is gone."""

    records: ConnectionRecords
    users: Users
    subscriptions: Subscriptions
    timers: Timers
    changes: UserChanges
    connections: Connections
    endpoint: str

    def expire(
        self, connection_id: str, user_id: str, sessions: frozenset[str], now: int
    ) -> Connection | None:
        """Finish a connection whose lease expired, however far a close came before.

        Returns the connection as it was before; None if there is no record, or the lease is valid.
        """
        try:
            self._mark_closed(connection_id, user_id, now)
        except LeaseStillValid as late:
            self._check_again(connection_id, user_id, late.lease, now)
            return None
        connection = self.connections.close(connection_id, now)
        if connection is None or connection.user_id is None:
            self.remove_trace(connection_id, sessions, now)
        return connection

    def _mark_closed(self, connection_id: str, user_id: str, now: int) -> None:
        """Close the record in one transaction with a user whose lease has expired.

        Checked before, a lease could be renewed by a ping, whose client was told so, between the
        check and the close. What remains to be done is as if a close had stopped halfway.

        Raises:
            LeaseStillValid: the client was only late, and is back.
        """
        user = self.users.read(user_id, consistent=True)
        if user.revision == 0:
            return  # an unknown user has no lease, and must not get an item
        try:
            self.changes.apply(
                user_id, LeaseExpired(connection_id), now, Closing(connection_id), known=user
            )
        except RecordRefused:  # closed already, or never authenticated: the lease ends all the same
            self.changes.apply(user_id, TimePassed(), now)

    def _check_again(self, connection_id: str, user_id: str, lease: Lease, now: int) -> None:
        """The lease is still valid here: it was renewed, or the reporter's clock is ahead.

        In the latter case no further check would be scheduled, so schedule one.
        """
        left = lease.expires_at - now
        if left <= CLOCKS_APART_MILLISECONDS:
            self.timers.check_expired(connection_id, user_id, lease.sessions, -(-left // 1000))

    def evict(self, user: User, connection_ids: Collection[str], now: int) -> None:
        """End these leases and their connections at once, however far a close came before.

        One write for all of them: a user who changes all the time could win against each.
        """
        for connection_id in connection_ids:
            connection = self.connections.close_record(connection_id, now)
            if connection is None or connection.user_id is None:
                self.remove_trace(connection_id, user.leases[connection_id].sessions, now)
        self.changes.apply(user.user_id, Evicted(frozenset(connection_ids)), now)

    def lose(self, connection_id: str, at: int, now: int) -> None:
        """Close a connection of which API Gateway said 410 Gone at this instant or later.

        It also says so of a socket that is still opening, and of every socket of another endpoint;
        neither is closed, however late this check comes.
        """
        connection = self.records.read(connection_id)
        if connection is None:
            self.remove_trace(connection_id, frozenset(), now)
            return
        is_young = at - connection.opened_at <= YOUNG_SOCKET_MILLISECONDS
        if connection.endpoint == self.endpoint and not is_young:
            self.connections.close(connection_id, now, connection)

    def remove_trace(self, connection_id: str, sessions: frozenset[str], now: int) -> None:
        """Remove the subscriptions of a connection whose record no longer lists them."""
        trace = Connection(connection_id, self.endpoint, now, sessions=sessions, is_watching=True)
        self.subscriptions.remove_trace(trace)
