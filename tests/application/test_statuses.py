import itertools
from collections.abc import Collection, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence.application.lists import Known, OnlinePage, paginate
from presence.domain.errors import InvalidMessage
from presence.domain.user import Choice, Presence, Status, User
from presence.ports import Count
from tests.world import GRACE, LEASE, World


def online(world: World, limit: int = 50, cursor: str | None = None) -> list[str]:
    page = world.online_list.page(limit, cursor, None, world.now)
    return [user.user_id for user in page.users]


def test_an_unknown_user_is_offline(world: World) -> None:
    presence = world.read("unknown")

    assert (presence.status, presence.last_seen, presence.version) == (Status.OFFLINE, None, 0)


def test_reads_are_exact_without_a_sweep(world: World) -> None:
    world.join("ada", "a1")
    world.wait(LEASE)

    assert world.read("ada").status is Status.OFFLINE
    assert online(world) == []
    assert world.online_list.count(None, world.now) == Count(0, world.now)


@pytest.mark.fault("A reader finds by the clock that a status is over, then a late ping comes.")
def test_what_the_clock_decided_is_stored_before_it_is_told(world: World) -> None:
    world.join("ada", "a1")
    world.wait(LEASE)

    presence = world.read("ada")

    assert world.user("ada").presence == presence


def test_a_reader_who_ends_a_lease_has_its_connection_looked_after(world: World) -> None:
    world.join("ada", "a1")
    world.wait(LEASE)

    world.read("ada")

    assert world.timers.expired == [("a1", "ada", frozenset(), 0)]


def test_reading_an_unchanged_user_writes_nothing(world: World) -> None:
    world.join("ada", "a1")
    revision = world.user("ada").revision

    world.read("ada")

    assert world.user("ada").revision == revision


def test_many_are_answered_in_the_order_asked(world: World) -> None:
    world.join("ada", "a1")

    users = world.statuses.read_many(["zoe", "ada", "zoe"], None, world.now)

    assert [user.user_id for user in users] == ["zoe", "ada", "zoe"]


def test_a_status_is_chosen_without_a_connection(world: World) -> None:
    user = world.choose("ada", Choice.DND, "later")

    assert user.status is Status.OFFLINE
    assert world.join("ada", "a1").user.presence.status is Status.DND


def test_pages_hold_every_user_once_and_end(world: World) -> None:
    names = [f"user-{number:02}" for number in range(23)]
    for name in names:
        world.join(name, f"c-{name}")

    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor is not None:
        page = world.online_list.page(5, cursor, None, world.now)
        seen += [user.user_id for user in page.users]
        cursor, pages = page.cursor, pages + 1

    assert sorted(seen) == names
    assert pages == 5


@pytest.mark.fault("The index lags behind the table.")
def test_an_index_that_lags_behind_proposes_and_the_items_decide(world: World) -> None:
    for name in ("ada", "bob"):
        world.join(name, f"c-{name}")
    before = list(world.online_index.after(None))
    world.leave("c-bob")
    world.wait(GRACE)
    world.fire_timers()
    world.online_index.after = lambda *_: iter([*before, "unknown"])  # type: ignore[method-assign]

    assert online(world) == ["ada"]
    assert world.online_list.count(None, world.now) == Count(1, world.now)
    world.run_sweep()
    assert world.online_index.count() == Count(1, world.now)


@given(hidden=st.sets(st.integers(0, 11)), limit=st.integers(1, 12))
def test_an_invisible_user_leaves_no_gap_in_any_page(hidden: set[int], limit: int) -> None:
    world, without = World(), World()
    for number in range(12):
        world.join(f"user-{number:02}", f"c{number}")
        if number in hidden:
            world.choose(f"user-{number:02}", Choice.INVISIBLE)
        else:
            without.join(f"user-{number:02}", f"c{number}")
    world.wait(GRACE)

    page = world.online_list.page(limit, None, None, world.now)
    same = without.online_list.page(limit, None, None, without.now)

    assert [it.user_id for it in page.users] == [it.user_id for it in same.users]
    assert page.cursor == same.cursor


@given(
    here=st.sets(st.integers(0, 11)),
    known=st.sets(st.integers(0, 11)),
    hidden=st.sets(st.integers(0, 11)),
    begin=st.none() | st.integers(0, 11),
    end=st.none() | st.integers(0, 11),
    limit=st.integers(1, 12),
)
def test_what_is_known_is_left_out_and_says_nothing_of_users_who_hide(  # noqa: PLR0917
    here: set[int],
    known: set[int],
    hidden: set[int],
    begin: int | None,
    end: int | None,
    limit: int,
) -> None:
    """A reader may name users who look offline: whether they are there must not be told."""
    world, without = World(), World()
    for number in sorted(here):
        world.join(f"user-{number:02}", f"c{number}")
        if number in hidden:
            world.choose(f"user-{number:02}", Choice.INVISIBLE)
        else:
            without.join(f"user-{number:02}", f"c{number}")
    world.wait(GRACE)

    page, same = (_page(it, known, begin, end, limit) for it in (world, without))

    low, high = -1 if begin is None else begin, 12 if end is None else end
    expected = [it for it in sorted(here - hidden - known) if low < it <= high]
    assert [it.user_id for it in page.users] == [f"user-{it:02}" for it in expected[:limit]]
    assert (page.cursor is not None) == (len(expected) > limit)
    told, expected_of_all = ([it.user_id for it in one.users] for one in (page, same))
    assert (told, page.cursor) == (expected_of_all, same.cursor)


def _page(of: World, known: set[int], begin: int | None, end: int | None, limit: int) -> OnlinePage:
    cursor, up_to = (
        None if it is None else of.online_index.position_of(f"user-{it:02}") for it in (begin, end)
    )
    held = Known(frozenset(f"user-{it:02}" for it in known), up_to)
    return of.online_list.page(limit, cursor, None, of.now, known=held)


def test_beside_what_is_known_only_a_count_of_many_is_told(world: World) -> None:
    """A small count that is the same for all viewers would reveal a block."""
    world.join("ada", "a1")
    held = Known(frozenset({"ada"}))

    few = world.online_list.page(10, None, None, world.now, known=held)
    world.online_index.counted(Count(101, world.now))
    many = world.online_list.page(10, None, None, world.now, known=held)

    assert (few.users, few.cursor, few.online_count) == ([], None, None)
    assert (many.users, many.online_count) == ([], 101)


def test_users_who_are_known_are_not_read(world: World) -> None:
    names = [f"user-{number:02}" for number in range(30)]
    for name in names:
        world.join(name, f"c-{name}")
    read = list[str]()
    real = world.users.read_many

    def noted(user_ids: Collection[str], *, consistent: bool = False) -> Mapping[str, User]:
        read.extend(user_ids)
        return real(user_ids, consistent=consistent)

    world.users.read_many = noted  # type: ignore[method-assign]
    page = world.online_list.page(100, None, None, world.now, known=Known(frozenset(names[1:])))

    assert [it.user_id for it in page.users] == names[:1]
    assert read == names[:1]


def page_of(
    world: World, what: str, limit: int, cursor: str | None
) -> tuple[list[str], str | None]:
    """A page of the users online, or of the members of `lobby`: their ids, and the cursor."""
    if what == "online":
        online_page = world.online_list.page(limit, cursor, None, world.now)
        return [it.user_id for it in online_page.users], online_page.cursor
    member_page = world.member_list.page("lobby", None, limit, cursor, world.now)
    return [it.user_id for it in member_page.members], member_page.cursor


@pytest.mark.parametrize("what", ["online", "members"])
@given(limit=st.integers(1, 4), moves=st.lists(st.sets(st.sampled_from(range(12)), max_size=4)))
def test_pages_name_those_who_stay_once_whoever_comes_and_goes_between_them(
    what: str, limit: int, moves: list[set[int]]
) -> None:
    world, connections = World(), itertools.count()
    names = [f"user-{number:02}" for number in range(12)]

    def move(name: str) -> None:
        if world.user(name).is_here:
            world.removal.kick(name, world.now)
        else:
            connection_id = f"c{next(connections)}"
            world.join(name, connection_id)
            world.enter(connection_id, "lobby")

    here = names[::2]
    for name in here:
        move(name)
    seen, cursor = page_of(world, what, limit, None)
    moved = set[str]()
    todo = iter(moves)
    while cursor is not None:
        movers = {names[number] for number in next(todo, ())}
        for name in sorted(movers):
            move(name)
        moved |= movers
        users, cursor = page_of(world, what, limit, cursor)
        seen += users

    assert len(seen) == len(set(seen))
    assert {*here} - moved <= {*seen} <= {*here} | moved


def test_the_count_is_exact_while_one_page_holds_all_users(world: World) -> None:
    for name in ("ada", "bob", "eve"):
        world.join(name, f"c-{name}")
    world.hide("eve")
    world.leave("c-bob")
    world.wait(GRACE)

    assert world.online_list.count(None, world.now) == Count(1, world.now)


def test_the_count_of_many_is_as_of_the_last_time_they_were_counted(world: World) -> None:
    world.online_index.counted(Count(70_000, world.now - 5_000))

    assert world.online_list.count(None, world.now) == Count(70_000, world.now - 5_000)


def test_a_cursor_that_no_page_gave_is_refused(world: World) -> None:
    with pytest.raises(InvalidMessage):
        world.online_list.page(10, "made-up", None, world.now)


NAMES = [f"user-{number:02}" for number in range(20)]


@given(
    offline=st.sets(st.sampled_from(NAMES)),
    limit=st.integers(1, 25),
    most=st.integers(1, 25),
)
def test_pages_hold_each_user_online_once_whatever_fits(
    offline: set[str], limit: int, most: int
) -> None:
    def read(user_ids: Sequence[str]) -> Sequence[Presence]:
        return [
            Presence(it, Status.OFFLINE if it in offline else Status.ONLINE, None, 1)
            for it in user_ids
        ]

    seen, after = list[str](), ""
    while True:
        ahead = (it for it in NAMES if it > after)
        page = paginate(ahead, limit, read, lambda users: min(len(users), most))
        assert len(page.users) <= min(limit, most)
        seen += [user.user_id for user in page.users]
        if page.last_id is None:
            break
        assert page.users, "a page before the last is not empty"
        after = page.last_id

    assert seen == [it for it in NAMES if it not in offline]
