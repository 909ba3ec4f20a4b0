import pytest

from presence.domain.connection import BURST, Admission, State
from presence.domain.errors import (
    Forbidden,
    NotAuthenticated,
    RateLimited,
    TokenExpired,
    TokenInvalid,
    Unavailable,
)
from presence.domain.events import Disconnected
from presence.domain.user import Choice, Status, User
from presence.ports import Lost
from presence.use_cases.connections import identify
from tests.fakes import FakeTokens
from tests.world import AUTHENTICATION, GRACE, LEASE, SECOND, TOKEN_LIFE, World


def test_a_connection_is_looked_at_again_when_it_should_have_authenticated(world: World) -> None:
    world.open("tab")

    assert world.timers.asked == [("connection", "tab", AUTHENTICATION // SECOND)]


def test_authenticating_brings_a_user_online_and_counts_them(world: World) -> None:
    world.join("bob", "b1")
    world.stream()

    welcome = world.join("ada", "a1")

    assert welcome.user.status is Status.ONLINE
    assert welcome.online_count == 2
    assert welcome.connection_expires_at == world.now + 7_200_000


def test_authenticating_again_renews_the_token_and_nothing_else(world: World) -> None:
    first = world.join("ada", "a1")
    world.wait(60_000)

    second = world.authenticate("ada", "a1")

    assert second.token_expires_at == world.now + TOKEN_LIFE
    assert second.user.version == first.user.version
    assert len(world.tables.stream) == 1


def test_a_connection_stays_with_the_user_who_came_first(world: World) -> None:
    world.join("ada", "a1")

    with pytest.raises(Forbidden):
        world.authenticate("eve", "a1")

    assert world.user("eve") == User("eve")


def test_a_closed_gate_lets_nobody_in(world: World) -> None:
    world.open("a1")
    world.leave("a1")

    with pytest.raises(Forbidden):
        world.authenticate("ada", "a1")

    assert world.user("ada").leases == {}


def test_a_token_of_somebody_else_than_claimed_is_refused() -> None:
    with pytest.raises(TokenInvalid):
        identify(FakeTokens(), "made-up", None, 0)


def test_nothing_is_accepted_before_authentication(world: World) -> None:
    world.open("a1")

    with pytest.raises(NotAuthenticated):
        world.ping("a1")


def test_nothing_is_accepted_on_a_connection_that_nobody_knows(world: World) -> None:
    with pytest.raises(NotAuthenticated):
        world.ping("unknown")


def test_nothing_is_accepted_after_the_token(world: World) -> None:
    world.open("a1")
    world.authenticate("ada", "a1", token_life=40_000)

    world.wait(69_999)
    world.ping("a1")
    world.wait(1)

    with pytest.raises(TokenExpired):
        world.ping("a1")


def test_a_lease_ends_with_its_token(world: World) -> None:
    world.open("a1")
    world.authenticate("ada", "a1", token_life=20_000)

    world.wait(50_000)

    assert world.read("ada").status is Status.OFFLINE


def test_pings_keep_a_user_online_and_tell_nobody(world: World) -> None:
    world.join("ada", "a1")

    for _ in range(10):
        world.wait(30_000)
        world.ping("a1")

    assert world.read("ada").status is Status.ONLINE
    assert len(world.tables.stream) == 1


def test_any_action_keeps_a_user_online_as_a_ping_does(world: World) -> None:
    world.join("ada", "a1")

    for _ in range(10):
        world.wait(30_000)
        world.act("a1")

    assert world.read("ada").status is Status.ONLINE
    assert len(world.tables.stream) == 1


def test_an_action_that_comes_late_brings_the_lease_back(world: World) -> None:
    world.join("ada", "a1")
    world.wait(LEASE + 1)
    world.sweep()

    assert world.act("a1") == "ada"

    assert set(world.user("ada").leases) == {"a1"}


def test_every_action_counts_for_a_whole_lease(world: World) -> None:
    world.join("ada", "a1")
    world.wait(SECOND)
    world.act("a1")

    world.wait(LEASE - 1)
    assert world.read("ada").status is Status.ONLINE
    world.wait(1)
    assert world.read("ada").status is Status.OFFLINE


def test_actions_one_after_the_other_renew_without_a_second_look(world: World) -> None:
    world.join("ada", "a1")
    revision = world.user("ada").revision

    for _ in range(5):
        world.wait(SECOND)
        world.act("a1")

    assert world.user("ada").revision == revision


def test_a_late_ping_before_anybody_noticed_goes_on_as_if_nothing_had_happened(
    world: World,
) -> None:
    world.join("ada", "a1")
    world.wait(LEASE + 1)

    world.ping("a1")

    assert world.read("ada").status is Status.ONLINE
    assert len(world.tables.stream) == 1


def test_a_late_ping_after_somebody_noticed_comes_back_with_a_newer_version(world: World) -> None:
    world.join("ada", "a1")
    world.wait(LEASE + 1)
    gone = world.read("ada")

    world.ping("a1")

    back = world.read("ada")
    assert (gone.status, back.status) == (Status.OFFLINE, Status.ONLINE)
    assert back.version > gone.version


def test_a_ping_after_the_disconnect_creates_nothing(world: World) -> None:
    world.join("ada", "a1")
    world.leave("a1")

    with pytest.raises(NotAuthenticated):
        world.ping("a1")

    assert world.user("ada").leases == {}


def test_a_device_without_a_person_makes_its_user_away(world: World) -> None:
    world.join("ada", "a1")

    world.ping("a1", is_active=False)

    assert world.read("ada").status is Status.AWAY


def test_an_idle_ping_that_changes_nothing_is_as_cheap_as_any(world: World) -> None:
    world.join("ada", "a1")
    world.ping("a1", is_active=False)
    revision = world.user("ada").revision

    world.wait(30_000)
    world.ping("a1", is_active=False)

    assert world.user("ada").revision == revision


def test_a_flood_of_pings_is_refused_beyond_the_burst(world: World) -> None:
    world.join("ada", "a1")

    codes = [world.try_ping("a1") for _ in range(BURST + 5)]

    assert codes == [""] * BURST + ["rate-limited"] * 5


def test_after_a_flood_waiting_helps(world: World) -> None:
    world.join("ada", "a1")
    for _ in range(BURST + 1):
        world.try_ping("a1")

    world.wait(2 * SECOND)

    assert [world.try_ping("a1") for _ in range(3)] == ["", "", "rate-limited"]


def test_a_refusal_says_when_to_ask_again(world: World) -> None:
    world.join("ada", "a1")
    for _ in range(BURST):
        world.ping("a1")

    with pytest.raises(RateLimited) as refusal:
        world.ping("a1")

    assert refusal.value.retry_after_seconds == 1


def test_disconnecting_closes_the_gate_and_forgets_the_subscriptions(world: World) -> None:
    world.join("ada", "a1")

    world.leave("a1")

    gate = world.connections.read("a1")
    assert gate is not None
    assert gate.state is State.CLOSED
    assert world.tables.everyone == {}
    assert ("user", "ada", GRACE // SECOND) in world.timers.asked


def test_a_disconnect_that_comes_twice_is_heard_once(world: World) -> None:
    world.join("ada", "a1")
    world.leave("a1")
    world.wait(GRACE)
    world.fire_timers()
    revision = len(world.tables.stream)

    world.leave("a1")

    assert world.read("ada").status is Status.OFFLINE
    assert len(world.tables.stream) == revision


def test_a_disconnect_always_writes_even_if_it_sees_nothing_to_remove(world: World) -> None:
    world.join("ada", "a1")
    world.lifecycle.changes.apply("ada", Disconnected("a1", world.now), world.now)
    revision = world.user("ada").revision

    world.leave("a1")

    assert world.user("ada").revision == revision + 1


def test_an_authenticate_that_races_a_disconnect_leaves_no_ghost(world: World) -> None:
    world.open("a1")
    before = world.user("ada")
    after = world.join("ada", "other").user
    world.leave("a1")

    admission = Admission("a1", world.now, world.now + TOKEN_LIFE)

    assert not world.users.save(before, after, world.now, announce=True, gate=admission)


def test_two_devices_at_once_both_get_in(world: World) -> None:
    world.open("a1")
    world.open("a2")
    read, interrupted = world.users.read, list[bool]()

    def read_then_lose(user_id: str, *, consistent: bool = False) -> User:
        user = read(user_id, consistent=consistent)
        if not interrupted:
            interrupted.append(True)
            world.authenticate("ada", "a2")
        return user

    world.users.read = read_then_lose  # type: ignore[method-assign]
    world.authenticate("ada", "a1")

    assert set(world.user("ada").leases) == {"a1", "a2"}


def test_whoever_always_loses_is_told_to_come_again(world: World) -> None:
    world.join("ada", "a1")

    def always_lose(*_: object, **__: object) -> bool:
        raise Lost

    world.users.save = always_lose  # type: ignore[method-assign]

    with pytest.raises(Unavailable):
        world.choose("ada", Choice.BUSY)


def test_a_lost_socket_of_this_endpoint_is_a_disconnect(world: World) -> None:
    world.join("ada", "a1")
    world.wait(60_000)

    world.lifecycle.lost("a1", world.now)

    assert world.user("ada").leases == {}


def test_a_young_socket_is_not_believed_to_be_lost(world: World) -> None:
    world.join("ada", "a1")
    world.wait(5_000)

    world.lifecycle.lost("a1", world.now)

    assert set(world.user("ada").leases) == {"a1"}


def test_a_socket_of_another_endpoint_is_not_ours_to_forget(world: World) -> None:
    other = World(tables=world.tables)
    object.__setattr__(other.lifecycle, "endpoint", "https://old.example/live")
    other.join("ada", "a1")
    world.wait(60_000)

    world.lifecycle.lost("a1", world.now)

    assert set(world.user("ada").leases) == {"a1"}


def test_what_nobody_knows_any_more_hears_nothing_any_more(world: World) -> None:
    world.tables.everyone["forgotten"] = "somebody"

    world.lifecycle.lost("forgotten", world.now)

    assert world.tables.everyone == {}
