"""The page of promises and faults: its numbers follow from the template, its rows have tests."""

import re

import pytest

from tests.docs.markdown import table
from tests.docs.test_invariants import NUMBERS
from tests.reliability.faults import (
    PAGE,
    SOURCE,
    Fault,
    faults,
    is_test,
    named_in,
    nemesis,
    page_of,
    read,
)
from tests.template.test_template import FUNCTIONS, TEMPLATE

TEXT = PAGE.read_text("utf-8")
FAULTS = faults()
PROMISES = table(TEXT, "What happens", "What is promised")
ROWS = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.number)
#: How many faults there are to be thought of.
KNOWN = 85
#: What a promise counts with: parameters, the schedule of the sweep, and what news may take.
SECONDS = {
    **{f"`{name}`": it.get("Default") for name, it in TEMPLATE["Parameters"].items()},
    "sweep": 60,
    "3 s": 3,
}


def test_every_fault_has_one_row() -> None:
    numbers = sorted(int(fault.number.removeprefix("F")) for fault in FAULTS)

    assert numbers == list(range(1, KNOWN + 1))
    assert all(re.fullmatch(r"F[1-9]\d?", fault.number) for fault in FAULTS)


@ROWS
def test_a_row_has_tests_or_says_why_there_is_nothing_to_show(fault: Fault) -> None:
    assert fault.shown_by or fault.cannot
    for text in (fault.what, fault.follows, fault.cannot or "So."):
        assert text.endswith("."), "a whole sentence"
        assert "|" not in text


@ROWS
def test_every_test_that_a_row_names_exists(fault: Fault) -> None:
    assert [name for name in fault.shown_by if not is_test(name)] == []
    assert len(set(fault.shown_by)) == len(fault.shown_by)


def test_the_table_is_that_of_the_file() -> None:
    """Else: `python -m tests.reliability`."""
    assert page_of(TEXT, read(), nemesis()) == TEXT


def test_nobody_was_told_anything_wrong_in_the_runs_that_are_published() -> None:
    found = nemesis()

    assert found["violations"] == []
    assert found["falseOfflines"] == 0


def test_a_test_that_is_not_there_is_missed() -> None:
    here = "tests/docs/test_reliability.py"
    client = "web/tests/client/lease.test.ts"

    assert is_test(f"{here}::test_a_test_that_is_not_there_is_missed")
    assert is_test(f"{client}::notices a dead link before the others do")
    assert not is_test(f"{here}::test_of_the_moon")
    assert not is_test(f"{client}::notices the moon")
    assert not is_test("tests/nowhere.py::test_a")
    assert not is_test(str(SOURCE.name))


def test_a_state_machine_is_a_test() -> None:
    text = "TestStory = pytest.mark.slow(Story.TestCase)\nSEED = 7\n\nasync def test_a(): ...\n"

    assert list(named_in(text)) == ["TestStory", "test_a"]


@pytest.mark.parametrize("promise", PROMISES, ids=range(1, len(PROMISES) + 1))
def test_a_promise_rests_on_invariants(promise: dict[str, str]) -> None:
    assert set(promise["Invariants"].split(", ")) <= set(NUMBERS)


TIMES = [row for row in PROMISES if "Seconds" in row["Within"]]


@pytest.mark.parametrize("promise", TIMES, ids=[row["Within"] for row in TIMES])
def test_a_time_that_is_promised_follows_from_the_parameters(promise: dict[str, str]) -> None:
    seconds = sum(SECONDS[part.strip()] for part in promise["Within"].split("+"))

    assert promise["By default"] == f"{seconds} s"


def test_the_sweep_runs_as_often_as_is_promised() -> None:
    (schedule,) = FUNCTIONS["SweepFunction"]["Events"].values()

    assert schedule["Properties"]["Schedule"] == "rate(1 minute)"


def test_every_invariant_of_presence_is_promised() -> None:
    promised = {number for row in PROMISES for number in row["Invariants"].split(", ")}

    assert len(TIMES) == 5
    assert promised >= {f"I{number}" for number in range(1, 9)}
