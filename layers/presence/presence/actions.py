"""What each action of a client does, and what it is answered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from presence.bootstrap import App
from presence.domain.messages import (
    Authenticate,
    Frame,
    ListOnline,
    Ping,
    SetStatus,
    presence,
)
from presence.use_cases.connections import identify


@dataclass(frozen=True, slots=True)
class Call:
    """One frame of a client, parsed, and where it came from."""

    connection_id: str
    connected_at: int
    now: int
    id: str | None
    message: Any


def authenticate(app: App, call: Call) -> Frame:
    wish: Authenticate = call.message
    identity = identify(app.tokens, wish.token, wish.user_id, call.now)
    welcome = app.lifecycle.authenticate(
        call.connection_id, identity, wish.device, call.connected_at, call.now
    )
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
        "presence": presence(welcome.user.presence),
    }


def ping(app: App, call: Call) -> Frame | None:
    wish: Ping = call.message
    app.lifecycle.ping(call.connection_id, wish.is_active, call.now)
    if call.id is None:
        return None
    return {
        "type": "pong",
        "serverTime": call.now,
        "heartbeatSeconds": app.settings.heartbeat_seconds,
    }


def status(app: App, call: Call) -> Frame | None:
    wish: SetStatus = call.message
    user_id = app.lifecycle.act(call.connection_id, call.now)
    app.statuses.choose(user_id, wish, call.now)
    return _ack(call)


def online(app: App, call: Call) -> Frame:
    wish: ListOnline = call.message
    app.lifecycle.act(call.connection_id, call.now)
    page = app.statuses.online(wish.limit, wish.cursor, call.now)
    return {
        "type": "online-users-list",
        "users": [presence(user) for user in page.users],
        "cursor": page.cursor,
        "onlineCount": page.online_count,
    }


def _ack(call: Call) -> Frame | None:
    return None if call.id is None else {"type": "ack"}


Action: TypeAlias = Callable[[App, Call], Frame | None]

ACTIONS: Mapping[str, Action] = {
    "authenticate": authenticate,
    "ping": ping,
    "status": status,
    "online": online,
}
