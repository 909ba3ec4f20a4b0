"""The WebSocket API: connect, disconnect, and one frame in, at most one frame out."""

from typing import Final

from aws_lambda_powertools.utilities.typing import LambdaContext

from presence.bootstrap import METER, app
from presence.domain.errors import PresenceError, Unavailable
from presence.entrypoints.actions import Call, answer
from presence.entrypoints.runtime import (
    AWS_ERRORS,
    LambdaEvent,
    Response,
    log_failure,
    logged,
    logger,
    now,
)
from presence.metrics import AUTHENTICATION_FAILURES, AUTHENTICATIONS, SESSION_LENGTH
from presence.ports import Post
from presence.protocol.frames import Frame, refusal
from presence.protocol.requests import action_of, id_of, names_in, parse
from presence.protocol.strict_json import Object, encode, parse_object

#: Routes without a route response: API Gateway sends nothing of what the function returns
#: ("Set up a WebSocket API for one-way or two-way communication"), and bills nothing for it.
ONE_WAY: Final = frozenset({"ping"})


def connect(event: LambdaEvent) -> Response:
    """Refuse pages of other sites, and tokens in URLs, which would end up in logs."""
    headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
    if not app().settings.allows_origin(headers.get("origin")):
        logger.append_keys(refused="origin")
        return {"statusCode": 403}
    if "token" in (event.get("queryStringParameters") or {}):
        logger.append_keys(refused="token-in-url")
        return {"statusCode": 400}
    app().connections.open(event["requestContext"]["connectionId"], now())
    return {"statusCode": 200}


def disconnect(event: LambdaEvent) -> Response:
    context = event["requestContext"]
    logger.append_keys(close_code=context.get("disconnectStatusCode"))
    moment = now()
    METER.measure(SESSION_LENGTH, (moment - context["connectedAt"]) / 1000)
    app().connections.disconnect(context["connectionId"], moment)
    return {"statusCode": 200}


def message(event: LambdaEvent) -> Response:
    """Answer one frame.

    API Gateway takes exactly `{"statusCode": 200}`, with or without `body`, and sends the body
    to the client (the route response); any other key makes it send an error frame of its own.
    On a one-way route, what there is to say is posted.
    """
    context = event["requestContext"]
    frame = _serve(event.get("body") or "", context)
    _count_authentication(frame)
    if frame is not None and context["routeKey"] in ONE_WAY:
        _post(context["connectionId"], frame)
        frame = None
    return {"statusCode": 200} if frame is None else {"statusCode": 200, "body": encode(frame)}


def _count_authentication(frame: Frame | None) -> None:
    """Each `authenticate` is answered with one of two types, whatever refused it."""
    match frame:
        case {"type": "authentication-success"}:
            METER.count(AUTHENTICATIONS)
        case {"type": "authentication-error"}:
            METER.count(AUTHENTICATIONS)
            METER.count(AUTHENTICATION_FAILURES)


def _post(connection_id: str, frame: Frame) -> None:
    """What cannot be posted is lost: the client's next ping is refused again."""
    try:
        app().dispatcher.send([Post(encode(frame), [connection_id])])
    except (PresenceError, *AWS_ERRORS) as error:
        log_failure("a frame was not posted", error)


def _serve(text: str, context: LambdaEvent) -> Frame | None:
    body: Object = {}
    try:
        body = parse_object(text)
        return _answer(body, context)
    except PresenceError as refusal:
        logger.append_keys(refused=refusal.code)
        _count(context["connectionId"], refusal)
        return error_frame(body or names_in(text), refusal)
    except AWS_ERRORS as error:
        log_failure("AWS did not serve us", error)
        return error_frame(body, Unavailable("Try again in a moment.", retry_after_seconds=2))
    except Exception as error:  # noqa: BLE001  the client is told no more than this
        log_failure("unexpected", error)
        return error_frame(body, PresenceError("That should not have happened; try again."))


def _count(connection_id: str, refusal: PresenceError) -> None:
    """The refusal is answered, whatever becomes of the socket."""
    try:
        app().strikes.refused(connection_id, refusal, now())
    except (PresenceError, *AWS_ERRORS) as error:
        log_failure("a socket that should be closed is open", error)


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
