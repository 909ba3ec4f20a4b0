"""The policy of heartbeats: how often, how long a lease, and who of several devices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence.domain.heartbeat import Heartbeats
from presence.domain.user import Lease, User
from presence.limits import MAX_HEARTBEAT_SECONDS

NOW, SECOND = 1_800_000_000_000, 1_000
USUAL = Heartbeats(60 * SECOND, 540 * SECOND)
LONG = USUAL.lease(USUAL.background)


def lease(*, active: bool = True, lasts: int | None = None, seen_at: int = NOW) -> Lease:
    return Lease(seen_at + (lasts or USUAL.usual_lease), seen_at, is_active=active, lasts=lasts)


@pytest.mark.parametrize(
    ("heartbeat", "seconds"),
    [(1, 75), (30, 75), (50, 75), (51, 77), (60, 90), (61, 135), (70, 135), (90, 135), (91, 137)],
)
def test_where_web_pages_connect_a_lease_outlasts_a_hidden_tab(
    heartbeat: int, seconds: int
) -> None:
    assert USUAL.lease(heartbeat * SECOND) == seconds * SECOND


@pytest.mark.parametrize(("heartbeat", "seconds"), [(1, 2), (4, 6), (5, 8), (30, 45), (60, 90)])
def test_elsewhere_it_is_one_and_a_half_heartbeats(heartbeat: int, seconds: int) -> None:
    beats = Heartbeats(SECOND, 540 * SECOND, browsers=False)

    assert beats.lease(heartbeat * SECOND) == seconds * SECOND


@given(st.integers(1, MAX_HEARTBEAT_SECONDS))
def test_a_ping_at_each_whole_minute_keeps_every_lease(heartbeat: int) -> None:
    """As a hidden tab sends it, at the first minute at which its heartbeat is over."""
    minutes = -(-heartbeat // 60)

    assert USUAL.lease(heartbeat * SECOND) >= (minutes * 60 + 15) * SECOND
    assert USUAL.lease(heartbeat * SECOND) >= 1.5 * heartbeat * SECOND
    assert minutes * 60 < 600  # API Gateway waits so long


def test_a_device_with_a_person_keeps_the_fast_one_and_another_the_slow_one() -> None:
    user = User("ada", leases={"a": lease(), "b": lease(active=False)})

    assert USUAL.wanted(user, "a", NOW) == 60 * SECOND
    assert USUAL.wanted(user, "b", NOW) == 540 * SECOND


def test_of_several_devices_with_a_person_one_keeps_the_fast_one() -> None:
    user = User("ada", leases={name: lease() for name in "abc"})

    wanted = [USUAL.wanted(user, name, NOW) // SECOND for name in "abc"]

    assert wanted == [540, 540, 60]


@pytest.mark.parametrize(
    "other",
    [
        lease(active=False),
        lease(lasts=LONG),
        lease(seen_at=NOW - USUAL.usual_lease),
    ],
    ids=["idle", "slow itself", "expired"],
)
def test_beside_a_device_that_notices_nothing_soon_the_fast_one_is_kept(other: Lease) -> None:
    user = User("ada", leases={"a": lease(), "b": other})

    assert USUAL.wanted(user, "a", NOW) == 60 * SECOND


LEASES = st.builds(lease, active=st.booleans(), lasts=st.sampled_from([None, LONG]))


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=3), LEASES, min_size=1))
def test_when_all_have_obeyed_one_device_with_a_person_is_fast_and_no_other(
    leases: dict[str, Lease],
) -> None:
    user = User("ada", leases=leases)
    for _ in range(2 * len(leases)):
        for name, it in user.leases.items():
            lasts = USUAL.lease(USUAL.wanted(user, name, NOW))
            kept = lease(active=it.is_active, lasts=None if lasts < LONG else lasts)
            user = User("ada", leases={**user.leases, name: kept})

    fast = [name for name, it in user.leases.items() if not USUAL.is_long(it)]
    active = [name for name, it in user.leases.items() if it.is_active]
    assert len(fast) == min(1, len(active))
    assert set(fast) <= set(active)
    assert USUAL.misfits(user, NOW) == {}


def test_who_is_left_alone_is_told_to_be_fast() -> None:
    user = User("ada", leases={"a": lease(lasts=LONG), "b": lease(active=False, lasts=LONG)})

    assert USUAL.misfits(user, NOW) == {"a": 60 * SECOND}


def test_with_one_heartbeat_for_all_nobody_is_told_anything() -> None:
    beats = Heartbeats(30 * SECOND, 30 * SECOND)
    user = User("ada", leases={"a": lease(), "b": lease(active=False)})

    assert beats.misfits(user, NOW) == {}
    assert {beats.wanted(user, name, NOW) for name in "ab"} == {30 * SECOND}


@pytest.mark.parametrize(
    ("asked", "allowed"), [(None, 60), (1, 1), (60, 60), (540, 540), (9999, 540)]
)
def test_a_client_may_be_faster_and_as_slow_as_the_background(
    asked: int | None, allowed: int
) -> None:
    milliseconds = None if asked is None else asked * SECOND

    assert USUAL.allowed(milliseconds) == allowed * SECOND
