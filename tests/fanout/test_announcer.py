"""Stories: what connections hear of the changes that the stream reports."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence.domain.user import Choice, Status
from presence.fanout import diffs
from presence.fanout.diffs import Record
from tests.world import GRACE, World


def records(world: World) -> list[Record]:
    return [Record(*images) for images in world.tables.stream]


def test_everyone_hears_that_a_user_connects_and_leaves(world: World) -> None:
    world.join("bob", "b1")
    world.join("ada", "a1")
    world.stream()
    world.leave("a1")
    world.wait(GRACE)
    world.fire_timers()
    world.stream()

    assert world.heard_by("b1") == [("bob", "online"), ("ada", "online"), ("ada", "offline")]


def test_a_return_within_the_grace_period_is_no_news(world: World) -> None:
    world.join("bob", "b1")
    world.join("ada", "a1")
    world.stream()
    before = world.everything_heard()

    world.leave("a1")
    world.wait(GRACE - 1)
    world.join("ada", "a2")
    world.fire_timers()
    world.stream()

    assert world.everything_heard() == before


@pytest.mark.fault("Very many users join at once.")
def test_each_connection_gets_one_frame_for_all_changes_of_a_batch(world: World) -> None:
    world.join("bob", "b1")
    world.stream()
    for name in ("ada", "eve", "kim"):
        world.join(name, f"c-{name}")

    world.stream()

    assert [len(frame["changes"]) for frame in world.frames_of("b1")] == [1, 3]


def test_without_global_presence_only_the_users_own_devices_hear() -> None:
    world = World(is_global=False)
    world.join("bob", "b1")
    world.join("ada", "a1")
    world.join("ada", "a2")
    world.stream()
    world.gateway.heard.clear()

    world.choose("ada", Choice.BUSY)
    world.stream()

    assert world.everything_heard() == {"a1": [("ada", "busy")], "a2": [("ada", "busy")]}


def test_a_large_batch_is_split_into_frames_that_api_gateway_takes(world: World) -> None:
    world.join("bob", "b1")
    world.stream()
    world.gateway.heard.clear()
    for number in range(150):
        name = f"user-{number:0100}"
        world.join(name, f"c{number}")
        world.choose(name, Choice.BUSY, "\N{GRINNING FACE}" * 140)

    world.stream()

    frames = world.gateway.heard["b1"]
    assert len(frames) > 1
    assert all(len(frame.encode()) < 32 * 1024 for frame in frames)
    assert len({name for name, _ in world.heard_by("b1")}) == 150


@pytest.mark.fault("API Gateway says that a connection is gone.")
def test_a_lost_socket_is_disconnected_and_the_others_hear_the_change(
    world: World,
) -> None:
    world.join("bob", "b1")
    world.join("eve", "e1")
    world.stream()
    world.wait(60_000)
    world.ping("b1")
    world.ping("e1")
    world.gateway.gone.add("e1")

    world.join("ada", "a1")
    world.stream()

    world.fire_timers()

    assert world.user("eve").leases == {}
    assert world.heard_by("b1")[-1] == ("ada", "online")
    assert "e1" not in world.tables.everyone


def test_a_post_to_a_busy_socket_waits_in_the_queue(world: World) -> None:
    world.join("bob", "b1")
    world.join("eve", "e1")
    world.gateway.busy.add("b1")

    world.announcer.announce(records(world))

    ((post, attempt, delay),) = world.deliveries.waiting
    assert (post.connection_ids, attempt, delay) == (["b1"], 1, 1)
    assert len(world.heard_by("e1")) == 2


def test_a_refused_post_delays_no_other(world: World) -> None:
    world.join("bob", "b1")
    world.join("eve", "e1")
    world.gateway.refusing.add("e1")

    announced = world.announcer.announce(records(world))

    assert announced.figures["refused_posts"] == 1
    assert len(world.heard_by("b1")) == 2


@pytest.mark.fault("An announcement is lost, after all retries.")
def test_after_a_missed_change_the_list_and_the_next_change_are_right(world: World) -> None:
    world.join("bob", "b1")
    world.join("ada", "a1")
    world.stream()
    world.gateway.refusing.add("b1")
    world.choose("ada", Choice.BUSY)
    world.stream()
    world.gateway.refusing.clear()

    missed, listed = world.heard_by("b1")[-1], world.online_list.page(50, None, "bob", world.now)
    world.choose("ada", Choice.DND)
    world.stream()

    assert missed == ("ada", "online")
    assert [it.status for it in listed.users if it.user_id == "ada"] == [Status.BUSY]
    assert world.heard_by("b1")[-1] == ("ada", "dnd")


def test_a_late_record_of_an_erased_user_shows_the_user_to_no_viewer(world: World) -> None:
    world.join("ada", "a1")
    world.enter("a1", "room")
    late = records(world)
    world.stream()
    world.removal.erase("ada", world.now, lifts_blocks=False)
    world.stream()
    world.join("bob", "b1")
    world.enter("b1", "room")
    world.stream()
    world.gateway.heard.clear()

    world.announcer.announce(late)

    assert world.heard_by("b1") == [("ada", "offline")]
    assert not any('"online"' in text for text in world.gateway.heard["b1"])


def test_a_batch_of_many_topics_stops_in_time_and_says_how_far_it_came(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diffs, "TOPICS_AT_ONCE", 2)
    for number in range(5):
        world.join(f"user-{number}", f"c{number}")
    world.stream()
    for number in range(5):
        world.enter(f"c{number}", f"room-{number}")
    batch = records(world)[5:]
    time = iter([True, True])

    first = world.announcer.announce(batch, lambda: next(time, False))
    rest = world.announcer.announce(batch[first.records :])

    assert (first.records, rest.records) == (4, 1)


def test_the_count_follows_the_stream(world: World) -> None:
    world.join("bob", "b1")
    world.join("ada", "a1")
    world.choose("ada", Choice.BUSY)
    world.stream()
    world.leave("a1")
    world.wait(GRACE)
    world.fire_timers()
    world.stream()

    assert world.online_index.count().online == 1


@pytest.mark.fault("A record of the stream is handled twice.")
@pytest.mark.fault("Records or jobs come in another order.")
@given(st.data())
def test_an_observer_that_drops_old_versions_ends_right_whatever_the_stream_does(
    data: st.DataObject,
) -> None:
    world = World()
    world.join("bob", "b1")
    world.join("ada", "a1")
    for choice in data.draw(st.lists(st.sampled_from(Choice), max_size=8)):
        world.wait(1)
        world.choose("ada", choice)
    delivered = data.draw(st.permutations(records(world) * 2))
    world.tables.stream.clear()

    while delivered:
        size = data.draw(st.integers(1, len(delivered)))
        world.announcer.announce(delivered[:size])
        delivered = delivered[size:]

    shown: dict[str, dict[str, int | str]] = {}
    for text in world.gateway.heard["b1"]:
        for change in json.loads(text)["changes"]:
            if change["version"] > shown.get(change["userId"], {"version": -1})["version"]:
                shown[change["userId"]] = change
    expected = world.user("ada").presence
    assert (shown["ada"]["status"], shown["ada"]["version"]) == (expected.status, expected.version)
