"""The faults of docs/faults.toml, the tests that show them, and the table of both.

A test of the client is named by its file and its title, one of Python by its file and its name.
"""

import ast
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from proof.nemesis.report import Results, render

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "docs" / "faults.toml"
PAGE = ROOT / "docs" / "reliability.md"
NEMESIS = ROOT / "docs" / "nemesis.json"

_TITLE = re.compile(r"""\b(?:it|test)(?:\.each\(.*?\))?\(\s*("(?:[^"\\]|\\.)*")""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Fault:
    """`shown_by` are tests; `cannot` says why it does not occur here."""

    number: str
    what: str
    follows: str
    shown_by: Sequence[str] = ()
    cannot: str | None = None


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    faults: Sequence[Fault]


def read() -> Sequence[Section]:
    sections = tomllib.loads(SOURCE.read_text("utf-8"))["section"]
    return [Section(it["title"], [Fault(**fault) for fault in it["fault"]]) for it in sections]


def faults() -> Sequence[Fault]:
    return [fault for section in read() for fault in section.faults]


# ── the tests that are named ───────────────────────────────────────────────────────────────


def is_test(name: str) -> bool:
    """Whether there is such a test."""
    file, _, test = name.partition("::")
    return test in _tests_of(ROOT / file)


@cache
def _tests_of(file: Path) -> frozenset[str]:
    if not file.is_file():
        return frozenset()
    text = file.read_text("utf-8")
    return frozenset(named_in(text) if file.suffix == ".py" else _of_typescript(text))


def named_in(text: str) -> Iterator[str]:
    """Functions, and what is made of a state machine: `TestX = pytest.mark.slow(X.TestCase)`."""
    for it in ast.parse(text).body:
        match it:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                if name.startswith("test_"):
                    yield name
            case ast.Assign(targets=[ast.Name(id=name)]) if name.startswith("Test"):
                yield name


def _of_typescript(text: str) -> Iterator[str]:
    return (json.loads(title) for title in _TITLE.findall(text))


# ── the table ──────────────────────────────────────────────────────────────────────────────


def page_of(text: str, sections: Sequence[Section], found: Results) -> str:
    """The page *text* with the table of *sections*, and what the nemesis found, at their places."""
    return _with(_with(text, "faults", table_of(sections)), "nemesis", render(found))


def _with(text: str, name: str, content: str) -> str:
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{content}\n{end}{after}"


def nemesis() -> Results:
    """What `make nemesis ARGS="--json docs/nemesis.json"` found last."""
    found: Results = json.loads(NEMESIS.read_text("utf-8"))
    return found


def table_of(sections: Sequence[Section]) -> str:
    return "\n".join(line for section in sections for line in _lines_of(section))


def _lines_of(section: Section) -> Iterator[str]:
    yield f"### {section.title}\n"
    yield "| # | What happens | What must follow | Shown by |"
    yield "|---|---|---|---|"
    for it in section.faults:
        yield f"| {it.number} | {it.what} | {it.follows} | {_shown(it)} |"
    yield ""


def _shown(fault: Fault) -> str:
    tests = ", ".join(_link(name) for name in fault.shown_by)
    cannot = f"Cannot occur: {fault.cannot}" if fault.cannot else ""
    return " ".join(it for it in (cannot, tests) if it)


def _link(name: str) -> str:
    file, _, test = name.partition("::")
    shown = f"`{test}`" if file.endswith(".py") else test
    return f"[{shown}](../{file})"
