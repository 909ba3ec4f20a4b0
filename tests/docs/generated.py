"""What pages say and other files know: each block is made, none is typed."""

import ast
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench import cost
from presence import limits as of_ours
from proof.nemesis.report import render
from tests.docs.markdown import ROOT
from tests.template.test_template import TEMPLATE

_BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

LIMITS = (
    (of_ours.MAX_CONNECTIONS, "connections of a user", "`too-many-connections`"),
    (of_ours.MAX_SESSIONS, "chat sessions of a user, over all connections", "`conflict`"),
    (of_ours.WATCHED_USERS, "watched users of a connection", "`conflict`"),
    (of_ours.MAX_BLOCKED, "users that a user blocks", "`conflict`"),
    (of_ours.MAX_PAGE, "ids in `userIds`, and `limit`", "`invalid-message`"),
    (of_ours.MAX_TEXT_LENGTH, "characters of `text`", "`invalid-message`"),
    (of_ours.MAX_MESSAGE_BYTES, "bytes of a frame", "`payload-too-large`"),
    (of_ours.MAX_BODY_BYTES, "bytes of an HTTP body", "`payload-too-large`"),
    (of_ours.MAX_CONTENT_BYTES, "bytes of `content`", "`payload-too-large`"),
    (of_ours.MAX_TOKEN_LENGTH, "characters of `token`", "`invalid-message`"),
    (
        of_ours.BURST,
        "actions of a connection at once, then one a second",
        "`rate-limited`, with `retryAfterSeconds`",
    ),
)


def filled(text: str) -> str:
    """The page with every block as it has to be."""
    return _BLOCK.sub(lambda it: f"{it[1]}\n{BLOCKS[it[2]]()}\n\n{it[3]}", text)


def table(header: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))


def limits() -> str:
    rows = ([f"{limit:,}", *words] for limit, *words in LIMITS)
    return table(("Limit", "Of", "Beyond it"), rows)


def parameters() -> str:
    return table(
        ("Parameter", "Default", "What it is"),
        (
            (f"`{name}`", _default(str(it.get("Default", "required"))), it["Description"].strip())
            for name, it in TEMPLATE["Parameters"].items()
        ),
    )


def _default(text: str) -> str:
    return text if text == "required" else f"`{text}`" if text else "empty"


def nemesis() -> str:
    return render(json.loads((ROOT / "docs" / "nemesis.json").read_text("utf-8"))).strip()


# ── faults ─────────────────────────────────────────────────────────────────────────────────


def faults() -> str:
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return table(("Fault", "Shown by"), (row for file in files for row in _faults_of(file)))


def _faults_of(file: Path) -> Iterator[tuple[str, str]]:
    for test in ast.parse(file.read_text("utf-8")).body:
        for mark in getattr(test, "decorator_list", ()):
            match mark:
                case ast.Call(ast.Attribute(attr="fault"), [ast.Constant(str(sentence))]):
                    yield sentence, f"[`{test.name}`](../{file.relative_to(ROOT)})"  # type: ignore[attr-defined]


BLOCKS: dict[str, Callable[[], str]] = {
    **{it.__name__: it for it in (faults, limits, nemesis, parameters)},
    **cost.BLOCKS,
}
