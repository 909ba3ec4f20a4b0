"""Tables that are read in a terminal and pasted into a page."""

from collections.abc import Sequence
from textwrap import wrap

_WIDTH = 100


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, its first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = "  ".join("─" * width for width in widths)
    print(f"\n{title}\n")
    for line in (_line(header, widths), rule, *(_line(row, widths) for row in rows)):
        print(line.rstrip())


def print_note(text: str) -> None:
    print()
    print("\n".join(wrap(text, _WIDTH)))


def number(value: float) -> str:
    """A figure as one writes it: 3, 0.5, 12.75."""
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return "  ".join((first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)))
