from collections.abc import Callable
from typing import Any

import pytest

from presence.application.access import identify
from presence.domain.connection import Admission, Connection, State
from presence.domain.errors import (
    Forbidden,
    NotAuthenticated,
    RateLimited,
    TokenExpired,
    TokenInvalid,
    Unavailable,
)
from presence.domain.events import Disconnected
from presence.domain.standing import Token
from presence.domain.user import Choice, Status, User
from presence.limits import BURST, MAX_CONNECTIONS
from presence.ports import Pinged, Renewal, WriteConflict
from tests.fakes import FakeTokens
from tests.world import AUTHENTICATION, GRACE, HEARTBEAT, LEASE, SECOND, TOKEN_LIFE, World


def overtake_the_first_read(world: World, act: Callable[[], object]) -> None:
    """The next read of a user sees what *act* has changed meanwhile."""
    read, overtaken = world.users.read, list[bool]()

    def read_then_lose(user_id: str, *, consistent: bool = False) -> User:
        user = read(user_id, consistent=consistent)
        if not overtaken:
            overtaken.append(True)
            act()
        return user

    world.users.read = read_then_lose  # type: ignore[method-assign]


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


@pytest.mark.fault("A connection authenticates twice.")
@pytest.mark.fault("A function dies after the write and before the answer.")
def test_authenticating_again_renews_the_token_and_nothing_else(world: World) -> None:
    first = world.join("ada", "a1")
    world.wait(60_000)

    second = world.authenticate("ada", "a1")

    assert second.token_expires_at == world.now + TOKEN_LIFE
    assert second.user.version == first.user.version
    assert len(world.tables.stream) == 1


@pytest.mark.fault("A gateway gives the time of the frame as that at which the socket was opened.")
def test_a_connection_ends_when_it_ends_whatever_the_gateway_says_of_its_opening(
    world: World,
) -> None:
    first = world.join("ada", "a1")
    world.wait(60_000)

    second = world.authenticate("ada", "a1", opened_at=world.now)

    assert second.connection_expires_at == first.connection_expires_at


def test_a_gateway_knows_earlier_than_a_record_when_the_socket_was_opened(world: World) -> None:
    opened_at = world.now
    world.wait(1_500)
    world.open("a1")
    first = world.authenticate("ada", "a1", opened_at=opened_at)
    world.wait(60_000)

    second = world.authenticate("ada", "a1", opened_at=opened_at)

    assert second.connection_expires_at == first.connection_expires_at == opened_at + 7_200_000


@pytest.mark.fault("A connection authenticates as another user.")
def test_a_connection_stays_with_the_user_who_came_first(world: World) -> None:
    world.join("ada", "a1")

    with pytest.raises(Forbidden) as refusal:
        world.authenticate("eve", "a1")

    assert refusal.value.message == "This connection is another user's; open a new one."
    assert not world.user("eve").revision


def test_a_closed_connection_record_refuses_authentication(world: World) -> None:
    world.open("a1")
    world.leave("a1")

    with pytest.raises(NotAuthenticated) as refusal:
        world.authenticate("ada", "a1")

    assert refusal.value.message == "This connection is over; open a new one."
    assert world.user("ada").leases == {}


def test_authentication_on_an_unknown_connection_is_refused(world: World) -> None:
    with pytest.raises(NotAuthenticated):
        world.authenticate("ada", "unknown")

    assert world.user("ada").leases == {}


def test_the_reason_of_a_refusal_is_read_consistently(world: World) -> None:
    world.open("a1")
    before, read = world.records.read("a1"), world.records.read
    world.leave("a1")

    def stale(connection_id: str, *, consistent: bool = False) -> Connection | None:
        return read(connection_id) if consistent else before

    world.records.read = stale  # type: ignore[method-assign]

    with pytest.raises(NotAuthenticated):
        world.authenticate("ada", "a1")


def test_a_token_of_another_user_than_claimed_is_refused() -> None:
    with pytest.raises(TokenInvalid):
        identify(FakeTokens(), "made-up", None, 0)


def test_nothing_is_accepted_before_authentication(world: World) -> None:
    world.open("a1")

    with pytest.raises(NotAuthenticated):
        world.ping("a1")


def test_a_read_that_lags_behind_authenticate_refuses_nothing(world: World) -> None:
    world.open("a1")
    read, opened = world.records.read, world.records.read("a1")
    world.authenticate("ada", "a1")

    def lag(connection_id: str, *, consistent: bool = False) -> Connection | None:
        return read(connection_id) if consistent else opened

    world.records.read = lag  # type: ignore[method-assign]

    assert world.act("a1") == "ada"


@pytest.mark.fault("A frame comes through a connection that has no record.")
def test_every_action_on_an_unknown_connection_is_refused(world: World) -> None:
    with pytest.raises(NotAuthenticated):
        world.ping("unknown")


@pytest.mark.fault("A token ends while its connection lives.")
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


def test_pings_renew_the_lease_and_announce_nothing(world: World) -> None:
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


def test_a_ping_renews_no_lease_but_its_own(world: World) -> None:
    world.join("ada", "dead")
    world.join("ada", "live")
    world.wait(LEASE - SECOND)
    world.ping("live")
    world.wait(SECOND)

    world.run_sweep()

    assert set(world.user("ada").leases) == {"live"}


def test_a_ping_repairs_nothing(world: World) -> None:
    world.join("ada", "a1")
    world.hide("ada")
    revision = world.user("ada").revision
    world.wait(30_000)

    world.ping("a1")

    assert world.read("ada").status is Status.OFFLINE
    assert world.user("ada").revision == revision


def test_an_action_that_comes_late_brings_the_lease_back(world: World) -> None:
    world.join("ada", "a1")
    world.wait(LEASE + 1)
    world.run_sweep()

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


def test_a_late_ping_before_the_expiry_was_noticed_renews_the_lease(
    world: World,
) -> None:
    world.join("ada", "a1")
    world.wait(LEASE + 1)

    world.ping("a1")

    assert world.read("ada").status is Status.ONLINE
    assert len(world.tables.stream) == 1


def test_a_late_ping_after_the_expiry_was_noticed_returns_with_a_newer_version(
    world: World,
) -> None:
    world.join("ada", "a1")
    world.wait(LEASE + 1)
    gone = world.read("ada")

    world.ping("a1")

    back = world.read("ada")
    assert (gone.status, back.status) == (Status.OFFLINE, Status.ONLINE)
    assert back.version > gone.version


def test_a_late_ping_that_races_a_disconnect_leaves_no_ghost(world: World) -> None:
    world.join("ada", "a1")
    world.wait(LEASE)
    world.run_sweep()
    renew = world.users.renew

    def renew_late(*names: Any, **rest: Any) -> Pinged:
        world.leave("a1")
        return renew(*names, **rest)

    world.users.renew = renew_late  # type: ignore[method-assign]
    with pytest.raises(NotAuthenticated):
        world.ping("a1")

    assert world.user("ada").leases == {}
    assert world.tables.everyone == {}


def test_an_action_racing_a_disconnect_is_refused(world: World) -> None:
    world.join("ada", "a1")
    act = world.users.act

    def act_late(*args: Any) -> Renewal:
        world.leave("a1")
        return act(*args)

    world.users.act = act_late  # type: ignore[method-assign, assignment]
    with pytest.raises(NotAuthenticated):
        world.access.authorize("a1", world.now)


@pytest.mark.fault("A ping is handled after the disconnect.")
def test_a_ping_after_the_disconnect_creates_nothing(world: World) -> None:
    world.join("ada", "a1")
    world.leave("a1")

    with pytest.raises(NotAuthenticated):
        world.ping("a1")

    assert world.user("ada").leases == {}


def test_one_lost_ping_does_not_expire_the_lease(world: World) -> None:
    world.join("ada", "a1")

    for _ in range(10):
        world.wait(HEARTBEAT)  # this one never arrives
        assert world.read("ada").status is Status.ONLINE
        world.wait(HEARTBEAT)
        world.ping("a1")

    assert world.read("ada").status is Status.ONLINE
    assert len(world.tables.stream) == 1


@pytest.mark.fault("Two frames of one connection are handled at once, or in the other order.")
def test_of_two_choices_the_one_that_is_handled_last_stays(world: World) -> None:
    """API Gateway gives no order to the frames of a connection, and neither do we."""
    world.join("ada", "a1")
    read, overtaken = world.users.read, list[bool]()

    def read_and_be_overtaken(user_id: str, *, consistent: bool = False) -> User:
        user = read(user_id, consistent=consistent)
        if not overtaken:
            overtaken.append(True)
            world.choose("ada", Choice.DND)
        return user

    world.users.read = read_and_be_overtaken  # type: ignore[method-assign]
    after = world.choose("ada", Choice.BUSY)

    assert world.read("ada") == after.presence
    assert [it.status for _, it in world.tables.stream] == [
        *(Status.ONLINE, Status.DND, Status.BUSY)
    ]


def test_a_device_without_a_person_makes_its_user_away(world: World) -> None:
    world.join("ada", "a1")

    world.ping("a1", is_active=False)

    assert world.read("ada").status is Status.AWAY


def test_a_hidden_tab_that_reconnects_never_shows_its_user_online(world: World) -> None:
    world.join("ada", "a1", is_active=False)
    world.leave("a1")

    welcome = world.join("ada", "a2", is_active=False)

    assert welcome.user.status is Status.AWAY
    assert [after.status for _, after in world.tables.stream] == [Status.AWAY]


def test_a_hidden_tab_that_hands_over_never_shows_its_user_online(world: World) -> None:
    world.join("ada", "a1", is_active=False)

    world.join("ada", "a2", is_active=False)
    world.leave("a1")

    assert world.read("ada").status is Status.AWAY
    assert [after.status for _, after in world.tables.stream] == [Status.AWAY]


def test_a_renewed_token_does_not_make_an_away_device_active(world: World) -> None:
    world.join("ada", "a1")
    world.ping("a1", is_active=False)

    renewed = world.authenticate("ada", "a1")
    back = world.authenticate("ada", "a1", is_active=True)

    assert (renewed.user.status, back.user.status) == (Status.AWAY, Status.ONLINE)


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


def test_a_disconnect_closes_the_connection_record_and_removes_the_subscriptions(
    world: World,
) -> None:
    world.join("ada", "a1")

    world.leave("a1")

    record = world.records.read("a1")
    assert record is not None
    assert record.state is State.CLOSED
    assert world.tables.everyone == {}
    assert ("user", "ada", GRACE // SECOND) in world.timers.asked


@pytest.mark.fault("`$disconnect` comes twice, or minutes late.")
def test_a_disconnect_that_comes_twice_is_heard_once(world: World) -> None:
    world.join("ada", "a1")
    world.leave("a1")
    world.wait(GRACE)
    world.fire_timers()
    revision = len(world.tables.stream)

    world.leave("a1")

    assert world.read("ada").status is Status.OFFLINE
    assert len(world.tables.stream) == revision


@pytest.mark.fault("A connection record is closed, and the answer that names its user is lost.")
@pytest.mark.parametrize("way", ["disconnect", "leave", "gone"])
def test_a_close_whose_answer_was_lost_does_its_work(world: World, way: str) -> None:
    world.join("ada", "a1")
    world.enter("a1", "room")
    world.wait(60_000)
    close = world.records.close

    def loses_its_answer(
        connection_id: str, now: int, known: Connection | None = None
    ) -> Connection | None:
        close(connection_id, now)
        return known  # the adapter finds its own write

    world.records.close = loses_its_answer  # type: ignore[method-assign]
    if way == "disconnect":
        world.leave("a1")
    elif way == "leave":
        world.connections.leave("a1", world.now)
    else:
        world.expiry.lose("a1", world.now, world.now)

    assert not world.user("ada").leases
    assert (world.tables.sessions, world.tables.everyone) == ({}, {})


def test_a_disconnect_after_the_sweep_announces_nothing(world: World) -> None:
    world.join("ada", "a1")
    world.wait(LEASE)
    world.run_sweep()
    world.fire_timers()
    told, gone = len(world.tables.stream), world.read("ada")

    world.leave("a1")
    world.wait(GRACE)
    world.fire_timers()

    assert len(world.tables.stream) == told
    assert world.read("ada") == gone
    assert world.tables.is_spotless()


@pytest.mark.fault("A user is back at the very end of grace.")
@pytest.mark.parametrize("away", [GRACE - 1, GRACE, GRACE + 1])
def test_back_around_the_end_of_grace_is_no_news_or_two_versions(world: World, away: int) -> None:
    before = world.join("ada", "a1").user
    told = len(world.tables.stream)
    world.leave("a1")
    world.wait(away)

    world.join("ada", "a2")
    world.fire_timers()

    news = world.tables.stream[told:]
    assert world.read("ada").status is Status.ONLINE
    assert [after.status for _, after in news] in ([], [Status.ONLINE])
    assert all(after.version > before.version for _, after in news)


@pytest.mark.fault("One device leaves while another arrives.")
def test_a_disconnect_racing_another_device_does_not_go_offline(world: World) -> None:
    world.join("ada", "a1")
    world.open("a2")
    told = len(world.tables.stream)
    overtake_the_first_read(world, lambda: world.authenticate("ada", "a2"))
    world.leave("a1")
    world.wait(GRACE)
    world.fire_timers()

    assert set(world.user("ada").leases) == {"a2"}
    assert len(world.tables.stream) == told


@pytest.mark.fault("A write was made, and its answer is lost.")
def test_a_write_whose_answer_was_lost_counts_once(world: World) -> None:
    world.open("a1")
    save, lost = world.users.save, list[User]()

    def save_and_lose_the_answer(before: User, after: User, now: int, **others: Any) -> bool:
        done = save(before, after, now, **others)
        if not lost:
            lost.append(before)
            raise WriteConflict(world.user("ada"))  # what a second try of the same write would find
        return done

    world.users.save = save_and_lose_the_answer  # type: ignore[method-assign]
    world.authenticate("ada", "a1")
    once = len(world.tables.stream)
    lost.clear()
    world.leave("a1")
    lost.clear()
    world.choose("ada", Choice.BUSY)

    assert (once, len(world.tables.stream)) == (1, 2)
    assert world.user("ada").leases == {}
    assert world.user("ada").status is Status.BUSY


@pytest.mark.fault("A plain read sees half of a transaction.")
def test_a_disconnect_always_writes_even_if_it_sees_nothing_to_remove(world: World) -> None:
    world.join("ada", "a1")
    world.changes.apply("ada", Disconnected("a1", world.now), world.now)
    revision = world.user("ada").revision

    world.leave("a1")

    assert world.user("ada").revision == revision + 1


@pytest.mark.fault("`$disconnect` is handled while `authenticate` runs.")
def test_an_authenticate_that_races_a_disconnect_leaves_no_ghost(world: World) -> None:
    world.open("a1")
    before = world.user("ada")
    after = world.join("ada", "other").user
    world.leave("a1")

    admission = Admission("a1", world.now, Token(world.now + TOKEN_LIFE))

    assert not world.users.save(
        before, after, world.now, announce=True, connection_change=admission
    )


def test_authentication_racing_a_disconnect_finds_the_record_closed(world: World) -> None:
    world.join("ada", "a1")
    save, refusals = world.users.save, list[str]()

    def save_then_meet(*images: Any, **rest: Any) -> bool:
        is_saved = save(*images, **rest)
        if not refusals:
            refusals.append("none")
            with pytest.raises(NotAuthenticated) as refusal:
                world.authenticate("ada", "a1")
            refusals.append(refusal.value.code)
        return is_saved

    world.users.save = save_then_meet  # type: ignore[method-assign]
    world.leave("a1")

    assert refusals == ["none", "not-authenticated"]
    assert world.user("ada").leases == {}


def test_two_devices_at_once_both_get_in(world: World) -> None:
    world.open("a1")
    world.open("a2")
    overtake_the_first_read(world, lambda: world.authenticate("ada", "a2"))
    world.authenticate("ada", "a1")

    assert set(world.user("ada").leases) == {"a1", "a2"}


def test_a_write_that_always_conflicts_is_answered_as_retryable(world: World) -> None:
    world.join("ada", "a1")

    def always_lose(*_: object, **__: object) -> bool:
        raise WriteConflict

    world.users.save = always_lose  # type: ignore[method-assign]

    with pytest.raises(Unavailable):
        world.choose("ada", Choice.BUSY)


def test_a_lost_socket_of_this_endpoint_is_a_disconnect(world: World) -> None:
    world.join("ada", "a1")
    world.wait(60_000)

    world.expiry.lose("a1", world.now, world.now)

    assert world.user("ada").leases == {}


@pytest.mark.fault(
    "API Gateway answers 410 for a socket that lives: it is young, or of another endpoint."
)
def test_a_young_socket_is_not_believed_to_be_lost(world: World) -> None:
    world.join("ada", "a1")
    world.wait(5_000)

    world.expiry.lose("a1", world.now, world.now)

    assert set(world.user("ada").leases) == {"a1"}


def test_what_was_said_of_a_young_socket_is_not_believed_when_it_is_old(world: World) -> None:
    """The queue may be late, or repeat itself; found by the simulation."""
    world.join("ada", "a1")
    said_at = world.now
    world.wait(60_000)
    world.ping("a1")

    world.expiry.lose("a1", said_at, world.now)

    assert set(world.user("ada").leases) == {"a1"}


@pytest.mark.fault("The stack gets a new stage or address.")
def test_a_socket_of_another_endpoint_is_not_ours_to_forget(world: World) -> None:
    other = World(tables=world.tables)
    object.__setattr__(other.connections, "endpoint", "https://old.example/live")
    other.join("ada", "a1")
    world.wait(60_000)

    world.expiry.lose("a1", world.now, world.now)

    assert set(world.user("ada").leases) == {"a1"}


def test_a_connection_without_a_record_is_unsubscribed(world: World) -> None:
    world.tables.everyone["forgotten"] = "ada"

    world.expiry.lose("forgotten", world.now, world.now)

    assert world.tables.everyone == {}


@pytest.mark.fault("A region, or every table, is lost.")
def test_after_the_loss_of_all_tables_a_returning_user_has_a_newer_version() -> None:
    lost, names = World(), [f"user-{number}" for number in range(50)]
    before = {name: lost.join(name, f"old-{name}").user for name in names}
    rebuilt = World(now=lost.now + SECOND)

    refusals = {rebuilt.try_ping(f"old-{name}") for name in names}
    after = {name: rebuilt.join(name, f"new-{name}").user for name in names}

    assert refusals == {"not-authenticated"}
    assert all(after[name].version > before[name].version for name in names)
    assert len(list(rebuilt.online_index.after(None))) == len(names)


def test_a_fresh_token_after_a_long_sleep_brings_its_user_back_to_the_chat_sessions(
    world: World,
) -> None:
    world.join("ada", "tab")
    world.enter("tab", "lobby")
    world.wait(LEASE)
    world.read("ada")

    world.authenticate("ada", "tab")

    assert world.user("ada").sessions == {"lobby"}


# ── as many as a user may have ─────────────────────────────────────────────────────────────


def full_house(world: World) -> list[str]:
    """Their names, those heard longest ago first; each is in a room of its own."""
    names = [f"tab-{number:02}" for number in range(MAX_CONNECTIONS)]
    for name in names:
        world.join("ada", name)
        world.enter(name, f"room-{name}")
        world.wait(1)
    return names


@pytest.mark.fault("Connections die without a word, as many as a user may have.")
def test_dead_connections_do_not_lock_their_user_out(world: World) -> None:
    first, second, *_ = full_house(world)
    world.join("bob", "bob")
    world.enter("bob", f"room-{first}")
    world.stream()
    world.gateway.heard.clear()

    world.join("ada", "next")
    world.wait(SECOND)
    world.fire_timers()
    world.stream()

    assert {"type": "closing", "reason": "replaced"} in world.frames_of(first)
    assert set(world.gateway.closed) == {first}
    record = world.records.read(first)
    assert record is not None
    assert record.state is State.CLOSED
    assert world.tables.sessions[f"room-{first}"] == {"bob": "bob"}
    assert first not in world.tables.everyone
    assert world.frames_of("bob") == []
    assert world.try_ping(first) == "not-authenticated"
    assert world.try_ping(second) == ""


def test_a_user_leaves_what_only_the_replaced_connection_was_in_after_the_grace_period(
    world: World,
) -> None:
    first, *_ = full_house(world)
    world.join("ada", "next")
    kept = world.user("ada").sessions

    world.wait(GRACE)
    world.fire_timers()

    assert kept - world.user("ada").sessions == {f"room-{first}"}


def test_a_connection_that_is_replaced_and_lives_may_come_back_until_it_is_told(
    world: World,
) -> None:
    first, second, *_ = full_house(world)
    world.join("ada", "next")

    assert world.try_ping(first) == ""
    world.wait(SECOND)
    world.fire_timers()

    assert set(world.gateway.closed) == {second}
    leases = world.user("ada").leases
    assert first in leases
    assert len(leases) == MAX_CONNECTIONS


def test_of_one_device_that_comes_back_again_and_again_the_other_devices_hear_nothing(
    world: World,
) -> None:
    laptop, *_ = full_house(world)
    world.ping(laptop)
    for number in range(2 * MAX_CONNECTIONS):
        world.open(f"phone-{number}")
        world.authenticate("ada", f"phone-{number}", device="phone")
        world.wait(SECOND)
        world.fire_timers()
        world.ping(laptop)

    assert laptop in world.user("ada").leases
    closed = {name for name in world.gateway.closed if name.startswith("tab")}
    assert len(closed) == 1


@pytest.mark.fault("A timer comes before the write that it was set for.")
def test_a_replaced_connection_is_told_though_the_first_timer_came_too_early(world: World) -> None:
    first, *_ = full_house(world)
    save = world.users.save

    def save_late(*about: Any, **rest: Any) -> bool:
        world.users.save = save  # type: ignore[method-assign]
        checks = [it for it in world.timers.expired if it[3] == 1]
        for check in checks:
            world.timers.expired.remove(check)
            world.on_timer.expired(*check[:3], world.now, "replaced")
        return save(*about, **rest)

    world.open("next")
    world.users.save = save_late  # type: ignore[method-assign]
    world.authenticate("ada", "next")
    told_too_early = list(world.gateway.closed)
    world.wait(31 * SECOND)
    world.fire_timers()

    assert told_too_early == []
    assert world.gateway.closed == [first]
    assert world.frames_of(first) == [{"type": "closing", "reason": "replaced"}]
