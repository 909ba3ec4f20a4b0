"""The protocol holds in every interleaving, and would not without each of its rules."""

import pytest

from tests.lacking import program
from tests.model.checker import check
from tests.model.variants import BAD, CASES, GOOD, Case


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    program("spin", reason="the model checker is missing: apt-get install spin")
    program("gcc", reason="the model checker needs a compiler: apt-get install gcc libc6-dev")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.label}-{case.expected}")
def test_the_checker_finds_what_is_expected(case: Case) -> None:
    result = check(case)

    assert result.found == case.expected
    assert result.states > 0


@pytest.mark.parametrize("case", BAD, ids=lambda case: f"{case.label}-{case.expected}")
def test_a_variant_breaks_a_scene_that_holds_without_it(case: Case) -> None:
    assert Case(case.model, case.scene) in GOOD
