"""Attacks a local stack of real processes and says whether any client was told something wrong.

    python -m proof.nemesis [--setting usual] [--seconds 180] [--seed 1] [--runs 1] [--jobs 1]
        [--json FILE]

The durations are a tenth of those of a setting of docs/heartbeats.md.

The histories of a run that failed stay in .presence/nemesis/SETTING/SEED; `python -m
proof.nemesis.check` reads them again.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bench.printing import print_note, print_table
from local.stack import ROOT
from proof.nemesis import report
from proof.nemesis.check import KINDS, Violation, check, inconclusive
from proof.nemesis.history import read
from proof.nemesis.report import Results, Summary
from proof.nemesis.run import run
from proof.nemesis.settings import SETTINGS, rules

FOLDER = ROOT / ".presence" / "nemesis"


def main() -> int:
    wanted = _parser().parse_args()
    seeds = range(wanted.seed, wanted.seed + wanted.runs)
    with ThreadPoolExecutor(wanted.jobs) as pool:
        summaries = list(pool.map(lambda seed: one(seed, wanted.seconds, wanted.setting), seeds))
    found = report.results(summaries, _about(wanted.setting))
    if wanted.json:
        known = json.loads(wanted.json.read_text("utf-8")) if wanted.json.exists() else []
        text = json.dumps(report.kept(known, found), ensure_ascii=False, indent=1)
        wanted.json.write_text(f"{text}\n", "utf-8")
    _print(found)
    return 1 if found["violations"] else 0


def one(seed: int, seconds: float, setting: str) -> Summary:
    """One run; its folder stays if it found something, or broke down."""
    folder = FOLDER / setting / str(seed)
    shutil.rmtree(folder, ignore_errors=True)
    _say(seed, "begins")
    try:
        run(seed, seconds, rules(setting), folder)
    except Exception as error:  # noqa: BLE001  whatever it is, the other runs go on
        _say(seed, f"broke down: {error!r}")
        return Summary(seed, seconds, violations=[Violation("run", 0.0, repr(error))])
    history = read(folder)
    violations = [*check(history), *inconclusive(history)]
    summary = report.summary(seed, seconds, history, violations)
    for it in violations:
        _say(seed, f"{it.at - history.start:.3f} s  {it.kind}  {it.text}")
    _say(seed, f"{len(violations)} violations, {len(summary.deaths)} deaths noticed")
    if not violations:
        shutil.rmtree(folder)
    return summary


def _say(seed: int, text: str) -> None:
    print(f"{time.strftime('%X')}  run {seed}: {text}", flush=True)


def _about(setting: str) -> Results:
    commit = _git("rev-parse", "--short=12", "HEAD")
    return {
        "setting": setting,
        "commit": f"{commit}, changed" if _git("status", "--porcelain") else commit,
        "date": datetime.now(UTC).date().isoformat(),
        "durations": {k: v for k, v in asdict(rules(setting)).items() if k != "offset"},
    }


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments],  # noqa: S607  that of the person's path
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def _print(found: Results) -> None:
    for undisturbed, title in ((True, "nothing was done to the stack"), (False, "it was attacked")):
        if lines := report.rows(found, undisturbed=undisturbed):
            print_table(f"From death to offline in seconds, while {title}", report.HEADER, lines)
    faults = [(name, str(count)) for name, count in found["faults"].items()]
    print_table("What was done", ("fault", "times"), faults)
    counts = [(f"{name}: {text}", str(_count(found, name))) for name, text in KINDS.items()]
    print_table("Violations", ("kind", "times"), counts)
    print_note(
        f"{found['falseOfflines']} of {found['offlinesTold']} offlines told were false. "
        f"The machine lost {found['lostShare']:.0%} of its time to others."
    )


def _count(found: Results, kind: str) -> int:
    return sum(it["kind"] == kind for it in found["violations"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m proof.nemesis", description=__doc__)
    parser.add_argument("--setting", choices=SETTINGS, default="usual")
    parser.add_argument("--seconds", type=float, default=180.0, help="of faults, for each run")
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    parser.add_argument("--json", type=Path, help="where to keep the results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
