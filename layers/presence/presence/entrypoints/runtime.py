"""What all Lambda handlers share: the clock, one log line per invocation, errors of AWS."""

import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeAlias

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError
from pynamodb.exceptions import PynamoDBException

from presence.deadline import HasTime

LambdaEvent: TypeAlias = Mapping[str, Any]
Response: TypeAlias = dict[str, Any]
Handler: TypeAlias = Callable[[LambdaEvent, LambdaContext], Response]

#: Its name makes it the parent of the loggers of all other modules.
logger = Logger("presence")

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
    """One structured line for each invocation, without tokens, bodies and query strings."""

    @wraps(handler)
    @logger.inject_lambda_context(clear_state=True)
    def run(event: LambdaEvent, context: LambdaContext) -> Response:
        started = time.perf_counter()
        try:
            return handler(event, context)
        finally:
            milliseconds = round((time.perf_counter() - started) * 1000, 1)
            logger.info("served", milliseconds=milliseconds)

    return run


def batch_failures(identifiers: list[str]) -> Response:
    """ReportBatchItemFailures: an empty list is full success (AWS Lambda, SQS and streams)."""
    return {"batchItemFailures": [{"itemIdentifier": name} for name in identifiers]}
