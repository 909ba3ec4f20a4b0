"""Subscribers, members, watch lists and blockers: the fakes and DynamoDB agree."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from presence import limits
from presence.adapters.dynamodb.topics import shard_of
from presence.adapters.dynamodb.users import users_of
from presence.domain.connection import Connection, State, Typed
from presence.domain.disclosure import Disclosure, Rules
from presence.domain.errors import Conflict
from presence.domain.events import (
    Authenticated,
    Blocked,
    Chosen,
    Disconnected,
    Erased,
    Joined,
    Left,
    TimePassed,
    Unblocked,
    UserEvent,
)
from presence.domain.reducer import reduce
from presence.domain.user import Audience, Choice, User
from presence.limits import MAX_RETURNED, MAX_SESSIONS, MAX_UNBLOCKED
from presence.ports import EVERYONE, LargeRoom, Member, Subscriber, Topic, Viewer
from tests.contract.conftest import Store, fakes, items
from tests.contract.test_faults_of_dynamodb import listening
from tests.contract.test_store import (
    NOW,
    PHONE,
    RECORD,
    ROOM,
    TAB,
    TOKEN,
    admit,
    enter,
    exit_,
    lease,
    record_of,
    save,
    save_at_once,
)

pytestmark = pytest.mark.contract

LATER = NOW + 10_000


def arrive(store: Store, user_id: str, name: str) -> Connection:
    store.connections.open(replace(RECORD, connection_id=name))
    assert admit(store, user_id, name=name)
    return record_of(store, name)


def all_of(pages: Iterable[Sequence[Subscriber]]) -> list[Subscriber]:
    return [subscriber for page in pages for subscriber in page]


def watching(store: Store, *user_ids: str) -> dict[str, list[str]]:
    """By user, the connections that watch them."""
    return {
        user_id: [it.connection_id for it in store.heard(Topic("user", user_id))]
        for user_id in user_ids
    }


def test_rows_say_whose_token_has_a_claim(store: Store) -> None:
    arrive(store, "ada", "a1")
    guest = replace(TOKEN, allowed_sessions=frozenset({ROOM}))
    store.connections.open(replace(RECORD, connection_id="g1"))
    assert admit(store, "guest", guest, name="g1")
    for name in ("a1", "g1"):
        assert store.subscriptions.watch(record_of(store, name), {"bob"})

    limited = {it.connection_id: it.is_limited for it in store.heard(Topic("user", "bob"))}
    everyone = {it.connection_id: it.is_limited for it in store.heard(EVERYONE)}

    assert limited == {"a1": False, "g1": True}
    assert everyone in ({}, limited)
    assert admit(store, "ada", guest, name="a1")
    assert all(it.is_limited for it in store.heard(EVERYONE))


def test_a_watch_that_was_read_before_the_claim_came_is_refused(store: Store) -> None:
    before = arrive(store, "ada", "a1")
    guest = replace(TOKEN, allowed_sessions=frozenset({ROOM}))
    assert admit(store, "ada", guest, name="a1")

    assert not store.subscriptions.watch(before, {"bob"})
    assert not store.heard(Topic("user", "bob"))


def test_a_watch_list_is_ended_as_a_whole(store: Store) -> None:
    arrive(store, "ada", "a1")
    assert store.subscriptions.watch(record_of(store, "a1"), {"bob", "kim"})
    record = record_of(store, "a1")

    for _ in range(2):
        store.subscriptions.unwatch_all(record)

    after = record_of(store, "a1")
    assert not after.is_watching
    assert after.revision > record.revision
    assert watching(store, "bob", "kim") == {"bob": [], "kim": []}
    assert store.subscriptions.watch(after, {"bob"})


@pytest.mark.fault("A token with a claim follows one without, while the topic of all users grows.")
@pytest.mark.parametrize("is_watching", [False, True])
def test_no_row_of_before_the_claim_hears_of_all_users(store: Store, *, is_watching: bool) -> None:
    moving = (f"connection-{number}=" for number in count())
    name = next(it for it in moving if shard_of(it, 8) != shard_of(it, 16))
    arrive(store, "ada", name)
    if is_watching:
        store.subscriptions.watch(record_of(store, name), {"bob"})
    store.subscriptions.grow(EVERYONE, 8, 16)

    store.subscriptions.unwatch_all(record_of(store, name))

    assert store.heard(EVERYONE) == []
    assert watching(store, "bob") == {"bob": []}


def test_many_records_are_read_at_once(store: Store) -> None:
    names = [f"connection-{number:04}=" for number in range(120)]
    for name in names:
        store.connections.open(replace(RECORD, connection_id=name))

    found = store.connections.read_many([*names, "unknown"])

    assert found == {name: replace(RECORD, connection_id=name) for name in names}


# ── members ───────────────────────────────────────────────────────────────────────────────


def seen_in(store: Store, session_id: str = ROOM) -> list[Member]:
    return list(store.members.of(session_id))


def test_an_unknown_session_has_no_members(store: Store) -> None:
    assert seen_in(store) == []


def test_members_are_in_the_order_of_their_ids(store: Store) -> None:
    names = ["eve", "Zoe", "ada", "~x", "ada2", "0", "ada.b", "_", "Ada", "!a", "$", "a|b", "[a"]
    for name in names:
        save(store, name, Authenticated(TAB, lease()), Joined(TAB, (ROOM,)))

    assert [member.user_id for member in seen_in(store)] == sorted(names)


def test_an_id_that_looks_like_another_key_is_nothing_but_an_id(store: Store) -> None:
    """Also one that sorts before `#`, and before all that older ids began with."""
    names = ["!a", "members:lobby", "session:lobby", "blocked:!a", "everyone"]
    for number, name in enumerate(names):
        arrive(store, name, f"c-{number}")
        enter(store, name, "lobby", f"c-{number}")
    assert store.members.keep(LargeRoom("lobby"), LargeRoom("lobby", is_large=True))
    store.subscriptions.mark("lobby", is_large=True)

    page = store.members.part("lobby")

    assert [it.user_id for it in page.members] == sorted(names)
    assert page.room == LargeRoom("lobby", revision=1, is_large=True)
    assert store.members.count("lobby") == len(names)
    assert {it.user_id for it in store.heard(Topic("session", "lobby"))} == set(names)
    for other in ("members:lobby", "session:lobby", "session", "#", ""):
        assert seen_in(store, other) == []
        assert store.heard(Topic("user", other)) == []


#: Names that an ORM, a language or DynamoDB has for itself.
WORDS = [
    *("attribute_values", "attributes", "self", "as_dict", "__class__", "__proto__", "null"),
    *("a.b", "a[0]", "leases", "user_id", "S", "$x", "{}", "key&", "-1"),
]


@pytest.mark.fault("An id is a word that a library has for itself.")
def test_ids_that_mean_something_elsewhere_are_kept_as_they_are(store: Store) -> None:
    """As keys of a user's and of a connection's maps, and as entries of lists."""
    record = arrive(store, "ada", TAB)
    save(store, "ada", *(Blocked(word) for word in WORDS))
    for word in WORDS:
        assert enter(store, "ada", word)
    save(store, "ada", Disconnected(TAB, LATER))
    before = record_of(store, TAB)
    typed = dict.fromkeys(WORDS, Typed(NOW, is_typing=True))
    assert store.connections.keep_typed(before, typed)
    assert store.subscriptions.watch(record, WORDS)

    user = store.users.read("ada", consistent=True)

    assert user.blocked.keys() == user.pending_leaves.keys() == set(WORDS)
    assert record_of(store, TAB).typed == typed
    assert watching(store, *WORDS) == {word: [TAB] for word in WORDS}


def test_a_user_with_two_connections_is_one_member_until_both_have_left(store: Store) -> None:
    events = (Authenticated(TAB, lease()), Authenticated(PHONE, lease()))
    save(store, "ada", *events, Joined(TAB, (ROOM,)), Joined(PHONE, (ROOM,)))

    seen = [seen_in(store)]
    for name in (TAB, PHONE):
        save(store, "ada", Left(name, (ROOM,)))
        seen.append(seen_in(store))

    assert seen == [[Member("ada")], [Member("ada")], []]


COMINGS_AND_GOINGS: dict[str, tuple[tuple[UserEvent, ...], int, bool]] = {
    "here": ((), NOW, True),
    "busy": ((Chosen(Choice.BUSY),), NOW, True),
    "invisible": ((Chosen(Choice.INVISIBLE),), NOW, False),
    "visible-again": ((Chosen(Choice.INVISIBLE), Chosen(Choice.ONLINE)), NOW, True),
    "visible-by-the-clock": (
        (Chosen(Choice.INVISIBLE, until=LATER), TimePassed()),
        LATER,
        True,
    ),
    "expected-back": ((Disconnected(TAB, LATER),), NOW, True),
    "expected-back-no-more": ((Disconnected(TAB, LATER), TimePassed()), LATER, False),
    "fallen-silent": ((TimePassed(),), NOW + 75_000, False),
    "left": ((Left(TAB, (ROOM,)),), NOW, False),
    "thrown-out": ((Disconnected(TAB, NOW),), NOW, False),
    "erased": ((Erased(),), NOW, False),
}


@pytest.mark.parametrize(
    ("events", "at", "is_seen"), COMINGS_AND_GOINGS.values(), ids=COMINGS_AND_GOINGS
)
def test_members_are_the_users_that_others_see_there(
    store: Store, events: tuple[UserEvent, ...], at: int, *, is_seen: bool
) -> None:
    save(store, "ada", Authenticated(TAB, lease()), Joined(TAB, (ROOM,)))

    for event in events:
        save(store, "ada", event, now=at if event == TimePassed() else NOW)

    assert seen_in(store) == ([Member("ada")] if is_seen else [])


def test_a_member_is_hidden_from_blocked_viewers(store: Store) -> None:
    save(store, "ada", Authenticated(TAB, lease()), Blocked("eve"), Joined(TAB, (ROOM,)))
    hidden = [seen_in(store)]

    for event in (Blocked("bob"), Unblocked(frozenset({"eve"})), Unblocked(frozenset({"bob"}))):
        save(store, "ada", event)
        hidden.append(seen_in(store))

    assert hidden == [
        [Member("ada", Audience(frozenset({"eve"})))],
        [Member("ada", Audience(frozenset({"eve", "bob"})))],
        [Member("ada", Audience(frozenset({"bob"})))],
        [Member("ada")],
    ]


def test_a_member_may_be_seen_by_a_few_only_and_counts_for_them(store: Store) -> None:
    """The viewer from which the user hides goes on seeing where the user was."""
    save(store, "ada", Authenticated(TAB, lease()), Joined(TAB, (ROOM,)))
    before = replace(store.users.read("ada", consistent=True), rules=Rules(grace=1_000))
    hidden, _ = reduce(before, Blocked("eve"), NOW)
    after, _ = reduce(hidden, Left(TAB, (ROOM,)), NOW)

    store.users.save(before, after, NOW, announce=True)

    assert seen_in(store) == [Member("ada", Audience(only_for=frozenset({"eve"})))]
    assert store.members.count(ROOM) == 0


def test_one_viewer_finds_the_members_that_this_viewer_sees(store: Store) -> None:
    arrival = Authenticated(TAB, lease()), Joined(TAB, (ROOM,))
    deeds: dict[str, tuple[UserEvent, ...]] = {
        "ada": (Blocked("eve"),),
        "bob": (Blocked("eve"), Unblocked(frozenset({"eve"}))),
        "cyd": (Blocked("kim"),),
        "dan": (Chosen(Choice.INVISIBLE),),
        "fay": (),
    }
    for name, events in deeds.items():
        save(store, name, *arrival, *events)
    for name, event in (("gus", Blocked("eve")), ("hal", Chosen(Choice.INVISIBLE))):
        save(store, name, *arrival)
        before = replace(store.users.read(name, consistent=True), rules=Rules(grace=1_000))
        after = reduce(reduce(before, event, NOW)[0], Left(TAB, (ROOM,)), NOW)[0]
        store.users.save(before, after, NOW, announce=True)

    members = list(store.members.of(ROOM))
    for viewer_id in ("eve", "kim", "ada", "dan", "stranger", None):
        viewer = Viewer(viewer_id)
        seen = [it.user_id for it in members if it.audience.has(viewer_id)]
        assert [it.user_id for it in store.members.of(ROOM, viewer=viewer)] == seen
        assert [it.user_id for it in store.members.part(ROOM, viewer).members] == seen
        behind = [it for it in seen if it > "bob"]
        assert [it.user_id for it in store.members.of(ROOM, "bob", viewer)] == behind


@pytest.mark.fault("Each member of a chat session has blocked a user once.")
def test_one_viewer_reads_only_the_items_of_those_who_blocked_the_viewer(
    dynamodb: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        name = f"user-{number:02}"
        save(dynamodb, name, Authenticated(TAB, lease()), Joined(TAB, (ROOM,)), Blocked("kim"))
    save(dynamodb, "user-07", Blocked("eve"))
    read = list[str]()

    def counted(user_ids: Collection[str], *, consistent: bool) -> Mapping[str, User]:
        read.extend(user_ids)
        return users_of(user_ids, consistent=consistent)

    monkeypatch.setattr("presence.adapters.dynamodb.members.users_of", counted)
    found = dynamodb.members.part(ROOM, Viewer("eve")).members

    assert read == ["user-07"]
    assert len(found) == 29


@pytest.mark.fault("A thousand users have blocked one viewer, who opens a chat session.")
def test_a_viewer_blocked_by_many_reads_no_more_than_the_page(
    dynamodb: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        save(dynamodb, f"user-{number}", Authenticated(TAB, lease()), Joined(TAB, (ROOM,)))
    save(dynamodb, "user-0", Blocked("kim"))
    for name in ("user-1", *(f"stranger-{number}" for number in range(9))):
        save(dynamodb, name, Blocked("eve"))
    monkeypatch.setattr("presence.limits.FIRST_BLOCKERS", 4)
    read = list[int]()

    def answered(parsed: Mapping[str, Any], **_: object) -> None:
        read.append(len([it for it in parsed["Items"] if it["topic"]["S"] == "blocked:eve"]))

    with listening("after-call.dynamodb.Query", answered):
        found = dynamodb.members.part(ROOM, Viewer("eve")).members

    assert [it.user_id for it in found] == ["user-0", "user-2"]
    assert sum(read) == 4


# ── blockers ───────────────────────────────────────────────────────────────────────────────


def test_blockers_are_listed_until_they_unblock(store: Store) -> None:
    save(store, "eve", Blocked("ada"))
    save(store, "bob", Authenticated(TAB, lease()), Blocked("ada"), Blocked("eve"))

    before = list(store.subscriptions.naming("ada")), list(store.subscriptions.naming("eve"))
    save(store, "bob", Unblocked(frozenset({"ada", "stranger"}), gone=True))

    assert (sorted(before[0]), before[1]) == (["bob", "eve"], ["bob"])
    assert list(store.subscriptions.naming("ada")) == ["eve"]
    assert list(store.subscriptions.naming("stranger")) == []


def test_the_most_viewers_who_were_unblocked_fit_into_a_transaction(store: Store) -> None:
    names = [f"{number:0>128}" for number in range(MAX_SESSIONS)]
    viewers = [f"viewer-{number}" for number in range(MAX_RETURNED + 1)]
    save(store, "ada", Authenticated(TAB, lease()))
    save_at_once(store, "ada", *(Joined(TAB, (name,)) for name in names))
    for name in viewers:
        save(store, "ada", Blocked(name), Unblocked(frozenset({name})))

    save(store, "ada", Blocked("eve"), Unblocked(frozenset({"eve"})))
    once = [list(store.subscriptions.naming(name)) for name in (viewers[0], "eve")]
    save(store, "ada", Chosen(Choice.INVISIBLE))

    assert once == [[], ["ada"]]
    assert {len(seen_in(store, name)) for name in names} == {0}


def test_a_user_with_the_most_blocks_and_sessions_is_stored(store: Store) -> None:
    """The greatest transactions: DynamoDB takes 100 operations."""
    names = [f"{number:0>128}" for number in range(MAX_SESSIONS)]
    save(store, "ada", Authenticated(TAB, lease()))
    save_at_once(store, "ada", *(Joined(TAB, (name,)) for name in names))
    save_at_once(store, "ada", *(Blocked(name) for name in names[:45]))

    seen = []
    for event in (Chosen(Choice.INVISIBLE), Chosen(Choice.ONLINE), Blocked("x"), Erased()):
        save(store, "ada", event)
        seen.append({len(seen_in(store, name)) for name in names})
    save(store, "ada", Unblocked(frozenset(names[:MAX_UNBLOCKED]), gone=True))

    assert seen == [{0}, {1}, {1}, {0}]
    assert not any(list(store.subscriptions.naming(name)) for name in names[:MAX_UNBLOCKED])
    assert list(store.subscriptions.naming(names[44])) == ["ada"]


# ── any story ──────────────────────────────────────────────────────────────────────────────


PEOPLE, PLACES, DEVICES = ("ada", "bob", "eve"), ("room.1", "room.2"), (TAB, PHONE)
numbered = count()
some_places = st.lists(st.sampled_from(PLACES), min_size=1).map(tuple)

happenings: st.SearchStrategy[UserEvent] = st.one_of(
    st.builds(Authenticated, st.sampled_from(DEVICES), st.just(lease())),
    st.builds(Joined, st.sampled_from(DEVICES), some_places),
    st.builds(Left, st.sampled_from(DEVICES), some_places),
    st.builds(Disconnected, st.sampled_from(DEVICES), st.sampled_from([NOW, LATER])),
    st.builds(
        Chosen,
        st.sampled_from(Choice),
        st.sampled_from([None, "a text"]),
        st.sampled_from([None, NOW + 1, NOW + 2]),
        st.sampled_from([None, NOW - 1]),
        st.sampled_from([None, *Disclosure]),
    ),
    st.builds(Blocked, st.sampled_from(PEOPLE)),
    st.builds(Unblocked, st.frozensets(st.sampled_from(PEOPLE))),
    st.builds(TimePassed),
    st.builds(Erased),
)


@given(st.lists(st.tuples(st.sampled_from(PEOPLE), happenings), max_size=25))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_in_any_story_fakes_and_dynamodb_agree(
    dynamodb: Store, story: list[tuple[str, UserEvent]]
) -> None:
    fake, number = fakes(), next(numbered)

    for user_id, event in story:
        for store in (fake, dynamodb):
            stored = store.users.read(f"{number}.{user_id}", consistent=True)
            before = replace(stored, rules=Rules(grace=1_000))
            after, _ = reduce(before, _about(event, number), NOW)
            store.users.save(before, after, NOW, announce=True)

    assert _told(dynamodb, number) == _told(fake, number)


def _about(event: UserEvent, number: int) -> UserEvent:
    """The event with names that no other story uses: the tables are the same for all."""
    match event:
        case Joined() | Left():
            sessions = tuple(f"{number}.{name}" for name in event.session_ids)
            return replace(event, session_ids=sessions)
        case Blocked():
            return Blocked(f"{number}.{event.viewer_id}")
        case Unblocked():
            names = frozenset(f"{number}.{name}" for name in event.viewer_ids)
            return replace(event, viewer_ids=names)
        case _:
            return event


def _told(store: Store, number: int) -> list[object]:
    people, places = ([f"{number}.{it}" for it in names] for names in (PEOPLE, PLACES))
    return [
        [store.users.read(name, consistent=True) for name in people],
        [seen_in(store, name) for name in places],
        [sorted(store.subscriptions.naming(name)) for name in people],
    ]


# ── subscribers ────────────────────────────────────────────────────────────────────────────


def test_subscribers_are_connections_with_their_users(store: Store) -> None:
    for user_id, name in (("ada", "a1"), ("ada", "a2"), ("bob", "b1")):
        arrive(store, user_id, name)
        enter(store, user_id, ROOM, name)
    enter(store, "bob", "room.2", "b1")

    subscribers = store.heard(Topic("session", ROOM))

    assert set(subscribers) == {
        Subscriber("a1", "ada"),
        Subscriber("a2", "ada"),
        Subscriber("b1", "bob"),
    }
    assert len(subscribers) == 3
    assert set(store.heard(EVERYONE)) == set(subscribers)
    assert store.heard(Topic("session", "nowhere")) == []


def test_an_invisible_member_goes_on_hearing(store: Store) -> None:
    arrive(store, "ada", TAB)
    enter(store, "ada", ROOM)

    save(store, "ada", Chosen(Choice.INVISIBLE))

    assert seen_in(store) == []
    assert store.heard(Topic("session", ROOM)) == [Subscriber(TAB, "ada")]


# ── watching ───────────────────────────────────────────────────────────────────────────────


def test_a_watching_connection_subscribes_and_its_record_says_so(store: Store) -> None:
    tab, phone = arrive(store, "ada", TAB), arrive(store, "eve", PHONE)

    for _ in range(2):
        assert store.subscriptions.watch(tab, {"bob", "kim"})
    assert store.subscriptions.watch(phone, {"bob"})

    assert set(store.heard(Topic("user", "bob"))) == {
        Subscriber(TAB, "ada"),
        Subscriber(PHONE, "eve"),
    }
    assert watching(store, "kim", "ada") == {"kim": [TAB], "ada": []}
    assert record_of(store).is_watching


@pytest.mark.parametrize("state", ["unknown", "open", "closed", "another's"])
def test_without_an_own_record_a_connection_watches_nothing_and_leaves_no_trace(
    store: Store, state: str
) -> None:
    record = replace(RECORD, state=State.AUTHENTICATED, user_id="ada")
    if state != "unknown":
        store.connections.open(RECORD)
    if state == "closed":
        admit(store, "ada")
        store.connections.close(TAB, NOW)
    if state == "another's":
        admit(store, "bob")
    before = store.everything()

    assert not store.subscriptions.watch(record, {"bob"})

    assert store.everything() == before


def close(store: Store) -> None:
    closed = store.connections.close(TAB, NOW)
    assert closed is not None
    store.subscriptions.remove(closed)


def end(store: Store) -> None:
    store.subscriptions.unwatch_all(record_of(store))


def end_and_watch_another(store: Store) -> None:
    """What ends a list, and then another watch that knows nothing of it."""
    end(store)
    assert store.subscriptions.watch(record_of(store), {"kim"})


def limit(store: Store) -> None:
    end(store)
    assert admit(store, "ada", replace(TOKEN, allowed_sessions=frozenset({ROOM})))


@pytest.mark.fault("A connection ends, or gets a claim, while it watches.")
@pytest.mark.parametrize("meanwhile", [close, end, end_and_watch_another, limit])
@pytest.mark.parametrize("known", [set(), {"bob"}])
def test_rows_that_come_after_the_end_of_their_list_are_taken_back(
    dynamodb: Store, meanwhile: Callable[[Store], None], known: set[str]
) -> None:
    tab = arrive(dynamodb, "ada", TAB)
    if known:
        assert dynamodb.subscriptions.watch(tab, known)

    todo = [meanwhile]

    def once(**_: object) -> None:
        if todo:
            todo.pop()(dynamodb)

    with listening("before-call.dynamodb.BatchWriteItem", once):
        assert not dynamodb.subscriptions.watch(tab, {"bob", "cid"})

    assert watching(dynamodb, "bob", "cid") == {"bob": [], "cid": []}
    end(dynamodb)
    assert watching(dynamodb, "kim") == {"kim": []}


@pytest.mark.fault("A function dies while it ends a watch list, or while it writes the rows.")
@pytest.mark.parametrize("operation", ["BatchWriteItem", "UpdateItem"])
def test_a_list_whose_end_stopped_halfway_takes_no_more_and_is_removed_with_the_connection(
    dynamodb: Store, operation: str
) -> None:
    tab = arrive(dynamodb, "ada", TAB)
    assert dynamodb.subscriptions.watch(tab, {"bob"})
    calls = iter(range(10))

    def dies(**_: object) -> None:
        if operation == "BatchWriteItem" or next(calls):
            raise KeyboardInterrupt

    with listening(f"before-call.dynamodb.{operation}", dies), pytest.raises(KeyboardInterrupt):
        end(dynamodb)

    assert not dynamodb.subscriptions.watch(record_of(dynamodb), {"kim"})
    close(dynamodb)
    assert watching(dynamodb, "bob", "kim") == {"bob": [], "kim": []}


def test_a_watch_list_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WATCHED_USERS", 150)  # moto takes its time for a thousand
    tab = arrive(store, "ada", TAB)
    names = [f"user-{number}" for number in range(150)]

    assert store.subscriptions.watch(tab, names)
    # Known already, so none too many.
    assert store.subscriptions.watch(tab, names[:120])
    full = store.everything()
    for too_many in (["one-more"], ["one-more", *names[:50]]):
        with pytest.raises(Conflict):
            store.subscriptions.watch(tab, too_many)

    assert store.everything() == full
    store.subscriptions.unwatch(TAB, names[:1])
    assert store.subscriptions.watch(tab, ["one-more", *names[1:50]])
    assert watching(store, names[0], names[-1], "one-more") == {
        names[0]: [],
        names[-1]: [TAB],
        "one-more": [TAB],
    }


def test_unwatching_is_for_this_connection_and_these_users(store: Store) -> None:
    tab, phone = arrive(store, "ada", TAB), arrive(store, "ada", PHONE)
    names = [f"user-{number}" for number in range(60)]
    for record in (tab, phone):
        store.subscriptions.watch(record, names)

    for _ in range(2):
        store.subscriptions.unwatch(TAB, {*names[:55], "never-watched"})

    watched = watching(store, *names)
    assert all(watched[name] == [PHONE] for name in names[:55])
    assert all(sorted(watched[name]) == sorted([TAB, PHONE]) for name in names[55:])


@pytest.mark.parametrize("name", [TAB, "unknown"])
def test_unwatching_without_a_list_leaves_no_trace(store: Store, name: str) -> None:
    arrive(store, "ada", TAB)
    before = store.everything()

    store.subscriptions.unwatch(name, {"bob"})

    assert store.everything() == before


def test_an_emptied_watch_list_can_be_used_again(store: Store) -> None:
    tab = arrive(store, "ada", TAB)
    store.subscriptions.watch(tab, {"bob"})
    store.subscriptions.unwatch(TAB, {"bob"})

    store.subscriptions.watch(tab, {"kim"})

    assert watching(store, "bob", "kim") == {"bob": [], "kim": [TAB]}


# ── removing and forgetting ────────────────────────────────────────────────────────────────


def test_a_closed_connection_has_no_subscriptions_and_the_others_have_theirs(store: Store) -> None:
    names = [f"user-{number}" for number in range(101)]
    rooms = [f"room.{number}" for number in range(3)]
    for user_id, name in (("ada", TAB), ("eve", PHONE)):
        record = arrive(store, user_id, name)
        store.subscriptions.watch(record, names)
        for room in rooms:
            enter(store, user_id, room, name)

    closed = store.connections.close(TAB, NOW)
    assert closed is not None
    for _ in range(2):  # the second time as after a crash
        store.subscriptions.remove(closed)

    heard = [store.subscriptions.pages(EVERYONE)]
    heard += [store.subscriptions.pages(Topic("user", name)) for name in names]
    heard += [store.subscriptions.pages(Topic("session", room)) for room in rooms]
    assert all(all_of(pages) == [Subscriber(PHONE, "eve")] for pages in heard)


def test_a_connection_known_by_its_id_alone_is_removed(store: Store) -> None:
    tab = arrive(store, "ada", TAB)
    enter(store, "ada", ROOM)
    store.subscriptions.watch(tab, {"bob"})
    store.connections.close(TAB, NOW)

    trace = Connection(TAB, RECORD.endpoint, NOW, sessions=frozenset({ROOM}), is_watching=True)
    store.subscriptions.remove(trace)

    assert watching(store, "bob") == {"bob": []}
    assert store.heard(Topic("session", ROOM)) == []
    assert store.heard(EVERYONE) == []


def test_removing_a_connection_without_subscriptions_is_fine(store: Store) -> None:
    store.subscriptions.remove(replace(RECORD, is_watching=True, sessions=frozenset({ROOM})))

    assert store.heard(EVERYONE) == []


def test_what_is_removed_leaves_no_item_behind(dynamodb: Store) -> None:
    before = dynamodb.everything()
    tab = arrive(dynamodb, "ada", TAB)
    enter(dynamodb, "ada", ROOM)
    dynamodb.subscriptions.watch(tab, {"bob", "eve"})
    exit_(dynamodb, "ada", ROOM)

    closed = dynamodb.connections.close(TAB, NOW)
    assert closed is not None
    dynamodb.subscriptions.remove(closed)

    assert items("Subscriptions") == before["Subscriptions"] == {}
    assert items("Connections").keys() == {(TAB,)}
