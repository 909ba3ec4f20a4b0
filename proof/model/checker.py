"""SPIN, and the compiler that it needs: one case is one program, which looks at every state."""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from proof.model.variants import Case

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
