"""Stand-ins for the ports, in memory. The contract tests hold them to what the adapters do."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from presence.domain.connection import Admission, Connection, Identity, State
from presence.domain.errors import InvalidMessage, TokenInvalid
from presence.domain.user import Lease, User
from presence.ports import Count, Delivery, Lost, Post


@dataclass
class FakeTables:
    """What the three tables hold, and the records that the stream of Users would carry."""

    connections: dict[str, Connection] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    everyone: set[str] = field(default_factory=set)
    stream: list[tuple[User, User]] = field(default_factory=list)
    count: Count = field(default_factory=lambda: Count(0, 0))


class FakeConnections:
    def __init__(self, tables: FakeTables) -> None:
        self._items = tables.connections

    def open(self, connection: Connection) -> None:
        if connection.connection_id in self._items:
            raise AssertionError("a connection id is used once")
        self._items[connection.connection_id] = connection

    def read(self, connection_id: str, *, consistent: bool = False) -> Connection | None:
        del consistent
        return self._items.get(connection_id)

    def close(self, connection_id: str, now: int) -> Connection | None:
        del now
        before = self._items.get(connection_id)
        if before is not None:
            self._items[connection_id] = replace(before, state=State.CLOSED)
        return before

    def close_unclaimed(self, connection_id: str, now: int) -> bool:
        before = self._items.get(connection_id)
        if before is None or before.state is not State.OPEN:
            return False
        self.close(connection_id, now)
        return True

    def spend(self, connection: Connection, spent_until: int) -> bool:
        current = self._items.get(connection.connection_id)
        if current is None or current.spent_until != connection.spent_until:
            return False
        self._items[connection.connection_id] = replace(current, spent_until=spent_until)
        return True


class FakeUsers:
    def __init__(self, tables: FakeTables, *, is_global: bool = True) -> None:
        self._tables = tables
        self._is_global = is_global

    def read(self, user_id: str, *, consistent: bool = False) -> User:
        del consistent
        return self._tables.users.get(user_id, User(user_id))

    def read_many(self, user_ids: Collection[str]) -> Mapping[str, User]:
        return {user_id: self.read(user_id) for user_id in user_ids}

    def save(self, before: User, after: User, now: int, *, announce: bool) -> None:
        del now
        current = self.read(before.user_id)
        touched = [name for name, it in before.leases.items() if after.leases.get(name) != it]
        same = all(_end(current, name) == _end(before, name) for name in touched)
        if current.revision != before.revision or not same:
            raise Lost(current if current.revision else None)
        untouched = {name: it for name, it in current.leases.items() if name not in touched}
        changed = {name: it for name, it in after.leases.items() if name not in untouched}
        written = replace(after, revision=before.revision + 1, leases={**untouched, **changed})
        self._tables.users[before.user_id] = written
        if announce:
            self._tables.stream.append((current, written))

    def admit(
        self, admission: Admission, before: User, after: User, now: int, *, announce: bool
    ) -> bool:
        gate = self._tables.connections.get(admission.connection_id)
        if gate is None or gate.state is State.CLOSED:
            return False
        if gate.user_id not in (None, before.user_id):
            return False
        self.save(before, after, now, announce=announce)
        self._tables.connections[gate.connection_id] = replace(
            gate,
            state=State.AUTHENTICATED,
            user_id=before.user_id,
            token_expires_at=admission.token_expires_at,
        )
        if self._is_global:
            self._tables.everyone.add(gate.connection_id)
        return True

    def renew(
        self,
        user_id: str,
        connection_id: str,
        lease: Lease,
        *,
        is_active: bool | None,
        if_before: int,
    ) -> User | None:
        user = self.read(user_id)
        current = user.leases.get(connection_id)
        if current is None or current.expires_at > if_before:
            return user
        if is_active not in (None, current.is_active):
            return user
        renewed = replace(current, expires_at=lease.expires_at, seen_at=lease.seen_at)
        leases = {**user.leases, connection_id: renewed}
        self._tables.users[user_id] = replace(user, leases=leases)
        return None


def _end(user: User, name: str) -> int | None:
    lease = user.leases.get(name)
    return None if lease is None else lease.expires_at


class FakeRoster:
    def __init__(self, tables: FakeTables) -> None:
        self._tables = tables

    def after(self, position: str | None) -> Iterator[str]:
        if position is not None and not position.startswith("after-"):
            raise InvalidMessage("cursor has to be as it came with the page before.")
        last = (position or "").removeprefix("after-")
        here = sorted(user.user_id for user in self._tables.users.values() if user.is_here)
        return (user_id for user_id in here if user_id > last)

    def position_of(self, user_id: str) -> str:
        return f"after-{user_id}"

    def count(self) -> Count:
        return self._tables.count

    def counted(self, count: Count) -> None:
        self._tables.count = count

    def add(self, difference: int) -> None:
        count = self._tables.count
        self._tables.count = replace(count, online=max(0, count.online + difference))


class FakeSubscriptions:
    def __init__(self, tables: FakeTables) -> None:
        self._everyone = tables.everyone

    def everyone(self) -> Iterator[Sequence[str]]:
        if self._everyone:
            yield sorted(self._everyone)

    def remove(self, connection_id: str) -> None:
        self._everyone.discard(connection_id)


@dataclass
class FakeTimers:
    """Remembers what it was asked for, as (what, which, seconds)."""

    asked: list[tuple[str, str, int]] = field(default_factory=list)

    def check_connection(self, connection_id: str, delay_seconds: int) -> None:
        self.asked.append(("connection", connection_id, delay_seconds))

    def check_user(self, user_id: str, delay_seconds: int) -> None:
        self.asked.append(("user", user_id, delay_seconds))


@dataclass
class FakeGateway:
    """Takes every post, except to those that it was told are gone, slow or too many."""

    gone: set[str] = field(default_factory=set)
    throttled: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    heard: dict[str, list[str]] = field(default_factory=dict)
    closed: list[str] = field(default_factory=list)

    def post(self, posts: Iterable[Post]) -> Delivery:
        refused: dict[str, list[str]] = {"gone": [], "throttled": [], "failed": []}
        for post in posts:
            for connection_id in post.connection_ids:
                self._deliver(connection_id, post.text, refused)
        return Delivery(**{name: tuple(dict.fromkeys(ids)) for name, ids in refused.items()})

    def _deliver(self, connection_id: str, text: str, refused: dict[str, list[str]]) -> None:
        if connection_id in self.gone:
            refused["gone"].append(connection_id)
        elif connection_id in self.throttled:
            refused["throttled"].append(connection_id)
        elif connection_id in self.failing:
            refused["failed"].append(connection_id)
        else:
            self.heard.setdefault(connection_id, []).append(text)

    def close(self, connection_id: str) -> None:
        self.closed.append(connection_id)


@dataclass
class FakeTokens:
    """A token is its user id, if somebody issued it."""

    issued: dict[str, Identity] = field(default_factory=dict)

    def verify(self, token: str, now: int) -> Identity:
        del now
        if token not in self.issued:
            raise TokenInvalid("The token is not one that this stack accepts.")
        return self.issued[token]
