"""Draws docs/posting.svg: posts per CPU second of all ways to post.

    python -m bench.picture [record]

The record is what bench.posting leaves in .presence/bench/posting.json. Without one it is
bench/records/posting.json, the run that decision 27 tells of.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
RECORD, PICTURE = ROOT / "bench" / "records" / "posting.json", ROOT / "docs" / "posting.svg"
COLUMN, OURS, BASELINE = "5 ms", "ours", "boto3, one by one"
#: The panels, and what the title of each one's table has in it.
PANELS: Mapping[str, str] = {"Over plain HTTP": " over plain", "Over TLS": " over TLS"}

WIDTH, TOP, ROW, PANEL_HEAD, GAP = 720, 44, 24, 30, 18
LEFT, LONGEST = 170, 400

LABELLED = 'role="img" aria-labelledby="title desc"'
STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #1f2328 }
    .head { font-weight: 600 }
    .bar { fill: #6e7781 }
    .ours { fill: #0969da }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .bar { fill: #8b949e }
      .ours { fill: #4493f8 }
    }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    name: str
    posts: int
    times: float


@dataclass(frozen=True, slots=True)
class Panel:
    name: str
    bars: Sequence[Bar]

    @property
    def height(self) -> int:
        return PANEL_HEAD + ROW * len(self.bars)


def panels(record: Mapping[str, Any]) -> Sequence[Panel]:
    """The tables of all candidates, one for each transport."""
    return [
        Panel(name, bars(table))
        for name, part in PANELS.items()
        for table in record["tables"]
        if table["title"].startswith("Posts per CPU second") and part in table["title"]
    ]


def bars(table: Mapping[str, Any]) -> Sequence[Bar]:
    column = table["header"].index(COLUMN)
    posts = {row[0]: int(row[column].replace(",", "")) for row in table["rows"]}
    return [Bar(name, amount, amount / posts[BASELINE]) for name, amount in posts.items()]


def draw(drawn: Sequence[Panel]) -> str:
    """The picture; it can be read without its colours, and by a screen reader."""
    height = TOP + sum(panel.height + GAP for panel in drawn)
    most = max(bar.posts for panel in drawn for bar in panel.bars)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {LABELLED}>',
        '  <title id="title">Posts per CPU second, by way of posting</title>',
        f'  <desc id="desc">{escape(described(drawn))}</desc>',
        f"  <style>{STYLE}  </style>",
        _text(0, 20, "Posts per CPU second; the endpoint answers after 5 ms", "head"),
    ]
    top = TOP
    for panel in drawn:
        lines += _panel(panel, top, most)
        top += panel.height + GAP
    return "\n".join((*lines, "</svg>", ""))


def described(drawn: Iterable[Panel]) -> str:
    """All figures as a sentence for each panel."""
    return " ".join(
        f"{panel.name}: " + "; ".join(f"{it.name}: {it.posts:,}" for it in panel.bars) + "."
        for panel in drawn
    )


def _panel(panel: Panel, top: int, most: int) -> Iterator[str]:
    yield _text(0, top + 16, panel.name, "head")
    for number, bar in enumerate(panel.bars):
        middle = top + PANEL_HEAD + ROW * number + ROW // 2
        length = max(1, round(LONGEST * bar.posts / most))
        kind = "bar ours" if bar.name == OURS else "bar"
        yield _text(0, middle + 5, bar.name)
        yield f'  <rect class="{kind}" x="{LEFT}" y="{middle - 8}" width="{length}" height="16"/>'
        yield _text(LEFT + length + 8, middle + 5, f"{bar.posts:,} ({bar.times:.1f} times)")


def _text(x: int, y: int, text: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'  <text{named} x="{x}" y="{y}">{escape(text)}</text>'


def main() -> None:
    source = Path(sys.argv[1]) if sys.argv[1:] else RECORD
    PICTURE.write_text(draw(panels(json.loads(source.read_text("utf-8")))), "utf-8")
    print(PICTURE.relative_to(ROOT))


if __name__ == "__main__":
    main()
