"""Topics with many recipients: jobs post to a page of a shard each, and each viewer ends right."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NoReturn
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presence import limits
from presence.domain.errors import Unavailable
from presence.domain.user import Choice
from presence.fanout.diffs import Record
from presence.ports import EVERYONE, Delivery, Post, Topic
from tests.world import GRACE, World

ROOM = "room.1"
SESSION = Topic("session", ROOM)


@pytest.fixture(autouse=True)
def small_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than five recipients are too many, and two fill a shard."""
    for name, value in {"POSTS_AT_ONCE": 5, "ROWS_PER_SHARD": 2, "MOST_SHARDS": 16}.items():
        monkeypatch.setattr(limits, name, value)


def crowded(amount: int, *, page: int = 2, is_global: bool = False) -> World:
    """A room with so many connections of as many users, all of them announced."""
    world = World(is_global=is_global, page=page)
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


def test_few_recipients_are_posted_to_at_once() -> None:
    world = crowded(5)

    world.choose("user-0", Choice.BUSY)
    world.stream()

    assert not world.deliveries.jobs
    assert heard(world) == {f"c{number}": [("user-0", "busy")] for number in range(5)}


def test_many_recipients_are_posted_to_by_one_job_for_each_shard() -> None:
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
def test_a_job_that_runs_twice_says_nothing_new(*, is_global: bool) -> None:
    world = crowded(20, is_global=is_global)
    world.choose("user-0", Choice.BUSY)
    world.stream()

    world.deliveries.jobs *= 2
    world.work()

    told = heard(world)
    assert all(set(it) == {("user-0", "busy")} for it in told.values())
    assert told.keys() == {f"c{number}" for number in range(20)}


@pytest.mark.parametrize("is_global", [True, False])
def test_a_late_job_sends_presences_as_they_are_now(*, is_global: bool) -> None:
    world = crowded(20, is_global=is_global)
    world.choose("user-0", Choice.BUSY, "secret")
    world.stream()
    late = [*world.deliveries.jobs]
    world.work()
    world.wait(1)
    world.block("user-0", "user-7")
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


def test_a_job_that_fails_has_queued_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each retry would queue the next page once more, and so would each job behind it."""
    world = crowded(20)
    world.choose("user-0", Choice.BUSY)
    world.stream()
    part = world.subscriptions.part
    job = next(it for it in world.deliveries.jobs if part(SESSION, it.shard).after is not None)
    world.deliveries.jobs.clear()

    with monkeypatch.context() as broken:
        broken.setattr(world.users, "read_many", refuse)
        with pytest.raises(Unavailable):
            world.broadcast.work(job, world.now)
    put_by_the_failure = [*world.deliveries.jobs]
    world.broadcast.work(job, world.now)

    behind = part(SESSION, job.shard).after
    assert put_by_the_failure == []
    assert [(it.shard, it.after) for it in world.deliveries.jobs] == [(job.shard, behind)]


def refuse(*_: object, **__: object) -> NoReturn:
    raise Unavailable("The table is busy.")


def message(world: World) -> None:
    world.messages.say("c0", ROOM, "hi", None, world.now)


def membership(world: World) -> None:
    world.exit("c0", ROOM)
    world.stream()


def tick(world: World) -> None:
    now = world.now
    world.large_rooms.open(ROOM, ["user-0"], 20, now)
    world.large_rooms.tick(ROOM, now, now)


@pytest.mark.parametrize("say", [message, membership, tick])
def test_frames_are_not_sent_long_after_they_were_made(say: Callable[[World], None]) -> None:
    """Out of a dead-letter queue: a job does not say who was subscribed then."""
    world = crowded(20)
    say(world)
    late, world.deliveries.jobs = world.deliveries.jobs, []
    world.wait(3_600_000)
    world.join("new", "n1")
    world.enter("n1", ROOM)
    world.gateway.heard.clear()

    done = [world.broadcast.work(job, world.now) for job in late]

    assert done == [None] * len(late)
    assert late
    assert not world.gateway.heard
    assert not world.deliveries.jobs


@pytest.mark.parametrize("say", [message, membership, tick])
def test_frames_that_the_queue_had_to_repeat_are_sent(say: Callable[[World], None]) -> None:
    world = crowded(20)
    say(world)
    world.wait(13 * 60_000)

    world.work()

    assert world.gateway.heard.keys() >= {f"c{number}" for number in range(1, 20)}


@pytest.mark.parametrize("is_global", [True, False])
def test_changes_that_only_own_devices_see_make_no_job(*, is_global: bool) -> None:
    world = crowded(20, is_global=is_global)
    world.hide("user-0")
    world.stream()
    world.work()
    world.gateway.heard.clear()

    world.hide("user-0", "to myself")
    world.stream()

    assert not world.deliveries.jobs
    assert heard(world) == {"c0": [("user-0", "invisible")]}


@pytest.mark.parametrize("is_global", [True, False])
def test_a_late_job_about_an_erased_user_says_offline(*, is_global: bool) -> None:
    world = crowded(20, is_global=is_global)
    world.choose("user-0", Choice.BUSY)
    world.stream()
    late = [*world.deliveries.jobs]
    world.work()
    (held,) = changes(world, "c1")
    world.wait(1)
    world.removal.erase("user-0", world.now, lifts_blocks=True)
    world.stream()
    world.gateway.heard.clear()

    world.work()  # what the erasure told
    world.deliveries.jobs += late
    world.work()

    told = changes(world, "c1")
    assert {it["status"] for it in told} == {"offline"}
    assert told[0]["version"] > held["version"]


def test_a_message_to_many_reaches_each_other_member_once() -> None:
    world = crowded(20)

    world.messages.say("c3", ROOM, "hi", None, world.now)
    world.work()

    frames = {name: world.frames_of(name) for name in world.gateway.heard}
    assert frames.keys() == {f"c{number}" for number in range(20)} - {"c3"}
    assert all([it["content"] for it in told] == ["hi"] for told in frames.values())


def test_a_blocked_viewer_hears_nothing_by_a_job() -> None:
    world = crowded(20)
    world.block("user-0", "user-7")
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


def test_an_invisible_user_looks_offline_except_to_own_devices() -> None:
    world = crowded(20)

    world.hide("user-0")
    world.stream()
    world.work()

    assert heard(world) == {"c0": [("user-0", "invisible")]} | {
        f"c{number}": [("user-0", "offline")] for number in range(1, 20)
    }


def test_joins_and_leaves_are_counted_for_each_viewer_also_by_jobs() -> None:
    world = crowded(20)
    world.block("user-0", "user-7")
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


def test_frames_too_large_for_a_job_are_posted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = crowded(20)
    monkeypatch.setattr(limits, "JOB_BUDGET", 100)

    world.exit("c1", ROOM)
    world.stream()
    world.deliver()

    assert not world.deliveries.jobs
    leaves = [
        [frame for frame in world.frames_of(f"c{number}") if frame.get("left") == ["user-1"]]
        for number in range(2, 20)
    ]
    assert all(map(len, leaves))


@pytest.mark.fault("A job fails each time.")
def test_a_job_that_fails_does_not_bring_its_successors_again() -> None:
    world = crowded(20)
    world.subscriptions._page = 1
    jobs, tries, post = world.deliveries.jobs, Counter[tuple[int, str | None]](), world.gateway.post
    world.messages.say("c0", ROOM, "hi", None, world.now)

    def post_at_the_last_try(posts: Iterable[Post], *, until: int | None = None) -> Delivery:
        if tries[job.shard, job.after] < 5:
            raise Unavailable("API Gateway does not answer.")
        return post(posts, until=until)

    world.gateway.post = post_at_the_last_try  # type: ignore[method-assign]
    while jobs:
        job = jobs.pop()
        tries[job.shard, job.after] += 1
        try:
            world.broadcast.work(job, world.now)
        except Unavailable:
            jobs.append(job)

    assert set(tries.values()) <= {1, 5}  # one where the page has only the sender
    assert len(tries) >= 20
    assert [len(world.frames_of(f"c{number}")) for number in range(1, 20)] == [1] * 19


def test_a_topic_grows_with_its_subscribers_and_not_because_it_is_read() -> None:
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


def test_typing_is_not_sent_to_too_many() -> None:
    world = crowded(20)

    world.messages.typing("c0", ROOM, world.now, is_typing=True)

    assert not world.gateway.heard
    assert not world.deliveries.jobs


NAMES = [f"user-{number}" for number in range(8)]


@given(st.data())
@settings(max_examples=40)
def test_each_viewer_ends_right_whatever_the_queue_does(data: st.DataObject) -> None:
    """Jobs come in any order, some twice; clients drop versions that are not newer."""
    with patch.multiple(limits, POSTS_AT_ONCE=5, ROWS_PER_SHARD=2, MOST_SHARDS=16):
        world = crowded(8, is_global=data.draw(st.booleans()))
        for _ in range(data.draw(st.integers(1, 12))):
            world.wait(1)
            _something_happens(world, data)
        world.wait(GRACE)
        for name in NAMES:
            world.on_timer.user(name, world.now)
        world.announcer.announce([Record(*images) for images in world.tables.stream])
        _work_at_random(world, data)
        world.deliver()  # posts beyond five wait, too

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
            world.blocking.block(user_id, other, world.now)
        case "unblock":
            world.blocking.unblock(user_id, other, world.now)
        case "stream":
            world.stream()
        case "work":
            _work_at_random(world, data)


def _shown(world: World, connection_id: str) -> dict[str, tuple[int, str]]:
    """What a client shows of each user: the newest version that it was sent."""
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
            world.broadcast.work(jobs[at], world.now)
        world.broadcast.work(jobs.pop(at), world.now)


def test_each_connection_of_a_large_stack_hears_a_change_once() -> None:
    world = crowded(40, is_global=True)

    world.choose("user-0", Choice.BUSY)
    world.stream()
    world.work()

    counts = Counter({name: len(texts) for name, texts in world.gateway.heard.items()})
    assert world.tables.shards[EVERYONE] == 16
    assert counts == dict.fromkeys(world.tables.everyone, 1)
    assert json.loads(world.gateway.heard["c39"][0])["changes"][0]["status"] == "busy"
