"""Frames to clients: from values to JSON objects and text (docs/protocol.md, section 1)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from presence.domain.message import Message
from presence.domain.user import Presence
from presence.limits import MAX_FRAME_BYTES
from presence.protocol.strict_json import Json, encode

#: The bytes that a list may take in a frame; the other fields take less than 1 KB.
LIST_BUDGET = MAX_FRAME_BYTES - 1024

Frame: TypeAlias = dict[str, Json]


def presence(value: Presence) -> Frame:
    frame: Frame = {
        "userId": value.user_id,
        "status": value.status.value,
        "isOnline": value.is_online,
        "lastSeen": value.last_seen,
        "version": value.version,
    }
    return frame if value.text is None else {**frame, "text": value.text}


def status_change_frames(changes: Iterable[Presence]) -> Iterator[str]:
    """As few frames as carry every change."""
    for some in _framed(list(changes)):
        frame = {"type": "user-status-change", "changes": [presence(it) for it in some]}
        yield encode(frame)


def members_change_frames(
    session_id: str,
    joined: Sequence[Presence],
    left: Sequence[str],
    member_count: int,
    as_of: int,
    *,
    is_sampled: bool = False,
) -> Iterator[str]:
    """As few frames as carry all users who joined; those who left are in the first.

    All frames have the same `asOf` (see `counted`).
    """
    budget = LIST_BUDGET - len(encode(list(left)).encode())
    for number, some in enumerate(list(_framed(joined, budget)) or [()]):
        frame = {
            "type": "chat-session-members",
            "chatSessionId": session_id,
            "joined": [presence(it) for it in some],
            "left": [] if number else list(left),
            "memberCount": member_count,
            **counted(as_of, is_sampled=is_sampled),
        }
        yield encode(frame)


def counted(as_of: int, *, is_sampled: bool) -> Frame:
    """The fields that say how old a list or count of members is, and whether the room is large.

    *as_of* is an instant before the members were read. A client that keeps the greatest it has
    seen has missed no change from before it.
    """
    return {"asOf": as_of, "sampled": True} if is_sampled else {"asOf": as_of}


def _framed(
    presences: Sequence[Presence], budget: int = LIST_BUDGET
) -> Iterator[Sequence[Presence]]:
    """The presences in parts that fit into a frame each."""
    while presences:
        count = fitting(presences, budget)
        yield presences[:count]
        presences = presences[count:]


def fitting(presences: Sequence[Presence], budget: int = LIST_BUDGET) -> int:
    """How many, from the first on, fit into *budget* bytes of JSON; at least one of any."""
    size = 0
    for count, value in enumerate(presences):
        size += len(encode(presence(value)).encode()) + 1
        if size > budget and count:
            return count
    return len(presences)


def message(value: Message) -> Frame:
    """What a message says of itself, without the `type` of a frame."""
    frame: Frame = {
        "chatSessionId": value.session_id,
        "messageId": value.message_id,
        "senderId": value.sender_id,
        "content": value.content,
        "sentAt": value.sent_at,
    }
    return frame if value.client_id is None else {**frame, "clientId": value.client_id}


def new_message(value: Message) -> Frame:
    return {"type": "new-message", **message(value)}


def user_typing(session_id: str, user_id: str, *, is_typing: bool, expires_at: int) -> Frame:
    return {
        "type": "user-typing",
        "chatSessionId": session_id,
        "userId": user_id,
        "typing": is_typing,
        "expiresAt": expires_at,
    }


def closing(reason: str, retry_after_seconds: int | None = None) -> Frame:
    """The last frame before the server closes a socket."""
    frame: Frame = {"type": "closing", "reason": reason}
    if retry_after_seconds is not None:
        frame["retryAfterSeconds"] = retry_after_seconds
    return frame
