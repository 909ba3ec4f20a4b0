"""What DynamoDB does to the items of `FakeTables`, and what it does not promise.

The fakes say what a call means when it is alone. Here every call is one of many: a transaction
becomes visible item by item and blocks other writers of the same items, a batch of deletes is
no transaction at all, an eventually consistent read may be a second old, and an index ten.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from random import Random
from typing import Any, TypeAlias, TypeVar

from presence.domain.user import User
from proof.simulation.scheduler import Scheduler, pause, running
from tests.fakes import FakeTables

T = TypeVar("T")

#: How old what is read may be, in milliseconds.
STALE, INDEX_STALE = 1_000, 10_000

#: An item: its table, its key, and who it is in a table of many rows a key.
Name: TypeAlias = tuple[str, Any, str]
Writes: TypeAlias = Mapping[Name, Any]
FLAT = ("connections", "users", "everyone", "limited", "shards", "rooms", "sent")
NESTED = ("sessions", "watchers")
#: What no item has: to write it is to delete the item.
NOTHING = object()


@dataclass
class Memory:
    """`wrote` hears of every item that changes: its name, and what it was and is.

    `settled` hears of items when all that was to be written with them is.
    """

    rng: Random
    scheduler: Scheduler
    clock: Callable[[], int]
    wrote: Callable[[Name, Any, Any], None]
    settled: Callable[[Collection[Name]], None] = lambda _: None
    slow_commits: float = 0.0
    tables: FakeTables = field(default_factory=FakeTables)
    locked: set[Name] = field(default_factory=set)
    history: defaultdict[Name, list[tuple[int, Any]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    # ── writes ─────────────────────────────────────────────────────────────────────────

    def transact(self, act: Callable[[FakeTables], T]) -> T:
        """All or nothing; but a plain reader may see the half of it.

        What is in another transaction just now is waited for, as the adapters do.
        """
        while True:
            draft = copy_of(self.tables)
            result = act(draft)
            writes = difference(self.tables, draft)
            if self.locked.isdisjoint(writes):
                break
            pause()
        if len(writes) > 1 and self.rng.random() < self.slow_commits:
            self._commit_slowly(writes, draft.stream)
        else:
            for name in writes:
                self._write(name, writes[name], draft.stream)
            self.settled(writes)
        return result

    def piecemeal(self, act: Callable[[FakeTables], T]) -> T:
        """One item after the other; a task that is killed in between leaves the rest.

        What a connection record says of rows is written when these are.
        """
        draft = copy_of(self.tables)
        result = act(draft)
        writes = self._shuffled(difference(self.tables, draft))
        known = {name: self._current(name) for name, _ in writes}
        for name, value in sorted(writes, key=lambda it: it[0][0] == "connections"):
            while name in self.locked:
                pause()
            self._write(name, self._updated(name, known[name], value), draft.stream)
            self.settled([name])
            pause()
        return result

    def _updated(self, name: Name, known: Any, value: Any) -> Any:
        """An update of a record sets what it names; others may have written the rest meanwhile."""
        current = self._current(name)
        if name[0] != "connections" or value is NOTHING or known in (None, current):
            return value
        if current is None:
            return NOTHING  # an update of what is gone is refused
        changed = {
            it.name: getattr(value, it.name)
            for it in fields(value)
            if getattr(value, it.name) != getattr(known, it.name)
        }
        revision = current.revision + value.revision - known.revision
        return replace(current, **changed | {"revision": revision})

    def _commit_slowly(self, writes: Writes, stream: list[tuple[User, User]]) -> None:
        """DynamoDB finishes what it has accepted, whatever becomes of who asked for it."""
        rest = self._by_item(writes)
        self.locked |= writes.keys()
        done: list[object] = []

        def commit() -> None:
            for item in rest:
                for name, value in item:
                    self._write(name, value, stream)
                pause()
            self.locked.difference_update(writes)
            self.settled(writes)

        task = running()
        asked = "" if task is None else task.name
        self.scheduler.spawn(f"commit of {asked}", commit, done.append)
        while not done:
            pause()

    def _by_item(self, writes: Writes) -> list[list[tuple[Name, Any]]]:
        """What DynamoDB stores as one item is written at once: a row has its flag `limited`."""
        found = defaultdict[Name, list[tuple[Name, Any]]](list)
        for name, value in self._shuffled(writes):
            table, key, row = name
            found["everyone" if table == "limited" else table, key, row].append((name, value))
        return list(found.values())

    def _shuffled(self, writes: Writes) -> list[tuple[Name, Any]]:
        rest = list(writes.items())
        self.rng.shuffle(rest)
        return rest

    def _write(self, name: Name, value: Any, stream: list[tuple[User, User]]) -> None:
        table, key, row = name
        before = self._current(name)
        place = getattr(self.tables, table)
        if table in NESTED:
            rows = place.setdefault(key, {})
            _put(rows, row, value)
            if not rows:
                place.pop(key)
        elif table in FLAT:
            _put(place, key, value)
        else:
            setattr(self.tables, table, value)
        self._remember(name, before)
        if table == "users":
            self.tables.stream += stream
        self.wrote(name, before, None if value is NOTHING else value)

    def _current(self, name: Name) -> Any:
        table, key, row = name
        place = getattr(self.tables, table)
        if table in NESTED:
            return place.get(key, {}).get(row)
        return place.get(key) if table in FLAT else place

    # ── reads ──────────────────────────────────────────────────────────────────────────

    def _remember(self, name: Name, before: Any) -> None:
        if name[0] in ("users", "connections"):
            now = self.clock()
            past = self.history[name]
            past.append((now, before))
            while past and past[0][0] < now - INDEX_STALE:
                past.pop(0)

    def as_it_was(self, name: Name, age: int) -> Any:
        """An item at some instant within the last *age* milliseconds."""
        instant = self.clock() - self.rng.randrange(age + 1)
        past = self.history.get(name, ())
        return next((it for until, it in past if until > instant), self._current(name))

    def stale(self, age: int, connection_id: str | None = None) -> FakeTables:
        """The users as an eventually consistent read may see them, and one connection record."""
        users = {it: self.as_it_was(("users", it, ""), age) for it in self._user_ids()}
        view = FakeTables(users={name: it for name, it in users.items() if it is not None})
        view.count, view.swept_to = self.tables.count, self.tables.swept_to
        if connection_id is not None:
            record = self.as_it_was(("connections", connection_id, ""), age)
            view.connections = {} if record is None else {connection_id: record}
        return view

    def _user_ids(self) -> Iterator[str]:
        gone = (key for table, key, _ in self.history if table == "users")
        return iter(dict.fromkeys((*self.tables.users, *gone)))

    def forget(self, name: Name) -> None:
        """TTL takes an item."""
        if name not in self.locked:
            self._write(name, NOTHING, [])


def _put(place: dict[Any, Any], key: Any, value: Any) -> None:
    if value is NOTHING:
        place.pop(key, None)
    else:
        place[key] = value


def copy_of(tables: FakeTables) -> FakeTables:
    """As deep as the fakes write; `placed` is theirs alone, and the stream begins anew."""
    copy = FakeTables(placed=tables.placed, marked=set(tables.marked), count=tables.count)
    copy.swept_to, copy.floor = tables.swept_to, tables.floor
    for table in FLAT:
        setattr(copy, table, dict(getattr(tables, table)))
    for table in NESTED:
        setattr(copy, table, {key: dict(rows) for key, rows in getattr(tables, table).items()})
    return copy


def difference(before: FakeTables, after: FakeTables) -> dict[Name, Any]:
    """What has to be written to make one of the other."""
    old, new = dict(_items(before)), dict(_items(after))
    writes = {name: value for name, value in new.items() if old.get(name, NOTHING) != value}
    return writes | {name: NOTHING for name in old if name not in new}


def _items(tables: FakeTables) -> Iterator[tuple[Name, Any]]:
    flat = ((table, getattr(tables, table)) for table in FLAT)
    yield from (((table, key, ""), it) for table, items in flat for key, it in items.items())
    nested = (
        (table, key, rows) for table in NESTED for key, rows in getattr(tables, table).items()
    )
    yield from (((table, key, row), it) for table, key, rows in nested for row, it in rows.items())
    yield ("marked", "", ""), tables.marked
    yield ("count", "", ""), tables.count
    yield ("swept_to", "", ""), tables.swept_to
    yield ("floor", "", ""), tables.floor


#: A field that is not copied would be shared by all drafts.
assert {it.name for it in fields(FakeTables)} == {*FLAT, *NESTED, "marked"} | {
    *("count", "placed", "stream", "swept_to", "floor")
}
