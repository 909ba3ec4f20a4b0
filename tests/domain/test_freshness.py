"""What counts as evidence that a user is there, who is told of it, and when a probe is due."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence.domain import freshness
from presence.domain.disclosure import Rules
from presence.domain.events import Authenticated, Blocked, Chosen, Disconnected, UserEvent
from presence.domain.reducer import reduce
from presence.domain.user import Choice, Lease, User

NOW = 1_800_000_000_000
FRESH, STEP, LEASE, GRACE = 30_000, 10_000, 75_000, 10_000
ADA = User("ada", rules=Rules(GRACE, fresh=FRESH))


def heard(**devices: int) -> User:
    """ada, whose devices were heard last so long ago."""
    leases = {name: Lease(NOW + LEASE, NOW - ago) for name, ago in devices.items()}
    here, _ = reduce(ADA, Authenticated("tab", Lease(NOW + LEASE, NOW)), NOW)
    return replace(here, leases=leases)


def test_the_newest_frame_of_any_device_is_the_evidence() -> None:
    assert freshness.heard_at(heard(tab=40_000, phone=20_000), NOW) == NOW - 20_000
    assert freshness.unheard(heard(tab=40_000, phone=10_000), NOW) == {}
    assert freshness.unheard(heard(tab=40_000, phone=30_000), NOW) == {
        "tab": NOW - 40_000,
        "phone": NOW - 30_000,
    }


def test_a_lease_that_has_run_out_is_no_evidence_and_is_not_probed() -> None:
    user = replace(heard(tab=40_000), leases={"tab": Lease(NOW, NOW - 1)})

    assert freshness.heard_at(user, NOW) is None
    assert freshness.unheard(user, NOW) == {}


@given(st.lists(st.integers(0, 60_000), min_size=2, max_size=2))
def test_what_a_user_does_is_told_in_steps(ago: list[int]) -> None:
    """Two moments of one step look alike, so that no viewer sees when a user does what."""
    one, other = (freshness.heard_at(heard(tab=it), NOW) for it in ago)

    same_step = (NOW - ago[0]) // STEP == (NOW - ago[1]) // STEP
    assert (one == other) == same_step
    assert all(0 <= NOW - it - at < STEP for it, at in zip(ago, (one, other), strict=True) if at)


def test_who_answered_a_probe_was_heard_then_at_least() -> None:
    probed = replace(heard(tab=4_999), probed_at=NOW - 5_000)
    since = replace(heard(tab=5_001), probed_at=NOW - 5_000)

    assert freshness.heard_at(probed, NOW) == NOW - 5_000
    assert freshness.heard_at(since, NOW) == NOW - 10_000


def after(event: UserEvent, at: int = 0) -> User:
    return reduce(heard(tab=40_000), event, NOW + at)[0]


LOOKING = {
    "seen": (heard(tab=40_000), "eve", True),
    "fresh": (heard(tab=1_000), "eve", False),
    "the user": (heard(tab=40_000), "ada", True),
    "blocked": (after(Blocked("eve")), "eve", False),
    "blocked for long": (after(Blocked("eve"), -GRACE), "eve", False),
    "another is blocked": (after(Blocked("bob")), "eve", True),
    "invisible": (after(Chosen(Choice.INVISIBLE)), "eve", False),
    "invisible, to the user": (after(Chosen(Choice.INVISIBLE)), "ada", True),
    "in grace": (after(Disconnected("tab", NOW + GRACE)), "eve", False),
    "unknown": (ADA, "eve", False),
}


@pytest.mark.parametrize(("user", "viewer", "is_probed"), LOOKING.values(), ids=LOOKING)
def test_only_who_looks_online_and_was_not_heard_is_probed(
    user: User, viewer: str, *, is_probed: bool
) -> None:
    assert freshness.needs_probe(user, viewer, NOW) == is_probed


@pytest.mark.parametrize(
    ("probed_at", "is_due"), [(NOW, False), (NOW - FRESH + 1, False), (NOW - FRESH, True)]
)
def test_one_probe_is_enough_for_as_long_as_its_answer_is_fresh(
    probed_at: int, *, is_due: bool
) -> None:
    user = replace(heard(tab=40_000), probed_at=probed_at)

    assert freshness.needs_probe(user, "eve", NOW) == is_due


@pytest.mark.parametrize("hiding", [Blocked("eve"), Chosen(Choice.INVISIBLE)], ids=["block", "all"])
@pytest.mark.parametrize("later", [0, 1, GRACE - 1, GRACE, FRESH])
def test_one_who_hides_looks_like_one_who_left(hiding: UserEvent, later: int) -> None:
    here = heard(tab=40_000)
    hidden, _ = reduce(reduce(here, hiding, NOW)[0], hiding, NOW + later)
    left, _ = reduce(here, Disconnected("tab", NOW + GRACE), NOW)
    left, _ = reduce(left, Disconnected("tab", NOW + GRACE), NOW + later)

    seen, known = (freshness.seen_by(it, "eve", NOW + later) for it in (hidden, left))

    assert seen == known
    assert freshness.is_settled(seen, hidden, NOW + later) == (later >= GRACE)
    assert freshness.is_settled(known, left, NOW + later) == (later >= GRACE)
    assert not freshness.needs_probe(hidden, "eve", NOW + later)
