"""Recorded events and whole conversations through the handlers of the WebSocket API."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from presence.domain.connection import State
from presence.domain.requests import ALIASES
from presence.domain.user import Status
from tests.functions.conftest import (
    EVENTS,
    ORIGIN,
    PHONE,
    ROUTES,
    SECRET,
    START,
    TAB,
    Event,
    Stack,
    change,
    frame_of,
    recorded,
)

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
ACTIONS = [route for route in ROUTES if route != "$default"]


def texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts(item)


# ── the recorded events ────────────────────────────────────────────────────────────────────


def test_every_function_has_a_recorded_event_and_every_event_a_function() -> None:
    functions = {path.stem for path in FUNCTIONS.glob("*.py")} - {"__init__"}

    events = {path.stem for path in EVENTS.glob("*.json")}

    assert events == functions


@pytest.mark.parametrize("name", sorted(path.stem for path in EVENTS.glob("*.json")))
def test_a_recorded_event_holds_no_live_token_and_no_account(name: str) -> None:
    everything = "\n".join(texts(recorded(name)))

    tokens = re.findall(r"eyJ[\w-]+\.[\w-]+\.[\w-]*", everything)
    accounts = set(re.findall(r"(?<!\d)\d{12}(?!\d)", everything))

    assert all(jwt.decode_complete(it, options={"verify_signature": False}) for it in tokens)
    assert all(_expires_at(it) < START // 1000 for it in tokens)
    assert accounts <= {"123456789012"}


def _expires_at(token: str) -> int:
    return int(jwt.decode(token, options={"verify_signature": False})["exp"])


def test_on_connect_opens_a_gate_and_asks_for_a_second_look(stack: Stack) -> None:
    answer = stack.invoke("on_connect")

    gate = stack.gate(TAB)
    assert answer == {"statusCode": 200}
    assert gate is not None
    assert (gate.state, gate.opened_at) == (State.OPEN, START)
    assert gate.endpoint == "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/live"
    assert stack.timers() == [({"check": "connection", "connectionId": TAB}, 10)]


def test_on_authenticate_refuses_the_expired_sample(stack: Stack) -> None:
    stack.invoke("on_connect")

    frame = frame_of(stack.invoke("on_authenticate"))

    gate = stack.gate(TAB)
    assert frame == {
        "type": "authentication-error",
        "id": "1",
        "code": "token-expired",
        "message": frame["message"],
    }
    assert gate is not None
    assert gate.state is State.OPEN
    assert stack.image("ada") is None


def test_on_ping_renews_the_lease_and_unmarks_the_record(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.wait(30_000)

    frame = frame_of(stack.invoke("on_ping"))

    image = stack.image("ada") or {}
    assert frame == {
        "type": "pong",
        "id": "2",
        "serverTime": START + 30_000,
        "heartbeatSeconds": 30,
    }
    assert stack.user("ada").leases[TAB].expires_at == START + 30_000 + 75_000
    assert "changed" not in image


def test_on_status_stores_the_choice_for_the_stream(stack: Stack) -> None:
    stack.join("ada", TAB)

    frame = frame_of(stack.invoke("on_status"))

    user, image = stack.user("ada"), stack.image("ada") or {}
    assert frame == {"type": "ack", "id": "3"}
    assert (user.status, user.text) == (Status.BUSY, "in a review")
    assert image["changed"] == {"BOOL": True}


@pytest.mark.parametrize(("name", "id"), [("on_online", "4"), ("on_default", "5")])
def test_the_recorded_questions_are_answered_with_who_is_online(
    stack: Stack,
    name: str,
    id: str,  # noqa: A002
) -> None:
    presence = stack.join("ada", TAB)["presence"]

    frame = frame_of(stack.invoke(name))

    assert frame == {
        "type": "online-users-list",
        "id": id,
        "users": [presence],
        "cursor": None,
        "onlineCount": 1,
    }


def test_on_disconnect_closes_the_gate_and_starts_the_grace_period(stack: Stack) -> None:
    stack.join("ada", TAB)

    answer = stack.invoke("on_disconnect")

    gate, user = stack.gate(TAB), stack.user("ada")
    assert answer == {"statusCode": 200}
    assert gate is not None
    assert gate.state is State.CLOSED
    assert stack.listeners() == set()
    assert (user.leases, user.grace_until, user.status) == ({}, START + 10_000, Status.ONLINE)
    assert stack.timers()[-1] == ({"check": "user", "userId": "ada"}, 10)


def test_announce_tells_everybody_the_last_of_the_recorded_changes(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.join("grace", PHONE)

    answer = stack.invoke("announce")

    heard = {name: [json.loads(it) for it in it] for name, it in stack.gateway.heard.items()}
    frame = {
        "type": "user-status-change",
        "changes": [
            {
                "userId": "ada",
                "status": "busy",
                "isOnline": True,
                "lastSeen": START + 120,
                "version": START + 41_250,
                "text": "in a review",
            }
        ],
    }
    assert answer == {"batchItemFailures": []}
    assert heard == {TAB: [frame], PHONE: [frame]}


def test_the_recorded_images_are_what_the_adapters_write(stack: Stack) -> None:
    first, second = (record["dynamodb"] for record in recorded("announce")["Records"])

    stack.invoke("on_connect")
    stack.wait(120)
    token = stack.token("ada")
    stack.send(TAB, {"action": "authenticate", "token": token, "device": "laptop"})
    arrived = stack.image("ada")
    stack.wait(29_880)
    stack.invoke("on_ping")
    pinged = stack.image("ada")
    stack.wait(11_250)
    stack.invoke("on_status")
    chosen = stack.image("ada")

    assert (None, arrived) == (first.get("OldImage"), first["NewImage"])
    # The action renews the lease first, as a ping would; then the choice is written.
    assert pinged is not None
    assert chosen is not None
    renewed = {**pinged, "leases": chosen["leases"]}
    assert (renewed, chosen) == (second["OldImage"], second["NewImage"])


def test_settle_hangs_up_on_whoever_did_not_authenticate(stack: Stack) -> None:
    stack.invoke("on_connect")
    stack.wait(10_000)

    answer = stack.invoke("settle")

    gate = stack.gate(TAB)
    assert answer == {"batchItemFailures": []}
    assert gate is not None
    assert gate.state is State.CLOSED
    assert stack.gateway.closed == [TAB]
    assert [json.loads(it) for it in stack.gateway.heard[TAB]] == [
        {"type": "closing", "reason": "authentication-timeout"}
    ]


def test_sweep_finds_the_silent_and_counts_the_others(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.wait(60_000)
    stack.join("grace", PHONE)
    stack.wait(30_000)

    answer = stack.invoke("sweep")

    count = json.loads(stack.http("GET /online/count", token=stack.token("eve"))["body"])
    image = stack.image("ada") or {}
    assert answer == {}
    assert stack.user("ada").status is Status.OFFLINE
    assert image["changed"] == {"BOOL": True}
    assert count == {"count": 1, "asOf": stack.clock.now}
    assert stack.log_lines()[-2]["online"] == 1


# ── $connect ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Origin": ORIGIN}, 200, id="exact"),
        pytest.param({"Origin": "http://localhost:4000"}, 200, id="the-second-one"),
        pytest.param({}, 200, id="none-so-no-browser"),
        pytest.param({"Origin": f"{ORIGIN}:8443"}, 403, id="other-port"),
        pytest.param({"Origin": "http://app.example.com"}, 403, id="other-scheme"),
        pytest.param({"Origin": f"{ORIGIN}.evil.test"}, 403, id="prefix"),
        pytest.param({"Origin": "https://evil-app.example.com"}, 403, id="suffix"),
        pytest.param({"Origin": "https://app.example.com@evil.test"}, 403, id="user-info"),
        pytest.param({"Origin": "https://APP.example.com"}, 403, id="other-case"),
        pytest.param({"Origin": f"{ORIGIN}/"}, 403, id="trailing-slash"),
        pytest.param({"Origin": f"{ORIGIN}, http://localhost:4000"}, 403, id="the-whole-list"),
        pytest.param({"Origin": "null"}, 403, id="null"),
        pytest.param({"Origin": ""}, 403, id="empty"),
        pytest.param({"origin": "https://evil.test"}, 403, id="lower-case-header"),
        pytest.param({"ORIGIN": ORIGIN}, 200, id="upper-case-header"),
    ],
)
def test_a_page_connects_only_from_an_allowed_origin(
    stack: Stack, headers: dict[str, str], status: int
) -> None:
    answer = stack.connect(TAB, headers=headers)

    assert answer == {"statusCode": status}
    assert (stack.gate(TAB) is not None, len(stack.timers())) == (status == 200, status == 200)


def test_any_origin_may_be_allowed(stack: Stack) -> None:
    stack.configure(ALLOWED_ORIGINS="*")

    answer = stack.connect(TAB, headers={"Origin": "null"})

    assert answer == {"statusCode": 200}


def test_a_token_in_the_url_is_refused(stack: Stack) -> None:
    answer = stack.connect(TAB, query=f"token={stack.token('ada')}")

    assert answer == {"statusCode": 400}
    assert stack.gate(TAB) is None


def test_other_query_strings_are_nobodys_business(stack: Stack) -> None:
    answer = stack.connect(TAB, query="v=1")

    assert answer == {"statusCode": 200}


# ── a conversation ─────────────────────────────────────────────────────────────────────────


def test_authenticate_is_answered_with_everything_a_client_needs(stack: Stack) -> None:
    stack.connect(TAB)
    stack.wait(500)
    token = stack.token("ada", exp=START // 1000 + 1800)

    frame = frame_of(stack.send(TAB, {"action": "authenticate", "id": "a", "token": token}))

    assert frame == {
        "type": "authentication-success",
        "id": "a",
        "userId": "ada",
        "connectionId": TAB,
        "onlineCount": 1,
        "heartbeatSeconds": 30,
        "leaseSeconds": 75,
        "tokenExpiresAt": START + 1_800_000,
        "connectionExpiresAt": START + 7_200_000,
        "serverTime": START + 500,
        "presence": {
            "userId": "ada",
            "status": "online",
            "isOnline": True,
            "lastSeen": START + 500,
            "version": START + 500,
        },
    }
    assert stack.listeners() == {TAB}


@pytest.mark.parametrize(
    "frame",
    [
        {"action": "ping"},
        {"action": "ping", "active": True},
        {"action": "ping", "active": False},
        {"action": "status", "status": "dnd"},
    ],
    ids=["ping", "ping-active", "ping-idle", "status"],
)
def test_without_an_id_there_is_no_frame_to_send(stack: Stack, frame: Event) -> None:
    stack.join("ada", TAB)

    answer = stack.send(TAB, frame)

    assert answer == {"statusCode": 200}


def test_a_ping_with_an_id_is_answered(stack: Stack) -> None:
    stack.join("ada", TAB)

    frame = frame_of(stack.send(TAB, {"action": "ping", "id": "p-1"}))

    assert frame == {"type": "pong", "id": "p-1", "serverTime": START, "heartbeatSeconds": 30}


@pytest.mark.parametrize(("alias", "action"), ALIASES.items())
def test_an_alias_is_answered_like_its_action(stack: Stack, alias: str, action: str) -> None:
    stack.join("ada", TAB)

    answers = [stack.send(TAB, {"action": name, "id": "1"}) for name in (alias, action)]

    assert answers[0] == answers[1]
    assert frame_of(answers[0])["type"] == "online-users-list"


@pytest.mark.parametrize("action", ACTIONS)
def test_the_default_route_serves_every_action(stack: Stack, action: str) -> None:
    stack.join("ada", TAB)
    frame = {"action": action, "id": "1", "token": stack.token("ada"), "status": "away"}

    answer = frame_of(stack.send(TAB, frame, route="$default"))

    assert "error" not in answer["type"]
    assert answer["id"] == "1"


@pytest.mark.parametrize("action", sorted(set(ACTIONS) - {"authenticate"}))
def test_before_authenticate_nothing_else_is_served(stack: Stack, action: str) -> None:
    stack.connect(TAB)

    frame = frame_of(stack.send(TAB, {"action": action, "status": "busy"}))

    assert (frame["type"], frame["code"]) == ("error", "not-authenticated")
    assert stack.image("ada") is None


def test_a_token_of_another_user_is_refused_on_a_claimed_connection(stack: Stack) -> None:
    stack.join("ada", TAB)

    frame = frame_of(stack.send(TAB, {"action": "authenticate", "token": stack.token("eve")}))

    gate = stack.gate(TAB)
    assert (frame["type"], frame["code"]) == ("authentication-error", "forbidden")
    assert gate is not None
    assert gate.user_id == "ada"
    assert stack.image("eve") is None


def test_a_body_never_says_who_somebody_is(stack: Stack) -> None:
    stack.connect(TAB)
    body = {"action": "authenticate", "token": stack.token("eve"), "userId": "ada", "id": "1"}

    frame = frame_of(stack.send(TAB, body))

    assert (frame["type"], frame["code"], frame["id"]) == ("authentication-error", "forbidden", "1")
    assert stack.image("ada") is None
    assert stack.image("eve") is None


# ── refusals ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("route", ACTIONS)
def test_a_frame_is_served_only_by_the_route_that_it_names(
    stack: Stack, route: str, action: str
) -> None:
    stack.join("ada", TAB)
    frame = {"action": action, "id": "1", "token": stack.token("ada"), "status": "away"}

    answer = frame_of(stack.send(TAB, frame, route=route))

    assert answer.get("code") == (None if route == action else "invalid-message")


@pytest.mark.parametrize(
    "text",
    [
        '{"action":"ping","action":"authenticate","token":"TOKEN"}',
        '{"action":"authenticate","action":"ping","token":"TOKEN"}',
        '{"action":"ping","\\u0061ction":"authenticate","token":"TOKEN"}',
        '{"action":["authenticate"],"token":"TOKEN"}',
        '{"action":{"authenticate":1},"token":"TOKEN"}',
        '{"Action":"authenticate","token":"TOKEN"}',
    ],
    ids=["last", "first", "escaped", "list", "object", "other-case"],
)
@pytest.mark.parametrize("route", ["authenticate", "ping", "$default"])
def test_an_ambiguous_action_authenticates_nobody(stack: Stack, route: str, text: str) -> None:
    stack.connect(TAB)

    frame = frame_of(stack.send(TAB, text.replace("TOKEN", stack.token("ada")), route=route))

    assert (frame["type"], frame["code"]) == ("error", "invalid-message")
    assert stack.image("ada") is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            {"action": "status", "id": "7", "status": "sad"},
            {"type": "error", "id": "7", "action": "status", "code": "invalid-message"},
            id="a-field",
        ),
        pytest.param(
            {"action": "dance", "id": "7"},
            {"type": "error", "id": "7", "action": "dance", "code": "unknown-action"},
            id="an-unknown-action",
        ),
        pytest.param(
            {"id": "7"}, {"type": "error", "id": "7", "code": "invalid-message"}, id="no-action"
        ),
        pytest.param(
            {"action": "ping", "id": 7},
            {"type": "error", "action": "ping", "code": "invalid-message"},
            id="an-id-that-is-none",
        ),
        pytest.param(
            {"action": "dance\n", "id": "7\n"},
            {"type": "error", "code": "invalid-message"},
            id="nothing-fit-to-repeat",
        ),
        pytest.param(
            {"action": "authenticate", "id": "7", "token": "x.y.z"},
            {"type": "authentication-error", "id": "7", "code": "token-invalid"},
            id="authentication",
        ),
        pytest.param("", {"type": "error", "code": "invalid-message"}, id="empty"),
        pytest.param("hello", {"type": "error", "code": "invalid-message"}, id="no-json"),
        pytest.param("[]", {"type": "error", "code": "invalid-message"}, id="no-object"),
        pytest.param(
            {"action": "ping", "id": "7", "pad": "x" * 8192},
            {"type": "error", "code": "payload-too-large"},
            id="too-large",
        ),
    ],
)
def test_a_refusal_repeats_the_id_and_the_action_if_they_are_ones(
    stack: Stack, body: Any, expected: Event
) -> None:
    stack.join("ada", TAB)

    frame = frame_of(stack.send(TAB, body))

    assert frame == {**expected, "message": frame["message"]}
    assert frame["message"]


def test_a_flood_is_told_when_to_come_back(stack: Stack) -> None:
    stack.join("ada", TAB)

    frames = [frame_of(stack.send(TAB, {"action": "online"})) for _ in range(21)]

    assert [frame["type"] for frame in frames] == ["online-users-list"] * 20 + ["error"]
    assert (frames[-1]["code"], frames[-1]["retryAfterSeconds"]) == ("rate-limited", 1)


def test_a_connection_ends_with_its_token(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.wait(3_600_000 + 30_000)

    frame = frame_of(stack.send(TAB, {"action": "ping", "id": "1"}))

    assert (frame["code"], frame["id"], frame["action"]) == ("token-expired", "1", "ping")


def test_a_closed_connection_stays_closed(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.disconnect(TAB)

    ping = frame_of(stack.send(TAB, {"action": "ping"}))
    again = frame_of(stack.send(TAB, {"action": "authenticate", "token": stack.token("ada")}))

    assert (ping["type"], ping["code"]) == ("error", "not-authenticated")
    assert (again["type"], again["code"]) == ("authentication-error", "forbidden")
    assert stack.user("ada").leases == {}


def test_the_unexpected_is_internal_and_names_nothing(stack: Stack) -> None:
    stack.connect(TAB)
    stack.set_secret("too-short")

    body = {"action": "authenticate", "id": "1", "token": stack.token("ada")}
    frame = frame_of(stack.send(TAB, body))

    logged = stack.log.getvalue()
    assert frame == {
        "type": "authentication-error",
        "id": "1",
        "code": "internal",
        "message": frame["message"],
    }
    assert not re.search(r"secret|Error|bytes|/|\.py|presence", frame["message"])
    assert "ValueError" in logged
    assert "too-short" not in logged


@pytest.mark.parametrize("action", ACTIONS)
def test_a_throttled_table_makes_the_client_come_back(stack: Stack, action: str) -> None:
    stack.join("ada", TAB)
    body = {"action": action, "id": "1", "token": stack.token("ada"), "status": "busy"}

    with stack.throttled():
        frame = frame_of(stack.send(TAB, body))

    assert (frame["code"], frame["id"], frame["retryAfterSeconds"]) == ("unavailable", "1", 2)
    assert "Throughput" not in frame["message"]
    assert "Users" not in frame["message"]


# ── logs ───────────────────────────────────────────────────────────────────────────────────


def test_no_log_line_holds_a_token_a_body_or_a_query_string(stack: Stack) -> None:
    token, marker = stack.token("ada"), "only-for-my-eyes"
    stack.connect(PHONE, query=f"token={token}")
    stack.connect(PHONE, headers={"Origin": f"https://{marker}.test"}, query=f"{marker}=1")
    stack.connect(TAB, query=f"note={marker}")
    stack.send(TAB, {"action": "authenticate", "token": f"{token}{marker}", "note": marker})
    stack.send(TAB, {"action": "authenticate", "token": token, "note": marker})
    stack.send(TAB, {"action": "status", "status": "busy", "text": marker})
    stack.send(TAB, {"action": marker, "id": marker})
    stack.send(TAB, f"{marker} {token}")
    with stack.throttled():
        stack.send(TAB, {"action": "authenticate", "token": token, "note": marker})
    stack.http("GET /online", token=token, query={"limit": marker, "note": marker})
    stack.http("PUT /", token=token, body={"status": "busy", "text": marker})
    stack.http("PUT /", token=f"{token}x", body=f"{marker} {token}")
    stack.http("GET /online", headers={"authorization": f"Basic {marker}"})
    stack.invoke("settle", {"Records": [{"messageId": "1", "body": f"{marker} {token}"}]})
    stack.invoke("announce", {"Records": [change("ada", {"text": {"S": marker}}, None)]})
    stack.disconnect(TAB)

    logged = stack.log.getvalue()

    assert len(stack.log_lines()) >= 16
    assert "eyJ" not in logged
    assert SECRET not in logged
    assert marker not in logged


@pytest.mark.parametrize(
    "text", ["x\n{}", "\x1b[31mred", '","level":"FATAL', "\u2028next"], ids=ascii
)
def test_nobody_writes_log_lines_of_their_own(stack: Stack, text: str) -> None:
    stack.join("ada", TAB)
    stack.log.truncate(0)
    stack.log.seek(0)

    stack.send(TAB, {"action": text, "id": text})
    stack.send(TAB, {"action": "ping", "id": text})
    stack.connect(PHONE, headers={"Origin": text, "User-Agent": text})
    stack.http(f"GET /{text}", token=stack.token("ada"), headers={"user-agent": text})

    lines = stack.log_lines()
    assert len(lines) == 4
    assert {line["level"] for line in lines} == {"INFO"}
    assert "\x1b" not in stack.log.getvalue()


def test_every_invocation_leaves_one_line_that_says_where_and_how_long(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.send(TAB, {"action": "dance"})

    connect, authenticate, dance = stack.log_lines()

    assert {line["connection_id"] for line in (connect, authenticate, dance)} == {TAB}
    assert (authenticate["route"], authenticate["action"]) == ("authenticate", "authenticate")
    assert (dance["route"], dance["refused"]) == ("$default", "unknown-action")
    assert "refused" not in authenticate
    assert dance["milliseconds"] >= 0
