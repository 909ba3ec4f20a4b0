"""Who may act: authentication, the rate limit, and the lease that every frame renews."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from presence.application.user_changes import RecordRefused, UserChanges, too_busy
from presence.domain.connection import Connection, Durations, Identity, Returning, State, over
from presence.domain.errors import Forbidden, RateLimited, TokenExpired
from presence.domain.events import Authenticated, Evicted
from presence.domain.rate_limit import Arrivals, Charge
from presence.domain.user import Lease, User
from presence.limits import SWAP_ATTEMPTS
from presence.ports import ConnectionRecords, Pinged, Tokens, Users


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

    def authorize(self, connection_id: str, now: int, units: int = 1, frames: int = 1) -> Actor:
        """Charge frames, of so many units, and renew the lease of their connection, in one write.

        Raises:
            NotAuthenticated, TokenExpired: see `Connection.user_at`.
            RateLimited: the connection, or its user, does too much.
        """
        connection = self.require_authenticated(connection_id, now)
        return self.act(connection, Charge(now, units, frames))

    def require_authenticated(
        self, connection_id: str, now: int, *, consistent: bool = True
    ) -> Connection:
        """The connection, if it belongs to a user; every action but `authenticate` begins here.

        Read consistently: no action is served by a token, or a chat session, of a moment ago. Only
        a ping that does not say whose it is asks a read that may lag behind, if that says that the
        connection is authenticated, or closed, which is final.

        Raises:
            NotAuthenticated, TokenExpired: see `Connection.user_at`.
        """
        connection = self.records.read(connection_id, consistent=consistent)
        is_closed = connection is not None and connection.state is State.CLOSED
        may_act = connection is not None and connection.may_act(now)
        if not (consistent or may_act or is_closed):
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

    def act(self, connection: Connection, charge: Charge) -> Actor:
        """Charge the user and the connection, and renew the lease, or bring back one that expired.

        Raises:
            RateLimited: see `Take.of`.
        """
        now, name = charge.now, connection.connection_id
        acted = self.users.act(
            connection.user_at(now), name, self.lease_of(connection, now), charge
        )
        self.require_accepted(connection, acted.user, now)
        if acted.is_done:
            return Actor(connection, acted.user)
        if name in acted.user.leases:
            raise RateLimited("Send one action after the other.", retry_after_seconds=1)
        return Actor(connection, self.readmit(connection, acted.user, now, charge=charge))

    def renew(
        self, user_id: str, connection_id: str, lease: Lease, is_active: bool | None
    ) -> Pinged:
        """Extend the lease of a connection of this user, as a ping does; see `Users.renew`.

        No record is read: only an admission makes a lease, and every end of a connection or of its
        token ends the lease. A revocation ends it a moment later, so its users are asked for more.

        Raises:
            TokenInvalid: the token was revoked, by a request that stopped before it closed this.
        """
        now = lease.seen_at
        heard_by = now - self.durations.between_pings
        pinged = self.users.renew(
            user_id, connection_id, lease, is_active=is_active, heard_by=heard_by
        )
        user = pinged.user
        if pinged.is_done and user is not None and user.standing.may_refuse(now):
            record = self.require_authenticated(connection_id, now)
            self.require_accepted(record, user, now)
        return pinged

    def require_accepted(self, connection: Connection, user: User, now: int) -> None:
        """End what a revocation left open: the lease now, and the rest in a moment.

        Raises:
            TokenInvalid: the token is revoked, and there is no fresh one.
        """
        if user.standing.accepts(connection.token):
            return
        connection_id = connection.connection_id
        connection = self.require_authenticated(connection_id, now, consistent=True)
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
        self,
        connection: Connection,
        known: User,
        now: int,
        *,
        is_active: bool | None = None,
        heartbeat: int | None = None,
        charge: Charge | None = None,
    ) -> User:
        """Bring back an expired lease of a connection that is not closed: the client was late.

        The connection is still subscribed to its chat sessions, so the user is in them again.
        Without a *charge* it was a ping, which says the client's heartbeat until the next.

        Raises:
            NotAuthenticated, TokenExpired, TokenInvalid: the connection, or its token, has ended.
            RateLimited, Unavailable: see `Take.of`; it gets other tokens all the time.
        """
        name, user_id, until = connection.connection_id, known.user_id, now + self.durations.grace
        for attempt in range(SWAP_ATTEMPTS):
            lease = self._returned(connection, heartbeat, charge, now)
            event = Authenticated(name, lease, is_active, connection.token, grace_until=until)
            change = Returning(name, connection.revision, connection.joined)
            try:
                return self.changes.apply(user_id, event, now, change, known, charge=charge)[1]
            except RecordRefused:  # closed, or not as it was read
                self.changes.pause(attempt)
                connection = self.require_authenticated(name, now)
        raise too_busy()

    def _returned(
        self, connection: Connection, heartbeat: int | None, charge: Charge | None, now: int
    ) -> Lease:
        if charge is not None:
            heartbeat = self.durations.heartbeats.background
        ends_at = connection.token_expires_at or 0
        lease = self.durations.new_lease(ends_at, now, heartbeat=heartbeat)
        arrival = Arrivals().after(charge).connection if charge else 0
        return replace(lease, sessions=connection.sessions, arrival=arrival)

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
