from presence.domain.connection import State
from presence.domain.user import Choice, Status
from presence.ports import Count
from tests.world import AUTHENTICATION, GRACE, LEASE, World


def state(world: World, connection_id: str) -> State:
    gate = world.connections.read(connection_id)
    assert gate is not None
    return gate.state


def test_whoever_never_authenticates_is_told_why_and_closed(world: World) -> None:
    world.open("a1")
    world.wait(AUTHENTICATION)

    world.fire_timers()

    assert world.frames_of("a1") == [{"type": "closing", "reason": "authentication-timeout"}]
    assert world.gateway.closed == ["a1"]
    assert state(world, "a1") is State.CLOSED


def test_a_timer_that_comes_early_waits_for_the_rest(world: World) -> None:
    world.open("a1")
    world.wait(AUTHENTICATION - 2_500)

    world.fire_timers()

    assert world.gateway.closed == []
    assert world.timers.asked == [("connection", "a1", 3)]


def test_whoever_authenticated_in_time_is_left_alone(world: World) -> None:
    world.join("ada", "a1")
    world.wait(AUTHENTICATION)

    world.fire_timers()

    assert world.gateway.closed == []
    assert world.read("ada").status is Status.ONLINE


def test_grace_that_is_over_ends_in_one_announcement(world: World) -> None:
    world.join("bob", "b1")
    world.join("ada", "a1")
    world.leave("a1")
    world.wait(GRACE)

    world.fire_timers()
    world.settling.user("ada", world.now)
    world.stream()

    assert world.heard_by("b1").count(("ada", "offline")) == 1


def test_a_grace_timer_that_comes_too_soon_asks_again(world: World) -> None:
    world.join("ada", "a1")
    world.leave("a1")
    world.timers.asked.clear()
    world.wait(GRACE - 3_000)

    world.settling.user("ada", world.now)

    assert world.read("ada").status is Status.ONLINE
    assert world.timers.asked == [("user", "ada", 3)]


def test_a_grace_timer_of_somebody_who_is_back_does_nothing(world: World) -> None:
    world.join("ada", "a1")
    world.leave("a1")
    world.join("ada", "a2")
    world.wait(GRACE)
    revision = world.user("ada").revision

    world.fire_timers()

    assert world.user("ada").revision == revision


def test_the_sweep_finds_whoever_fell_silent_and_clears_up_behind_them(world: World) -> None:
    world.join("bob", "b1")
    world.join("ada", "a1")
    world.stream()
    world.wait(LEASE - 1_000)
    world.ping("b1")
    world.wait(1_000)

    world.sweep()
    world.fire_timers()
    world.stream()

    assert world.heard_by("b1")[-1] == ("ada", "offline")
    assert state(world, "a1") is State.CLOSED
    assert set(world.tables.everyone) == {"b1"}
    assert world.gateway.closed == ["a1"]


def test_a_connection_that_pinged_in_the_meantime_is_spared(world: World) -> None:
    world.join("ada", "a1")
    world.wait(LEASE)
    world.read("ada")
    world.ping("a1")

    world.fire_timers()

    assert world.gateway.closed == []
    assert world.read("ada").status is Status.ONLINE


def test_a_silent_connection_is_told_when_its_token_was_the_reason(world: World) -> None:
    world.open("a1")
    world.authenticate("ada", "a1", token_life=20_000)
    world.wait(50_000)

    world.sweep()
    world.fire_timers()

    assert world.frames_of("a1")[-1] == {"type": "closing", "reason": "token-expired"}
    assert world.gateway.closed == ["a1"]


def test_a_disconnect_that_died_halfway_is_finished_by_the_sweep(world: World) -> None:
    world.join("ada", "a1")
    world.connections.close("a1", world.now)
    world.wait(LEASE)

    world.sweep()
    world.fire_timers()

    assert world.user("ada").leases == {}
    assert world.tables.everyone == {}


def test_the_sweep_ends_what_a_lost_timer_should_have_ended(world: World) -> None:
    world.join("ada", "a1")
    world.choose("ada", Choice.BUSY, until=world.now + 20_000)
    world.timers.asked.clear()
    world.wait(21_000)

    world.sweep()

    assert world.user("ada").status is Status.ONLINE


def test_the_sweep_sets_a_timer_for_what_falls_due_before_the_next_one(world: World) -> None:
    world.join("ada", "a1")
    world.choose("ada", Choice.BUSY, until=world.now + 240_000)
    for _ in range(3):
        world.wait(60_000)
        world.ping("a1")
    world.timers.asked.clear()

    world.sweep()

    assert world.timers.asked == [("user", "ada", 60)]


def test_two_sweeps_at_once_say_everything_once(world: World) -> None:
    world.join("ada", "a1")
    world.join("bob", "b1")
    world.stream()
    world.wait(LEASE)

    world.sweep()
    world.sweep()

    assert len(world.tables.stream) == 4


def test_the_sweep_counts_those_whom_others_see(world: World) -> None:
    for name in ("ada", "bob", "eve"):
        world.join(name, f"c-{name}")
    world.choose("eve", Choice.INVISIBLE)
    world.roster.counted(Count(99, 0))

    world.sweep()

    assert world.roster.count() == Count(2, world.now)


def test_a_sweep_without_time_left_counts_nothing(world: World) -> None:
    world.join("ada", "a1")

    assert world.sweeping.run(world.now, lambda: False) is None
