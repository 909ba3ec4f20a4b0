"""Large rooms: their state, their marks and their members; small rooms have no state."""

from dataclasses import replace

import pytest

from presence import limits
from presence.domain.events import Authenticated, Blocked, Joined
from presence.domain.user import Audience
from presence.ports import LargeRoom, Member, Topic
from tests.contract.conftest import Store
from tests.contract.test_store import NOW, PHONE, ROOM, TAB, enter, lease, save
from tests.contract.test_subscriptions import arrive

pytestmark = pytest.mark.contract

KNOWN = LargeRoom(
    ROOM,
    is_large=True,
    member_count=7,
    as_of=NOW,
    tick=NOW + 1,
    ticking=NOW + 2,
    recent=("ada", "bob"),
    told=("eve",),
)


def members(store: Store, amount: int) -> list[str]:
    names = [f"user-{number:03}" for number in range(amount)]
    for name in names:
        save(store, name, Authenticated(name, lease()), Joined(name, (ROOM,)))
    return names


def test_a_room_that_was_never_large_has_no_state(store: Store) -> None:
    members(store, 2)

    assert store.members.room(ROOM) == LargeRoom(ROOM)
    assert store.members.part(ROOM).room is None


@pytest.mark.parametrize(
    "after", [KNOWN, LargeRoom(ROOM), replace(KNOWN, is_large=False, tick=None)]
)
def test_the_first_page_of_members_has_the_state_of_the_room(
    store: Store, after: LargeRoom
) -> None:
    names = members(store, 2)

    assert store.members.keep(LargeRoom(ROOM), after)

    kept = replace(after, revision=1)
    assert store.members.room(ROOM) == kept
    assert store.members.part(ROOM).room == kept
    assert [it.user_id for it in store.members.part(ROOM).members] == names
    assert [it.user_id for it in store.members.of(ROOM)] == names
    assert store.members.count(ROOM) == 2


def test_of_two_changes_of_a_room_one_is_refused(store: Store) -> None:
    assert store.members.keep(LargeRoom(ROOM), KNOWN)
    first = store.members.room(ROOM)

    assert not store.members.keep(LargeRoom(ROOM), replace(KNOWN, member_count=8))
    assert store.members.keep(first, replace(first, member_count=9))
    assert not store.members.keep(first, replace(first, member_count=10))

    assert store.members.room(ROOM) == replace(KNOWN, revision=2, member_count=9)


def test_members_are_read_on_from_any_of_them(store: Store) -> None:
    names = members(store, 5)
    save(store, names[3], Blocked("eve"))

    assert list(store.members.of(ROOM, names[2])) == [
        Member(names[3], Audience(frozenset({"eve"}))),
        Member(names[4]),
    ]
    assert list(store.members.of(ROOM, "user-0025")) == list(store.members.of(ROOM, names[2]))
    assert list(store.members.of(ROOM, names[4])) == []


def test_a_page_says_where_the_next_one_begins(
    dynamodb: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FIRST_MEMBERS", 3)
    names = members(dynamodb, 5)
    plain = dynamodb.members.part(ROOM)
    dynamodb.members.keep(LargeRoom(ROOM), KNOWN)
    known = dynamodb.members.part(ROOM)

    for part in (plain, known):
        assert part.after is not None
        found = [*part.members, *dynamodb.members.of(ROOM, part.after)]
        assert [it.user_id for it in found] == names
    assert dynamodb.members.count(ROOM) == 5


def test_readers_of_subscribers_see_the_mark_of_a_large_room(store: Store) -> None:
    topic = Topic("session", ROOM)
    arrive(store, "ada", TAB)
    enter(store, "ada", ROOM)
    seen = [store.subscriptions.part(topic).is_large]

    for is_large in (True, True, False, False):
        store.subscriptions.mark(ROOM, is_large=is_large)
        seen.append(store.subscriptions.part(topic).is_large)

    assert seen == [False, True, True, False, False]
    assert [it.connection_id for it in store.heard(Topic("session", ROOM))] == [TAB]


def test_a_large_room_grows_like_any_topic(store: Store) -> None:
    topic = Topic("session", ROOM)
    store.subscriptions.mark(ROOM, is_large=True)
    store.subscriptions.grow(topic, 1, 4)
    arrive(store, "eve", PHONE)
    enter(store, "eve", ROOM, PHONE)

    part = store.subscriptions.part(topic)

    assert (part.shards, part.is_large) == (4, True)
