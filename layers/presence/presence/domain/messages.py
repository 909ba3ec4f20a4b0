"""The wire: text from a client to values, values to text for a client (protocol.md §1).

Python's `json` accepts more than JSON and lets the last of two equal keys win. Whatever passes
here is JSON to every other parser too, and means the same to it.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from presence.domain.errors import InvalidMessage, PayloadTooLarge, UnknownAction
from presence.domain.user import Choice, Presence

MAX_MESSAGE_BYTES = 8 * 1024
#: API Gateway closes a connection with 1009 for a frame beyond 32 KB.
MAX_FRAME_BYTES = 32 * 1024
FRAME_OVERHEAD_BYTES = 1024  # whatever stands around the list
MAX_DEPTH = 16
MAX_TEXT_LENGTH = 140
MAX_TOKEN_LENGTH = 6 * 1024
MAX_PAGE, DEFAULT_PAGE = 100, 50
MAX_INTEGER = 2**53 - 1  # the last one that a JavaScript client can hold exactly

Json: TypeAlias = Any
Object: TypeAlias = Mapping[str, Json]

_ID = re.compile(r"[A-Za-z0-9._~@+=-]{1,128}", re.ASCII)
_CURSOR = re.compile(r"[A-Za-z0-9_-]{1,256}", re.ASCII)
# C0 and C1 controls, and what reorders the text around it (bidirectional controls).
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


# ── text to JSON ───────────────────────────────────────────────────────────────────────────


def parse_object(text: str, *, limit: int = MAX_MESSAGE_BYTES) -> Object:
    """The JSON object in *text*, read strictly.

    Raises:
        PayloadTooLarge: more than *limit* bytes of UTF-8.
        InvalidMessage: not JSON, not an object, a key twice, NaN, a number that other parsers
            would round, text that is not Unicode, or nesting beyond MAX_DEPTH.
    """
    # surrogatepass: a lone surrogate has no UTF-8; it is refused below, with a better reason.
    if len(text.encode("utf-8", "surrogatepass")) > limit:
        raise PayloadTooLarge(f"Send at most {limit} bytes.")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_no_key_twice,
            parse_constant=_no_constant,
            parse_int=_exact_integer,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as error:
        raise InvalidMessage("Send one JSON object.") from error
    if not isinstance(value, dict):
        raise InvalidMessage("Send one JSON object.")
    _check(value, MAX_DEPTH)
    return value


def _no_key_twice(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise InvalidMessage("Name every field once.")
    return value


def _no_constant(name: str) -> Json:
    raise InvalidMessage(f"{name} is not JSON.")


def _exact_integer(digits: str) -> int:
    # By length first: Python refuses to convert thousands of digits, and says so in its own words.
    number = int(digits) if len(digits) <= len(str(-MAX_INTEGER)) else MAX_INTEGER + 1
    if abs(number) > MAX_INTEGER:
        raise InvalidMessage("Send integers up to 2^53 - 1, greater ones as text.")
    return number


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise InvalidMessage("Send numbers that a double can hold.")
    return number


def _check(value: Json, depth: int) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict | list):
        if depth == 0:
            raise InvalidMessage(f"Nest at most {MAX_DEPTH} levels.")
        for item in _within(value):
            _check(item, depth - 1)


def _within(value: dict[str, Json] | list[Json]) -> Iterable[Json]:
    return [*value.keys(), *value.values()] if isinstance(value, dict) else value


def _check_text(text: str) -> None:
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidMessage("Send text as Unicode, without NUL and lone surrogates.")


# ── fields ─────────────────────────────────────────────────────────────────────────────────


def is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _id(name: str, value: Json) -> str:
    if not is_id(value):
        raise InvalidMessage(f"{name} has to be 1 to 128 characters of A-Z, a-z, 0-9 and ._~@+=-.")
    return str(value)


def user_id(value: Json) -> str:
    return _id("userId", value)


def user_ids(value: Json) -> tuple[str, ...]:
    """1 to 100 of them, in their order; the same one twice is fine."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_PAGE:
        raise InvalidMessage(f"userIds has to be a list of 1 to {MAX_PAGE} ids.")
    return tuple(_id("userIds", item) for item in value)


def _optional(body: Object, name: str, read: Callable[[str, Json], str]) -> str | None:
    value = body.get(name)
    return None if value is None else read(name, value)


def _boolean(body: Object, name: str) -> bool | None:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidMessage(f"{name} has to be true or false.")
    return value


def _token(name: str, value: Json) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TOKEN_LENGTH:
        raise InvalidMessage(f"{name} has to be a JWT of at most {MAX_TOKEN_LENGTH} characters.")
    return value


def _text(name: str, value: Json) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT_LENGTH or _UNPRINTABLE.search(value):
        raise InvalidMessage(
            f"{name} has to be text of at most {MAX_TEXT_LENGTH} characters, without controls."
        )
    return value


def _cursor(name: str, value: Json) -> str:
    if not isinstance(value, str) or not _CURSOR.fullmatch(value):
        raise InvalidMessage(f"{name} has to be as it came with the page before.")
    return value


def _limit(value: Json) -> int:
    if value is None:
        return DEFAULT_PAGE
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_PAGE:
        raise InvalidMessage(f"limit has to be a number from 1 to {MAX_PAGE}.")
    return value


def _choice(value: Json) -> Choice:
    if not isinstance(value, str) or value not in set(Choice):
        raise InvalidMessage(f"status has to be one of {', '.join(Choice)}.")
    return Choice(value)


def _until(value: Json, now: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value <= now:
        raise InvalidMessage("until has to be a time to come, in epoch milliseconds.")
    return value


# ── what a client asks for ─────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Authenticate:
    token: str
    user_id: str | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Ping:
    is_active: bool | None = None


@dataclass(frozen=True, slots=True)
class SetStatus:
    choice: Choice
    text: str | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class ListOnline:
    limit: int = DEFAULT_PAGE
    cursor: str | None = None


Message: TypeAlias = Authenticate | Ping | SetStatus | ListOnline


def _authenticate(body: Object, _now: int) -> Authenticate:
    return Authenticate(
        token=_token("token", body.get("token")),
        user_id=_optional(body, "userId", _id),
        device=_optional(body, "device", _id),
    )


def _ping(body: Object, _now: int) -> Ping:
    return Ping(is_active=_boolean(body, "active"))


def set_status(body: Object, now: int) -> SetStatus:
    return SetStatus(
        choice=_choice(body.get("status")),
        text=_optional(body, "text", _text) or None,
        until=_until(body.get("until"), now),
    )


def list_online(body: Object, _now: int) -> ListOnline:
    return ListOnline(limit=_limit(body.get("limit")), cursor=_optional(body, "cursor", _cursor))


ACTIONS: Mapping[str, Callable[[Object, int], Message]] = {
    "authenticate": _authenticate,
    "ping": _ping,
    "status": set_status,
    "online": list_online,
}

#: Route keys of API Gateway are alphanumeric, so the Socket.IO names arrive through `$default`.
ALIASES: Mapping[str, str] = {"get-online-users": "online"}


@dataclass(frozen=True, slots=True)
class Request:
    """One frame of a client: what it asks for, and the id that the answer repeats."""

    action: str
    message: Message
    id: str | None = None


def parse(body: Object, now: int) -> Request:
    """The request in a client's frame.

    Raises:
        UnknownAction: no action of that name.
        InvalidMessage: a field that is missing or wrong.
    """
    name = action_of(body)
    if name is None:
        raise InvalidMessage(f"action has to be one of {', '.join(ACTIONS)}.")
    action = ALIASES.get(name, name)
    if action not in ACTIONS:
        raise UnknownAction(f"action has to be one of {', '.join(ACTIONS)}.")
    return Request(action, ACTIONS[action](body, now), _optional(body, "id", _id))


def action_of(body: Object) -> str | None:
    return body["action"] if is_id(body.get("action")) else None


def id_of(body: Object) -> str | None:
    return body["id"] if is_id(body.get("id")) else None


# ── values to text ─────────────────────────────────────────────────────────────────────────

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


def user_status_change(changes: Iterable[Presence]) -> Frame:
    return {"type": "user-status-change", "changes": [presence(change) for change in changes]}


def status_change_frames(changes: Iterable[Presence]) -> Iterator[str]:
    """As few frames as carry every change."""
    rest = list(changes)
    while rest:
        count = fitting(rest)
        yield encode(user_status_change(rest[:count]))
        rest = rest[count:]


def fitting(values: Sequence[Presence]) -> int:
    """How many of *values*, from the first on, one frame holds; at least one."""
    size = 0
    for count, value in enumerate(values):
        size += len(encode(presence(value)).encode()) + 1
        if size > MAX_FRAME_BYTES - FRAME_OVERHEAD_BYTES and count:
            return count
    return len(values)


def closing(reason: str, retry_after_seconds: int | None = None) -> Frame:
    frame: Frame = {"type": "closing", "reason": reason}
    return (
        frame
        if retry_after_seconds is None
        else {**frame, "retryAfterSeconds": retry_after_seconds}
    )


def encode(frame: Json) -> str:
    """JSON that any parser takes: a bare NaN would throw in every browser that gets it."""
    return json.dumps(frame, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
