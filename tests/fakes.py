"""Stand-ins for the ports, in memory. The contract tests hold them to what the adapters do."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from presence import limits
from presence.adapters.dynamodb.topics import at_first, shard_of
from presence.domain.connection import (
    Admission,
    Closing,
    Connection,
    ConnectionChange,
    Identity,
    Joining,
    Leaving,
    Returning,
    State,
    Typed,
    begun,
    ended,
)
from presence.domain.disclosure import Rules
from presence.domain.errors import Conflict, InvalidMessage, TokenInvalid, Unavailable
from presence.domain.message import Message
from presence.domain.rate_limit import Charge
from presence.domain.user import Lease, User
from presence.limits import MAX_OPERATIONS
from presence.ports import (
    Block,
    Count,
    Delivery,
    ExpiredCheck,
    Job,
    LargeRoom,
    Member,
    MembersPart,
    Part,
    Pinged,
    Post,
    Renewal,
    Sent,
    Subscriber,
    Timers,
    TooManyRows,
    Topic,
    UserChange,
    UserCheck,
    Viewer,
    WriteConflict,
)


@dataclass
class FakeTables:
    """What the three tables hold, and the records that the stream of Users would carry.

    `limited` are connections whose rows say that their token has a claim; they say so longer than
    their record, which forgets it when it is closed.
    """

    connections: dict[str, Connection] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    everyone: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, dict[str, str]] = field(default_factory=dict)
    watchers: dict[str, dict[str, str]] = field(default_factory=dict)
    limited: dict[str, bool] = field(default_factory=dict)
    shards: dict[Topic, int] = field(default_factory=dict)
    rooms: dict[str, LargeRoom] = field(default_factory=dict)
    marked: set[str] = field(default_factory=set)
    placed: dict[Topic, dict[str, int]] = field(default_factory=dict)
    stream: list[tuple[User, User]] = field(default_factory=list)
    sent: dict[tuple[str, str, str | None], tuple[Message, bool]] = field(default_factory=dict)
    count: Count = field(default_factory=lambda: Count(0, 0))
    swept_to: str | None = None
    floor: int = 0

    def is_spotless(self) -> bool:
        """No subscription, no member."""
        return not (self.everyone or self.sessions or self.watchers) and not any(
            user.leases or user.all_sessions for user in self.users.values()
        )


def unlist(topics: dict[str, dict[str, str]], topic: str, connection_id: str) -> None:
    rows = topics.get(topic, {})
    rows.pop(connection_id, None)
    if not rows:
        topics.pop(topic, None)


class FakeConnections:
    def __init__(self, tables: FakeTables) -> None:
        self._items = tables.connections

    def open(self, connection: Connection) -> None:
        if self._items.get(connection.connection_id, connection) != connection:
            raise AssertionError("a connection id is used once")
        self._items[connection.connection_id] = connection

    def read(self, connection_id: str, *, consistent: bool = False) -> Connection | None:
        del consistent
        return self._items.get(connection_id)

    def read_many(self, connection_ids: Collection[str]) -> Mapping[str, Connection]:
        return {it: self._items[it] for it in connection_ids if it in self._items}

    def close(
        self, connection_id: str, now: int, known: Connection | None = None
    ) -> Connection | None:
        del now, known  # no answer of a fake is lost
        before = self._items.get(connection_id)
        if before is not None:
            self._items[connection_id] = Connection(
                connection_id,
                before.endpoint,
                before.opened_at,
                State.CLOSED,
                revision=before.revision,
            )
        return before

    def close_unauthenticated(self, connection_id: str, now: int) -> bool:
        before = self._items.get(connection_id)
        if before is None or before.state is not State.OPEN:
            return False
        self.close(connection_id, now)
        return True

    def keep_typed(self, connection: Connection, typed: Mapping[str, Typed]) -> bool:
        current = self._items.get(connection.connection_id)
        if current is None or current.state is not State.AUTHENTICATED:
            return False
        if (current.revision, current.typed) != (connection.revision, connection.typed):
            return False
        self._items[connection.connection_id] = replace(current, typed=typed)
        return True


class FakeUsers:
    def __init__(
        self,
        tables: FakeTables,
        *,
        is_global: bool = True,
        rules: Rules = Rules(),  # noqa: B008  frozen
    ) -> None:
        self._tables = tables
        self._is_global = is_global
        self._rules = rules

    def read(self, user_id: str, *, consistent: bool = False) -> User:
        del consistent
        return replace(self._tables.users.get(user_id, User(user_id)), rules=self._rules)

    def read_many(
        self, user_ids: Collection[str], *, consistent: bool = False
    ) -> Mapping[str, User]:
        del consistent
        return {user_id: self.read(user_id) for user_id in user_ids}

    def save(
        self,
        before: User,
        after: User,
        now: int,
        *,
        announce: bool,
        connection_change: ConnectionChange | None = None,
    ) -> bool:
        del now
        if connection_change is not None and not self._takes(before, after, connection_change):
            return False
        current = self.read(before.user_id)
        written = _written(current, before, after)
        if written is None:
            raise WriteConflict(current if current.revision else None)
        self._tables.users[before.user_id] = written
        if announce:
            self._tables.stream.append((current, written))
        if connection_change is not None:
            self._change(connection_change, written)
        return True

    def save_all(self, changes: Sequence[UserChange], now: int) -> Collection[str]:
        return [it.after.user_id for it in changes if not self._is_saved(it, now)]

    def _is_saved(self, it: UserChange, now: int) -> bool:
        try:
            return self.save(it.before, it.after, now, announce=it.announce)
        except WriteConflict:
            return False

    def _takes(self, before: User, after: User, change: ConnectionChange) -> bool:
        if _operations(before, after, change, self._is_global) > MAX_OPERATIONS:
            raise TooManyRows
        return self._lets(change, before.user_id)

    def _lets(self, connection_change: ConnectionChange, user_id: str) -> bool:
        current = self._tables.connections.get(connection_change.connection_id)
        if current is None or current.state is State.CLOSED:
            return False
        if isinstance(connection_change, Joining) and not _still_allows(
            current, connection_change.allowed_by
        ):
            return False
        needs = getattr(connection_change, "revision", current.revision)
        if current.revision != needs:
            return False
        is_theirs = current.user_id == user_id
        return is_theirs or (isinstance(connection_change, Admission) and current.user_id is None)

    def _change(self, connection_change: ConnectionChange, user: User) -> None:
        name = connection_change.connection_id
        current = self._tables.connections[name]
        left, new = _moves(connection_change, user)
        match connection_change:
            case Admission():
                after = self._admitted(current, connection_change, user.user_id)
            case Returning():
                after = replace(current, revision=current.revision + bool(left))
            case Joining() | Leaving():
                after = replace(current, revision=current.revision + 1)
            case Closing():
                after = replace(current, state=State.CLOSED)
        for session_id in new:
            self._tables.sessions.setdefault(session_id, {})[name] = user.user_id
        after = replace(after, sessions=after.sessions.union(new))
        self._tables.connections[name] = self._without(after, left)

    def _admitted(self, current: Connection, change: Admission, user_id: str) -> Connection:
        if self._is_global:
            self._tables.everyone[current.connection_id] = user_id
        if change.token.allowed_sessions is not None:
            self._tables.limited[current.connection_id] = True
        return replace(
            current,
            state=State.AUTHENTICATED,
            user_id=user_id,
            token_expires_at=change.token.expires_at,
            allowed_sessions=change.token.allowed_sessions,
            token_issued_at=change.token.issued_at,
            token_id=change.token.token_id,
            revision=current.revision + 1,
        )

    def _without(self, current: Connection, sessions: Iterable[str]) -> Connection:
        for session_id in sessions:
            unlist(self._tables.sessions, session_id, current.connection_id)
        return replace(current, sessions=current.sessions.difference(sessions))

    def renew(
        self,
        user_id: str,
        connection_id: str,
        lease: Lease,
        *,
        is_active: bool | None,
        heard_by: int,
    ) -> Pinged:
        user = self.read(user_id)
        current = user.leases.get(connection_id)
        if current is None:
            return Pinged(is_done=False, user=user)
        lease = current.within_token(lease)
        if not current.takes_ping(lease, is_active=is_active, heard_by=heard_by):
            return Pinged(is_done=False, user=user)
        renewed = replace(current, expires_at=lease.expires_at, seen_at=lease.seen_at)
        user = replace(user, leases={**user.leases, connection_id: renewed})
        self._tables.users[user_id] = user
        is_plain = len(user.leases) == 1 and not (user.standing.not_before or user.standing.revoked)
        return Pinged(is_done=True, user=None if is_plain else user)

    def act(self, user_id: str, connection_id: str, lease: Lease, charge: Charge) -> Renewal:
        user = self.read(user_id)
        current = user.leases.get(connection_id)
        if current is None:
            return Renewal(user, is_done=False)
        arrivals = user.arrivals(connection_id).after(charge)
        kept = replace(current, arrival=arrivals.connection)
        lease = current.renewed_by(lease)
        if current.takes(lease):
            kept = replace(kept, expires_at=lease.expires_at, seen_at=lease.seen_at)
        leases = {**user.leases, connection_id: kept}
        user = replace(user, leases=leases, arrival=arrivals.user)
        self._tables.users[user_id] = user
        return Renewal(user, is_done=True)

    def charge(self, user_id: str, charge: Charge) -> bool:
        user = self._tables.users.get(user_id)
        if user is None:
            return False
        self._tables.users[user_id] = replace(user, arrival=charge.user.of(user.arrival))
        return True

    def mark_probed(self, user_id: str, now: int, if_before: int) -> User | None:
        user = self._tables.users.get(user_id)
        if user is None or user.probed_at > if_before:
            return None
        self._tables.users[user_id] = replace(user, probed_at=now)
        return self.read(user_id)

    def forget(self, user: User) -> None:
        current = self._tables.users.get(user.user_id)
        if current is not None and current.revision != user.revision:
            raise WriteConflict(current)
        if current is not None and (current.is_listed or current.special_viewers):
            raise AssertionError("rows of other tables would name a user who is not there")
        self._tables.users.pop(user.user_id, None)

    def floor(self) -> int:
        return self._tables.floor

    def raise_floor(self, version: int) -> None:
        self._tables.floor = max(version, self._tables.floor)


def _operations(before: User, after: User, change: ConnectionChange, is_global: bool) -> int:
    """The user, the record, the rows of the connection and those of the user."""
    rows = len(dict(before.audiences.items() ^ after.audiences.items()))
    rows += len(before.blocked.keys() ^ after.blocked.keys())
    rows += len(before.returned.keys() ^ after.returned.keys())
    left, new = _moves(change, after)
    rows += sum(map(len, left.values())) + len(new)
    return 2 + rows + (is_global and isinstance(change, Admission))


def _moves(
    change: ConnectionChange, user: User
) -> tuple[Mapping[str, frozenset[int]], Sequence[str]]:
    """The chat sessions that the connection leaves, with its shards, and those that it joins."""
    if isinstance(change, Leaving):
        return change.left, ()
    left = ended(change, user) if isinstance(change, Admission | Returning) else {}
    return left, begun(change, user) if isinstance(change, Admission | Joining) else ()


def _still_allows(record: Connection, allowed_by: frozenset[str] | None) -> bool:
    allowed = record.allowed_sessions
    return allowed is None if allowed_by is None else allowed_by <= (allowed or frozenset())


def _written(current: User, before: User, after: User) -> User | None:
    """*after* over what is stored, with the renewals since; None if *before* was overtaken."""
    touched = [name for name, it in before.leases.items() if after.leases.get(name) != it]
    same = all(_as_touched(current, name) == _as_touched(before, name) for name in touched)
    takes = after.arrival != before.arrival
    same &= not takes or current.arrival == before.arrival
    if current.revision != before.revision or not same:
        return None
    untouched = {name: it for name, it in current.leases.items() if name not in touched}
    changed = {name: it for name, it in after.leases.items() if name not in untouched}
    return replace(
        after,
        revision=before.revision + 1,
        leases={**untouched, **changed},
        arrival=after.arrival if takes else current.arrival,
        probed_at=current.probed_at,
    )


def _as_touched(user: User, name: str) -> tuple[int, int, int] | None:
    lease = user.leases.get(name)
    return None if lease is None else (lease.expires_at, lease.seen_at, lease.arrival)


class FakeOnlineIndex:
    def __init__(self, tables: FakeTables) -> None:
        self._tables = tables

    def after(
        self, position: str | None, page_size: int | None = None, up_to: str | None = None
    ) -> Iterator[str]:
        del page_size
        for it in (position, up_to):
            if it is not None and not it.startswith("after-"):
                raise InvalidMessage("cursor has to be as it came with the page before.")
        begin = (position or "").removeprefix("after-")
        end = None if up_to is None else up_to.removeprefix("after-")
        here = sorted(user.user_id for user in self._tables.users.values() if user.is_listed)
        return (it for it in here if it > begin and (end is None or it <= end))

    def position_of(self, user_id: str) -> str:
        return f"after-{user_id}"

    def count(self) -> Count:
        return self._tables.count

    def counted(self, count: Count) -> None:
        self._tables.count = count
        self._tables.swept_to = None

    def stop_at(self, user_id: str) -> None:
        self._tables.swept_to = user_id

    def stopped_at(self) -> str | None:
        return self._tables.swept_to

    def add(self, difference: int) -> None:
        count = self._tables.count
        self._tables.count = replace(count, online=max(0, count.online + difference))


class FakeMembers:
    def __init__(self, tables: FakeTables, page: int = 100) -> None:
        self._tables = tables
        self._users = tables.users
        self._page = page

    def of(
        self, session_id: str, after: str = "", viewer: Viewer | None = None
    ) -> Iterator[Member]:
        for user in sorted(self._users.values(), key=lambda user: user.user_id):
            if (audience := user.audiences.get(session_id)) and user.user_id > after:
                if viewer is None:
                    yield Member(user.user_id, audience)
                elif audience.has(viewer.user_id):
                    yield Member(user.user_id)

    def part(self, session_id: str, viewer: Viewer | None = None) -> MembersPart:
        members = list(self.of(session_id, viewer=viewer))
        some = members[: self._page]
        last = some[-1].user_id if len(some) < len(members) else None
        return MembersPart(some, last, self._tables.rooms.get(session_id))

    def count(self, session_id: str) -> int:
        return sum(not it.audience.only_for for it in self.of(session_id))

    def room(self, session_id: str) -> LargeRoom:
        return self._tables.rooms.get(session_id, LargeRoom(session_id))

    def keep(self, before: LargeRoom, after: LargeRoom) -> bool:
        if self.room(before.session_id).revision != before.revision:
            return False
        kept = replace(after, revision=before.revision + 1)
        self._tables.rooms[after.session_id] = kept
        return True


class FakeSubscriptions:
    """A row gets its shard when it is first looked at, and keeps it when the topic grows."""

    def __init__(self, tables: FakeTables, page: int = 1_000) -> None:
        self._tables = tables
        self._page = page

    def part(self, topic: Topic, shard: int = 0, after: str | None = None) -> Part:
        shards = self._tables.shards.get(topic, at_first(topic))
        rows, placed = self._rows(topic), self._placed(topic)
        here = [name for name in sorted(rows) if placed[name] == shard]
        behind = [name for name in here if after is None or name > after]
        found = behind[: self._page]
        last = found[-1] if len(behind) > len(found) else None
        is_first = shard == 0 and after is None
        subscribers = [self._subscriber(topic, name, rows[name]) for name in found]
        is_large = is_first and topic.kind == "session" and topic.name in self._tables.marked
        return Part(subscribers, last, shards if is_first else 1, is_large)

    def mark(self, session_id: str, *, is_large: bool) -> None:
        self._tables.marked.discard(session_id)
        if is_large:
            self._tables.marked.add(session_id)

    def _rows(self, topic: Topic) -> Mapping[str, str]:
        match topic.kind:
            case "everyone":
                return self._tables.everyone
            case "user":
                return self._tables.watchers.get(topic.name, {})
            case "session":
                return self._tables.sessions.get(topic.name, {})

    def _placed(self, topic: Topic) -> Mapping[str, int]:
        shards = self._tables.shards.get(topic, at_first(topic))
        placed = self._tables.placed.setdefault(topic, {})
        for name in self._rows(topic):
            placed.setdefault(name, shard_of(name, shards))
        return placed

    def grow(self, topic: Topic, before: int, shards: int) -> None:
        self._placed(topic)
        if self._tables.shards.get(topic, at_first(topic)) == before:
            self._tables.shards[topic] = shards

    def pages(self, topic: Topic) -> Iterator[Sequence[Subscriber]]:
        if rows := self._rows(topic):
            yield [self._subscriber(topic, name, rows[name]) for name in sorted(rows)]

    def _subscriber(self, topic: Topic, name: str, user_id: str) -> Subscriber:
        return Subscriber(name, user_id, name in self._tables.limited and topic.kind != "session")

    def blocks(self, after: Block | None = None) -> Iterator[Block]:
        users = sorted(self._tables.users.values(), key=lambda user: user.user_id)
        found = [Block(user.user_id, name) for user in users for name in sorted(user.blocked)]
        return iter(found if after is None else found[found.index(after) + 1 :])

    def naming(self, user_id: str) -> Iterator[str]:
        users = self._tables.users.values()
        return iter(sorted(user.user_id for user in users if user_id in user.special_viewers))

    def watch(self, connection: Connection, user_ids: Collection[str]) -> bool:
        name = connection.connection_id
        current = self._tables.connections.get(name)
        if current is None or current.state is not State.AUTHENTICATED:
            return False
        if current.user_id != connection.user_id:
            return False
        if (current.allowed_sessions is None) != (connection.allowed_sessions is None):
            return False
        watched = {user_id for user_id, rows in self._tables.watchers.items() if name in rows}
        if len(watched | set(user_ids)) > limits.WATCHED_USERS:
            raise Conflict("too many")
        for user_id in user_ids:
            self._tables.watchers.setdefault(user_id, {})[name] = str(connection.user_id)
        self._tables.connections[name] = replace(
            current, is_watching=True, revision=current.revision + 1
        )
        return True

    def unwatch_all(self, connection: Connection) -> None:
        name = connection.connection_id
        self._tables.everyone.pop(name, None)
        if not connection.is_watching:
            return
        self.unwatch(name, list(self._tables.watchers))
        if (current := self._tables.connections.get(name)) is not None:
            self._tables.connections[name] = replace(
                current, is_watching=False, revision=current.revision + 1
            )

    def unwatch(self, connection_id: str, user_ids: Collection[str]) -> None:
        for user_id in user_ids:
            unlist(self._tables.watchers, user_id, connection_id)

    def remove(self, connection: Connection) -> None:
        name = connection.connection_id
        self._tables.everyone.pop(name, None)
        for session_id in connection.sessions:
            unlist(self._tables.sessions, session_id, name)
        if connection.is_watching:
            self.unwatch(name, list(self._tables.watchers))

    def remove_trace(self, connection: Connection) -> None:
        self.remove(connection)


class FakeSentMessages:
    def __init__(self, tables: FakeTables) -> None:
        self._sent = tables.sent

    def claim(self, message: Message) -> Sent | None:
        key = (message.sender_id, message.session_id, message.client_id)
        before, is_relayed = self._sent.get(key, (None, False))
        is_old = before and before.sent_at <= message.sent_at - limits.CLIENT_ID_MILLISECONDS
        if before is None or is_old:
            self._sent[key] = message, False
            return None
        if before == message:
            return None
        is_same = before.content == message.content
        return Sent(before.message_id, before.sent_at, is_same=is_same, is_relayed=is_relayed)

    def relayed(self, message: Message) -> None:
        self._sent[message.sender_id, message.session_id, message.client_id] = message, True


def check_each(timers: Timers, checks: Sequence[UserCheck | ExpiredCheck]) -> None:
    """`check_all` of timers that have no better way."""
    for check in checks:
        match check:
            case UserCheck(user_id, delay):
                timers.check_user(user_id, delay)
            case ExpiredCheck(connection_id, user_id, sessions, delay, reason):
                timers.check_expired(connection_id, user_id, sessions, delay, reason)


@dataclass
class FakeTimers:
    """Remembers what it was asked for, as (what, which, seconds)."""

    asked: list[tuple[str, str, int]] = field(default_factory=list)
    expired: list[tuple[str, str, frozenset[str], int]] = field(default_factory=list)
    gone: list[tuple[str, int]] = field(default_factory=list)
    rooms: list[tuple[str, int, int]] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    told: list[tuple[str, int, int]] = field(default_factory=list)

    def check_told(self, user_id: str, version: int, delay_seconds: int) -> None:
        self.told.append((user_id, version, delay_seconds))

    def check_room(self, session_id: str, tick: int, delay_seconds: int) -> None:
        self.rooms.append((session_id, tick, delay_seconds))

    def check_connection(self, connection_id: str, delay_seconds: int) -> None:
        self.asked.append(("connection", connection_id, delay_seconds))

    def check_user(self, user_id: str, delay_seconds: int) -> None:
        self.asked.append(("user", user_id, delay_seconds))

    def check_expired(
        self,
        connection_id: str,
        user_id: str,
        sessions: Collection[str],
        delay_seconds: int = 0,
        reason: str | None = None,
    ) -> None:
        self.expired.append((connection_id, user_id, frozenset(sessions), delay_seconds))
        if reason is not None:
            self.reasons[connection_id] = reason

    def check_all(self, checks: Sequence[UserCheck | ExpiredCheck]) -> None:
        check_each(self, checks)

    def check_gone(self, connection_ids: Sequence[str], at: int) -> None:
        self.gone += [(name, at) for name in connection_ids]


@dataclass
class FakeGateway:
    """Takes every post, except to those that it was told are gone, busy or never take any.

    It is `at` all the time; by default, when no socket is young any more.
    """

    gone: set[str] = field(default_factory=set)
    busy: set[str] = field(default_factory=set)
    refusing: set[str] = field(default_factory=set)
    heard: dict[str, list[str]] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)
    at: int = 1 << 52

    def post(self, posts: Iterable[Post], *, until: int | None = None) -> Delivery:
        del until
        refused: dict[str, list[str]] = {"gone": [], "again": [], "refused": []}
        for post in posts:
            for connection_id in post.connection_ids:
                self._deliver(connection_id, post.text, refused)
        named = {name: tuple(dict.fromkeys(ids)) for name, ids in refused.items()}
        return Delivery(**named, at=self.at)

    def _deliver(self, connection_id: str, text: str, refused: dict[str, list[str]]) -> None:
        if connection_id in self.gone:
            refused["gone"].append(connection_id)
        elif connection_id in self.busy:
            refused["again"].append(connection_id)
        elif connection_id in self.refusing:
            refused["refused"].append(connection_id)
        else:
            self.heard.setdefault(connection_id, []).append(text)

    def close(self, connection_id: str) -> None:
        if connection_id in self.busy:
            raise Unavailable("API Gateway is too busy.")
        self.closed.append(connection_id)


@dataclass
class FakeDeliveries:
    """What has to wait: a post, how often it was tried, for how many seconds; and jobs."""

    waiting: list[tuple[Post, int, int]] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)

    def put_jobs(self, jobs: Iterable[Job]) -> None:
        self.jobs += jobs

    def put_all(
        self, parcels: Iterable[Sequence[Post]], *, attempt: int = 0, delay_seconds: int = 0
    ) -> None:
        self.waiting += [(post, attempt, delay_seconds) for posts in parcels for post in posts]


@dataclass
class FakeAuthorizer:
    """Allows every join but these (user, chat session); of some it says nothing."""

    refused: set[tuple[str, str]] = field(default_factory=set)
    silent: set[tuple[str, str]] = field(default_factory=set)

    def may_join(self, user_id: str, session_ids: Sequence[str]) -> Sequence[bool | None]:
        return [self._may_join(user_id, name) for name in session_ids]

    def _may_join(self, user_id: str, session_id: str) -> bool | None:
        if (user_id, session_id) in self.silent:
            return None
        return (user_id, session_id) not in self.refused


@dataclass
class FakeTokens:
    """A token is its user id, if it was issued."""

    issued: dict[str, Identity] = field(default_factory=dict)

    def verify(self, token: str, now: int) -> Identity:
        del now
        if token not in self.issued:
            raise TokenInvalid("The token is not one that this stack accepts.")
        return self.issued[token]
