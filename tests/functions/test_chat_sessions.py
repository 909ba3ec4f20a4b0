"""Chat sessions through the handlers, the stream and the queues; over HTTP for back ends, too."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from presence import limits
from presence.application.lists import MemberList, MemberPage
from presence.domain.connection import State
from presence.domain.user import Presence, Status
from presence.entrypoints import actions
from tests.endpoint import Answer, Endpoint
from tests.functions.conftest import (
    DESK,
    PHONE,
    ROOM,
    START,
    TAB,
    WATCH,
    Event,
    Stack,
)
from tests.functions.test_user_status import ADMIN, MEMBERS, MESSAGES, PUBLISH, body_of, code_of

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


# ── who hears of a change ──────────────────────────────────────────────────────────────────


def test_a_watcher_hears_until_they_have_had_enough(private: Stack) -> None:
    stack = private
    stack.join("ada", ADA)
    stack.join("grace", GRACE)
    watching = stack.ask(GRACE, "watch", userIds=["ada", "unknown"])
    stack.calm()

    stack.wait(1_000)  # of a change at the same moment others would hear later
    stack.ask(ADA, "status", status="busy")
    stack.stream()
    heard = stack.heard(GRACE)
    stack.wait(1_000)
    stack.ask(GRACE, "unwatch", userIds=["ada", "unknown"])
    stack.ask(ADA, "status", status="away")
    stack.stream()

    assert [(it["userId"], it["status"]) for it in watching["users"]] == [
        ("ada", "online"),
        ("unknown", "offline"),
    ]
    assert [it["status"] for frame in heard for it in frame["changes"]] == ["busy"]
    assert stack.heard(GRACE) == []


def test_posts_beyond_the_limit_wait_in_parcels_and_arrive_once(
    room: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "POSTS_AT_ONCE", 4)
    monkeypatch.setattr(limits, "CONNECTIONS_PER_PARCEL", 2)
    names = [f"{number:0>15}=" for number in range(6)]
    for name in names:
        room.join("grace", name)
        room.enter(name)
    room.deliver()
    room.calm()

    room.ask(ADA, "message")
    assert room.all_heard() == {}, "too many for this function: a job tells them"
    room.deliver()
    at_once, queued = room.all_heard(), room.queued("deliveries")
    room.deliver()
    later = room.all_heard()

    assert len(at_once) == 4
    posts = [it for body, _ in queued[-2:] for it in body["posts"]]
    assert [len(it["connectionIds"]) for it in posts] == [2, 1]
    assert at_once.keys().isdisjoint(later)
    assert at_once.keys() | later.keys() == {GRACE, *names}
    assert all(len(frames) == 1 for frames in (at_once | later).values())


# ── who may join ───────────────────────────────────────────────────────────────────────────


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
    "closed": (Answer(closes=True), {"code": "unavailable", "retryAfterSeconds": 2}),
}


@pytest.mark.parametrize("action", ["join", "join-chat-session"])
@pytest.mark.parametrize(("answer", "expected"), DOORS.values(), ids=DOORS)
def test_the_authorizer_decides_joins(
    stack: Stack, authorizer: Endpoint, answer: Answer, expected: dict[str, Any], action: str
) -> None:
    stack.join("ada", ADA)
    authorizer.otherwise = answer

    frame = stack.ask(ADA, action, chatSessionId=ROOM)

    record = stack.connection(ADA)
    assert record is not None
    assert frame.items() >= expected.items()
    assert record.sessions == ({ROOM} if frame["type"] == "chat-session-joined" else frozenset())
    assert stack.user("ada").sessions == record.sessions
    assert [json.loads(it.body) for it in authorizer.asked] == [
        {"userId": "ada", "chatSessionId": ROOM}
    ]
    assert "html" not in frame.get("message", "")
    assert "arn:" not in frame.get("message", "")


def test_the_authorizer_is_not_invoked_for_what_the_token_forbids(
    stack: Stack, authorizer: Endpoint
) -> None:
    authorizer.otherwise = Answer(body=b'{"allowed":true}')
    stack.join("ada", ADA, chat_sessions=["team.*"])

    frame = stack.ask(ADA, "join")

    assert frame["code"] == "forbidden"
    assert authorizer.asked == []


def test_a_chat_session_that_exists_is_refused_like_one_that_does_not(room: Stack) -> None:
    room.join("eve", DESK, chat_sessions=[])

    frames = [room.ask(DESK, "join", chatSessionId=name) for name in (ROOM, "no.such.room")]

    assert frames[0] == frames[1]
    assert frames[0]["code"] == "forbidden"


# ── typing ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.fault("A user types, and no frame says that it is over.")
def test_typing_is_told_until_an_instant_and_that_it_is_over(room: Stack) -> None:
    room.send(ADA, {"action": "typing-start", "chatSessionId": ROOM})
    room.wait(200)
    room.send(ADA, {"action": "typing-stop", "chatSessionId": ROOM})

    told = [(frame["typing"], frame["expiresAt"]) for frame in room.heard(GRACE)]
    assert told == [(True, START + 6_000), (False, START + 200)]


def test_typing_that_cannot_be_delivered_now_is_dropped(room: Stack) -> None:
    room.gateway.busy.add(GRACE)

    room.ask(ADA, "typing")

    assert room.queued("deliveries") == []


def test_a_client_id_costs_two_small_writes_and_without_one_nothing_is_stored(room: Stack) -> None:
    written = list[str]()

    def note(operation: str, request: Event) -> None:
        written.extend([operation] if request.get("TableName") == "Subscriptions" else [])

    room.called = note
    room.ask(ADA, "message", content="hi")
    assert written == ["Query"]
    written.clear()
    room.ask(ADA, "message", content="hi", clientId="mine-1")
    assert written == ["PutItem", "Query", "PutItem"]
    written.clear()
    room.ask(ADA, "message", content="hi", clientId="mine-1")
    assert written == ["PutItem"]


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
def test_an_invalid_message_is_not_relayed(room: Stack, content: Any, code: str) -> None:
    frame = room.ask(ADA, "message", content=content)

    assert frame["code"] == code
    assert room.all_heard() == {}


def test_a_message_that_finds_a_client_busy_waits_and_one_who_is_gone_is_looked_after(
    room: Stack,
) -> None:
    room.enter(ALAN)
    room.calm()
    room.gateway.busy.add(GRACE)
    room.gateway.gone.add(ALAN)
    room.wait(20_000)

    answer = room.ask(ADA, "message")
    room.run_timers()
    room.gateway.busy.clear()
    room.deliver()

    record = room.connection(ALAN)
    assert [frame["messageId"] for frame in room.heard(GRACE)] == [answer["messageId"]]
    assert record is not None
    assert record.state is State.CLOSED


def test_a_message_cannot_say_who_sent_it(room: Stack) -> None:
    body = {"senderId": "grace", "messageId": "1", "sentAt": 0, "type": "closing"}

    room.ask(ADA, "message", **body)

    (frame,) = room.heard(GRACE)
    assert (frame["type"], frame["senderId"], frame["sentAt"]) == ("new-message", "ada", START)
    assert frame["messageId"] != "1"


# ── many recipients and large rooms ──────────────────────────────────────────────────────────────


NAMES = [f"user-{number}" for number in range(6)]


def connection(name: str) -> str:
    return f"{name:x<15}="


@pytest.fixture
def crowded(private: Stack) -> Stack:
    """Six members where three are a large room; frames until then are dropped."""
    private.configure(LARGE_AUDIENCE="3")
    for name in NAMES:
        private.join(name, connection(name))
        private.enter(connection(name))
    told(private)
    return private


def told(stack: Stack) -> dict[str, list[Event]]:
    """The frames of all connections when all that waits was delivered."""
    stack.stream()
    stack.wait(2_000)
    for _ in range(2):
        assert stack.run_timers() == stack.deliver() == {"batchItemFailures": []}
    return stack.all_heard()


def test_a_tick_reaches_each_subscriber(crowded: Stack) -> None:
    crowded.join("late", connection("late"))
    answer = crowded.enter(connection("late"))

    heard = told(crowded)

    assert (answer["sampled"], answer["memberCount"]) == (True, 6)
    assert answer["asOf"] < crowded.clock.now
    frames = {name: it[-1] for name, it in heard.items()}
    assert frames.keys() == {connection(name) for name in [*NAMES, "late"]}
    assert {it["memberCount"] for it in frames.values()} == {7}
    assert all([who["userId"] for who in it["joined"]] == ["late"] for it in frames.values())
    assert all(it["sampled"] for it in frames.values())


def test_the_members_over_http_are_a_page_and_as_counted(crowded: Stack) -> None:
    crowded.join("late", connection("late"))
    crowded.enter(connection("late"))

    answer = crowded.http(f"GET {MEMBERS}", token=crowded.token("ada"), query={"limit": "2"})

    assert answer["statusCode"] == 200
    assert '"memberCount":6' in answer["body"]
    assert '"sampled":true' in answer["body"]


def test_a_message_to_a_large_room_goes_by_jobs(crowded: Stack) -> None:
    crowded.ask(connection(NAMES[0]), "message", content="hi")
    at_once = crowded.all_heard()

    heard = told(crowded)

    assert at_once == {}
    assert {name: [it["content"] for it in frames] for name, frames in heard.items()} == {
        connection(name): ["hi"] for name in NAMES[1:]
    }


# ── a page on the WebSocket ends where its frame is full; a page over HTTP does not ───────────────


FIT = 2
WHO = {"ada": TAB, "alan": PHONE, "grace": WATCH}


@pytest.fixture
def full(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """Three users in a chat session, two of which fit into a frame."""

    def fitting(users: Sequence[Presence], **_: int) -> int:
        return min(len(users), FIT)

    monkeypatch.setattr(actions, "fitting", fitting)
    for user_id, connection_id in WHO.items():
        stack.join(user_id, connection_id)
        stack.enter(connection_id)
    stack.calm()
    return stack


def ids(users: Sequence[Event]) -> list[str]:
    return [user["userId"] for user in users]


def test_the_rest_of_a_full_frame_is_behind_its_cursor(full: Stack) -> None:
    first = full.ask(TAB, "online")
    rest = full.ask(TAB, "online", cursor=first["cursor"])

    assert len(first["users"]) == FIT
    assert sorted(ids(first["users"]) + ids(rest["users"])) == sorted(WHO)
    assert (first["onlineCount"], rest["cursor"]) == (3, None)


def test_the_members_behind_a_full_frame_are_read_over_http(full: Stack) -> None:
    joined = full.enter(TAB, ROOM)
    query = {"cursor": joined["cursor"]}

    rest = body_of(full.http(f"GET {MEMBERS}", token=full.token("ada"), query=query))

    assert ids(joined["members"]) + ids(rest["members"]) == sorted(WHO)
    assert joined["memberCount"] == rest["memberCount"] == len(WHO)


def test_a_page_over_http_holds_all_of_them(full: Stack) -> None:
    token = full.token("ada")

    online = body_of(full.http("GET /online", token=token))
    members = body_of(full.http(f"GET {MEMBERS}", token=token))

    assert sorted(ids(online["users"])) == ids(members["members"]) == sorted(WHO)
    assert online["cursor"] is members["cursor"] is None


def test_watched_users_behind_a_full_frame_come_as_changes(full: Stack) -> None:
    answer = full.ask(TAB, "watch", userIds=list(WHO))

    (rest,) = full.heard(TAB)
    assert ids(answer["users"]) + ids(rest["changes"]) == list(WHO)


# ── several at once ────────────────────────────────────────────────────────────────────────

ROOMS = [f"room.{number:02}" for number in range(limits.MAX_SESSIONS)]


def by_name(entries: Sequence[Event]) -> dict[str, Event]:
    return {it["chatSessionId"]: it for it in entries}


def test_several_are_joined_and_left_in_one_frame(room: Stack) -> None:
    grace = room.ask(GRACE, "leave")
    answer = room.ask(ADA, "join", chatSessionId=None, chatSessionIds=["hall", ROOM, "hall"])
    left = room.ask(ADA, "leave", chatSessionId=None, chatSessionIds=["hall", ROOM, "nowhere"])

    assert answer["type"] == "chat-sessions-joined"
    assert [it["chatSessionId"] for it in answer["joined"]] == ["hall", ROOM]
    assert [it["memberCount"] for it in answer["joined"]] == [1, 1]
    assert [[them["userId"] for them in it["members"]] for it in answer["joined"]] == [["ada"]] * 2
    assert (answer["refused"], left, grace["type"]) == ([], {"type": "ack", "id": "1"}, "ack")
    record = room.connection(ADA)
    assert record is not None
    assert record.sessions == frozenset()


def test_a_connection_joins_as_it_authenticates(private: Stack) -> None:
    stack = private
    stack.join("grace", GRACE)
    stack.enter(GRACE)
    stack.connect(ADA)
    token = stack.token("ada", chat_sessions=["room.*"])

    answer = stack.ask(ADA, "authenticate", token=token, chatSessionIds=[ROOM, "hall"])
    again = stack.ask(ADA, "authenticate", token=token)

    assert answer["chatSessions"] == again["chatSessions"] == [ROOM]
    (entry,), (refused,) = answer["joined"], answer["refused"]
    assert [it["userId"] for it in entry["members"]] == ["ada", "grace"]
    assert (refused["chatSessionId"], refused["code"]) == ("hall", "forbidden")
    assert not again.keys() & {"joined", "refused"}
    assert stack.ask(ADA, "message")["type"] == "new-message"


@pytest.mark.fault("Answers outgrow what a frame holds.")
def test_as_many_rooms_with_the_longest_names_and_texts_fit_into_a_frame(
    private: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack, names = private, [f"{number:0128}" for number in range(limits.MAX_SESSIONS)]
    fat = Presence("x" * 128, Status.BUSY, START, 1 << 52, "😀" * limits.MAX_TEXT_LENGTH)

    def page(_list: Any, *asked: Any, fits: Any, **_: Any) -> MemberPage:
        members = [fat] * asked[2]
        return MemberPage(members[: fits(members)], "c" * 200, 1 << 30, START)

    monkeypatch.setattr(MemberList, "page", page)
    stack.connect(ADA)
    about = {"chatSessionIds": names, "id": "1"}
    frame = {"action": "authenticate", "token": stack.token("ada"), **about}
    welcome = stack.send(ADA, frame)["body"]
    joined = stack.send(ADA, {"action": "join", **about})["body"]
    some = {**about, "chatSessionIds": names[:9]}
    few = stack.reply(ADA, {"action": "join", **some})

    for text in (welcome, joined):
        assert 8_000 < len(text.encode()) <= limits.MAX_FRAME_BYTES
        assert len(json.loads(text)["joined"]) == limits.MAX_SESSIONS
    without = [it for it in json.loads(joined)["joined"] if "members" not in it]
    assert 20 < len(without) < limits.MAX_SESSIONS
    assert not any("cursor" in it for it in without)
    assert all(it["members"] and it["cursor"] for it in few["joined"])


def test_the_space_for_members_is_shared(private: Stack) -> None:
    stack = private
    stack.join("ada", ADA)
    others = [f"user-{number}" for number in range(8)]
    for name in others:
        stack.join(name, f"tab-of-{name}")
        stack.enter(f"tab-of-{name}", "room.07")
    answer = stack.ask(ADA, "join", chatSessionId=None, chatSessionIds=ROOMS)
    entry = by_name(answer["joined"])["room.07"]

    page = {"cursor": entry["cursor"]}
    path = "/chat-sessions/room.07/members"
    rest = stack.http(f"GET {path}", token=stack.token("ada"), query=page)

    told = [it["userId"] for it in (*entry["members"], *body_of(rest)["members"])]
    assert entry["memberCount"] == 9
    assert len(entry["members"]) == limits.LISTED_MEMBERS // limits.MAX_SESSIONS
    assert told == ["ada", *others]


def test_one_too_many_is_told_replaced(private: Stack) -> None:
    stack = private
    names = [f"tab-{number}" for number in range(limits.MAX_CONNECTIONS + 1)]
    for name in names:
        stack.join("ada", name)
        stack.wait(1)
    stack.run_timers()

    assert {"type": "closing", "reason": "replaced"} in stack.heard(names[0])
    assert set(stack.gateway.closed) == {names[0]}
    record = stack.connection(names[0])
    assert record is not None
    assert record.state is State.CLOSED
    assert stack.ask(names[1], "ping")["type"] == "pong"


def ids_in(page: Event) -> list[str]:
    return [member["userId"] for member in page["members"]]


# ── members over HTTP ────────────────────────────────────────────────────────────────────


def test_members_are_listed_as_they_are_now(room: Stack) -> None:
    room.ask(PHONE, "status", status="busy", text="in a review")
    token = room.token("alan")

    page = body_of(room.http(f"GET {MEMBERS}", token=token))

    asked = {"userIds": ["ada", "grace"]}
    read = body_of(room.http("POST /batch", token=token, body=asked))
    as_of = room.clock.now
    assert page == {"members": read["users"], "cursor": None, "memberCount": 2, "asOf": as_of}
    assert page["members"][1]["text"] == "in a review"


@pytest.mark.parametrize(
    "query",
    [
        *({"limit": value} for value in ("0", "101", "-1", "1.5", "x", "")),
        *({"cursor": value} for value in ("", "!", "a=", "YSBi", "x" * 257, "YWRh0")),
    ],
    ids=str,
)
def test_a_page_that_is_none_is_refused(room: Stack, query: dict[str, str]) -> None:
    answer = room.http(f"GET {MEMBERS}", token=room.token("alan"), query=query)

    assert code_of(answer, 400) == "invalid-message"


READERS: dict[str, tuple[dict[str, Any], int]] = {
    "no-claim": ({}, 200),
    "allowed-by-the-token": ({"chat_sessions": ["room.*"]}, 200),
    "forbidden-by-the-token": ({"chat_sessions": ["team.*"]}, 403),
    "every-session-forbidden-by-the-token": ({"chat_sessions": []}, 403),
    "a-back-end-that-publishes": ({"chat_sessions": [], "scope": PUBLISH}, 200),
    "an-administrator": ({"chat_sessions": [], "scope": ADMIN}, 200),
    "another-scope": ({"chat_sessions": [], "scope": "presence presence:adm"}, 403),
}


@pytest.mark.parametrize("public", ["true", "false"])
@pytest.mark.parametrize(("claims", "status"), READERS.values(), ids=READERS)
def test_members_are_for_those_who_may_join(
    room: Stack, claims: dict[str, Any], status: int, public: str
) -> None:
    room.configure(PUBLIC_READS=public)

    answer = room.http(f"GET {MEMBERS}", token=room.token("alan", **claims))

    assert answer["statusCode"] == status
    assert status == 200 or code_of(answer, status) == "forbidden"


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        pytest.param(Answer(body=b'{"allowed":true}'), 200, None, id="yes"),
        pytest.param(Answer(body=b'{"allowed":false}'), 403, "forbidden", id="no"),
        pytest.param(Answer(body=b"[]"), 403, "forbidden", id="garbage"),
        pytest.param(
            Answer(headers=(("X-Amz-Function-Error", "Handled"),)), 503, "unavailable", id="failed"
        ),
        pytest.param(Answer(500), 503, "unavailable", id="broken"),
    ],
)
def test_the_authorizer_decides_who_may_read_the_members(
    stack: Stack, authorizer: Endpoint, answer: Answer, status: int, code: str | None
) -> None:
    authorizer.otherwise = answer

    response = stack.http(f"GET {MEMBERS}", token=stack.token("alan"))
    back_end = stack.http(f"GET {MEMBERS}", token=stack.token("root", scope=PUBLISH))

    assert response["statusCode"] == status
    assert code is None or code_of(response, status) == code
    assert (response["headers"].get("Retry-After") == "2") == (status == 503)
    assert back_end["statusCode"] == 200
    assert [json.loads(it.body)["userId"] for it in authorizer.asked] == ["alan"]


def test_a_stranger_reads_the_members_only_where_reads_are_public(room: Stack) -> None:
    refused = room.http(f"GET {MEMBERS}")
    room.configure(PUBLIC_READS="true")
    page = body_of(room.http(f"GET {MEMBERS}"))

    assert code_of(refused, 401) == "not-authenticated"
    assert ids_in(page) == ["ada", "grace"]


@pytest.mark.parametrize("name", ["a b", "a#b", "x" * 129, "ада", "a%2fb", "a\n"], ids=ascii)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_is_no_chat_session_is_nowhere(stack: Stack, method: str, name: str) -> None:
    path = f"/chat-sessions/{name}/{'members' if method == 'GET' else 'messages'}"

    answer = stack.http(
        f"{method} {path}", token=stack.token("root", scope=PUBLISH), body={"content": 1}
    )

    assert code_of(answer, answer["statusCode"]) in ("invalid-message", "not-found")


# ── messages ───────────────────────────────────────────────────────────────────────────────


def test_a_back_end_sends_a_message_to_every_member(room: Stack) -> None:
    room.join("grace", DESK)
    room.enter(DESK)
    room.calm()
    room.wait(250)
    token = room.token("root", scope=f"{ADMIN} {PUBLISH}")

    answer = room.http(f"POST {MESSAGES}", token=token, body={"content": {"deploy": "done"}})

    said = body_of(answer)
    assert said == {
        "chatSessionId": ROOM,
        "messageId": said["messageId"],
        "senderId": "root",
        "content": {"deploy": "done"},
        "sentAt": START + 250,
    }
    frame = [{"type": "new-message", **said}]
    assert room.all_heard() == {TAB: frame, PHONE: frame, DESK: frame}


def test_a_member_who_publishes_hears_it_too(room: Stack) -> None:
    token = room.token("ada", scope=PUBLISH)

    body_of(room.http(f"POST {MESSAGES}", token=token, body={"content": "hi"}))

    assert room.all_heard().keys() == {TAB, PHONE}


def test_a_message_to_an_empty_chat_session_is_accepted(room: Stack) -> None:
    token = room.token("root", scope=PUBLISH)

    answer = room.http("POST /chat-sessions/nowhere/messages", token=token, body={"content": 1})

    assert body_of(answer)["chatSessionId"] == "nowhere"
    assert room.all_heard() == {}


def test_a_back_end_that_asks_again_has_published_once(room: Stack) -> None:
    said = {"content": {"text": "Paid."}, "clientId": "order-7"}
    token = room.token("root", scope=PUBLISH)
    answers = [body_of(room.http(f"POST {MESSAGES}", token=token, body=said)) for _ in range(2)]

    assert answers[0] == answers[1]
    assert answers[0]["clientId"] == "order-7"
    assert [it["messageId"] for it in room.heard(TAB)] == [answers[0]["messageId"]]
    other = room.http(f"POST {MESSAGES}", token=token, body={**said, "content": "Lost."})
    assert code_of(other, 409) == "conflict"


def test_the_claim_says_where_a_back_end_may_publish(room: Stack) -> None:
    token = room.token("root", scope=PUBLISH, chat_sessions=["elsewhere.*"])

    answer = room.http(f"POST {MESSAGES}", token=token, body={"content": "hi"})

    assert code_of(answer, 403) == "forbidden"


@pytest.mark.parametrize("scope", ["", ADMIN, "presence:publisher", "presence publish"])
def test_publishing_needs_the_scope(room: Stack, scope: str) -> None:
    token = room.token("ada", scope=scope)

    answer = room.http(f"POST {MESSAGES}", token=token, body={"content": "hi"})

    assert code_of(answer, 403) == "forbidden"
    assert room.all_heard() == {}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param(None, 400, "invalid-message", id="no-body"),
        pytest.param("", 400, "invalid-message", id="empty"),
        pytest.param("[]", 400, "invalid-message", id="list"),
        pytest.param({}, 400, "invalid-message", id="no-content"),
        pytest.param({"content": None}, 400, "invalid-message", id="null"),
        pytest.param('{"content":1,"content":2}', 400, "invalid-message", id="twice"),
        pytest.param('{"content":NaN}', 400, "invalid-message", id="nan"),
        pytest.param('{"content":"\\ud800"}', 400, "invalid-message", id="surrogate"),
        pytest.param({"content": "x" * 4_095}, 413, "payload-too-large", id="a-byte-too-long"),
        pytest.param({"content": "é" * 2_048}, 413, "payload-too-large", id="in-bytes"),
    ],
)
def test_what_is_no_message_is_refused(room: Stack, body: Any, status: int, code: str) -> None:
    answer = room.http(f"POST {MESSAGES}", token=room.token("root", scope=PUBLISH), body=body)

    assert code_of(answer, status) == code
    assert room.all_heard() == {}


@pytest.mark.parametrize("content", ["x" * 4_094, "é" * 2_047, 0, False, "", [], {}])
def test_a_message_is_any_json_of_four_kilobytes(room: Stack, content: Any) -> None:
    token = room.token("root", scope=PUBLISH)

    answer = room.http(f"POST {MESSAGES}", token=token, body={"content": content})

    assert body_of(answer)["content"] == content
    assert [frame["content"] for frame in room.heard(TAB)] == [content]


def test_publishing_stores_nothing(room: Stack) -> None:
    stored = room.everything()

    room.http(
        f"POST {MESSAGES}", token=room.token("root", scope=PUBLISH), body={"content": "secret"}
    )

    assert room.everything() == stored
