"""Every invariant, fault and threat that is cited has its line, and every line its test.

The lines of faults are those of docs/faults.toml; test_reliability.py holds them to their tests.
"""

import re
from itertools import chain

import pytest

from tests.docs.markdown import ROOT, code, name, pages, tables
from tests.docs.test_pages import TEST
from tests.reliability.faults import faults

#: Where numbers are cited: `F11`, `T15`, `I13`. Three digits are a rule of ruff (`F401`).
CITED = re.compile(r"\b[FTI]\d{1,2}\b")
SOURCES = ("functions", "layers/presence/presence", "local", "tests")
PAGE = ROOT / "docs" / "invariants.md"
LINES = list(chain.from_iterable(tables(PAGE.read_text("utf-8"), "#")))
NUMBERS = [line["#"] for line in LINES]
KNOWN = {*NUMBERS, *(fault.number for fault in faults())}


def citations() -> set[tuple[str, str]]:
    files = [ROOT / "template.yaml", *pages()]
    for folder in SOURCES:
        files += (ROOT / folder).rglob("*.py")
    here = ROOT / "tests" / "docs"
    return {
        (name(file), number)
        for file in files
        if here not in file.parents
        for number in CITED.findall(file.read_text("utf-8"))
    }


def test_every_number_that_is_cited_has_a_line() -> None:
    assert sorted(it for it in citations() if it[1] not in KNOWN) == []


def test_every_line_is_cited_or_an_invariant() -> None:
    cited = {number for file, number in citations() if file != name(PAGE)}

    assert sorted(it for it in NUMBERS if it not in cited and not it.startswith("I")) == []


def test_the_invariants_are_all_there_and_each_once() -> None:
    assert [it for it in NUMBERS if it.startswith("I")] == [f"I{number}" for number in range(1, 18)]
    assert len(set(NUMBERS)) == len(NUMBERS)


@pytest.mark.parametrize("line", LINES, ids=NUMBERS)
def test_a_line_names_the_test_that_shows_it(line: dict[str, str]) -> None:
    shown = line["Shown by"]

    assert [it for it in code(shown) if TEST.fullmatch(it)]
