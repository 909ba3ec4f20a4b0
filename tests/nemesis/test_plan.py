"""The plan of a run: the same for the same seed, complete, and over when the run is."""

from itertools import pairwise

import pytest

from tests.nemesis.history import Rules
from tests.nemesis.plan import DEVICES, STACK, plan
from tests.nemesis.run import LONG, SHORT

SEEDS = range(50)


def test_a_seed_is_a_plan() -> None:
    assert plan(7, 180, LONG) == plan(7, 180, LONG)
    assert plan(7, 180, LONG) != plan(8, 180, LONG)


@pytest.mark.parametrize(("seconds", "rules"), [(16, SHORT), (180, LONG)])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_fault_is_in_every_run_and_ends_in_it(
    seed: int, seconds: float, rules: Rules
) -> None:
    steps = plan(seed, seconds, rules)

    assert {it.fault for it in steps} == {*STACK, *DEVICES}
    assert all(it.at + it.seconds <= seconds for it in steps if it.fault in STACK)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_fault_of_the_stack_is_over_before_the_next_of_its_kind(seed: int) -> None:
    steps = plan(seed, 180, LONG)
    for fault in STACK:
        same = [it for it in steps if it.fault == fault]
        assert all(one.at + one.seconds < other.at for one, other in pairwise(same))


def test_a_long_run_has_a_minute_without_a_stream() -> None:
    (stream,) = (it for it in plan(1, 180, LONG) if it.fault == "stream")
    assert stream.seconds == 60


def test_the_longer_the_more() -> None:
    assert len(plan(1, 180, LONG)) > 3 * len(plan(1, 24, LONG))


def test_some_devices_are_away_for_longer_than_a_lease_and_some_are_not() -> None:
    paused = [it.seconds for it in plan(1, 180, LONG) if it.fault == "pause"]
    assert min(paused) < LONG.lease
    assert max(paused) > LONG.lease + LONG.sweep
