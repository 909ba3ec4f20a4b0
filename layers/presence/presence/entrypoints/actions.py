"""What each request of a client does, and the frame that answers it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from presence.application.access import identify
from presence.application.connections import AuthenticateCommand
from presence.bootstrap import App
from presence.domain.user import Presence
from presence.entrypoints.runtime import now
from presence.fanout.sight import Reach
from presence.limits import DEFAULT_PAGE
from presence.ports import Post
from presence.protocol.frames import (
    Frame,
    counted,
    fitting,
    new_message,
    presence,
    status_change_frames,
)
from presence.protocol.requests import (
    Authenticate,
    Join,
    Leave,
    ListOnline,
    Ping,
    Request,
    Say,
    SetStatus,
    Typing,
    Unwatch,
    Watch,
)


@dataclass(frozen=True, slots=True)
class Call:
    """The connection of a request, when it was opened, when the request came, and its id.

    Instants are in epoch milliseconds.
    """

    connection_id: str
    opened_at: int
    now: int
    id: str | None


def answer(app: App, call: Call, request: Request) -> Frame | None:  # noqa: C901, PLR0911
    """Do what a request asks for; the frame that answers it, without its id."""
    match request:
        case Authenticate():
            return _authenticate(app, call, request)
        case Ping():
            return _ping(app, call, request)
        case SetStatus():
            user_id = app.access.authorize(call.connection_id, call.now).user.user_id
            app.statuses.choose(user_id, request.event, call.now)
        case ListOnline():
            return _list_online(app, call, request)
        case Join(session_id):
            return _join(app, call, session_id)
        case Leave(session_id):
            _leave(app, call, session_id)
        case Typing(session_id, is_typing):
            app.messages.typing(call.connection_id, session_id, call.now, is_typing=is_typing)
        case Say(session_id, content, client_id):
            return new_message(
                app.messages.say(call.connection_id, session_id, content, client_id, call.now)
            )
        case Watch(user_ids):
            return _watch(app, call, user_ids)
        case Unwatch(user_ids):
            app.watching.unwatch(call.connection_id, user_ids, call.now)
        case _:
            assert_never(request)
    return None if call.id is None else {"type": "ack"}


def _authenticate(app: App, call: Call, request: Authenticate) -> Frame:
    identity = identify(app.ports.tokens, request.token, request.user_id, call.now)
    command = AuthenticateCommand(
        call.connection_id, identity, call.opened_at, request.device, request.is_active
    )
    welcome = app.connections.authenticate(command, call.now)
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
        "chatSessions": sorted(welcome.user.leases[call.connection_id].sessions),
    }


def _ping(app: App, call: Call, request: Ping) -> Frame | None:
    app.connections.ping(call.connection_id, request.is_active, call.now)
    if call.id is None:
        return None
    seconds = app.settings.heartbeat_seconds
    return {"type": "pong", "serverTime": call.now, "heartbeatSeconds": seconds}


def _list_online(app: App, call: Call, request: ListOnline) -> Frame:
    actor = app.access.authorize(call.connection_id, call.now)
    viewer_id, reach = actor.user.user_id, Reach(actor.connection.allowed_sessions)
    page = app.online_list.page(
        request.limit, request.cursor, viewer_id, call.now, reach=reach, fits=fitting
    )
    return {
        "type": "online-users-list",
        "users": _presences(page.users),
        "cursor": page.cursor,
        "onlineCount": page.online_count,
    }


def _join(app: App, call: Call, session_id: str) -> Frame:
    user = app.chat_sessions.join(call.connection_id, session_id, call.now)
    # By the clock after the write: what others were told before does not count this user, and must
    # look older to the client than this answer.
    page = app.member_list.page(session_id, user.user_id, DEFAULT_PAGE, None, now(), fits=fitting)
    return {
        "type": "chat-session-joined",
        "chatSessionId": session_id,
        "members": _presences(page.members),
        "cursor": page.cursor,
        "memberCount": page.member_count,
        **counted(page.as_of, is_sampled=page.is_sampled),
    }


def _leave(app: App, call: Call, session_id: str | None) -> None:
    if session_id is None:
        app.connections.leave(call.connection_id, call.now)
    else:
        app.chat_sessions.leave(call.connection_id, session_id, call.now)


def _watch(app: App, call: Call, user_ids: Sequence[str]) -> Frame:
    """What does not fit into the answer is posted as changes, which a client takes in alike."""
    users = app.watching.watch(call.connection_id, user_ids, call.now)
    count = fitting(users)
    if rest := users[count:]:
        posts = [Post(text, [call.connection_id]) for text in status_change_frames(rest)]
        app.dispatcher.send(posts)
    return {"type": "watching", "users": _presences(users[:count])}


def _presences(users: Sequence[Presence]) -> list[Frame]:
    return [presence(user) for user in users]
