import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from presence.domain.connection import Connection
from presence.domain.errors import (
    Conflict,
    Forbidden,
    InvalidMessage,
    NotAuthenticated,
    RateLimited,
    Unavailable,
)
from presence.domain.user import Choice, Status, User
from presence.limits import (
    ACTION_MILLISECONDS,
    CLIENT_ID_MILLISECONDS,
    MAX_SESSIONS,
    SESSIONS_PER_ACTION,
    TYPING_MILLISECONDS,
    USER_BURST,
)
from presence.ports import Delivery, MembersPart, Post
from presence.protocol.frames import new_message
from tests.fakes import FakeGateway
from tests.world import GRACE, LEASE, SECOND, Hearsay, World


@pytest.fixture
def world() -> World:
    """Without `GlobalPresence`: recipients are members and watchers only."""
    return World(is_global=False)


def both_enter(world: World) -> None:
    """Ada and Bob join the room, at a1 and b1."""
    for user_id, connection_id in (("ada", "a1"), ("bob", "b1")):
        world.join(user_id, connection_id)
    for connection_id in ("a1", "b1"):
        world.enter(connection_id, "room")


def members(world: World, viewer_id: str | None = None, session_id: str = "room") -> list[str]:
    page = world.member_list.page(session_id, viewer_id, 100, None, world.now)
    return [member.user_id for member in page.members]


def moves(world: World, connection_id: str) -> list[tuple[list[str], list[str], int]]:
    """(joined, left, count) of every chat-session-members that a connection was told."""
    return [
        ([it["userId"] for it in frame["joined"]], frame["left"], frame["memberCount"])
        for frame in world.frames_of(connection_id)
        if frame["type"] == "chat-session-members"
    ]


def test_who_joins_is_told_who_is_there_and_the_others_that_they_came(world: World) -> None:
    world.join("ada", "a1")
    world.join("bob", "b1")
    world.enter("a1", "room")
    world.stream()

    page = world.enter("b1", "room")
    world.stream()

    assert [member.user_id for member in page.members] == ["ada", "bob"]
    assert page.member_count == 2
    assert moves(world, "a1") == [(["bob"], [], 2)]
    assert moves(world, "b1") == []


def test_a_second_device_is_no_news(world: World) -> None:
    world.join("ada", "a1")
    world.join("bob", "b1")
    world.join("bob", "b2")
    for connection_id in ("a1", "b1"):
        world.enter(connection_id, "room")
    world.stream()

    page = world.enter("b2", "room")
    world.stream()
    world.exit("b1", "room")
    world.stream()

    assert page.member_count == 2
    assert moves(world, "a1") == [(["bob"], [], 2)]


def test_leaving_is_told_at_once(world: World) -> None:
    both_enter(world)

    world.exit("b1", "room")
    world.exit("b1", "room")
    world.stream()

    assert moves(world, "a1")[-1] == ([], ["bob"], 1)
    assert members(world) == ["ada"]
    assert world.tables.sessions == {"room": {"a1": "ada"}}


# ── in whatever order it comes ─────────────────────────────────────────────────────────────


def party(world: World, *names: str) -> Hearsay:
    """All of them are online, and ada is in the room alone; what she knows of it."""
    for name in ("ada", *names):
        world.join(name, name)
    known = Hearsay()
    known.joined(world.enter("ada", "room"))
    world.stream()
    world.wait(SECOND)
    world.gateway.heard.clear()
    return known


def told_of_the_room(world: World, connection_id: str) -> list[dict[str, Any]]:
    frames = world.frames_of(connection_id)
    return [frame for frame in frames if frame["type"] == "chat-session-members"]


def test_of_two_announcements_that_overtake_each_other_the_newer_count_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = party(world, "bob", "cyd")
    post = world.gateway.post

    def overtaken(posts: Iterable[Post], *, until: int | None = None) -> Delivery:
        """Bob is announced, and cyd comes and is announced before bob's frame leaves."""
        monkeypatch.setattr(world.gateway, "post", post)
        world.wait(1)
        world.enter("cyd", "room")
        world.stream()
        return post(posts, until=until)

    monkeypatch.setattr(world.gateway, "post", overtaken)
    world.enter("bob", "room")
    world.stream()
    told = told_of_the_room(world, "ada")
    for frame in told:
        known.hears(frame)

    assert [frame["memberCount"] for frame in told] == [3, 2]
    assert (known.count, known.present) == (3, {"ada", "bob", "cyd"})


def test_who_has_left_is_not_brought_back_by_a_coming_that_was_late(world: World) -> None:
    known = party(world, "bob")
    world.enter("bob", "room")
    world.stream()
    world.wait(1)
    world.exit("bob", "room")
    world.stream()

    came, went = told_of_the_room(world, "ada")
    for frame in (went, came, came):
        known.hears(frame)

    assert came["joined"][0]["version"] == world.user("bob").version
    assert (known.count, known.present) == (1, {"ada"})


def test_a_frame_that_does_not_count_the_new_member_is_older_than_its_join_answer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    party(world, "bob", "cyd")
    known, began = Hearsay(), world.now
    world.wait(1)
    part = world.members.part

    def read_before(session_id: str) -> MembersPart:
        """Cyd has asked to join before bob is announced, and joins when the room was read."""
        monkeypatch.setattr(world.members, "part", part)
        found = part(session_id)
        world.wait(1)
        world.chat_sessions.join("cyd", ["room"], began)
        known.joined(world.member_list.page("room", "cyd", 50, None, world.now))
        return found

    world.enter("bob", "room")
    monkeypatch.setattr(world.members, "part", read_before)
    world.stream()
    (told,) = told_of_the_room(world, "cyd")
    known.hears(told)

    assert told["memberCount"] == 2
    assert (known.count, known.present) == (3, {"ada", "bob", "cyd"})


def test_a_disconnect_is_a_departure_when_grace_is_over(world: World) -> None:
    both_enter(world)
    world.stream()

    world.leave("b1")
    world.stream()
    assert members(world) == ["ada", "bob"]
    assert world.tables.sessions == {"room": {"a1": "ada"}}
    world.wait(GRACE)
    world.ping("a1")
    world.fire_timers()
    world.stream()

    assert moves(world, "a1") == [(["bob"], [], 2), ([], ["bob"], 1)]
    assert world.heard_by("a1")[-1] == ("bob", "offline")
    assert members(world) == ["ada"]


@pytest.mark.fault("A chat session ends, and begins again under the same id.")
def test_rejoining_within_grace_sends_no_frame(world: World) -> None:
    both_enter(world)
    world.stream()
    heard = len(world.frames_of("a1"))

    world.leave("b1")
    world.wait(GRACE - SECOND)
    world.join("bob", "b2")
    world.enter("b2", "room")
    world.wait(2 * SECOND)
    world.fire_timers()
    world.stream()

    assert len(world.frames_of("a1")) == heard
    assert members(world) == ["ada", "bob"]


def test_back_online_but_not_in_the_room_is_a_departure_from_the_room(world: World) -> None:
    both_enter(world)
    world.stream()

    world.leave("b1")
    world.join("bob", "b2")
    world.wait(GRACE)
    world.fire_timers()
    world.stream()

    assert moves(world, "a1")[-1] == ([], ["bob"], 1)
    assert ("bob", "offline") not in world.heard_by("a1")


def test_a_lease_that_ran_out_leaves_the_room_at_once(world: World) -> None:
    both_enter(world)
    world.wait(LEASE - SECOND)
    world.ping("a1")
    world.wait(SECOND)

    world.run_sweep()
    world.fire_timers()
    world.stream()

    assert moves(world, "a1")[-1] == ([], ["bob"], 1)
    assert world.tables.sessions == {"room": {"a1": "ada"}}


def test_an_interrupted_disconnect_leaves_no_subscription(world: World) -> None:
    world.join("bob", "b1")
    world.enter("b1", "room")
    world.records.close("b1", world.now)
    world.wait(LEASE)

    world.run_sweep()
    world.fire_timers()

    assert world.tables.is_spotless()


def test_a_connection_that_was_only_late_is_in_its_rooms_again(world: World) -> None:
    both_enter(world)
    world.wait(LEASE)
    world.ping("a1")
    world.run_sweep()

    world.ping("b1")
    world.fire_timers()
    world.stream()

    assert members(world) == ["ada", "bob"]
    assert world.tables.sessions == {"room": {"a1": "ada", "b1": "bob"}}


def test_an_invisible_user_is_no_member_for_other_users(world: World) -> None:
    both_enter(world)
    world.stream()

    world.hide("bob")
    world.stream()
    assert moves(world, "a1")[-1] == ([], ["bob"], 1)
    assert members(world, "ada") == ["ada"]
    world.choose("bob", Choice.BUSY)
    world.stream()

    assert moves(world, "a1")[-1] == (["bob"], [], 2)


def test_only_shared_rooms_and_watchers_hear_of_a_change(world: World) -> None:
    for user_id in ("ada", "bob", "eve", "zoe"):
        world.join(user_id, f"{user_id}-1")
    world.enter("ada-1", "room")
    world.enter("bob-1", "room")
    world.enter("eve-1", "elsewhere")
    world.watching.watch("zoe-1", ["ada"], world.now)
    world.stream()
    before = {name: len(world.frames_of(name)) for name in ("eve-1",)}

    world.choose("ada", Choice.BUSY)
    world.stream()

    for name in ("ada-1", "bob-1", "zoe-1"):
        assert world.heard_by(name).count(("ada", "busy")) == 1
    assert len(world.frames_of("eve-1")) == before["eve-1"]


def test_members_hear_that_a_member_went_offline(world: World) -> None:
    both_enter(world)
    world.stream()
    world.wait(LEASE - SECOND)
    world.ping("a1")
    world.wait(SECOND)

    world.run_sweep()
    world.stream()

    assert world.heard_by("a1")[-1] == ("bob", "offline")


def test_leaving_and_rejoining_in_one_batch_is_sent_to_members_who_joined_between(
    world: World,
) -> None:
    for user_id in ("ada", "bob"):
        world.join(user_id, f"{user_id}-1")
    world.enter("bob-1", "room")
    world.stream()

    world.exit("bob-1", "room")
    page = world.enter("ada-1", "room")
    world.enter("bob-1", "room")
    world.stream()

    assert [member.user_id for member in page.members] == ["ada"]
    assert moves(world, "ada-1") == [(["bob"], [], 2)]


def test_a_change_during_watch_is_in_the_answer(world: World) -> None:
    for user_id in ("ada", "bob"):
        world.join(user_id, f"{user_id}-1")
    watch = world.subscriptions.watch

    def watch_late(connection: Connection, user_ids: Collection[str]) -> bool:
        world.choose("ada", Choice.BUSY)
        world.stream()
        return watch(connection, user_ids)

    world.subscriptions.watch = watch_late  # type: ignore[method-assign]
    (ada,) = world.watching.watch("bob-1", ["ada"], world.now)

    assert ada.status is Status.BUSY


def test_watch_and_join_read_consistently_what_was_announced_before(world: World) -> None:
    for user_id in ("ada", "bob"):
        world.join(user_id, f"{user_id}-1")
    world.enter("ada-1", "room")
    replica = world.user("ada")
    world.choose("ada", Choice.BUSY)
    world.stream()
    read_many = world.users.read_many

    def lag(user_ids: Collection[str], *, consistent: bool = False) -> Mapping[str, User]:
        users = read_many(user_ids, consistent=consistent)
        return users if consistent else {**users, "ada": replica}

    world.users.read_many = lag  # type: ignore[method-assign]
    (watched,) = world.watching.watch("bob-1", ["ada"], world.now)
    page = world.enter("bob-1", "room")

    assert watched.status is Status.BUSY
    assert page.members[0].status is Status.BUSY


def test_several_reasons_are_one_frame(world: World) -> None:
    world.join("ada", "a1")
    world.join("bob", "b1")
    for connection_id in ("a1", "b1"):
        for session_id in ("room", "hall"):
            world.enter(connection_id, session_id)
    world.watching.watch("b1", ["ada"], world.now)
    world.stream()

    world.choose("ada", Choice.BUSY)
    world.stream()

    assert world.heard_by("b1").count(("ada", "busy")) == 1


# ── several at once ────────────────────────────────────────────────────────────────────────

ROOMS = [f"room.{number:02}" for number in range(MAX_SESSIONS)]


def in_all_rooms(world: World) -> None:
    """Bob, who hears what is said of ada, and ada."""
    for name in ("bob", "ada"):
        world.join(name, name)
        assert not world.chat_sessions.join(name, ROOMS, world.now).refused
    world.stream()
    world.gateway.heard.clear()


def told_of_ada(world: World) -> list[Mapping[str, Any]]:
    return [frame for name in ("bob", "eve") for frame in world.frames_of(name)]


@pytest.mark.fault("A user comes back who was in as many chat sessions as a user may be in.")
def test_who_names_the_chat_sessions_when_coming_back_is_heard_by_no_other_user(
    world: World,
) -> None:
    in_all_rooms(world)
    world.leave("ada")
    world.wait(GRACE - 1)
    world.open("next")
    writes = len(world.tables.stream)

    welcome = world.authenticate("ada", "next", session_ids=ROOMS)

    assert welcome.refused == {}
    assert welcome.user.leases["next"].sessions == set(ROOMS)
    assert welcome.user.pending_leaves == {}
    world.stream()
    world.wait(1)
    world.fire_timers()
    world.wait(GRACE)
    world.run_sweep()
    world.stream()
    assert told_of_ada(world) == []
    assert len(world.tables.stream) == writes
    world.chat_sessions.join("next", ROOMS[:1], world.now)


def test_the_handover_to_the_next_connection_is_heard_by_no_other_user(world: World) -> None:
    in_all_rooms(world)

    world.open("next")
    world.authenticate("ada", "next", session_ids=ROOMS)
    world.wait(1_000)
    world.leave("ada")
    world.stream()
    world.wait(GRACE + 1)
    world.fire_timers()
    world.run_sweep()
    world.stream()

    assert told_of_ada(world) == []
    assert world.tables.sessions["room.07"] == {"bob": "bob", "next": "ada"}


def test_a_user_who_comes_to_as_many_chat_sessions_takes_two_transactions(world: World) -> None:
    world.open("a1")

    welcome = world.authenticate("ada", "a1", session_ids=ROOMS)

    assert welcome.user.leases["a1"].sessions == set(ROOMS)
    assert (world.user("ada").revision, welcome.refused) == (2, {})
    assert all(world.tables.sessions[name] == {"a1": "ada"} for name in ROOMS)


def test_what_is_refused_is_named_and_keeps_the_user_neither_out_nor_from_the_rest(
    world: World,
) -> None:
    world.removal.remove_member("barred", "ada", world.now)
    world.authorizer.refused.add(("ada", "closed"))
    world.authorizer.silent.add(("ada", "silent"))
    names = ["hall", "barred", "closed", "silent", "elsewhere"]
    allowed = frozenset(names[:-1])
    world.open("a1")

    welcome = world.authenticate("ada", "a1", session_ids=names, allowed=allowed)

    codes = {name: refusal.code for name, refusal in welcome.refused.items()}
    refused = {"barred": "forbidden", "closed": "forbidden", "elsewhere": "forbidden"}
    assert codes == {**refused, "silent": "unavailable"}
    entry = world.chat_sessions.join("a1", names, world.now)
    assert {name: refusal.code for name, refusal in entry.refused.items()} == codes
    assert welcome.user.sessions == entry.user.sessions == {"hall"}
    assert world.tables.sessions == {"hall": {"a1": "ada"}}


def test_beyond_the_limit_the_first_are_joined_and_the_others_named(world: World) -> None:
    world.join("ada", "a1")
    world.chat_sessions.join("a1", ROOMS[:-2], world.now)

    entry = world.chat_sessions.join("a1", ["a", "b", ROOMS[0], "c", "d"], world.now)
    world.open("a2")
    welcome = world.authenticate("ada", "a2", session_ids=[*ROOMS[:-2], "a", "c"])

    assert {name: it.code for name, it in entry.refused.items()} == {
        "c": "conflict",
        "d": "conflict",
    }
    assert {name: it.code for name, it in welcome.refused.items()} == {"c": "conflict"}
    assert len(welcome.user.sessions) == MAX_SESSIONS


def test_several_are_left_at_once(world: World) -> None:
    in_all_rooms(world)

    world.chat_sessions.leave("ada", ROOMS, world.now)
    world.stream()

    assert world.user("ada").sessions == frozenset()
    assert {frame["chatSessionId"] for frame in told_of_ada(world)} == set(ROOMS)
    assert all(world.tables.sessions[name] == {"bob": "bob"} for name in ROOMS)


@pytest.mark.parametrize("count", [1, 10, 11, 50])
def test_a_list_costs_an_action_for_each_ten(world: World, count: int) -> None:
    world.join("ada", "a1")

    world.chat_sessions.join("a1", ROOMS[:count], world.now)
    world.chat_sessions.leave("a1", ROOMS[:count], world.now)

    charged = world.user("ada").leases["a1"].arrival - world.now
    assert charged == 2 * -(-count // 10) * ACTION_MILLISECONDS


def test_chat_sessions_named_by_a_connection_that_is_authenticated_are_charged(
    world: World,
) -> None:
    """Else `authenticate` would be a `join` without a limit."""
    world.open("a1")
    world.authenticate("ada", "a1", session_ids=ROOMS)
    each = 2 + len(ROOMS) // SESSIONS_PER_ACTION
    for _ in range(USER_BURST // each - 1):
        world.authenticate("ada", "a1", session_ids=ROOMS)

    with pytest.raises(RateLimited):
        world.authenticate("ada", "a1", session_ids=ROOMS)
    world.wait(1_000)
    assert world.authenticate("ada", "a1").user.leases["a1"].sessions == set(ROOMS)


# ── who may ────────────────────────────────────────────────────────────────────────────────


def test_the_authorizer_decides_who_may_join(world: World) -> None:
    world.join("eve", "e1")
    world.authorizer.refused.add(("eve", "room"))

    with pytest.raises(Forbidden):
        world.enter("e1", "room")

    assert members(world) == []
    assert world.tables.sessions == {}


@pytest.mark.parametrize(
    ("session_id", "is_allowed"),
    [("room", True), ("team.7", True), ("team", False), ("rooms", False), ("hall", False)],
)
def test_the_token_decides_which_rooms(world: World, session_id: str, is_allowed: bool) -> None:
    allowed = frozenset({"room", "team.*"})
    world.open("a1")
    world.authenticate("ada", "a1", allowed=allowed)

    if is_allowed:
        assert world.enter("a1", session_id).member_count == 1
    else:
        with pytest.raises(Forbidden):
            world.enter("a1", session_id)


def during_authorization(world: World, happens: Callable[[], Any]) -> None:
    ask = world.authorizer.may_join

    def take_long(user_id: str, session_ids: Sequence[str]) -> Sequence[bool | None]:
        happens()
        return ask(user_id, session_ids)

    world.authorizer.may_join = take_long  # type: ignore[method-assign]


@pytest.mark.parametrize("before", [None, frozenset({"room"}), frozenset({"*", "hall"})])
def test_a_token_that_allows_less_ends_a_join_that_is_under_way(
    world: World, before: frozenset[str] | None
) -> None:
    world.open("a1")
    world.authenticate("ada", "a1", allowed=before)
    less = frozenset({"hall"})
    during_authorization(world, lambda: world.authenticate("ada", "a1", allowed=less))

    with pytest.raises(Forbidden) as refusal:
        world.enter("a1", "room")
    with pytest.raises(Forbidden) as always:
        world.enter("a1", "room")

    assert refusal.value.message == always.value.message
    assert world.tables.sessions == {}
    assert world.user("ada").sessions == frozenset()


@pytest.mark.parametrize("after", [None, frozenset({"room"}), frozenset({"ro*", "hall"})])
def test_a_token_that_still_allows_it_does_not_end_a_join_that_is_under_way(
    world: World, after: frozenset[str] | None
) -> None:
    world.open("a1")
    world.authenticate("ada", "a1", allowed=frozenset({"*"}))
    during_authorization(world, lambda: world.authenticate("ada", "a1", allowed=after))

    assert world.enter("a1", "room").member_count == 1
    assert world.tables.sessions == {"room": {"a1": "ada"}}


def test_a_stale_connection_record_with_the_old_claim_does_not_refuse_a_join(world: World) -> None:
    world.open("a1")
    world.authenticate("ada", "a1", allowed=frozenset({"room"}))
    before, read = world.records.read("a1"), world.records.read
    world.authenticate("ada", "a1", allowed=frozenset({"room*"}))

    def stale(connection_id: str, *, consistent: bool = False) -> Connection | None:
        return read(connection_id) if consistent else before

    world.records.read = stale  # type: ignore[method-assign]

    assert world.enter("a1", "room").member_count == 1


def test_a_connection_that_ends_during_authorization_does_not_join(world: World) -> None:
    world.join("ada", "a1")
    during_authorization(world, lambda: world.leave("a1"))

    with pytest.raises(NotAuthenticated):
        world.enter("a1", "room")

    assert world.tables.sessions == {}


def test_a_claim_that_changes_without_end_is_told_to_come_again(world: World) -> None:
    world.open("a1")
    world.authenticate("ada", "a1", allowed=frozenset({"room"}))
    claims = itertools.cycle([frozenset({"r*"}), frozenset({"room"})])
    save = world.users.save

    def change_first(before: User, after: User, now: int, **others: Any) -> bool:
        record = world.tables.connections["a1"]
        world.tables.connections["a1"] = replace(record, allowed_sessions=next(claims))
        return save(before, after, now, **others)

    world.users.save = change_first  # type: ignore[method-assign]

    with pytest.raises(Unavailable):
        world.enter("a1", "room")


def test_a_message_to_a_session_that_the_renewed_token_forbids_is_refused(world: World) -> None:
    both_enter(world)
    world.authenticate("ada", "a1", allowed=frozenset({"hall"}))

    with pytest.raises(Forbidden):
        world.messages.typing("a1", "room", world.now, is_typing=True)
    with pytest.raises(Forbidden):
        world.messages.say("a1", "room", "hello", None, world.now)

    assert world.frames_of("b1") == []


def test_a_stale_connection_record_with_the_old_claim_does_not_refuse_a_message(
    world: World,
) -> None:
    world.join("ada", "a1")
    world.authenticate("ada", "a1", allowed=frozenset({"hall"}))
    before, read = world.records.read("a1"), world.records.read
    world.authenticate("ada", "a1")
    world.enter("a1", "room")

    def stale(connection_id: str, *, consistent: bool = False) -> Connection | None:
        return read(connection_id) if consistent else before

    world.records.read = stale  # type: ignore[method-assign]

    assert world.messages.say("a1", "room", "hello", None, world.now).content == "hello"


def test_only_members_may_type_or_speak(world: World) -> None:
    world.join("ada", "a1")
    world.join("eve", "e1")
    world.enter("a1", "room")

    with pytest.raises(Forbidden):
        world.messages.typing("e1", "room", world.now, is_typing=True)
    with pytest.raises(Forbidden):
        world.messages.say("e1", "room", "hello", None, world.now)

    assert world.frames_of("a1") == []


def test_there_is_an_end_to_the_rooms_one_user_can_be_in(world: World) -> None:
    world.join("ada", "a1")
    for number in range(MAX_SESSIONS):
        world.wait(SECOND)
        world.enter("a1", f"room-{number}")

    with pytest.raises(Conflict):
        world.enter("a1", "one-more")

    assert world.enter("a1", "room-0").member_count == 1


# ── what is said ───────────────────────────────────────────────────────────────────────────


def typing(world: World, connection_id: str) -> list[tuple[str, bool]]:
    frames = world.frames_of(connection_id)
    return [(it["userId"], it["typing"]) for it in frames if it["type"] == "user-typing"]


def test_typing_reaches_only_the_other_members(world: World) -> None:
    for connection_id, user_id in {"a1": "ada", "a2": "ada", "b1": "bob", "e1": "eve"}.items():
        world.join(user_id, connection_id)
    for connection_id in ("a1", "a2", "b1"):
        world.enter(connection_id, "room")

    world.messages.typing("a1", "room", world.now, is_typing=True)

    assert typing(world, "b1") == typing(world, "a2") == [("ada", True)]
    assert typing(world, "a1") == typing(world, "e1") == []
    assert world.frames_of("b1")[-1]["expiresAt"] > world.now
    assert world.deliveries.waiting == []


def test_typing_is_relayed_once_a_second_for_each_room(world: World) -> None:
    world.join("ada", "a1")
    world.join("bob", "b1")
    for session_id in ("room", "hall"):
        world.enter("a1", session_id)
        world.enter("b1", session_id)

    for _ in range(5):
        world.messages.typing("a1", "room", world.now, is_typing=True)
        world.messages.typing("a1", "hall", world.now, is_typing=True)
    world.wait(TYPING_MILLISECONDS)
    world.messages.typing("a1", "room", world.now, is_typing=False)

    assert typing(world, "b1") == [("ada", True), ("ada", True), ("ada", False)]


def test_a_stop_is_told_however_soon_after_its_start_and_only_once(world: World) -> None:
    both_enter(world)

    for is_typing in (False, True, False, False, True, False):
        world.messages.typing("a1", "room", world.now, is_typing=is_typing)
        world.wait(300)
    world.wait(TYPING_MILLISECONDS)
    for is_typing in (True, False, False):
        world.messages.typing("a1", "room", world.now, is_typing=is_typing)

    told = [is_typing for _, is_typing in typing(world, "b1")]
    # The second start is dropped, because it comes 900 ms after the first frame.
    assert told == [False, True, False, True, False]


@pytest.mark.fault("A stop of typing is handled beside its start.")
def test_a_stop_that_is_handled_beside_another_frame_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_enter(world)
    lagging = world.records.read("a1")
    world.messages.typing("a1", "room", world.now, is_typing=True)
    fresh = world.records.read
    reads = [lagging]

    monkeypatch.setattr(
        world.records,
        "read",
        lambda name, *, consistent=False: (
            reads.pop() if reads and not consistent else fresh(name, consistent=consistent)
        ),
    )
    world.messages.typing("a1", "room", world.now, is_typing=False)

    assert typing(world, "b1") == [("ada", True), ("ada", False)]


def test_typing_does_not_give_away_who_hides(world: World) -> None:
    for user_id in ("ada", "bob", "eve"):
        world.join(user_id, f"{user_id}-1")
        world.enter(f"{user_id}-1", "room")
    world.block("ada", "eve")

    world.messages.typing("ada-1", "room", world.now, is_typing=True)
    world.hide("ada")
    world.wait(2 * SECOND)
    world.messages.typing("ada-1", "room", world.now, is_typing=True)

    assert typing(world, "bob-1") == [("ada", True)]
    assert typing(world, "eve-1") == []


def test_a_message_reaches_every_other_connection_of_the_room(world: World) -> None:
    for connection_id, user_id in {"a1": "ada", "a2": "ada", "b1": "bob", "e1": "eve"}.items():
        world.join(user_id, connection_id)
    for connection_id in ("a1", "a2", "b1"):
        world.enter(connection_id, "room")

    sent = world.messages.say("a1", "room", {"text": "hi"}, "mine-1", world.now)

    assert world.frames_of("b1") == world.frames_of("a2") == [new_message(sent)]
    assert world.frames_of("a1") == world.frames_of("e1") == []
    assert (sent.sender_id, sent.client_id) == ("ada", "mine-1")
    assert (sent.content, sent.sent_at) == ({"text": "hi"}, world.now)


def test_the_same_client_id_is_one_message_also_over_another_connection_and_http(
    world: World,
) -> None:
    for connection_id, user_id in {"a1": "ada", "a2": "ada", "b1": "bob"}.items():
        world.join(user_id, connection_id)
        world.enter(connection_id, "room")

    first = world.messages.say("a1", "room", {"text": "hi"}, "mine-1", world.now)
    world.wait(CLIENT_ID_MILLISECONDS - 1)
    world.leave("a1")
    again = world.messages.say("a2", "room", {"text": "hi"}, "mine-1", world.now)
    over_http = world.messages.publish("ada", "room", {"text": "hi"}, "mine-1", world.now)

    assert again == over_http == first
    assert world.frames_of("b1") == [new_message(first)]


@pytest.mark.parametrize(
    ("user_id", "session_id", "client_id", "later"),
    [
        ("bob", "room", "mine-1", 0),
        ("ada", "hall", "mine-1", 0),
        ("ada", "room", "mine-2", 0),
        ("ada", "room", None, 0),
        ("ada", "room", "mine-1", CLIENT_ID_MILLISECONDS),
    ],
    ids=["another-user", "another-session", "another-id", "no-id", "much-later"],
)
def test_what_is_not_the_same_is_another_message(
    world: World, user_id: str, session_id: str, client_id: str | None, later: int
) -> None:
    first = world.messages.publish("ada", "room", "hi", client_id and "mine-1", world.now)
    world.wait(later)

    other = world.messages.publish(user_id, session_id, "hi", client_id, world.now)

    assert other.message_id != first.message_id
    assert other.sent_at == world.now


def test_a_client_id_is_of_one_content(world: World) -> None:
    world.messages.publish("ada", "room", "hi", "mine-1", world.now)

    with pytest.raises(Conflict, match="clientId"):
        world.messages.publish("ada", "room", "ho", "mine-1", world.now)


@pytest.mark.fault("A function dies while it relays a message, and the client sends it again.")
def test_a_message_that_was_not_relayed_to_its_end_is_relayed_again_as_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_enter(world)

    def die(*_: object, **_named: object) -> NoReturn:
        raise Unavailable("too busy")

    with monkeypatch.context() as patch:
        patch.setattr(FakeGateway, "post", die)
        with pytest.raises(Unavailable):
            world.messages.say("a1", "room", "hi", "mine-1", world.now)
    world.wait(5 * SECOND)
    for _ in range(2):
        sent = world.messages.say("a1", "room", "hi", "mine-1", world.now)

    assert sent.sent_at == world.now - 5 * SECOND
    assert world.frames_of("b1") == [new_message(sent)]


def test_message_ids_sort_by_time(world: World) -> None:
    world.join("ada", "a1")
    world.enter("a1", "room")
    ids = []
    for _ in range(30):
        world.wait(997)
        ids.append(world.messages.say("a1", "room", 1, None, world.now).message_id)

    assert ids == sorted(ids)
    assert len(set(ids)) == 30


def test_a_message_that_cannot_be_posted_now_is_queued_before_the_answer(world: World) -> None:
    for user_id in ("ada", "bob", "eve"):
        world.join(user_id, f"{user_id}-1")
        world.enter(f"{user_id}-1", "room")
    world.gateway.busy.add("bob-1")

    world.messages.say("ada-1", "room", "hi", None, world.now)

    ((post, attempt, delay),) = world.deliveries.waiting
    assert (post.connection_ids, attempt, delay) == (["bob-1"], 1, 1)
    assert len(world.frames_of("eve-1")) == 1


def test_a_flood_of_messages_is_refused(world: World) -> None:
    world.join("ada", "a1")
    world.enter("a1", "room")

    def flood() -> None:
        for _ in range(40):
            world.messages.say("a1", "room", "x", None, world.now)

    with pytest.raises(RateLimited):
        flood()


# ── pages ──────────────────────────────────────────────────────────────────────────────────


def test_a_large_room_lists_every_member_once(world: World) -> None:
    names = [f"user-{number:03}" for number in range(237)]
    for name in names:
        world.join(name, name)
        world.enter(name, "room")
    world.hide("user-100")

    found: list[str] = []
    cursor = None
    while True:
        page = world.member_list.page("room", "user-000", 50, cursor, world.now)
        assert page.member_count == 236
        found += [member.user_id for member in page.members]
        if (cursor := page.cursor) is None:
            break

    assert found == [name for name in names if name != "user-100"]


def test_a_member_whose_lease_ran_out_is_not_listed(world: World) -> None:
    both_enter(world)
    world.wait(LEASE - SECOND)
    world.ping("a1")
    world.wait(SECOND)

    page = world.member_list.page("room", "ada", 50, None, world.now)

    assert [(it.user_id, it.status) for it in page.members] == [("ada", Status.ONLINE)]
    assert page.member_count == 1


@pytest.mark.parametrize("cursor", ["x", "YWRh=", "!", "YSBi"])
def test_a_cursor_that_was_never_given_is_refused(world: World, cursor: str) -> None:
    with pytest.raises(InvalidMessage):
        world.member_list.page("room", None, 50, cursor, world.now)
