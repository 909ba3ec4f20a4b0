"""The HTTP routes under /api/user-status (docs/protocol.md, section 2), on Powertools' resolver."""

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.utilities.typing import LambdaContext

from presence.bootstrap import app
from presence.domain import errors
from presence.domain.connection import Identity
from presence.domain.rate_limit import Charge, read_units, verify_units
from presence.domain.standing import Standing, is_allowed
from presence.entrypoints.runtime import (
    AWS_ERRORS,
    LambdaEvent,
    log_failure,
    logged,
    logger,
    now,
    time_left,
)
from presence.fanout.sight import FREE, Reach
from presence.limits import CHANGE_UNITS, ERASE_UNITS, MAX_BODY_BYTES
from presence.protocol import requests
from presence.protocol.explanations import explanation
from presence.protocol.frames import Frame, counted, message, presence
from presence.protocol.strict_json import Object, encode, parse_object

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
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

BASE = "/api/user-status"
ADMIN, PUBLISH = "presence:admin", "presence:publish"

Answer: TypeAlias = Response[str]
Next: TypeAlias = Callable[[APIGatewayHttpResolver], Answer]


def whole_path(current: APIGatewayHttpResolver, next_middleware: Next) -> Answer:
    """The resolver sees decoded paths, and its patterns end in `$`, which matches before a newline.

    A path of other segments than the route that API Gateway chose had an encoded slash: that must
    not lead to another route, such as `DELETE /users/x%2Fconnections` to the sockets of `x`.
    """
    event = current.current_event
    if event.path.endswith("\n") or event.path.count("/") != event.route_key.count("/"):
        raise errors.NotFound("There is no such route; see docs/protocol.md.")
    return next_middleware(current)


resolver = APIGatewayHttpResolver()
resolver.use(middlewares=[whole_path])


@logged
def handler(event: LambdaEvent, context: LambdaContext) -> dict[str, Any]:
    answer: dict[str, Any] = resolver.resolve(dict(event), context)
    return answer


# ── routes ─────────────────────────────────────────────────────────────────────────────────


@resolver.get(f"{BASE}/online")
def list_online() -> Answer:
    request = requests.list_online(_page_fields())
    viewer_id, reach = _viewer(request.limit)
    page = app().online_list.page(request.limit, request.cursor, viewer_id, now(), reach=reach)
    users = [presence(user) for user in page.users]
    return _json({"users": users, "cursor": page.cursor, "onlineCount": page.online_count})


@resolver.get(f"{BASE}/online/count")
def count_online() -> Answer:
    viewer_id, reach = _viewer()
    count = app().online_list.count(viewer_id, now(), reach=reach)
    return _json({"count": count.online, "asOf": count.as_of})


@resolver.get(f"{BASE}/config")
def config() -> Answer:
    """Needs no token: one URL is enough for a client."""
    settings = app().settings
    body = {
        "webSocketUrl": settings.websocket_url,
        "heartbeatSeconds": settings.heartbeat_seconds,
        "backgroundHeartbeatSeconds": settings.background_heartbeat_seconds,
        "leaseSeconds": settings.lease_seconds,
        "maxConnectionSeconds": settings.max_connection_seconds,
        "protocol": 1,
        "globalPresence": settings.global_presence,
    }
    return _json(body, headers={"Cache-Control": "public, max-age=60"})


@resolver.get(f"{BASE}/health")
def health() -> Answer:
    """Reads one item: 200 while the table answers."""
    app().ports.online_index.count()
    return _json({"status": "ok"})


@resolver.get(f"{BASE}/blocked")
def list_blocked() -> Answer:
    return _json({"userIds": list(app().blocking.blocked(_charged_reader().user_id))})


@resolver.get(f"{BASE}/blocked/<viewer_id>")
def read_blocked(viewer_id: str) -> Answer:
    caller, name = _charged_reader(), requests.user_id(viewer_id)
    return _json({"userId": name, "blocked": name in app().blocking.blocked(caller.user_id)})


@resolver.put(f"{BASE}/blocked/<viewer_id>")
def block(viewer_id: str) -> Answer:
    caller, name = _caller(), requests.user_id(viewer_id)
    app().blocking.block(caller.user_id, name, now(), _charge(caller))
    return _nothing()


@resolver.delete(f"{BASE}/blocked/<viewer_id>")
def unblock(viewer_id: str) -> Answer:
    caller = _caller()
    if viewer_id == "connections" and ADMIN in caller.scope:
        raise errors.Conflict(
            "DELETE /users/blocked/connections closes the sockets of the user `blocked`; "
            "to unblock the user `connections`, send a token without presence:admin."
        )
    name = requests.user_id(viewer_id)
    app().blocking.unblock(caller.user_id, name, now(), _charge(caller))
    return _nothing()


@resolver.get(f"{BASE}/users/<user_id>")
@resolver.get(f"{BASE}/<user_id>")
def read_status(user_id: str) -> Answer:
    if requests.flag("verify", _query().get("verify")):
        return _verify(requests.user_id(user_id))
    viewer_id, reach = _viewer()
    value = app().statuses.read(requests.user_id(user_id), viewer_id, now(), reach)
    # The same user looks different to different viewers, and two views may have one number as their
    # version. A cache may ask with the tag that it was given for another viewer (RFC 9111, 4.3.1).
    tag = f'"{value.version}-{value.status}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
    if _matches(tag, _header("if-none-match")):
        return Response(HTTPStatus.NOT_MODIFIED, headers=headers, body="")
    return _json(presence(value), headers=headers)


def _verify(user_id: str) -> Answer:
    """Needs a token, also where reads are public: a probe costs more than a read."""
    caller = _caller()
    if not _is_back_end(caller):
        app().reads.charge(caller.user_id, verify_units(1), now())
    verification = app().verification
    verified = verification.verify([user_id], caller.user_id, now(), _reach(caller))
    verification.expect(verified.probes, now())
    headers = {"Retry-After": "1"} if verified.awaited else {}
    return _json(presence(verified.users[0]), headers=headers)


@resolver.post(f"{BASE}/batch")
def read_statuses() -> Answer:
    user_ids = requests.user_ids(_body().get("userIds"))
    viewer_id, reach = _viewer(len(user_ids))
    users = app().statuses.read_many(user_ids, viewer_id, now(), reach=reach)
    return _json({"users": [presence(user) for user in users]})


@resolver.put(f"{BASE}/last-seen")
def mark_seen() -> Answer:
    """Answer the truth, also if others see an invisible caller as last seen earlier."""
    moment = now()
    caller = _caller()
    app().statuses.seen(caller.user_id, moment, _charge(caller, 0))
    return _json({"userId": caller.user_id, "lastSeen": moment})


@resolver.put(BASE)
@resolver.put(f"{BASE}/")
def set_status() -> Answer:
    caller = _caller()
    request = requests.set_status(_body(), now())
    user = app().statuses.choose(caller.user_id, request.event, now(), _charge(caller))
    return _json(presence(user.own_presence))


@resolver.get(f"{BASE}/users/<user_id>/explain")
def explain(user_id: str) -> Answer:
    """For an administrator: why a user is shown as they are, and to one viewer (`viewerId`)."""
    _require_scope(_caller(), ADMIN)
    viewer_id = _query().get("viewerId")
    viewer = None if viewer_id is None else requests.user_id(viewer_id)
    return _json(explanation(app().explaining.explain(requests.user_id(user_id), viewer, now())))


@resolver.delete(f"{BASE}/users/<user_id>/connections")
def close_connections(user_id: str) -> Answer:
    _require_scope(_caller(), ADMIN)
    app().removal.kick(requests.user_id(user_id), now(), time_left(resolver.lambda_context))
    return _nothing()


@resolver.delete(f"{BASE}/users/<user_id>")
def erase(user_id: str) -> Answer:
    """All users may erase themselves; only an administrator lifts the blocks of others."""
    caller = _caller()
    if caller.user_id != user_id:
        _require_scope(caller, ADMIN)
    is_admin = ADMIN in caller.scope
    if not is_admin:
        app().ports.users.charge(user_id, Charge(now(), ERASE_UNITS))
    has_time = time_left(resolver.lambda_context)
    app().removal.erase(requests.user_id(user_id), now(), has_time, lifts_blocks=is_admin)
    return _nothing()


@resolver.get(f"{BASE}/chat-sessions/<session_id>/members")
def list_members(session_id: str) -> Answer:
    """For users who may join, and for back ends that publish or administer."""
    name = requests.session_id(session_id)
    caller = _reader()
    request = requests.list_online(_page_fields())
    if caller is not None and not _is_back_end(caller):
        app().reads.charge(caller.user_id, read_units(request.limit), now())
        _require_entry(caller, name)
    viewer_id = None if caller is None else caller.user_id
    page = app().member_list.page(name, viewer_id, request.limit, request.cursor, now())
    members = [presence(member) for member in page.members]
    body = {"members": members, "cursor": page.cursor, "memberCount": page.member_count}
    return _json(body | counted(page.as_of, is_sampled=page.is_sampled))


@resolver.post(f"{BASE}/chat-sessions/<session_id>/messages")
def publish(session_id: str) -> Answer:
    caller = _caller()
    _require_scope(caller, PUBLISH)
    name, request = requests.session_id(session_id), requests.publish(_body())
    if not _standing(caller).lets_into(name, caller.allowed_sessions):
        raise errors.no_access()
    said = app().messages.publish(caller.user_id, name, request.content, request.client_id, now())
    return _json(message(said))


@resolver.delete(f"{BASE}/chat-sessions/<session_id>/members/<user_id>")
def remove_member(session_id: str, user_id: str) -> Answer:
    app().removal.remove_member(*_membership(session_id, user_id), now())
    return _nothing()


@resolver.put(f"{BASE}/chat-sessions/<session_id>/members/<user_id>")
def allow_member(session_id: str, user_id: str) -> Answer:
    app().removal.allow_member(*_membership(session_id, user_id), now())
    return _nothing()


def _membership(session_id: str, user_id: str) -> tuple[str, str]:
    """The ids, if the caller administers this chat session; a claim limits which."""
    caller = _caller()
    _require_scope(caller, ADMIN)
    name = requests.session_id(session_id)
    if not is_allowed(name, caller.allowed_sessions):
        raise errors.no_access()
    return name, requests.user_id(user_id)


@resolver.post(f"{BASE}/users/<user_id>/revocations")
def revoke(user_id: str) -> Answer:
    _require_scope(_caller(), ADMIN)
    moment = now()
    name, event = requests.user_id(user_id), requests.revocation(_body(), moment)
    app().removal.revoke(name, event, moment, time_left(resolver.lambda_context))
    return _nothing()


# ── the caller ─────────────────────────────────────────────────────────────────────────────


def _reader() -> Identity | None:
    """The caller; None is a reader without a token, where PublicReads allows that."""
    if app().settings.public_reads and not _header("authorization"):
        return None
    return _caller()


def _viewer(users: int = 1) -> tuple[str | None, Reach]:
    """The reader, charged for so many users, and which users the token lets it see.

    A back end that administers sees all.
    """
    reader = _reader()
    if reader is None:
        return None, FREE
    _charge_reads(reader, users)
    return reader.user_id, _reach(reader)


def _reach(caller: Identity) -> Reach:
    return Reach(caller.allowed_sessions, sees_all=ADMIN in caller.scope)


def _charged_reader() -> Identity:
    caller = _caller()
    _charge_reads(caller, 1)
    return caller


def _charge_reads(caller: Identity, users: int) -> None:
    if not _is_back_end(caller):
        app().reads.charge(caller.user_id, read_units(users), now())


def _charge(caller: Identity, more: int = CHANGE_UNITS) -> Charge | None:
    """The charge of a call that writes; the write itself makes it."""
    return None if _is_back_end(caller) else Charge(now(), 1 + more)


def _is_back_end(caller: Identity) -> bool:
    """Back ends act for many users; the stage's throttle is their limit."""
    return bool(caller.scope & {ADMIN, PUBLISH})


def _require_scope(caller: Identity, scope: str) -> None:
    if scope not in caller.scope:
        raise errors.Forbidden(f"The token needs the scope {scope}.")


def _caller() -> Identity:
    scheme, _, token = _header("authorization").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise errors.NotAuthenticated("Send the header Authorization: Bearer <token>.")
    moment = now()
    identity = app().ports.tokens.verify(token.strip(), moment)
    app().standings.require_accepted(identity, moment)
    return identity


def _standing(caller: Identity) -> Standing:
    return app().standings.of(caller.user_id, now())


def _require_entry(caller: Identity, session_id: str) -> None:
    standing, allowed = _standing(caller), caller.allowed_sessions
    app().chat_sessions.require_entry(caller.user_id, standing, allowed, session_id)


def _header(name: str) -> str:
    return str(resolver.current_event.headers.get(name) or "")


def _body() -> Object:
    try:
        text = resolver.current_event.decoded_body or ""
    except ValueError as error:  # base64 or UTF-8
        raise errors.InvalidMessage("Send JSON as UTF-8.") from error
    return parse_object(text, limit=MAX_BODY_BYTES)


def _page_fields() -> Object:
    query = _query()
    return {"limit": _number(query.get("limit")), "cursor": query.get("cursor")}


def _query() -> Mapping[str, str]:
    return resolver.current_event.query_string_parameters or {}


def _number(text: str | None) -> int | str | None:
    """Digits as a number; everything else is left for the parser to refuse."""
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,9}", text) else text


def _matches(tag: str, condition: str) -> bool:
    """If-None-Match compares weakly (RFC 9110, 13.1.2)."""
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


def _nothing() -> Answer:
    return Response(HTTPStatus.NO_CONTENT, body="", headers={"Cache-Control": "no-store"})


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
def unavailable(error: Exception) -> Answer:
    log_failure("AWS did not serve us", error)
    return _refuse(errors.Unavailable("Try again in a moment.", retry_after_seconds=2))


@resolver.exception_handler(Exception)  # type: ignore[untyped-decorator]
def unexpected(error: Exception) -> Answer:
    log_failure("unexpected", error)
    return _refuse(errors.PresenceError("That should not have happened; try again."))


@resolver.not_found
def not_found(_error: NotFoundError) -> Answer:
    return _refuse(errors.NotFound("There is no such route; see docs/protocol.md."))
