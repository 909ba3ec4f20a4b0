"""Frames to clients: from values to JSON objects and text (docs/protocol.md, section 1)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from presence.domain.data import value_of
from presence.domain.errors import PresenceError
from presence.domain.message import Message
from presence.domain.user import Presence
from presence.limits import MAX_FRAME_BYTES
from presence.protocol.strict_json import Json, encode

#: The bytes that a list may take in a frame; the other fields take less than 1 KB.
LIST_BUDGET = MAX_FRAME_BYTES - 1024
#: The bytes that an entry of `joined` takes at most, without its members and its name: a cursor,
#: which has an id in it, and numbers.
ENTRY_BYTES = 290

Frame: TypeAlias = dict[str, Json]

#: What a connection answers with a `ping`, at once.
PROBE = encode({"type": "probe"})


def presence(value: Presence) -> Frame:
    frame: Frame = {
        "userId": value.user_id,
        "status": value.status.value,
        "isOnline": value.is_online,
        "lastSeen": value.last_seen,
        "version": value.version,
    }
    known = {
        "text": value.text,
        "until": value.until,
        "showLastSeen": value.disclosure,
        "heardAt": value.heard_at,
        "data": value.data and value_of(value.data),
    }
    return frame | {name: it for name, it in known.items() if it is not None}


def presence_text(value: Presence) -> str:
    """As JSON: what several frames have in common is encoded once."""
    return encode(presence(value))


def status_change_frames(changes: Iterable[Presence]) -> Iterator[str]:
    """As few frames as carry every change."""
    return status_change_texts([presence_text(it) for it in changes])


def status_change_texts(changes: Sequence[str]) -> Iterator[str]:
    """The same of presences that are encoded already."""
    for some in _framed(changes, LIST_BUDGET):
        yield _object({"type": '"user-status-change"', "changes": _list(some)})


def members_change_frames(
    session_id: str,
    joined: Iterable[str],
    left: Sequence[str],
    member_count: int,
    as_of: int,
    *,
    is_sampled: bool = False,
) -> Iterator[str]:
    """As few frames as carry all users who joined; those who left are in the first.

    `joined` are presences as JSON (`presence_text`). All frames have the same `asOf` (`counted`).
    """
    gone, start = encode(list(left)), encode(session_id)
    end = {name: encode(it) for name, it in counted(as_of, is_sampled=is_sampled).items()}
    parts = list(_framed(list(joined), LIST_BUDGET - len(gone.encode())))
    for number, some in enumerate(parts or [()]):
        fields = {
            "type": '"chat-session-members"',
            "chatSessionId": start,
            "joined": _list(some),
            "left": "[]" if number else gone,
            "memberCount": encode(member_count),
        }
        yield _object(fields | end)


def _object(fields: Mapping[str, str]) -> str:
    """An object of fields that are encoded already."""
    return "{" + ",".join(f'"{name}":{text}' for name, text in fields.items()) + "}"


def _list(items: Iterable[str]) -> str:
    return f"[{','.join(items)}]"


def counted(as_of: int, *, is_sampled: bool) -> Frame:
    """The fields that say how old a list or count of members is, and whether the room is large.

    *as_of* is an instant before the members were read. A client that keeps the greatest it has
    seen has missed no change from before it.
    """
    return {"asOf": as_of, "sampled": True} if is_sampled else {"asOf": as_of}


def _framed(texts: Sequence[str], budget: int) -> Iterator[Sequence[str]]:
    """The texts in parts that fit into a frame each."""
    while texts:
        count = _fitting(texts, budget)
        yield texts[:count]
        texts = texts[count:]


def fitting(presences: Iterable[Presence], budget: int = LIST_BUDGET) -> int:
    """How many, from the first on, fit into so many bytes; at least one of any."""
    return _fitting([presence_text(it) for it in presences], budget)


def _fitting(texts: Sequence[str], budget: int) -> int:
    size = 0
    for count, text in enumerate(texts):
        size += (len(text) if text.isascii() else len(text.encode())) + 1
        if size > budget and count:
            return count
    return len(texts)


@dataclass(frozen=True, slots=True)
class Joined:
    """A chat session that was joined, with its first members as far as there was space for them."""

    session_id: str
    members: Sequence[Presence]
    cursor: str | None
    member_count: int
    as_of: int
    is_sampled: bool = False


def chat_session_joined(value: Joined) -> Frame:
    return {
        "type": "chat-session-joined",
        **_joined(value),
        "members": [presence(it) for it in value.members],
        "cursor": value.cursor,
    }


def joined_entry(value: Joined, budget: int) -> Frame:
    """One of several, in *budget* bytes for its members.

    The last page has no `cursor`. Without space for the first member it has no `members` either.
    """
    frame = _joined(value)
    members: list[Json] = [presence(it) for it in value.members]
    if len(encode(members).encode()) > budget + len("[]"):
        return frame
    cursor: Frame = {} if value.cursor is None else {"cursor": value.cursor}
    return {**frame, "members": members, **cursor}


def _joined(value: Joined) -> Frame:
    return {
        "chatSessionId": value.session_id,
        "memberCount": value.member_count,
        **counted(value.as_of, is_sampled=value.is_sampled),
    }


def refused(refusals: Mapping[str, PresenceError]) -> list[Json]:
    """What the answer to a `join` of several says of those that were not joined."""
    return [{"chatSessionId": name, **refusal(it)} for name, it in refusals.items()]


def refusal(error: PresenceError) -> Frame:
    frame: Frame = {"code": error.code, "message": error.message}
    if error.retry_after_seconds is not None:
        frame["retryAfterSeconds"] = error.retry_after_seconds
    return frame


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


def heartbeat(seconds: int, lease_seconds: int) -> Frame:
    """How often a client should ping from now on, and how long each is good."""
    return {"type": "heartbeat", "heartbeatSeconds": seconds, "leaseSeconds": lease_seconds}


def closing(reason: str, retry_after_seconds: int | None = None) -> Frame:
    """The last frame before the server closes a socket."""
    frame: Frame = {"type": "closing", "reason": reason}
    if retry_after_seconds is not None:
        frame["retryAfterSeconds"] = retry_after_seconds
    return frame
