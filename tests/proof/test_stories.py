"""Stories in which the oracle or the product was wrong once, each without Hypothesis."""

from collections.abc import Iterator

import pytest

from proof.stateful.machine import Presence


@pytest.fixture
def state() -> Iterator[Presence]:
    state = Presence()
    yield state
    state.teardown()


@pytest.mark.parametrize(("outer", "inner"), [("timer", "ping"), ("ping", "timer")])
@pytest.mark.parametrize("number", range(8))
def test_ping_racing_expiry_is_either_renewed_or_rejected(
    state: Presence, number: int, outer: str, inner: str
) -> None:
    """The token is over: the ping is told so, or that the record is closed."""
    device, _ = state.start(is_global=False, user="ada", other="bob").values
    state.join_or_leave(name=device, room="lobby", joins=True)
    state.renew_token(name=device, life=-29)
    state.wait(seconds=1)
    state.put_status(user="ada", choice="online")  # sees that the lease is over, and says so
    state.race(name=device, other=device, outer=outer, inner=inner, number=number)


@pytest.mark.parametrize("number", range(8))
def test_a_join_racing_a_disconnect_becomes_a_pending_leave(state: Presence, number: int) -> None:
    """What was joined before the end is left with it, though the answer comes after."""
    _, device = state.start(is_global=False, user="ada", other="ada").values
    state.wait(seconds=1)
    state.race(name=device, other=device, outer="join", inner="disconnect", number=number)
    state.be_calm()


def test_what_came_before_a_new_connection_is_not_what_came_last(state: Presence) -> None:
    """A lease may have run out since."""
    device, _ = state.start(is_global=False, user="ada", other="bob").values
    state.rig.clock.now = state.world.conns[device].end - 1
    state.sweep()
    state.connect()
    assert state.taken_until < state.rig.clock.now


def test_of_two_pings_the_second_may_see_that_a_choice_is_over(state: Presence) -> None:
    """The first renews a lease and reads nothing; it is free, and so the second is not."""
    device, _ = state.start(is_global=False, user="ada", other="bob").values
    state.choose(name=device, choice="online", text=None, seconds=6)
    state.wait(seconds=31)
    state.ping(name=device, active=None)
    state.repeat()
