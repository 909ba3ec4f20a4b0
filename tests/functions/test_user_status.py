"""The HTTP API as its callers meet it: statuses, headers and bodies (protocol.md §2)."""

import base64
import json
import re
from typing import Any

import pytest

from presence.entrypoints import http as http_api
from tests.functions.conftest import ENVIRONMENT, ROOM, START, TAB, Event, Stack, recorded
from tests.template.test_template import FUNCTIONS

MEMBERS, MESSAGES = f"/chat-sessions/{ROOM}/members", f"/chat-sessions/{ROOM}/messages"
READS: list[tuple[str, Any]] = [
    ("GET /online", None),
    ("GET /online/count", None),
    ("GET /ada", None),
    ("GET /users/ada", None),
    ("POST /batch", {"userIds": ["ada"]}),
    (f"GET {MEMBERS}", None),
]
#: What is about the caller, or changes something: never without a token.
PERSONAL: list[tuple[str, Any]] = [
    ("GET /blocked", None),
    ("GET /blocked/eve", None),
    ("PUT /blocked/eve", None),
    ("DELETE /blocked/eve", None),
    ("PUT /last-seen", None),
    ("PUT ", {"status": "busy"}),
    ("PUT /", {"status": "busy"}),
    (f"POST {MESSAGES}", {"content": "hi"}),
    (f"DELETE {MEMBERS}/ada", None),
    (f"PUT {MEMBERS}/ada", None),
    ("GET /users/ada/explain", None),
    ("POST /users/ada/revocations", {}),
    ("DELETE /users/ada/connections", None),
    ("DELETE /users/ada", None),
]
WITHOUT_TOKEN = {"GET /config", "GET /health"}
ADMIN, PUBLISH = "presence:admin", "presence:publish"
OFFLINE = {"status": "offline", "isOnline": False, "lastSeen": None, "version": 0}

routes = pytest.mark.parametrize(("request_line", "body"), READS + PERSONAL)


def body_of(answer: Event, status: int = 200) -> Event:
    """The JSON body of an answer of the shape that payload format 2.0 wants."""
    assert answer["statusCode"] == status, answer
    assert answer.keys() <= {"statusCode", "headers", "cookies", "body", "isBase64Encoded"}
    assert answer["headers"]["Content-Type"] == "application/json"
    assert answer["isBase64Encoded"] is False
    body: Event = json.loads(answer["body"])
    return body


def nothing_in(answer: Event) -> bool:
    """Whether an answer is 204: nothing to say."""
    return answer["statusCode"] == 204 and not answer["body"] and "ETag" not in answer["headers"]


def code_of(answer: Event, status: int) -> str:
    """The code of an error, whose body is an error and nothing else."""
    error = body_of(answer, status)
    assert error.keys() == {"error"}
    assert error["error"].keys() == {"code", "message"}
    assert error["error"]["message"]
    return str(error["error"]["code"])


# ── tokens ─────────────────────────────────────────────────────────────────────────────────


def test_the_recorded_request_is_refused_because_its_token_has_expired(stack: Stack) -> None:
    answer = stack.invoke("http_api")

    assert code_of(answer, 401) == "token-expired"
    assert answer["headers"]["WWW-Authenticate"] == "Bearer"


def test_the_routes_here_are_those_of_the_resolver_and_of_the_template() -> None:
    resolved = {
        (route.method, re.sub(r"<(\w+)>", "{}", route.path))
        for route in http_api.resolver._static_routes + http_api.resolver._dynamic_routes
    }
    deployed = {
        (event["Properties"]["Method"], re.sub(r"{(\w+)}", "{}", event["Properties"]["Path"]))
        for event in FUNCTIONS["HttpFunction"]["Events"].values()
    }

    assert resolved == deployed
    assert len(resolved) == len(READS + PERSONAL) + len(WITHOUT_TOKEN)


@routes
def test_every_route_answers_a_good_token(stack: Stack, request_line: str, body: Any) -> None:
    token = stack.token("ada", scope=f"{ADMIN} {PUBLISH}")

    answer = stack.http(request_line, token=token, body=body)

    assert nothing_in(answer) if answer["statusCode"] == 204 else body_of(answer)


@routes
@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Basic YWRhOmFkYQ==", "TOKEN"],
    ids=["missing", "empty", "no-token", "blank-token", "basic", "no-scheme"],
)
def test_every_route_needs_a_token(
    stack: Stack, request_line: str, body: Any, authorization: str | None
) -> None:
    value = authorization and authorization.replace("TOKEN", stack.token("ada"))
    headers = {} if value is None else {"authorization": value}

    answer = stack.http(request_line, body=body, headers=headers)

    assert code_of(answer, 401) == "not-authenticated"
    assert answer["headers"]["WWW-Authenticate"] == "Bearer"
    assert stack.image("ada") is None


@routes
def test_every_route_refuses_a_forged_token(stack: Stack, request_line: str, body: Any) -> None:
    head, claims, _ = stack.token("ada").split(".")
    *_, signature = stack.token("eve").split(".")

    answer = stack.http(request_line, token=f"{head}.{claims}.{signature}", body=body)

    assert code_of(answer, 401) == "token-invalid"
    assert stack.image("ada") is None


def test_the_name_of_the_scheme_is_of_any_case(stack: Stack) -> None:
    answer = stack.http("GET /ada", headers={"authorization": f"bearer {stack.token('ada')}"})

    assert answer["statusCode"] == 200


@pytest.mark.parametrize(("request_line", "body"), READS)
def test_public_reads_need_no_token(stack: Stack, request_line: str, body: Any) -> None:
    stack.configure(PUBLIC_READS="true")

    answer = stack.http(request_line, body=body)

    assert answer["statusCode"] == 200


@pytest.mark.parametrize(("request_line", "body"), PERSONAL)
def test_public_reads_do_not_allow_writes(stack: Stack, request_line: str, body: Any) -> None:
    stack.configure(PUBLIC_READS="true")

    answer = stack.http(request_line, body=body)

    assert code_of(answer, 401) == "not-authenticated"


def test_the_configuration_needs_no_token(stack: Stack) -> None:
    answer = stack.http("GET /config")

    assert body_of(answer) == {
        "webSocketUrl": ENVIRONMENT["WEBSOCKET_URL"],
        "heartbeatSeconds": 30,
        "backgroundHeartbeatSeconds": 540,
        "leaseSeconds": 75,
        "maxConnectionSeconds": 7200,
        "protocol": 1,
        "globalPresence": True,
    }


@pytest.mark.parametrize("value", ["true", "false"])
def test_the_configuration_says_whether_presence_is_global(stack: Stack, value: str) -> None:
    stack.configure(GLOBAL_PRESENCE=value)

    answer = stack.http("GET /config")

    assert body_of(answer)["globalPresence"] is (value == "true")


def test_health_needs_no_token_but_the_table(stack: Stack) -> None:
    well = stack.http("GET /health")
    with stack.throttled():
        ill = stack.http("GET /health")

    assert body_of(well) == {"status": "ok"}
    assert code_of(ill, 503) == "unavailable"


# ── one user ───────────────────────────────────────────────────────────────────────────────


def test_a_user_is_read_with_version_and_status_as_its_tag(stack: Stack) -> None:
    presence = stack.join("ada", TAB)["presence"]

    answer = stack.http("GET /ada", token=stack.token("eve"))

    assert body_of(answer) == presence
    assert answer["headers"]["ETag"] == f'"{presence["version"]}-online"'
    assert answer["headers"]["Cache-Control"] == "private, no-cache"


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("TAG", 304),
        ("W/TAG", 304),
        ('"1", TAG', 304),
        ("*", 304),
        ('"1"', 200),
        ("", 200),
        ("1748856600000", 200),
    ],
    ids=["exact", "weak", "one-of-many", "any", "other", "empty", "unquoted"],
)
def test_a_matching_etag_is_answered_without_a_body(
    stack: Stack, condition: str, status: int
) -> None:
    stack.join("ada", TAB)
    tag = stack.http("GET /ada", token=stack.token("eve"))["headers"]["ETag"]

    headers = {"if-none-match": condition.replace("TAG", tag)}
    answer = stack.http("GET /ada", token=stack.token("eve"), headers=headers)

    assert answer["statusCode"] == status
    assert answer["headers"]["ETag"] == tag
    assert bool(answer.get("body")) == (status == 200)


def test_a_new_version_is_sent_whole(stack: Stack) -> None:
    stack.join("ada", TAB)
    tag = stack.http("GET /ada", token=stack.token("eve"))["headers"]["ETag"]
    stack.send(TAB, {"action": "status", "status": "busy"})

    answer = stack.http("GET /ada", token=stack.token("eve"), headers={"if-none-match": tag})

    assert body_of(answer)["status"] == "busy"
    assert answer["headers"]["ETag"] != tag


@pytest.mark.parametrize(
    "user_id", ["ada@example.com", "a+b=c", "~ada.l_1-x", "auth0|5f7c", "x" * 128]
)
def test_an_id_in_the_path_arrives_as_it_is(stack: Stack, user_id: str) -> None:
    answer = stack.http(f"GET /{user_id}", token=stack.token("eve"))

    assert body_of(answer)["userId"] == user_id


@pytest.mark.parametrize(
    "user_id",
    ["a b", "%2e%2e", "a#online", "#online", "a%40b", "ада", "x" * 129, "a'b", "a\n", "a*b", "."],
    ids=ascii,
)
def test_an_invalid_id_reads_no_user(stack: Stack, user_id: str) -> None:
    answer = stack.http(f"GET /{user_id}", token=stack.token("eve"))

    assert answer["statusCode"] in (400, 404)
    assert code_of(answer, answer["statusCode"]) in ("invalid-message", "not-found")


# ── many users ─────────────────────────────────────────────────────────────────────────────


def test_a_batch_is_answered_in_the_order_asked(stack: Stack) -> None:
    presence = stack.join("ada", TAB)["presence"]
    asked = {"userIds": ["zoe", "ada", "bob", "ada"]}

    answer = stack.http("POST /batch", token=stack.token("eve"), body=asked)

    assert body_of(answer)["users"] == [
        {"userId": "zoe", **OFFLINE},
        presence,
        {"userId": "bob", **OFFLINE},
        presence,
    ]


@pytest.mark.parametrize("count", [1, 100])
def test_a_batch_holds_up_to_a_hundred_users(stack: Stack, count: int) -> None:
    asked = {"userIds": [f"{number:0>128}" for number in range(count)]}

    answer = stack.http("POST /batch", token=stack.token("eve"), body=asked)

    assert [user["userId"] for user in body_of(answer)["users"]] == asked["userIds"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(None, id="no-body"),
        pytest.param("", id="empty"),
        pytest.param("{", id="cut-off"),
        pytest.param("[]", id="list"),
        pytest.param("null", id="null"),
        pytest.param({}, id="no-field"),
        pytest.param({"userIds": []}, id="none"),
        pytest.param({"userIds": ["x"] * 101}, id="too-many"),
        pytest.param({"userIds": "ada"}, id="text"),
        pytest.param({"userIds": {"ada": 1}}, id="object"),
        pytest.param({"userIds": [1]}, id="number"),
        pytest.param({"userIds": ["a b"]}, id="no-id"),
        pytest.param('{"userIds":["ada"],"userIds":["eve"]}', id="field-twice"),
        pytest.param('{"userIds":["ada"],"x":NaN}', id="nan"),
    ],
)
def test_a_malformed_batch_is_refused(stack: Stack, body: Any) -> None:
    answer = stack.http("POST /batch", token=stack.token("eve"), body=body)

    assert code_of(answer, 400) == "invalid-message"


def test_a_body_that_is_too_large_is_refused_unread(stack: Stack) -> None:
    body = {"userIds": ["ada"], "pad": "x" * 32 * 1024}

    answer = stack.http("POST /batch", token=stack.token("eve"), body=body)

    assert code_of(answer, 413) == "payload-too-large"


def test_a_body_in_base64_is_decoded(stack: Stack) -> None:
    body = base64.b64encode(b'{"userIds":["ada"]}').decode()

    token = stack.token("eve")
    answer = stack.http("POST /batch", token=token, body=body, isBase64Encoded=True)

    assert body_of(answer)["users"] == [{"userId": "ada", **OFFLINE}]


def test_bytes_that_are_no_text_are_the_callers_mistake(stack: Stack) -> None:
    body = base64.b64encode(b"\xff\xfe{}").decode()

    token = stack.token("eve")
    answer = stack.http("POST /batch", token=token, body=body, isBase64Encoded=True)

    assert code_of(answer, 400) == "invalid-message"


# ── who is online ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("limit", ["1", "100", "007"])
def test_a_limit_is_a_number_from_1_to_100(stack: Stack, limit: str) -> None:
    answer = stack.http("GET /online", token=stack.token("eve"), query={"limit": limit})

    assert body_of(answer) == {"users": [], "cursor": None, "onlineCount": 0}


@pytest.mark.parametrize(
    "limit",
    [
        "0",
        "101",
        "-1",
        "+1",
        "1.5",
        "1e1",
        "",
        " 1",
        "1,2",
        "true",
        "null",
        "\u0661",
        "²",
        "9" * 5000,
    ],
    ids=lambda limit: ascii(limit[:8]),
)
def test_any_other_limit_is_refused(stack: Stack, limit: str) -> None:
    answer = stack.http("GET /online", token=stack.token("eve"), query={"limit": limit})

    assert code_of(answer, 400) == "invalid-message"


@pytest.mark.parametrize(
    "cursor",
    ["", "!", "abc", "MDphZGE=", "OTk6YWRh", "LTE6YWRh", "MDo", "YWRh", "ä", "x" * 257, "a,b"],
    ids=lambda cursor: ascii(cursor[:8]),
)
def test_a_cursor_that_no_page_has_given_is_refused(stack: Stack, cursor: str) -> None:
    answer = stack.http("GET /online", token=stack.token("eve"), query={"cursor": cursor})

    assert code_of(answer, 400) == "invalid-message"


# ── the caller's own status ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["", "/"], ids=["without-slash", "with-slash"])
def test_a_status_is_chosen_without_a_socket(stack: Stack, path: str) -> None:
    stack.join("ada", TAB)
    until = START + 60_000
    body = {"status": "dnd", "text": "flying ✈", "until": until, "userId": "eve"}

    answer = stack.http(f"PUT {path}", token=stack.token("ada"), body=body)

    image = stack.image("ada") or {}
    assert body_of(answer) == {
        "userId": "ada",
        "status": "dnd",
        "isOnline": True,
        "lastSeen": START,
        "version": START + 2,
        "text": "flying ✈",
        "until": until,
    }
    assert (image["changed"], image["until"]) == ({"BOOL": True}, {"N": str(until)})
    assert stack.image("eve") is None
    assert stack.timers()[-1] == ({"check": "user", "userId": "ada"}, 60)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("", id="empty"),
        pytest.param({}, id="no-status"),
        pytest.param({"status": "offline"}, id="no-choice"),
        pytest.param({"status": ["busy"]}, id="list"),
        pytest.param({"status": "busy", "text": "x" * 141}, id="long-text"),
        pytest.param({"status": "busy", "until": START}, id="until-now"),
        pytest.param({"status": "busy", "until": "tomorrow"}, id="until-text"),
    ],
)
def test_a_status_that_is_none_changes_nothing(stack: Stack, body: Any) -> None:
    answer = stack.http("PUT /", token=stack.token("ada"), body=body)

    assert code_of(answer, 400) == "invalid-message"
    assert stack.image("ada") is None


def test_last_seen_marks_only_the_caller(stack: Stack) -> None:
    stack.wait(5_000)

    answer = stack.http("PUT /last-seen", token=stack.token("ada"), body={"userId": "eve"})

    seen = body_of(stack.http("GET /ada", token=stack.token("eve")))
    assert body_of(answer) == {"userId": "ada", "lastSeen": START + 5_000}
    assert (seen["isOnline"], seen["lastSeen"]) == (False, START + 5_000)
    assert stack.image("eve") is None


# ── what is not there, and what goes wrong ─────────────────────────────────────────────────


@pytest.mark.parametrize(
    "request_line",
    [
        "GET ",
        "GET /",
        "POST /",
        "GET /ada/",
        "GET /ada/connections",
        "GET /online/",
        "GET /../config",
        "POST /online",
        "PATCH /ada",
        "PUT /ada",
        "OPTIONS /ada",
        "POST /ada/connections",
        "PUT /ada/connections",
        "DELETE /",
        "DELETE ",
        "DELETE /users/ada/",
        "DELETE /users/ada/connections/",
        "DELETE /users/ada/connections/all",
        "DELETE /ada",
        "DELETE /ada/connections",
        "GET /users/ada/blocked",
        "PUT /users/ada",
        "POST /blocked/eve",
        "PUT /blocked",
        "PUT /blocked/",
        "PUT /blocked/eve/",
        "GET /blocked/eve/mallory",
        "GET /chat-sessions/room",
        "GET /chat-sessions//members",
        "GET /chat-sessions/room/members/",
        "GET /chat-sessions/room/messages",
        "POST /chat-sessions/room/members",
        "DELETE /chat-sessions/room/messages",
        "GET /ONLINE/COUNT",
    ],
)
def test_a_route_that_is_none_is_not_found_in_json(stack: Stack, request_line: str) -> None:
    token = stack.token("ada", scope=f"{ADMIN} {PUBLISH}")

    answer = stack.http(request_line, token=token)

    assert code_of(answer, 404) == "not-found"


#: Every first segment of a route, and a few more that a path could be mistaken for.
CALLED_LIKE_ROUTES = [
    *("users", "online", "count", "config", "health", "blocked", "batch", "last-seen"),
    *("chat-sessions", "members", "messages", "connections", "...", "!ada", "auth0|5f7c"),
    *("team:42:ada", "f:1-2:ada", "messaging:general", "[a]{b}^|~$&(),;=@+", "~", "x" * 128),
]


@pytest.mark.fault("A user is called like a route.")
@pytest.mark.parametrize("user_id", CALLED_LIKE_ROUTES)
def test_a_user_of_any_name_is_read_closed_and_erased(stack: Stack, user_id: str) -> None:
    stack.join(user_id, "c-1")
    admin = stack.token("root", scope=ADMIN)

    seen = body_of(stack.http(f"GET /users/{user_id}", token=admin))
    closed = stack.http(f"DELETE /users/{user_id}/connections", token=admin)
    after = body_of(stack.http(f"GET /users/{user_id}", token=admin))
    erased = stack.http(f"DELETE /users/{user_id}", token=admin)

    assert (seen["userId"], seen["isOnline"], after["isOnline"]) == (user_id, True, False)
    assert (closed["statusCode"], erased["statusCode"]) == (204, 204)
    assert stack.image(user_id) is None


@pytest.mark.parametrize("user_id", CALLED_LIKE_ROUTES)
def test_a_user_of_any_name_is_blocked_and_unblocked(stack: Stack, user_id: str) -> None:
    ada = stack.token("ada")

    stack.http(f"PUT /blocked/{user_id}", token=ada)
    blocked = body_of(stack.http("GET /blocked", token=ada))
    stack.http(f"DELETE /blocked/{user_id}", token=ada)

    assert blocked == {"userIds": [user_id]}
    assert body_of(stack.http("GET /blocked", token=ada)) == {"userIds": []}


def test_a_request_that_might_mean_two_deeds_does_neither(stack: Stack) -> None:
    admin = stack.token("root", scope=ADMIN)
    stack.join("blocked", "c-1")
    stack.http("PUT /blocked/connections", token=admin)

    answer = stack.http("DELETE /blocked/connections", token=admin)

    assert code_of(answer, 409) == "conflict"
    assert "/users/blocked/connections" in answer["body"]
    assert body_of(stack.http("GET /blocked", token=admin)) == {"userIds": ["connections"]}
    assert body_of(stack.http("GET /users/blocked", token=admin))["isOnline"]


@pytest.mark.parametrize(
    ("route", "path"),
    [
        ("DELETE /api/user-status/users/{userId}", "/users/ada/connections"),
        ("DELETE /api/user-status/blocked/{userId}", "/blocked/ada/"),
        ("GET /api/user-status/{userId}", "/online/count"),
    ],
)
def test_an_encoded_slash_leads_to_no_other_route(stack: Stack, route: str, path: str) -> None:
    """API Gateway has chosen the route by the path as it came, and hands it on decoded."""
    admin = stack.token("root", scope=ADMIN)
    request = f"{route.partition(' ')[0]} {path}"

    assert code_of(stack.http(request, token=admin, routeKey=route), 404) == "not-found"


@routes
def test_a_throttled_table_makes_the_caller_come_back(
    stack: Stack, request_line: str, body: Any
) -> None:
    token = stack.token("ada", scope=f"{ADMIN} {PUBLISH}")

    with stack.throttled():
        answer = stack.http(request_line, token=token, body=body)

    assert code_of(answer, 503) == "unavailable"
    assert answer["headers"]["Retry-After"] == "2"
    assert "Throughput" not in answer["body"]
    assert "Users" not in answer["body"]


def test_the_unexpected_is_internal_and_names_nothing(stack: Stack) -> None:
    stack.secret = "too-short"

    answer = stack.http("GET /ada", token=stack.token("ada"))

    assert code_of(answer, 500) == "internal"
    assert "secret" not in answer["body"]
    assert "ValueError" in stack.log.getvalue()


def test_a_stage_in_the_path_is_no_part_of_the_route(stack: Stack) -> None:
    event = recorded("http_api")
    event["rawPath"] = "/live/api/user-status/config"
    event["requestContext"]["stage"] = "live"

    answer = stack.invoke("http_api", event)

    assert body_of(answer)["protocol"] == 1
