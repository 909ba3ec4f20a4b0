"""What a client is told: from values to text (docs/protocol.md §1)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from presence.domain.user import Presence
from presence.protocol.strict_json import Json, encode

#: API Gateway closes a connection with 1009 for a frame beyond 32 KB.
MAX_FRAME_BYTES = 32 * 1024
#: What a frame holds of a list, whatever stands around it.
ROOM = MAX_FRAME_BYTES - 1024

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
    """As few frames as carry everybody who came; those who left are in the first.

    All of them are as of the same instant (see `counted`).
    """
    room = ROOM - len(encode(list(left)).encode())
    for number, some in enumerate(list(_framed(joined, room)) or [()]):
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
    """How old is what is said of a chat session, and whether it is a large room.

    *as_of* is an instant before all that is said was read: whoever keeps the greatest has missed
    no change from before it.
    """
    return {"asOf": as_of, "sampled": True} if is_sampled else {"asOf": as_of}


def _framed(presences: Sequence[Presence], room: int = ROOM) -> Iterator[Sequence[Presence]]:
    """In parts that fit into a frame each."""
    while presences:
        count = fitting(presences, room)
        yield presences[:count]
        presences = presences[count:]


def fitting(presences: Sequence[Presence], room: int = ROOM) -> int:
    """How many, from the first on, fit into *room* bytes; at least one, if there is one."""
    size = 0
    for count, value in enumerate(presences):
        size += len(encode(presence(value)).encode()) + 1
        if size > room and count:
            return count
    return len(presences)


def user_typing(session_id: str, user_id: str, *, is_typing: bool, expires_at: int) -> Frame:
    return {
        "type": "user-typing",
        "chatSessionId": session_id,
        "userId": user_id,
        "typing": is_typing,
        "expiresAt": expires_at,
    }


def closing(reason: str, retry_after_seconds: int | None = None) -> Frame:
    frame: Frame = {"type": "closing", "reason": reason}
    return (
        frame
        if retry_after_seconds is None
        else {**frame, "retryAfterSeconds": retry_after_seconds}
    )
