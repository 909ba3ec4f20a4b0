"""The wire, held against a parser that knows nothing but RFC 8259, and against its own limits."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st

from presence.domain.data import NO_DATA, compact
from presence.domain.disclosure import Disclosure
from presence.domain.errors import InvalidMessage, PayloadTooLarge, PresenceError, UnknownAction
from presence.domain.events import DataChanged
from presence.domain.user import Choice, Presence, Status
from presence.limits import (
    ID_PATTERN,
    MAX_CONTENT_BYTES,
    MAX_DATA_BYTES,
    MAX_DEPTH,
    MAX_FRAME_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_PAGE,
    MAX_SESSIONS,
    MAX_TOKEN_LENGTH,
    MAX_VERIFIED,
)
from presence.protocol.frames import (
    closing,
    fitting,
    members_change_frames,
    presence,
    presence_text,
    status_change_frames,
    user_typing,
)
from presence.protocol.requests import (
    ACTIONS,
    ALIASES,
    Alias,
    Authenticate,
    Envelope,
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
    action_of,
    content,
    id_of,
    is_id,
    names_in,
    parse,
    session_id,
    user_id,
    user_ids,
)
from presence.protocol.strict_json import encode, parse_object

NOW = 1_800_000_000_000
WIDE = 1_000_000


# ── a strict parser ────────────────────────────────────────────────────────────────────────

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_STRING = re.compile(r'"((?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*)"')
_ESCAPE = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|\\.")
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_WORDS = {"true": True, "false": False, "null": None}


class Strict:
    """RFC 8259 to the letter: every number a double, as in JavaScript, and every name once."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def parse(self) -> Any:
        value = self._value()
        self._space()
        assert self._at == len(self._text), "something follows"
        return value

    def _space(self) -> None:
        while self._text[self._at : self._at + 1] in {" ", "\t", "\n", "\r"}:
            self._at += 1

    def _take(self, literal: str) -> bool:
        self._space()
        is_there = self._text.startswith(literal, self._at)
        self._at += len(literal) * is_there
        return is_there

    def _value(self) -> Any:
        for word, value in _WORDS.items():
            if self._take(word):
                return value
        if self._take("{"):
            return self._object()
        if self._take("["):
            return list(self._items("]", self._value))
        return self._string() if self._text[self._at : self._at + 1] == '"' else self._number()

    def _object(self) -> dict[str, Any]:
        members = list(self._items("}", self._member))
        value = dict(members)
        assert len(value) == len(members), "a name comes twice"
        return value

    def _member(self) -> tuple[str, Any]:
        self._space()
        name = self._string()
        assert self._take(":")
        return name, self._value()

    def _items(self, end: str, read: Any) -> Iterator[Any]:
        if self._take(end):
            return
        yield read()
        while self._take(","):
            yield read()
        assert self._take(end)

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self._text, self._at)
        assert match, f"nothing that begins at {self._at}"
        self._at = match.end()
        return match

    def _number(self) -> float:
        return float(self._match(_NUMBER)[0])

    def _string(self) -> str:
        text = _ESCAPE.sub(_unescape, self._match(_STRING)[1])
        text.encode()  # a lone surrogate has no UTF-8
        return text


def _unescape(match: re.Match[str]) -> str:
    escape = match[0]
    if escape.startswith("\\u"):
        units = bytes.fromhex("".join(escape.split("\\u")))
        return units.decode("utf-16-be", "surrogatepass")
    return _SHORT.get(escape[1], escape[1])


# ── text to JSON ───────────────────────────────────────────────────────────────────────────


ACCEPTED = {
    "empty": "{}",
    "white-space": ' \t\r\n{ "a" : [ ] } \n',
    "every-kind": '{"a":[null,true,false,0,-1,1.5,1e3,"x",{}]}',
    "greatest-integer": '{"a":9007199254740991,"b":-9007199254740991}',
    "minus-zero": '{"a":-0}',
    "tiny": '{"a":5e-324,"b":1e-999}',
    "pair-of-surrogates": '{"a":"\\ud83d\\ude00"}',
    "astral": '{"a":"😀"}',
    "line-separators": '{"a":"\u2028\u2029"}',
    "escapes": r'{"a":"\"\\\/\b\f\n\r\t\u00e9"}',
    "empty-name": '{"":1}',
    "prototype": '{"__proto__":{"constructor":1}}',
    "names-of-two-cases": '{"a":1,"A":2}',
    "deep-enough": '{"a":' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}",
}

REFUSED = {
    "nothing": "",
    "white-space": "  ",
    "list": "[]",
    "text": '"a"',
    "number": "1",
    "null": "null",
    "two-values": "{}{}",
    "rest": "{}x",
    "cut-off": '{"a":',
    "byte-order-mark": "\ufeff{}",
    "comment": "{}//",
    "single-quotes": "{'a':1}",
    "bare-name": "{a:1}",
    "comma-at-the-end": '{"a":1,}',
    "comma-at-the-end-of-a-list": '{"a":[1,]}',
    "no-break-space": "\u00a0{}",
    "vertical-tab": "\x0b{}",
    "name-twice": '{"a":1,"a":2}',
    "name-twice-the-same": '{"a":1,"a":1}',
    "name-twice-escaped": '{"a":1,"\\u0061":2}',
    "name-twice-deep": '{"b":[{"a":1,"a":2}]}',
    "nan": '{"a":NaN}',
    "infinity": '{"a":Infinity}',
    "minus-infinity": '{"a":-Infinity}',
    "beyond-a-double": '{"a":1e999}',
    "below-a-double": '{"a":-1e999}',
    "rounded-integer": '{"a":9007199254740992}',
    "rounded-negative": '{"a":-9007199254740992}',
    "forty-digits": '{"a":' + "1" * 40 + "}",
    "five-thousand-digits": '{"a":' + "1" * 5000 + "}",
    "leading-zero": '{"a":01}',
    "leading-plus": '{"a":+1}',
    "no-digit-before-the-point": '{"a":.5}',
    "no-digit-after-the-point": '{"a":1.}',
    "hexadecimal": '{"a":0x1}',
    "underscore": '{"a":1_000}',
    "full-width-digit": '{"a":\uff11}',
    "lone-high-surrogate": '{"a":"\\ud800"}',
    "lone-low-surrogate": '{"a":"\\udc00x"}',
    "surrogates-the-wrong-way": '{"a":"\\udc00\\ud800"}',
    "raw-surrogate": '{"a":"\ud800"}',
    "surrogate-in-a-name": '{"\\ud800":1}',
    "nul": '{"a":"\\u0000"}',
    "nul-in-a-name": '{"\\u0000":1}',
    "raw-nul": '{"a":"\x00"}',
    "raw-newline": '{"a":"\n"}',
    "unknown-escape": '{"a":"\\x41"}',
    "short-escape": '{"a":"\\u41"}',
    "python-word": '{"a":True}',
    "too-deep": '{"a":' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}",
    "too-deep-objects": '{"a":' * 900 + "1" + "}" * 900,
    "as-deep-as-it-fits": "[" * 4096 + "]" * 4096,
    "deep-and-never-closed": '{"a":' + "[" * 8000,
}


@pytest.mark.parametrize("text", ACCEPTED.values(), ids=ACCEPTED)
def test_json_is_accepted_and_means_what_it_says(text: str) -> None:
    assert parse_object(text) == Strict(text).parse()


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_some_parser_would_read_otherwise_is_refused(text: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        parse_object(text)

    assert refused.value.message.endswith(".")


@pytest.mark.parametrize("pad", ["x", "é", "€", "😀"], ids=["1-byte", "2", "3", "4"])
def test_a_message_is_measured_in_bytes(pad: str) -> None:
    room = MAX_MESSAGE_BYTES - len('{"a":""}')
    text = pad * (room // len(pad.encode())) + "x" * (room % len(pad.encode()))

    fits = parse_object(f'{{"a":"{text}"}}')
    with pytest.raises(PayloadTooLarge):
        parse_object(f'{{"a":"{text}x"}}')

    assert fits == {"a": text}


def test_what_is_too_large_is_not_read() -> None:
    with pytest.raises(PayloadTooLarge):
        parse_object("[" * (MAX_MESSAGE_BYTES + 1))


def test_the_limit_is_the_callers() -> None:
    with pytest.raises(PayloadTooLarge):
        parse_object("{} ", limit=2)

    assert parse_object("{}", limit=2) == {}


FRAGMENTS = [
    *'{}[]:,"\\.-+eE019x \t\n',
    *('"a"', '"b"', '"\\u0061"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', "\ud800", "\x00"),
    *("true", "false", "null", "NaN", "Infinity", "-Infinity", "1e999", "1E5", "0.1", "-0", "01"),
    *(
        "9007199254740991",
        "9007199254740992",
        "1" * 30,
        "\ufeff",
        "\u00a0",
        "\u2028",
        "é",
        "\uff11",
    ),
]
soup = st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**54), 2**54)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
objects = st.dictionaries(st.text(max_size=4), json_values, max_size=5)
texts = (
    soup
    | soup.map(lambda text: f'{{"a":{text}}}')
    | st.builds(json.dumps, objects, ensure_ascii=st.booleans(), indent=st.none() | st.just(1))
    | st.text(st.characters())
)


@given(texts)
@example('{"a":{"b":1,"b":1}}')
def test_whatever_is_accepted_is_json_and_means_the_same_to_others(text: str) -> None:
    try:
        value = parse_object(text)
    except PresenceError:
        return

    assert Strict(text).parse() == value


@given(texts)
@example('{"id":"a","id":["a"],"id":"a"}')
def test_no_text_raises_anything_but_a_refusal(text: str) -> None:
    names = names_in(text)
    assert id_of(names) is None or f'"{id_of(names)}"' in text
    with suppress(InvalidMessage, UnknownAction, PayloadTooLarge):
        parse(parse_object(text), NOW)


@given(objects)
def test_what_was_accepted_comes_back_from_the_wire(value: dict[str, Any]) -> None:
    text = json.dumps(value)
    try:
        accepted = parse_object(text, limit=WIDE)
    except PresenceError:
        reject()

    assert parse_object(encode(accepted), limit=WIDE) == accepted == value


# ── ids ────────────────────────────────────────────────────────────────────────────────────


IDS = [
    *("a", "0", "x" * 128, "ada.l@example.com", "L0SM9cOFvHcCIhw=", "VNRXVFJOywMF3-Q=", "~._@+=-"),
    *(
        "auth0|5f7c",
        "team:42:ada",
        "f:1-2:ada",
        "messaging:general",
        "!room:example.org",
        "$default",
    ),
    *("a,b", "...", "!$&()+,-.:;=@[]^_{|}~"),
]
NO_CURSORS: list[Any] = ["", "a b", "a=", "a+b", "a/b", "é", "x" * 257, "a\n", 1, True, [], {}]
NO_IDS = [
    *("", "x" * 129, "a b", " a", "a\n", "\na", "a\r\n", "a\x00", "a#b", "a/b", "a%40b"),
    *("a?b", "a\\b", 'a"b', "a'b", "a`b", "<a", "a>", ".", "..", "\x7f"),
    *(
        "a*",
        "ада",
        "\u0430da",
        "é",
        "e\u0301",
        "\uff11",
        "😀",
        "a\u200bb",
        "\ud800",
    ),
    *(None, 1, 1.5, True, [], ["a"], {}, {"a": 1}, b"a"),
]


@pytest.mark.parametrize("value", IDS, ids=lambda value: value[:16])
def test_an_id_is_taken_as_it_is(value: str) -> None:
    assert is_id(value)
    assert user_id(value) == session_id(value) == value


@pytest.mark.parametrize("value", NO_IDS, ids=ascii)
def test_what_is_no_id_is_refused(value: Any) -> None:
    assert not is_id(value)
    with pytest.raises(InvalidMessage, match=r"^userId has to be "):
        user_id(value)
    with pytest.raises(InvalidMessage, match=r"^chatSessionId has to be "):
        session_id(value)


@given(st.text(max_size=130) | st.text("!#%&'*./09:?@AZ\\`az{|}~", max_size=3))
def test_an_id_is_ascii_and_of_the_alphabet(text: str) -> None:
    alphabet = {chr(code) for code in range(0x21, 0x7F)} - set("/?#%\\\"'`<>*")

    assert is_id(text) == (
        1 <= len(text) <= 128 and set(text) <= alphabet and text not in (".", "..")
    )


@pytest.mark.parametrize("value", [["a"], ["b", "a", "b"], ["x"] * MAX_PAGE], ids=len)
def test_ids_keep_their_order_and_their_doubles(value: list[str]) -> None:
    assert user_ids(value) == tuple(value)


NO_LISTS: list[Any] = [
    *(None, [], ["x"] * 101, "ab", {"a": 1}, ("a",), [["a"]], ["a", 1], ["a", "b "], ["a", None]),
    *(1, True),
]


@pytest.mark.parametrize("value", NO_LISTS, ids=str)
def test_what_is_no_list_of_ids_is_refused(value: Any) -> None:
    with pytest.raises(InvalidMessage, match=r"^userIds has to be "):
        user_ids(value)


# ── what a client asks for ─────────────────────────────────────────────────────────────────


UNDERSTOOD: dict[str, tuple[dict[str, Any], Request]] = {
    "token": ({"action": "authenticate", "token": "x.y.z"}, Authenticate("x.y.z")),
    "token-of-another-user": (
        {"action": "authenticate", "token": "t", "userId": "ada", "device": "phone"},
        Authenticate("t", "ada", "phone"),
    ),
    "token-of-a-user-who-is-there": (
        {"action": "authenticate", "token": "t", "active": True},
        Authenticate("t", is_active=True),
    ),
    "token-of-a-hidden-tab": (
        {"action": "authenticate", "token": "t", "active": False},
        Authenticate("t", is_active=False),
    ),
    "token-of-full-length": (
        {"action": "authenticate", "token": "x" * MAX_TOKEN_LENGTH},
        Authenticate("x" * MAX_TOKEN_LENGTH),
    ),
    "null-is-as-if-it-were-left-out": (
        {
            "action": "authenticate",
            "token": "t",
            "userId": None,
            "device": None,
            "active": None,
            "id": None,
        },
        Authenticate("t"),
    ),
    "ping": ({"action": "ping"}, Ping()),
    "ping-active": ({"action": "ping", "active": True}, Ping(is_active=True)),
    "ping-idle": ({"action": "ping", "active": False}, Ping(is_active=False)),
    "ping-null": ({"action": "ping", "active": None}, Ping()),
    "ping-whole": (
        {"action": "ping", "userId": "ada", "active": True, "heartbeatSeconds": 540},
        Ping("ada", is_active=True, heartbeat_seconds=540),
    ),
    "check": ({"action": "check"}, Ping(is_check=True)),
    "check-whole": (
        {"action": "check", "userId": "ada", "active": False, "heartbeatSeconds": 60},
        Ping("ada", is_active=False, heartbeat_seconds=60, is_check=True),
    ),
    "status": ({"action": "status", "status": "busy"}, SetStatus(Choice.BUSY)),
    "status-with-everything": (
        {
            "action": "status",
            "status": "away",
            "text": "out 🌞",
            "until": NOW + 1,
            "chosenAt": NOW - 1,
            "showLastSeen": "coarse",
            "data": {"page": "/", "mood": None},
        },
        SetStatus(
            *(Choice.AWAY, "out 🌞", NOW + 1, NOW - 1, Disclosure.COARSE),
            data='{"mood":null,"page":"/"}',
        ),
    ),
    "data": (
        {"action": "data", "data": {"name": "Ädä"}, "patch": None},
        SetData(DataChanged('{"name":"Ädä"}')),
    ),
    "data-none": ({"action": "data", "data": {}}, SetData(DataChanged(NO_DATA))),
    "data-patch": (
        {"action": "data", "patch": {"mood": None, "at": [1.5, {"b": 1, "a": 2}]}},
        SetData(DataChanged('{"at":[1.5,{"a":2,"b":1}],"mood":null}', is_patch=True)),
    ),
    "status-of-full-length": (
        {"action": "status", "status": "dnd", "text": "😀" * 140},
        SetStatus(Choice.DND, "😀" * 140),
    ),
    "status-without-words": (
        {"action": "status", "status": "online", "text": ""},
        SetStatus(Choice.ONLINE),
    ),
    "online": ({"action": "online"}, ListOnline(50, None)),
    "online-page": ({"action": "online", "limit": 1, "cursor": "Az_-9"}, ListOnline(1, "Az_-9")),
    "online-long-page": (
        {"action": "online", "limit": 100, "cursor": "x" * 256},
        ListOnline(100, "x" * 256),
    ),
    "online-without-known": (
        {"action": "online", "upTo": "Az_-9", "without": ["ada", "bob"]},
        ListOnline(50, up_to="Az_-9", without=("ada", "bob")),
    ),
    "online-none-known": ({"action": "online", "without": [], "upTo": None}, ListOnline(50)),
    "join": ({"action": "join", "chatSessionId": "room.1"}, Join(Sessions(("room.1",)))),
    "join-the-longest-name": (
        {"action": "join", "chatSessionId": "x" * 128},
        Join(Sessions(("x" * 128,))),
    ),
    "join-several": (
        {"action": "join", "chatSessionIds": ["b", "a", "b"]},
        Join(Sessions(("b", "a"), is_list=True)),
    ),
    "join-a-list-of-one": (
        {"action": "join", "chatSessionIds": ["a"], "chatSessionId": None},
        Join(Sessions(("a",), is_list=True)),
    ),
    "leave": ({"action": "leave", "chatSessionId": "~a+b=c"}, Leave(Sessions(("~a+b=c",)))),
    "leave-as-many-as-a-user-may-be-in": (
        {"action": "leave", "chatSessionIds": [f"room.{it}" for it in range(MAX_SESSIONS)]},
        Leave(Sessions(tuple(f"room.{it}" for it in range(MAX_SESSIONS)), is_list=True)),
    ),
    "authenticate-with-chat-sessions": (
        {"action": "authenticate", "token": "e.y.J", "chatSessionIds": ["b", "a"]},
        Authenticate("e.y.J", session_ids=("b", "a")),
    ),
    "authenticate-with-no-chat-session": (
        {"action": "authenticate", "token": "e.y.J", "chatSessionIds": []},
        Authenticate("e.y.J", session_ids=()),
    ),
    "authenticate-with-data": (
        {"action": "authenticate", "token": "e.y.J", "data": {}},
        Authenticate("e.y.J", data=NO_DATA),
    ),
    "leave-altogether": ({"action": "leave"}, Leave(None)),
    "typing": (
        {"action": "typing", "chatSessionId": "room", "typing": True},
        Typing("room", is_typing=True),
    ),
    "typing-no-more": (
        {"action": "typing", "chatSessionId": "room", "typing": False},
        Typing("room", is_typing=False),
    ),
    "message": (
        {"action": "message", "chatSessionId": "room", "content": "hi"},
        Say("room", "hi"),
    ),
    "message-with-everything": (
        {"action": "message", "chatSessionId": "r", "content": {"a": [1]}, "clientId": "c-1"},
        Say("r", {"a": [1]}, "c-1"),
    ),
    "message-without-an-author": (
        {"action": "message", "chatSessionId": "room", "content": 0, "clientId": None},
        Say("room", 0),
    ),
    "watch": ({"action": "watch", "userIds": ["ada"]}, Watch(("ada",))),
    "watch-in-their-order": (
        {"action": "watch", "userIds": ["b", "a", "b"]},
        Watch(("b", "a", "b")),
    ),
    "watch-a-hundred": (
        {"action": "watch", "userIds": ["x"] * MAX_PAGE},
        Watch(("x",) * MAX_PAGE),
    ),
    "unwatch": ({"action": "unwatch", "userIds": ["ada", "bob"]}, Unwatch(("ada", "bob"))),
    "verify": ({"action": "verify", "userIds": ["b", "a", "b"]}, Verify(("b", "a", "b"))),
    "verify-ten": (
        {"action": "verify", "userIds": ["x"] * MAX_VERIFIED},
        Verify(("x",) * MAX_VERIFIED),
    ),
}


def test_every_action_is_among_those_that_are_understood() -> None:
    assert {body["action"] for body, _ in UNDERSTOOD.values()} == ACTIONS.keys()


@pytest.mark.parametrize(("body", "asked"), UNDERSTOOD.values(), ids=UNDERSTOOD)
def test_a_frame_is_understood(body: dict[str, Any], asked: Request) -> None:
    assert parse(body, NOW) == Envelope(body["action"], asked)


@pytest.mark.parametrize(("body", "asked"), UNDERSTOOD.values(), ids=UNDERSTOOD)
def test_unknown_fields_are_ignored(body: dict[str, Any], asked: Request) -> None:
    more = {"type": "ping", "user_id": "eve", "role": "admin", "__proto__": {}, "x": [1]}

    assert parse({**more, **body, "id": "1"}, NOW) == Envelope(body["action"], asked, "1")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\u200f\u05e9\u05dc\u05d5\u05dd\u200e (2)", id="marks-of-a-hebrew-keyboard"),
        pytest.param("\u061c\u0645\u0631\u062d\u0628\u0627", id="the-arabic-letter-mark"),
        pytest.param("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647", id="a-non-joiner-of-persian"),
        pytest.param("क्\u200dष", id="a-joiner-of-hindi"),
        pytest.param("👩\u200d💻 🏳\ufe0f\u200d🌈", id="joined-emoji"),
        pytest.param(
            "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", id="a-flag-of-tags"
        ),
    ],
)
def test_a_text_may_hold_what_scripts_and_emoji_need(text: str) -> None:
    envelope = parse({"action": "status", "status": "busy", "text": text}, NOW)

    assert envelope.request == SetStatus(Choice.BUSY, text)


def test_a_text_is_in_nfc() -> None:
    envelope = parse({"action": "status", "status": "busy", "text": "cafe\u0301"}, NOW)

    assert envelope.request == SetStatus(Choice.BUSY, "caf\u00e9")


@pytest.mark.parametrize("choice", Choice)
def test_every_choice_is_a_status(choice: Choice) -> None:
    assert parse({"action": "status", "status": choice.value}, NOW).request == SetStatus(choice)


#: protocol.md §1: the events of the source document, what they ask for and what they mean.
SYNONYMS: dict[str, tuple[dict[str, Any], Envelope]] = {
    "get-online-users": ({"limit": 7}, Envelope("online", ListOnline(7), "1")),
    "join-chat-session": (
        {"chatSessionId": "room"},
        Envelope("join", Join(Sessions(("room",))), "1"),
    ),
    "leave-chat-session": (
        {"chatSessionId": "room"},
        Envelope("leave", Leave(Sessions(("room",))), "1"),
    ),
    "typing-start": (
        {"chatSessionId": "room"},
        Envelope("typing", Typing("room", is_typing=True), "1"),
    ),
    "typing-stop": (
        {"chatSessionId": "room"},
        Envelope("typing", Typing("room", is_typing=False), "1"),
    ),
}


@pytest.mark.parametrize(
    ("name", "fields", "meant"), [(name, *it) for name, it in SYNONYMS.items()]
)
def test_an_alias_is_its_action(name: str, fields: dict[str, Any], meant: Envelope) -> None:
    alias = ALIASES[name]

    aliased = parse({"action": name, "id": "1", **fields}, NOW)
    plain = parse({"action": alias.action, "id": "1", **fields, **alias.fields}, NOW)

    assert aliased == plain == meant


@pytest.mark.parametrize("value", [True, False, None, "no", 0, []], ids=str)
@pytest.mark.parametrize(("name", "is_typing"), [("typing-start", True), ("typing-stop", False)])
def test_an_alias_means_what_it_says_whatever_its_fields_say(
    name: str, value: Any, *, is_typing: bool
) -> None:
    envelope = parse({"action": name, "chatSessionId": "room", "typing": value}, NOW)

    assert envelope.request == Typing("room", is_typing=is_typing)


def test_aliases_are_those_of_the_protocol_and_hide_no_action() -> None:
    assert ALIASES.keys() == SYNONYMS.keys()
    assert ALIASES.keys().isdisjoint(ACTIONS)
    assert {alias.action for alias in ALIASES.values()} <= ACTIONS.keys()


NO_OBJECTS: list[Any] = ["", "{}", 0, 1, True, False, [], [{}]]
#: Beside a valid `chatSessionId`, a list is wrong however good it is.
NO_SESSIONS = [[], ["x"] * (MAX_SESSIONS + 1), "x", {}, True, ["x", ""], [None], ["x"]]

WRONG: dict[str, dict[str, list[Any]]] = {
    "authenticate": {
        "token": [None, "", "x" * (MAX_TOKEN_LENGTH + 1), 1, True, [], ["x"], {}],
        "userId": ["", "a b", "x" * 129, 1, True, [], {}],
        "device": ["", "my laptop", "x" * 129, 1, False, [], {}],
        "active": [0, 1, 1.0, "", "false", [], {}],
        "chatSessionIds": [["x"] * (MAX_SESSIONS + 1), "x", {}, True, ["x", ""], [None]],
        "data": NO_OBJECTS,
    },
    "ping": {
        "active": [0, 1, 1.0, "", "true", [], {}],
        "userId": ["", "a b", 1],
        "heartbeatSeconds": [0, -1, 1.0, True, "60", [], {}],
    },
    "check": {"active": [0], "userId": [""], "heartbeatSeconds": [0]},
    "status": {
        "status": [None, "", "offline", "Busy", "busy ", 1, True, [], ["busy"], {"busy": 1}],
        "text": [
            *("x" * 141, "😀" * 141, 1, True, [], {}),
            *("a\nb", "a\tb", "\x1b[31m", "\x7f", "\x85", "\u202eabc", "\u2066", "\x00", "\u2028"),
            *(
                "\ufeff",
                "\u200b",
                "\u2060",
                "\ufffb",
                "\U000e0041",
                "\U0001f3f4\U000e0067\U000e007f",
            ),
            "\u0958" * 140,  # within the limit as sent, and twice as long in NFC
        ],
        "chosenAt": [-1, NOW + 0.5, str(NOW), True, [], {}],
        "showLastSeen": ["", "off", "Exact", 0, False, ["exact"], {}],
        "until": [NOW, NOW - 1, 0, -1, NOW + 0.5, float(NOW + 1), str(NOW + 1), True, [], {}],
        "data": NO_OBJECTS,
    },
    "data": {
        "data": [None, *NO_OBJECTS],
        # Beside valid data, a patch is wrong however good it is.
        "patch": [*NO_OBJECTS, {}, {"mood": "fine"}],
    },
    "online": {
        "limit": [0, -1, 101, 1.0, 50.5, "50", "", True, False, [], {}],
        "cursor": NO_CURSORS,
        "upTo": NO_CURSORS,
        "without": ["ada", 1, True, {}, ["ada"] * 101, ["no id"], [None]],
    },
    "join": {"chatSessionId": NO_IDS, "chatSessionIds": NO_SESSIONS},
    "leave": {
        "chatSessionId": [value for value in NO_IDS if value is not None],
        "chatSessionIds": NO_SESSIONS[:-1],
    },
    "typing": {
        "chatSessionId": NO_IDS,
        "typing": [None, 0, 1, 1.0, "", "true", "false", [], [True], {}],
    },
    "message": {
        "chatSessionId": NO_IDS,
        "content": [None],
        "clientId": [value for value in NO_IDS if value is not None],
    },
    "watch": {"userIds": NO_LISTS},
    "unwatch": {"userIds": NO_LISTS},
    "verify": {"userIds": [*NO_LISTS, ["x"] * (MAX_VERIFIED + 1)]},
}
#: For each action the fields that it cannot do without.
RIGHT: dict[str, dict[str, Any]] = {
    "authenticate": {"token": "t"},
    "ping": {},
    "check": {},
    "status": {"status": "busy"},
    "data": {"data": {"page": "/"}},
    "online": {},
    "join": {"chatSessionId": "room"},
    "leave": {},
    "typing": {"chatSessionId": "room", "typing": True},
    "message": {"chatSessionId": "room", "content": "hi"},
    "watch": {"userIds": ["ada"]},
    "unwatch": {"userIds": ["ada"]},
    "verify": {"userIds": ["ada"]},
}
CASES = [
    pytest.param(action, field, value, id=f"{action}-{field}-{value!a:.20}")
    for action, fields in WRONG.items()
    for field, values in fields.items()
    for value in values
]


@pytest.mark.parametrize(("action", "field", "value"), CASES)
def test_a_field_beyond_its_limits_is_refused_by_name(action: str, field: str, value: Any) -> None:
    with pytest.raises(InvalidMessage, match=rf"^{field} has to be "):
        parse({"action": action, **RIGHT[action], field: value}, NOW)


@pytest.mark.parametrize(
    ("action", "field"), [(action, field) for action, fields in RIGHT.items() for field in fields]
)
def test_a_field_that_is_missing_is_asked_for_by_name(action: str, field: str) -> None:
    body = {name: value for name, value in RIGHT[action].items() if name != field}

    with pytest.raises(InvalidMessage, match=rf"^{field} has to be "):
        parse({"action": action, **body}, NOW)


@pytest.mark.parametrize("value", NO_IDS, ids=ascii)
def test_the_name_from_socket_io_needs_a_chat_session(value: Any) -> None:
    """An app that forgets which one must not take its user offline."""
    with pytest.raises(InvalidMessage, match=r"^chatSessionId has to be "):
        parse({"action": "leave-chat-session", "chatSessionId": value}, NOW)


@pytest.mark.parametrize("action", ACTIONS)
def test_without_any_of_its_other_fields_a_frame_is_understood(action: str) -> None:
    assert parse({"action": action, **RIGHT[action]}, NOW).action == action


@pytest.mark.parametrize("value", [it for it in NO_IDS if it is not None], ids=ascii)
@pytest.mark.parametrize("action", ACTIONS)
def test_a_frame_with_an_id_that_is_none_is_refused(action: str, value: Any) -> None:
    with pytest.raises(InvalidMessage, match=r"^id has to be "):
        parse({"action": action, **RIGHT[action], "id": value}, NOW)


@pytest.mark.parametrize(
    "name", ["dance", "PING", "Ping", "get-online", "messages", "0", "x" * 128]
)
def test_an_unknown_action_is_answered_with_those_there_are(name: str) -> None:
    with pytest.raises(UnknownAction) as refused:
        parse({"action": name}, NOW)

    assert all(action in refused.value.message for action in ACTIONS)


@pytest.mark.parametrize("value", NO_IDS, ids=ascii)
def test_an_action_that_is_no_name_is_no_action(value: Any) -> None:
    with pytest.raises(UnknownAction if isinstance(value, str) else InvalidMessage):
        parse({"action": value}, NOW)


@pytest.mark.fault("A frame names a route of the gateway as its action, such as `$disconnect`.")
@pytest.mark.parametrize("name", ["$connect", "$disconnect", "$default"])
def test_a_route_of_the_gateway_is_no_action(name: str) -> None:
    with pytest.raises(UnknownAction):
        parse({"action": name}, NOW)


@pytest.mark.parametrize("value", NO_IDS, ids=ascii)
def test_only_what_is_an_id_is_repeated(value: Any) -> None:
    assert action_of({"action": value}) is None
    assert id_of({"id": value}) is None


def test_nothing_is_repeated_of_an_empty_frame() -> None:
    assert (action_of({}), id_of({})) == (None, None)


@given(
    st.sampled_from([*ACTIONS, *ALIASES]),
    st.dictionaries(
        st.sampled_from(["id", "token", "userId", "device", "active", "status", "text", "until"])
        | st.sampled_from(["limit", "cursor", "chatSessionId", "typing", "content", "clientId"])
        | st.sampled_from(["userIds", "data", "patch"])
        | st.text(max_size=5),
        json_values | st.sampled_from(["ada", "busy", NOW + 5, 7, True, ["ada", "bob"]]),
    ),
)
def test_no_body_raises_anything_but_a_refusal(action: str, body: dict[str, Any]) -> None:
    try:
        request = parse({**body, "action": action}, NOW)
    except InvalidMessage:
        return

    assert request.action == ALIASES.get(action, Alias(action)).action
    assert request.id == body.get("id")


# ── what a message says ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "value", ["", "hi 🌞", 0, -1, 1.5, True, False, [], [None], {}, {"a": None, "b": [{}]}], ids=str
)
def test_a_message_says_any_json_but_null(value: Any) -> None:
    assert content(value) == value


@pytest.mark.parametrize("pad", ["x", "é", "€", "😀", '"'], ids=["1-byte", "2", "3", "4", "quote"])
def test_what_a_message_says_is_measured_in_bytes_as_it_is_sent_on(pad: str) -> None:
    room, size = MAX_CONTENT_BYTES - len('{"a":""}'), len(encode(pad).encode()) - 2
    text = pad * (room // size) + "x" * (room % size)

    assert content({"a": text}) == {"a": text}
    with pytest.raises(PayloadTooLarge, match="4096 bytes"):
        content({"a": text + "x"})


def test_a_message_as_long_as_allowed_is_understood_and_one_byte_more_is_not() -> None:
    body = {"action": "message", "chatSessionId": "room"}
    longest = "x" * (MAX_CONTENT_BYTES - 2)

    assert parse({**body, "content": longest}, NOW).request == Say("room", longest)
    with pytest.raises(PayloadTooLarge):
        parse({**body, "content": f"{longest}x"}, NOW)


@pytest.mark.parametrize("pad", ["x", "é", "€", "😀", '"'], ids=["1-byte", "2", "3", "4", "quote"])
@pytest.mark.parametrize(
    "body", [{"action": "data"}, {"action": "status", "status": "busy"}], ids=str
)
def test_data_are_measured_in_bytes_as_they_are_told(body: dict[str, Any], pad: str) -> None:
    room, size = MAX_DATA_BYTES - len('{"a":""}'), len(encode(pad).encode()) - 2
    text = pad * (room // size) + "x" * (room % size)

    assert parse({**body, "data": {"a": text}}, NOW).action == body["action"]
    with pytest.raises(PayloadTooLarge, match="1024 bytes"):
        parse({**body, "data": {"a": text + "x"}}, NOW)


def test_a_patch_may_be_larger_than_the_data_it_leaves() -> None:
    changes = {f"name-{number}": None for number in range(100)}

    request = parse({"action": "data", "patch": changes}, NOW).request

    assert isinstance(request, SetData)
    assert json.loads(request.event.data) == changes


# ── values to text ─────────────────────────────────────────────────────────────────────────


ids = st.from_regex(ID_PATTERN, fullmatch=True)
status_texts = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=140)
presences = st.builds(
    Presence,
    user_id=ids,
    status=st.sampled_from(Status),
    last_seen=st.none() | st.integers(0, 2**53 - 1),
    version=st.integers(0, 2**53 - 1),
    text=st.none() | status_texts,
    data=st.none() | objects.filter(bool).map(compact),
)
#: As long as they can be.
FULL = compact({"a": "😀" * 254})
#: As long as one can be on the wire: quotes become two bytes, an emoji four.
LONGEST = Presence("x" * 128, Status.OFFLINE, 2**53 - 1, 2**53 - 1, "😀" * 140, data=FULL)


def carried(frames: list[str]) -> list[Any]:
    return [change for text in frames for change in json.loads(text)["changes"]]


def test_a_presence_has_its_data_as_an_object() -> None:
    ada = Presence("ada", Status.ONLINE, NOW, 7, data='{"name":"Ada","tags":[]}')

    assert presence(ada)["data"] == {"name": "Ada", "tags": []}
    assert json.loads(presence_text(ada)) == presence(ada)


def test_a_presence_without_text_and_data_has_no_such_field() -> None:
    ada = Presence("ada", Status.ONLINE, NOW, 7)

    assert presence(ada) == {
        "userId": "ada",
        "status": "online",
        "isOnline": True,
        "lastSeen": NOW,
        "version": 7,
    }


@pytest.mark.parametrize("status", Status)
def test_every_status_but_offline_counts_as_online(status: Status) -> None:
    frame = presence(Presence("ada", status, None, 7, "hi"))

    assert (frame["status"], frame["isOnline"]) == (status.value, status.value != "offline")
    assert (frame["lastSeen"], frame["text"]) == (None, "hi")


@given(st.lists(presences, max_size=30))
def test_frames_carry_every_change_in_its_order(changes: list[Presence]) -> None:
    frames = list(status_change_frames(changes))

    assert carried(frames) == [presence(change) for change in changes]
    assert all(len(text.encode()) < MAX_FRAME_BYTES for text in frames)
    assert all(json.loads(text).keys() == {"type", "changes"} for text in frames)


@pytest.mark.fault("A text does not fit a frame.")
@pytest.mark.parametrize("text", ["😀" * 140, '"' * 140, "\\" * 140, "x", None], ids=ascii)
@pytest.mark.parametrize("data", [None, FULL], ids=["no data", "full"])
@pytest.mark.parametrize("count", [1, 39, 40, 41, 1_000])
def test_frames_stay_below_what_api_gateway_takes(
    count: int, text: str | None, data: str | None
) -> None:
    changes = [
        Presence(f"{number:0>128}", Status.OFFLINE, 2**53 - 1, 2**53 - 1, text, data=data)
        for number in range(count)
    ]

    frames = list(status_change_frames(changes))

    assert carried(frames) == [presence(change) for change in changes]
    assert all(len(frame.encode()) < MAX_FRAME_BYTES for frame in frames)
    assert all(len(frame.encode()) > MAX_FRAME_BYTES * 0.9 for frame in frames[:-1])


def test_no_change_is_no_frame() -> None:
    assert list(status_change_frames([])) == []


#: As many as can come or go at once: the stream tells 100 changes at a time.
BATCH = 100


@pytest.mark.parametrize("text", ["😀" * 140, '"' * 140, "x", None], ids=ascii)
@pytest.mark.parametrize("leaving", [0, 1, BATCH])
@pytest.mark.parametrize("coming", [0, 1, 40, BATCH])
@pytest.mark.parametrize("data", [None, FULL], ids=["no data", "full"])
def test_joined_and_left_members_are_sent_once_in_frames_below_the_size_limit(
    coming: int, leaving: int, text: str | None, data: str | None
) -> None:
    joined = [
        Presence(f"{number:j>128}", Status.ONLINE, 2**53 - 1, 2**53 - 1, text, data=data)
        for number in range(coming)
    ]
    left = [f"{number:l>128}" for number in range(leaving)]

    texts = list(
        members_change_frames("s" * 128, map(presence_text, joined), left, 2**53 - 1, 2**53 - 1)
    )

    frames = [json.loads(text) for text in texts]
    assert [it for frame in frames for it in frame["joined"]] == [presence(it) for it in joined]
    assert [it for frame in frames for it in frame["left"]] == left
    assert frames[0]["left"] == left
    assert all(len(text.encode()) < MAX_FRAME_BYTES for text in texts)


def test_a_change_of_members_says_where_and_how_many_there_are_now() -> None:
    ada = Presence("ada", Status.AWAY, NOW, 7)

    (text,) = members_change_frames("room", [presence_text(ada)], ["bob"], 3, NOW)

    assert json.loads(text) == {
        "type": "chat-session-members",
        "chatSessionId": "room",
        "joined": [presence(ada)],
        "left": ["bob"],
        "memberCount": 3,
        "asOf": NOW,
    }


@given(st.lists(presences, max_size=30), st.lists(ids, max_size=30))
def test_every_frame_about_members_is_of_one_shape(joined: list[Presence], left: list[str]) -> None:
    texts = list(members_change_frames("room", map(presence_text, joined), left, 7, NOW))

    frames = [json.loads(text) for text in texts]
    assert [it for frame in frames for it in frame["joined"]] == [presence(it) for it in joined]
    assert [it for frame in frames for it in frame["left"]] == left
    assert all(len(text.encode()) < MAX_FRAME_BYTES for text in texts)
    fields = ("type", "chatSessionId", "memberCount", "asOf")
    assert {tuple(it[name] for name in fields) for it in frames} == {
        ("chat-session-members", "room", 7, NOW)
    }


@pytest.mark.parametrize("is_typing", [True, False])
def test_typing_is_shown_until_an_instant(*, is_typing: bool) -> None:
    frame = user_typing("room", "ada", is_typing=is_typing, expires_at=NOW)

    assert frame == {
        "type": "user-typing",
        "chatSessionId": "room",
        "userId": "ada",
        "typing": is_typing,
        "expiresAt": NOW,
    }


def test_a_full_page_is_cut_where_a_frame_is_full() -> None:
    page = [LONGEST] * MAX_PAGE

    count = fitting(page)

    assert 0 < count < MAX_PAGE
    assert len(encode([presence(value) for value in page[:count]]).encode()) < MAX_FRAME_BYTES
    assert fitting([]) == 0


def test_a_closing_says_why_and_perhaps_for_how_long() -> None:
    assert closing("draining") == {"type": "closing", "reason": "draining"}
    assert closing("draining", 0) == {
        "type": "closing",
        "reason": "draining",
        "retryAfterSeconds": 0,
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")], ids=str)
def test_what_would_throw_in_a_browser_is_never_sent(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode({"a": [value]})
