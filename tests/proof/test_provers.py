"""Each prover of `make proof` works, shown by a short run; the simulation's is CI's random one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from random import Random

import pytest
from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from proof.model.checker import BAD, GOOD, Case
from proof.model.checker import check as model_check
from proof.mutants import MISTAKES, Mistake, is_found
from proof.nemesis.check import check
from proof.nemesis.faults import DEVICE_FAULTS, STACK_FAULTS, plan
from proof.nemesis.history import read
from proof.nemesis.report import summary
from proof.nemesis.run import run
from proof.nemesis.settings import SETTINGS, SHORT
from proof.nemesis.settings import rules as rules_of
from proof.simulation.faults import WORST, Faults, swarm
from proof.simulation.simulation import Simulation, simulate
from proof.stateful.machine import SETTINGS as EXAMPLES
from proof.stateful.machine import Presence
from tests.tools import program

RUNS, PART = 100, 20


# ── the simulation ─────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.xdist_group("simulation")
@pytest.mark.parametrize("first", range(0, RUNS, PART))
def test_no_promise_is_broken_whatever_fails(first: int) -> None:
    for number in range(first, first + PART):
        simulate(number)


def test_a_seed_replays_its_run() -> None:
    first, second = (Simulation(7) for _ in range(2))

    assert (first.run(), list(first.trace)) == (second.run(), list(second.trace))


@pytest.mark.slow
@pytest.mark.xdist_group("replay")
def test_a_seed_replays_its_run_in_another_process() -> None:
    """Whatever order its sets of names have: that of another process is another."""
    first, second = (_results_of_a_process(number) for number in (1, 2))

    assert first == second


def _results_of_a_process(hash_seed: int) -> str:
    program = "from proof.simulation.simulation import simulate as s; print([*map(s, range(8))])"
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(
        (sys.executable, "-c", program), env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_every_fault_happens_in_some_runs_and_is_missing_in_others() -> None:
    swarms = [swarm(Random(number)) for number in range(RUNS)]  # noqa: S311

    for it in fields(Faults):
        assert {getattr(one, it.name) for one in swarms} == {0.0, getattr(WORST, it.name)}


# ── the state machine on the real handlers ─────────────────────────────────────────────────


@pytest.mark.slow
def test_the_state_machine_finds_nothing_in_a_few_stories() -> None:
    machine = seed(1)(type("Seeded", (Presence,), {}))

    run_state_machine_as_test(machine, settings=settings(EXAMPLES, max_examples=10))


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


# ── known mistakes ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda it: it.name)
def test_what_a_mistake_takes_away_is_there_once(mistake: Mistake) -> None:
    assert mistake.source.count(mistake.right) == 1


@pytest.mark.slow
def test_a_known_mistake_is_found() -> None:
    assert is_found(MISTAKES[0])


# ── the nemesis ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", range(20))
def test_every_plan_has_every_fault_and_ends_in_time(number: int) -> None:
    for seconds, rules in ((16, SHORT), *((180, rules_of(name)) for name in SETTINGS)):
        steps = plan(number, seconds, rules)

        assert {it.fault for it in steps} == {*STACK_FAULTS, *DEVICE_FAULTS}
        assert all(it.at + it.seconds <= seconds for it in steps if it.fault in STACK_FAULTS)


@pytest.mark.fault("A client's clock is wrong by hours.")
@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.xdist_group("nemesis")
def test_the_nemesis_finds_nothing_in_a_short_run(tmp_path: Path) -> None:
    run(1, 16, SHORT, tmp_path / "run")

    history = read(tmp_path / "run")

    assert check(history) == []
    found = summary(1, 16, history, [])
    # On a machine that is too busy, a device may be gone before it is its turn to be killed.
    assert {name for name, count in found.faults.items() if count} >= set(STACK_FAULTS)
    assert {it.path for it in found.deaths} >= {"push", "http"}


# ── stories in which the oracle or the product was wrong once, without Hypothesis ────────────────


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


@pytest.mark.parametrize("number", range(8))
def test_a_watch_racing_the_first_claim_is_served_under_it(state: Presence, number: int) -> None:
    """The claim ends the watch list of before; the connection is not over."""
    device, _ = state.start(is_global=False, user="ada", other="bob").values
    state.race(name=device, other=device, outer="watch", inner="narrow", number=number)


def test_a_user_who_shows_up_again_is_not_hidden_in_grace(state: Presence) -> None:
    """What viewers saw while the user hid is over, also for one who is blocked then."""
    _, device = state.start(is_global=False, user="ada", other="eve").values
    state.put_status(user="eve", choice="invisible")
    state.choose(name=device, choice="online", text="hi", seconds=0)
    state.disconnect(name=device)
    state.block(user="eve", viewer="ada", is_on=True)
    state.arrive(user="eve", active=True)
    state.be_calm()


def test_who_comes_back_with_another_frame_than_a_ping_may_be_silent_for_long(
    state: Presence,
) -> None:
    """It has not said which heartbeat it keeps."""
    device, _ = state.start(is_global=False, user="ada", other="bob").values
    state.wait(seconds=76)
    state.choose(name=device, choice="online", text=None, seconds=0)
    state.everybody_leaves()


@pytest.mark.parametrize("is_slow", [True, False])
@pytest.mark.parametrize("number", range(8))
def test_of_a_probe_and_a_ping_that_race_the_lease_is_as_the_ping_says(
    state: Presence, number: int, *, is_slow: bool
) -> None:
    viewer, device = state.start(is_global=False, user="ada", other="bob").values
    state.ping(name=device, active=None, is_slow=is_slow)
    state.wait(seconds=31)
    state.race(name=viewer, other=device, outer="verify", inner="ping", number=number)
    state.wait(seconds=11)
    state.read(viewer="ada")
    state.be_calm()


def test_who_answers_no_probe_is_offline_and_comes_back_with_the_next_frame(
    state: Presence,
) -> None:
    viewer, device = state.start(is_global=False, user="ada", other="bob").values
    state.wait(seconds=31)
    state.verify(name=viewer, user="bob")
    assert state.world.person("bob").asked.keys() == {device}
    state.wait(seconds=9)
    state.read(viewer="ada")
    assert state.world.is_here("bob", state.rig.clock.now)
    state.wait(seconds=1)
    state.read(viewer="ada")
    assert not state.world.is_here("bob", state.rig.clock.now)
    state.ping(name=device, active=None, is_named=True)
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
