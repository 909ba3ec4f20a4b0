"""Topics in shards: the fakes and DynamoDB agree, and only DynamoDB knows where rows lie."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pynamodb.connection import Connection as Client

from presence import limits
from presence.adapters.dynamodb import subscriptions, topics
from presence.adapters.dynamodb.tables import Operation, write
from presence.adapters.dynamodb.topics import key_of, shards_so_far
from presence.domain.connection import Connection, Joining, Leaving
from presence.domain.errors import Conflict
from presence.domain.events import Joined, Left
from presence.ports import EVERYONE, Topic
from tests.contract.conftest import Store, items
from tests.contract.test_store import (
    NOW,
    PHONE,
    RECORD,
    ROOM,
    TAB,
    change_record,
    enter,
    record_of,
)
from tests.contract.test_subscriptions import all_of, arrive
from tests.tables import Tables

pytestmark = pytest.mark.contract

SESSION, WATCHED = Topic("session", ROOM), Topic("user", "ada")
NAMES = [f"connection-{number}=" for number in range(12)]


@pytest.fixture(autouse=True)
def asks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row goes to the shard of the current number: the number is read before each write."""
    monkeypatch.setattr(limits, "ROWS_UNASKED", 1)


def shards_of(topic: Topic) -> Counter[str]:
    """How many rows lie under which key of a topic."""
    keys = {key_of(topic, shard) for shard in range(64)}
    return Counter(key for key, name in items("Subscriptions") if key in keys and name != " ")


def subscribe(store: Store, names: list[str]) -> Iterator[Connection]:
    for name in names:
        record = arrive(store, f"user-{name}", name)
        enter(store, f"user-{name}", ROOM, name)
        assert store.subscriptions.watch(record, {"ada"})
        yield record


@pytest.mark.parametrize("topic", [EVERYONE, SESSION, WATCHED])
def test_a_topic_is_read_part_by_part(store: Store, topic: Topic) -> None:
    assert store.heard(topic) == []
    list(subscribe(store, NAMES))

    found = store.heard(topic)

    assert sorted(it.connection_id for it in found) == sorted(NAMES)
    assert all(it.user_id == f"user-{it.connection_id}" for it in found)


def test_subscribers_are_read_consistently(
    monkeypatch: pytest.MonkeyPatch, dictionaries: Store
) -> None:
    asked: list[bool] = []
    call = Tables._make_api_call

    def overheard(self: Tables, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request.get("ConsistentRead", False))
        return call(self, operation, request)

    monkeypatch.setattr(Tables, "_make_api_call", overheard)
    for topic in (EVERYONE, SESSION, WATCHED):
        dictionaries.subscriptions.part(topic)

    assert asked == [True] * 3


@pytest.mark.parametrize("topic", [EVERYONE, SESSION, WATCHED])
def test_rows_from_before_a_topic_grew_are_found(store: Store, topic: Topic) -> None:
    first = store.subscriptions.part(topic).shards
    list(subscribe(store, NAMES[:6]))

    store.subscriptions.grow(topic, first, 4 * first)
    list(subscribe(store, NAMES[6:]))

    found = [it.connection_id for it in store.heard(topic)]
    assert sorted(found) == sorted(NAMES)
    assert store.subscriptions.part(topic).shards == 4 * first


def test_a_topic_grows_once_for_all_functions_that_ask_for_it(store: Store) -> None:
    store.subscriptions.grow(SESSION, 1, 2)
    store.subscriptions.grow(SESSION, 1, 8)
    grown = [store.subscriptions.part(SESSION).shards]
    store.subscriptions.grow(SESSION, 2, 4)
    store.subscriptions.grow(SESSION, 8, 16)

    assert [*grown, store.subscriptions.part(SESSION).shards] == [2, 4]


@pytest.mark.fault("A room is larger than the memory of a function.")
def test_a_page_says_where_the_next_one_begins(
    dynamodb: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FIRST_SUBSCRIBERS", 2)
    monkeypatch.setattr(limits, "SUBSCRIBERS_PER_PAGE", 3)
    for name in NAMES:
        arrive(dynamodb, "ada", name)
        enter(dynamodb, "ada", ROOM, name)

    pages = [dynamodb.subscriptions.part(SESSION)]
    while pages[-1].after is not None:
        pages.append(dynamodb.subscriptions.part(SESSION, 0, pages[-1].after))

    assert [len(page.subscribers) for page in pages] == [2, 3, 3, 3, 1]
    assert [it.connection_id for page in pages for it in page.subscribers] == sorted(NAMES)
    assert all_of(dynamodb.subscriptions.pages(Topic("session", ROOM))) == [
        it for page in pages for it in page.subscribers
    ]


@pytest.mark.fault("One partition is asked too much.")
def test_rows_of_a_topic_that_grew_are_spread(dynamodb: Store) -> None:
    for topic in (SESSION, WATCHED):
        dynamodb.subscriptions.grow(topic, 1, 4)
    dynamodb.subscriptions.grow(EVERYONE, limits.EVERYONE_SHARDS, 32)

    list(subscribe(dynamodb, NAMES))

    for topic in (SESSION, WATCHED, EVERYONE):
        spread = shards_of(topic)
        assert sum(spread.values()) == len(NAMES)
        assert len(spread) > 2, topic


def test_a_second_join_stays_in_the_shard_of_the_first(dynamodb: Store) -> None:
    records = list(subscribe(dynamodb, NAMES))
    dynamodb.subscriptions.grow(SESSION, 1, 4)

    for record in records:
        again = Joining(record.connection_id, NOW, [ROOM], record_now(dynamodb, record).joined)
        event = Joined(record.connection_id, (ROOM,))
        assert change_record(dynamodb, str(record.user_id), event, again)

    assert shards_of(SESSION) == {key_of(SESSION, 0): len(NAMES)}
    assert all(record_now(dynamodb, record).shards == {} for record in records)


@pytest.mark.parametrize("way", ["leave", "close", "trace"])
def test_a_closed_connection_leaves_no_row_however_old_its_rows_are(
    dynamodb: Store, way: str
) -> None:
    records = list[Connection]()
    for number, name in enumerate(NAMES):
        records += subscribe(dynamodb, [name])
        if number in (3, 6):
            double_all(dynamodb)

    for record in records:
        name = record.connection_id
        if way == "leave":
            leaving = Leaving(name, record_now(dynamodb, record).joined)
            assert change_record(dynamodb, f"user-{name}", Left(name, (ROOM,)), leaving)
            dynamodb.subscriptions.unwatch(name, {"ada"})
        closed = dynamodb.connections.close(name, NOW)
        assert closed is not None
        trace = Connection(name, "", NOW, sessions=frozenset({ROOM}), is_watching=True)
        if way == "trace":
            dynamodb.subscriptions.remove_trace(trace)
        else:
            dynamodb.subscriptions.remove(closed)

    left = {(key, name) for key, name in items("Subscriptions") if key[:8] != "members:"}
    assert {name for _, name in left} == {" "}
    assert {name for (name,) in items("Connections")} == set(NAMES)


def record_now(store: Store, record: Connection) -> Connection:
    return record_of(store, record.connection_id)


def double_all(store: Store) -> None:
    for topic in (SESSION, WATCHED, EVERYONE):
        before = store.subscriptions.part(topic).shards
        store.subscriptions.grow(topic, before, 2 * before)


def test_a_connection_record_names_shards_only_of_large_topics(dynamodb: Store) -> None:
    arrive(dynamodb, "ada", TAB)
    enter(dynamodb, "ada", ROOM)
    small = dynamodb.connections.read(TAB, consistent=True)
    dynamodb.subscriptions.grow(SESSION, 1, 64)
    arrive(dynamodb, "eve", PHONE)
    enter(dynamodb, "eve", ROOM, PHONE)
    large = dynamodb.connections.read(PHONE, consistent=True)

    assert small is not None
    assert (small.sessions, small.shards) == (frozenset({ROOM}), {})
    assert large is not None
    assert large.sessions == frozenset({ROOM})
    assert large.shards_of(ROOM) == {topics.shard_of(PHONE, 64)} != {0}
    assert RECORD.shards_of(ROOM) == frozenset()


def test_an_environment_that_writes_rarely_writes_to_the_first_shard(
    dynamodb: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ROWS_UNASKED", 6)
    dynamodb.subscriptions.grow(SESSION, 1, 4)

    list(subscribe(dynamodb, NAMES))

    spread = shards_of(SESSION)
    assert spread[key_of(SESSION, 0)] >= 5
    assert sum(spread.values()) == len(NAMES)
    assert len(dynamodb.heard(SESSION)) == len(NAMES)


def test_the_cache_of_shard_counts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ROWS_UNASKED", 1_000)
    monkeypatch.setattr(limits, "KNOWN_TOPICS", 3)
    shards = topics.Shards()

    for number in range(10):
        assert shards.pick(Topic("user", f"user-{number}"), TAB) == 0

    assert len(shards._known) == 3


@given(st.text(min_size=1, max_size=20), st.integers(0, 8), st.integers(0, 8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_row_is_in_a_shard_where_it_is_looked_for(name: str, then: int, later: int) -> None:
    for topic in (SESSION, EVERYONE):
        written, now = (topics.at_first(topic) << it for it in sorted((then, later)))

        found = list(shards_so_far(topic, name, now))

        assert topics.shard_of(name, written) in found
        assert len(found) <= now.bit_length()


# ── a full watch list ──────────────────────────────────────────────────────────────────────


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The writes of watch lists; a list has at most six entries."""
    made: list[str] = []

    def counted(client: Client, operation: str, arguments: Operation) -> Any:
        made.append(operation)
        assert len(made) < 50, "it would not end"
        return write(client, operation, arguments)

    monkeypatch.setattr(limits, "WATCHED_USERS", 6)
    monkeypatch.setattr(subscriptions, "write", counted)
    return made


@pytest.mark.parametrize("more", [{"dan", "eva"}, {"cid", "dan", "eva", "fay"}])
def test_of_many_all_are_watched_or_none(
    dynamodb: Store, writes: list[str], more: set[str]
) -> None:
    record = arrive(dynamodb, "eve", TAB)
    for names in ({"ada", "bob"}, {"cid", "dot", "fay"}):
        assert dynamodb.subscriptions.watch(record, names)
    before = dynamodb.everything()
    writes.clear()

    with pytest.raises(Conflict):
        dynamodb.subscriptions.watch(record, more)

    assert writes == []
    assert dynamodb.everything() == before


def test_a_user_who_is_watched_again_has_one_entry(dynamodb: Store) -> None:
    record = arrive(dynamodb, "eve", TAB)
    assert dynamodb.subscriptions.watch(record, {"ada"})
    dynamodb.subscriptions.grow(WATCHED, 1, 8)
    assert dynamodb.subscriptions.watch(record, {"ada"})

    assert len(shards_of(WATCHED)) == 1


def test_users_on_the_list_need_no_further_entries(dynamodb: Store, writes: list[str]) -> None:
    record = arrive(dynamodb, "eve", TAB)
    assert dynamodb.subscriptions.watch(record, {"ada", "bob", "cid"})
    dynamodb.subscriptions.grow(WATCHED, 1, 8)
    writes.clear()

    assert dynamodb.subscriptions.watch(record, {"ada", "dan", "eva", "fay"})

    assert writes == ["TransactWriteItems"]
    assert len(shards_of(WATCHED)) == 1
