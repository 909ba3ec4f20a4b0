"""What the server says, as values. Instants are epoch milliseconds of the server's clock."""

from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from functools import cache, partial
from typing import Any, Literal, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from presence_client.errors import Code, OwnCode

Frame: TypeAlias = dict[str, Any]
Choice: TypeAlias = Literal["online", "away", "busy", "dnd", "invisible"]
Disclosure: TypeAlias = Literal["exact", "coarse", "hidden"]
Status: TypeAlias = Choice | Literal["offline"]
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """How one viewer sees a user. `version` grows with each change that this viewer sees.

    Only the user's own devices are told `until` and `show_last_seen`, and only `verify` is told
    `heard_at`: when a device of the user was heard last, with which no version grows.
    """

    user_id: str
    status: Status
    is_online: bool
    version: int
    last_seen: int | None = None
    text: str | None = None
    until: int | None = None
    show_last_seen: Disclosure | None = None
    heard_at: int | None = None

    def to_json(self) -> Frame:
        """As on the wire."""
        known = {
            "text": self.text,
            "until": self.until,
            "showLastSeen": self.show_last_seen,
            "heardAt": self.heard_at,
        }
        return {
            "userId": self.user_id,
            "status": self.status,
            "isOnline": self.is_online,
            "lastSeen": self.last_seen,
            "version": self.version,
            **{name: it for name, it in known.items() if it is not None},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """A connection is authenticated: the first one, or the next after it was lost.

    `online_count` has the user; it is 1 if the user may not see all users.
    """

    user_id: str
    connection_id: str = ""
    online_count: int = 0
    presence: Presence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected:
    """The connection is lost; the next attempt is in `retry_in_seconds`."""

    reason: str
    retry_in_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    chat_session_id: str
    message_id: str
    sender_id: str
    content: Any
    sent_at: int
    client_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Typing:
    """Show it until `expires_at`; not `typing` ends it at once."""

    chat_session_id: str
    user_id: str
    typing: bool
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MembersChanged:
    """Users joined or left a chat session; `sampled` in a large room, where not all are named."""

    chat_session_id: str
    joined: tuple[Presence, ...]
    left: tuple[str, ...]
    member_count: int
    sampled: bool = False
    as_of: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error that answers no request, or a chat session that could not be joined again.

    Also what keeps the client from connecting, or from renewing its token, and may not pass.
    """

    code: Code | OwnCode
    message: str
    chat_session_id: str | None = None


#: A Presence stands for a change of it.
Event: TypeAlias = Connected | Disconnected | Presence | Message | Typing | MembersChanged | Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlinePage:
    users: tuple[Presence, ...]
    online_count: int = 0
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MembersPage:
    members: tuple[Presence, ...]
    member_count: int
    cursor: str | None = None
    sampled: bool = False
    as_of: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineCount:
    count: int
    as_of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    web_socket_url: str
    heartbeat_seconds: float = 0
    lease_seconds: float = 0
    max_connection_seconds: float = 0
    protocol: int = 1
    global_presence: bool = False


def parse(kind: Callable[..., Value], frame: Frame) -> Value:
    """The value of this kind that JSON says; fields that it does not know are ignored.

    Raises:
        TypeError: a required field is missing.
    """
    known = ((name, read, frame.get(key)) for name, key, read in _fields(kind))
    return kind(**{name: read(value) for name, read, value in known if value is not None})


@cache
def _fields(kind: Any) -> list[tuple[str, str, Callable[[Any], Any]]]:  # noqa: ANN401 - a dataclass
    return [(name, _camel(name), _reader(hint)) for name, hint in get_type_hints(kind).items()]


def _reader(hint: Any) -> Callable[[Any], Any]:  # noqa: ANN401 - a type
    """A field is a dataclass (or None), a tuple of these, or as JSON has it."""
    kinds: list[Any] = [it for it in get_args(hint) if is_dataclass(it)]
    if get_origin(hint) is tuple:
        one = partial(parse, kinds[0]) if kinds else str
        return lambda items: tuple(map(one, items))
    return partial(parse, kinds[0]) if kinds else lambda item: item


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))
