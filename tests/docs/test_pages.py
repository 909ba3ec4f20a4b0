"""What the pages point at exists, and what is generated is up to date."""

import ast
import os
import re
from functools import cache
from pathlib import Path

import pytest

from tests.docs.generated import FILES, filled
from tests.docs.markdown import README, ROOT, anchors, blocks, code, links, name, pages, table

#: What `make` makes; it need not be there.
MADE = (".presence", ".venv", ".aws-sam", "web/node_modules", "web/dist")
OTHERS = {".git", "__pycache__", "node_modules"}
SUFFIXES = "cfg|css|html|in|js|json|md|mjs|py|toml|ts|tsx|txt|yaml"
#: `functions/*.py`, `template.yaml`, `docs/decisions/`; not `/online`, not `presence.domain`.
PATH = re.compile(rf"(?!/)[\w.*/-]+(?:\.(?:{SUFFIXES})|/)", re.ASCII)
TEST = re.compile(r"tests/[\w/]+\.py::test_\w+")
PAGES = pytest.mark.parametrize("page", pages(), ids=name)


def everything() -> set[str]:
    """Every file of the repository, and every folder with a slash behind it."""
    found: set[str] = set()
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [it for it in folders if not (it.startswith(MADE) or it in OTHERS)]
        here = Path(folder).relative_to(ROOT)
        found |= {str(here / file) for file in files} | {f"{here / it}/" for it in folders}
    return found


KNOWN = everything()


def exists(path: str) -> bool:
    """As it stands, as the end of a longer path (`domain/user.py`), or as a pattern."""
    if "*" in path:
        return any(ROOT.glob(path))
    return path in KNOWN or any(known.endswith(f"/{path}") for known in KNOWN)


@PAGES
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = {span for span in code(page.read_text("utf-8")) if PATH.fullmatch(span)}

    assert [it for it in sorted(named) if not (it.startswith(MADE) or exists(it))] == []


@PAGES
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    named = {span for span in code(page.read_text("utf-8")) if TEST.fullmatch(span)}

    assert [it for it in sorted(named) if not is_test(it)] == []


def is_test(node: str) -> bool:
    file, _, function = node.partition("::")
    return file in KNOWN and function in functions_of(ROOT / file)


@cache
def functions_of(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text("utf-8"))
    return frozenset(getattr(it, "name", "") for it in tree.body)


@PAGES
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = [link for link in links(page.read_text("utf-8")) if not leads_somewhere(page, link)]

    assert broken == []


def leads_somewhere(page: Path, link: str) -> bool:
    if re.match(r"https://", link):
        return True
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if target.suffix != ".md" or not anchor:
        return target.is_file()
    return anchor in anchors(target.read_text("utf-8"))


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, waiting = set[Path](), [README]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        paths = {link.partition("#")[0] for link in links(page.read_text("utf-8"))}
        found = {(page.parent / path).resolve() for path in paths if path.endswith(".md")}
        waiting += found - seen

    assert set(pages()) - seen == set()


def test_every_target_that_a_page_names_exists() -> None:
    made = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    typed = (
        line
        for text in (page.read_text("utf-8") for page in pages())
        for line in [*code(text), *blocks(text, "console"), *blocks(text, "sh")]
    )
    named = {it for line in typed for it in re.findall(r"(?:^|[ $(])make ([a-z]+)", line)}

    assert named <= set(made)


@PAGES
def test_what_is_generated_is_up_to_date(page: Path) -> None:
    text = page.read_text("utf-8")

    assert filled(text) == text, "run `make docs`"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_that_is_generated_is_up_to_date(file: Path) -> None:
    assert file.read_text("utf-8") == FILES[file](), "run `make docs`"


# ── docs/threats.md: what stops each threat, and a test that shows it, or a reason ─────────────

THREATS = ROOT / "docs" / "threats.md"
ROWS = table(THREATS.read_text("utf-8"), "No.", "Threat", "What stops it", "Test")
TEST_LINK = re.compile(r"\[`([^`]+)`\]\(\.\./([\w/.-]+)\)")
REASON = re.compile(r"None: .{20,}\.")


def test_threats_are_numbered_without_a_gap() -> None:
    assert [int(row["No."]) for row in ROWS] == list(range(1, len(ROWS) + 1))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["No."])
def test_a_threat_is_stopped_and_a_test_shows_it(row: dict[str, str]) -> None:
    assert row["Threat"].endswith(".")
    assert row["What stops it"].endswith(".")
    tests = TEST_LINK.findall(row["Test"])
    shown = ", ".join(f"[`{name}`](../{file})" for name, file in tests)

    assert shown == row["Test"] if tests else REASON.fullmatch(row["Test"])
    assert [it for it in tests if not is_shown(*it)] == []


def is_shown(name: str, file: str) -> bool:
    path = ROOT / file
    return name in functions_of(path) if path.suffix == ".py" else f'"{name}"' in path.read_text()
