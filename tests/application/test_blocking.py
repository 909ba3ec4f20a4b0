"""To the blocked viewer a blocking user looks offline, in every answer and every frame."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence.domain.connection import Connection
from presence.domain.disclosure import Disclosure, Precision
from presence.domain.errors import Conflict, PresenceError, RateLimited, Unavailable
from presence.domain.events import Chosen, DataChanged, TokenRevoked
from presence.domain.user import Choice, Presence, Status, User
from presence.limits import MAX_BLOCKED, MAX_PAGE, MAX_RETURNED, MAX_SCENES
from presence.ports import Block
from presence.protocol.frames import fitting, presence
from tests.world import GRACE, SECOND, START, World


@pytest.fixture
def world() -> World:
    return World(is_global=False)


def meet(world: World, *user_ids: str) -> None:
    """All in one room, and each watching the others."""
    for user_id in user_ids:
        world.join(user_id, f"{user_id}-1")
        world.enter(f"{user_id}-1", "room")
        world.watching.watch(f"{user_id}-1", user_ids, world.now)
    world.stream()


def test_a_block_shows_the_user_offline_to_the_blocked_viewer_only(world: World) -> None:
    meet(world, "ada", "bob", "eve")

    world.block("ada", "eve")
    world.stream()

    assert world.heard_by("eve-1")[-1] == ("ada", "offline")
    assert world.frames_of("eve-1")[-1]["left"] == ["ada"]
    assert ("ada", "offline") not in world.heard_by("bob-1")
    assert world.read("ada", "eve").status is Status.OFFLINE
    assert world.read("ada", "bob").status is Status.ONLINE
    assert world.read("ada", "ada").status is Status.ONLINE


def test_what_the_blocker_does_is_nothing_to_the_blocked(world: World) -> None:
    meet(world, "ada", "bob", "eve")
    world.block("ada", "eve")
    world.stream()
    before, seen = world.read("ada", "eve"), len(world.frames_of("eve-1"))

    world.wait(5 * SECOND)
    world.choose("ada", Choice.BUSY, "at work")
    world.exit("ada-1", "room")
    world.enter("ada-1", "room")
    world.stream()

    assert world.read("ada", "eve") == before
    assert len(world.frames_of("eve-1")) == seen
    assert ("ada", "busy") in world.heard_by("bob-1")


def test_a_large_room_counts_only_members_that_the_viewer_sees(world: World) -> None:
    for number in range(60):
        world.join(f"user-{number:02}", f"c{number}")
        world.enter(f"c{number}", "room")
    world.block("user-30", "eve")

    first = world.member_list.page("room", "eve", 50, None, world.now)
    rest = world.member_list.page("room", "eve", 50, first.cursor, world.now)

    assert first.member_count == rest.member_count == 59
    assert "user-30" not in {member.user_id for member in (*first.members, *rest.members)}


def test_unblocking_is_an_arrival_with_a_version_the_other_takes(world: World) -> None:
    meet(world, "ada", "eve")
    world.block("ada", "eve")
    hidden = world.read("ada", "eve")

    world.blocking.unblock("ada", "eve", world.now)
    world.stream()

    assert world.heard_by("eve-1")[-1] == ("ada", "online")
    assert world.read("ada", "eve").version > hidden.version


def test_blocking_while_offline_changes_no_visible_presence(world: World) -> None:
    world.join("ada", "a1")
    world.leave("a1")
    world.wait(GRACE)
    before = world.read("ada", "eve")

    world.block("ada", "eve")
    assert world.read("ada", "eve") == before
    world.blocking.unblock("ada", "eve", world.now)

    assert world.read("ada", "eve") == before


def test_blocking_may_be_repeated_and_is_listed(world: World) -> None:
    for viewer_id in ("zoe", "eve", "eve"):
        world.block("ada", viewer_id)

    assert world.blocking.blocked("ada") == ["eve", "zoe"]
    world.blocking.unblock("ada", "eve", world.now)
    world.blocking.unblock("ada", "eve", world.now)
    assert world.blocking.blocked("ada") == ["zoe"]


def test_blocks_of_oneself_and_beyond_the_limit_are_refused(world: World) -> None:
    with pytest.raises(Conflict):
        world.block("ada", "ada")
    for number in range(MAX_BLOCKED):
        world.block("ada", f"eve-{number}")

    with pytest.raises(Conflict):
        world.block("ada", "one-more")


def test_own_devices_see_the_truth(world: World) -> None:
    world.join("ada", "a1")
    world.join("ada", "a2")
    world.stream()
    public = world.read("ada").version

    world.wait(SECOND)
    world.hide("ada")
    world.wait(SECOND)
    world.hide("ada", "working")
    world.stream()

    own = world.frames_of("a2")[-1]["changes"][0]
    assert (own["status"], own["isOnline"], own["text"]) == ("invisible", True, "working")
    assert own["version"] > world.read("ada").version > public
    assert world.read("ada").text is None


# ── erasure ────────────────────────────────────────────────────────────────────────────────


def test_kicking_ends_every_connection_at_once(world: World) -> None:
    meet(world, "ada", "bob")
    world.join("ada", "ada-2")
    world.stream()

    world.removal.kick("ada", world.now)
    world.stream()

    assert world.heard_by("bob-1")[-1] == ("ada", "offline")
    assert sorted(world.gateway.closed) == ["ada-1", "ada-2"]
    assert world.frames_of("ada-2")[-1] == {"type": "closing", "reason": "kicked"}


class Died(Exception):
    """The function ended here."""


@pytest.mark.parametrize("is_dead", [False, True])
def test_a_timer_closes_a_kicked_connection_that_could_not_be_closed(
    world: World, *, is_dead: bool
) -> None:
    meet(world, "ada", "bob")
    close = world.gateway.close

    def fail(connection_id: str) -> None:
        raise Died(connection_id) if is_dead else Unavailable("API Gateway is too busy.")

    world.gateway.close = fail  # type: ignore[method-assign]
    with suppress(Died):
        world.removal.kick("ada", world.now)
    world.gateway.close = close  # type: ignore[method-assign]
    asked = [(what, which) for what, which, _ in world.timers.asked if what == "connection"]
    world.removal.kick("ada", world.now)
    world.stream()
    world.fire_timers()

    assert world.heard_by("bob-1")[-1] == ("ada", "offline")
    assert asked.count(("connection", "ada-1")) == 2  # one of its opening
    assert world.gateway.closed == ["ada-1", "ada-1"]


def test_the_timer_of_a_kick_comes_when_the_request_is_over(world: World) -> None:
    """Sooner, it could find the record still open."""
    world.join("ada", "a1")
    world.timers.asked.clear()

    world.removal.kick("ada", world.now)

    assert world.timers.asked == [("connection", "a1", 30)]


def test_a_kick_ends_the_grace_period(world: World) -> None:
    meet(world, "ada", "bob")
    world.enter("ada-1", "lobby")
    world.leave("ada-1")

    world.removal.kick("ada", world.now)
    world.stream()

    assert world.heard_by("bob-1")[-1] == ("ada", "offline")
    assert world.user("ada").sessions == frozenset()


def test_erasing_leaves_nothing_and_tells_the_others(world: World) -> None:
    meet(world, "ada", "bob")
    world.block("bob", "ada")
    world.block("ada", "eve")
    world.stream()

    world.removal.erase("ada", world.now, lifts_blocks=True)
    world.stream()

    assert world.heard_by("bob-1")[-1] == ("ada", "offline")
    assert "ada" not in repr(world.tables.users)
    assert "ada" not in repr(world.tables.connections["bob-1"])
    assert "ada" not in repr(world.tables.sessions)
    assert list(world.tables.watchers["ada"]) == ["bob-1"]
    assert world.tables.connections["ada-1"].user_id is None
    assert world.try_ping("ada-1") == "not-authenticated"


@pytest.mark.parametrize("is_revoked", [False, True], ids=["deleted", "kept-as-revoked"])
def test_erasing_names_no_viewer_who_was_blocked_once_and_tells_that_viewer(
    world: World, *, is_revoked: bool
) -> None:
    meet(world, "ada", "eve")
    if is_revoked:
        world.removal.revoke("ada", TokenRevoked("an older one"), world.now)
    world.block("ada", "eve")
    world.blocking.unblock("ada", "eve", world.now)
    world.stream()
    held = world.read("ada", "eve").version
    assert held > world.read("ada").version

    world.removal.erase("ada", world.now, lifts_blocks=True)
    world.stream()

    assert not world.user("ada").special_viewers
    assert world.heard_by("eve-1")[-1] == ("ada", "offline")
    frames = [it for it in world.frames_of("eve-1") if "changes" in it]
    assert frames[-1]["changes"][0]["version"] > held


def test_erasing_a_blocked_viewer_keeps_the_block(world: World) -> None:
    meet(world, "ada", "eve")
    world.block("ada", "eve")

    world.removal.erase("eve", world.now, lifts_blocks=False)
    world.join("eve", "eve-2")

    assert world.read("ada", "eve").status is Status.OFFLINE
    world.removal.erase("eve", world.now, lifts_blocks=True)
    assert world.blocking.blocked("ada") == []


def test_a_blocked_watcher_hears_nothing_of_an_erasure(world: World) -> None:
    meet(world, "ada", "eve")
    world.block("ada", "eve")
    world.stream()
    heard = len(world.frames_of("eve-1"))

    world.removal.erase("ada", world.now, lifts_blocks=True)
    world.stream()

    assert len(world.frames_of("eve-1")) == heard


def test_erasing_an_unknown_user_is_idempotent(world: World) -> None:
    world.removal.erase("unknown", world.now, lifts_blocks=True)
    world.removal.erase("unknown", world.now, lifts_blocks=True)

    assert world.tables.users == {}


def test_an_erased_user_returns_without_old_data_and_with_a_greater_version(world: World) -> None:
    world.join("ada", "a1")
    before = world.read("ada").version
    world.removal.erase("ada", world.now, lifts_blocks=True)
    world.wait(1)

    world.join("ada", "a2")

    assert world.read("ada").version > before


def visit(world: World, connection_id: str = "a2") -> None:
    """Come, take part, be seen by all, and go, to be expected back."""
    world.join("ada", connection_id)
    world.enter(connection_id, "room")
    world.stream()
    world.leave(connection_id)


def while_forgetting(world: World, happens: Callable[[World], Any], times: int = 1) -> None:
    """Let this happen in the middle of an erasure: just before the item is deleted."""
    raise_floor, left = world.users.raise_floor, [happens] * times

    def raise_slowly(version: int) -> None:
        raise_floor(version)
        if left:
            left.pop()(world)

    world.users.raise_floor = raise_slowly  # type: ignore[method-assign]


def tables_that_name(world: World, user_id: str) -> list[str]:
    names = ("connections", "users", "everyone", "sessions", "watchers")
    return [name for name in names if f"'{user_id}'" in repr(getattr(world.tables, name))]


def test_a_connection_opened_and_closed_during_an_erase_leaves_nothing(world: World) -> None:
    world.join("ada", "a1")
    world.join("bob", "b1")
    world.enter("b1", "room")
    while_forgetting(world, visit)

    world.removal.erase("ada", world.now, lifts_blocks=True)
    world.stream()

    assert ("ada", "online") in world.heard_by("b1")
    assert world.heard_by("b1")[-1] == ("ada", "offline")
    assert world.frames_of("b1")[-1]["left"] == ["ada"]
    assert tables_that_name(world, "ada") == []


def test_a_block_racing_an_erase_is_lifted_first(world: World) -> None:
    """The row of a block goes with the block, and with nothing else."""
    world.join("ada", "a1")
    forget, forgotten = world.users.forget, list[User]()
    while_forgetting(world, lambda world: world.block("ada", "eve"))

    def forget_and_remember(user: User) -> None:
        forgotten.append(user)
        forget(user)

    world.users.forget = forget_and_remember  # type: ignore[method-assign]

    world.removal.erase("ada", world.now, lifts_blocks=True)

    assert forgotten
    assert not any(user.blocked for user in forgotten)
    assert tables_that_name(world, "ada") == []


def test_a_connection_racing_an_erase_is_closed_too(world: World) -> None:
    """The first look at the leases and the erasure of them are two moments."""
    world.join("ada", "a1")
    close, late = world.records.close, ["a2"]

    def close_and_be_overtaken(
        connection_id: str, now: int, known: Connection | None = None
    ) -> Connection | None:
        before = close(connection_id, now, known)
        if late:
            world.join("ada", late[0])
            world.enter(late.pop(), "room")
        return before

    world.records.close = close_and_be_overtaken  # type: ignore[method-assign]

    world.removal.erase("ada", world.now, lifts_blocks=True)

    assert tables_that_name(world, "ada") == []
    assert world.gateway.closed == ["a1", "a2"]


@pytest.mark.fault("API Gateway does not answer.")
@pytest.mark.parametrize("way", ["kick", "erase"])
def test_a_socket_that_cannot_be_closed_keeps_no_user_waiting(world: World, way: str) -> None:
    for name in ("a1", "a2"):
        world.join("ada", name)
    time, close = [2], world.gateway.close

    def close_slowly(connection_id: str) -> None:
        assert not world.user("ada").is_here, "the user comes first"
        time[0] -= 1
        close(connection_id)

    world.gateway.close = close_slowly  # type: ignore[method-assign]
    world.gateway.busy |= {"a1", "a2"}

    if way == "kick":
        world.removal.kick("ada", world.now, lambda: time[0] > 1)
    else:
        world.removal.erase("ada", world.now, lambda: time[0] > 1, lifts_blocks=True)
    world.gateway.busy.clear()
    time[0] = 9
    world.fire_timers()

    assert world.user("ada").status is Status.OFFLINE
    assert set(world.gateway.closed) == {"a1", "a2"}


@pytest.mark.fault("Very many watch a user who is erased.")
def test_watchers_are_no_work_for_an_erasure_and_are_told_by_the_stream(world: World) -> None:
    for number in range(200):
        world.join(f"user-{number}", f"c{number}")
        world.watching.watch(f"c{number}", ["ada"], world.now)
    world.join("ada", "a1")
    world.stream()
    world.gateway.heard.clear()

    world.removal.erase("ada", world.now, lambda: False, lifts_blocks=True)
    told_by_erasure = dict(world.gateway.heard)
    world.stream()

    assert told_by_erasure.keys() <= {"a1"}
    assert all(world.heard_by(f"c{number}") == [("ada", "offline")] for number in range(200))
    assert len(world.tables.watchers["ada"]) == 200


def test_a_user_who_keeps_reconnecting_is_not_erased_and_goes_offline_in_time(world: World) -> None:
    world.join("bob", "b1")
    names = iter(f"a{number}" for number in range(100))
    while_forgetting(world, lambda world: visit(world, next(names)), times=100)

    with pytest.raises(Unavailable):
        world.removal.erase("ada", world.now, lifts_blocks=True)
    world.wait(GRACE)
    world.fire_timers()

    assert not world.user("ada").is_here
    assert world.tables.sessions == {}


# ── any story ──────────────────────────────────────────────────────────────────────────────

Deed = Callable[[World], Any]


def passes(milliseconds: int) -> Deed:
    """Time passes, and timers come when they are due."""

    def deed(world: World) -> None:
        world.wait(milliseconds)
        world.fire_timers()

    return deed


def changes_data(data: str, *, is_patch: bool = False) -> Deed:
    change = DataChanged(data, is_patch)
    return lambda world: world.statuses.change("ada", change, world.now)


def disclose(world: World) -> None:
    chosen = Chosen(Choice.BUSY, "secret", disclosure=Disclosure.HIDDEN)
    world.statuses.change("ada", chosen, world.now)


#: What a hidden user may do, and what happens to all users. To send something is not to hide.
DEEDS: dict[str, Deed] = {
    "wait": passes(3 * SECOND),
    "long": passes(40 * SECOND),
    "kick": lambda world: world.removal.kick("ada", world.now),
    "sweep": lambda world: world.run_sweep(),
    "status": lambda world: world.choose("ada", Choice.BUSY, "secret"),
    "away": lambda world: world.choose("ada", Choice.AWAY),
    "text": lambda world: world.choose("ada", Choice.DND, "secret", world.now + 5 * SECOND),
    "data": changes_data('{"page":"secret"}'),
    "patch": changes_data('{"mood":"secret"}', is_patch=True),
    "vanish": lambda world: world.choose("ada", Choice.INVISIBLE),
    "disclose": disclose,
    "idle": lambda world: world.ping("ada-1", is_active=False),
    "back": lambda world: world.ping("ada-1", is_active=True),
    "join": lambda world: world.enter("ada-1", "hall"),
    "leave": lambda world: world.exit("ada-1", "room"),
    "return": lambda world: world.enter("ada-1", "room"),
    "type": lambda world: world.messages.typing("ada-1", "room", world.now, is_typing=True),
    "device": lambda world: world.join("ada", f"ada-{len(world.tables.connections)}x"),
    "go": lambda world: world.leave("ada-1"),
    "quit": lambda world: world.connections.leave("ada-1", world.now),
    "seen": lambda world: world.statuses.seen("ada", world.now),
    "block": lambda world: world.blocking.block("ada", "zoe", world.now),
    "unblock": lambda world: world.blocking.unblock("ada", "zoe", world.now),
}
#: These happen to a user who has left, too.
PASSING = ("wait", "long", "kick", "sweep")
SHOWING = ("status", "away", "disclose")
INVISIBLE = {
    **DEEDS,
    **{name: lambda world: world.choose("ada", Choice.INVISIBLE, "secret") for name in SHOWING},
    "text": lambda world: world.choose("ada", Choice.INVISIBLE, "s", world.now + 10**9),
}
#: What a user may have done before.
BEFORE = (
    *("wait", "status", "away", "data", "patch", "idle", "back", "join", "leave", "device"),
    *("type", "go"),
)


def seen_by_eve(world: World) -> dict[str, Any]:
    """Everything that eve can get to see of ada, by whatever way; and of the count of others."""
    page = world.member_list.page("room", "eve", 100, None, world.now)
    pages = {
        name: world.online_list.page(limit, cursor, "eve", world.now)
        for name, limit, cursor in (
            ("online", 100, None),
            ("first", 1, None),
            ("behind", 1, world.online_index.position_of("eve")),
        )
    }
    return {
        "frames": [frame for frame in world.frames_of("eve-1") if "ada" in str(frame)],
        "read": presence(world.read("ada", "eve")),
        "batch": [presence(it) for it in world.statuses.read_many(["ada"], "eve", world.now)],
        "room": ([it.user_id for it in page.members], page.member_count),
        "hall": world.member_list.page("hall", "eve", 100, None, world.now).member_count,
        **{
            name: ([it.user_id for it in page.users], page.online_count)
            for name, page in pages.items()
        },
        "count": world.online_list.count("eve", world.now).online,
    }


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_every_short_page_counts_the_users_that_the_viewer_sees(world: World, limit: int) -> None:
    meet(world, "ada", "bob", "cid", "eve")
    world.block("ada", "eve")
    world.stream()

    first = world.online_list.page(limit, None, "eve", world.now)
    behind = world.online_list.page(limit, world.online_index.position_of("bob"), "eve", world.now)

    assert first.online_count == behind.online_count == 3
    assert world.online_list.page(limit, None, "bob", world.now).online_count == 4


def test_online_users_beyond_one_frame_are_counted(world: World) -> None:
    names = [f"user-{number:02}".ljust(128, "x") for number in range(80)]
    meet(world, "ada", "eve")
    for name in names:
        world.join(name, f"c-{name}")
        world.choose(name, Choice.BUSY, "é" * 140)
    world.block("ada", "eve")
    world.stream()

    page = world.online_list.page(MAX_PAGE, None, "eve", world.now, fits=fitting)

    assert page.cursor is not None
    assert page.online_count == world.online_list.count("eve", world.now).online == 81


def test_authentication_answers_with_the_same_count_for_all_users(world: World) -> None:
    """As the protocol says: to count for a viewer is to read all of them."""
    meet(world, "ada", "bob", "eve")
    world.block("ada", "eve")
    world.stream()

    assert world.join("eve", "eve-2").online_count == 3


def act(world: World, deeds: dict[str, Deed], names: list[str]) -> None:
    for name in names:
        with suppress(PresenceError):  # a late ping, a flood: the client's business
            deeds[name](world)
        world.stream()
        world.try_ping("eve-1")


def told(
    deeds: dict[str, Deed], stories: tuple[list[str], list[str]], hide: Deed, precision: Precision
) -> dict[str, Any]:
    world = World(is_global=False, precision=precision)
    meet(world, "ada", "eve")
    world.wait(SECOND)
    act(world, DEEDS, stories[0])
    hide(world)
    world.stream()
    act(world, deeds, stories[1])
    return seen_by_eve(world)


def closes_all_tabs(world: World) -> None:
    """The one in use last: until then its user is online."""
    leases = world.user("ada").leases
    for connection_id in sorted(leases, key=lambda name: leases[name].is_active):
        world.leave(connection_id)


def only_time(deeds: dict[str, Deed]) -> dict[str, Deed]:
    """The same story, in which ada does nothing."""
    return {name: deeds[name] if name in PASSING else (lambda _: None) for name in deeds}


HIDING = {
    "blocked": (DEEDS, lambda world: world.blocking.block("ada", "eve", world.now)),
    "invisible": (INVISIBLE, lambda world: world.choose("ada", Choice.INVISIBLE, "secret")),
}


@pytest.mark.parametrize("how", HIDING)
@given(
    before=st.lists(st.sampled_from(BEFORE), max_size=5),
    story=st.lists(st.sampled_from(sorted(DEEDS)), max_size=12),
    precision=st.sampled_from([Precision.EXACT, Precision.HOUR, Precision.OFF]),
)
def test_a_user_who_hides_looks_like_one_who_closed_the_last_tab(
    how: str, before: list[str], story: list[str], precision: Precision
) -> None:
    """Also in the distances between version, last seen, and the time of telling."""
    deeds, hide = HIDING[how]

    hidden = told(deeds, (before, story), hide, precision)
    left = told(only_time(deeds), (before, story), closes_all_tabs, precision)

    assert hidden == left


WAYS_OF_LEAVING: dict[str, Deed] = {
    "closed tab": lambda world: world.leave("ada-1"),
    "kick": lambda world: world.removal.kick("ada", world.now),
    "on purpose": lambda world: world.connections.leave("ada-1", world.now),
    "silent death": lambda _: None,
    "erased": lambda world: world.removal.erase("ada", world.now, lifts_blocks=False),
}


@pytest.mark.parametrize("how", HIDING)
@pytest.mark.parametrize("way", WAYS_OF_LEAVING)
def test_no_way_of_leaving_shows_that_the_user_was_only_hidden(how: str, way: str) -> None:
    """A user who hides, and one who left, leave no other trace when they really go."""

    def story(hide: Deed, go: Deed) -> dict[str, Any]:
        world = World(is_global=False)
        meet(world, "ada", "eve")
        for deed in (passes(SECOND), hide, passes(20 * SECOND), go, *[passes(30 * SECOND)] * 3):
            deed(world)
            world.stream()
            world.ping("eve-1")
        return seen_by_eve(world)

    is_erased = way == "erased"
    hidden = story(HIDING[how][1], WAYS_OF_LEAVING[way])
    left = story(closes_all_tabs, WAYS_OF_LEAVING[way] if is_erased else lambda _: None)

    assert hidden == left


def test_a_viewer_who_was_unblocked_is_served_and_no_other_is_told(world: World) -> None:
    meet(world, "ada", "bob", "eve")
    world.block("ada", "eve")
    world.stream()
    world.wait(SECOND)
    known, heard = world.read("ada", "bob"), len(world.frames_of("bob-1"))
    held = world.read("ada", "eve")

    world.blocking.unblock("ada", "eve", world.now)
    world.stream()
    shown = world.read("ada", "eve")

    assert (shown.status, shown.last_seen) == (Status.ONLINE, held.last_seen)
    assert shown.version > held.version
    assert world.read("ada", "bob") == world.read("ada") == known
    assert len(world.frames_of("bob-1")) == heard

    world.wait(SECOND)
    world.choose("ada", Choice.BUSY)
    world.stream()
    assert world.heard_by("eve-1")[-1] == ("ada", "busy")
    assert world.read("ada", "eve").version > shown.version


def test_too_many_viewers_who_were_unblocked_are_caught_up_with(world: World) -> None:
    """They are part of the item; the public version is raised for all when there are too many."""
    meet(world, "ada", "eve")
    held = dict[str, int]()
    for name in (f"viewer-{number}" for number in range(MAX_RETURNED + 1)):
        world.wait(1)
        world.blocking.block("ada", name, world.now)
        world.blocking.unblock("ada", name, world.now)
        held[name] = world.read("ada", name).version

    assert len(world.user("ada").returned) <= MAX_RETURNED
    assert all(world.read("ada", name).version >= version for name, version in held.items())


def test_typing_is_not_shown_to_a_viewer_who_sees_the_user_leave(world: World) -> None:
    meet(world, "ada", "bob", "eve")
    world.join("ada", "ada-2")
    world.enter("ada-2", "room")
    world.blocking.block("ada", "eve", world.now)

    world.messages.typing("ada-1", "room", world.now, is_typing=True)

    def hear() -> list[str]:
        names = ("ada-2", "bob-1", "eve-1")
        return [name for name in names if "user-typing" in str(world.frames_of(name))]

    assert world.read("ada", "eve").is_online
    assert hear() == ["ada-2", "bob-1"]
    world.gateway.heard.clear()
    world.choose("ada", Choice.INVISIBLE)
    world.wait(SECOND)
    world.messages.typing("ada-1", "room", world.now, is_typing=True)
    assert world.read("ada", "bob").is_online
    assert hear() == ["ada-2"]


def test_a_viewer_who_watches_an_erased_user_hears_of_the_return(world: World) -> None:
    """A watch belongs to the watcher; and no version that was told is told again."""
    world.join("eve", "eve-1")
    world.watching.watch("eve-1", ("ada",), world.now)
    versions = list[int]()
    for number in range(3):
        world.join("ada", f"ada-{number}")
        world.choose("ada", Choice.BUSY)
        world.stream()
        versions.append(world.read("ada", "eve").version)
        world.removal.erase("ada", world.now, lifts_blocks=False)
        world.stream()

    told = [change["version"] for it in world.frames_of("eve-1") for change in it["changes"]]
    assert world.heard_by("eve-1")[-2:] == [("ada", "busy"), ("ada", "offline")]
    assert told == sorted(set(told))
    assert versions == sorted(set(versions))


@pytest.mark.parametrize("precision", [Precision.HOUR, Precision.DAY, Precision.OFF])
def test_a_coarse_last_seen_is_not_given_back_by_the_version(precision: Precision) -> None:
    """Two lives that differ by minutes look the same a while later, erased or not."""

    def life(milliseconds: int) -> Presence:
        world = World(is_global=False, precision=precision)
        world.wait(milliseconds)
        world.join("ada", "ada-1")
        world.wait(30 * SECOND)
        world.leave("ada-1")
        world.wait(GRACE)
        world.fire_timers()
        own = world.read("ada", "ada")
        assert own.last_seen == START + milliseconds + 30 * SECOND
        return world.read("ada", "eve")

    assert life(60 * SECOND) == life(400 * SECOND)


@pytest.mark.parametrize("disclosure", [Disclosure.COARSE, Disclosure.HIDDEN])
def test_a_user_chooses_what_others_learn_of_last_seen(
    world: World, disclosure: Disclosure
) -> None:
    world.join("ada", "ada-1")
    world.wait(400 * SECOND)

    own = world.statuses.change("ada", Chosen(Choice.BUSY, disclosure=disclosure), world.now)
    kept = world.choose("ada", Choice.ONLINE)
    seen = world.read("ada", "eve")

    assert own.own_presence.disclosure is kept.own_presence.disclosure is disclosure
    assert kept.own_presence.last_seen == START
    hour = START - START % 3_600_000
    assert seen.last_seen == (None if disclosure is Disclosure.HIDDEN else hour)
    assert seen.version % 3_600_000 < 10
    assert seen.disclosure is None


@pytest.mark.fault("A user blocks very many viewers one after the other, and hides.")
def test_viewers_go_on_seeing_few_states_of_a_user_at_a_time(world: World) -> None:
    world.join("ada", "a1")
    for number in range(MAX_SCENES):
        world.choose("ada", Choice.BUSY, f"text {number}")
        for viewer_id in (f"eve-{number}", f"zoe-{number}"):
            world.wait(1)
            world.blocking.block("ada", viewer_id, world.now)
    first_ends = min(it.until for it in world.user("ada").farewells)
    world.choose("ada", Choice.BUSY, "one more")

    with pytest.raises(RateLimited) as refusal:
        world.blocking.block("ada", "mallory", world.now)
    assert refusal.value.retry_after_seconds == -(-(first_ends - world.now) // 1000)
    world.wait(1000 * refusal.value.retry_after_seconds)
    world.blocking.block("ada", "mallory", world.now)

    assert world.read("ada", "mallory").text == "one more"


def test_blocks_are_restored_later_of_a_user_who_changes_all_the_time(world: World) -> None:
    world.join("ada", "a1")
    for number in range(MAX_SCENES):
        world.choose("ada", Choice.BUSY, f"text {number}")
        world.blocking.block("ada", f"eve-{number}", world.now)
    world.choose("ada", Choice.BUSY, "one more")
    rows = [Block("ada", "eve-0"), Block("ada", "zoe")]

    def blocks(after: Block | None = None) -> Iterator[Block]:
        return (it for it in rows if it != after)

    world.subscriptions.blocks = blocks  # type: ignore[method-assign]
    stopped = world.blocking.restore(None, world.now, lambda: True)
    world.wait(GRACE)

    assert stopped == (False, Block("ada", "eve-0"))
    assert world.blocking.restore(stopped[1], world.now, lambda: True)[0]
    assert "zoe" in world.blocking.blocked("ada")
