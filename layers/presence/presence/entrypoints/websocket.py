"""The WebSocket API: connect, disconnect, and one frame in, at most one frame out."""

from aws_lambda_powertools.utilities.typing import LambdaContext

from presence.bootstrap import app
from presence.domain.errors import PresenceError, Unavailable
from presence.entrypoints.actions import Call, answer
from presence.entrypoints.runtime import (
    AWS_ERRORS,
    LambdaEvent,
    Response,
    logged,
    logger,
    now,
)
from presence.protocol.frames import Frame, refusal
from presence.protocol.requests import action_of, id_of, names_in, parse
from presence.protocol.strict_json import Object, encode, parse_object


def connect(event: LambdaEvent) -> Response:
    """Refuse pages of other sites, and tokens in URLs, which would end up in logs."""
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    if not app().settings.allows_origin(headers.get("origin")):
        logger.append_keys(refused="origin")
        return {"statusCode": 403}
    if "token" in (event.get("queryStringParameters") or {}):
        logger.append_keys(refused="token in the URL; send it with the action authenticate")
        return {"statusCode": 400}
    app().connections.open(event["requestContext"]["connectionId"], now())
    return {"statusCode": 200}


def disconnect(event: LambdaEvent) -> Response:
    context = event["requestContext"]
    logger.append_keys(close_code=context.get("disconnectStatusCode"))
    app().connections.close(context["connectionId"], now())
    return {"statusCode": 200}


def message(event: LambdaEvent) -> Response:
    """Answer one frame.

    API Gateway takes exactly `{"statusCode": 200}`, with or without `body`, and sends the body
    to the client (the route response); any other key makes it send an error frame of its own.
    """
    frame = _serve(event.get("body") or "", event["requestContext"])
    return {"statusCode": 200} if frame is None else {"statusCode": 200, "body": encode(frame)}


def _serve(text: str, context: LambdaEvent) -> Frame | None:
    body: Object = {}
    try:
        body = parse_object(text)
        return _answer(body, context)
    except PresenceError as refusal:
        logger.append_keys(refused=refusal.code)
        _count(context["connectionId"], refusal)
        return error_frame(body or names_in(text), refusal)
    except AWS_ERRORS:
        logger.exception("AWS did not serve us")
        return error_frame(body, Unavailable("Try again in a moment.", retry_after_seconds=2))
    except Exception:  # noqa: BLE001  the client is told no more than this
        logger.exception("unexpected")
        return error_frame(body, PresenceError("That should not have happened; try again."))


def _count(connection_id: str, refusal: PresenceError) -> None:
    """The refusal is answered, whatever becomes of the socket."""
    try:
        app().strikes.refused(connection_id, refusal, now())
    except (PresenceError, *AWS_ERRORS):
        logger.exception("a socket that should be closed is open")


def _answer(body: Object, context: LambdaEvent) -> Frame | None:
    moment = now()
    envelope = parse(body, moment)
    logger.append_keys(action=envelope.action)
    call = Call(context["connectionId"], context["connectedAt"], moment, envelope.id)
    frame = answer(app(), call, envelope.request)
    return frame if frame is None or call.id is None else {**frame, "id": call.id}


def error_frame(body: Object, error: PresenceError) -> Frame:
    """The frame for a refusal; it repeats the action and the id if they are valid."""
    name = action_of(body)
    frame: Frame = {"type": "error", **refusal(error)}
    if name == "authenticate":
        frame["type"] = "authentication-error"
    elif name is not None:
        frame["action"] = name
    if (request_id := id_of(body)) is not None:
        frame["id"] = request_id
    return frame


@logged
def handler(event: LambdaEvent, _context: LambdaContext) -> Response:
    context = event["requestContext"]
    logger.append_keys(connection_id=context["connectionId"], route=context["routeKey"])
    match context["eventType"]:
        case "CONNECT":
            return connect(event)
        case "DISCONNECT":
            return disconnect(event)
        case "MESSAGE":
            return message(event)
        case unknown:  # no route: the integration, or the event, is not ours
            raise ValueError(f"no event of a WebSocket API: {unknown!r}")
