"""A share of what `python -m tests.simulation` does, and what its faults have found before."""

from dataclasses import fields
from random import Random

import pytest

from tests.simulation.faults import WORST, Faults, swarm
from tests.simulation.simulation import Simulation, simulate

RUNS, PART = 160, 20

#: Seeds that failed once, and what was wrong. What a seed does changes with the simulation, so each
#: of these has a small test of its own besides.
REGRESSIONS = {
    43: "the 410 of a young socket was believed when the queue came to it",
    20: "a record out of the dead-letter queue told a newcomer what was over",
    162: "what a connection heard stayed, because two clocks disagreed about its lease",
    1283: "a lease that its token had ended was expected to be kept",
}


@pytest.mark.parametrize("first", range(0, RUNS, PART))
def test_nobody_is_wrong_whatever_fails(first: int) -> None:
    for seed in range(first, first + PART):
        simulate(seed)


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_what_was_wrong_once_is_not_wrong_again(seed: int) -> None:
    simulate(seed)


def test_a_seed_replays_its_run() -> None:
    first, second = (Simulation(7) for _ in range(2))

    assert (first.run(), list(first.trace)) == (second.run(), list(second.trace))


def test_every_fault_happens_somewhere_and_is_missing_somewhere() -> None:
    swarms = [swarm(Random(seed)) for seed in range(RUNS)]  # noqa: S311

    for it in fields(Faults):
        assert {getattr(one, it.name) for one in swarms} == {0.0, getattr(WORST, it.name)}
