"""The edge: event in, response out, errors to frames, one log line, the clock."""

import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeAlias

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError
from pynamodb.exceptions import PynamoDBException

from presence.actions import ACTIONS, Call
from presence.bootstrap import app
from presence.domain.errors import InvalidMessage, PresenceError, Unavailable
from presence.domain.frames import Frame
from presence.domain.requests import action_of, id_of, parse
from presence.domain.strict_json import Object, encode, parse_object

Event: TypeAlias = Mapping[str, Any]
Response: TypeAlias = dict[str, Any]
Handler: TypeAlias = Callable[[Event, LambdaContext], Response]

#: By this name, it is the parent of what other modules log.
logger = Logger("presence")

#: Where DynamoDB or SQS cannot serve us, the caller can only come back.
AWS_ERRORS = (PynamoDBException, ClientError, BotoCoreError)


def now() -> int:
    """The time, in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def logged(handler: Handler) -> Handler:
    """One structured line for each invocation, without tokens, bodies and query strings."""

    @wraps(handler)
    @logger.inject_lambda_context(clear_state=True)
    def run(event: Event, context: LambdaContext) -> Response:
        started = time.perf_counter()
        try:
            return handler(event, context)
        finally:
            milliseconds = round((time.perf_counter() - started) * 1000, 1)
            logger.info("served", milliseconds=milliseconds)

    return run


# ── WebSocket ──────────────────────────────────────────────────────────────────────────────


def action(route_key: str) -> Handler:
    """A handler for the messages of one route.

    API Gateway takes exactly `{"statusCode": 200}`, with or without `body`, and sends the body
    to the client (the route response); any other key makes it send an error frame of its own.
    """

    @logged
    def handler(event: Event, _context: LambdaContext) -> Response:
        context = event["requestContext"]
        logger.append_keys(connection_id=context["connectionId"], route=route_key)
        frame = _serve(event.get("body") or "", context, route_key)
        return {"statusCode": 200} if frame is None else {"statusCode": 200, "body": encode(frame)}

    return handler


def _serve(text: str, context: Event, route_key: str) -> Frame | None:
    body: Object = {}
    try:
        body = parse_object(text)
        return _answer(body, context, route_key)
    except PresenceError as refusal:
        logger.append_keys(refused=refusal.code)
        return error_frame(body, refusal)
    except AWS_ERRORS:
        logger.exception("AWS did not serve us")
        return error_frame(body, Unavailable("Try again in a moment.", retry_after_seconds=2))
    except Exception:  # the only net: whatever it is, the client hears no more than this
        logger.exception("unexpected")
        return error_frame(body, PresenceError("That should not have happened; try again."))


def _answer(body: Object, context: Event, route_key: str) -> Frame | None:
    moment = now()
    request = parse(body, moment)
    # Gateway and handler must not read the same text differently (T25).
    if route_key not in ("$default", action_of(body)):
        raise InvalidMessage("Name the action once, as text.")
    logger.append_keys(action=request.action)
    call = Call(
        context["connectionId"], context["connectedAt"], moment, now, request.id, request.message
    )
    frame = ACTIONS[request.action](app(), call)
    return frame if frame is None or request.id is None else {**frame, "id": request.id}


def error_frame(body: Object, error: PresenceError) -> Frame:
    """The frame for a refusal; it repeats the action and the id if they are ones."""
    name = action_of(body)
    frame: Frame = {"type": "error", "code": error.code, "message": error.message}
    if name == "authenticate":
        frame["type"] = "authentication-error"
    elif name is not None:
        frame["action"] = name
    if (request_id := id_of(body)) is not None:
        frame["id"] = request_id
    if error.retry_after_seconds is not None:
        frame["retryAfterSeconds"] = error.retry_after_seconds
    return frame


@logged
def connect(event: Event, _context: LambdaContext) -> Response:
    """Refuse pages of other sites, and tokens in URLs, which end in logs (T14, T15)."""
    connection_id = event["requestContext"]["connectionId"]
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    logger.append_keys(connection_id=connection_id)
    if not app().settings.allows_origin(headers.get("origin")):
        logger.append_keys(refused="origin")
        return {"statusCode": 403}
    if "token" in (event.get("queryStringParameters") or {}):
        logger.append_keys(refused="token in the URL; send it with the action authenticate")
        return {"statusCode": 400}
    app().lifecycle.connect(connection_id, now())
    return {"statusCode": 200}


@logged
def disconnect(event: Event, _context: LambdaContext) -> Response:
    context = event["requestContext"]
    logger.append_keys(
        connection_id=context["connectionId"], close_code=context.get("disconnectStatusCode")
    )
    app().lifecycle.disconnect(context["connectionId"], now())
    return {"statusCode": 200}
