"""What all Lambda handlers share: the clock, which invocations have a log line, errors of AWS."""

import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeAlias

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError
from pynamodb.exceptions import PynamoDBException

from presence.deadline import HasTime
from presence.entrypoints.sampling import Sampling
from presence.limits import SLOW_MILLISECONDS

LambdaEvent: TypeAlias = Mapping[str, Any]
Response: TypeAlias = dict[str, Any]
Handler: TypeAlias = Callable[[LambdaEvent, LambdaContext], Response]

#: Its name makes it the parent of the loggers of all other modules. Lambda reads the level of a
#: line only if its timestamp is of RFC 3339 ("Log and monitor Lambda functions", JSON log format).
logger = Logger("presence", use_rfc3339=True)
sampling = Sampling()

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


def logged(handler: Handler) -> Handler:
    """A structured line for an invocation that was refused, left work or was slow; else at DEBUG.

    What was usual is counted by metrics: a line for each ping cost a fifth of its price. Lines are
    without tokens, bodies, query strings and, but for `failed_users`, ids of users.
    """

    @wraps(handler)
    @logger.inject_lambda_context(clear_state=True)
    def run(event: LambdaEvent, context: LambdaContext) -> Response:
        started = time.perf_counter()
        try:
            return handler(event, context)
        finally:
            _write_line(round((time.perf_counter() - started) * 1000, 1))

    return run


def _write_line(milliseconds: float) -> None:
    fields, moment = logger.get_current_keys(), now()
    if unlogged := sampling.counted(moment):
        logger.info("refusals without a line", refusals=dict(unlogged))
    refused = fields.get("refused")
    is_unusual = refused is not None and sampling.has_line(refused, moment)
    is_unusual |= any(fields.get(name) for name in _TROUBLE) or fields.get("is_complete") is False
    write = logger.info if is_unusual or milliseconds >= SLOW_MILLISECONDS else logger.debug
    write("served", milliseconds=milliseconds)


def log_failure(what: str, error: Exception) -> None:
    """A line with the stack trace of an exception, unless there were many of them."""
    if sampling.has_line(what, now()):
        logger.error(what, exc_info=error)


def batch_failures(identifiers: list[str]) -> Response:
    """ReportBatchItemFailures: an empty list is full success (AWS Lambda, SQS and streams)."""
    return {"batchItemFailures": [{"itemIdentifier": name} for name in identifiers]}
