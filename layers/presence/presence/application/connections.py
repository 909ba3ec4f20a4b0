"""The life of a connection: connect, authenticate, ping, disconnect."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from presence.application.user_changes import UserChanges
from presence.domain.connection import (
    Admission,
    Closing,
    Connection,
    Identity,
    Joining,
    Leaving,
    State,
    entry_allowing,
    lease_limit,
)
from presence.domain.errors import (
    Forbidden,
    NotAuthenticated,
    PresenceError,
    RateLimited,
    Unavailable,
)
from presence.domain.events import (
    Authenticated,
    Disconnected,
    Joined,
    LeaseExpired,
    LeaseStillValid,
    Left,
    Renewed,
    TimePassed,
)
from presence.domain.user import Lease, User
from presence.ports import (
    ConnectionRecords,
    OnlineIndex,
    Renewal,
    Subscriptions,
    Timers,
    Tokens,
    Users,
)

#: Pings closer to each other than this are paid from the connection's bucket, unless heartbeats
#: are more frequent than that.
MIN_PING_MILLISECONDS = 10_000
#: API Gateway may answer 410 for a socket this young although it lives.
YOUNG_MILLISECONDS = 10_000

#: How far the clocks of two functions are apart at most.
CLOCKS_APART_MILLISECONDS = 10_000

#: How often a `join` begins again because a fresh token came in between.
ATTEMPTS = 3

#: Where whoever has not joined is looked for all the same.
_FIRST = frozenset({0})


@dataclass(frozen=True, slots=True)
class Durations:
    """How long things last, in milliseconds."""

    heartbeat: int
    lease: int
    grace: int
    authentication: int
    connection: int

    @property
    def between_pings(self) -> int:
        """How far apart the pings of an ordinary client are at least, jitter included."""
        return min(MIN_PING_MILLISECONDS, self.heartbeat // 2)


@dataclass(frozen=True, slots=True)
class Welcome:
    """What `authenticate` tells its client."""

    user: User
    online_count: int
    token_expires_at: int
    connection_expires_at: int


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks for something: a connection, and its user as of now."""

    connection: Connection
    user: User


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The flows of one connection; `endpoint` is where this deployment can be reached."""

    connections: ConnectionRecords
    users: Users
    subscriptions: Subscriptions
    online_index: OnlineIndex
    timers: Timers
    durations: Durations
    endpoint: str

    @property
    def changes(self) -> UserChanges:
        return UserChanges(self.users, self.timers)

    def connect(self, connection_id: str, now: int) -> None:
        """Remember the connection, and look again when it should have authenticated.

        The timer comes first: a connection without one could stay for ten minutes unclaimed.
        """
        self.timers.check_connection(connection_id, self.durations.authentication // 1000)
        self.connections.open(Connection(connection_id, self.endpoint, opened_at=now))

    def authenticate(
        self,
        connection_id: str,
        identity: Identity,
        device: str | None,
        opened_at: int,
        now: int,
        *,
        is_active: bool | None = None,
    ) -> Welcome:
        """Let *identity* in through this connection, or renew its token.

        Whether a person is there is said along with it: said a moment later, somebody away would
        be online in between.

        Raises:
            NotAuthenticated: the connection is over.
            Forbidden: it is another user's.
            TooManyConnections, Conflict: see `reduce`.
        """
        lease = self._lease(identity.expires_at, device, now)
        lease = replace(lease, sessions=self._still_heard(connection_id, opened_at, now))
        admission = Admission(
            connection_id, opened_at, identity.expires_at, identity.allowed_sessions
        )
        event = Authenticated(connection_id, lease, is_active)
        try:
            before, after = self.changes.apply(identity.user_id, event, now, admission)
        except Forbidden as error:
            raise self._not_admitted(connection_id) from error
        # The count holds whoever others saw online before; one's own devices count one anyway.
        others_count = self.online_index.count().online - before.presence.is_online
        return Welcome(
            user=after,
            online_count=max(0, others_count) + 1,
            token_expires_at=identity.expires_at,
            connection_expires_at=opened_at + self.durations.connection,
        )

    def _not_admitted(self, connection_id: str) -> PresenceError:
        """Why the gate has refused; a client that hears that it is over opens the next one."""
        connection = self.connections.read(connection_id, consistent=True)
        if connection is None or connection.state is State.CLOSED:
            return _over()
        return Forbidden("This connection is another user's; open a new one.")

    def _still_heard(self, connection_id: str, opened_at: int, now: int) -> frozenset[str]:
        """What the connection has joined: its lease may have run out since, and its user left.

        Nearly everybody authenticates at once, and need not be asked.
        """
        if now - opened_at <= YOUNG_MILLISECONDS:
            return frozenset()
        connection = self.connections.read(connection_id, consistent=True)
        return frozenset() if connection is None else connection.sessions

    def _lease_of(self, connection: Connection, now: int) -> Lease:
        return self._lease(connection.token_expires_at or 0, None, now)

    def _lease(self, token_expires_at: int, device: str | None, now: int) -> Lease:
        expires_at = min(now + self.durations.lease, lease_limit(token_expires_at))
        return Lease(expires_at, seen_at=now, device=device)

    def claimed(self, connection_id: str, now: int) -> Connection:
        """The connection, if somebody's; every action but `authenticate` begins here.

        Raises:
            NotAuthenticated, TokenExpired: see `Connection.user_at`.
        """
        connection = self.connections.read(connection_id)
        if connection is None or connection.state is State.OPEN or connection.is_token_over(now):
            # An eventually consistent read may lag behind the client's own `authenticate`.
            return self._claimed_now(connection_id, now)
        connection.user_at(now)
        return connection

    def _claimed_now(self, connection_id: str, now: int) -> Connection:
        connection = self.connections.read(connection_id, consistent=True)
        if connection is None:
            raise _over()
        connection.user_at(now)
        return connection

    def pay(self, connection: Connection, now: int) -> None:
        """Pay for one action.

        Raises:
            NotAuthenticated, TokenExpired: the connection, or its token, ended meanwhile.
            RateLimited: see `domain.connection.spend`.
        """
        if not self.connections.spend(connection, connection.paid(now)):
            current = self._claimed_now(connection.connection_id, now)
            if not self.connections.spend(current, current.paid(now)):
                raise RateLimited("Send one action after the other.", retry_after_seconds=1)

    def ping(self, connection_id: str, is_active: bool | None, now: int) -> None:
        """Let the lease run on from now.

        One conditional write on the usual path. It creates nothing and repairs nothing; what it
        does not fit is looked at with the user that came back with the refusal.

        Raises:
            NotAuthenticated, TokenExpired: see `claimed`.
            RateLimited: see `pay`.
        """
        connection = self.claimed(connection_id, now)
        renewal = self._renew(connection, now, is_active=is_active, by=self.durations.between_pings)
        if not renewal.is_done:
            self._ping_unusual(connection, renewal.user, is_active, now)

    def act(self, connection_id: str, now: int) -> Actor:
        """Pay for an action and let the lease run on, as any frame does; who it is that acts.

        Raises:
            NotAuthenticated, TokenExpired: see `claimed`.
            RateLimited: see `pay`.
        """
        connection = self.claimed(connection_id, now)
        self.pay(connection, now)
        return self.heard(connection, now)

    def heard(self, connection: Connection, now: int) -> Actor:
        """Let the lease run on, without a price."""
        user = self._renew(connection, now).user
        if connection.connection_id not in user.leases:
            user = self._readmit(connection, user, None, now)
        return Actor(connection, user)

    def _renew(
        self, connection: Connection, now: int, *, is_active: bool | None = None, by: int = 0
    ) -> Renewal:
        """Make the lease longer, *by* so much at least."""
        lease = self._lease_of(connection, now)
        return self.users.renew(
            connection.user_at(now),
            connection.connection_id,
            lease,
            is_active=is_active,
            if_before=lease.expires_at - by,
        )

    def _ping_unusual(
        self, connection: Connection, user: User, is_active: bool | None, now: int
    ) -> None:
        """The lease is gone, or renewed just now, or the person at the device came or went."""
        if connection.connection_id in user.leases:
            self.pay(connection, now)
            lease = self._lease_of(connection, now)
            event = Renewed(connection.connection_id, lease, is_active)
            _, user = self.changes.apply(user.user_id, event, now, known=user)
        if connection.connection_id not in user.leases:
            self._readmit(connection, user, is_active, now)

    def _readmit(
        self, connection: Connection, known: User, is_active: bool | None, now: int
    ) -> User:
        """The lease ran out, but the gate is still open: the client was only late.

        It still hears the chat sessions that it had joined, so it is in them again.
        """
        admission = Admission(
            connection.connection_id,
            connection.opened_at,
            connection.token_expires_at or 0,
            connection.allowed_sessions,
        )
        lease = replace(self._lease_of(connection, now), sessions=connection.sessions)
        event = Authenticated(connection.connection_id, lease, is_active)
        with _while_open():
            _, user = self.changes.apply(known.user_id, event, now, admission, known)
        return user

    def join(self, actor: Actor, session_id: str, now: int) -> User:
        """Let the connection hear a chat session, and its user be in it.

        Raises:
            Conflict: the user is in too many.
            Forbidden: the token that the connection has by now does not allow it.
            NotAuthenticated, TokenExpired, Unavailable: the connection ended meanwhile.
        """
        connection = actor.connection
        for _ in range(ATTEMPTS):
            gate = _joining(connection, session_id)
            event = Joined(connection.connection_id, session_id)
            try:
                _, user = self.changes.apply(actor.user.user_id, event, now, gate, actor.user)
            except Forbidden:  # closed, or it has another token than when it was read
                connection = self._claimed_now(connection.connection_id, now)
            else:
                return _with_lease(user, connection)
        raise Unavailable("Authenticate and join one after the other.", retry_after_seconds=1)

    def leave(self, actor: Actor, session_id: str, now: int) -> None:
        """Undo `join`; it may be undone already."""
        connection_id = actor.connection.connection_id
        connection = actor.connection
        if session_id not in connection.sessions:
            # An eventually consistent read may lag behind the client's own `join`.
            connection = self.connections.read(connection_id, consistent=True) or connection
        gate = Leaving(connection_id, session_id, connection.shards_of(session_id) or _FIRST)
        with _while_open():
            self.changes.apply(
                actor.user.user_id, Left(connection_id, session_id), now, gate, actor.user
            )

    def disconnect(
        self, connection_id: str, now: int, *, grace: int | None = None
    ) -> Connection | None:
        """Close the gate, then forget everything the connection stood for. May be repeated.

        The gate first: whatever authenticates from here on is refused. The user always: whatever
        authenticated until here is removed (I6). If this stops halfway, the lease runs out, and
        `lapsed` finishes it. Returns what the gate was before.
        """
        connection = self.connections.close(connection_id, now)
        if connection is None or connection.user_id is None:
            return connection
        self.subscriptions.remove(connection)
        grace = self.durations.grace if grace is None else grace
        event = Disconnected(connection_id, grace_until=now + grace)
        self.changes.apply(connection.user_id, event, now)
        return connection

    def lapsed(
        self, connection_id: str, user_id: str, sessions: frozenset[str], now: int
    ) -> Connection | None:
        """Finish a connection whose lease has run out; returns what the gate was before.

        The lease knows its chat sessions, so it does not matter how far a `disconnect` came.
        """
        try:
            self._shut(connection_id, user_id, now)
        except LeaseStillValid as late:
            self._look_again(connection_id, user_id, late.lease, now)
            return None
        connection = self.disconnect(connection_id, now)
        if connection is None or connection.user_id is None:
            self._remove_trace(connection_id, sessions, now)
        return connection

    def _shut(self, connection_id: str, user_id: str, now: int) -> None:
        """Close the gate at an instant at which the lease is over: a late ping loses, or this does.

        Looked at before, a lease may be good again when the gate closes, and its client be told so
        (I2). What remains is as if a `disconnect` had stopped halfway.

        Raises:
            LeaseStillValid: the client was only late, and is back.
        """
        user = self.users.read(user_id, consistent=True)
        if user.revision == 0:
            return  # nobody, so there is no lease, and none must be made
        try:
            self.changes.apply(
                user_id, LeaseExpired(connection_id), now, Closing(connection_id), known=user
            )
        except Forbidden:  # closed already, or nobody's: what it left behind goes all the same
            self.changes.apply(user_id, TimePassed(), now)

    def _look_again(self, connection_id: str, user_id: str, lease: Lease, now: int) -> None:
        """A lease that is not over was renewed, or is over by the clock of whoever told us.

        They may be about to remove it, and nobody else would tell of it once more (F67).
        """
        left = lease.expires_at - now
        if left <= CLOCKS_APART_MILLISECONDS:
            self.timers.check_expired(connection_id, user_id, lease.sessions, -(-left // 1000))

    def evict(self, connection_id: str, user_id: str, sessions: frozenset[str], now: int) -> None:
        """End a lease and its connection at once, however far a `disconnect` came."""
        connection = self.disconnect(connection_id, now, grace=0)
        if connection is None or connection.user_id is None:
            self._remove_trace(connection_id, sessions, now)
            self.changes.apply(user_id, Disconnected(connection_id, grace_until=now), now)

    def _remove_trace(self, connection_id: str, sessions: frozenset[str], now: int) -> None:
        """Remove what a connection has heard whose gate does not say that any more."""
        trace = Connection(connection_id, self.endpoint, now, sessions=sessions, is_watching=True)
        self.subscriptions.remove_trace(trace)

    def lost(self, connection_id: str, at: int, now: int) -> None:
        """API Gateway said that the socket is gone, at this instant or later.

        It also says so of a socket that has not finished opening, and of every socket of another
        endpoint; neither is a reason to forget anybody (F56), however late we look.
        """
        connection = self.connections.read(connection_id)
        if connection is None:
            self._remove_trace(connection_id, frozenset(), now)
        elif (
            connection.endpoint == self.endpoint and at - connection.opened_at > YOUNG_MILLISECONDS
        ):
            self.disconnect(connection_id, now)


def _joining(connection: Connection, session_id: str) -> Joining:
    return Joining(
        connection.connection_id,
        connection.opened_at,
        session_id,
        connection.shards_of(session_id),
        entry_allowing(session_id, connection.allowed_sessions),
    )


def _with_lease(user: User, connection: Connection) -> User:
    if connection.connection_id not in user.leases:
        raise Unavailable("The connection was away for too long; try again.")
    return user


@contextmanager
def _while_open() -> Iterator[None]:
    """A gate that was open a moment ago and refuses now has closed in between."""
    try:
        yield
    except Forbidden as error:
        raise _over() from error


def _over() -> NotAuthenticated:
    return NotAuthenticated("This connection is over; open a new one.")


def identify(tokens: Tokens, token: str, claimed: str | None, now: int) -> Identity:
    """Whose token it is.

    Raises:
        TokenInvalid, TokenExpired, Unavailable: see `Tokens.verify`.
        Forbidden: *claimed* is somebody else.
    """
    identity = tokens.verify(token, now)
    if claimed not in (None, identity.user_id):
        raise Forbidden("Leave userId out, or send the subject of the token.")
    return identity
