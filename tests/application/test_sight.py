"""Which users a viewer may see at all: the stack's policy, and guests' chat sessions."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence import limits
from presence.adapters.visibility import Everyone, SharedSessions
from presence.application.lists import Known
from presence.domain.connection import Connection
from presence.domain.errors import InvalidMessage, Unavailable
from presence.domain.standing import is_allowed
from presence.domain.user import Choice, Presence, User
from presence.fanout.sight import FREE, Reach
from presence.limits import MAX_PAGE
from presence.ports import Count
from tests.world import GRACE, SECOND, World

LOBBY = frozenset({"lobby"})
#: As a user looks who was never here.
NOTHING = ("offline", None, 0)


@dataclass
class Friends:
    """The owner's function: these pairs, and no others."""

    pairs: set[tuple[str, str]] = field(default_factory=set)
    is_open: bool = False
    asked: list[Collection[tuple[str, str]]] = field(default_factory=list)
    fails: bool = False

    def may_see(self, pairs: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], bool]:
        self.asked.append(pairs)
        return {} if self.fails else {it: it in self.pairs for it in pairs}


def crowd(world: World) -> None:
    """Ada is in the lobby, bob in the office; eve, who looks, has not joined anything."""
    for user_id, session_id in (("ada", "lobby"), ("bob", "office")):
        world.join(user_id, user_id)
        world.enter(user_id, session_id)
    world.join("cyd", "cyd")
    world.stream()


def guest(world: World, name: str = "eve", allowed: frozenset[str] = LOBBY) -> Reach:
    world.open(name)
    world.authenticate(name, name, allowed=allowed)
    return Reach(allowed)


def looks(presence: Presence) -> tuple[str, int | None, int]:
    return presence.status.value, presence.last_seen, presence.version


#: Each way to read presences: who looks online by it, of ada, bob and cyd.
WAYS: Mapping[str, Callable[[World, Reach], set[str]]] = {
    "one": lambda world, reach: {
        name
        for name in ("ada", "bob", "cyd")
        if world.statuses.read(name, "eve", world.now, reach).is_online
    },
    "batch": lambda world, reach: online(
        world.statuses.read_many(["ada", "bob", "cyd"], "eve", world.now, reach=reach)
    ),
    "list": lambda world, reach: online(
        world.online_list.page(50, None, "eve", world.now, reach=reach).users
    ),
    "watch": lambda world, _: online(world.watching.watch("eve", ["ada", "bob", "cyd"], world.now)),
}


def online(presences: Any) -> set[str]:
    return {it.user_id for it in presences if it.is_online} - {"eve"}


ways = pytest.mark.parametrize("way", WAYS)


@ways
def test_by_default_all_see_all_and_nothing_is_asked(world: World, way: str) -> None:
    crowd(world)
    world.join("eve", "eve")

    assert WAYS[way](world, FREE) == {"ada", "bob", "cyd"}


@pytest.fixture
def world() -> World:
    return World(is_global=False)


@ways
def test_a_guest_sees_those_in_the_chat_sessions_of_the_token(world: World, way: str) -> None:
    crowd(world)
    reach = guest(world)

    assert WAYS[way](world, reach) == {"ada"}


@ways
@pytest.mark.fault("A guest is removed from the only chat session that the token names.")
def test_a_guest_sees_none_in_a_chat_session_that_the_back_end_has_barred(
    world: World, way: str
) -> None:
    crowd(world)
    reach = guest(world)

    world.removal.remove_member("lobby", "eve", world.now)

    assert WAYS[way](world, reach) == set()


@pytest.mark.parametrize("is_global", [False, True])
def test_a_guest_is_told_of_none_in_a_chat_session_that_is_barred(*, is_global: bool) -> None:
    world = World(is_global=is_global)
    crowd(world)
    guest(world)
    world.watching.watch("eve", ["ada"], world.now)
    world.removal.remove_member("lobby", "eve", world.now)

    world.choose("ada", Choice.BUSY)
    world.stream()

    assert "ada" not in {user_id for user_id, _ in world.heard_by("eve")}


@ways
def test_where_sessions_must_be_shared_strangers_are_unseen(way: str) -> None:
    world = World(is_global=False, visibility=SharedSessions())
    crowd(world)
    world.join("eve", "eve")
    assert WAYS[way](world, FREE) == set()

    world.enter("eve", "office")

    assert WAYS[way](world, FREE) == {"bob"}


@pytest.mark.parametrize("way", sorted({*WAYS} - {"list"}))
def test_the_owners_function_decides_of_strangers(way: str) -> None:
    friends = Friends({("eve", "cyd")})
    world = World(is_global=False, visibility=friends)
    crowd(world)
    world.join("eve", "eve")
    world.enter("eve", "office")

    assert WAYS[way](world, FREE) == {"bob", "cyd"}
    assert ("eve", "bob") not in {pair for pairs in friends.asked for pair in pairs}


@ways
def test_a_function_that_fails_is_no_yes(way: str) -> None:
    world = World(is_global=False, visibility=Friends(fails=True))
    crowd(world)
    world.join("eve", "eve")
    world.enter("eve", "office")

    if way == "list":
        assert WAYS[way](world, FREE) == {"bob"}
    else:
        with pytest.raises(Unavailable):
            WAYS[way](world, FREE)


@pytest.mark.fault("Very many connections hear of all users, and may not see all of them.")
def test_what_others_see_of_a_user_is_worked_out_once_for_all_connections(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(is_global=True, visibility=SharedSessions())
    names = [f"user-{number}" for number in range(40)]
    for name in names:
        world.join(name, name)
    world.stream()
    asked, sessions_seen_by = list[str | None](), User.sessions_seen_by

    def counted(user: User, viewer_id: str | None) -> frozenset[str]:
        asked.append(viewer_id)
        return sessions_seen_by(user, viewer_id)

    for name in names:
        world.choose(name, Choice.BUSY)
    monkeypatch.setattr(User, "sessions_seen_by", counted)

    world.stream()

    assert len(asked) < 20 * len(names)


def test_who_may_not_be_seen_looks_like_one_who_was_never_here(world: World) -> None:
    crowd(world)
    reach = guest(world)

    seen = world.statuses.read_many(["bob", "unknown"], "eve", world.now, reach=reach)

    assert [looks(it) for it in seen] == [NOTHING, NOTHING]


def test_back_ends_see_all(world: World) -> None:
    crowd(world)
    everything = Reach(frozenset(), sees_all=True)

    seen = world.statuses.read_many(["ada", "bob"], "root", world.now, reach=everything)

    assert all(it.is_online for it in seen)


def test_a_block_hides_also_within_reach() -> None:
    world = World(is_global=False, visibility=SharedSessions())
    crowd(world)
    world.join("eve", "eve")
    world.enter("eve", "lobby")
    world.block("ada", "eve")

    assert online([world.statuses.read("ada", "eve", world.now)]) == set()


def test_the_list_of_a_guest_goes_on_page_by_page_over_all_sessions(world: World) -> None:
    names = [f"user-{number:02}" for number in range(7)]
    for number, name in enumerate(names):
        world.join(name, name)
        world.enter(name, ("lobby", "hall")[number % 2])
        world.enter(name, "both")
    world.join("stranger", "stranger")
    reach = guest(world, allowed=frozenset({"lobby", "hall", "both", "team.*"}))

    found, cursor = list[str](), None
    while True:
        page = world.online_list.page(3, cursor, "eve", world.now, reach=reach)
        found += [it.user_id for it in page.users]
        assert page.online_count == len(names) + 1
        if (cursor := page.cursor) is None:
            break

    assert found == ["eve", *names]
    assert world.online_list.count("eve", world.now, reach=reach).online == len(names) + 1
    with pytest.raises(InvalidMessage):
        world.online_list.page(3, "made-up", "eve", world.now, reach=reach)


@pytest.mark.fault("A guest authenticates where very many users are online.")
@pytest.mark.parametrize(
    ("policy", "allowed"), [(Everyone(), LOBBY), (SharedSessions(), None), (Friends(), None)]
)
def test_who_may_not_see_all_is_told_no_count_of_all(
    policy: Any, allowed: frozenset[str] | None
) -> None:
    world = World(is_global=False, visibility=policy)
    crowd(world)
    world.open("eve")

    first, again = (world.authenticate("eve", "eve", allowed=allowed) for _ in range(2))

    assert (first.online_count, again.online_count) == (1, 1)


def test_the_list_of_a_guest_leaves_out_what_the_guest_knows(world: World) -> None:
    names = [f"user-{number:02}" for number in range(7)]
    for name in names:
        world.join(name, name)
        world.enter(name, "lobby")
    reach = guest(world, allowed=frozenset({"lobby"}))
    end = world.online_list.page(5, None, "eve", world.now, reach=reach).cursor
    world.online_index.counted(Count(1_000, world.now))

    page = world.online_list.page(
        5, None, "eve", world.now, reach=reach, known=Known(frozenset({"eve", *names[1:3]}), end)
    )

    assert [it.user_id for it in page.users] == [names[0], names[3]]
    assert (page.cursor, page.online_count) == (None, None)


def test_a_prefix_of_the_claim_lists_what_was_joined(world: World) -> None:
    world.join("ada", "ada")
    world.enter("ada", "team.7")
    reach = guest(world, allowed=frozenset({"team.*"}))
    assert world.statuses.read("ada", "eve", world.now, reach).is_online
    assert WAYS["list"](world, reach) == set()

    world.enter("eve", "team.7")

    assert WAYS["list"](world, reach) == {"ada"}


# ── what is told ───────────────────────────────────────────────────────────────────────────


def told_to(world: World, name: str = "eve") -> list[tuple[str, str]]:
    world.stream()
    heard = world.heard_by(name)
    world.gateway.heard.clear()
    return [it for it in heard if it[0] != name]


def everyone_changes(world: World, choice: Choice) -> None:
    world.wait(SECOND)
    for user_id in ("ada", "bob", "cyd"):
        world.choose(user_id, choice)


@pytest.mark.parametrize("is_global", [True, False])
def test_a_guest_is_told_of_nobody_else(is_global: bool) -> None:
    world = World(is_global=is_global)
    crowd(world)
    guest(world)
    world.watching.watch("eve", ["ada", "bob", "cyd"], world.now)
    told_to(world)

    everyone_changes(world, Choice.BUSY)
    assert told_to(world) == [("ada", "busy")]

    world.leave("ada")
    world.wait(GRACE)
    world.fire_timers()
    assert told_to(world) == [("ada", "offline")]


@pytest.mark.parametrize("is_global", [True, False])
def test_strangers_are_told_nothing_where_sessions_must_be_shared(is_global: bool) -> None:
    world = World(is_global=is_global, visibility=SharedSessions())
    crowd(world)
    world.join("eve", "eve")
    world.enter("eve", "office")
    world.watching.watch("eve", ["ada", "bob", "cyd"], world.now)
    told_to(world)

    everyone_changes(world, Choice.BUSY)

    assert told_to(world) == [("bob", "busy")]


@pytest.mark.fault("A change is announced late, when its user is in another chat session.")
@pytest.mark.parametrize("is_global", [True, False])
def test_who_comes_after_a_user_has_left_is_not_told_of_what_was_before(is_global: bool) -> None:
    world = World(visibility=SharedSessions(), is_global=is_global)
    for user_id in ("ada", "eve"):
        world.join(user_id, user_id)
    world.enter("ada", "lobby")
    world.watching.watch("eve", ["ada"], world.now)
    world.stream()
    world.wait(2 * SECOND)
    world.choose("ada", Choice.BUSY)  # not announced yet
    world.exit("ada", "lobby")
    world.enter("eve", "lobby")

    world.stream()

    assert ("ada", "busy") not in world.heard_by("eve")
    assert ("ada", "busy") in world.heard_by("ada")


def test_the_function_is_asked_once_for_all_who_watch() -> None:
    friends = Friends({("eve", "ada")})
    world = World(is_global=False, visibility=friends)
    crowd(world)
    for name in ("eve", "mallory"):
        world.join(name, name)
        world.watching.watch(name, ["ada"], world.now)
    told_to(world)
    friends.asked.clear()

    world.choose("ada", Choice.BUSY)

    assert told_to(world) == [("ada", "busy")]
    assert [set(it) for it in friends.asked] == [{("eve", "ada"), ("mallory", "ada")}]


def test_all_changes_of_a_batch_are_one_question() -> None:
    friends = Friends({("eve", "ada"), ("eve", "bob")})
    world = World(is_global=False, visibility=friends)
    crowd(world)
    world.join("eve", "eve")
    world.watching.watch("eve", ["ada", "bob", "cyd"], world.now)
    told_to(world)
    friends.asked.clear()

    everyone_changes(world, Choice.BUSY)

    assert sorted(told_to(world)) == [("ada", "busy"), ("bob", "busy")]
    assert [set(it) for it in friends.asked] == [{("eve", it) for it in ("ada", "bob", "cyd")}]


def test_a_function_that_fails_stops_no_other_announcement() -> None:
    friends = Friends({("eve", "ada")})
    world = World(is_global=False, visibility=friends)
    crowd(world)
    world.join("eve", "eve")
    world.watching.watch("eve", ["ada"], world.now)
    world.join("fay", "fay")
    world.enter("fay", "lobby")
    told_to(world)
    friends.fails = True

    world.choose("ada", Choice.BUSY)
    world.stream()

    assert world.heard_by("fay") == [("ada", "busy")]
    assert world.heard_by("eve") == []


@pytest.mark.parametrize("policy", [Everyone(), SharedSessions()])
def test_jobs_tell_only_who_may_see(monkeypatch: pytest.MonkeyPatch, policy: Any) -> None:
    world = World(is_global=True, visibility=policy)
    crowd(world)
    guest(world)
    told_to(world)
    everyone_changes(world, Choice.BUSY)

    with monkeypatch.context() as patch:
        patch.setattr(limits, "POSTS_AT_ONCE", 0)
        world.stream()
    world.work()

    is_open = policy.is_open
    others = {it for it in world.heard_by("eve") if it[0] != "eve"}
    assert others == ({("ada", "busy")} if is_open else set())
    strangers = {it[0] for it in world.heard_by("cyd")} - {"cyd"}
    assert strangers == ({"ada", "bob"} if is_open else set())


@pytest.mark.fault("A user with a long text unblocks many viewers, and very many connections hear.")
def test_jobs_with_many_special_viewers_tell_only_who_may_see(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(is_global=True, visibility=SharedSessions())
    crowd(world)
    guest(world)
    viewers = [f"viewer-{number}" for number in range(150)]
    for name in viewers:
        world.blocking.block("ada", name, world.now)
    world.wait(GRACE)
    told_to(world)
    everyone_changes(world, Choice.BUSY)
    world.choose("ada", Choice.BUSY, "\N{GRINNING FACE}" * 140)
    for name in viewers:
        world.blocking.unblock("ada", name, world.now)

    with monkeypatch.context() as patch:
        patch.setattr(limits, "POSTS_AT_ONCE", 0)
        world.stream()
    world.work()
    world.deliver()

    for name in ("eve", "cyd"):
        assert {it for it, _ in world.heard_by(name)} <= {name}


def test_a_token_that_becomes_a_guests_ends_the_watch_list_of_before(world: World) -> None:
    crowd(world)
    world.join("eve", "eve")
    world.watching.watch("eve", ["ada", "bob"], world.now)

    world.authenticate("eve", "eve", allowed=LOBBY)
    told_to(world)
    everyone_changes(world, Choice.BUSY)
    assert told_to(world) == []

    world.watching.watch("eve", ["ada", "bob"], world.now)
    everyone_changes(world, Choice.AWAY)
    assert told_to(world) == [("ada", "away")]


def test_a_token_that_becomes_a_guests_leaves_no_row_of_before_among_those_of_all_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, ended = World(is_global=True), list[str]()
    unwatch_all = world.subscriptions.unwatch_all

    def noted(connection: Connection) -> None:
        ended.append(connection.connection_id)
        unwatch_all(connection)

    monkeypatch.setattr(world.subscriptions, "unwatch_all", noted)
    world.open("eve")
    for allowed in (None, LOBBY, LOBBY):
        world.authenticate("eve", "eve", allowed=allowed)

    assert ended == ["eve"]
    assert "eve" in world.tables.everyone


def test_a_guest_whose_token_is_renewed_goes_on_watching(world: World) -> None:
    crowd(world)
    guest(world)
    world.watching.watch("eve", ["ada", "bob"], world.now)
    told_to(world)

    world.authenticate("eve", "eve", allowed=frozenset({"office"}))
    everyone_changes(world, Choice.BUSY)

    assert told_to(world) == [("bob", "busy")]


def test_erasing_is_told_to_those_who_could_see_it(world: World) -> None:
    crowd(world)
    guest(world)
    world.watching.watch("eve", ["ada", "bob"], world.now)
    told_to(world)

    for user_id in ("ada", "bob"):
        world.removal.erase(user_id, world.now, lifts_blocks=True)

    assert set(told_to(world)) == {("ada", "offline")}


def test_by_default_no_subscriber_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd(world)
    world.join("eve", "eve")
    world.watching.watch("eve", ["ada"], world.now)
    world.stream()
    world.choose("ada", Choice.BUSY)
    read, many = list[str](), world.users.read_many

    def counted(user_ids: Collection[str], *, consistent: bool = False) -> Any:
        read.extend(user_ids)
        return many(user_ids, consistent=consistent)

    monkeypatch.setattr(world.users, "read_many", counted)
    world.stream()

    assert set(read) == {"ada"}


@given(
    policy=st.sampled_from([Everyone(), SharedSessions(), Friends({("eve", "ada")})]),
    allowed=st.sampled_from([None, frozenset(), LOBBY, frozenset({"*"}), frozenset({"o*"})]),
    joined=st.sets(st.sampled_from(["lobby", "office"])),
    hidden=st.booleans(),
)
def test_each_way_of_seeing_agrees(
    policy: Any, allowed: frozenset[str] | None, joined: set[str], hidden: bool
) -> None:
    world = World(is_global=False, visibility=policy)
    crowd(world)
    if hidden:
        world.hide("bob")
    world.open("eve")
    world.authenticate("eve", "eve", allowed=allowed)
    for session_id in sorted(joined):
        if is_allowed(session_id, allowed):
            world.wait(SECOND)
            world.enter("eve", session_id)
    reach = Reach(allowed)

    one, batch, watched = (WAYS[it](world, reach) for it in ("one", "batch", "watch"))
    told_to(world)
    everyone_changes(world, Choice.BUSY)
    told = {user_id for user_id, _ in told_to(world)}

    assert one == batch == watched
    assert told - ({"bob"} if hidden else set()) == one
    listed = WAYS["list"](world, reach)
    assert listed <= one | ({"bob"} if hidden else set())
    assert len(listed) <= MAX_PAGE
