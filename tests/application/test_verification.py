"""Verifying: what the asker is told, who is probed, and what becomes of those who do not answer."""

from collections.abc import Callable

import pytest

from presence.domain.errors import RateLimited, Unavailable
from presence.domain.user import Choice, Presence, Status
from presence.limits import MAX_VERIFIED, USER_BURST
from presence.ports import WriteConflict
from tests.world import FRESH, GRACE, LEASE, PROBE, SECOND, World

OLD = FRESH + 10 * SECOND


@pytest.fixture
def world() -> World:
    """ada is at two devices that were not heard for a while, and eve looks; all hear of all."""
    world = World()
    for name in ("a1", "a2"):
        world.join("ada", name)
    world.wait(OLD)
    world.join("eve", "e1")
    world.stream()
    world.gateway.heard.clear()
    return world


def probes(world: World, *names: str) -> list[int]:
    """How many probes came to each connection."""
    frames = (world.frames_of(name) for name in names or ("a1", "a2"))
    return [[it["type"] for it in some].count("probe") for some in frames]


def ask(world: World) -> Presence:
    (ada,) = world.verify("e1", "ada").users
    return ada


# ── what the asker is told ─────────────────────────────────────────────────────────────────


def test_fresh_evidence_is_told_and_no_one_is_probed(world: World) -> None:
    world.ping("a1")

    verified = world.verify("e1", "ada")

    assert verified.awaited == []
    assert world.now - 10 * SECOND < (verified.users[0].heard_at or 0) <= world.now
    assert probes(world) == [0, 0]


def test_the_answer_comes_at_once_and_the_truth_with_the_next(world: World) -> None:
    asked_at = world.now
    first = world.verify("e1", "ada")
    world.wait(200)
    world.ping("a1")
    world.wait(500)

    second = world.verify("e1", "ada")

    assert first.awaited == ["ada"]
    assert (first.users[0].heard_at or 0) <= asked_at - OLD
    assert second.awaited == []
    assert second.users[0].heard_at == asked_at
    assert first.users[0].version == second.users[0].version


def test_users_are_answered_in_the_order_asked(world: World) -> None:
    verified = world.verify("e1", "nobody", "ada", "eve", "ada")

    assert [it.user_id for it in verified.users] == ["nobody", "ada", "eve", "ada"]
    assert [it.is_online for it in verified.users] == [False, True, True, True]
    assert verified.awaited == ["ada"]


# ── who does not answer ────────────────────────────────────────────────────────────────────


def test_who_does_not_answer_is_offline_for_all_within_the_time_of_a_probe(world: World) -> None:
    world.verify("e1", "ada")
    assert ("user", "ada", PROBE // SECOND) in world.timers.asked
    world.wait(PROBE - 1)
    world.fire_timers()
    assert world.read("ada", "eve").is_online

    world.timers.asked.append(("user", "ada", 1))
    world.wait(1)
    world.fire_timers()
    world.stream()

    assert world.heard_by("e1") == [("ada", "offline")]
    assert world.tables.users["ada"].leases == {}


def test_who_asks_again_knows_it_without_a_timer(world: World) -> None:
    ask(world)
    world.wait(PROBE)

    verified = world.verify("e1", "ada")

    assert (verified.users[0].status, verified.users[0].heard_at) == (Status.OFFLINE, None)
    assert verified.awaited == []


def test_a_device_that_answers_keeps_its_user_and_loses_the_others(world: World) -> None:
    ask(world)
    world.ping("a2")
    world.wait(PROBE)

    world.fire_timers()
    world.fire_timers()

    assert ask(world).is_online
    assert set(world.user("ada").leases) == {"a2"}
    assert world.try_ping("a1") == "not-authenticated"


def test_an_answer_keeps_the_lease_as_long_as_any_ping(world: World) -> None:
    ask(world)
    world.wait(PROBE - 1)
    world.ping("a1")
    world.wait(LEASE - 1)

    assert world.read("ada").is_online
    world.wait(1)
    assert not world.read("ada").is_online


def test_a_client_that_comes_too_late_is_back_with_its_next_frame(world: World) -> None:
    ask(world)
    world.wait(PROBE)
    assert not ask(world).is_online

    world.ping("a1")

    assert ask(world).is_online


def test_a_probe_raises_no_version_and_announces_nothing(world: World) -> None:
    before = world.user("ada")

    ask(world)
    world.ping("a1")

    after = world.user("ada")
    assert (after.version, after.own_version) == (before.version, before.own_version)
    assert world.stream().figures["changes"] == 0
    assert world.heard_by("e1") == []


# ── what a probe needs ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("answer", ["busy", "refusing", "gone"])
def test_a_post_that_was_not_taken_shortens_no_lease(world: World, answer: str) -> None:
    before = world.user("ada").leases
    getattr(world.gateway, answer).update({"a1", "a2"})

    ask(world)

    assert world.user("ada").leases == before
    assert [name for name, _ in world.timers.gone] == ["a1", "a2"] * (answer == "gone")
    assert world.deliveries.waiting == []


def test_of_two_posts_each_counts_for_its_own_lease(world: World) -> None:
    before = world.user("ada").leases
    world.gateway.busy.add("a1")

    ask(world)

    after = world.user("ada").leases
    assert after["a1"] == before["a1"]
    assert after["a2"].expires_at == world.now + PROBE


def test_one_whose_socket_is_gone_is_offline_after_the_grace_period(world: World) -> None:
    world.gateway.gone.update({"a1", "a2"})
    ask(world)

    world.fire_timers()
    world.wait(GRACE)

    assert not ask(world).is_online


@pytest.mark.parametrize("dies_before", ["mark_probed", "send_or_drop", "expect"])
def test_a_crash_between_two_steps_puts_no_client_offline(world: World, dies_before: str) -> None:
    leases = world.user("ada").leases
    verified = None
    if dies_before == "expect":
        verified = world.verification.ask("e1", ["ada"], world.now)
    else:
        port = world.dispatcher.gateway if dies_before == "send_or_drop" else world.users
        name = "post" if dies_before == "send_or_drop" else dies_before
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(port, name, died)
            with pytest.raises(Died):
                world.verify("e1", "ada")

    assert world.user("ada").leases == leases
    assert verified is None or probes(world) == [1, 1]
    world.wait(FRESH)
    assert ask(world).is_online
    assert probes(world)[0] >= 1


class Died(Exception):
    pass


def died(*_: object, **__: object) -> None:
    raise Died


def test_a_probe_that_was_answered_before_its_end_was_written_ends_nothing(world: World) -> None:
    verified = world.verification.ask("e1", ["ada"], world.now)
    world.ping("a1")
    renewed = world.user("ada").leases["a1"]

    world.verification.expect(verified.probes, world.now)

    leases = world.user("ada").leases
    assert leases["a1"] == renewed
    assert leases["a2"].expires_at == world.now + PROBE


def test_a_function_that_was_stopped_gives_the_client_its_time_all_the_same(world: World) -> None:
    verified = world.verification.ask("e1", ["ada"], world.now)
    world.wait(20 * SECOND)

    world.verification.expect(verified.probes, world.now)

    assert world.user("ada").leases["a1"].expires_at == world.now + PROBE


def test_one_whose_item_is_written_all_the_time_keeps_the_lease(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object, **__: object) -> bool:
        raise WriteConflict

    leases = world.user("ada").leases
    monkeypatch.setattr(world.users, "save", busy)

    assert ask(world).is_online
    assert world.user("ada").leases == leases


def test_a_queue_that_takes_no_timer_leaves_the_lease(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Unavailable("full")

    monkeypatch.setattr(world.timers, "check_all", full)
    leases = world.user("ada").leases

    assert ask(world).is_online
    assert world.user("ada").leases == leases


# ── how often ──────────────────────────────────────────────────────────────────────────────


def test_a_thousand_who_look_send_one_probe(world: World) -> None:
    for number in range(1_000):
        world.join(f"viewer-{number}", f"v{number}")

    for number in range(1_000):
        assert world.verify(f"v{number}", "ada").awaited == ["ada"]

    assert probes(world) == [1, 1]
    assert [it[:2] for it in world.timers.asked if it[0] == "user"] == [("user", "ada")]


def test_of_all_who_have_read_the_same_one_sends_the_probe(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They all find the evidence old before any of them has marked the user."""
    stale = world.user("ada")
    world.join("bob", "b1")
    ask(world)
    monkeypatch.setattr(world.users, "read_many", lambda *_, **__: {"ada": stale})

    assert world.verify("b1", "ada").awaited == ["ada"]
    assert probes(world) == [1, 1]


def test_the_next_probe_comes_when_evidence_is_old_again(world: World) -> None:
    for _ in range(2):
        ask(world)
        world.ping("a1")
        world.ping("a2")
        world.wait(FRESH - 1)
        ask(world)
        assert probes(world).pop() == 1
        world.wait(1)
        world.gateway.heard.clear()


def test_a_verification_counts_for_each_user_that_is_asked_for(world: World) -> None:
    names = [f"user-{number}" for number in range(MAX_VERIFIED)]
    often = USER_BURST // (1 + MAX_VERIFIED)
    connections = [f"e{number}" for number in range(2, 6)]
    for name in connections:
        world.join("eve", name)
    world.wait(USER_BURST * SECOND)
    for name in connections:
        world.ping(name)

    for number in range(often):
        world.verify(connections[number % 4], *names)

    with pytest.raises(RateLimited):
        world.verify(connections[0], *names)


# ── who hides ──────────────────────────────────────────────────────────────────────────────

Hides = Callable[[World], object]
HIDING: dict[str, Hides] = {
    "blocks": lambda world: world.blocking.block("ada", "eve", world.now),
    "is invisible": lambda world: world.choose("ada", Choice.INVISIBLE),
}


@pytest.mark.parametrize("hides", HIDING.values(), ids=HIDING)
@pytest.mark.parametrize("later", [0, GRACE - 1, GRACE, LEASE])
def test_one_who_hides_is_verified_as_one_who_left(hides: Hides, later: int) -> None:
    """In what is answered, and in what is done for it, which takes its time."""
    seen = list[tuple[Presence, int]]()
    for way in (hides, lambda world: [world.leave(name) for name in ("a1", "a2")]):
        world = World()
        for name in ("a1", "a2"):
            world.join("ada", name)
        world.wait(OLD)
        world.join("eve", "e1")
        way(world)
        world.wait(later)
        before = world.user("ada").probed_at
        (ada,) = world.verify("e1", "ada").users
        assert world.user("ada").probed_at == before
        assert probes(world) == [0, 0]
        seen.append((ada, before))
    assert seen[0] == seen[1]
    assert seen[0][0].heard_at is None


def test_who_blocks_a_viewer_answers_the_probes_of_others(world: World) -> None:
    world.block("ada", "eve")
    world.join("bob", "b1")

    world.verify("b1", "ada")
    world.ping("a1")

    assert probes(world) == [1, 1]
    (ada,) = world.verify("b1", "ada").users
    assert ada.heard_at == world.now
    (hidden,) = world.verify("e1", "ada").users
    assert (hidden.is_online, hidden.heard_at) == (False, None)
