"""SPIN, and the compiler that it needs: one case is one program, which looks at every state.

    python -m proof.model.checker

prints what it finds as a table.
"""

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

Property = Literal[
    "I1", "I2", "I3", "I4", "I6", "I7", "I8", "I18", "I19", "I21", "I22", "TIMER", "CALM"
]


@dataclass(frozen=True, slots=True)
class Case:
    """A scene of a model; with a variant, the rule that is broken, and what no longer holds."""

    model: str
    scene: str
    variant: str | None = None
    breaks: Property | None = None

    @property
    def label(self) -> str:
        return " ".join(filter(None, (self.model, self.scene, self.variant)))

    @property
    def expected(self) -> str:
        return self.breaks or "holds"

    @property
    def definitions(self) -> tuple[str, ...]:
        """Every property is checked of the protocol, and one of a variant."""
        if self.variant is None:
            return (f"-DSCENE={self.scene}",)
        return (f"-DSCENE={self.scene}", f"-D{self.variant}", f"-DONLY={self.breaks}")


GOOD = (
    Case("lifecycle", "MEETING"),
    Case("lifecycle", "DYING"),
    Case("lifecycle", "LATE"),
    Case("lifecycle", "WATCHED"),
    Case("lifecycle", "PROBED"),
    Case("session", "MOVING"),
    Case("session", "MUTUAL"),
    Case("session", "RETURNING"),
    Case("session", "PARTING"),
    Case("standing", "HANDSHAKE"),
    Case("standing", "BARRING"),
    Case("standing", "NARROWING"),
)

BAD = (
    # The aggregate is changed as a whole, and only if it is as it was read.
    Case("lifecycle", "MEETING", "NO_CAS", "I2"),
    Case("lifecycle", "LATE", "NO_LEASE_CONDITION", "I2"),
    Case("lifecycle", "LATE", "EXPIRED_STAYS", "I1"),
    Case("lifecycle", "LATE", "RETURN_SHORTENS", "I2"),
    Case("lifecycle", "MEETING", "VERSION_STAYS", "I3"),
    # The connection record is closed first, for good, and the user is written whatever was read.
    Case("lifecycle", "MEETING", "NO_RECORD", "I6"),
    Case("lifecycle", "MEETING", "USER_FIRST", "I6"),
    Case("lifecycle", "MEETING", "SKIP_NOOP", "I6"),
    Case("lifecycle", "MEETING", "ROW_APART", "I6"),
    Case("lifecycle", "MEETING", "ROWS_FIRST", "I6"),
    # A ping creates nothing and repairs nothing.
    Case("lifecycle", "DYING", "PING_UPSERTS", "I6"),
    Case("lifecycle", "WATCHED", "REASSERT", "CALM"),
    # Grace, timers and the sweep.
    Case("lifecycle", "MEETING", "NO_GRACE", "I7"),
    Case("lifecycle", "MEETING", "BLIND_TIMER", "I1"),
    Case("lifecycle", "MEETING", "TIMER_AFTER", "TIMER"),
    Case("lifecycle", "DYING", "SWEEP_BY_EXPIRY", "CALM"),
    Case("lifecycle", "DYING", "NO_CLEANUP", "CALM"),
    Case("lifecycle", "DYING", "LOOKS_FIRST", "I2"),
    # A probe is sent once for all, and shortens the lease of a connection that did not answer.
    Case("lifecycle", "PROBED", "PROBE_EACH", "I22"),
    Case("lifecycle", "PROBED", "PROBE_COUNTS", "I4"),
    Case("lifecycle", "PROBED", "PROBE_REPAIRS", "I6"),
    Case("lifecycle", "PROBED", "SHORTENS_UNASKED", "I21"),
    Case("lifecycle", "PROBED", "SHORTENS_ANSWERED", "I21"),
    Case("lifecycle", "PROBED", "IN_HASTE", "I21"),
    Case("lifecycle", "PROBED", "NO_PROBE_TIMER", "TIMER"),
    # What is told was stored, and is dropped if it is old.
    Case("lifecycle", "WATCHED", "GET_UNSTORED", "I3"),
    Case("lifecycle", "WATCHED", "GET_UNSTORED", "I8"),
    Case("lifecycle", "WATCHED", "EVERYTHING_IS_NEWS", "I8"),
    # Chat sessions.
    Case("session", "MOVING", "SNAPSHOT_FIRST", "I8"),
    Case("session", "MOVING", "AUDIENCE_AFTER", "I8"),
    Case("session", "MOVING", "EVERYTHING_IS_NEWS", "I8"),
    Case("session", "MOVING", "OLDEST_WINS", "I8"),
    Case("session", "MUTUAL", "RECORD_IS_TOLD", "I8"),
    Case("session", "MOVING", "NET_MOVES", "I8"),
    Case("session", "RETURNING", "NET_NEWS", "I8"),
    Case("session", "MUTUAL", "JOBS_COME_LATE", "I8"),
    Case("session", "MOVING", "NO_LINGERING", "I7"),
    Case("session", "PARTING", "LINGERS_ALONE", "I7"),
    Case("session", "RETURNING", "ROW_APART", "I6"),
    Case("session", "RETURNING", "ROWS_FIRST", "I6"),
    Case("session", "MOVING", "ONLY_THE_GATE_KNOWS", "I6"),
    # What a back end decides is written with the user, before anything is ended.
    Case("standing", "HANDSHAKE", "NO_CAS", "I18"),
    Case("standing", "HANDSHAKE", "LEASES_READ_BEFORE", "I18"),
    Case("standing", "BARRING", "NO_CAS", "I18"),
    Case("standing", "BARRING", "BARRED_LAST", "I18"),
    # A token and what it allows are one: in the admission, in a join, in a frame that comes late.
    Case("standing", "NARROWING", "ENDS_APART", "I19"),
    Case("standing", "NARROWING", "CLAIM_LOOKED_AT_BEFORE", "I19"),
    Case("standing", "NARROWING", "RETURN_BRINGS_TOKEN", "I19"),
)

CASES = (*GOOD, *BAD)


MODELS = Path(__file__).parent
#: No case needs a tenth of the time, or half of the memory.
TIMEOUT_SECONDS = 180
MEMORY_MEGABYTES = 1_200
DEPTH = 100_000
#: Only states are looked at: no cycles, no claims.
SAFETY = ("-DSAFETY", "-DNOCLAIM", "-DVECTORSZ=1024", f"-DMEMLIM={MEMORY_MEGABYTES}", "-w")
#: A good model is searched to its end. The error of a bad one is found soonest from the last actor.
COMPLETE, HUNT = ("-O1",), ("-O0", "-DREVERSE")

VIOLATION = re.compile(r"^pan:1: assertion violated", re.MULTILINE)
ERROR = re.compile(r"^pan:1: (.*?) \(at depth", re.MULTILINE)
STATES = re.compile(r"^\s*(\d+) states, stored", re.MULTILINE)
MEMORY = re.compile(r"^\s*([\d.]+)\s+total actual memory usage", re.MULTILINE)
COMPLETED = re.compile(r"errors: 0$", re.MULTILINE)
CUT_SHORT = re.compile(r"^Warning: Search not completed", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Result:
    """`found` is "holds", the property that does not, or what else SPIN has to say."""

    found: str
    states: int
    memory: int
    seconds: float


def check(case: Case) -> Result:
    began = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        report = _run(_compiled(case, Path(folder)))
    seconds = perf_counter() - began
    states, memory = STATES.search(report), MEMORY.search(report)
    return Result(
        found=_found(case, report),
        states=int(states[1]) if states else 0,
        memory=int(float(memory[1]) * 1024 * 1024) if memory else 0,
        seconds=seconds,
    )


def _compiled(case: Case, folder: Path) -> Path:
    model = MODELS / f"{case.model}.pml"
    _call(["spin", "-a", *case.definitions, str(model)], folder)
    effort = HUNT if case.variant else COMPLETE
    _call(["gcc", *effort, *SAFETY, "-o", "pan", "pan.c"], folder)
    return folder / "pan"


def _call(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS
    )
    # SPIN complains on its standard output, and not always with its exit code.
    if done.returncode or not (folder / "pan.c").exists() or "Error:" in done.stdout:
        raise AssertionError(f"{command[0]}: {done.stdout}{done.stderr}")


def _run(program: Path) -> str:
    command = [str(program), f"-m{DEPTH}", "-w21"]
    done = subprocess.run(
        command,
        cwd=program.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    return done.stdout


def _found(case: Case, report: str) -> str:
    if VIOLATION.search(report):
        # Of a variant, one property alone is checked; of the protocol all are.
        return case.breaks or "an error"
    if error := ERROR.search(report):
        return error[1]
    is_complete = COMPLETED.search(report) and not CUT_SHORT.search(report)
    return "holds" if is_complete else "cut short"


ROW = "{:<44}  {:<9}  {:<9}  {:>10}  {:>8}  {:>8}"
MEGABYTE = 1024 * 1024


def row(case: Case, result: Result) -> str:
    states, memory = f"{result.states:,}", f"{result.memory // MEGABYTE} MB"
    seconds = f"{result.seconds:.1f} s"
    return ROW.format(case.label, case.expected, result.found, states, memory, seconds)


def main() -> int:
    print(ROW.format("model, scene, variant", "expected", "found", "states", "memory", "time"))
    surprises = 0
    for case in CASES:
        result = check(case)
        surprises += result.found != case.expected
        print(row(case, result), flush=True)
    print(f"{len(CASES)} cases, {surprises} of them not as expected")
    return min(surprises, 1)


if __name__ == "__main__":
    sys.exit(main())
