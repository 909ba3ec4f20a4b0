"""What each request of a client does, and the frame that answers it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import assert_never

from presence.application.access import identify
from presence.application.connections import AuthenticateCommand, PingCommand
from presence.application.lists import Known
from presence.bootstrap import App
from presence.domain.errors import PresenceError
from presence.domain.rate_limit import Charge, read_units
from presence.domain.user import Presence
from presence.entrypoints.runtime import now
from presence.fanout.sight import Reach
from presence.limits import CHANGE_UNITS, DEFAULT_PAGE, LISTED_MEMBERS
from presence.ports import Post
from presence.protocol.frames import (
    ENTRY_BYTES,
    LIST_BUDGET,
    Frame,
    Joined,
    chat_session_joined,
    fitting,
    joined_entry,
    new_message,
    presence,
    refused,
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
    Sessions,
    SetData,
    SetStatus,
    Typing,
    Unwatch,
    Verify,
    Watch,
)
from presence.protocol.strict_json import Json, encode


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
        case SetStatus() | SetData():
            _change(app, call, request)
        case ListOnline():
            return _list_online(app, call, request)
        case Join(sessions):
            return _join(app, call, sessions)
        case Leave(sessions):
            _leave(app, call, sessions)
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
        case Verify(user_ids):
            return _verify(app, call, user_ids)
        case _:
            assert_never(request)
    return None if call.id is None else {"type": "ack"}


def _change(app: App, call: Call, request: SetStatus | SetData) -> None:
    user_id = app.access.authorize(call.connection_id, call.now).user.user_id
    app.statuses.change(user_id, request.event, call.now, Charge(call.now, CHANGE_UNITS))


def _authenticate(app: App, call: Call, request: Authenticate) -> Frame:
    identity = identify(app.ports.tokens, request.token, request.user_id, call.now)
    asked = request.session_ids or ()
    command = AuthenticateCommand(
        call.connection_id,
        identity,
        call.opened_at,
        request.device,
        request.is_active,
        asked,
        _milliseconds(request.heartbeat_seconds),
        request.data,
    )
    welcome = app.connections.authenticate(command, call.now)
    sessions = sorted(welcome.user.leases[call.connection_id].sessions)
    frame: Frame = {
        "type": "authentication-success",
        "userId": identity.user_id,
        "connectionId": call.connection_id,
        "onlineCount": welcome.online_count,
        **_pace(app, request.heartbeat_seconds),
        "tokenExpiresAt": welcome.token_expires_at,
        "connectionExpiresAt": welcome.connection_expires_at,
        "serverTime": call.now,
        "presence": presence(welcome.user.own_presence),
        "chatSessions": _plain(sessions),
    }
    if request.session_ids is None:
        return frame
    space = LIST_BUDGET - len(encode([frame["chatSessions"], frame["presence"]]).encode())
    return frame | _joined(app, welcome.user.user_id, asked, welcome.refused, space)


def _ping(app: App, call: Call, request: Ping) -> Frame | None:
    """A ping is answered too if it has an id, as those of earlier clients have now and then."""
    is_answered = request.is_check or call.id is not None
    heartbeat = _milliseconds(request.heartbeat_seconds)
    command = PingCommand(call.connection_id, request.user_id, request.is_active, heartbeat)
    wanted = app.connections.ping(command, call.now, is_answered=is_answered)
    if not is_answered:
        return None
    lease = app.durations.heartbeats.lease(wanted)
    return {
        "type": "pong",
        "serverTime": call.now,
        "heartbeatSeconds": wanted // 1000,
        "leaseSeconds": lease // 1000,
    }


def _pace(app: App, named: int | None) -> Frame:
    """How often a client pings in the foreground and else, and how long its lease is as it said."""
    heartbeats, settings = app.durations.heartbeats, app.settings
    lease = heartbeats.lease(heartbeats.allowed(_milliseconds(named)))
    return {
        "heartbeatSeconds": settings.heartbeat_seconds,
        "backgroundHeartbeatSeconds": settings.background_heartbeat_seconds,
        "leaseSeconds": lease // 1000,
    }


def _milliseconds(seconds: int | None) -> int | None:
    return None if seconds is None else seconds * 1000


def _list_online(app: App, call: Call, request: ListOnline) -> Frame:
    actor = app.access.authorize(call.connection_id, call.now, read_units(request.limit))
    viewer_id, reach = actor.user.user_id, Reach(actor.connection.allowed_sessions)
    known = Known(frozenset(request.without), request.up_to)
    page = app.online_list.page(
        request.limit, request.cursor, viewer_id, call.now, reach=reach, fits=fitting, known=known
    )
    users, cursor = _presences(page.users), page.cursor
    frame: Frame = {"type": "online-users-list", "users": users, "cursor": cursor}
    counted = page.online_count
    return frame if counted is None else {**frame, "onlineCount": counted}


def _join(app: App, call: Call, sessions: Sessions) -> Frame:
    entry = app.chat_sessions.join(call.connection_id, sessions.ids, call.now)
    user_id, refusals = entry.user.user_id, entry.refused
    if sessions.is_list:
        answer = _joined(app, user_id, sessions.ids, refusals, LIST_BUDGET)
        return {"type": "chat-sessions-joined", **answer}
    for refusal in refusals.values():
        raise refusal
    page = _first_page(app, user_id, sessions.ids[0], DEFAULT_PAGE, LIST_BUDGET)
    return chat_session_joined(page)


def _joined(
    app: App,
    user_id: str,
    asked: Sequence[str],
    refusals: Mapping[str, PresenceError],
    space: int,
) -> Frame:
    """The fields `joined` and `refused`; the members of all share *space* bytes of a frame."""
    names = [name for name in asked if name not in refusals]
    said = refused(refusals)
    space -= len(encode(said).encode()) + sum(ENTRY_BYTES + len(name) for name in names)
    entries: list[Json] = []
    for left, name in zip(range(len(names), 0, -1), names, strict=True):
        share = space // left
        limit = min(DEFAULT_PAGE, LISTED_MEMBERS // len(names))
        entry = joined_entry(_first_page(app, user_id, name, limit, share), share)
        space -= len(encode(entry.get("members", [])).encode())
        entries.append(entry)
    return {"joined": entries, "refused": said}


def _first_page(app: App, user_id: str, session_id: str, limit: int, space: int) -> Joined:
    # By the clock after the write: what others were told before does not count this user, and must
    # look older to the client than this answer.
    fits = partial(fitting, budget=space)
    page = app.member_list.page(session_id, user_id, limit, None, now(), fits=fits)
    return Joined(
        session_id, page.members, page.cursor, page.member_count, page.as_of, page.is_sampled
    )


def _leave(app: App, call: Call, sessions: Sessions | None) -> None:
    if sessions is None:
        app.connections.leave(call.connection_id, call.now)
    else:
        app.chat_sessions.leave(call.connection_id, sessions.ids, call.now)


def _watch(app: App, call: Call, user_ids: Sequence[str]) -> Frame:
    """What does not fit into the answer is posted as changes, which a client takes in alike."""
    users = app.watching.watch(call.connection_id, user_ids, call.now)
    count = fitting(users)
    if rest := users[count:]:
        posts = [Post(text, [call.connection_id]) for text in status_change_frames(rest)]
        app.dispatcher.send(posts)
    return {"type": "watching", "users": _presences(users[:count])}


def _verify(app: App, call: Call, user_ids: Sequence[str]) -> Frame:
    verified = app.verification.ask(call.connection_id, user_ids, call.now)
    app.verification.expect(verified.probes, now())
    return {
        "type": "verified",
        "users": _presences(verified.users),
        "awaited": _plain(verified.awaited),
        "probeSeconds": app.settings.probe_seconds,
    }


def _plain(names: Sequence[str]) -> list[Json]:
    return [*names]


def _presences(users: Sequence[Presence]) -> list[Frame]:
    return [presence(user) for user in users]
