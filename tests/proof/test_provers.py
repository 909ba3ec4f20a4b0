"""Each prover of `make proof` works, shown by a short run; the simulation's is CI's random one."""

from dataclasses import fields
from pathlib import Path
from random import Random

import pytest
from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from proof.model.checker import check as model_check
from proof.model.variants import BAD, GOOD, Case
from proof.nemesis.check import check
from proof.nemesis.history import read
from proof.nemesis.plan import DEVICES, STACK, plan
from proof.nemesis.report import summary
from proof.nemesis.run import LONG, SHORT, run
from proof.simulation.faults import WORST, Faults, swarm
from proof.simulation.simulation import Simulation, simulate
from proof.stateful.__main__ import SETTINGS
from proof.stateful.machine import Presence
from tests.lacking import program

RUNS, PART = 160, 20


# ── the simulation ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("first", range(0, RUNS, PART))
def test_no_promise_is_broken_whatever_fails(first: int) -> None:
    for number in range(first, first + PART):
        simulate(number)


def test_a_seed_replays_its_run() -> None:
    first, second = (Simulation(7) for _ in range(2))

    assert (first.run(), list(first.trace)) == (second.run(), list(second.trace))


def test_every_fault_happens_in_some_runs_and_is_missing_in_others() -> None:
    swarms = [swarm(Random(number)) for number in range(RUNS)]  # noqa: S311

    for it in fields(Faults):
        assert {getattr(one, it.name) for one in swarms} == {0.0, getattr(WORST, it.name)}


# ── the state machine on the real handlers ─────────────────────────────────────────────────


@pytest.mark.slow
def test_the_state_machine_finds_nothing_in_a_few_stories() -> None:
    machine = seed(1)(type("Seeded", (Presence,), {}))

    run_state_machine_as_test(machine, settings=settings(SETTINGS, max_examples=10))


# ── the model ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [GOOD[0], BAD[0]], ids=lambda case: f"{case.label}-{case.expected}"
)
def test_the_model_holds_and_breaks_without_one_of_its_rules(case: Case) -> None:
    program("spin", reason="the model checker is missing: apt-get install spin")
    program("gcc", reason="the model checker needs a compiler: apt-get install gcc libc6-dev")

    result = model_check(case)

    assert result.found == case.expected
    assert result.states > 0


def test_every_variant_breaks_a_scene_that_holds_without_it() -> None:
    assert all(Case(it.model, it.scene) in GOOD for it in BAD)


# ── the nemesis ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", range(20))
def test_every_plan_has_every_fault_and_ends_in_time(number: int) -> None:
    for seconds, rules in ((16, SHORT), (180, LONG)):
        steps = plan(number, seconds, rules)

        assert {it.fault for it in steps} == {*STACK, *DEVICES}
        assert all(it.at + it.seconds <= seconds for it in steps if it.fault in STACK)


@pytest.mark.fault("A client's clock is wrong by hours.")
@pytest.mark.e2e
@pytest.mark.slow
def test_the_nemesis_finds_nothing_in_a_short_run(tmp_path: Path) -> None:
    run(1, 16, SHORT, tmp_path / "run")

    history = read(tmp_path / "run")

    assert check(history) == []
    found = summary(1, 16, history, [])
    # On a machine that is too busy, a device may be gone before it is its turn to be killed.
    assert {name for name, count in found.faults.items() if count} >= set(STACK)
    assert {it.path for it in found.deaths} == {"push", "http"}
