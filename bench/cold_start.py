"""What a cold start costs in CPU: importing a function and making its first clients.

    python -m bench.cold_start [pairs]

Each run is a process of its own; a run of the function follows one of `import boto3;
boto3.client("dynamodb")`, so that a busy machine is busy for both. The ratio is the median of the
pairs' ratios. The layer is as `make deploy` and `make run` prepare it: compiled, and without
botocore's data of services that Presence does not call.
"""

import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.lab import ENVIRONMENT
from bench.printing import print_note, print_table
from local.build import build
from local.stack import ROOT

PAIRS = 15
MOST = 1.15
BASELINE = 'import boto3; boto3.client("dynamodb")'

# What the first invocation makes, without asking the network. The names are the product's own.
DYNAMODB = "parts.ports.users._client.client"
SQS = "parts.ports.timers._client()"
POSTS = "parts.ports.gateway._engine._links._make_security()"
TOKENS = 'import presence.adapters.jwt; parts.ports._client("ssm")()'


@dataclass(frozen=True, slots=True)
class Start:
    """A function's first event, and the clients that it needs."""

    name: str
    clients: Sequence[str]
    #: The target is for each event of the socket that brings no token.
    is_held: bool = False

    @property
    def code(self) -> str:
        parts = "from presence import bootstrap; parts = bootstrap.app()"
        return "; ".join((f"import {self.name.partition(':')[0]}", parts, *self.clients))


STARTS = (
    Start("websocket: ping", (DYNAMODB,), is_held=True),
    Start("websocket: $connect", (DYNAMODB, SQS), is_held=True),
    Start("websocket: message", (DYNAMODB, POSTS), is_held=True),
    Start("websocket: authenticate", (DYNAMODB, TOKENS)),
    Start("http_api: with a token", (DYNAMODB, TOKENS)),
    Start("announce", (DYNAMODB, POSTS)),
    Start("deliver: posts", (POSTS,)),
    Start("timers", (DYNAMODB, SQS)),
    Start("sweep", (DYNAMODB,)),
)

HEADER = ("function: first event", "boto3 ms", "ms", "ratio", "held")


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


def environment(layer: str) -> Mapping[str, str]:
    """What a function finds; nothing of the user's own."""
    return ENVIRONMENT | {
        "TIMER_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/timers",
        "DELIVERY_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/000000000000/deliveries",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONPATH": os.pathsep.join((str(ROOT / "functions"), layer)),
    }


def pairs_of(start: Start, found: Mapping[str, str], pairs: int) -> Pairs:
    plain = {name: value for name, value in found.items() if name != "PYTHONPATH"}
    runs = [
        (cpu_seconds(BASELINE, plain), cpu_seconds(start.code, found)) for _ in range(pairs + 1)
    ]
    baseline, seconds = zip(*runs[1:], strict=True)  # the first has read it all from the disk
    return Pairs(baseline, seconds)


def cells(start: Start, pairs: Pairs) -> Sequence[str]:
    held = ("ok" if pairs.ratio <= MOST else "NOT") if start.is_held else ""
    times = milliseconds(pairs.baseline), milliseconds(pairs.function)
    return start.name, *times, f"{pairs.ratio:.2f}", held


def milliseconds(seconds: Sequence[float]) -> str:
    return f"{1000 * statistics.median(seconds):.0f}"


def main() -> None:
    pairs = int(sys.argv[1]) if sys.argv[1:] else PAIRS
    found = environment(build().imports)
    rows = [cells(start, pairs_of(start, found, pairs)) for start in STARTS]
    title = f"Cold start: CPU of imports and first clients, medians; target: at most {MOST}"
    print_table(title, HEADER, rows)
    empty = statistics.median(cpu_seconds("pass", {}) for _ in range(pairs))
    print_note(f"All with the start of the interpreter, {1000 * empty:.0f} ms.")


if __name__ == "__main__":
    main()
