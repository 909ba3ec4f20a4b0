"""What a cold start costs in CPU: importing a function and making its first clients.

    python -m bench.cold_start [pairs]

Each run is a process of its own; a run of the function follows one of `import boto3;
boto3.client("dynamodb")`, so that a machine that is busy is so for both. The ratio is the median
of the pairs' ratios. A function is measured twice: with its layer compiled, and with the layer as
`sam build` packs it for AWS, where Python cannot write beside it: whatever has no bytecode there
is compiled at every cold start (aws-lambda-builders issue 924).
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.lab import ENVIRONMENT
from bench.printing import print_note, print_table
from local.build import build
from local.stack import ROOT

PAIRS = 15
PACKED_PAIRS = 5  # what is twice the target needs no second decimal
MOST = 1.25
BASELINE = 'import boto3; boto3.client("dynamodb")'

# What the first invocation makes, without asking the network. The names are the product's own.
DYNAMODB = "parts.users._client.client"
SQS = "parts.timers._client()"
POSTS = "parts.gateway._engine._links._make_security()"
TOKENS = 'import presence.adapters.jwt; parts._client("ssm")()'

FUNCTIONS: Mapping[str, Sequence[str]] = {
    "on_connect": (DYNAMODB, SQS),
    "on_authenticate": (DYNAMODB, TOKENS),
    "on_ping": (DYNAMODB,),
    "on_status": (DYNAMODB,),
    "on_online": (DYNAMODB,),
    "on_disconnect": (DYNAMODB, SQS),
    "on_join": (DYNAMODB,),
    "on_typing": (DYNAMODB, POSTS),
    "on_message": (DYNAMODB, POSTS),
    "on_default": (DYNAMODB,),
    "announce": (DYNAMODB, "parts.announcer", POSTS),
    "deliver": ("parts.dispatcher", POSTS),
}

HEADER = (
    *("", "boto3 ms", "compiled ms", "ratio", "held"),
    *("as packed ms", "ratio", "held"),
)


@dataclass(frozen=True, slots=True)
class Pairs:
    """CPU seconds of the baseline and of a function, run in turns."""

    baseline: Sequence[float]
    function: Sequence[float]

    @property
    def ratio(self) -> float:
        ratios = (b / a for a, b in zip(self.baseline, self.function, strict=True))
        return statistics.median(ratios)


def cpu_seconds(code: str, environment: Mapping[str, str]) -> float:
    """User and system time of one process, its interpreter's start included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], env=dict(environment), check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def environment(layer: str, *, compiles: bool) -> Mapping[str, str]:
    """What a function finds; nothing of the person's own."""
    path = os.pathsep.join((str(ROOT / "functions"), layer))
    found = ENVIRONMENT | {
        "TIMER_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/timers",
        "DELIVERY_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/deliveries",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONPATH": path,
    }
    return found if compiles else found | {"PYTHONDONTWRITEBYTECODE": "1"}


def code_of(function: str) -> str:
    parts = "from presence import bootstrap; parts = bootstrap.app()"
    return "; ".join((f"import {function}", parts, *FUNCTIONS[function]))


def pairs_of(function: str, found: Mapping[str, str], pairs: int) -> Pairs:
    plain = {name: value for name, value in found.items() if name != "PYTHONPATH"}
    runs = [
        (cpu_seconds(BASELINE, plain), cpu_seconds(code_of(function), found))
        for _ in range(pairs + 1)
    ]
    baseline, seconds = zip(*runs[1:], strict=True)  # the first has read it all from the disk
    return Pairs(baseline, seconds)


def milliseconds(seconds: Sequence[float]) -> str:
    return f"{1000 * statistics.median(seconds):.0f}"


def cells(function: str, compiled: Pairs, packed: Pairs) -> Sequence[str]:
    baseline = milliseconds([*compiled.baseline, *packed.baseline])
    return function, baseline, *verdict(compiled), *verdict(packed)


def verdict(pairs: Pairs) -> Sequence[str]:
    held = "ok" if pairs.ratio <= MOST else "NOT"
    return milliseconds(pairs.function), f"{pairs.ratio:.2f}", held


def without_bytecode(layer: str, folder: Path) -> str:
    """A copy of the layer as `sam build` packs it for AWS."""
    shutil.copytree(layer, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return str(folder)


def main() -> None:
    pairs = int(sys.argv[1]) if sys.argv[1:] else PAIRS
    layer = build().imports
    rows = []
    with TemporaryDirectory() as folder:
        bare = without_bytecode(layer, Path(folder) / "python")
        for function in FUNCTIONS:
            compiled = pairs_of(function, environment(layer, compiles=True), pairs)
            packed = pairs_of(function, environment(bare, compiles=False), PACKED_PAIRS)
            rows.append(cells(function, compiled, packed))
    title = f"Cold start: CPU of imports and first clients, medians; target: at most {MOST}"
    print_table(title, HEADER, rows)
    empty = statistics.median(cpu_seconds("pass", {}) for _ in range(pairs))
    print_note(
        f"All with the start of the interpreter, {1000 * empty:.0f} ms. As packed: the layer as "
        "`sam build` leaves it, without bytecode, against the same compiled boto3."
    )


if __name__ == "__main__":
    main()
