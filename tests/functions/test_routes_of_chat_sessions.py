"""Chat sessions without a socket: who may read the members, and what a back end says to them."""

import json
from typing import Any

import pytest

from tests.endpoint import Answer, Endpoint
from tests.functions.conftest import DESK, PHONE, ROOM, START, TAB, WATCH, Event, Stack
from tests.functions.test_user_status import ADMIN, MEMBERS, MESSAGES, PUBLISH, body_of, code_of


@pytest.fixture
def room(private: Stack) -> Stack:
    """ada and grace are in it, alan is online and elsewhere."""
    for user_id, connection_id in (("ada", TAB), ("grace", PHONE), ("alan", WATCH)):
        private.join(user_id, connection_id)
    for connection_id in (TAB, PHONE):
        private.enter(connection_id)
    private.calm()
    return private


def ids_in(page: Event) -> list[str]:
    return [member["userId"] for member in page["members"]]


# ── members ────────────────────────────────────────────────────────────────────────────────


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
