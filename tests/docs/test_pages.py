"""What the pages point at exists: files, links, tests, and the parts of a decision."""

import ast
import os
import re
from pathlib import Path

import pytest

from tests.docs.markdown import README, ROOT, anchors, code, links, name, pages

#: What `make` makes; it need not be there.
MADE = (".presence", ".venv", ".aws-sam", "web/node_modules", "web/dist")
OTHERS = {".git", "__pycache__", "node_modules"}
SUFFIXES = "cfg|css|html|in|js|json|md|mjs|py|toml|ts|tsx|txt|yaml"
#: `functions/on_*.py`, `template.yaml`, `docs/decisions/`; not `/online`, not `presence.domain`.
PATH = re.compile(rf"(?!/)[\w.*/-]+(?:\.(?:{SUFFIXES})|/)", re.ASCII)
TEST = re.compile(r"tests/[\w/]+\.py::test_\w+")
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
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
    if file not in KNOWN:
        return False
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return any(
        isinstance(it, ast.FunctionDef | ast.AsyncFunctionDef) and it.name == function
        for it in tree.body
    )


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


@pytest.mark.parametrize("page", DECISIONS, ids=name)
def test_a_decision_says_why_and_what_else_there_was(page: Path) -> None:
    text = page.read_text("utf-8")

    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        *("Context", "Decision", "Consequences", "Rejected")
    ]
    assert text.startswith(f"# {int(page.name[:4])}. ")


def test_every_decision_is_listed() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text("utf-8")

    assert re.findall(r"^\| \[(\d+)\]\((.+?)\)", index, re.MULTILINE) == [
        (str(int(page.name[:4])), page.name) for page in DECISIONS
    ]


def test_the_changelog_keeps_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))

    assert headings[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", it) for it in headings[1:])
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
