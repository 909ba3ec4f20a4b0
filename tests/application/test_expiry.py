from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest

from presence.domain.connection import State
from presence.domain.errors import Unavailable
from presence.domain.user import Choice, Status, User
from presence.limits import MAX_BATCH_READ
from presence.ports import Count, ExpiredCheck, UserCheck, WriteConflict
from tests.world import AUTHENTICATION, GRACE, LEASE, World


def state(world: World, connection_id: str) -> State:
    record = world.records.read(connection_id)
    assert record is not None
    return record.state


def test_an_unauthenticated_connection_gets_an_error_and_is_closed(world: World) -> None:
    world.open("a1")
    world.wait(AUTHENTICATION)

    world.fire_timers()

    assert world.frames_of("a1") == [{"type": "closing", "reason": "authentication-timeout"}]
    assert world.gateway.closed == ["a1"]
    assert state(world, "a1") is State.CLOSED


@pytest.mark.fault("`$connect` fails after it has written the connection record.")
def test_a_connection_whose_opening_failed_is_closed_without_a_frame(world: World) -> None:
    """API Gateway refused the handshake, but the function had written the connection record."""
    world.open("a1")
    world.gateway.gone.add("a1")
    world.wait(AUTHENTICATION)

    world.fire_timers()

    assert state(world, "a1") is State.CLOSED
    assert world.tables.stream == []
    assert world.tables.is_spotless()


@pytest.mark.parametrize("is_dead", [False, True])
def test_a_repeated_timer_closes_the_connection_that_its_first_run_did_not(
    world: World, *, is_dead: bool
) -> None:
    """It closed the connection record, and then died, or API Gateway was too busy."""
    world.open("a1")
    world.wait(AUTHENTICATION)
    if is_dead:
        world.records.close_unauthenticated("a1", world.now)
    else:
        world.gateway.busy.add("a1")
        with pytest.raises(Unavailable):
            world.timer("connection", "a1")
        world.gateway.busy.clear()

    for _ in range(2):
        world.timer("connection", "a1")

    assert set(world.gateway.closed) == {"a1"}
    assert world.frames_of("a1") == []


def test_a_timer_of_an_unknown_connection_closes_nothing(world: World) -> None:
    world.timer("connection", "a1")
    world.timer("expired", "a1", "ada", frozenset())

    assert world.gateway.closed == []


def test_a_timer_that_comes_early_waits_for_the_rest(world: World) -> None:
    world.open("a1")
    world.wait(AUTHENTICATION - 2_500)

    world.fire_timers()

    assert world.gateway.closed == []
    assert world.timers.asked == [("connection", "a1", 3)]


def test_the_authentication_timer_keeps_an_authenticated_connection(world: World) -> None:
    world.join("ada", "a1")
    world.wait(AUTHENTICATION)

    world.fire_timers()

    assert world.gateway.closed == []
    assert world.read("ada").status is Status.ONLINE


def test_an_eviction_that_looked_before_the_ping_loses(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its look at the lease and its closing of the record, a late ping is answered.

    Found by the nemesis: the pong came, and 24 milliseconds later the server closed the socket.
    """
    world.join("ada", "a1")
    world.wait(LEASE)
    read = world.users.read

    def read_and_be_overtaken(user_id: str, *, consistent: bool = False) -> User:
        found = read(user_id, consistent=consistent)
        monkeypatch.undo()
        world.ping("a1")
        return found

    monkeypatch.setattr(world.users, "read", read_and_be_overtaken)
    world.timer("expired", "a1", "ada", frozenset())

    assert world.gateway.closed == []
    assert state(world, "a1") is State.AUTHENTICATED
    world.ping("a1")
    assert world.read("ada").status is Status.ONLINE


def test_a_lease_that_is_over_by_another_clock_is_looked_at_again(world: World) -> None:
    """The function that saw it expire removes it in a moment, and announces it only once.

    Found by the simulation.
    """
    world.join("ada", "a1")
    world.records.close("a1", world.now)  # and the function of $disconnect died here
    world.wait(LEASE - 1_500)

    world.timer("expired", "a1", "ada", frozenset())
    asked = list(world.timers.expired)
    world.wait(1_500)
    world.fire_timers()

    assert asked == [("a1", "ada", frozenset(), 2)]
    assert world.tables.everyone == {}


def test_a_lease_that_was_renewed_is_not_looked_at_again(world: World) -> None:
    world.join("ada", "a1")
    world.wait(LEASE - 20_000)

    world.timer("expired", "a1", "ada", frozenset())

    assert world.timers.expired == []


def test_grace_that_is_over_ends_in_one_announcement(world: World) -> None:
    world.join("bob", "b1")
    world.join("ada", "a1")
    world.leave("a1")
    world.wait(GRACE)

    world.fire_timers()
    world.timer("user", "ada")
    world.stream()

    assert world.heard_by("b1").count(("ada", "offline")) == 1


def test_a_grace_timer_that_comes_too_soon_asks_again(world: World) -> None:
    world.join("ada", "a1")
    world.leave("a1")
    world.timers.asked.clear()
    world.wait(GRACE - 3_000)

    world.timer("user", "ada")

    assert world.read("ada").status is Status.ONLINE
    assert world.timers.asked == [("user", "ada", 3)]


@pytest.mark.fault("A timer comes late or twice.")
def test_a_grace_timer_of_a_user_who_is_back_does_nothing(world: World) -> None:
    world.join("ada", "a1")
    world.leave("a1")
    world.join("ada", "a2")
    world.wait(GRACE)
    revision = world.user("ada").revision

    world.fire_timers()

    assert world.user("ada").revision == revision


def test_the_timer_is_there_before_what_it_is_for(world: World) -> None:
    world.join("ada", "a1")
    world.timers.asked.clear()

    def die(*_: object, **__: object) -> bool:
        raise MemoryError

    world.users.save = die  # type: ignore[method-assign]

    with pytest.raises(MemoryError):
        world.leave("a1")
    assert world.timers.asked == [("user", "ada", GRACE // 1_000)]


def test_a_timer_never_comes_before_its_time(world: World) -> None:
    world.choose("ada", Choice.BUSY, until=world.now + 1_500)

    assert world.timers.asked == [("user", "ada", 2)]


def test_a_user_who_cannot_be_written_does_not_stop_the_sweep(world: World) -> None:
    world.join("ada", "a1")
    world.join("bob", "b1")
    world.wait(LEASE)
    save = world.users.save

    def lose_ada(before: User, *images: Any, **rest: Any) -> bool:
        if before.user_id == "ada":
            raise WriteConflict
        return save(before, *images, **rest)

    world.users.save = lose_ada  # type: ignore[method-assign]
    world.run_sweep()

    assert world.user("ada").status is Status.ONLINE
    assert world.user("bob").status is Status.OFFLINE


@pytest.mark.fault("The item of a user cannot be read.")
@pytest.mark.parametrize("pieces", [3, 7, 1_000])
def test_a_user_who_cannot_be_read_stops_no_sweep(world: World, pieces: int) -> None:
    users = [f"user-{number:03}" for number in range(2 * MAX_BATCH_READ)]
    for name in users:
        world.join(name, f"c-{name}")
    world.wait(LEASE)
    read, unreadable = world.users.read, ["user-000", "user-150"]

    def read_or_fail(user_id: str, *, consistent: bool = False) -> User:
        if user_id in unreadable:
            raise KeyError("revision")
        return read(user_id, consistent=consistent)

    world.users.read = read_or_fail  # type: ignore[method-assign]
    failed, count = set[str](), None
    for _ in range(2 * len(users)):
        time = iter([True] * pieces)
        swept = world.sweep.run(world.now, lambda: next(time, False))  # noqa: B023
        failed |= swept.failures.keys()
        count = count or swept.count

    assert {read(name).status for name in users if name not in unreadable} == {Status.OFFLINE}
    if pieces > 2 * MAX_BATCH_READ:
        assert (failed, count) == ({*unreadable}, Count(2, world.now))


@pytest.mark.fault("`$disconnect` never comes.")
def test_the_sweep_removes_expired_leases_and_their_connections(world: World) -> None:
    world.join("bob", "b1")
    world.join("ada", "a1")
    world.stream()
    world.wait(LEASE - 1_000)
    world.ping("b1")
    world.wait(1_000)

    world.run_sweep()
    world.fire_timers()
    world.stream()

    assert world.heard_by("b1")[-1] == ("ada", "offline")
    assert state(world, "a1") is State.CLOSED
    assert set(world.tables.everyone) == {"b1"}
    assert world.gateway.closed == ["a1"]


def test_the_sweep_looks_at_every_user_of_a_long_index(world: World) -> None:
    users = [f"user-{number}" for number in range(MAX_BATCH_READ + 1)]
    for name in users:
        world.join(name, f"c-{name}")
    world.wait(LEASE)

    world.run_sweep()

    assert {world.user(name).status for name in users} == {Status.OFFLINE}


@pytest.mark.fault("More users die at once than one sweep can look at.")
def test_a_sweep_begins_where_the_last_one_ran_out_of_time(world: World) -> None:
    users = [f"user-{number:03}" for number in range(3 * MAX_BATCH_READ)]
    for name in users:
        world.join(name, f"c-{name}")
    world.wait(LEASE)

    swept = list[tuple[int, int, bool]]()
    for _ in range(3):
        time = iter([True])
        found = world.sweep.run(world.now, lambda: next(time, False))  # noqa: B023
        swept.append((found.looked_at, found.changed, found.count is not None))

    assert swept == [(MAX_BATCH_READ, MAX_BATCH_READ, False)] * 2 + [
        (MAX_BATCH_READ,) * 2 + (True,)
    ]
    assert {world.user(name).status for name in users} == {Status.OFFLINE}


def test_a_sweep_goes_round_the_index_once_wherever_it_begins(world: World) -> None:
    users = [f"user-{number:03}" for number in range(2 * MAX_BATCH_READ)]
    for name in users:
        world.join(name, f"c-{name}")
    time = iter([True])
    world.sweep.run(world.now, lambda: next(time, False))

    behind = world.sweep.run(world.now, lambda: True)
    whole = world.sweep.run(world.now, lambda: True)

    assert behind.looked_at == whole.looked_at == len(users)
    assert behind.count == whole.count == Count(len(users), world.now)


def test_a_sweep_that_had_no_time_at_all_leaves_the_next_one_its_place(world: World) -> None:
    for number in range(2 * MAX_BATCH_READ):
        world.join(f"user-{number:03}", f"c{number}")
    time = iter([True])
    world.sweep.run(world.now, lambda: next(time, False))
    before = world.online_index.stopped_at()

    world.sweep.run(world.now, lambda: False)

    assert world.online_index.stopped_at() == before


def test_the_timers_of_many_who_died_go_out_together(world: World) -> None:
    for number in range(MAX_BATCH_READ):
        world.join(f"user-{number}", f"c{number}")
    world.wait(LEASE)
    together, check_all = list[int](), world.timers.check_all

    def check_and_count(checks: Sequence[UserCheck | ExpiredCheck]) -> None:
        together.append(len(checks))
        check_all(checks)

    world.timers.check_all = check_and_count  # type: ignore[method-assign]
    world.run_sweep()

    assert together == [MAX_BATCH_READ]


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

    world.run_sweep()
    world.fire_timers()

    assert world.frames_of("a1")[-1] == {"type": "closing", "reason": "token-expired"}
    assert world.gateway.closed == ["a1"]


@pytest.mark.parametrize("is_dead", [False, True])
def test_a_silent_connection_is_hung_up_on_when_the_timer_comes_again(
    world: World, *, is_dead: bool
) -> None:
    world.join("ada", "a1")
    world.wait(LEASE)
    if is_dead:
        world.expiry.expire("a1", "ada", frozenset(), world.now)
    else:
        world.gateway.busy.add("a1")
        with pytest.raises(Unavailable):
            world.timer("expired", "a1", "ada", frozenset())
        world.gateway.busy.clear()

    world.timer("expired", "a1", "ada", frozenset())

    assert world.gateway.closed == ["a1"]
    assert world.frames_of("a1") == []


def test_a_disconnect_that_died_halfway_is_finished_by_the_sweep(world: World) -> None:
    world.join("ada", "a1")
    world.records.close("a1", world.now)
    world.wait(LEASE)

    world.run_sweep()
    world.fire_timers()

    assert world.user("ada").leases == {}
    assert world.tables.everyone == {}


def test_the_sweep_ends_what_a_lost_timer_should_have_ended(world: World) -> None:
    world.join("ada", "a1")
    world.choose("ada", Choice.BUSY, until=world.now + 20_000)
    world.timers.asked.clear()
    world.wait(21_000)

    world.run_sweep()

    assert world.user("ada").status is Status.ONLINE


def test_the_sweep_sets_a_timer_for_what_falls_due_before_the_next_one(world: World) -> None:
    world.join("ada", "a1")
    world.choose("ada", Choice.BUSY, until=world.now + 240_000)
    for _ in range(3):
        world.wait(60_000)
        world.ping("a1")
    world.timers.asked.clear()

    world.run_sweep()

    assert world.timers.asked == [("user", "ada", 60)]


def test_two_sweeps_at_once_say_everything_once(world: World) -> None:
    world.join("ada", "a1")
    world.join("bob", "b1")
    world.stream()
    world.wait(LEASE)

    world.run_sweep()
    world.run_sweep()

    assert len(world.tables.stream) == 4


@pytest.mark.fault("Two sweeps run at once.")
def test_of_two_sweeps_that_overlap_one_loses_and_everything_is_said_once(world: World) -> None:
    world.join("ada", "a1")
    world.join("bob", "b1")
    world.wait(LEASE)
    read_many, overlapped = world.users.read_many, list[bool]()

    def read_then_be_overtaken(
        user_ids: Collection[str], *, consistent: bool = False
    ) -> Mapping[str, User]:
        users = read_many(user_ids, consistent=consistent)
        if not overlapped:
            overlapped.append(True)
            world.run_sweep()
        return users

    world.users.read_many = read_then_be_overtaken  # type: ignore[method-assign]
    world.run_sweep()

    assert [after.status for _, after in world.tables.stream[2:]] == [Status.OFFLINE] * 2
    assert world.online_index.count() == Count(0, world.now)


@pytest.mark.fault("The sweep is down for an hour.")
def test_a_sweep_that_was_down_for_an_hour_tells_every_departure_once(world: World) -> None:
    world.join("bob", "b1")
    for number in range(30):
        world.join(f"user-{number}", f"c{number}")
    world.stream()
    for _ in range(60):
        world.wait(60_000)
        world.ping("b1")
    assert world.read("user-7").status is Status.OFFLINE, "a read says the same"

    world.run_sweep()
    world.run_sweep()
    world.fire_timers()
    world.stream()

    left = [name for name, status in world.heard_by("b1") if status == "offline"]
    assert sorted(left) == sorted(f"user-{number}" for number in range(30))


@pytest.mark.fault("The schedule ticks late, twice, or not.")
def test_a_tick_of_the_schedule_that_is_left_out_is_made_up_for(world: World) -> None:
    world.join("ada", "a1")
    world.wait(LEASE + 120_000)  # two sweeps should have come

    world.run_sweep()

    assert world.user("ada").status is Status.OFFLINE
    assert world.user("ada").last_seen == world.now - LEASE - 120_000


@pytest.mark.fault("The count drifts.")
def test_the_sweep_counts_visible_users(world: World) -> None:
    for name in ("ada", "bob", "eve"):
        world.join(name, f"c-{name}")
    world.hide("eve")
    world.online_index.counted(Count(99, 0))

    world.run_sweep()

    assert world.online_index.count() == Count(2, world.now)


def test_a_sweep_without_time_left_counts_nothing(world: World) -> None:
    world.join("ada", "a1")

    assert world.sweep.run(world.now, lambda: False).count is None
