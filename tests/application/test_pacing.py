"""Heartbeats by situation: what clients say they keep, and what they are told to."""

import pytest

from presence.application.connections import PingCommand
from presence.domain.errors import RateLimited
from presence.domain.user import Status
from tests.world import BACKGROUND, HEARTBEAT, LEASE, LONG_LEASE, SECOND, TOKEN_LIFE, World

SLOW, FAST = BACKGROUND // SECOND, HEARTBEAT // SECOND


def ping(world: World, name: str, *, active: bool = True, heartbeat: int | None = None) -> int:
    """What the ping is told to keep, in seconds."""
    command = PingCommand(name, world.owners[name], active, (heartbeat or FAST) * SECOND)
    return world.connections.ping(command, world.now) // SECOND


def told(world: World, name: str) -> list[int]:
    """The heartbeats that a connection was told since the last time."""
    frames = [it for it in world.frames_of(name) if it["type"] == "heartbeat"]
    world.gateway.heard.pop(name, None)
    return [it["heartbeatSeconds"] for it in frames]


def end_of(world: World, name: str) -> int:
    return world.user(world.owners[name]).leases[name].expires_at - world.now


def test_a_hidden_page_asks_for_the_slow_heartbeat_and_has_its_lease(world: World) -> None:
    world.join("ada", "a1")
    world.wait(HEARTBEAT)

    wanted = ping(world, "a1", active=False, heartbeat=SLOW)

    assert (wanted, end_of(world, "a1")) == (SLOW, LONG_LEASE)
    assert world.read("ada").status is Status.AWAY
    world.wait(LONG_LEASE - 1)
    assert world.read("ada").is_online
    world.wait(1)
    assert not world.read("ada").is_online


def test_slow_pings_keep_a_user_online_at_one_write_each(world: World) -> None:
    world.join("ada", "a1", is_active=False)
    world.wait(HEARTBEAT)
    ping(world, "a1", active=False, heartbeat=SLOW)
    revision = world.user("ada").revision

    for _ in range(5):
        world.wait(BACKGROUND)
        ping(world, "a1", active=False, heartbeat=SLOW)
        world.run_sweep()

    assert world.read("ada").is_online
    assert world.user("ada").revision == revision
    assert told(world, "a1") == []


def test_back_in_the_foreground_a_death_is_noticed_as_soon_as_ever(world: World) -> None:
    world.join("ada", "a1")
    world.wait(HEARTBEAT)
    ping(world, "a1", active=False, heartbeat=SLOW)
    world.wait(HEARTBEAT)

    wanted = ping(world, "a1")

    assert (wanted, end_of(world, "a1")) == (FAST, LEASE)
    world.wait(LEASE)
    assert not world.read("ada").is_online


@pytest.mark.parametrize("frame", ["act", "authenticate"])
def test_every_frame_renews_a_slow_lease_by_its_own_time(world: World, frame: str) -> None:
    world.join("ada", "a1")
    world.wait(HEARTBEAT)
    ping(world, "a1", active=False, heartbeat=SLOW)
    world.wait(HEARTBEAT)

    if frame == "act":
        world.act("a1")
    else:
        world.authenticate("ada", "a1")

    assert end_of(world, "a1") == LONG_LEASE


def test_a_slow_lease_ends_with_its_token(world: World) -> None:
    world.open("a1")
    world.authenticate("ada", "a1", token_life=60 * SECOND)
    world.wait(HEARTBEAT)

    ping(world, "a1", active=False, heartbeat=SLOW)

    assert end_of(world, "a1") == 60 * SECOND  # with the leeway


def test_a_slow_client_that_was_late_is_back_for_as_long(world: World) -> None:
    world.join("ada", "a1", is_active=False)
    world.wait(LEASE)
    world.run_sweep()

    ping(world, "a1", active=False, heartbeat=SLOW)

    assert end_of(world, "a1") == LONG_LEASE


@pytest.mark.fault("A frame that is no ping brings back a client that pings rarely.")
def test_what_another_frame_brings_back_lasts_until_the_slowest_ping(world: World) -> None:
    world.join("ada", "a1")
    world.wait(LEASE)
    world.run_sweep()

    world.act("a1")
    assert end_of(world, "a1") == LONG_LEASE

    world.wait(HEARTBEAT)
    ping(world, "a1")
    assert end_of(world, "a1") == LEASE


def test_a_client_that_names_no_heartbeat_keeps_the_usual_one_and_is_told_of_no_other(
    world: World,
) -> None:
    world.join("ada", "a1")
    world.join("ada", "a2")
    world.wait(HEARTBEAT)

    for name in ("a1", "a2"):
        world.ping(name, is_active=False)

    assert [end_of(world, name) for name in ("a1", "a2")] == [LEASE, LEASE]
    assert told(world, "a1") == told(world, "a2") == []


def test_beside_another_device_with_a_person_one_of_two_is_told_to_be_slow(world: World) -> None:
    world.join("ada", "a1")
    world.join("ada", "a2")
    world.wait(HEARTBEAT)

    assert [ping(world, name) for name in ("a1", "a2")] == [SLOW, FAST]
    assert (told(world, "a1"), told(world, "a2")) == ([SLOW], [])

    ping(world, "a1", heartbeat=SLOW)
    world.wait(HEARTBEAT)
    assert ping(world, "a1", heartbeat=SLOW) == SLOW
    assert told(world, "a1") == []


@pytest.mark.parametrize("way", ["idle", "closed", "left", "dead"])
def test_who_is_left_alone_is_told_to_be_fast_again(world: World, way: str) -> None:
    world.join("ada", "a1")
    world.join("ada", "a2")
    world.wait(HEARTBEAT)
    ping(world, "a1", heartbeat=SLOW)
    ping(world, "a2")
    told(world, "a1")
    world.wait(HEARTBEAT)

    if way == "idle":
        ping(world, "a2", active=False, heartbeat=SLOW)
    elif way == "closed":
        world.leave("a2")
    elif way == "left":
        world.connections.leave("a2", world.now)
    else:
        world.wait(LEASE)
        world.run_sweep()
        world.fire_timers()

    assert told(world, "a1") == [FAST]


def test_what_was_not_heard_is_said_again_by_the_next_ping(world: World) -> None:
    world.join("ada", "a1")
    world.join("ada", "a2")
    world.wait(HEARTBEAT)
    ping(world, "a1", heartbeat=SLOW)
    world.leave("a2")
    told(world, "a1")
    world.wait(BACKGROUND)

    assert ping(world, "a1", heartbeat=SLOW) == FAST
    assert told(world, "a1") == [FAST]


def test_an_answered_ping_is_not_told_twice(world: World) -> None:
    world.join("ada", "a1")
    world.join("ada", "a2")
    world.wait(HEARTBEAT)
    command = PingCommand("a1", "ada", is_active=True, heartbeat=HEARTBEAT)

    assert world.connections.ping(command, world.now, is_answered=True) == BACKGROUND
    assert told(world, "a1") == []


def test_a_device_that_changes_its_mind_all_the_time_is_refused(world: World) -> None:
    world.join("ada", "a1")
    world.wait(HEARTBEAT)

    def flap() -> None:
        for _ in range(50):
            ping(world, "a1", active=False, heartbeat=SLOW)
            ping(world, "a1")

    with pytest.raises(RateLimited):
        flap()


@pytest.mark.fault("A ping from before a page was hidden is handled after the one that says so.")
def test_a_late_fast_ping_is_mended_by_the_next_slow_one(world: World) -> None:
    """Clients wait for the answer to a change, and a moment after a ping before they send one."""
    world.join("ada", "a1")
    world.wait(HEARTBEAT)
    ping(world, "a1", active=False, heartbeat=SLOW)
    ping(world, "a1")
    world.wait(HEARTBEAT)

    ping(world, "a1", active=False, heartbeat=SLOW)

    assert end_of(world, "a1") == LONG_LEASE
    assert world.user("ada").leases["a1"].ends_by == world.now + TOKEN_LIFE + 30_000 - 2 * HEARTBEAT
