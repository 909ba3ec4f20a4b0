"""The HTTP routes under /api/user-status (protocol.md §2), on Powertools' resolver."""

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeAlias

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.utilities.typing import LambdaContext

from presence.bootstrap import app
from presence.domain import errors, messages
from presence.domain.connection import Identity
from presence.domain.messages import Frame, Object, encode, presence
from presence.entrypoint import AWS_ERRORS, Event, logged, logger, now

STATUS_CODES: dict[type[errors.PresenceError], HTTPStatus] = {
    errors.PresenceError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.InvalidMessage: HTTPStatus.BAD_REQUEST,
    errors.UnknownAction: HTTPStatus.NOT_FOUND,
    errors.PayloadTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    errors.TokenInvalid: HTTPStatus.UNAUTHORIZED,
    errors.TokenExpired: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    errors.TooManyConnections: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

BASE = "/api/user-status"
MAX_BODY_BYTES = 32 * 1024

Answer: TypeAlias = Response[str]
Next: TypeAlias = Callable[[APIGatewayHttpResolver], Answer]


def whole_path(app: APIGatewayHttpResolver, next_middleware: Next) -> Answer:
    """The resolver's patterns end in `$`, which also matches before a newline at the end (T19)."""
    if app.current_event.path.endswith("\n"):
        raise errors.NotFound("There is no such route; see protocol.md §2.")
    return next_middleware(app)


resolver = APIGatewayHttpResolver()
resolver.use(middlewares=[whole_path])


@logged
def handler(event: Event, context: LambdaContext) -> dict[str, Any]:
    answer: dict[str, Any] = resolver.resolve(dict(event), context)
    return answer


# ── routes ─────────────────────────────────────────────────────────────────────────────────


@resolver.get(f"{BASE}/online")
def list_online() -> Answer:
    _reader()
    query = resolver.current_event.query_string_parameters or {}
    fields = {"limit": _number(query.get("limit")), "cursor": query.get("cursor")}
    wish = messages.list_online(fields, now())
    page = app().statuses.online(wish.limit, wish.cursor, now())
    users = [presence(user) for user in page.users]
    return _json({"users": users, "cursor": page.cursor, "onlineCount": page.online_count})


@resolver.get(f"{BASE}/online/count")
def count_online() -> Answer:
    _reader()
    count = app().statuses.count(now())
    return _json({"count": count.online, "asOf": count.as_of})


@resolver.get(f"{BASE}/config")
def config() -> Answer:
    """Needs no token: one URL is enough for a client."""
    settings = app().settings
    body = {
        "webSocketUrl": settings.websocket_url,
        "heartbeatSeconds": settings.heartbeat_seconds,
        "leaseSeconds": settings.lease_seconds,
        "maxConnectionSeconds": settings.max_connection_seconds,
        "protocol": 1,
    }
    return _json(body, headers={"Cache-Control": "public, max-age=60"})


@resolver.get(f"{BASE}/health")
def health() -> Answer:
    """Reads one item: 200 while the table answers."""
    app().roster.count()
    return _json({"status": "ok"})


@resolver.get(f"{BASE}/<user_id>")
def read_status(user_id: str) -> Answer:
    _reader()
    value = app().statuses.read(messages.user_id(user_id), now())
    tag = f'"{value.version}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if _matches(tag, _header("if-none-match")):
        return Response(HTTPStatus.NOT_MODIFIED, headers=headers, body="")
    return _json(presence(value), headers=headers)


@resolver.post(f"{BASE}/batch")
def read_statuses() -> Answer:
    _reader()
    user_ids = messages.user_ids(_body().get("userIds"))
    users = app().statuses.read_many(user_ids, now())
    return _json({"users": [presence(user) for user in users]})


@resolver.put(f"{BASE}/last-seen")
def mark_seen() -> Answer:
    """Answers the caller the truth, also while others see them offline since earlier."""
    moment = now()
    user_id = _caller().user_id
    app().statuses.seen(user_id, moment)
    return _json({"userId": user_id, "lastSeen": moment})


@resolver.put(BASE)
@resolver.put(f"{BASE}/")
def set_status() -> Answer:
    user_id = _caller().user_id
    user = app().statuses.choose(user_id, messages.set_status(_body(), now()), now())
    return _json(presence(user.presence))


# ── the caller ─────────────────────────────────────────────────────────────────────────────


def _reader() -> None:
    if not app().settings.public_reads:
        _caller()


def _caller() -> Identity:
    scheme, _, token = _header("authorization").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise errors.NotAuthenticated("Send the header Authorization: Bearer <token>.")
    return app().tokens.verify(token.strip(), now())


def _header(name: str) -> str:
    return str(resolver.current_event.headers.get(name) or "")


def _body() -> Object:
    try:
        text = resolver.current_event.decoded_body or ""
    except ValueError as error:  # base64 or UTF-8
        raise errors.InvalidMessage("Send JSON as UTF-8.") from error
    return messages.parse_object(text, limit=MAX_BODY_BYTES)


def _number(text: str | None) -> int | str | None:
    """What a query string writes as digits; anything else is left for the parser to refuse."""
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,9}", text) else text


def _matches(tag: str, condition: str) -> bool:
    """If-None-Match compares weakly (RFC 9110 §13.1.2)."""
    tags = (item.strip().removeprefix("W/") for item in condition.split(","))
    return condition.strip() == "*" or tag in tags


# ── answers ────────────────────────────────────────────────────────────────────────────────


def _json(
    body: Frame, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, Any] | None = None
) -> Answer:
    return Response(
        status,
        content_type="application/json",
        body=encode(body),
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def _refuse(error: errors.PresenceError) -> Answer:
    status = STATUS_CODES[type(error)]
    headers = {}
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    logger.append_keys(refused=error.code)
    return _json({"error": {"code": error.code, "message": error.message}}, status, headers)


@resolver.exception_handler(errors.PresenceError)  # type: ignore[untyped-decorator]
def refuse(error: errors.PresenceError) -> Answer:
    return _refuse(error)


@resolver.exception_handler(list(AWS_ERRORS))  # type: ignore[untyped-decorator]
def unavailable(_error: Exception) -> Answer:
    logger.exception("AWS did not serve us")
    return _refuse(errors.Unavailable("Try again in a moment.", retry_after_seconds=2))


@resolver.exception_handler(Exception)  # type: ignore[untyped-decorator]
def unexpected(_error: Exception) -> Answer:
    logger.exception("unexpected")
    return _refuse(errors.PresenceError("That should not have happened; try again."))


@resolver.not_found
def not_found(_error: NotFoundError) -> Answer:
    return _refuse(errors.NotFound("There is no such route; see protocol.md §2."))
