"""Diffs and the plan, as pure functions: from records and recipients to (recipients, payload)."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence import limits
from presence.domain.disclosure import Rules
from presence.domain.events import (
    Authenticated,
    Blocked,
    Chosen,
    Disconnected,
    Erased,
    Evicted,
    Joined,
    Left,
    Unblocked,
    UserEvent,
)
from presence.domain.reducer import reduce
from presence.domain.user import Audience, Choice, Lease, Presence, Status, User
from presence.fanout.broadcast import posts_of
from presence.fanout.diffs import MembershipDiff, Record, UserDiff, by_session, user_diffs
from presence.fanout.payloads import FramesPayload, PresencePayload
from presence.fanout.planner import Send, ToFew, ToMany, changes_by_topic, plan
from presence.fanout.recipients import (
    Few,
    Recipients,
    Sampled,
    TooMany,
    read_recipients,
    rebalance,
    shards_needed,
)
from presence.ports import EVERYONE, Member, Subscriber, Topic
from presence.protocol.frames import presence
from tests.world import World

NOW = 1_800_000_000_000
ROOM = "room.1"
SESSION = Topic("session", ROOM)
BOB, EVE = Subscriber("b1", "bob"), Subscriber("e1", "eve")


def records(user_id: str, *events: UserEvent, grace: int = 0) -> list[Record]:
    """One record for each event, a millisecond apart; the revision grows with each write."""
    made, user = list[Record](), User(user_id, rules=Rules(grace))
    for number, event in enumerate(events, 1):
        after, _ = reduce(user, event, NOW + number)
        before, user = user, replace(after, revision=number)
        made.append(Record(before, user, at=NOW + number))
    return made


def connected(user_id: str, device: str = "1") -> Authenticated:
    return Authenticated(f"{user_id}-{device}", Lease(NOW + 75_000, NOW))


def enters(user_id: str, session_id: str = ROOM) -> Joined:
    return Joined(f"{user_id}-1", (session_id,))


def exits(user_id: str) -> Left:
    return Left(f"{user_id}-1", (ROOM,))


def diff(some: Sequence[Record], stored: User | None = None) -> UserDiff:
    return UserDiff.of(some, some[-1].after if stored is None else stored)


def online(user_id: str) -> UserDiff:
    return diff(records(user_id, connected(user_id)))


# ── user diffs ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.fault("The stream is minutes behind.")
def test_several_changes_of_one_user_are_sent_as_the_newest() -> None:
    (first, *rest) = records("ada", connected("ada"), Chosen(Choice.BUSY), Chosen(Choice.DND))

    (found,) = user_diffs([*rest, first], {"ada": rest[-1].after})

    assert found.presence.usual == rest[-1].after.presence
    assert found.user is rest[-1].after


def test_a_change_and_its_opposite_are_sent_as_what_is_stored() -> None:
    _, *some = records("ada", connected("ada"), Chosen(Choice.BUSY), Chosen(Choice.ONLINE))

    usual = diff(some).presence.usual

    assert usual is not None
    assert (usual.status, usual.version) == (Status.ONLINE, some[-1].after.version)


def test_a_late_record_is_sent_with_the_content_of_now() -> None:
    late, *_, newest = records("ada", connected("ada"), Chosen(Choice.BUSY), Blocked("eve"))

    found = diff([late], newest.after).presence

    assert found.usual == newest.after.presence
    assert found.seen_by("eve") == newest.after.seen_by("eve")
    assert found.seen_by("ada") == newest.after.own_presence


@pytest.mark.parametrize("blocked", [(), ("eve",)])
def test_a_late_record_of_an_erased_user_is_sent_as_offline(blocked: tuple[str, ...]) -> None:
    *_, late = records("ada", *map(Blocked, blocked), connected("ada"))

    found = diff([late], User("ada"))

    assert found.presence.usual == Presence("ada", Status.OFFLINE, None, late.after.version)
    assert {name: found.presence.seen_by(name) for name in blocked} == dict.fromkeys(blocked)


def test_of_a_user_who_was_erased_and_is_back_the_new_state_is_newer() -> None:
    some = records("ada", connected("ada"), Chosen(Choice.AWAY), Chosen(Choice.BUSY), Erased())
    back, _ = reduce(some[-1].after, connected("ada", "2"), NOW + 1_000)

    found = diff(some, replace(back, revision=1))

    assert found.presence.usual == back.presence


def test_each_public_change_is_listed_with_its_version_and_no_other() -> None:
    events = (connected("ada"), Blocked("eve"), enters("ada"), Chosen(Choice.INVISIBLE))
    some = records("ada", *events, Chosen(Choice.INVISIBLE, "to myself"), Chosen(Choice.BUSY))

    changes = list(diff(some).public_changes())

    assert [it.status for it in changes] == [Status.ONLINE, Status.OFFLINE, Status.BUSY]
    assert sorted({it.version for it in changes}) == [it.version for it in changes]


# ── presence changes ───────────────────────────────────────────────────────────────────────


def planned(
    diffs: Sequence[UserDiff],
    found: dict[Topic, Recipients],
    memberships: Sequence[MembershipDiff] = (),
) -> Sequence[Send]:
    by_topic = changes_by_topic(diffs, is_global=EVERYONE in found)
    missing: Recipients = Few([])
    return plan(diffs, by_topic, memberships, {**dict.fromkeys(by_topic, missing), **found})


def test_the_topics_of_a_user_are_watchers_and_sessions_or_everyone() -> None:
    inside = diff(records("ada", connected("ada"), enters("ada")))
    silent = diff(records("bob", connected("bob"), Blocked("kim"))[1:])

    assert [*changes_by_topic([inside, silent], is_global=False)] == [
        Topic("user", "ada"),
        SESSION,
        Topic("user", "bob"),
    ]
    assert {*changes_by_topic([inside, silent], is_global=True)} == {EVERYONE}
    assert not changes_by_topic([diff(records("ada", Chosen(Choice.AWAY)))], is_global=True)


def test_a_session_that_a_user_has_left_hears_only_that_the_user_is_gone() -> None:
    left = diff(records("ada", connected("ada"), enters("ada"), exits("ada")))
    gone = diff(records("ada", connected("ada"), enters("ada"), Evicted(frozenset({"ada-1"}))))

    assert [*changes_by_topic([left], is_global=False)] == [Topic("user", "ada")]
    assert [*changes_by_topic([gone], is_global=False)] == [Topic("user", "ada"), SESSION]


def test_recipients_of_the_same_changes_are_one_send() -> None:
    ada, kim = online("ada"), online("kim")
    found: dict[Topic, Recipients] = {Topic("user", "ada"): Few([BOB, EVE])}
    found[Topic("user", "kim")] = Few([BOB])

    sends = planned([ada, kim], found)

    assert sends == [
        ToFew([Subscriber("ada-1", "ada"), EVE], PresencePayload([ada.presence])),
        ToFew([Subscriber("kim-1", "kim")], PresencePayload([kim.presence])),
        ToFew([BOB], PresencePayload([ada.presence, kim.presence])),
    ]


def test_a_device_that_subscribes_to_everyone_is_one_recipient() -> None:
    ada = online("ada")

    sends = planned([ada], {EVERYONE: Few([BOB, Subscriber("ada-1", "ada")])})

    assert sends == [ToFew([Subscriber("ada-1", "ada"), BOB], PresencePayload([ada.presence]))]


def test_too_many_are_sent_by_jobs_without_the_devices_that_are_sent_at_once() -> None:
    ada = online("ada")

    jobs, own = planned([ada], {EVERYONE: TooMany(16)})

    assert isinstance(jobs, ToMany)
    assert isinstance(jobs.payload, PresencePayload)
    assert (jobs.topic, jobs.shards) == (EVERYONE, 16)
    assert [it.seen_by("ada") for it in jobs.payload.views] == [None]
    assert [it.seen_by("bob") for it in jobs.payload.views] == [ada.user.presence]
    assert own == ToFew([Subscriber("ada-1", "ada")], PresencePayload([ada.presence]))


@pytest.mark.parametrize("topic", [EVERYONE, Topic("user", "ada")])
def test_news_for_own_devices_alone_makes_no_job(topic: Topic) -> None:
    events = (Chosen(Choice.INVISIBLE), Chosen(Choice.INVISIBLE, "to myself"))
    ada = diff(records("ada", connected("ada"), *events)[2:])

    assert planned([ada], {topic: TooMany(8)}) == [
        ToFew([Subscriber("ada-1", "ada")], PresencePayload([ada.presence]))
    ]


def test_members_of_a_large_room_are_sent_no_presence_change() -> None:
    ada = diff(records("ada", connected("ada"), enters("ada"), Chosen(Choice.BUSY)))

    (own,) = planned([ada], {SESSION: Sampled(4)})

    assert own == ToFew([Subscriber("ada-1", "ada")], PresencePayload([ada.presence]))


USERS = ["ada", "bob", "eve", "kim"]
RECIPIENTS: st.SearchStrategy[Recipients] = st.one_of(
    st.builds(Few, st.lists(st.sampled_from([Subscriber(f"{it}-2", it) for it in USERS]))),
    st.builds(TooMany, st.integers(1, 3)),
    st.builds(Sampled, st.integers(1, 3)),
)


@given(st.data())
def test_each_connection_is_sent_each_change_of_its_topics_once(data: st.DataObject) -> None:
    diffs = [
        diff(records(it, connected(it), enters(it, data.draw(st.sampled_from(["a", "b"])))))
        for it in data.draw(st.permutations(USERS))
    ]
    by_topic = changes_by_topic(diffs, is_global=data.draw(st.booleans()))
    found = {topic: data.draw(RECIPIENTS) for topic in by_topic}

    sends = plan(diffs, by_topic, (), found)

    sent = Counter(
        (it, view.user_id)
        for send in sends
        if isinstance(send, ToFew) and isinstance(send.payload, PresencePayload)
        for it in send.subscribers
        for view in send.payload.views
    )
    few = [(it.subscribers, by_topic[topic]) for topic, it in found.items() if isinstance(it, Few)]
    own = [(it.devices, [it]) for it in diffs]
    expected = {(s, it.user.user_id) for who, some in [*few, *own] for s in who for it in some}
    assert sent == dict.fromkeys(expected, 1)
    assert {it.topic for it in sends if isinstance(it, ToMany)} == {
        topic for topic, it in found.items() if isinstance(it, TooMany)
    }


# ── membership changes ─────────────────────────────────────────────────────────────────────


def members(*names: str) -> Sequence[Member]:
    return [Member(name) for name in names]


def moves() -> MembershipDiff:
    """Ada has joined, who hides from Eve; Kim has left."""
    ada = diff(records("ada", Blocked("eve"), connected("ada"), enters("ada"))[2:])
    kim = diff(records("kim", connected("kim"), enters("kim"), exits("kim"))[2:])
    hider = Member("ada", Audience(frozenset({"eve"})))
    return MembershipDiff(ROOM, [ada, kim], [hider, *members("bob", "eve")], NOW)


def told(membership: MembershipDiff, viewer_id: str | None) -> tuple[list[str], list[str], int]:
    """Who joined, who left and how many there are, as the frames for a viewer say it."""
    frames = [json.loads(it) for it in membership.frames(membership.content_for(viewer_id))]
    joined = [it["userId"] for frame in frames for it in frame["joined"]]
    left = [it for frame in frames for it in frame["left"]]
    return joined, left, frames[0]["memberCount"] if frames else 0


def joined_in(membership: MembershipDiff, viewer_id: str | None) -> list[object]:
    frames = [json.loads(it) for it in membership.frames(membership.content_for(viewer_id))]
    return [it for frame in frames for it in frame["joined"]]


def test_joins_and_leaves_are_for_each_viewer_what_that_viewer_sees() -> None:
    assert {it: told(moves(), it) for it in (None, "bob", "eve", "ada")} == {
        None: (["ada"], ["kim"], 3),
        "bob": (["ada"], ["kim"], 3),
        "eve": ([], ["kim"], 2),
        "ada": ([], ["kim"], 3),
    }


CHANGES: st.SearchStrategy[UserEvent] = st.one_of(
    st.builds(Chosen, st.sampled_from([Choice.ONLINE, Choice.INVISIBLE, Choice.BUSY])),
    st.builds(Blocked, st.sampled_from(["ada", "bob", "eve", "kim"])),
    st.builds(Unblocked, st.frozensets(st.sampled_from(["ada", "bob", "eve", "kim"]))),
)


def stories(user_id: str) -> st.SearchStrategy[list[Record]]:
    """Records of a user, perhaps not the first ones, who joins and may leave."""
    device = f"{user_id}-1"
    joins: st.SearchStrategy[UserEvent] = st.sampled_from(
        [Joined(device, (ROOM,)), Left(device, (ROOM,))]
    )
    others = CHANGES.filter(lambda it: not isinstance(it, Blocked) or it.viewer_id != user_id)
    made = st.lists(joins | others, min_size=1, max_size=6).map(
        lambda some: records(user_id, connected(user_id), Joined(device, (ROOM,)), *some, grace=2)
    )
    return st.tuples(made, st.integers(0, 2)).map(lambda it: it[0][it[1] :])


@given(st.tuples(*map(stories, ("ada", "bob", "kim"))), st.integers(0, 3))
def test_what_is_derived_by_difference_is_what_each_viewer_sees(
    told_of: Sequence[list[Record]], older: int
) -> None:
    diffs = [diff(it[: len(it) - older] or it[:1], it[-1].after) for it in told_of]
    users = [it.user for it in diffs]
    hosts = [Member(it.user_id, it.audiences[ROOM]) for it in users if ROOM in it.audiences]
    membership = MembershipDiff(ROOM, diffs, hosts, NOW)
    payload = PresencePayload([it.presence for it in diffs])

    for viewer_id in (None, "ada", "bob", "eve", "kim", "zoe"):
        seen = [it for it in diffs if it.user.user_id != viewer_id and moved(it, viewer_id)]
        joined = [it.user for it in seen if ROOM in it.user.sessions_seen_by(viewer_id)]
        left = [it.user.user_id for it in seen if it.user not in joined]
        count = sum(it.audience.has(viewer_id) for it in hosts) if seen else 0
        assert told(membership, viewer_id) == ([it.user_id for it in joined], left, count)
        assert joined_in(membership, viewer_id) == [
            presence(it.seen_by(viewer_id)) for it in joined
        ]
        news = [it.user.seen_by(viewer_id) for it in diffs if is_news(it, viewer_id)]
        assert changes_in(payload.frames(payload.content_for(viewer_id))) == [
            presence(it) for it in news
        ]


def moved(it: UserDiff, viewer_id: str | None) -> bool:
    seen = [tuple(user.sessions_seen_by(viewer_id) for user in images(one)) for one in it.records]
    return any(before ^ after for before, after in seen)


def is_news(it: UserDiff, viewer_id: str | None) -> bool:
    seen = [tuple(user.seen_by(viewer_id) for user in images(one)) for one in it.records]
    return any(after.differs_for_others(before) for before, after in seen)


def images(record: Record) -> tuple[User, User]:
    return record.before, record.after


def changes_in(texts: Sequence[str]) -> list[object]:
    return [it for text in texts for it in json.loads(text)["changes"]]


def calls_to_announce(movers: int) -> int:
    """How many calls of functions it takes to tell movers of 20 chat sessions about each other."""
    names = [f"user-{number}" for number in range(movers)]
    sessions = [Joined("-1", (f"room-{number}",)) for number in range(20)]
    told_of = [
        records(it, connected(it), *(replace(on, connection_id=f"{it}-1") for on in sessions))
        for it in names
    ]
    subscribers = [Subscriber(f"{it}-1", it) for it in names]
    calls = Counter[str]()
    sys.setprofile(lambda _frame, event, _: calls.update([event]))
    try:
        diffs = [diff(it) for it in told_of]
        by_topic = changes_by_topic(diffs, is_global=False)
        hosts = members(*names)
        moves = [MembershipDiff(it, some, hosts, NOW) for it, some in by_session(diffs).items()]
        for send in plan(diffs, by_topic, moves, dict.fromkeys(by_topic, Few(subscribers))):
            assert isinstance(send, ToFew)
            posts_of(send.payload, send.subscribers)
    finally:
        sys.setprofile(None)
    return calls["call"]


@pytest.mark.fault("Members of many chat sessions all move at once, again and again.")
def test_the_work_of_telling_movers_about_each_other_grows_with_their_number() -> None:
    few, many = calls_to_announce(10), calls_to_announce(40)

    assert many < 4.5 * few


def test_a_viewer_who_sees_no_move_is_sent_no_frame() -> None:
    ada = diff(records("ada", Blocked("eve"), connected("ada"), enters("ada")))
    joined = MembershipDiff(ROOM, [ada], [Member("ada", Audience(frozenset({"eve"})))], NOW)

    assert [len(joined.frames(joined.content_for(it))) for it in ("bob", "eve", "ada")] == [1, 0, 0]


def test_only_sessions_that_a_viewer_saw_change_are_listed() -> None:
    ada = diff(records("ada", connected("ada"), enters("ada"), Disconnected("ada-1", NOW)))
    hidden = diff(records("bob", Chosen(Choice.INVISIBLE), connected("bob"), enters("bob")))
    unblocked = records("eve", connected("eve"), enters("eve", "room.2"), Blocked("kim"))
    back = diff([*unblocked[2:], *records("eve", Unblocked(frozenset({"kim"})))])

    assert {
        name: [it.user.user_id for it in some] for name, some in by_session([ada, hidden]).items()
    } == {ROOM: ["ada"]}
    assert [*by_session([back])] == ["room.2"]


def test_few_members_are_sent_moves_at_once_and_many_by_jobs() -> None:
    moved = moves()

    at_once = planned([], {SESSION: Few([BOB])}, [moved])
    by_jobs = [planned([], {SESSION: it(4)}, [moved]) for it in (TooMany, Sampled)]

    assert at_once == [ToFew([BOB], moved)]
    assert by_jobs == [[ToMany(SESSION, 4, moved.as_frames())]] * 2


def test_moves_in_the_queue_have_the_frames_of_each_special_viewer() -> None:
    moved = moves()

    queued = moved.as_frames()

    assert isinstance(queued, FramesPayload)
    assert queued.special_viewers == {"ada", "eve", "kim"}
    assert queued.said_at == moved.movers[0].at
    for it in (None, "ada", "bob", "eve"):
        assert queued.content_for(it) == tuple(moved.frames(moved.content_for(it)))


# ── the recipients of a topic, which reading leaves as they are, and the growth of topics ─────────


def subscribed(amount: int, *, page: int = 1_000) -> World:
    world = World(page=page)
    for number in range(amount):
        world.tables.sessions.setdefault(ROOM, {})[f"c{number}"] = f"user-{number}"
    return world


def read(world: World, monkeypatch: pytest.MonkeyPatch) -> Recipients:
    """With a limit of five posts, and without a single write."""
    monkeypatch.setattr(limits, "POSTS_AT_ONCE", 5)
    tables = world.tables
    before = deepcopy((tables.shards, tables.marked, tables.sessions))
    found = read_recipients(world.subscriptions, SESSION)
    assert (tables.shards, tables.marked, tables.sessions) == before
    return found


def test_a_topic_without_subscribers_has_few(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(World(), monkeypatch) == Few([], [0])


@pytest.mark.parametrize("page", [1, 2, 100])
def test_up_to_the_limit_all_are_read(page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(subscribed(5, page=page), monkeypatch)

    assert isinstance(found, Few)
    assert sorted(it.connection_id for it in found.subscribers) == [f"c{n}" for n in range(5)]
    assert (found.shards, found.rows) == (1, [5])


@pytest.mark.parametrize(("page", "rows"), [(1, [6]), (4, [8]), (100, [30])])
def test_beyond_the_limit_no_further_page_is_read(
    page: int, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read(subscribed(30, page=page), monkeypatch) == TooMany(1, rows)


def test_a_topic_of_many_shards_is_too_many_without_being_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = subscribed(3)
    world.subscriptions.grow(SESSION, 1, 16)

    assert read(world, monkeypatch) == TooMany(16)


def test_a_marked_room_is_sampled_however_few_are_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = subscribed(3)
    world.subscriptions.mark(ROOM, is_large=True)

    assert read(world, monkeypatch) == Sampled(1)


# ── growth ─────────────────────────────────────────────────────────────────────────────────

FULL = limits.ROWS_PER_SHARD


@pytest.mark.parametrize(
    ("shards", "rows", "needed"),
    [
        pytest.param(1, {}, 1, id="nothing-read"),
        pytest.param(1, {0: FULL}, 1, id="full"),
        pytest.param(1, {0: FULL + 1}, 2, id="one-row-more"),
        pytest.param(1, {0: 10 * FULL}, 16, id="very-full-before-it-was-read"),
        pytest.param(4, {0: 9 * FULL, 1: 9 * FULL}, 4, id="only-rows-from-before-it-grew"),
        pytest.param(4, {2: FULL + 1, 3: 3 * FULL}, 16, id="the-fullest-counts"),
        pytest.param(limits.MOST_SHARDS, {1_000: 9 * FULL}, limits.MOST_SHARDS, id="the-most"),
    ],
)
def test_a_topic_grows_with_the_new_rows(shards: int, rows: dict[int, int], needed: int) -> None:
    assert shards_needed(shards, rows) == needed


@given(st.integers(0, 10), st.dictionaries(st.integers(0, 1_023), st.integers(0, 10**7)))
def test_a_topic_never_shrinks_and_grows_by_doubling(power: int, rows: dict[int, int]) -> None:
    shards = 1 << power

    needed = shards_needed(shards, rows)

    assert shards <= needed <= limits.MOST_SHARDS
    assert needed & (needed - 1) == 0


def test_growth_is_written_once_for_all_that_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ROWS_PER_SHARD", 2)
    world = World()

    for rows in ({0: 3}, {0: 9}, {0: 1}):
        rebalance(world.subscriptions, SESSION, 1, rows)
        rebalance(world.subscriptions, EVERYONE, 8, {0: 9})

    assert world.tables.shards == {SESSION: 2}
