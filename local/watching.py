"""Makes metrics of what the functions log, and gives the alarms of the stack their state.

Bridge, for MiniStack 1.5.33: it makes no metrics of lines in the embedded metric format, and none
of queues. It looks at an alarm when a metric is put and never else, at all data of that name
whatever their dimensions, in one piece for all periods, and takes no data for no change: an alarm
on what is missing never rings. Delete when its CloudWatch does as AWS's does.
"""

from __future__ import annotations

import json
import math
import operator
import threading
import time
from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from local.aws import client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from local.stack import Settings

# CloudWatch looks at an alarm once a minute, at periods that end then, however long they are.
_TICK = 60.0
# How often lines are read, and how many times they are before the alarms are looked at.
_SECONDS = 2.0
_TIMES = 5
_MOST_DATA = 500
_DEPTH = "ApproximateNumberOfMessagesVisible"


# ── what lines say ───────────────────────────────────────────────────────────────────────────────


def data_in(line: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the namespace and the datum of each metric in a line of the embedded metric format."""
    try:
        told = json.loads(line)
        directives = told["_aws"]["CloudWatchMetrics"]
    except (ValueError, TypeError, KeyError):
        return  # any other line
    for directive in directives:
        for names in directive["Dimensions"]:
            dimensions = [{"Name": name, "Value": told[name]} for name in names]
            for metric in directive["Metrics"]:
                values = told[metric["Name"]]
                yield (
                    directive["Namespace"],
                    {
                        "MetricName": metric["Name"],
                        "Dimensions": dimensions,
                        "Timestamp": _instant(told["_aws"]["Timestamp"] / 1000),
                        "Unit": metric["Unit"],
                        "Values": values if isinstance(values, list) else [values],
                    },
                )


@dataclass(slots=True)
class Tail:
    """The whole lines of a file that were written since they were read last."""

    path: Path
    position: int = 0

    def lines(self) -> list[str]:
        """Return them; the last one may still be written, and comes the next time."""
        with self.path.open("rb") as file:
            file.seek(self.position)
            whole, newline, _ = file.read().rpartition(b"\n")
        self.position += len(whole) + len(newline)
        return whole.decode(errors="replace").splitlines()


# ── what alarms say ──────────────────────────────────────────────────────────────────────────────

_COMPARED: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
}
_COMBINED: Mapping[str, Callable[[Iterable[float]], float]] = {
    "Sum": math.fsum,
    "SampleCount": math.fsum,
    "Minimum": min,
    "Maximum": max,
}


def state_of(alarm: Mapping[str, Any], periods: Sequence[float | None]) -> str:
    """Return the state of an alarm.

    Args:
        alarm: as CloudWatch describes it, without metric math.
        periods: its statistic in each period that it looks at; None where there are no data.
    """
    exceeds = _COMPARED[alarm["ComparisonOperator"]]
    is_missing_bad = alarm["TreatMissingData"] == "breaching"
    bad = [is_missing_bad if it is None else exceeds(it, alarm["Threshold"]) for it in periods]
    needed = alarm.get("DatapointsToAlarm") or alarm["EvaluationPeriods"]
    return "ALARM" if sum(bad) >= needed else "OK"


def periods_of(
    ticks: Mapping[int, float], statistic: str, count: int, length: int
) -> Sequence[float | None]:
    """Combine ticks to periods.

    Args:
        ticks: the statistic of each tick that has data; 0 is the last one, 1 the one before.
        statistic: which one.
        count: of periods.
        length: of each, in ticks.
    """
    found: defaultdict[int, list[float]] = defaultdict(list)
    for tick, value in ticks.items():
        found[tick // length].append(value)
    combine = _COMBINED[statistic]
    return [combine(found[it]) if it in found else None for it in range(count)]


# ── on a running stack ───────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Watcher:
    """What CloudWatch would do.

    Args:
        cloudwatch: a client of the local one.
        sqs: a client of the local queues.
        since: when the stack was ready (epoch seconds). What should have come before is not missed.
        pace: how many times faster than in fact the minutes of alarms are.
    """

    cloudwatch: Any
    sqs: Any
    since: float
    pace: float = 1.0

    def put(self, lines: Iterable[str]) -> None:
        """Put the metrics that these lines make."""
        by_namespace: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for line in lines:
            for namespace, datum in data_in(line):
                by_namespace[namespace].append(datum)
        for namespace, data in by_namespace.items():
            for start in range(0, len(data), _MOST_DATA):
                some = data[start : start + _MOST_DATA]
                self.cloudwatch.put_metric_data(Namespace=namespace, MetricData=some)

    def measure_queues(self) -> None:
        """Put how many messages are in each queue of which an alarm asks that."""
        for alarm in self._alarms():
            if alarm["MetricName"] == _DEPTH:
                (dimension,) = alarm["Dimensions"]
                url = self.sqs.get_queue_url(QueueName=dimension["Value"])["QueueUrl"]
                known = self.sqs.get_queue_attributes(
                    QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
                )["Attributes"]
                datum = {"MetricName": _DEPTH, "Dimensions": [dimension]}
                value = float(known["ApproximateNumberOfMessages"])
                self.cloudwatch.put_metric_data(
                    Namespace=alarm["Namespace"], MetricData=[{**datum, "Value": value}]
                )

    def states(self, now: float) -> dict[str, str]:
        """Return the state of each alarm, by its name; of those that cannot be told yet, none."""
        found = {it["AlarmName"]: self._state(it, now) for it in self._alarms()}
        return {name: state for name, state in found.items() if state is not None}

    def tell(self, now: float) -> None:
        """Give each alarm its state."""
        told = {it["AlarmName"]: it["StateValue"] for it in self._alarms()}
        for name, state in self.states(now).items():
            if told[name] != state:
                self.cloudwatch.set_alarm_state(
                    AlarmName=name, StateValue=state, StateReason="as local/watching.py reckons"
                )

    def _alarms(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.cloudwatch.describe_alarms(MaxRecords=100)[
            "MetricAlarms"
        ]
        return found

    def _state(self, alarm: Mapping[str, Any], now: float) -> str | None:
        tick = _TICK / self.pace
        length, count = round(alarm["Period"] / _TICK), alarm["EvaluationPeriods"]
        end = now // tick * tick
        start = end - tick * length * count
        if alarm["TreatMissingData"] == "breaching" and start < self.since:
            return None
        statistic = alarm["Statistic"]
        answer = self.cloudwatch.get_metric_statistics(
            Namespace=alarm["Namespace"],
            MetricName=alarm["MetricName"],
            Dimensions=alarm["Dimensions"],
            StartTime=_instant(start),
            EndTime=_instant(end),
            Period=round(tick),
            Statistics=[statistic],
        )
        ticks = {
            round((end - it["Timestamp"].timestamp()) / tick) - 1: float(it[statistic])
            for it in answer["Datapoints"]
        }
        return state_of(alarm, periods_of(ticks, statistic, count, length))


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@contextmanager
def watching(settings: Settings) -> Iterator[None]:
    """Watch the stack as long as the block lasts."""
    endpoint, log = settings.endpoint_url, Tail(settings.functions_log)
    watcher = Watcher(client("cloudwatch", endpoint), client("sqs", endpoint), time.time())
    is_over = threading.Event()
    thread = threading.Thread(target=_watch, args=(watcher, log, is_over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _watch(watcher: Watcher, log: Tail, is_over: threading.Event) -> None:
    rounds = 0
    while not is_over.wait(_SECONDS):
        # The local AWS may be busy with other things, or end before us.
        with suppress(ClientError, BotoCoreError):
            watcher.put(log.lines())
            rounds += 1
            if rounds % _TIMES == 0:
                watcher.measure_queues()
                watcher.tell(time.time())
