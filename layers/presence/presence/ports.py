"""What the use cases need from the world outside; each docstring is a promise.

Instants are in epoch milliseconds. Deleting what is already gone succeeds.

A write is refused in two ways. It raises `WriteConflict` if the user is not as it was read: the
caller reads again and decides again. It returns False if something else does not allow it, such as
a closed connection: the caller gives up. Nothing was written in either case.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from presence.domain.connection import Connection, ConnectionChange, Identity, Typed
from presence.domain.message import Message
from presence.domain.rate_limit import Charge
from presence.domain.user import Audience, Lease, User
from presence.fanout.payloads import Payload


class WriteConflict(Exception):
    """Another write came first; `current` is the user that it left, if the refusal brought it."""

    def __init__(self, current: User | None = None) -> None:
        super().__init__("another write came first")
        self.current = current


class TooManyRows(Exception):
    """More rows change than one transaction takes; nothing was written."""


# ── what is stored ─────────────────────────────────────────────────────────────────────────


class ConnectionRecords(Protocol):
    """The stored connections. `closed` is final: no write can undo it."""

    def open(self, connection: Connection) -> None:
        """Store a connection that is not authenticated yet; the same may be stored again."""
        ...

    def read(self, connection_id: str, *, consistent: bool = False) -> Connection | None:
        """None if it was never opened, or its record has expired."""
        ...

    def read_many(self, connection_ids: Collection[str]) -> Mapping[str, Connection]:
        """Those that are stored, consistently."""
        ...

    def close(
        self, connection_id: str, now: int, known: Connection | None = None
    ) -> Connection | None:
        """Close a connection and return it as it was before; None if there is no record.

        A closed record names no user and no subscriptions, so the caller must remove those. If the
        answer to the write was lost, *known* is returned: the connection as the caller had read it.
        """
        ...

    def close_unauthenticated(self, connection_id: str, now: int) -> bool:
        """Close a connection unless it has authenticated; whether it was closed."""
        ...

    def keep_typed(self, connection: Connection, typed: Mapping[str, Typed]) -> bool:
        """Store `typed`; False if it is closed, has typed since, or its `revision` is another."""
        ...


@dataclass(frozen=True, slots=True)
class Renewal:
    """The user as of a renewal, or as of its refusal."""

    user: User
    is_done: bool


@dataclass(frozen=True, slots=True)
class Pinged:
    """What became of a ping's write.

    `user` is as in `Renewal`, but None where there is nothing to look at: it is done, the user has
    no other connection, and no token was ever revoked. Most are so, and need not be decoded.
    """

    is_done: bool
    user: User | None = None


@dataclass(frozen=True, slots=True)
class UserChange:
    """A change of a user that is decided and not written yet; `announce` as in `Users.save`."""

    before: User
    after: User
    announce: bool


class Users(Protocol):
    """The aggregates, changed by compare-and-swap on `revision` and on every lease touched.

    A renewal, a charge and a probe raise no revision, and tell no viewer anything.

    Rate limits are charged without one: charges at the same time are all done, and one whose
    answer was lost may count twice.

    The same transaction keeps the rows of `Members` and of `Subscriptions.naming` that follow
    from the user.
    """

    def read(self, user_id: str, *, consistent: bool = False) -> User:
        """The user; one that was never stored has revision 0."""
        ...

    def read_many(
        self, user_ids: Collection[str], *, consistent: bool = False
    ) -> Mapping[str, User]:
        """All of them, however many; each id is in the answer, stored or not."""
        ...

    def save(
        self,
        before: User,
        after: User,
        now: int,
        *,
        announce: bool,
        connection_change: ConnectionChange | None = None,
    ) -> bool:
        """Write *after* if the stored user is still *before*; False if the connection refuses.

        `announce` marks the record for the stream. Leases that do not differ are not written: one
        that was renewed meanwhile stays renewed. A lease that differs must be as in *before*, and
        so must the rate limit.

        `connection_change` is written in the same transaction, together with the subscriptions of
        the connection. An `Admission` needs a connection that is open, or this user's; every other
        change needs one that is this user's.

        Raises:
            WriteConflict: the stored user is not *before*.
            TooManyRows: see there.
        """
        ...

    def save_all(self, changes: Sequence[UserChange], now: int) -> Collection[str]:
        """Write changes of different users, each as `save` does; the ids of those refused.

        One that is refused keeps no other from being written.
        """
        ...

    def renew(
        self,
        user_id: str,
        connection_id: str,
        lease: Lease,
        *,
        is_active: bool | None,
        heard_by: int,
    ) -> Pinged:
        """Extend a lease to `lease.expires_at`, or to the end of its token if that is sooner.

        One write, which announces nothing; a second one where the token ends. Only if the user has
        the lease and `Lease.takes_ping`; otherwise nothing is written. So *user_id* may be what a
        client says: of a connection that is another user's, nothing is renewed.
        """
        ...

    def act(self, user_id: str, connection_id: str, lease: Lease, charge: Charge) -> Renewal:
        """Charge the user and the connection, and extend its lease; one write as a rule.

        *lease* is as for the usual heartbeat: one that lasts longer is extended by its own time.
        Not done if there is no such lease, or others charge the user all the time. A lease that
        ends later already stays as it is.

        Raises:
            RateLimited: see `Take.of`; nothing was written.
        """
        ...

    def charge(self, user_id: str, charge: Charge) -> bool:
        """Charge the user alone; False if the user was never stored.

        Raises:
            RateLimited: see `Take.of`; nothing was written.
        """
        ...

    def mark_probed(self, user_id: str, now: int, if_before: int) -> User | None:
        """Store that the user is probed at *now*, in one write that announces nothing.

        The user as of then; None if the user was never stored, or was probed after *if_before*.
        """
        ...

    def forget(self, user: User) -> None:
        """Delete a user who is not here and blocks no viewer.

        Raises:
            WriteConflict: the stored user is another.
        """
        ...

    def floor(self) -> int:
        """The greatest version that `raise_floor` was given; 0 if it never was."""
        ...

    def raise_floor(self, version: int) -> None:
        """Before a user is forgotten: who is stored next begins with a greater version."""
        ...


@dataclass(frozen=True, slots=True)
class Count:
    """How many users others saw online at `as_of`."""

    online: int
    as_of: int


class OnlineIndex(Protocol):
    """An index of the users who are here. It may lag and knows no leases: the users decide."""

    def after(
        self, position: str | None, page_size: int | None = None, up_to: str | None = None
    ) -> Iterator[str]:
        """User ids in the order of the index, behind *position* (see `position_of`), read lazily.

        `page_size` is how many are read at a time; without it, as many as one query returns. With
        `up_to`, which is a position too, none behind that one.

        Raises:
            InvalidMessage: no such position.
        """
        ...

    def position_of(self, user_id: str) -> str:
        """Where *user_id* stands, whether it is in the index or not."""
        ...

    def count(self) -> Count:
        """How many users others see online, as last counted."""
        ...

    def counted(self, count: Count) -> None:
        """Store a complete count; the next sweep begins at the front."""
        ...

    def stop_at(self, user_id: str) -> None:
        """Remember the last user that a sweep has looked at before it ran out of time."""
        ...

    def stopped_at(self) -> str | None:
        """The same user; None after a sweep that looked at all."""
        ...

    def add(self, difference: int) -> None:
        """Correct the count by the users who came and went since."""
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """A user that others see in a chat session, and which of them do."""

    user_id: str
    audience: Audience = field(default_factory=Audience)


@dataclass(frozen=True, slots=True)
class Viewer:
    """For whom members are read; `user_id` is None for a reader without a token."""

    user_id: str | None


@dataclass(frozen=True, slots=True)
class LargeRoom:
    """A chat session that is large, or was once; `member_count` was counted at `as_of`.

    A tick is identified by the instant at which it was scheduled: `tick` is the next one, `ticking`
    the last one that has begun. `recent` are the users who joined or left since then, the newest
    last; `told` are the users that `ticking` names.
    """

    session_id: str
    revision: int = 0
    is_large: bool = False
    member_count: int = 0
    as_of: int = 0
    tick: int | None = None
    ticking: int | None = None
    recent: Sequence[str] = ()
    told: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class MembersPart:
    """A page of members; `after` is where the next one begins, None after the last.

    Only the first page has the room, and only if it is large or was once.
    """

    members: Sequence[Member]
    after: str | None = None
    room: LargeRoom | None = None

    def as_of(self, now: int) -> int:
        """An instant before the members were read, and not older than a count before that.

        *now* is the same by the reader's clock, which may be behind.
        """
        return now if self.room is None else max(now, self.room.as_of)


class Members(Protocol):
    """The members of chat sessions; exact, because the rows are written with the users.

    For all viewers, the item of each member is read who may hide from any. For one *viewer*, only
    those that this viewer sees are found, without saying who else does; and items are read only of
    members who have blocked the viewer.
    """

    def of(
        self, session_id: str, after: str = "", viewer: Viewer | None = None
    ) -> Iterator[Member]:
        """The members behind an id, in the order of their ids, read lazily."""
        ...

    def part(self, session_id: str, viewer: Viewer | None = None) -> MembersPart:
        """The first page; of a session that is not large it costs what `of` costs."""
        ...

    def count(self, session_id: str) -> int:
        """How many most viewers see; it costs as much as reading them."""
        ...

    def room(self, session_id: str) -> LargeRoom:
        """The room as it was kept; an empty one if it was never large."""
        ...

    def keep(self, before: LargeRoom, after: LargeRoom) -> bool:
        """Write *after*, compare-and-swap; False if the room is not as in *before* any more."""
        ...


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A connection that subscribes to a topic, and its user.

    `is_limited` says that its token had the claim `chat_sessions`; only of topics of users.
    """

    connection_id: str
    user_id: str
    is_limited: bool = False


@dataclass(frozen=True, slots=True)
class Topic:
    """What connections subscribe to: everyone, one user, or one chat session."""

    kind: Literal["everyone", "user", "session"]
    name: str = ""


EVERYONE = Topic("everyone")


@dataclass(frozen=True, slots=True)
class Part:
    """A page of one shard of a topic.

    `after` is where the next page begins, None after the last one of its shard. `shards` is how
    many the topic has, `is_large` whether it is a large room; only the first page of the first
    shard has these.
    """

    subscribers: Sequence[Subscriber]
    after: str | None = None
    shards: int = 1
    is_large: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    user_id: str
    viewer_id: str


class Subscriptions(Protocol):
    """The subscribers of topics. A user's own connections need no subscription.

    Large topics lie in shards, so that many functions can read them at the same time, and no key
    takes all writes. The number of shards only grows, always to a multiple. A writer may learn it
    late: a row lies in the shard that the number of then, or of any time before, gives it.
    """

    def part(self, topic: Topic, shard: int = 0, after: str | None = None) -> Part:
        """A page of a shard. All pages of all shards have each subscriber, nearly always once."""
        ...

    def grow(self, topic: Topic, before: int, shards: int) -> None:
        """Give a topic so many shards, if it still has as many as *before*."""
        ...

    def mark(self, session_id: str, *, is_large: bool) -> None:
        """Set or remove the mark of a large room, which `part` reads as `is_large`."""
        ...

    def pages(self, topic: Topic) -> Iterator[Sequence[Subscriber]]:
        """All subscribers of a topic, page by page, read lazily; no page is empty."""
        ...

    def blocks(self, after: "Block | None" = None) -> Iterator["Block"]:
        """Every block, in an order of its own, behind one of them; reads the whole table."""
        ...

    def naming(self, user_id: str) -> Iterator[str]:
        """The users whose items name this user: they have blocked the user, or had."""
        ...

    def watch(self, connection: Connection, user_ids: Collection[str]) -> bool:
        """Add users to the watch list of a connection; False if its record is closed.

        Raises:
            Conflict: the list would have more than `limits.WATCHED_USERS` entries.
        """
        ...

    def unwatch_all(self, connection: Connection) -> None:
        """End the watch list of a connection, whose record says so after that.

        It does not hear of all users either, until it is admitted again.
        """
        ...

    def unwatch(self, connection_id: str, user_ids: Collection[str]) -> None:
        """Take users off the watch list of a connection."""
        ...

    def remove(self, connection: Connection) -> None:
        """Delete all subscriptions of a connection, given as it was when its record closed."""
        ...

    def remove_trace(self, connection: Connection) -> None:
        """Like `remove`, for a connection whose record lists its subscriptions no longer."""
        ...


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that was sent before under the same `clientId`.

    `is_same` says whether it had the same content, `is_relayed` whether that was done to its end.
    """

    message_id: str
    sent_at: int
    is_same: bool
    is_relayed: bool


class SentMessages(Protocol):
    """What users have sent under a `clientId` within `limits.CLIENT_ID_MILLISECONDS`."""

    def claim(self, message: Message) -> Sent | None:
        """Remember a message by its sender, session and `client_id`, or return the one before."""
        ...

    def relayed(self, message: Message) -> None:
        """Remember that each post of the message is made or queued."""
        ...


# ── what is sent ───────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class UserCheck:
    """See `Timers.check_user`."""

    user_id: str
    delay_seconds: int


@dataclass(frozen=True, slots=True)
class ExpiredCheck:
    """See `Timers.check_expired`."""

    connection_id: str
    user_id: str
    sessions: Collection[str]
    delay_seconds: int = 0
    reason: str | None = None


class Timers(Protocol):
    """Delayed checks: done at least once, never early, perhaps late, in any order."""

    def check_connection(self, connection_id: str, delay_seconds: int) -> None:
        """Check whether the connection has authenticated."""
        ...

    def check_user(self, user_id: str, delay_seconds: int) -> None:
        """Check whether time has changed the user."""
        ...

    def check_expired(
        self,
        connection_id: str,
        user_id: str,
        sessions: Collection[str],
        delay_seconds: int = 0,
        reason: str | None = None,
    ) -> None:
        """Finish a connection whose lease has expired or was removed; it is told this reason."""
        ...

    def check_all(self, checks: Sequence[UserCheck | ExpiredCheck]) -> None:
        """Many of these at once.

        Raises:
            Unavailable: not all of them were taken.
        """
        ...

    def check_gone(self, connection_ids: Sequence[str], at: int) -> None:
        """Close connections of which API Gateway answered 410 Gone at this instant or later.

        Raises:
            Unavailable: not all of them were taken.
        """
        ...

    def check_told(self, user_id: str, version: int, delay_seconds: int) -> None:
        """Tell others of a change that was held, if it is still the last one."""
        ...

    def check_room(self, session_id: str, tick: int, delay_seconds: int) -> None:
        """Count a large room, and send it its tick."""
        ...


@dataclass(frozen=True, slots=True)
class Post:
    """One text for many connections."""

    text: str
    connection_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Delivery:
    """The outcome of some posts; each connection that is in no list has its text.

    `gone` are sockets that do not exist, `again` those that may take it later, `refused` those that
    never will. `at` is when posting began: no answer is older.
    """

    gone: Sequence[str] = ()
    again: Sequence[str] = ()
    refused: Sequence[str] = ()
    at: int = field(default=0, compare=False)


class Gateway(Protocol):
    """The way to the clients."""

    def post(self, posts: Iterable[Post], *, until: int | None = None) -> Delivery:
        """Send every text to its connections, perhaps twice; all is done when this returns.

        A busy socket is tried again until then, or for a few seconds without *until*.
        """
        ...

    def close(self, connection_id: str) -> None:
        """Close the socket. It may be closed already.

        Raises:
            Unavailable: it may still be open, and can be closed later.
        """
        ...


class Deliveries(Protocol):
    """Posts that have to wait: delivered at least once, in any order."""

    def put_all(
        self, parcels: Iterable[Sequence[Post]], *, attempt: int = 0, delay_seconds: int = 0
    ) -> None:
        """Queue posts; those of a parcel stay together.

        Raises:
            Unavailable: not all of them were taken.
        """
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """Send a payload to a shard of a topic, from the page behind `after` on.

    `shards` is how many the topic had, `rows` how many of this one were read before, and `without`
    a connection that is left out.
    """

    topic: Topic
    shard: int
    shards: int
    payload: Payload
    after: str | None = None
    rows: int = 0
    without: str | None = None


class Jobs(Protocol):
    """Payloads that many functions send at the same time. At least once, in any order."""

    def put_jobs(self, jobs: Iterable[Job]) -> None:
        """Queue jobs.

        Raises:
            Unavailable: not all of them were taken.
        """
        ...


class Tokens(Protocol):
    def verify(self, token: str, now: int) -> Identity:
        """The identity that the token proves.

        Raises:
            TokenInvalid: forged, malformed, for another audience, or without a claim it needs.
            TokenExpired: it was valid before.
            Unavailable: its key cannot be fetched at the moment.
        """
        ...


class Authorizer(Protocol):
    """Who may join a chat session, beyond what the token says."""

    def may_join(self, user_id: str, session_ids: Sequence[str]) -> Sequence[bool | None]:
        """For each chat session whether this user may join it; None if that is not known now."""
        ...


class Visibility(Protocol):
    """Which viewers see users that are in no chat session with them. Blocks come after."""

    @property
    def is_open(self) -> bool:
        """Whether all may see all, so that there is nothing to ask."""
        ...

    def may_see(self, pairs: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], bool]:
        """For pairs of a viewer's id and a user's id whether the viewer may see the user.

        Without those of which that is not known in time.
        """
        ...


# ── all of them ────────────────────────────────────────────────────────────────────────────


class Queue(Deliveries, Jobs, Protocol):
    """One queue takes posts and jobs."""


class Ports(Protocol):
    """What the use cases stand on: AWS, or what tests put in its place."""

    @property
    def records(self) -> ConnectionRecords: ...

    @property
    def users(self) -> Users: ...

    @property
    def subscriptions(self) -> Subscriptions: ...

    @property
    def members(self) -> Members: ...

    @property
    def online_index(self) -> OnlineIndex: ...

    @property
    def sent(self) -> SentMessages: ...

    @property
    def timers(self) -> Timers: ...

    @property
    def deliveries(self) -> Queue: ...

    @property
    def gateway(self) -> Gateway: ...

    @property
    def authorizer(self) -> Authorizer: ...

    @property
    def visibility(self) -> Visibility: ...

    @property
    def tokens(self) -> Tokens: ...
