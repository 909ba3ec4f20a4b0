"""Large audiences: told by jobs, each a page of a shard, and nobody hears what is not for them."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presence.domain.errors import Unavailable
from presence.domain.user import Choice
from presence.fanout import recipients as audiences
from presence.fanout.announcements import Record
from presence.ports import EVERYONE, Topic
from tests.fakes import FakeSubscriptions
from tests.world import World

ROOM = "room.1"
SESSION = Topic("session", ROOM)


@pytest.fixture(autouse=True)
def small_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five is a crowd, and two fill a shard."""
    for name, value in {"ALONE": 5, "ROWS": 2, "MOST_SHARDS": 16}.items():
        monkeypatch.setattr(audiences, name, value)


def crowded(amount: int, *, page: int = 2, is_global: bool = False) -> World:
    """A room with so many connections of as many users, all of whom have been announced."""
    world = World(is_global=is_global)
    world.audiences = audiences.Audiences(
        FakeSubscriptions(world.tables, page), world.users, world.deliveries, world.dispatcher
    )
    world.announcements = type(world.announcements)(
        world.audiences,
        world.users,
        world.members,
        world.online_index,
        world.dispatcher,
        world.rooms,
        is_global=is_global,
    )
    for number in range(amount):
        world.join(f"user-{number}", f"c{number}")
        world.enter(f"c{number}", ROOM)
    world.stream()
    world.work()
    world.gateway.heard.clear()
    return world


def heard(world: World) -> dict[str, list[tuple[str, str]]]:
    return {name: it for name, it in world.everything_heard().items() if it}


def changes(world: World, connection_id: str) -> list[dict[str, Any]]:
    return [it for frame in world.frames_of(connection_id) for it in frame.get("changes", [])]


def test_a_few_are_told_at_once() -> None:
    world = crowded(5)

    world.choose("user-0", Choice.BUSY)
    world.stream()

    assert not world.deliveries.jobs
    assert heard(world) == {f"c{number}": [("user-0", "busy")] for number in range(5)}


def test_many_are_told_by_jobs_one_for_each_shard() -> None:
    world = crowded(20)
    shards = world.tables.shards[SESSION]

    world.choose("user-0", Choice.BUSY)
    world.stream()

    assert [(job.topic, job.shard) for job in world.deliveries.jobs] == [
        (SESSION, shard) for shard in range(shards)
    ]
    assert heard(world) == {"c0": [("user-0", "busy")]}  # their own, at once
    world.work()
    assert heard(world) == {f"c{number}": [("user-0", "busy")] for number in range(20)}


@pytest.mark.parametrize("is_global", [True, False])
def test_a_job_that_is_done_twice_says_nothing_new(*, is_global: bool) -> None:
    world = crowded(20, is_global=is_global)
    world.choose("user-0", Choice.BUSY)
    world.stream()

    world.deliveries.jobs *= 2
    world.work()

    told = heard(world)
    assert all(set(it) == {("user-0", "busy")} for it in told.values())
    assert told.keys() == {f"c{number}" for number in range(20)}


@pytest.mark.parametrize("is_global", [True, False])
def test_a_job_that_comes_late_tells_whoever_has_come_since_how_it_is_now(
    *, is_global: bool
) -> None:
    world = crowded(20, is_global=is_global)
    world.choose("user-0", Choice.BUSY, "secret")
    world.stream()
    late = [*world.deliveries.jobs]
    world.work()
    world.wait(1)
    world.privacy.block("user-0", "user-7", world.now)
    world.wait(1)
    world.choose("user-0", Choice.ONLINE)
    world.stream()
    world.work()
    world.gateway.heard.clear()
    world.join("new", "n1")
    world.enter("n1", ROOM)

    world.deliveries.jobs += late
    world.work()

    told = heard(world)
    assert told.pop("c7") == [("user-0", "offline")]
    assert told["n1"] == [("user-0", "online")]
    assert set(map(tuple, told.values())) == {(("user-0", "online"),)}
    assert "secret" not in "".join(text for texts in world.gateway.heard.values() for text in texts)


def test_a_job_that_fails_on_the_way_has_put_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try would put the next page once more, and so would each job behind it."""
    world = crowded(20)
    world.choose("user-0", Choice.BUSY)
    world.stream()
    part = world.audiences.subscriptions.part
    job = next(it for it in world.deliveries.jobs if part(SESSION, it.shard).after is not None)
    world.deliveries.jobs.clear()

    with monkeypatch.context() as broken:
        broken.setattr(world.users, "read_many", refuse)
        with pytest.raises(Unavailable):
            world.audiences.work(job, world.now)
    put_by_the_failure = [*world.deliveries.jobs]
    world.audiences.work(job, world.now)

    behind = part(SESSION, job.shard).after
    assert put_by_the_failure == []
    assert [(it.shard, it.after) for it in world.deliveries.jobs] == [(job.shard, behind)]


def refuse(*_: object, **__: object) -> NoReturn:
    raise Unavailable("The table is busy.")


def message(world: World) -> None:
    world.sessions.say("c0", ROOM, "hi", None, world.now)


def movement(world: World) -> None:
    world.exit("c0", ROOM)
    world.stream()


def tick(world: World) -> None:
    now = world.now
    world.rooms.opens(ROOM, ["user-0"], 20, now)
    world.rooms.tick(ROOM, now, now)


@pytest.mark.parametrize("say", [message, movement, tick])
def test_what_was_said_is_told_to_nobody_who_came_long_after(say: Callable[[World], None]) -> None:
    """Out of a dead-letter queue: a job does not say who was there."""
    world = crowded(20)
    say(world)
    late, world.deliveries.jobs = world.deliveries.jobs, []
    world.wait(3_600_000)
    world.join("new", "n1")
    world.enter("n1", ROOM)
    world.gateway.heard.clear()

    done = [world.audiences.work(job, world.now) for job in late]

    assert done == [None] * len(late)
    assert late
    assert not world.gateway.heard
    assert not world.deliveries.jobs


@pytest.mark.parametrize("say", [message, movement, tick])
def test_what_the_queue_had_to_repeat_is_told_all_the_same(say: Callable[[World], None]) -> None:
    world = crowded(20)
    say(world)
    world.wait(13 * 60_000)

    world.work()

    assert world.gateway.heard.keys() >= {f"c{number}" for number in range(1, 20)}


@pytest.mark.parametrize("is_global", [True, False])
def test_what_only_the_users_own_devices_see_makes_no_job(*, is_global: bool) -> None:
    world = crowded(20, is_global=is_global)
    world.choose("user-0", Choice.INVISIBLE)
    world.stream()
    world.work()
    world.gateway.heard.clear()

    world.choose("user-0", Choice.INVISIBLE, "to myself")
    world.stream()

    assert not world.deliveries.jobs
    assert heard(world) == {"c0": [("user-0", "invisible")]}


@pytest.mark.parametrize("is_global", [True, False])
def test_a_job_about_somebody_erased_says_that_they_are_gone(*, is_global: bool) -> None:
    world = crowded(20, is_global=is_global)
    world.choose("user-0", Choice.BUSY)
    world.stream()
    late = [*world.deliveries.jobs]
    world.work()
    (held,) = changes(world, "c1")
    world.wait(1)
    world.privacy.erase("user-0", world.now, lifts_blocks=True)
    world.stream()
    world.gateway.heard.clear()

    world.work()  # what the erasure told
    world.deliveries.jobs += late
    world.work()

    told = changes(world, "c1")
    assert {it["status"] for it in told} == {"offline"}
    assert told[0]["version"] > held["version"]


def test_a_message_to_many_reaches_all_others_once() -> None:
    world = crowded(20)

    world.sessions.say("c3", ROOM, "hi", None, world.now)
    world.work()

    frames = {name: world.frames_of(name) for name in world.gateway.heard}
    assert frames.keys() == {f"c{number}" for number in range(20)} - {"c3"}
    assert all([it["content"] for it in told] == ["hi"] for told in frames.values())


def test_whom_a_user_hides_from_hears_nothing_by_a_job_either() -> None:
    world = crowded(20)
    world.privacy.block("user-0", "user-7", world.now)
    world.stream()
    world.work()
    blocked = world.heard_by("c7")
    world.gateway.heard.clear()

    world.choose("user-0", Choice.BUSY)
    world.choose("user-1", Choice.AWAY)
    world.stream()
    world.work()

    assert blocked == [("user-0", "offline")]
    assert world.heard_by("c7") == [("user-1", "away")]
    assert sorted(world.heard_by("c8")) == [("user-0", "busy"), ("user-1", "away")]


def test_who_turns_invisible_looks_like_leaving_and_their_devices_know_the_truth() -> None:
    world = crowded(20)

    world.choose("user-0", Choice.INVISIBLE)
    world.stream()
    world.work()

    assert heard(world) == {"c0": [("user-0", "invisible")]} | {
        f"c{number}": [("user-0", "offline")] for number in range(1, 20)
    }


def test_comings_and_goings_are_counted_for_each_viewer_also_by_jobs() -> None:
    world = crowded(20)
    world.privacy.block("user-0", "user-7", world.now)
    world.stream()
    world.work()
    world.gateway.heard.clear()

    world.exit("c0", ROOM)
    world.exit("c1", ROOM)
    world.stream()
    world.work()

    told = {name: world.frames_of(name) for name in ("c7", "c8")}
    assert [(it["left"], it["memberCount"]) for it in told["c7"]] == [(["user-1"], 18)]
    assert [(it["left"], it["memberCount"]) for it in told["c8"]] == [(["user-0", "user-1"], 18)]


def test_what_no_job_can_carry_is_told_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    world = crowded(20)
    monkeypatch.setattr(audiences, "ROOM", 100)

    world.choose("user-0", Choice.BUSY)
    world.exit("c1", ROOM)
    world.stream()

    assert not world.deliveries.jobs
    assert all(("user-0", "busy") in world.heard_by(f"c{number}") for number in range(2, 20))
    assert all(world.frames_of(f"c{number}")[-1]["left"] == ["user-1"] for number in range(2, 20))


def test_a_topic_grows_with_its_listeners_and_not_because_it_is_read() -> None:
    world = crowded(3)
    grown = [world.tables.shards.get(SESSION, 1)]
    for number in range(3, 40):
        world.join(f"user-{number}", f"c{number}")
        world.enter(f"c{number}", ROOM)
        world.stream()
        world.work()
        grown.append(world.tables.shards.get(SESSION, 1))
    for _ in range(3):
        world.choose("user-0", Choice.BUSY)
        world.choose("user-0", Choice.ONLINE)
        world.stream()
        world.work()

    assert grown == sorted(grown)
    assert grown[-1] == world.tables.shards[SESSION] == 16


def test_a_shard_that_got_very_full_before_anybody_read_it_is_split_far_enough() -> None:
    world = World(is_global=False)
    for number in range(30):
        world.join(f"user-{number}", f"c{number}")
        world.enter(f"c{number}", ROOM)

    world.audiences.gather(SESSION, grows=True)

    assert world.tables.shards[SESSION] == 16


def test_whoever_only_reads_lets_nothing_grow(world: World) -> None:
    for number in range(30):
        world.join(f"user-{number}", f"c{number}")
        world.enter(f"c{number}", ROOM)

    assert world.audiences.gather(SESSION).subscribers is None

    assert SESSION not in world.tables.shards


def test_nobody_types_for_more_than_one_function_can_tell() -> None:
    world = crowded(20)

    world.sessions.typing("c0", ROOM, world.now, is_typing=True)

    assert not world.gateway.heard
    assert not world.deliveries.jobs


NAMES = [f"user-{number}" for number in range(8)]


@given(st.data())
@settings(max_examples=40)
def test_many_end_with_what_few_would_whatever_the_queue_does(data: st.DataObject) -> None:
    """Jobs come in any order, some twice; clients drop versions that are not newer."""
    with patch.multiple(audiences, ALONE=5, ROWS=2, MOST_SHARDS=16):
        world = crowded(8, is_global=data.draw(st.booleans()))
        for _ in range(data.draw(st.integers(1, 12))):
            world.wait(1)
            _something_happens(world, data)
        world.announcements.announce([Record(*images) for images in world.tables.stream])
        _work_at_random(world, data)

    for number, viewer_id in enumerate(NAMES):
        for user_id, shown in _shown(world, f"c{number}").items():
            seen = world.user(user_id).seen_by(viewer_id)
            assert shown == (seen.version, seen.status.value), (viewer_id, user_id)


def _something_happens(world: World, data: st.DataObject) -> None:
    user_id, other = data.draw(st.permutations(NAMES))[:2]
    match data.draw(st.sampled_from(["choose", "block", "unblock", "stream", "work"])):
        case "choose":
            world.choose(user_id, data.draw(st.sampled_from(Choice)))
        case "block":
            world.privacy.block(user_id, other, world.now)
        case "unblock":
            world.privacy.unblock(user_id, other, world.now)
        case "stream":
            world.stream()
        case "work":
            _work_at_random(world, data)


def _shown(world: World, connection_id: str) -> dict[str, tuple[int, str]]:
    """What a client shows of each user: the newest that it was told."""
    shown: dict[str, tuple[int, str]] = {}
    for frame in world.frames_of(connection_id):
        for change in frame.get("changes", []):
            known = shown.get(change["userId"], (-1, ""))
            shown[change["userId"]] = max(known, (change["version"], change["status"]))
    return shown


def _work_at_random(world: World, data: st.DataObject) -> None:
    while jobs := world.deliveries.jobs:
        at = data.draw(st.integers(0, len(jobs) - 1))
        if data.draw(st.booleans()):
            world.audiences.work(jobs[at], world.now)
        world.audiences.work(jobs.pop(at), world.now)


def test_everybody_of_a_large_stack_hears_a_change_once() -> None:
    world = crowded(40, is_global=True)

    world.choose("user-0", Choice.BUSY)
    world.stream()
    world.work()

    counts = Counter({name: len(texts) for name, texts in world.gateway.heard.items()})
    assert world.tables.shards[EVERYONE] == 16
    assert counts == dict.fromkeys(world.tables.everyone, 1)
    assert json.loads(world.gateway.heard["c39"][0])["changes"][0]["status"] == "busy"
