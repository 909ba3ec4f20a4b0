"""A short run of the nemesis in every test run; `make nemesis` makes long ones."""

from pathlib import Path

import pytest

from tests.nemesis.check import check
from tests.nemesis.history import read
from tests.nemesis.plan import STACK
from tests.nemesis.report import summary
from tests.nemesis.run import SHORT, run

SEED, SECONDS = 1, 16


@pytest.mark.e2e
@pytest.mark.slow
def test_nobody_is_told_anything_wrong_whatever_happens(tmp_path: Path) -> None:
    run(SEED, SECONDS, SHORT, tmp_path / "run")

    history = read(tmp_path / "run")

    assert check(history) == []
    found = summary(SEED, SECONDS, history, [])
    # On a machine that is too busy, a device may be gone before it is its turn to be killed.
    assert {name for name, count in found.faults.items() if count} >= set(STACK)
    assert {it.path for it in found.deaths} == {"push", "http"}
