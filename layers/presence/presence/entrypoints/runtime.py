"""What all Lambda handlers share: the clock, which invocations have a log line, errors of AWS."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeAlias

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError
from pynamodb.exceptions import PynamoDBException

from presence.bootstrap import METER
from presence.deadline import HasTime
from presence.entrypoints.sampling import Sampling
from presence.limits import SLOW_MILLISECONDS
from presence.metrics import ERRORS, REFUSALS, STATUS_LATENCY, Figures

LambdaEvent: TypeAlias = Mapping[str, Any]
Response: TypeAlias = dict[str, Any]
Fields: TypeAlias = Mapping[str, Any]
Handler: TypeAlias = Callable[[LambdaEvent, LambdaContext], Response]

#: Its name makes it the parent of the loggers of all other modules. Lambda reads the level of a
#: line only if its timestamp is of RFC 3339 ("Log and monitor Lambda functions", JSON log format).
logger = Logger("presence", use_rfc3339=True)
# For Powertools, the level of Lambda's own filter comes first; that one lets metrics through.
logging.getLogger("presence").setLevel(os.environ.get("POWERTOOLS_LOG_LEVEL", "INFO"))
sampling = Sampling()

_HTTP = "/api/user-status"
#: Actions of frames and route keys of HTTP that ask for statuses, and change nothing.
STATUS_QUERIES = frozenset(
    {
        *("online", "watch", "verify"),
        *(f"GET {_HTTP}/{it}" for it in ("online", "online/count", "users/{userId}", "{userId}")),
        f"GET {_HTTP}/chat-sessions/{{chatSessionId}}/members",
        f"POST {_HTTP}/batch",
    }
)

#: Fields of work that failed or was left: with any of them, an invocation has a line.
_TROUBLE = ("left", "failed_sinks", "failed_messages", "failed_users", "jobs_too_late")

#: DynamoDB, SQS or another service refused or did not answer: the caller can only try again.
AWS_ERRORS = (PynamoDBException, ClientError, BotoCoreError)

#: What a function leaves of its time, so that it ends by itself and can report unfinished work.
SPARE_MILLISECONDS = 5_000


def now() -> int:
    """The time, in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def deadline(context: LambdaContext) -> int:
    """When the work of this invocation has to be done, in epoch milliseconds."""
    return now() + context.get_remaining_time_in_millis() - SPARE_MILLISECONDS


def time_left(context: LambdaContext, spare: int = SPARE_MILLISECONDS) -> HasTime:
    """Whether another piece of work may begin, one that ends in less than *spare* milliseconds."""
    return lambda: context.get_remaining_time_in_millis() > spare


def logged(handler: Handler, *, at_once: bool = False) -> Handler:
    """A structured line for an invocation that was refused, left work or was slow; else at DEBUG.

    What was usual is counted by metrics: a line for each ping cost a fifth of its price. Lines are
    without tokens, bodies, query strings and, but for `failed_users`, ids of users.

    Metrics have a line of their own once a minute at most, or *at_once* after each invocation.
    """

    @wraps(handler)
    @logger.inject_lambda_context(clear_state=True)
    def run(event: LambdaEvent, context: LambdaContext) -> Response:
        started = time.perf_counter()
        try:
            return handler(event, context)
        finally:
            milliseconds = round((time.perf_counter() - started) * 1000, 1)
            fields, moment = logger.get_current_keys(), now()
            _measure(fields.get("action") or event.get("routeKey"), fields, milliseconds)
            _write_line(fields, moment, milliseconds)
            _write_metrics(METER.due(moment, at_once=at_once))

    return run


def _measure(asked: str | None, fields: Fields, milliseconds: float) -> None:
    if "refused" in fields:
        METER.count(REFUSALS)
    elif asked in STATUS_QUERIES:
        METER.measure(STATUS_LATENCY, milliseconds)


def _write_line(fields: Fields, moment: int, milliseconds: float) -> None:
    if unlogged := sampling.counted(moment):
        logger.info("refusals without a line", refusals=dict(unlogged))
    refused = fields.get("refused")
    is_unusual = refused is not None and sampling.has_line(refused, moment)
    is_unusual |= any(fields.get(name) for name in _TROUBLE) or fields.get("is_complete") is False
    write = logger.info if is_unusual or milliseconds >= SLOW_MILLISECONDS else logger.debug
    write("served", milliseconds=milliseconds)


def _write_metrics(figures: Figures) -> None:
    """One line in CloudWatch's embedded metric format, which it makes metrics of."""
    if not figures:
        return
    line = EphemeralMetrics(namespace=os.environ.get("POWERTOOLS_METRICS_NAMESPACE", "presence"))
    for metric, values in figures.items():
        for value in values:
            line.add_metric(metric.name, metric.unit, value)
    line.flush_metrics()


def log_failure(what: str, error: Exception) -> None:
    """A line with the stack trace of an exception, unless there were many of them."""
    METER.count(ERRORS)
    if sampling.has_line(what, now()):
        logger.error(what, exc_info=error)


def batch_failures(identifiers: list[str]) -> Response:
    """ReportBatchItemFailures: an empty list is full success (AWS Lambda, SQS and streams)."""
    return {"batchItemFailures": [{"itemIdentifier": name} for name in identifiers]}
