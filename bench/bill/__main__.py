"""Plays days and prints their bills.

    python -m bench.bill [--day FILE]... [--against GIT_REF] [--whole] [--count ITEM] [--keep]

Without a day, all of bench/days are played, except the shortest. `--whole` plays a day in its
length instead of cutting it. `--count` takes into the sum what is printed apart otherwise. The
record and the picture are written to .presence/bench/bill/; with `--keep` to bench/bill.json and
docs/bill.svg, from which the pages are made: there, days that were played take the place of their
former bills.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.bill import picture, report
from bench.bill.days import Day, read_day
from bench.bill.prices import APART
from bench.bill.stage import bundle
from bench.builds import ROOT, checkout, git
from bench.printing import RECORDS, print_note, print_table

DAYS = ROOT / "bench" / "days"
KEPT, PICTURE = ROOT / "bench" / "bill.json", ROOT / "docs" / "bill.svg"
HERE = "this build"


@dataclass(frozen=True, slots=True)
class Made:
    """A build that can be run: its folder, and the module of its client."""

    name: str
    folder: Path
    module: Path

    @property
    def commit(self) -> str:
        return git(self.folder, "describe", "--always", "--dirty")


@contextmanager
def made(name: str, ref: str | None) -> Iterator[Made]:
    """The working copy, or a commit in a folder of its own that goes afterwards."""
    source = nullcontext(ROOT) if ref is None else checkout(ref)
    with source as folder, TemporaryDirectory(prefix="presence-bill-") as home:
        module = Path(home) / "client.mjs"
        bundle(folder / "web" / "src", module)
        yield Made(name, folder, module)


def run(build: Made, file: Path, cut: float, parameters: Mapping[str, Any] = {}) -> dict[str, Any]:
    """Play a day in a process of its own."""
    asked = {
        "build": str(build.folder),
        "module": str(build.module),
        "day": str(file),
        "cut": cut,
        "parameters": dict(parameters),
    }
    command = [sys.executable, "-m", "bench.bill.run", json.dumps(asked)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    answer = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    found: dict[str, Any] = json.loads(answer.stdout)
    for failure in found["failures"][:1]:
        print(
            f"{len(found['failures'])} invocations failed; the first:\n{failure}", file=sys.stderr
        )
    return {**found, "cut": cut}


@dataclass(frozen=True, slots=True)
class Job:
    file: Path
    day: Day
    build: Made
    parameters: Mapping[str, Any]

    def run(self, pool: ThreadPoolExecutor) -> "Played":
        cuts = self.day.cut or [1]
        waiting = [pool.submit(run, self.build, self.file, cut, self.parameters) for cut in cuts]
        return Played(self, waiting)


@dataclass(frozen=True, slots=True)
class Played:
    job: Job
    waiting: Sequence[Any]

    def runs(self) -> Sequence[dict[str, Any]]:
        return [it.result() for it in self.waiting]

    def bill(self, counted: Collection[str]) -> dict[str, Any]:
        amounts = report.monthly(self.job.day, self.runs())
        return report.bill(self.job.build.name, amounts, counted)


def play(
    files: Sequence[Path], builds: Sequence[Made], *, whole: bool, counted: Collection[str] = ()
) -> dict[str, Any]:
    """All days with all builds, two at a time."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        played = {}
        for file in files:
            day = read_day(file)
            day = replace(day, cut=()) if whole else day
            jobs = [Job(file, day, build, {}) for build in builds]
            jobs += [Job(file, day, builds[0], it) for it in day.variants]
            played[file] = [job.run(pool) for job in jobs]
        days = [_day(it, len(builds), counted) for it in played.values()]
        first = next(iter(played.values()))[0]
        idle = report.idle_bill(builds[0].name, first.runs()[0], counted)
        return report.record(days, idle, {it.name: it.commit for it in builds})


def _day(played: Sequence[Played], builds: int, counted: Collection[str]) -> dict[str, Any]:
    found = report.of_day(played[0].job.day, [it.bill(counted) for it in played[:builds]])
    variants = [{"parameters": it.job.parameters, **it.bill(counted)} for it in played[builds:]]
    return {**found, "variants": [{k: it[k] for k in ("parameters", "total")} for it in variants]}


#: As they are written on the command line: empty-answers.
_NAMES = {item.replace("_", "-"): item for item in APART}
_COUNT = "an item that may be billed, into the sum; may be repeated"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.bill", description=__doc__)
    parser.add_argument("--day", action="append", type=Path, help="a file like those of bench/days")
    parser.add_argument("--against", metavar="GIT_REF", help="a commit to play the same days with")
    parser.add_argument("--whole", action="store_true", help="cut no day")
    parser.add_argument("--count", action="append", default=[], choices=_NAMES, help=_COUNT)
    parser.add_argument("--keep", action="store_true", help="write what the pages are made from")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    files = asked.day or [it for it in sorted(DAYS.glob("*.yaml")) if it.stem != "short"]
    with ExitStack() as everything:
        refs = {HERE: None} | ({asked.against: asked.against} if asked.against else {})
        builds = [everything.enter_context(made(name, ref)) for name, ref in refs.items()]
        counted = [_NAMES[it] for it in asked.count]
        found = play(files, builds, whole=asked.whole, counted=counted)
    for day in found["days"]:
        for title, header, rows in report.tables(day):
            print_table(title, header, rows)
        for it in day["variants"]:
            print_note(f"With {it['parameters']}: ${it['total']:,.2f}")
    print_note(f"With no user connected: ${found['idle']['total']:,.2f} a month.")
    write(found, keep=asked.keep)


def write(found: Mapping[str, Any], *, keep: bool) -> None:
    folder = RECORDS / "bill"
    record, drawn = (KEPT, PICTURE) if keep else (folder / "bill.json", folder / "bill.svg")
    if keep and KEPT.exists():
        found = report.merged(json.loads(KEPT.read_text("utf-8")), found)
    folder.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", "utf-8")
    drawn.write_text(picture.draw(found), "utf-8")
    print(f"\n{record.relative_to(ROOT)}, {drawn.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
