"""Every threat of docs/threats.md has what stops it, and a test that exists or a reason."""

import re

import pytest

from tests.docs.markdown import ROOT, table
from tests.docs.test_pages import functions_of

PAGE = ROOT / "docs" / "threats.md"
ROWS = table(PAGE.read_text("utf-8"), "No.", "Threat", "What stops it", "Test")
TEST = re.compile(r"\[`([^`]+)`\]\(\.\./([\w/.-]+)\)")
REASON = re.compile(r"None: .{20,}\.")


def test_threats_are_numbered_without_a_gap() -> None:
    assert [int(row["No."]) for row in ROWS] == list(range(1, len(ROWS) + 1))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["No."])
def test_a_threat_is_stopped_and_a_test_shows_it(row: dict[str, str]) -> None:
    assert row["Threat"].endswith(".")
    assert row["What stops it"].endswith(".")
    tests = TEST.findall(row["Test"])
    shown = ", ".join(f"[`{name}`](../{file})" for name, file in tests)

    assert shown == row["Test"] if tests else REASON.fullmatch(row["Test"])
    assert [it for it in tests if not is_test(*it)] == []


def is_test(name: str, file: str) -> bool:
    path = ROOT / file
    return name in functions_of(path) if path.suffix == ".py" else f'"{name}"' in path.read_text()
