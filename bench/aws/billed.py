"""What Lambda bills: a ping, and a cold start."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import time

from bench.aws.answers import Answer, median, percentile, unknown
from bench.aws.cloud import Report
from bench.aws.stage import Stage, Visitor
from bench.bill.counting import Waits, billed_milliseconds

_KEPT = Path(__file__).resolve().parents[1] / "bill.json"
_MEMORY = 512
#: A model of a duration is good enough if it is within this factor.
_FACTOR = 1.5
_QUIET = (
    "Lambda wrote no REPORT line: SystemLogLevel WARN turns them off, as in template.yaml. Set it "
    "to INFO for WebSocketFunction of this stack to have them."
)
_NO_LOG = "Only with --stack is the log of the function known, and with it Lambda's REPORT lines."


@dataclass(frozen=True, slots=True)
class Observed:
    """All in milliseconds.

    Attributes:
        has_log: whether it is known where Lambda reports.
        pings: what Lambda reported while nothing but pings came.
        whole: what it reported in all the run, cold starts among it.
        durations: mean and maximum of Lambda's metric in the same time; None without a figure.
        modelled: what the meter reckons for a ping with one and with two requests to DynamoDB.
    """

    has_log: bool
    pings: Sequence[Report]
    whole: Sequence[Report]
    durations: tuple[float, float] | None
    modelled: tuple[float, float]


async def observe(stage: Stage) -> Observed:
    async with stage.alone, stage.crowd(stage.pace.sockets) as visitors:
        start = await stage.minute()
        await _pings(visitors, stage.pace.frames, stage.pace.pause)
        end = await stage.pass_from(start)
    await asyncio.sleep(stage.pace.settle)
    pings = await stage.cloud.reports(start, end)
    whole = await stage.cloud.reports(stage.started, time())
    durations = await stage.cloud.durations(start, end)
    return Observed(bool(stage.target.log_group), pings, whole, durations, modelled())


async def _pings(visitors: Sequence[Visitor], frames: int, pause: float) -> None:
    for _ in range(frames):
        for visitor in visitors:
            visitor.beat()
        await asyncio.sleep(pause)
    await asyncio.sleep(pause)


def modelled() -> tuple[float, float]:
    """Of the day in README.md: its measured CPU and the waits of the model."""
    day = next(it for it in json.loads(_KEPT.read_text("utf-8"))["days"] if it["name"] == "readme")
    cpu, waits = day["bills"][0]["cpu_ms"]["ping"], Waits()
    one, two = (
        billed_milliseconds(cpu, waits.of(dynamodb=it, sqs=0, posts=False), _MEMORY)
        for it in (1, 2)
    )
    return one, two


def evaluate(observed: Observed) -> Iterator[Answer]:
    yield _ping(observed)
    yield _cold(observed)


def _ping(observed: Observed) -> Answer:
    question = "How many milliseconds of Lambda is a ping billed?"
    warm = [it.billed for it in observed.pings if it.init is None]
    one, two = observed.modelled
    model = f"The meter reckons {one:.0f} ms (one request to DynamoDB) or {two:.0f} ms (two)."
    if warm:
        took = median(warm)
        said = f"{len(warm)} invocations: median {took:.0f}, 95 of 100 {percentile(warm, 95):.0f}."
    elif observed.durations:
        took, most = observed.durations
        said = f"Lambda's metric `Duration`: mean {took:.1f}, at most {most:.1f}. {_why(observed)}"
    else:
        return unknown(question, f"{_why(observed)} CloudWatch has no `Duration` either.")
    is_model = one / _FACTOR <= took <= two * _FACTOR
    change = "" if is_model else "Set `Waits` in bench/bill/counting.py by it, and run bench.bill."
    return Answer(question, f"{took:.0f} ms", f"{said} {model}", change)


def _cold(observed: Observed) -> Answer:
    question = "How long is a cold start?"
    cold = [it for it in observed.whole if it.init is not None]
    if not observed.whole:
        return unknown(question, _why(observed))
    if not cold:
        return unknown(question, f"None among {len(observed.whole)} invocations.")
    starts = [it.init for it in cold if it.init is not None]
    billed = [it.billed for it in cold]
    said = (
        f"{len(cold)} of {len(observed.whole)} invocations: init at most {max(starts):,.0f} ms; "
        f"billed with the invocation: median {median(billed):,.0f} ms."
    )
    return Answer(question, f"{median(starts):,.0f} ms", said)


def _why(observed: Observed) -> str:
    """Why there is no report."""
    return _QUIET if observed.has_log else _NO_LOG
