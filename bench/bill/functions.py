"""A build's Lambda functions in this process, and what each invocation of them is billed."""

import io
import json
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypeAlias

from bench.bill.counting import (
    Waits,
    billed_milliseconds,
    gb_seconds,
    log_bytes,
    system_log_bytes,
)
from bench.bill.endpoints import Called, Endpoints
from bench.bill.template import Function, Template

Event: TypeAlias = Mapping[str, Any]

WAITS = Waits()
#: An invocation has so long; nothing here takes that.
PLENTY = 29_000
#: A day in which more of them fail says nothing.
MOST_FAILURES = 20


class TooManyFailures(Exception):
    """The functions do not work here; the message is the first failure."""


@dataclass
class Context:
    """What the Lambda runtime tells of an invocation."""

    function_name: str
    memory_limit_in_mb: int
    function_version: str = "$LATEST"
    aws_request_id: str = "8f507cfc-0000-4697-b07a-ac58fc914c95"

    @property
    def invoked_function_arn(self) -> str:
        return f"arn:aws:lambda:eu-central-1:123456789012:function:{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        return PLENTY


class Log(io.TextIOBase):
    """Takes the place of `sys.stdout`: what a function prints goes to CloudWatch."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def take(self) -> list[str]:
        lines, self.text = self.text.splitlines(), ""
        return lines


@dataclass
class Clock:
    """Stands for `time.time` and `time.time_ns`; other clocks run as ever."""

    now: int
    #: The world's own time, of which PyJWT's clock is not behind.
    started_at: int

    @classmethod
    def started(cls) -> "Clock":
        """From now on, it is as late as it says."""
        now = time.time_ns() // 1_000_000
        clock = cls(now, now)
        time.time = lambda: clock.now / 1000
        time.time_ns = lambda: clock.now * 1_000_000
        return clock


@dataclass
class Functions:
    """Invokes, and adds up.

    Attributes:
        amounts: by item and cause, as counting.py has them.
        metrics: of our own that were written, each as often as AWS bills it: by its dimensions.
        failures: of invocations, as they were raised or logged.
    """

    template: Template
    endpoints: Endpoints
    log: Log
    amounts: Counter[str] = field(default_factory=Counter)
    metrics: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    #: Set by the management API while a function runs.
    posted: bool = False
    _handlers: dict[str, Callable[..., Any]] = field(default_factory=dict)

    def load(self) -> None:
        """Import all handlers; the environment has to be that of the template by now."""
        for function in self.template.functions.values():
            module, _, name = function.handler.rpartition(".")
            self._handlers[function.name] = getattr(import_module(module.replace("/", ".")), name)

    def add(self, item: str, cause: str, amount: float) -> None:
        if amount:
            self.amounts[f"{item}/{cause}"] += amount  # type: ignore[assignment]

    def invoke(self, name: str, cause: str, event: Event) -> tuple[Any, int, Called]:
        """Run one event; its answer (None if it failed), what it took (ms), what it called."""
        function = self.template.functions[name]
        called = self.endpoints.called = Called()
        self.posted = False
        started = time.thread_time()
        answer = self._run(function, event)
        cpu = (time.thread_time() - started - called.cpu) * 1000
        waited = WAITS.of(dynamodb=called.dynamodb, sqs=called.sqs, posts=self.posted)
        took = billed_milliseconds(cpu, waited, function.memory)
        self._count(function, cause, called, took)
        self.add("cpu_ms", cause, cpu)
        return answer, took, called

    def _run(self, function: Function, event: Event) -> Any:  # noqa: ANN401  any JSON
        try:
            return self._handlers[function.name](
                event, Context(f"presence-{function.name}", function.memory)
            )
        except Exception:  # noqa: BLE001  as the Lambda runtime does
            self.failures.append(traceback.format_exc())
            return None

    def _count(self, function: Function, cause: str, called: Called, took: int) -> None:
        self.add("invocations", cause, 1)
        self.add("gb_seconds", cause, gb_seconds(took, function.memory))
        self.add("writes", cause, called.units.writes)
        self.add("reads", cause, called.units.reads)
        self.add("calls", cause, called.dynamodb)
        self.add("sqs", f"{cause}: send", called.queue_requests)
        lines = self.log.take()
        told = [it for it in lines if metrics_of(it)]
        self.add("log_bytes", "metrics: lines", log_bytes(told))
        self.add("log_bytes", f"{cause}: lines", log_bytes(lines) - log_bytes(told))
        system = system_log_bytes(is_quiet=function.is_quiet)
        self.add("log_bytes", f"{cause}: of Lambda", system)
        for line in lines:
            self.metrics |= metrics_of(line)
            if '"level":"ERROR"' in line:
                self.failures.append(line.replace("\\n", "\n"))
        if len(self.failures) > MOST_FAILURES:
            raise TooManyFailures(self.failures[0])


def metrics_of(line: str) -> set[str]:
    """The metrics that a line in CloudWatch's embedded metric format makes."""
    if '"_aws"' not in line:
        return set()
    found = json.loads(line)
    return {
        f"{told['Namespace']} {metric['Name']} {[(name, found.get(name)) for name in dimensions]}"
        for told in found["_aws"]["CloudWatchMetrics"]
        for dimensions in told["Dimensions"] or [[]]
        for metric in told["Metrics"]
    }
