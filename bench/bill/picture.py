"""The picture of a record: one stacked bar for each day and build, in dollars a month."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from bench.bill.prices import APART, PRICES, Price

WIDTH, LEFT, RIGHT, ROW, HEAD, TOP = 760, 110, 90, 26, 30, 94
#: Thinner parts of a bar are not drawn.
THINNEST = 0.1
#: What may be in a sum.
ITEMS: Mapping[str, Price] = {**PRICES, **APART}
#: Of the items, in their order: light and dark enough for both schemes.
COLOURS = (
    *("#0969da", "#54aeff", "#8250df", "#bf8700", "#cf222e", "#fa4549"),
    *("#1a7f37", "#4ac26b", "#bc4c00", "#6e7781", "#9a6700", "#57606a"),
    *("#1b7c83", "#bf3989", "#ff80c8"),
)
STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #1f2328 }
    .head { font-weight: 600 }
    @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } }
"""


def draw(record: Mapping[str, Any]) -> str:
    """It can be read without its colours, and by a screen reader."""
    days: Sequence[Mapping[str, Any]] = record["days"]
    height = TOP + sum(HEAD + ROW * len(day["bills"]) for day in days)
    names = 'role="img" aria-labelledby="title desc"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {names}>',
        '  <title id="title">What a month costs, by day and build</title>',
        f'  <desc id="desc">{escape(" ".join(map(_described, days)))}</desc>',
        f"  <style>{STYLE}  </style>",
        *_legend(days),
    ]
    top = TOP
    for day in days:
        lines += _day(day, top)
        top += HEAD + ROW * len(day["bills"])
    return "\n".join((*lines, "</svg>", ""))


def _described(day: Mapping[str, Any]) -> str:
    bills = "; ".join(f"{it['build']}: ${it['total']:,.0f}" for it in day["bills"])
    return f"{day['title']}: {bills}."


def _legend(days: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    used = {item for day in days for bill in day["bills"] for item in bill["dollars"]}
    shown = [item for item in ITEMS if item in PRICES or item in used]
    colours = dict(zip(ITEMS, COLOURS, strict=True))
    for number, item in enumerate(shown):
        colour, price = colours[item], ITEMS[item]
        x, y = number % 4 * 190, 4 + number // 4 * 20
        yield f'  <rect x="{x}" y="{y}" width="12" height="12" fill="{colour}"/>'
        yield _text(x + 18, y + 11, price.name)


def _day(day: Mapping[str, Any], top: int) -> Iterator[str]:
    yield _text(0, top + 20, f"{day['title']} ({day['users']:,} users, {day['days']} days)", "head")
    most = max(it["total"] for it in day["bills"])
    for number, it in enumerate(day["bills"]):
        yield from _bar(it, top + HEAD + ROW * number, (WIDTH - LEFT - RIGHT) / most)


def _bar(bill: Mapping[str, Any], y: int, scale: float) -> Iterator[str]:
    yield _text(0, y + 14, bill["build"])
    x = float(LEFT)
    for colour, (item, price) in zip(COLOURS, ITEMS.items(), strict=True):
        dollars = bill["dollars"].get(item, 0)
        if dollars * scale >= THINNEST:
            told = f"<title>{escape(price.name)}: ${dollars:,.2f}</title>"
            place = f'x="{x:.1f}" y="{y}" width="{dollars * scale:.1f}" height="18"'
            yield f'  <rect {place} fill="{colour}">{told}</rect>'
        x += dollars * scale
    yield _text(round(x) + 8, y + 14, f"${bill['total']:,.0f}")


def _text(x: int, y: int, text: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'  <text{named} x="{x}" y="{y}">{escape(text)}</text>'
