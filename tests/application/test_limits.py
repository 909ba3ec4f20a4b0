"""What one user may do, over connections, reconnects and HTTP; and what becomes of floods."""

from collections.abc import Callable

import pytest

from presence.application.standings import Reads
from presence.domain.errors import (
    InvalidMessage,
    NotAuthenticated,
    PayloadTooLarge,
    PresenceError,
    RateLimited,
    TokenExpired,
    TokenInvalid,
    UnknownAction,
)
from presence.domain.events import Chosen
from presence.domain.rate_limit import Charge
from presence.domain.user import Choice
from presence.limits import (
    ANNOUNCED_MILLISECONDS,
    BURST,
    MAX_CONNECTIONS,
    MAX_REFUSED_FRAMES,
    MAX_UNAUTHENTICATED_FRAMES,
    REFUSED_FRAME_MILLISECONDS,
    UNCHARGED_UNITS,
    USER_BURST,
    USER_UNIT_MILLISECONDS,
)
from tests.world import LEASE, SECOND, World


def act(world: World, name: str, times: int) -> int:
    """How many of so many frames are served."""
    served = 0
    for _ in range(times):
        try:
            world.access.authorize(name, world.now)
        except RateLimited:
            continue
        served += 1
    return served


def first_refusal(call: Callable[[int], object]) -> RateLimited:
    """What a call is told that is repeated without end."""
    for number in range(10 * USER_BURST):
        try:
            call(number)
        except RateLimited as refusal:
            return refusal
    raise AssertionError("it is never refused")


def test_twenty_tabs_that_come_back_and_send_at_once_are_served(world: World) -> None:
    tabs = [f"a{number}" for number in range(MAX_CONNECTIONS)]
    for name in tabs:
        world.join("ada", name)
    world.wait(10_000)

    assert [act(world, name, BURST) for name in tabs] == [BURST] * MAX_CONNECTIONS
    assert act(world, tabs[0], 1) == 0


def test_the_frame_that_brings_a_connection_back_is_charged_to_it(world: World) -> None:
    world.join("ada", "a1")
    world.wait(LEASE)
    world.read("ada")  # removes the lease

    assert act(world, "a1", BURST + 1) == BURST


@pytest.mark.fault("A script reconnects, so that its connection may act anew.")
def test_a_script_that_reconnects_does_no_more_than_its_user_may(world: World) -> None:
    served = 0

    def come_again(number: int) -> None:
        nonlocal served
        world.join("mallory", f"m{number}")
        served += act(world, f"m{number}", BURST)
        world.leave(f"m{number}")

    refusal = first_refusal(come_again)

    assert served < USER_BURST
    assert refusal.retry_after_seconds
    world.join("ada", "a1")
    assert act(world, "a1", 1) == 1


@pytest.mark.fault("A script chooses statuses over HTTP without end.")
def test_statuses_over_http_and_on_sockets_have_one_limit(world: World) -> None:
    world.join("mallory", "m1")
    charge = Charge(world.now, 2)
    first_refusal(
        lambda _: world.statuses.change("mallory", Chosen(Choice.BUSY), world.now, charge)
    )

    assert act(world, "m1", BURST) <= 1
    world.wait(10 * USER_UNIT_MILLISECONDS)
    assert act(world, "m1", BURST) == 10


def test_reading_over_http_is_charged_in_bundles_and_bounded(world: World) -> None:
    world.join("ada", "a1")
    before = world.user("ada").arrival
    reads = Reads(world.users)

    for _ in range(UNCHARGED_UNITS - 1):
        reads.charge("ada", 1, world.now)
    assert world.user("ada").arrival == before
    reads.charge("ada", 1, world.now)
    assert world.user("ada").arrival == before + UNCHARGED_UNITS * USER_UNIT_MILLISECONDS
    with pytest.raises(RateLimited):
        reads.charge("ada", USER_BURST, world.now)


def test_who_was_never_here_reads_no_more_than_others(world: World) -> None:
    reads = Reads(world.users)
    for _ in range(USER_BURST):
        reads.charge("eve", 1, world.now)

    with pytest.raises(RateLimited):
        reads.charge("eve", 1, world.now)
    assert "eve" not in world.tables.users


@pytest.mark.fault("A socket sends frames, and never authenticates.")
def test_a_socket_that_never_authenticates_is_closed_after_some_frames(world: World) -> None:
    world.open("x1")
    strikes = world.strikes

    for number in range(MAX_UNAUTHENTICATED_FRAMES):
        assert world.gateway.closed == []
        with pytest.raises(NotAuthenticated) as refusal:
            world.access.authorize("x1", world.now + number)
        strikes.refused("x1", refusal.value, world.now)

    assert world.gateway.closed == ["x1"]


def test_a_socket_that_has_authenticated_elsewhere_stays_open(world: World) -> None:
    world.join("ada", "a1")
    for _ in range(2 * MAX_UNAUTHENTICATED_FRAMES):
        world.strikes.refused("a1", NotAuthenticated("late"), world.now)

    assert world.gateway.closed == []
    assert act(world, "a1", 1) == 1


#: What is refused before it is charged, and what the rate limit refuses.
UNCHARGED: list[PresenceError] = [
    RateLimited("Ask again in 1 s.", retry_after_seconds=1),
    InvalidMessage("no"),
    UnknownAction("no"),
    PayloadTooLarge("no"),
    TokenInvalid("no"),
    TokenExpired("no"),
]


@pytest.mark.fault("A script sends on, whatever it is answered.")
@pytest.mark.parametrize("refusal", UNCHARGED, ids=lambda it: it.code)
def test_a_socket_that_goes_on_beyond_its_limit_is_closed(
    world: World, refusal: PresenceError
) -> None:
    world.join("ada", "a1")
    for number in range(MAX_REFUSED_FRAMES):
        assert world.gateway.closed == []
        world.strikes.refused("a1", refusal, world.now + number)

    assert world.gateway.closed == ["a1"]
    assert world.user("ada").leases == {}


def test_different_refusals_count_together(world: World) -> None:
    world.join("ada", "a1")
    for refusal in UNCHARGED * (MAX_REFUSED_FRAMES // len(UNCHARGED) + 1):
        world.strikes.refused("a1", refusal, world.now)

    assert world.gateway.closed == ["a1"]


@pytest.mark.fault("A client that is refused now and then stays connected for two hours.")
def test_who_is_refused_now_and_then_is_never_closed(world: World) -> None:
    world.join("ada", "a1")
    for number in range(2 * 60 * 60 * SECOND // REFUSED_FRAME_MILLISECONDS):
        world.strikes.refused("a1", UNCHARGED[0], world.now + number * REFUSED_FRAME_MILLISECONDS)
    for _ in range(MAX_REFUSED_FRAMES // 2):  # and a burst of a client that queued
        world.strikes.refused("a1", UNCHARGED[0], world.now + 2 * 60 * 60 * SECOND)

    assert world.gateway.closed == []


def test_a_flood_is_closed_after_as_many_frames_again_if_it_goes_on(world: World) -> None:
    world.join("ada", "a1")
    for _ in range(3 * MAX_REFUSED_FRAMES):
        world.strikes.refused("a1", UNCHARGED[0], world.now)

    assert world.gateway.closed == ["a1"] * 3


# ── announcing ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def flipping(world: World) -> World:
    """Bob hears of ada, who has two devices, and has been online for some time."""
    for user_id, name in (("ada", "a1"), ("ada", "a2"), ("bob", "b1")):
        world.join(user_id, name)
    world.wait(ANNOUNCED_MILLISECONDS - world.now % ANNOUNCED_MILLISECONDS)
    world.stream()
    world.gateway.heard.clear()
    return world


def statuses(world: World, name: str) -> list[str]:
    return [status for _, status in world.heard_by(name)]


@pytest.mark.fault("A user changes the status many times a second.")
def test_others_hear_the_first_and_the_last_of_rapid_changes_and_own_devices_all(
    flipping: World,
) -> None:
    choices = [Choice.BUSY, Choice.AWAY, Choice.DND, Choice.AWAY, Choice.DND]
    for choice in choices:
        flipping.wait(10)
        flipping.choose("ada", choice)
        flipping.announce()

    assert statuses(flipping, "a2") == list(choices)
    assert statuses(flipping, "b1") == ["busy"]
    delays = {delay for *_, delay in flipping.timers.told}
    flipping.wait(ANNOUNCED_MILLISECONDS)
    flipping.tell()
    assert statuses(flipping, "b1") == ["busy", "dnd"]
    assert statuses(flipping, "a2") == list(choices)
    assert delays == {ANNOUNCED_MILLISECONDS // 1000}


def test_changes_that_go_on_are_heard_once_in_each_interval(flipping: World) -> None:
    for number in range(100):
        flipping.wait(ANNOUNCED_MILLISECONDS // 10)
        flipping.choose("ada", Choice.BUSY if number % 2 else Choice.AWAY)
        flipping.announce()
        flipping.tell(due_at=flipping.now - ANNOUNCED_MILLISECONDS)

    assert 10 <= len(statuses(flipping, "b1")) <= 12


@pytest.mark.parametrize("hide", ["block", "invisible", "leave"])
def test_hiding_and_leaving_are_never_held(flipping: World, hide: str) -> None:
    flipping.choose("ada", Choice.BUSY)
    flipping.announce()
    flipping.wait(1)

    if hide == "block":
        flipping.blocking.block("ada", "bob", flipping.now)
    elif hide == "invisible":
        flipping.choose("ada", Choice.INVISIBLE)
    else:
        flipping.removal.kick("ada", flipping.now)
    flipping.announce()
    # Hiding looks like closing a tab: it is told after the grace period.
    flipping.wait(0 if hide == "leave" else 10_000)
    flipping.on_timer.user("ada", flipping.now)
    flipping.announce()

    assert statuses(flipping, "b1") == ["busy", "offline"]
    flipping.tell()
    assert statuses(flipping, "b1") == ["busy", "offline"]


def test_what_was_held_is_told_to_no_viewer_who_was_blocked_meanwhile(flipping: World) -> None:
    for choice in (Choice.BUSY, Choice.AWAY):
        flipping.choose("ada", choice)
        flipping.announce()
        flipping.wait(1)
    flipping.blocking.block("ada", "bob", flipping.now)
    flipping.announce()

    flipping.tell()

    assert statuses(flipping, "b1") == ["busy"]
