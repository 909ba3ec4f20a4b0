"""What each action of a client does, and what it is answered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from presence.application.connections import identify
from presence.bootstrap import App
from presence.domain.connection import is_allowed
from presence.protocol.frames import Frame, counted, presence
from presence.protocol.requests import (
    Authenticate,
    Join,
    Leave,
    ListOnline,
    Ping,
    Say,
    SetStatus,
    Typing,
    Unwatch,
    Watch,
)


@dataclass(frozen=True, slots=True)
class Call:
    """One frame of a client, parsed, and where it came from.

    It came at `now`; `clock` tells how late it is meanwhile, in epoch milliseconds.
    """

    connection_id: str
    connected_at: int
    now: int
    clock: Callable[[], int]
    id: str | None
    message: Any


def authenticate(app: App, call: Call) -> Frame:
    request: Authenticate = call.message
    identity = identify(app.tokens, request.token, request.user_id, call.now)
    welcome = app.lifecycle.authenticate(
        call.connection_id,
        identity,
        request.device,
        call.connected_at,
        call.now,
        is_active=request.is_active,
    )
    joined = welcome.user.leases[call.connection_id].sessions
    allowed = [name for name in sorted(joined) if is_allowed(name, identity.allowed_sessions)]
    if len(allowed) < len(joined):
        app.sessions.leave_forbidden(call.connection_id, call.now, identity.allowed_sessions)
    return {
        "type": "authentication-success",
        "userId": identity.user_id,
        "connectionId": call.connection_id,
        "onlineCount": welcome.online_count,
        "heartbeatSeconds": app.settings.heartbeat_seconds,
        "leaseSeconds": app.settings.lease_seconds,
        "tokenExpiresAt": welcome.token_expires_at,
        "connectionExpiresAt": welcome.connection_expires_at,
        "serverTime": call.now,
        "presence": presence(welcome.user.own_presence),
        "chatSessions": allowed,
    }


def ping(app: App, call: Call) -> Frame | None:
    request: Ping = call.message
    app.lifecycle.ping(call.connection_id, request.is_active, call.now)
    if call.id is None:
        return None
    return {
        "type": "pong",
        "serverTime": call.now,
        "heartbeatSeconds": app.settings.heartbeat_seconds,
    }


def status(app: App, call: Call) -> Frame | None:
    request: SetStatus = call.message
    actor = app.lifecycle.act(call.connection_id, call.now)
    app.statuses.choose(actor.user.user_id, request, call.now)
    return _ack(call)


def online(app: App, call: Call) -> Frame:
    request: ListOnline = call.message
    viewer_id = app.lifecycle.act(call.connection_id, call.now).user.user_id
    page = app.statuses.online(request.limit, request.cursor, viewer_id, call.now)
    return {
        "type": "online-users-list",
        "users": [presence(user) for user in page.users],
        "cursor": page.cursor,
        "onlineCount": page.online_count,
    }


def join(app: App, call: Call) -> Frame:
    request: Join = call.message
    page = app.sessions.join(call.connection_id, request.session_id, call.now, call.clock)
    return {
        "type": "chat-session-joined",
        "chatSessionId": request.session_id,
        "members": [presence(member) for member in page.members],
        "cursor": page.cursor,
        "memberCount": page.member_count,
        **counted(page.as_of, is_sampled=page.is_sampled),
    }


def leave(app: App, call: Call) -> Frame | None:
    request: Leave = call.message
    app.sessions.leave(call.connection_id, request.session_id, call.now)
    return _ack(call)


def typing(app: App, call: Call) -> Frame | None:
    request: Typing = call.message
    app.sessions.typing(
        call.connection_id, request.session_id, call.now, is_typing=request.is_typing
    )
    return _ack(call)


def message(app: App, call: Call) -> Frame:
    request: Say = call.message
    return app.sessions.say(
        call.connection_id, request.session_id, request.content, request.client_id, call.now
    )


def watch(app: App, call: Call) -> Frame:
    request: Watch = call.message
    users = app.watching.watch(call.connection_id, request.user_ids, call.now)
    return {"type": "watching", "users": [presence(user) for user in users]}


def unwatch(app: App, call: Call) -> Frame | None:
    request: Unwatch = call.message
    app.watching.unwatch(call.connection_id, request.user_ids, call.now)
    return _ack(call)


def _ack(call: Call) -> Frame | None:
    return None if call.id is None else {"type": "ack"}


Action: TypeAlias = Callable[[App, Call], Frame | None]

ACTIONS: Mapping[str, Action] = {
    "authenticate": authenticate,
    "ping": ping,
    "status": status,
    "online": online,
    "join": join,
    "leave": leave,
    "typing": typing,
    "message": message,
    "watch": watch,
    "unwatch": unwatch,
}
