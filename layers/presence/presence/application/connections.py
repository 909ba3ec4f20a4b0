"""The life of a connection: open, authenticate, ping, close."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from presence.application.access import Access
from presence.application.chat_sessions import ChatSessions, Entry, Refusals, not_joined
from presence.application.pacing import Pacing
from presence.application.user_changes import RecordRefused, UserChanges, too_busy
from presence.domain.connection import (
    MAX_ENDED_ROWS,
    Admission,
    Connection,
    Durations,
    Identity,
    State,
    over,
)
from presence.domain.errors import Forbidden
from presence.domain.events import Authenticated, Disconnected, Renewed
from presence.domain.rate_limit import Charge, actions_for
from presence.domain.standing import Standing, is_allowed
from presence.domain.user import Lease, User
from presence.fanout.sight import Reach, Sight
from presence.limits import (
    CHANGE_UNITS,
    LEAVE_SECONDS,
    NEW_CONNECTION_MILLISECONDS,
    SWAP_ATTEMPTS,
)
from presence.ports import ConnectionRecords, OnlineIndex, Subscriptions, Timers, TooManyRows


@dataclass(frozen=True, slots=True)
class AuthenticateCommand:
    """`is_active` says whether a person is at the device; None keeps what is known.

    `heartbeat` is how often the client is going to ping, in milliseconds; None as usual.

    It comes with the token: said a moment later, a user who is away would be online in between.
    `opened_at` is when the gateway says that it opened the socket, in epoch milliseconds; another
    gateway than AWS's may say when the frame came. `session_ids` are chat sessions to join, which
    the user may have been in a moment ago.
    """

    connection_id: str
    identity: Identity
    opened_at: int
    device: str | None = None
    is_active: bool | None = None
    session_ids: Sequence[str] = ()
    heartbeat: int | None = None


@dataclass(frozen=True, slots=True)
class PingCommand:
    """`user_id` is whose connection it is, as the client says; None has it looked up.

    `is_active` and `heartbeat` as in `AuthenticateCommand`; here None is the usual heartbeat.
    """

    connection_id: str
    user_id: str | None = None
    is_active: bool | None = None
    heartbeat: int | None = None


@dataclass(frozen=True, slots=True)
class Welcome:
    """The answer to `authenticate`; instants are in epoch milliseconds.

    `online_count` has the user as one of them, and no user that the caller may not see (see
    `Sight`). `refused` are the chat sessions asked for that were not joined.
    """

    user: User
    online_count: int
    token_expires_at: int
    connection_expires_at: int
    refused: Refusals = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Connections:
    """`endpoint` is the callback URL at which this deployment reaches its sockets."""

    records: ConnectionRecords
    subscriptions: Subscriptions
    online_index: OnlineIndex
    sight: Sight
    timers: Timers
    changes: UserChanges
    access: Access
    chat_sessions: ChatSessions
    durations: Durations
    pacing: Pacing
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

        The chat sessions that it names are joined with that, so that a user who was in them a
        moment ago has not left; what the token and the authorizer refuse keeps no user out.

        Raises:
            NotAuthenticated: the connection is closed.
            Forbidden: it is another user's.
            Conflict, TokenInvalid: see `reduce`.
            RateLimited: the user authenticates, or does, too much.
        """
        identity, asked = command.identity, command.session_ids
        refused = self.chat_sessions.refusals(
            identity.user_id, Standing(), identity.allowed_sessions, asked
        )
        allowed = [name for name in asked if name not in refused]
        before, entry, opened_at = self._admit(replace(command, session_ids=allowed), now)
        others = self._others(before, Reach(identity.allowed_sessions))
        ends_at = opened_at + self.durations.connection
        all_refused = {**refused, **entry.refused}
        return Welcome(entry.user, others + 1, identity.expires_at, ends_at, all_refused)

    def _others(self, user: User, reach: Reach) -> int:
        """How many other users are online; none for a reader who may not see all of them."""
        if self.sight.is_restricted(reach):
            return 0
        # The count has every user that others see online; one's own devices always count one.
        return max(0, self.online_index.count().online - user.presence.is_online)

    def _admit(self, command: AuthenticateCommand, now: int) -> tuple[User, Entry, int]:
        """The user before and after, and when the socket was opened, as far as that is known.

        What the token does not allow ends in the same transaction. A new connection has joined
        nothing, which saves the read of its record; if it has, the write is refused, and the record
        is read.
        """
        is_new = now - command.opened_at <= NEW_CONNECTION_MILLISECONDS
        name, opened_at = command.connection_id, command.opened_at
        record = Connection(name, "", opened_at) if is_new else self._theirs(command)
        asked = with_it = command.session_ids
        for attempt in range(SWAP_ATTEMPTS):
            try:
                record = self._prepared(record, command, now)
                # A record is opened after its socket: what is later is the time of the frame.
                command = replace(command, opened_at=min(command.opened_at, record.opened_at))
                before, after = self._admit_with(command, record, with_it, now)
            except TooManyRows:
                if not with_it:
                    break
                with_it = with_it[: len(with_it) // 2]
            except RecordRefused:  # closed, or another user's, or not as it was read
                self.changes.pause(attempt)
                record = self._theirs(command)
            else:
                entry = self._with_rest(_admitted(record, command), after, asked, with_it, now)
                return before, entry, command.opened_at
        raise too_busy()

    def _with_rest(
        self,
        connection: Connection,
        user: User,
        asked: Sequence[str],
        tried: Sequence[str],
        now: int,
    ) -> Entry:
        """The answer to the chat sessions *asked* for; what was not *tried* yet is joined now."""
        allowed = connection.allowed_sessions
        refused = not_joined(user, connection.connection_id, allowed, tried)
        entry = self.chat_sessions.take_part(connection, user, asked[len(tried) :], now)
        return Entry(entry.user, {**refused, **entry.refused})

    def _admit_with(
        self, command: AuthenticateCommand, record: Connection, session_ids: Sequence[str], now: int
    ) -> tuple[User, User]:
        name, identity = command.connection_id, command.identity
        lease = self.durations.new_lease(
            identity.expires_at, now, command.device, command.heartbeat
        )
        event = Authenticated(
            name,
            replace(lease, sessions=record.sessions),
            command.is_active,
            identity.token,
            tuple(session_ids),
            grace_until=now + self.durations.grace,
        )
        change = Admission(
            name, command.opened_at, identity.token, record.revision, record.joined, session_ids
        )
        joins = actions_for(len(command.session_ids)) if command.session_ids else 0
        charge = Charge(now, 1 + CHANGE_UNITS + joins)
        return self.changes.apply(identity.user_id, event, now, change, charge=charge)

    def _theirs(self, command: AuthenticateCommand) -> Connection:
        """The record, if the user of the token may have it.

        Raises:
            NotAuthenticated: it is over; the client opens a new connection.
            Forbidden: it is another user's.
        """
        connection = self.records.read(command.connection_id, consistent=True)
        if connection is None or connection.state is State.CLOSED:
            raise over()
        if connection.user_id not in (None, command.identity.user_id):
            raise Forbidden("This connection is another user's; open a new one.")
        return connection

    def _prepared(self, record: Connection, command: AuthenticateCommand, now: int) -> Connection:
        """The record after what has to end before the token is admitted."""
        record = self._without_excess(record, command.identity, now)
        is_claimless = record.user_id is not None and record.allowed_sessions is None
        if is_claimless and command.identity.is_limited:
            # Rows of users say nothing of a claim yet: the client watches again.
            self.subscriptions.unwatch_all(record)
            record = self._theirs(command)
        return record

    def _without_excess(self, record: Connection, identity: Identity, now: int) -> Connection:
        """The record after leaving as many chat sessions as one transaction cannot end.

        Only of those that the token does not allow; the token is admitted after that.
        """
        allowed = identity.allowed_sessions
        ending = [name for name in sorted(record.sessions) if not is_allowed(name, allowed)]
        rows = sum(len(record.shards_of(name)) for name in ending)
        while rows > MAX_ENDED_ROWS:
            session_id = ending.pop()
            rows -= len(record.shards_of(session_id))
            self.changes.leave(record, [session_id], now)
            record = replace(
                record, sessions=record.sessions - {session_id}, revision=record.revision + 1
            )
        return record

    def ping(self, command: PingCommand, now: int, *, is_answered: bool = False) -> int:
        """Renew the lease, without a charge if the last frame came long enough ago.

        One conditional write on the usual path, which creates and repairs nothing, and proves that
        the connection is the user's. A refused write returns the user, who decides what else there
        is to do. Returns the heartbeat that the connection should keep, in milliseconds; unless it
        *is_answered*, a client that names another one is told.

        Raises:
            NotAuthenticated, TokenExpired: see `Access.require_authenticated`.
            Forbidden: the connection is another user's.
            RateLimited: see `Take.of`.
        """
        name, user_id = command.connection_id, command.user_id
        if user_id is None:
            connection = self.access.require_authenticated(name, now, consistent=False)
            user_id = connection.user_at(now)
        lease = self.durations.next_lease(now, command.heartbeat)
        pinged = self.access.renew(user_id, name, lease, command.is_active)
        user = pinged.user
        if user is not None and not pinged.is_done:
            user = self._ping_unusual(command, user, lease, now)
            self.pacing.tell_others(user, name, now)
        wanted = self._wanted(command, user, now)
        kept = self.durations.heartbeats.allowed(command.heartbeat)
        if wanted != kept and not is_answered:
            self.pacing.tell(name, wanted)
        return wanted

    def _wanted(self, command: PingCommand, user: User | None, now: int) -> int:
        """*user* is None of a user who has no other connection."""
        heartbeats = self.durations.heartbeats
        if command.heartbeat is None:  # a client that knows of no other
            return heartbeats.foreground
        if user is not None and command.connection_id in user.leases:
            return heartbeats.wanted(user, command.connection_id, now)
        return heartbeats.foreground if command.is_active else heartbeats.background

    def _ping_unusual(self, command: PingCommand, user: User, lease: Lease, now: int) -> User:
        """The lease is gone, or was renewed just now, or the client says something new.

        *user* is the one that the client has named. If the lease is not there, the record says it.
        """
        name = command.connection_id
        event = Renewed(name, lease, command.is_active)
        if self._is_at_ease(user, name, now):
            charge = Charge(now, 1 + CHANGE_UNITS)
            _, user = self.changes.apply(user.user_id, event, now, known=user, charge=charge)
            if name in user.leases:
                return user
        connection = self.access.require_authenticated(name, now)
        if connection.user_id != user.user_id:
            self.access.act(connection, Charge(now))
            raise Forbidden("Leave userId out, or send the subject of the token.")
        self.access.require_accepted(connection, user, now)
        if name in user.leases:
            user = self.access.act(connection, Charge(now)).user
            _, user = self.changes.apply(user.user_id, event, now, known=user)
        if name not in user.leases:
            active, heartbeat = command.is_active, command.heartbeat
            user = self.access.readmit(connection, user, now, is_active=active, heartbeat=heartbeat)
        return user

    def _is_at_ease(self, user: User, connection_id: str, now: int) -> bool:
        """Whether the lease alone shows that the connection may say something new."""
        lease = user.leases.get(connection_id)
        if lease is None or lease.is_expired(now) or user.standing.may_refuse(now):
            return False
        return lease.seen_at <= now - self.durations.between_pings

    def leave(self, connection_id: str, now: int) -> None:
        """Close a connection whose user leaves on purpose: without a grace period.

        The client closes the socket; a timer does, if the client does not.

        Raises:
            NotAuthenticated, TokenExpired: see `Access.require_authenticated`.
        """
        known = self.access.require_authenticated(connection_id, now)
        self.timers.check_connection(connection_id, LEAVE_SECONDS)
        connection = self.close_record(connection_id, now, known)
        if connection is None or connection.user_id is None:
            raise over()  # its socket was closed meanwhile, with a grace period
        gone = Disconnected(connection_id, grace_until=now)
        _, user = self.changes.apply(connection.user_id, gone, now)
        self.pacing.tell_others(user, connection_id, now)

    def disconnect(self, connection_id: str, now: int) -> Connection | None:
        """`close`, after API Gateway has told that the socket is closed.

        The record is read first: only so is it known whose it was if the answer to the write that
        closes it is lost.
        """
        return self.close(connection_id, now, self.records.read(connection_id))

    def close(
        self, connection_id: str, now: int, known: Connection | None = None
    ) -> Connection | None:
        """Close the record, then remove the subscriptions and the lease. May be repeated.

        The record first: an `authenticate` that comes later is refused. The user is always written:
        a lease that an earlier `authenticate` added is removed. If this stops halfway, the lease
        expires, and `Expiry.expire` finishes the work.

        Returns the connection as it was before; None if there is no record.
        """
        connection = self.close_record(connection_id, now, known)
        if connection is not None and connection.user_id is not None:
            event = Disconnected(connection_id, grace_until=now + self.durations.grace)
            _, user = self.changes.apply(connection.user_id, event, now)
            self.pacing.tell_others(user, connection_id, now)
        return connection

    def close_record(
        self, connection_id: str, now: int, known: Connection | None = None
    ) -> Connection | None:
        """The first half of `close`: the record and the subscriptions."""
        connection = self.records.close(connection_id, now, known)
        if connection is not None and connection.user_id is not None:
            self.subscriptions.remove(connection)
        return connection


def _admitted(record: Connection, command: AuthenticateCommand) -> Connection:
    """The record after its admission, as far as a `join` needs it."""
    return replace(
        record,
        state=State.AUTHENTICATED,
        user_id=command.identity.user_id,
        token_expires_at=command.identity.expires_at,
        allowed_sessions=command.identity.allowed_sessions,
    )
