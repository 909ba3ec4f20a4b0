"""Conversations in chat sessions, through the handlers, the stream and the queues."""

import json
from typing import Any

import pytest

from presence import bootstrap
from presence.domain.connection import State
from presence.use_cases import courier
from tests.endpoint import Answer, Endpoint
from tests.functions.conftest import DESK, PHONE, ROOM, START, TAB, WATCH, Event, Stack, frame_of

#: Who is where in `room`: ada and grace are in it, alan is online and elsewhere.
ADA, GRACE, ALAN, GRACES_OTHER = TAB, PHONE, WATCH, DESK


@pytest.fixture
def room(private: Stack) -> Stack:
    for user_id, connection_id in (("ada", ADA), ("grace", GRACE), ("alan", ALAN)):
        private.join(user_id, connection_id)
    for connection_id in (ADA, GRACE):
        private.enter(connection_id)
    private.calm()
    return private


def members_change(
    joined: list[Event], left: list[str], count: int, *, as_of: int = START
) -> Event:
    return {
        "type": "chat-session-members",
        "chatSessionId": ROOM,
        "joined": joined,
        "left": left,
        "memberCount": count,
        "asOf": as_of,
    }


def presence_of(stack: Stack, user_id: str, viewer_id: str = "a.stranger") -> Event:
    answer = stack.http(f"GET /{user_id}", token=stack.token(viewer_id))
    presence: Event = json.loads(answer["body"])
    return presence


# ── a conversation ─────────────────────────────────────────────────────────────────────────


def test_a_conversation_from_join_to_leave(private: Stack) -> None:
    stack = private
    ada = stack.join("ada", ADA)["presence"]
    grace = stack.join("grace", GRACE)["presence"]

    first, second = stack.enter(ADA), stack.enter(GRACE)
    stack.calm()
    typing = stack.ask(ADA, "typing")
    typed = stack.all_heard()
    message = stack.ask(ADA, "message", content={"text": "hi"}, clientId="m.1")
    said = stack.all_heard()
    left = stack.ask(ADA, "leave")
    stack.stream()
    gone = stack.all_heard()

    assert (first["members"], first["memberCount"], first["cursor"]) == ([ada], 1, None)
    assert (second["members"], second["memberCount"]) == ([ada, grace], 2)
    assert typing == left == {"type": "ack", "id": "1"}
    assert [frame["type"] for frame in typed.pop(GRACE)] == ["user-typing"]
    assert (message["senderId"], message["clientId"]) == ("ada", "m.1")
    assert said.pop(GRACE) == [{name: it for name, it in message.items() if name != "id"}]
    assert gone.pop(GRACE) == [members_change([], ["ada"], 1)]
    assert typed == said == gone == {}


# ── coming and going ───────────────────────────────────────────────────────────────────────


def test_whoever_comes_is_told_to_the_connections_that_are_there_once(room: Stack) -> None:
    room.join("grace", GRACES_OTHER)
    room.enter(GRACES_OTHER)
    room.calm()

    answer = room.enter(ALAN)
    room.stream()
    heard = room.all_heard()
    room.stream()

    alan = presence_of(room, "alan")
    arrival = [members_change([alan], [], 3)]
    assert answer["memberCount"] == 3
    assert heard == {ADA: arrival, GRACE: arrival, GRACES_OTHER: arrival}
    assert room.all_heard() == {}


def test_several_who_come_and_go_at_once_are_one_frame(room: Stack) -> None:
    room.enter(ALAN)
    room.ask(ADA, "leave")

    room.stream()

    alan = presence_of(room, "alan")
    assert room.all_heard() == {
        GRACE: [members_change([alan], ["ada"], 2)],
        # One's own coming was the answer to `join`.
        ALAN: [members_change([], ["ada"], 2)],
    }


def test_a_second_device_that_comes_or_goes_is_no_news(room: Stack) -> None:
    room.join("grace", GRACES_OTHER)
    room.calm()

    room.enter(GRACES_OTHER)
    room.ask(GRACE, "leave")
    room.stream()

    assert room.all_heard() == {}


def test_a_closed_connection_is_gone_when_it_is_not_back_in_time(room: Stack) -> None:
    room.disconnect(ADA)
    room.stream()
    at_first = room.all_heard()
    room.wait(10_000)
    room.settle()
    room.stream()

    ada = presence_of(room, "ada")
    change = {"type": "user-status-change", "changes": [ada]}
    assert at_first == {}
    assert (ada["status"], ada["lastSeen"]) == ("offline", START)
    gone = members_change([], ["ada"], 1, as_of=room.clock.now)
    assert room.all_heard() == {GRACE: [change, gone]}


def test_whoever_is_back_in_time_was_never_away(room: Stack) -> None:
    room.disconnect(ADA)
    room.wait(9_999)
    room.join("ada", DESK)
    room.enter(DESK)

    room.wait(1)
    room.settle()
    room.stream()

    assert room.all_heard() == {}


def test_whoever_hides_comes_and_goes_unseen(room: Stack) -> None:
    room.ask(ALAN, "status", status="invisible")
    room.calm()

    room.enter(ALAN)
    room.ask(ALAN, "typing")
    room.ask(ALAN, "leave")
    room.stream()

    assert room.all_heard() == {}


def test_whoever_blocks_somebody_comes_unseen_by_them(room: Stack) -> None:
    room.http("PUT /blocked/grace", token=room.token("alan"))
    room.calm()

    room.enter(ALAN)
    room.ask(ALAN, "typing")
    room.stream()

    alan = presence_of(room, "alan")
    heard = room.all_heard()
    assert [frame["type"] for frame in heard[ADA]] == ["user-typing", "chat-session-members"]
    assert heard[ADA][1] == members_change([alan], [], 3)
    assert heard.keys() == {ADA}
    assert room.enter(GRACE)["memberCount"] == 2


def test_a_fresh_token_that_allows_less_is_the_end_of_what_it_does_not(room: Stack) -> None:
    room.enter(ADA, "team.1")
    room.calm()

    token = room.token("ada", chat_sessions=["team.*"])
    frame = room.ask(ADA, "authenticate", token=token)
    room.stream()

    gate = room.gate(ADA)
    assert frame["type"] == "authentication-success"
    assert frame["chatSessions"] == ["team.1"]
    assert gate is not None
    assert gate.sessions == {"team.1"}
    assert room.all_heard() == {GRACE: [members_change([], ["ada"], 1)]}
    assert room.ask(ADA, "join")["code"] == "forbidden"


def test_a_closed_connection_joins_nothing(room: Stack) -> None:
    room.disconnect(ADA)
    stored = room.everything()

    frames = [room.ask(ADA, action) for action in ("join", "leave", "typing", "message")]

    assert {frame["code"] for frame in frames} == {"not-authenticated"}
    assert room.everything() == stored


# ── who hears of a change ──────────────────────────────────────────────────────────────────


def test_a_change_is_told_once_to_all_who_have_to_do_with_it_and_to_nobody_else(
    room: Stack,
) -> None:
    room.join("ada", DESK)
    room.ask(GRACE, "watch", userIds=["ada"])  # a second reason
    room.ask(GRACE, "join", chatSessionId="room.2")
    room.ask(ADA, "join", chatSessionId="room.2")  # a third
    room.calm()

    room.ask(ADA, "status", status="dnd", text="writing")
    room.stream()
    heard = room.all_heard()
    room.stream()

    seen = presence_of(room, "ada")
    for own in (ADA, DESK):
        ((changed,),) = [frame["changes"] for frame in heard.pop(own)]
        assert (changed["userId"], changed["status"]) == ("ada", "dnd")
    assert heard == {GRACE: [{"type": "user-status-change", "changes": [seen]}]}
    assert room.all_heard() == {}


def test_where_presence_is_global_everybody_hears_once(stack: Stack) -> None:
    for user_id, connection_id in (("ada", ADA), ("grace", GRACE), ("alan", ALAN)):
        stack.join(user_id, connection_id)
    for connection_id in (ADA, GRACE):
        stack.enter(connection_id)
    stack.ask(GRACE, "watch", userIds=["ada"])
    stack.calm()

    stack.ask(ADA, "status", status="busy")
    stack.stream()

    change = {"type": "user-status-change", "changes": [presence_of(stack, "ada")]}
    assert stack.all_heard() == {name: [change] for name in (ADA, GRACE, ALAN)}


def test_a_watcher_hears_until_they_have_had_enough(private: Stack) -> None:
    stack = private
    stack.join("ada", ADA)
    stack.join("grace", GRACE)
    watching = stack.ask(GRACE, "watch", userIds=["ada", "nobody"])
    stack.calm()

    stack.ask(ADA, "status", status="busy")
    stack.stream()
    heard = stack.heard(GRACE)
    stack.ask(GRACE, "unwatch", userIds=["ada", "nobody"])
    stack.ask(ADA, "status", status="away")
    stack.stream()

    assert [(it["userId"], it["status"]) for it in watching["users"]] == [
        ("ada", "online"),
        ("nobody", "offline"),
    ]
    assert [it["status"] for frame in heard for it in frame["changes"]] == ["busy"]
    assert stack.heard(GRACE) == []


def test_a_large_audience_is_shared_out_and_everybody_hears_once(
    room: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "DIRECT", 1)
    monkeypatch.setattr(courier, "CHUNK", 2)
    names = [f"{number:0>15}=" for number in range(6)]
    for name in names:
        room.join("grace", name)
        room.enter(name)
    room.deliver()
    room.calm()

    room.ask(ADA, "message")
    at_once, queued = room.all_heard(), room.queued("deliveries")
    room.deliver()
    later = room.all_heard()

    assert len(at_once) == 1
    posts = [it for body, _ in queued[-3:] for it in body["posts"]]
    assert [len(it["connectionIds"]) for it in posts] == [2, 2, 2]
    assert at_once.keys().isdisjoint(later)
    assert at_once.keys() | later.keys() == {GRACE, *names}
    assert all(len(frames) == 1 for frames in (at_once | later).values())


# ── who may join ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("claims", "is_allowed"),
    [
        pytest.param({}, True, id="no-claim"),
        pytest.param({"chat_sessions": ["*"]}, True, id="star"),
        pytest.param({"chat_sessions": ["room.*"]}, True, id="prefix"),
        pytest.param({"chat_sessions": [ROOM]}, True, id="name"),
        pytest.param({"chat_sessions": []}, False, id="none"),
        pytest.param({"chat_sessions": ["room", "room.2", "team.*"]}, False, id="others"),
    ],
)
def test_the_token_says_which_chat_sessions(
    private: Stack, claims: dict[str, Any], *, is_allowed: bool
) -> None:
    private.join("ada", ADA, **claims)

    frame = private.ask(ADA, "join")

    gate = private.gate(ADA)
    assert gate is not None
    assert (ROOM in gate.sessions) == is_allowed
    assert frame.get("code") == (None if is_allowed else "forbidden")


DOORS: dict[str, tuple[Answer, dict[str, Any]]] = {
    "yes": (Answer(body=b'{"allowed":true}'), {"type": "chat-session-joined"}),
    "no": (Answer(body=b'{"allowed":false}'), {"code": "forbidden"}),
    "garbage": (Answer(body=b"<html>"), {"code": "forbidden"}),
    "failed": (
        Answer(body=b"{}", headers=(("X-Amz-Function-Error", "Unhandled"),)),
        {"code": "unavailable", "retryAfterSeconds": 2},
    ),
    "throttled": (Answer(429), {"code": "unavailable", "retryAfterSeconds": 2}),
    "not-there": (Answer(404), {"code": "unavailable", "retryAfterSeconds": 2}),
    "hung-up": (Answer(hangs_up=True), {"code": "unavailable", "retryAfterSeconds": 2}),
}


@pytest.mark.parametrize("action", ["join", "join-chat-session"])
@pytest.mark.parametrize(("answer", "expected"), DOORS.values(), ids=DOORS)
def test_the_doorkeeper_says_who_comes_in(
    stack: Stack, doorkeeper: Endpoint, answer: Answer, expected: dict[str, Any], action: str
) -> None:
    stack.join("ada", ADA)
    doorkeeper.otherwise = answer

    frame = stack.ask(ADA, action, chatSessionId=ROOM)

    gate = stack.gate(ADA)
    assert gate is not None
    assert frame.items() >= expected.items()
    assert gate.sessions == ({ROOM} if frame["type"] == "chat-session-joined" else frozenset())
    assert stack.user("ada").sessions == gate.sessions
    assert [json.loads(it.body) for it in doorkeeper.asked] == [
        {"userId": "ada", "chatSessionId": ROOM}
    ]
    assert "html" not in frame.get("message", "")
    assert "arn:" not in frame.get("message", "")


def test_nobody_is_asked_about_what_the_token_forbids(stack: Stack, doorkeeper: Endpoint) -> None:
    doorkeeper.otherwise = Answer(body=b'{"allowed":true}')
    stack.join("ada", ADA, chat_sessions=["team.*"])

    frame = stack.ask(ADA, "join")

    assert frame["code"] == "forbidden"
    assert doorkeeper.asked == []


def test_a_token_that_allows_less_ends_a_join_that_waits_for_the_doorkeeper(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.join("ada", ADA)

    def think(user_id: str, _session_id: str) -> bool:
        less = stack.token(user_id, chat_sessions=["team.*"])
        assert stack.ask(ADA, "authenticate", token=less)["type"] == "authentication-success"
        return True

    monkeypatch.setattr(bootstrap.app().doorkeeper, "may_join", think)

    frame = stack.ask(ADA, "join")

    gate = stack.gate(ADA)
    assert gate is not None
    assert frame["code"] == "forbidden"
    assert gate.sessions == stack.user("ada").sessions == frozenset()


def test_a_chat_session_that_exists_is_refused_like_one_that_does_not(room: Stack) -> None:
    room.join("eve", DESK, chat_sessions=[])

    frames = [room.ask(DESK, "join", chatSessionId=name) for name in (ROOM, "no.such.room")]

    assert frames[0] == frames[1]
    assert frames[0]["code"] == "forbidden"


@pytest.mark.parametrize("action", ["typing", "message", "typing-start", "typing-stop"])
def test_only_whoever_has_joined_is_relayed(room: Stack, action: str) -> None:
    fields = {"typing": True, "content": "hi"} if "-" not in action else {}

    frame = room.ask(ALAN, action, chatSessionId=ROOM, **fields)

    assert frame["code"] == "forbidden"
    assert room.all_heard() == {}


# ── typing ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.fault("A user types, and no frame says that it is over.")
def test_typing_is_told_until_an_instant_and_that_it_is_over(room: Stack) -> None:
    room.send(ADA, {"action": "typing-start", "chatSessionId": ROOM})
    room.wait(1_000)
    room.send(ADA, {"action": "typing-stop", "chatSessionId": ROOM})

    told = [(frame["typing"], frame["expiresAt"]) for frame in room.heard(GRACE)]
    assert told == [(True, START + 6_000), (False, START + 1_000)]


def test_typing_is_told_once_a_second_in_each_chat_session(room: Stack) -> None:
    for connection_id in (ADA, GRACE):
        room.enter(connection_id, "room.2")
    room.calm()

    for _ in range(10):
        for session_id in (ROOM, "room.2"):
            assert room.ask(ADA, "typing", chatSessionId=session_id)["type"] == "ack"
        room.wait(250)

    told = [frame["chatSessionId"] for frame in room.heard(GRACE)]
    assert sorted(told) == [ROOM] * 3 + ["room.2"] * 3


def test_typing_that_nobody_takes_now_is_nothing_later(room: Stack) -> None:
    room.gateway.busy.add(GRACE)

    room.ask(ADA, "typing")

    assert room.queued("deliveries") == []


# ── messages ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "content",
    ["hi 🌞", "", 0, -1.5, True, False, [], {}, {"a": [None, {"b": "\u2028"}]}, "x" * 4_094],
    ids=lambda content: ascii(content)[:16],
)
def test_a_message_arrives_as_it_was_said(room: Stack, content: Any) -> None:
    answer = room.ask(ADA, "message", content=content)

    assert answer["content"] == content
    assert [frame["content"] for frame in room.heard(GRACE)] == [content]


@pytest.mark.parametrize(
    ("content", "code"), [(None, "invalid-message"), ("x" * 4_095, "payload-too-large")]
)
def test_what_is_no_message_reaches_nobody(room: Stack, content: Any, code: str) -> None:
    frame = room.ask(ADA, "message", content=content)

    assert frame["code"] == code
    assert room.all_heard() == {}


def test_a_message_reaches_every_device_but_the_one_that_sent_it(room: Stack) -> None:
    room.join("ada", DESK)
    room.enter(DESK)
    room.calm()

    answer = room.ask(ADA, "message")

    heard = room.all_heard()
    assert heard.keys() == {GRACE, DESK}
    assert {frame["messageId"] for frames in heard.values() for frame in frames} == {
        answer["messageId"]
    }


def test_a_message_that_finds_a_client_busy_waits_and_one_who_is_gone_is_looked_after(
    room: Stack,
) -> None:
    room.enter(ALAN)
    room.calm()
    room.gateway.busy.add(GRACE)
    room.gateway.gone.add(ALAN)
    room.wait(20_000)

    answer = room.ask(ADA, "message")
    room.settle()
    room.gateway.busy.clear()
    room.deliver()

    gate = room.gate(ALAN)
    assert [frame["messageId"] for frame in room.heard(GRACE)] == [answer["messageId"]]
    assert gate is not None
    assert gate.state is State.CLOSED


def test_ids_of_messages_sort_by_time(room: Stack) -> None:
    ids = []
    for _ in range(5):
        ids.append(room.ask(ADA, "message")["messageId"])
        room.wait(1)

    assert ids == sorted(ids)
    assert len(set(ids)) == 5


def test_a_message_cannot_say_who_sent_it(room: Stack) -> None:
    body = {"senderId": "grace", "messageId": "1", "sentAt": 0, "type": "closing"}

    room.ask(ADA, "message", **body)

    (frame,) = room.heard(GRACE)
    assert (frame["type"], frame["senderId"], frame["sentAt"]) == ("new-message", "ada", START)
    assert frame["messageId"] != "1"


def test_a_flood_of_messages_is_told_when_to_go_on(room: Stack) -> None:
    frames = [frame_of(room.send(ADA, room.fields("message"))) for _ in range(25)]

    refused = [frame for frame in frames if frame["type"] == "error"]
    assert {(frame["code"], frame["retryAfterSeconds"]) for frame in refused} == {
        ("rate-limited", 1)
    }
    assert len(room.heard(GRACE)) == 25 - len(refused) <= 20
