"""Requests of clients: from the fields of a frame to values (docs/protocol.md, section 1)."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from presence.domain.disclosure import Disclosure
from presence.domain.errors import InvalidMessage, PayloadTooLarge, UnknownAction
from presence.domain.events import Chosen, TokenRevoked, TokensRevoked
from presence.domain.standing import fingerprint
from presence.domain.user import Choice
from presence.limits import (
    DEFAULT_PAGE,
    ID_CHARACTERS,
    ID_PATTERN,
    MAX_CONTENT_BYTES,
    MAX_PAGE,
    MAX_SESSIONS,
    MAX_TEXT_LENGTH,
    MAX_TOKEN_LENGTH,
    MAX_VERIFIED,
)
from presence.protocol.strict_json import Json, Object, encode, named

_ID = re.compile(ID_PATTERN, re.ASCII)
_ID_OR_PREFIX = re.compile(rf"{ID_PATTERN}\*?|\*", re.ASCII)
_CURSOR = re.compile(r"[A-Za-z0-9_-]{1,256}", re.ASCII)
# Not in texts: C0 and C1 controls; line and paragraph separators; what is not seen (U+200B, U+2060
# to U+2064, U+FEFF, annotations, tags); embeddings, overrides and isolates, which reorder what
# follows until they are closed. The marks that keyboards write (U+200E, U+200F, U+061C) do not, and
# scripts and emoji need U+200C and U+200D.
_NOT_IN_TEXTS = "\x00-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
_TAGS = "\U000e0000-\U000e007f"
# A flag as of Scotland: tags of a subdivision, behind a black flag (UTS #51, ED-14a).
_FLAG = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,7}\U000e007f"
_TEXT = re.compile(f"(?:{_FLAG}|[^{_NOT_IN_TEXTS}{_TAGS}])*")


# ── fields ─────────────────────────────────────────────────────────────────────────────────


def is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def is_id_or_prefix(value: object) -> bool:
    """An entry of the claim `chat_sessions`: an id, or a prefix of ids ending in `*`.

    No id has a `*` in it, so an entry is one or the other.
    """
    return isinstance(value, str) and _ID_OR_PREFIX.fullmatch(value) is not None


def _id(name: str, value: Json) -> str:
    if not is_id(value):
        raise InvalidMessage(f"{name} has to be {ID_CHARACTERS}.")
    return str(value)


def user_id(value: Json) -> str:
    return _id("userId", value)


def user_ids(value: Json) -> tuple[str, ...]:
    """1 to MAX_PAGE ids, in their order; duplicates are allowed."""
    return _ids("userIds", value, 1, MAX_PAGE)


def _ids(name: str, value: Json, least: int, most: int) -> tuple[str, ...]:
    if not isinstance(value, list) or not least <= len(value) <= most:
        raise InvalidMessage(f"{name} has to be a list of {least} to {most} ids.")
    return tuple(_id(name, item) for item in value)


def _optional(body: Object, name: str, read: Callable[[str, Json], str]) -> str | None:
    value = body.get(name)
    return None if value is None else read(name, value)


def flag(name: str, text: str | None) -> bool:
    """A parameter of a query, which is false if it is left out."""
    if text not in (None, "true", "false"):
        raise InvalidMessage(f"{name} has to be true or false.")
    return text == "true"


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
    """A text in NFC, which is as long as allowed before and after that."""
    if isinstance(value, str) and len(value) <= MAX_TEXT_LENGTH and _TEXT.fullmatch(value):
        text = unicodedata.normalize("NFC", value)
        if len(text) <= MAX_TEXT_LENGTH:
            return text
    raise InvalidMessage(
        f"{name} has to be text of at most {MAX_TEXT_LENGTH} characters, without controls and "
        "without what is not seen or reorders the text around it."
    )


def _cursor(name: str, value: Json) -> str:
    if not isinstance(value, str) or not _CURSOR.fullmatch(value):
        raise InvalidMessage(f"{name} has to be as it came with the page before.")
    return value


def _heartbeat(value: Json) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise InvalidMessage("heartbeatSeconds has to be a whole number of seconds.")
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


def _until(value: Json) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise _no_future_time()
    return value


def _chosen_at(value: Json) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise InvalidMessage("chosenAt has to be a time in epoch milliseconds.")
    return value


def _disclosure(value: Json) -> Disclosure | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in set(Disclosure):
        raise InvalidMessage(f"showLastSeen has to be one of {', '.join(Disclosure)}.")
    return Disclosure(value)


def _no_future_time() -> InvalidMessage:
    return InvalidMessage("until has to be a time to come, in epoch milliseconds.")


def content(value: Json) -> Json:
    """The content of a message: any JSON but null, of at most MAX_CONTENT_BYTES."""
    if value is None:
        raise InvalidMessage("content has to be JSON other than null.")
    if len(encode(value).encode()) > MAX_CONTENT_BYTES:
        raise PayloadTooLarge(f"Send at most {MAX_CONTENT_BYTES} bytes of content.")
    return value


def session_id(value: Json) -> str:
    return _id("chatSessionId", value)


def _sessions(body: Object) -> "Sessions":
    one, several = body.get("chatSessionId"), body.get("chatSessionIds")
    if several is None:
        return Sessions((session_id(one),))
    if one is not None:
        raise InvalidMessage("chatSessionIds has to be left out beside chatSessionId.")
    return Sessions(_session_ids(several, 1), is_list=True)


def _session_ids(value: Json, least: int) -> tuple[str, ...]:
    """Each once, in their order."""
    return tuple(dict.fromkeys(_ids("chatSessionIds", value, least, MAX_SESSIONS)))


def revocation(body: Object, now: int) -> TokensRevoked | TokenRevoked:
    """One token, by its `jti`, or all issued before an instant, which is not in the future."""
    token_id, not_before = body.get("tokenId"), body.get("notBefore")
    if token_id is not None:
        if not isinstance(token_id, str) or not token_id or not_before is not None:
            raise InvalidMessage("tokenId has to be the jti of a token, without notBefore.")
        return TokenRevoked(fingerprint(token_id))
    if not_before is None:
        return TokensRevoked(now)
    if isinstance(not_before, bool) or not isinstance(not_before, int) or not 0 < not_before <= now:
        raise InvalidMessage("notBefore has to be a time that is past, in epoch milliseconds.")
    return TokensRevoked(not_before)


# ── requests ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Authenticate:
    token: str
    user_id: str | None = None
    device: str | None = None
    is_active: bool | None = None
    heartbeat_seconds: int | None = None
    #: None if the client does not say which chat sessions it wants to be in.
    session_ids: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Sessions:
    """Chat sessions; `is_list` says whether the client named them in a list."""

    ids: tuple[str, ...]
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class Ping:
    """`user_id` says whose connection it is, and `is_check` that an answer is wanted.

    `heartbeat_seconds` is how soon the client is going to send the next one; None is as usual.
    """

    user_id: str | None = None
    is_active: bool | None = None
    heartbeat_seconds: int | None = None
    is_check: bool = False


@dataclass(frozen=True, slots=True)
class SetStatus:
    choice: Choice
    text: str | None = None
    until: int | None = None
    chosen_at: int | None = None
    disclosure: Disclosure | None = None

    @property
    def event(self) -> Chosen:
        return Chosen(self.choice, self.text, self.until, self.chosen_at, self.disclosure)


@dataclass(frozen=True, slots=True)
class ListOnline:
    """`without` are users that the client knows to be online; `up_to` ends what it asks for."""

    limit: int = DEFAULT_PAGE
    cursor: str | None = None
    up_to: str | None = None
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Join:
    sessions: Sessions


@dataclass(frozen=True, slots=True)
class Leave:
    """Without chat sessions, the connection leaves altogether."""

    sessions: Sessions | None


@dataclass(frozen=True, slots=True)
class Typing:
    session_id: str
    is_typing: bool


@dataclass(frozen=True, slots=True)
class Say:
    session_id: str
    content: Json
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class Publish:
    """A message over HTTP, where the path names the chat session."""

    content: Json
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    user_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unwatch:
    user_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verify:
    user_ids: tuple[str, ...]


Request: TypeAlias = (
    Authenticate
    | Ping
    | SetStatus
    | ListOnline
    | Join
    | Leave
    | Typing
    | Say
    | Watch
    | Unwatch
    | Verify
)


def _authenticate(body: Object) -> Authenticate:
    named = body.get("chatSessionIds")
    return Authenticate(
        token=_token("token", body.get("token")),
        user_id=_optional(body, "userId", _id),
        device=_optional(body, "device", _id),
        is_active=_boolean(body, "active"),
        heartbeat_seconds=_heartbeat(body.get("heartbeatSeconds")),
        session_ids=None if named is None else _session_ids(named, 0),
    )


def _ping(body: Object) -> Ping:
    active = _boolean(body, "active")
    return Ping(_optional(body, "userId", _id), active, _heartbeat(body.get("heartbeatSeconds")))


def _check(body: Object) -> Ping:
    return replace(_ping(body), is_check=True)


def set_status(body: Object, now: int) -> SetStatus:
    """The request, whose `until` is later than *now*."""
    return _in_time(_set_status(body), now)


def _set_status(body: Object) -> SetStatus:
    return SetStatus(
        choice=_choice(body.get("status")),
        text=_optional(body, "text", _text) or None,
        until=_until(body.get("until")),
        chosen_at=_chosen_at(body.get("chosenAt")),
        disclosure=_disclosure(body.get("showLastSeen")),
    )


def _in_time(request: SetStatus, now: int) -> SetStatus:
    if request.until is not None and request.until <= now:
        raise _no_future_time()
    return request


def list_online(body: Object) -> ListOnline:
    known = body.get("without")
    return ListOnline(
        limit=_limit(body.get("limit")),
        cursor=_optional(body, "cursor", _cursor),
        up_to=_optional(body, "upTo", _cursor),
        without=() if known is None else _ids("without", known, 0, MAX_PAGE),
    )


def _join(body: Object) -> Join:
    return Join(_sessions(body))


def _leave(body: Object) -> Leave:
    named = (body.get("chatSessionId"), body.get("chatSessionIds"))
    return Leave(None if named == (None, None) else _sessions(body))


def _typing(body: Object) -> Typing:
    is_typing = _boolean(body, "typing")
    if is_typing is None:
        raise InvalidMessage("typing has to be true or false.")
    return Typing(session_id(body.get("chatSessionId")), is_typing)


def _say(body: Object) -> Say:
    return Say(
        session_id=session_id(body.get("chatSessionId")),
        content=content(body.get("content")),
        client_id=_optional(body, "clientId", _id),
    )


def publish(body: Object) -> Publish:
    return Publish(content(body.get("content")), _optional(body, "clientId", _id))


def _watch(body: Object) -> Watch:
    return Watch(user_ids(body.get("userIds")))


def _unwatch(body: Object) -> Unwatch:
    return Unwatch(user_ids(body.get("userIds")))


def _verify(body: Object) -> Verify:
    return Verify(_ids("userIds", body.get("userIds"), 1, MAX_VERIFIED))


ACTIONS: Mapping[str, Callable[[Object], Request]] = {
    "authenticate": _authenticate,
    "ping": _ping,
    "check": _check,
    "status": _set_status,
    "online": list_online,
    "join": _join,
    "leave": _leave,
    "typing": _typing,
    "message": _say,
    "watch": _watch,
    "unwatch": _unwatch,
    "verify": _verify,
}


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name of an action, the fields that it sets, and one that it cannot do without."""

    action: str
    fields: Mapping[str, Json] = field(default_factory=dict)
    needs: str | None = None


#: Names of Socket.IO events. They arrive by `$default`: route keys of API Gateway have no hyphens.
ALIASES: Mapping[str, Alias] = {
    "get-online-users": Alias("online"),
    "join-chat-session": Alias("join"),
    "leave-chat-session": Alias("leave", needs="chatSessionId"),
    "typing-start": Alias("typing", {"typing": True}),
    "typing-stop": Alias("typing", {"typing": False}),
}


@dataclass(frozen=True, slots=True)
class Envelope:
    """A request in its frame: the name of its action, and the id that the answer repeats."""

    action: str
    request: Request
    id: str | None = None


def parse(body: Object, now: int) -> Envelope:
    """The request in a client's frame.

    Raises:
        UnknownAction: no action of that name.
        InvalidMessage: a field that is missing or wrong.
    """
    name = body.get("action")
    if not isinstance(name, str):
        raise InvalidMessage(f"action has to be one of {', '.join(ACTIONS)}.")
    alias = ALIASES.get(name, Alias(name))
    if alias.action not in ACTIONS:
        raise UnknownAction(f"action has to be one of {', '.join(ACTIONS)}.")
    if alias.needs is not None:
        _id(alias.needs, body.get(alias.needs))
    request = ACTIONS[alias.action]({**body, **alias.fields})
    if isinstance(request, SetStatus):
        request = _in_time(request, now)
    return Envelope(alias.action, request, _optional(body, "id", _id))


def names_in(text: str) -> Object:
    """The action and the id of a frame that is refused before it is parsed, if they can be read."""
    return named(text, ("action", "id"))


def action_of(body: Object) -> str | None:
    return body["action"] if is_id(body.get("action")) else None


def id_of(body: Object) -> str | None:
    return body["id"] if is_id(body.get("id")) else None
