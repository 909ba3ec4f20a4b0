"""Tables that are read in a terminal, pasted into a page, and kept as JSON."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from textwrap import wrap

#: A file for each bench, of its last run.
RECORDS = Path(__file__).resolve().parents[1] / ".presence" / "bench"
_WIDTH = 100


@dataclass(frozen=True, slots=True)
class Table:
    """The first column names the row."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass
class Recorder:
    """Keeps the tables of one run in a file, which is whole after every table."""

    bench: str
    folder: Path = RECORDS
    tables: list[Table] = field(default_factory=list)

    def record(self, table: Table) -> None:
        self.tables.append(table)
        self.folder.mkdir(parents=True, exist_ok=True)
        record = {
            "bench": self.bench,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "machine": {"cores": os.cpu_count()},
            "tables": [asdict(it) for it in self.tables],
        }
        text = json.dumps(record, ensure_ascii=False, indent=1)
        (self.folder / f"{self.bench}.json").write_text(f"{text}\n", "utf-8")


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, and keep it if it is that of a bench."""
    table = Table(title, header, rows)
    print(f"\n{rendered(table)}")
    if recorder := _recorder():
        recorder.record(table)


@cache
def _recorder() -> Recorder | None:
    """That of the bench that runs as `python -m bench.NAME`; tests and imports have none."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    package, _, bench = spec.name.partition(".") if spec else ("", "", "")
    return Recorder(bench.removesuffix(".__main__")) if package == "bench" else None


def rendered(table: Table) -> str:
    """The table as text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(table.header, *table.rows, strict=True)]
    rule = "  ".join("─" * width for width in widths)
    lines = (_line(table.header, widths), rule, *(_line(row, widths) for row in table.rows))
    return "\n".join([table.title, "", *(line.rstrip() for line in lines)])


def print_note(text: str) -> None:
    print()
    print("\n".join(wrap(text, _WIDTH)))


def number(value: float) -> str:
    """A figure as one writes it: 3, 0.5, 12.75."""
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return "  ".join((first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)))
