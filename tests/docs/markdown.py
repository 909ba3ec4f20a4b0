"""Markdown as the documentation checks read it: tables, code, links and headings."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
CLIENT = ROOT / "web" / "README.md"
PYTHON = ROOT / "clients" / "python" / "README.md"

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def pages() -> list[Path]:
    """Every page that a reader is sent to."""
    pages = sorted((ROOT / "docs").rglob("*.md"))
    bench = ROOT / "bench" / "README.md"
    return [README, CLIENT, PYTHON, ROOT / "CHANGELOG.md", bench, *pages]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return _FENCE.sub("", text)


def blocks(text: str, language: str | None = None) -> list[str]:
    """The fenced blocks, in order; of one language, or all."""
    found = _FENCE.finditer(text)
    return [match[3] for match in found if language in (None, match[2])]


def code(text: str) -> list[str]:
    """What stands between single backticks."""
    return _CODE.findall(prose(text))


def links(text: str) -> list[str]:
    return _LINK.findall(_CODE.sub("", prose(text)))


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of the headings."""
    return {_anchor(heading) for heading in _HEADING.findall(prose(text))}


def _anchor(heading: str) -> str:
    words = re.sub(r"[^\w\- ]", "", heading.replace("`", "").strip().lower())
    return words.replace(" ", "-")


def table(text: str, *columns: str) -> list[dict[str, str]]:
    """The rows of the first table whose header begins with *columns*."""
    return tables(text, *columns)[0]


def tables(text: str, *columns: str) -> list[list[dict[str, str]]]:
    return [
        [dict(zip(header, row, strict=True)) for row in rows]
        for header, rows in _tables(prose(text))
        if header[: len(columns)] == list(columns)
    ]


def _tables(text: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    for part in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        header, _, *rows = (_cells(line) for line in part.splitlines())
        yield header, rows


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
