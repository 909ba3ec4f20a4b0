"""Recorded events and whole conversations through the handlers of the WebSocket API."""

import hashlib
import json
import re
import time
import zlib
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from botocore.exceptions import ClientError

from presence import limits
from presence.domain.connection import State
from presence.domain.user import Status
from presence.limits import REFUSALS_LOGGED
from presence.protocol import requests
from presence.protocol.requests import ALIASES, Alias
from tests.functions.conftest import (
    ACTIONS,
    DESK,
    EVENTS,
    FIELDS,
    FRAMES,
    ORIGIN,
    PHONE,
    ROOM,
    SECRET,
    START,
    TAB,
    WATCH,
    Event,
    Stack,
    change,
    frame_of,
    recorded,
)

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"


def texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts(item)


# ── the recorded events ────────────────────────────────────────────────────────────────────


RECORDED = sorted({path.stem for path in EVENTS.glob("*.json")} - {"frames"} | FRAMES.keys())
OF_SOCKETS = sorted({"connect", "disconnect"} | FRAMES.keys())


def test_every_action_and_every_function_beside_the_socket_has_a_recorded_event() -> None:
    functions = {path.stem for path in FUNCTIONS.glob("*.py")} - {"__init__", "websocket"}

    assert functions <= set(RECORDED)
    assert FRAMES.keys() >= ACTIONS
    assert requests.ACTIONS.keys() == ACTIONS


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_event_holds_no_live_token_and_no_account(name: str) -> None:
    everything = "\n".join(texts(recorded(name)))

    tokens = re.findall(r"eyJ[\w-]+\.[\w-]+\.[\w-]*", everything)
    accounts = set(re.findall(r"(?<!\d)\d{12}(?!\d)", everything))

    assert all(jwt.decode_complete(it, options={"verify_signature": False}) for it in tokens)
    assert all(_expires_at(it) < START // 1000 for it in tokens)
    assert accounts <= {"123456789012"}


def _expires_at(token: str) -> int:
    return int(jwt.decode(token, options={"verify_signature": False})["exp"])


@pytest.mark.parametrize("name", OF_SOCKETS)
def test_the_recorded_events_are_of_one_connection_in_the_shape_of_their_kind(name: str) -> None:
    event = recorded(name)
    context = event["requestContext"]
    kind = {"connect": "CONNECT", "disconnect": "DISCONNECT"}.get(name, "MESSAGE")

    assert (context["connectionId"], context["connectedAt"]) == (TAB, START)
    assert context["requestId"] == context["extendedRequestId"]
    assert (context["eventType"], context["messageDirection"]) == (kind, "IN")
    assert ("messageId" in context) == ("body" in event) == (kind == "MESSAGE")
    assert ("headers" in event) == (kind != "MESSAGE")
    assert event["isBase64Encoded"] is False


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_a_recorded_frame_has_the_fields_of_its_action(action: str) -> None:
    assert FRAMES[action]["action"] == action
    assert FIELDS[action].keys() <= FRAMES[action].keys()


@pytest.mark.parametrize("name", ["timers", "deliver"])
def test_recorded_messages_have_the_digest_of_their_body(name: str) -> None:
    for record in recorded(name)["Records"]:
        digest = hashlib.md5(record["body"].encode(), usedforsecurity=False).hexdigest()

        assert record["md5OfBody"] == digest


def test_on_connect_opens_a_record_and_sets_the_authentication_timer(stack: Stack) -> None:
    answer = stack.replay("connect")

    record = stack.connection(TAB)
    assert answer == {"statusCode": 200}
    assert record is not None
    assert (record.state, record.opened_at) == (State.OPEN, START)
    assert record.endpoint == "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/live"
    assert stack.timers() == [({"check": "connection", "connectionId": TAB}, 10)]


def test_on_authenticate_refuses_the_expired_sample(stack: Stack) -> None:
    stack.replay("connect")

    frame = frame_of(stack.replay("authenticate"))

    record = stack.connection(TAB)
    assert frame == {
        "type": "authentication-error",
        "id": "1",
        "code": "token-expired",
        "message": frame["message"],
    }
    assert record is not None
    assert record.state is State.OPEN
    assert stack.image("ada") is None


def test_on_ping_renews_the_lease_and_says_nothing(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.wait(30_000)

    answer = stack.replay("ping")

    assert answer == {"statusCode": 200}
    assert stack.gateway.heard == {}
    assert stack.user("ada").leases[TAB].expires_at == START + 30_000 + 75_000
    assert "changed" not in (stack.image("ada") or {})


def test_on_check_is_a_ping_that_is_answered(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.wait(30_000)

    frame = frame_of(stack.replay("check"))

    image = stack.image("ada") or {}
    assert frame == {
        "type": "pong",
        "id": "2",
        "serverTime": START + 30_000,
        "heartbeatSeconds": 30,
        "leaseSeconds": 75,
    }
    assert stack.user("ada").leases[TAB].expires_at == START + 30_000 + 75_000
    assert "changed" not in image


def test_on_status_stores_the_choice_for_the_stream(stack: Stack) -> None:
    stack.join("ada", TAB)

    frame = frame_of(stack.replay("status"))

    user, image = stack.user("ada"), stack.image("ada") or {}
    assert frame == {"type": "ack", "id": "3"}
    assert (user.status, user.text) == (Status.BUSY, "in a review")
    assert image["changed"] == {"BOOL": True}


def test_on_data_patches_what_is_known_and_all_are_told(stack: Stack) -> None:
    stack.connect(TAB)
    token = stack.token("ada")
    known = stack.ask(TAB, "authenticate", token=token, data={"mood": "fine", "name": "Ada"})
    stack.join("grace", PHONE)
    stack.stream()
    stack.heard(PHONE)
    stack.wait(1_000)

    frame = frame_of(stack.replay("data"))
    stack.stream()

    data = {"name": "Ada", "page": "/inbox"}
    (change,) = stack.heard(PHONE)[-1]["changes"]
    assert known["presence"]["data"] == {"mood": "fine", "name": "Ada"}
    assert frame == {"type": "ack", "id": "13"}
    assert (change["data"], change["status"]) == (data, "online")
    assert (stack.image("ada") or {})["changed"] == {"BOOL": True}


def test_a_status_brings_data_in_the_same_write(stack: Stack) -> None:
    stack.join("ada", TAB)
    before = stack.user("ada").revision

    stack.ask(TAB, "status", status="busy", data={"page": "/call"})

    user = stack.user("ada")
    assert (user.revision, user.status, user.data) == (before + 1, Status.BUSY, '{"page":"/call"}')


@pytest.mark.parametrize("action", ["authenticate", "status", "data"])
def test_data_beyond_their_limit_are_refused_and_change_nothing(stack: Stack, action: str) -> None:
    stack.join("ada", TAB)
    stack.ask(TAB, "data", data={"page": "/"}, patch=None)
    before = stack.user("ada")
    beyond = {"data": {"a": "x" * limits.MAX_DATA_BYTES}, "patch": None}

    frame = stack.reply(TAB, stack.fields(action) | beyond)

    assert (frame["code"], frame["id"]) == ("payload-too-large", "1")
    assert (stack.user("ada").data, stack.user("ada").status) == (before.data, before.status)


def test_a_patch_beyond_the_limit_is_refused(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.ask(TAB, "data", data={"a": "x" * 1_000}, patch=None)

    frame = stack.ask(TAB, "data", patch={"b": "x" * 100})

    assert (frame["code"], frame["action"]) == ("payload-too-large", "data")
    assert stack.user("ada").data == json.dumps({"a": "x" * 1_000}, separators=(",", ":"))


@pytest.mark.parametrize("rooms", [1, 3, 20])
def test_an_answer_with_full_data_fits_a_frame(stack: Stack, rooms: int) -> None:
    """However many members with full data are in the chat sessions that it names."""
    stack.connect(TAB)
    names = [f"{number:0>128}" for number in range(rooms)]
    data, token = {"a": "x" * 1_016}, stack.token("ada")
    for number in range(30):
        stack.join(f"{number:m>128}", f"c{number}")
        stack.ask(f"c{number}", "data", data=data, patch=None)
        stack.ask(f"c{number}", "join", chatSessionId=None, chatSessionIds=names)

    answer = stack.ask(TAB, "authenticate", token=token, data=data, chatSessionIds=names)

    assert answer["presence"]["data"] == data
    assert sum(len(it.get("members", [])) for it in answer["joined"]) >= 10
    size = len(json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode())
    assert size < limits.MAX_FRAME_BYTES


@pytest.mark.parametrize(("name", "id"), [("online", "4"), ("get-online-users", "5")])
def test_the_recorded_questions_are_answered_with_who_is_online(
    stack: Stack,
    name: str,
    id: str,  # noqa: A002
) -> None:
    presence = stack.join("ada", TAB)["presence"]

    frame = frame_of(stack.replay(name))

    assert frame == {
        "type": "online-users-list",
        "id": id,
        "users": [presence],
        "cursor": None,
        "onlineCount": 1,
    }


def test_on_join_is_answered_with_who_is_there(stack: Stack) -> None:
    presence = stack.join("ada", TAB)["presence"]

    frame = frame_of(stack.replay("join"))

    record, image = stack.connection(TAB), stack.image("ada") or {}
    assert frame == {
        "type": "chat-session-joined",
        "id": "6",
        "chatSessionId": ROOM,
        "members": [presence],
        "cursor": None,
        "memberCount": 1,
        "asOf": START,
    }
    assert record is not None
    assert record.sessions == {ROOM}
    assert image["changed"] == {"BOOL": True}


def test_on_typing_is_told_to_the_others_and_no_further(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.join("grace", PHONE)
    stack.enter(TAB)
    stack.enter(PHONE)
    stored = stack.image("ada")

    frame = frame_of(stack.replay("typing"))

    assert frame == {"type": "ack", "id": "7"}
    assert stack.gateway.heard.keys() == {PHONE}
    assert stack.heard(PHONE) == [
        {
            "type": "user-typing",
            "chatSessionId": ROOM,
            "userId": "ada",
            "typing": True,
            "expiresAt": START + 6_000,
        }
    ]
    assert stack.stream() == {"batchItemFailures": []}
    assert (stored or {}).get("version") == (stack.image("ada") or {}).get("version")


def test_on_message_is_answered_with_what_the_others_hear(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.join("grace", PHONE)
    stack.enter(TAB)
    stack.enter(PHONE)
    stack.wait(500)

    frame = frame_of(stack.replay("message"))

    told = {name: value for name, value in frame.items() if name != "id"}
    assert frame == {
        "type": "new-message",
        "id": "8",
        "chatSessionId": ROOM,
        "messageId": frame["messageId"],
        "senderId": "ada",
        "content": {"text": "Shall we begin?"},
        "sentAt": START + 500,
        "clientId": "m-1",
    }
    assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]{16}", frame["messageId"])
    assert stack.gateway.heard.keys() == {PHONE}
    assert stack.heard(PHONE) == [told]


def test_on_watch_and_on_unwatch_are_answered_with_the_presence_of_each_user(stack: Stack) -> None:
    stack.join("ada", TAB)
    presence = stack.join("grace", PHONE)["presence"]

    watching = frame_of(stack.replay("watch"))
    acknowledged = frame_of(stack.replay("unwatch"))

    unknown = {"status": "offline", "isOnline": False, "lastSeen": None, "version": 0}
    assert watching == {
        "type": "watching",
        "id": "9",
        "users": [presence, {"userId": "alan", **unknown}],
    }
    assert acknowledged == {"type": "ack", "id": "10"}
    assert (stack.watchers("grace"), stack.watchers("alan")) == ({TAB}, set())


def test_on_leave_undoes_on_join(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.replay("join")

    frame = frame_of(stack.replay("leave"))

    record = stack.connection(TAB)
    assert frame == {"type": "ack", "id": "11"}
    assert record is not None
    assert record.sessions == frozenset()
    assert stack.user("ada").sessions == frozenset()


def test_on_disconnect_closes_the_record_and_starts_the_grace_period(stack: Stack) -> None:
    stack.join("ada", TAB)

    answer = stack.replay("disconnect")

    record, user = stack.connection(TAB), stack.user("ada")
    assert answer == {"statusCode": 200}
    assert record is not None
    assert record.state is State.CLOSED
    assert stack.subscribers() == set()
    assert (user.leases, user.grace_until, user.status) == ({}, START + 10_000, Status.ONLINE)
    assert stack.timers()[-1] == ({"check": "user", "userId": "ada"}, 10)


def test_announce_sends_the_last_of_the_recorded_changes_to_all_subscribers(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.join("grace", PHONE)
    stack.enter(PHONE)

    answer = stack.invoke("announce")

    presence = {
        "userId": "ada",
        "status": "busy",
        "isOnline": True,
        "lastSeen": START + 120,
        "version": START + 41_250,
        "text": "in a review",
    }
    change = {"type": "user-status-change", "changes": [presence]}
    arrival = {
        "type": "chat-session-members",
        "chatSessionId": ROOM,
        "joined": [presence],
        "left": [],
        "memberCount": 1,  # ada is there in the recorded event only
        "asOf": stack.clock.now,
    }
    assert answer == {"batchItemFailures": []}
    assert stack.gateway.heard.keys() == {TAB, PHONE}
    assert stack.heard(TAB) == [change]
    assert stack.heard(PHONE) == [change, arrival]


def unpacked(value: Any) -> Any:
    """Binary values as what is packed in them; in records of a stream, they are in Base64."""
    match value:
        case {"B": packed}:
            found = b64decode(packed) if isinstance(packed, str) else packed
            return json.loads(zlib.decompress(found))
        case dict():
            return {name: unpacked(it) for name, it in value.items()}
        case _:
            return value


def test_the_recorded_images_are_what_the_adapters_write(stack: Stack) -> None:
    first, second, third = (
        unpacked(record["dynamodb"]) for record in recorded("announce")["Records"]
    )

    stack.replay("connect")
    stack.wait(120)
    token = stack.token("ada")
    stack.send(TAB, {"action": "authenticate", "token": token, "device": "laptop"})
    arrived = unpacked(stack.image("ada"))
    stack.wait(29_880)
    stack.replay("ping")
    pinged = unpacked(stack.image("ada"))
    stack.wait(11_250)
    stack.replay("status")
    chosen = unpacked(stack.image("ada"))
    stack.wait(2_750)
    stack.replay("join")
    joined = unpacked(stack.image("ada"))

    assert (None, arrived) == (first.get("OldImage"), first["NewImage"])
    # The action renews the lease first, and is charged; then the choice is written.
    fleeting = {"leases", "arrival", "changed"}
    renewed, chosen_before = ({**it, **dict.fromkeys(fleeting)} for it in (pinged, chosen))
    assert {**second["OldImage"], **dict.fromkeys(fleeting)} == renewed
    assert second["OldImage"]["leases"] == chosen["leases"]
    assert (second["NewImage"], third["NewImage"]) == (chosen, joined)
    assert {**third["OldImage"], **dict.fromkeys(fleeting)} == chosen_before
    assert third["OldImage"]["leases"] == joined["leases"]


def test_the_recorded_post_is_what_the_dispatcher_queues(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.join("grace", PHONE)
    stack.gateway.busy |= {TAB, PHONE}
    stack.invoke("announce", {"Records": recorded("announce")["Records"][:2]})

    ((body, _),) = stack.queued("deliveries")

    assert body == json.loads(recorded("deliver")["Records"][0]["body"])


def test_deliver_makes_the_post_that_had_to_wait(stack: Stack) -> None:
    answer = stack.invoke("deliver")

    (text,) = stack.gateway.heard[TAB]
    assert answer == {"batchItemFailures": []}
    assert stack.gateway.heard == {TAB: [text], PHONE: [text]}
    assert json.loads(text)["changes"][0]["userId"] == "ada"
    assert stack.queued("deliveries") == []


def test_the_recorded_timers_are_what_the_functions_set(stack: Stack) -> None:
    """Their words, if not their order."""
    bodies = [json.loads(record["body"]) for record in recorded("timers")["Records"]]
    stack.replay("connect")
    stack.join("ada", PHONE)
    stack.disconnect(PHONE)
    stack.join("grace", WATCH)
    stack.enter(WATCH)
    stack.wait(90_000)
    stack.invoke("sweep")
    stack.gateway.gone.add(DESK)
    stack.join("alan", DESK)
    stack.stream()

    words = {body["check"]: body.keys() for body, _ in stack.timers()}

    assert words == {body["check"]: body.keys() for body in bodies}


def test_the_timer_closes_an_unauthenticated_connection(stack: Stack) -> None:
    stack.replay("connect")
    stack.wait(10_000)

    answer = stack.invoke("timers")

    record = stack.connection(TAB)
    assert answer == {"batchItemFailures": []}
    assert record is not None
    assert record.state is State.CLOSED
    assert stack.gateway.closed == [TAB]
    assert stack.heard(TAB) == [{"type": "closing", "reason": "authentication-timeout"}]


def test_sweep_finds_the_silent_and_counts_the_others(stack: Stack) -> None:
    stack.log_everything()
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
    assert (stack.connection(TAB) is not None, len(stack.timers())) == (
        status == 200,
        status == 200,
    )


def test_any_origin_may_be_allowed(stack: Stack) -> None:
    stack.configure(ALLOWED_ORIGINS="*")

    answer = stack.connect(TAB, headers={"Origin": "null"})

    assert answer == {"statusCode": 200}


@pytest.mark.fault("`$connect` fails.")
def test_a_failed_handshake_leaves_no_record(stack: Stack) -> None:
    with stack.throttled(), pytest.raises(ClientError):
        stack.connect(TAB)  # API Gateway refuses the handshake of a function that fails

    assert stack.connection(TAB) is None
    assert stack.run_timers() == {"batchItemFailures": []}
    assert stack.gateway.closed == []


def test_a_token_in_the_url_is_refused(stack: Stack) -> None:
    answer = stack.connect(TAB, query=f"token={stack.token('ada')}")

    assert answer == {"statusCode": 400}
    assert stack.connection(TAB) is None


def test_unknown_query_parameters_are_ignored(stack: Stack) -> None:
    answer = stack.connect(TAB, query="v=1")

    assert answer == {"statusCode": 200}


# ── a conversation ─────────────────────────────────────────────────────────────────────────


def test_authenticate_is_answered_with_everything_a_client_needs(stack: Stack) -> None:
    stack.connect(TAB)
    stack.wait(500)
    token = stack.token("ada", exp=START // 1000 + 1800)

    frame = stack.reply(TAB, {"action": "authenticate", "id": "a", "token": token})

    assert frame == {
        "type": "authentication-success",
        "id": "a",
        "userId": "ada",
        "connectionId": TAB,
        "onlineCount": 1,
        "heartbeatSeconds": 30,
        "backgroundHeartbeatSeconds": 540,
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
        "chatSessions": [],
    }
    assert stack.subscribers() == {TAB}


@pytest.mark.parametrize(
    "frame",
    [
        {"action": "ping"},
        {"action": "ping", "active": True},
        {"action": "ping", "active": False},
        {"action": "status", "status": "dnd"},
        {"action": "typing", "chatSessionId": ROOM, "typing": True},
        {"action": "typing-stop", "chatSessionId": ROOM},
        {"action": "leave", "chatSessionId": ROOM},
        {"action": "leave-chat-session", "chatSessionId": "never.joined"},
        {"action": "unwatch", "userIds": ["grace"]},
    ],
    ids=lambda frame: "-".join(str(value) for value in frame.values()),
)
def test_without_an_id_there_is_no_frame_to_send(stack: Stack, frame: Event) -> None:
    stack.join("ada", TAB)
    stack.enter(TAB)

    answer = stack.send(TAB, frame)

    assert answer == {"statusCode": 200}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"userId": "grace"}, "forbidden"),
        ({"userId": "nobody"}, "forbidden"),
        ({"active": 1}, "invalid-message"),
    ],
)
def test_a_refused_ping_is_told_so_by_a_post(
    stack: Stack, fields: dict[str, Any], code: str
) -> None:
    stack.join("ada", TAB)
    stack.join("grace", PHONE)
    stack.wait(30_000)
    before = stack.everything()

    frame = stack.reply(TAB, {"action": "ping", **fields})

    assert (frame["type"], frame["action"], frame["code"]) == ("error", "ping", code)
    assert stack.user("grace").leases[PHONE].seen_at == START
    if code == "invalid-message":
        assert stack.everything() == before


def test_a_refusal_of_a_ping_that_cannot_be_posted_waits_in_the_queue(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.gateway.busy.add(TAB)

    answer = stack.send(TAB, {"action": "ping", "active": 1})

    assert answer == {"statusCode": 200}
    ((parcel, _),) = stack.queued("deliveries")
    assert parcel["posts"][0]["connectionIds"] == [TAB]


def test_a_ping_that_should_be_slower_is_told_so_by_a_post(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.wait(30_000)
    ping = {"action": "ping", "userId": "ada", "active": True, "heartbeatSeconds": 540}

    answer = stack.send(TAB, ping)

    assert answer == {"statusCode": 200}
    assert stack.heard(TAB) == [{"type": "heartbeat", "heartbeatSeconds": 30, "leaseSeconds": 75}]
    assert stack.user("ada").leases[TAB].expires_at == stack.clock.now + 810_000


def test_a_hidden_client_may_say_with_its_token_that_it_pings_rarely(stack: Stack) -> None:
    stack.connect(TAB)
    about = {"token": stack.token("ada", exp=stack.clock.now // 1000 + 3_600)}
    slow = {"active": False, "heartbeatSeconds": 540}

    frame = stack.reply(TAB, {"action": "authenticate", **about, **slow})

    assert (frame["heartbeatSeconds"], frame["backgroundHeartbeatSeconds"]) == (30, 540)
    assert frame["leaseSeconds"] == 810
    assert stack.user("ada").leases[TAB].expires_at == stack.clock.now + 810_000


def test_a_usual_ping_is_one_write_and_no_read(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.wait(30_000)
    called = list[str]()
    stack.tables.before = lambda operation, _request: called.append(operation)

    stack.send(TAB, {"action": "ping", "userId": "ada", "active": True})

    assert called == ["UpdateItem"]


def test_a_check_without_an_id_is_answered_too(stack: Stack) -> None:
    stack.join("ada", TAB)

    frame = stack.reply(TAB, {"action": "check"})

    assert frame == {
        "type": "pong",
        "serverTime": START,
        "heartbeatSeconds": 30,
        "leaseSeconds": 75,
    }


def test_a_ping_with_an_id_is_answered(stack: Stack) -> None:
    stack.join("ada", TAB)

    frame = stack.reply(TAB, {"action": "ping", "id": "p-1"})

    assert frame == {
        "type": "pong",
        "id": "p-1",
        "serverTime": START,
        "heartbeatSeconds": 30,
        "leaseSeconds": 75,
    }


#: What each action is answered when all is well.
ANSWERS = {
    "authenticate": "authentication-success",
    "ping": "pong",
    "check": "pong",
    "status": "ack",
    "data": "ack",
    "online": "online-users-list",
    "join": "chat-session-joined",
    "leave": "ack",
    "typing": "ack",
    "message": "new-message",
    "watch": "watching",
    "unwatch": "ack",
    "verify": "verified",
}


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_is_answered_with_its_frame(stack: Stack, action: str) -> None:
    stack.join("ada", TAB)
    stack.enter(TAB)

    answer = stack.reply(TAB, stack.fields(action))

    assert (answer["type"], answer["id"]) == (ANSWERS[action], "1")


@pytest.mark.parametrize(("name", "alias"), ALIASES.items())
def test_an_alias_is_answered_like_its_action(stack: Stack, name: str, alias: Alias) -> None:
    stack.join("ada", TAB)
    stack.enter(TAB)
    fields = {**FIELDS[alias.action], **alias.fields, "id": "1"}
    without = {field: value for field, value in fields.items() if field not in alias.fields}

    aliased = stack.send(TAB, {"action": name, **without})
    plain = stack.send(TAB, {"action": alias.action, **fields})

    assert aliased == plain
    assert frame_of(aliased)["type"] == ANSWERS[alias.action]


def test_a_refusal_repeats_the_alias_that_the_client_knows(stack: Stack) -> None:
    stack.join("ada", TAB)

    frame = stack.reply(TAB, {"action": "typing-start", "chatSessionId": ROOM})

    assert (frame["code"], frame["action"]) == ("forbidden", "typing-start")


@pytest.mark.parametrize("action", sorted(ACTIONS - {"authenticate"}))
def test_before_authenticate_nothing_else_is_served(stack: Stack, action: str) -> None:
    stack.connect(TAB)
    stored = stack.everything()

    frame = stack.reply(TAB, stack.fields(action))

    assert (frame["type"], frame["code"]) == ("error", "not-authenticated")
    assert stack.everything() == stored


def test_a_user_id_that_differs_from_the_token_is_refused(stack: Stack) -> None:
    stack.connect(TAB)
    body = {"action": "authenticate", "token": stack.token("eve"), "userId": "ada", "id": "1"}

    frame = stack.reply(TAB, body)

    assert (frame["type"], frame["code"], frame["id"]) == ("authentication-error", "forbidden", "1")
    assert stack.image("ada") is None
    assert stack.image("eve") is None


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_a_connection_id_in_a_frame_is_not_read(stack: Stack, action: str) -> None:
    stack.join("grace", "another")
    stack.enter("another")
    stack.join("ada", TAB)
    stack.enter(TAB)
    record, user = stack.connection("another"), stack.user("grace")
    names = {"connectionId": "another", "connection_id": "another"}

    answer = stack.reply(TAB, {**stack.fields(action), **names})

    assert answer["type"] == ANSWERS[action]
    assert (stack.connection("another"), stack.user("grace")) == (record, user)


# ── refusals ───────────────────────────────────────────────────────────────────────────────


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
def test_an_ambiguous_action_does_not_authenticate(stack: Stack, text: str) -> None:
    stack.connect(TAB)

    frame = stack.reply(TAB, text.replace("TOKEN", stack.token("ada")))

    assert (frame["type"], frame["code"]) == ("error", "invalid-message")
    assert stack.image("ada") is None


#: JSON that is refused as a whole, though its action and its id can be read.
NOT_STRICT = {
    "an-integer-of-64-bits": '"content":{"orderId":1152921504606846976}',
    "thousands-of-digits": f'"content":{"9" * 5000}',
    "no-number": '"content":NaN',
    "beyond-a-double": '"content":1e999',
    "a-lone-surrogate": '"content":"\\ud83d"',
    "nul": '"content":"\\u0000"',
    "a-name-twice": '"content":{"a":1,"a":2}',
    "a-field-twice": '"content":1,"content":2',
    "nested-too-deep": f'"content":{"[" * 17}{"]" * 17}',
}


@pytest.mark.fault("JSON is not as strict as wanted: a number of 64 bits, a name twice.")
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
            {"type": "error", "code": "unknown-action"},
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
            {"type": "error", "id": "7", "action": "ping", "code": "payload-too-large"},
            id="too-large",
        ),
        pytest.param(
            {"action": "authenticate", "id": "7", "token": "x" * 8192},
            {"type": "authentication-error", "id": "7", "code": "payload-too-large"},
            id="a-token-too-large",
        ),
        *(
            pytest.param(
                f'{{"action":"message","id":"7","chatSessionId":"room.1",{wrong}}}',
                {"type": "error", "id": "7", "action": "message", "code": "invalid-message"},
                id=why,
            )
            for why, wrong in NOT_STRICT.items()
        ),
        pytest.param(
            '{"action":"ping","id":"7","id":"7"}',
            {"type": "error", "id": "7", "action": "ping", "code": "invalid-message"},
            id="an-id-twice-the-same",
        ),
        pytest.param(
            '{"action":"ping","id":"7","id":"8"}',
            {"type": "error", "action": "ping", "code": "invalid-message"},
            id="two-ids",
        ),
        pytest.param(
            '{"id":"7","x":{"action":"ping","id":"8"},"x":1}',
            {"type": "error", "id": "7", "code": "invalid-message"},
            id="only-its-own",
        ),
        pytest.param(
            "[" * 4000, {"type": "error", "code": "invalid-message"}, id="nested-without-end"
        ),
    ],
)
def test_a_refusal_repeats_the_id_and_the_action_if_they_are_ones(
    stack: Stack, body: Any, expected: Event
) -> None:
    stack.join("ada", TAB)

    frame = stack.reply(TAB, body)

    assert frame == {**expected, "message": frame["message"]}
    assert frame["message"]


def test_the_unexpected_is_internal_and_names_nothing(stack: Stack) -> None:
    stack.connect(TAB)
    stack.secret = "too-short"

    body = {"action": "authenticate", "id": "1", "token": stack.token("ada")}
    frame = stack.reply(TAB, body)

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


@pytest.mark.fault("Very many connections are cut at once, and come back.")
@pytest.mark.fault("DynamoDB refuses for lack of capacity.")
@pytest.mark.parametrize("action", ACTIONS)
def test_a_throttled_table_makes_the_client_come_back(stack: Stack, action: str) -> None:
    stack.join("ada", TAB)
    body = stack.fields(action)

    with stack.throttled():
        frame = stack.reply(TAB, body)

    assert (frame["code"], frame["id"], frame["retryAfterSeconds"]) == ("unavailable", "1", 2)
    assert "Throughput" not in frame["message"]
    assert "Users" not in frame["message"]


# ── logs ───────────────────────────────────────────────────────────────────────────────────


def send_everywhere(stack: Stack, marker: str, token: str) -> None:
    """Frames with *marker* in each field that a client fills, right ones and wrong ones."""
    stack.connect(PHONE, query=f"token={token}")
    stack.connect(PHONE, headers={"Origin": f"https://{marker}.test"}, query=f"{marker}=1")
    stack.connect(TAB, query=f"note={marker}")
    stack.send(TAB, {"action": "authenticate", "token": f"{token}{marker}", "note": marker})
    stack.send(TAB, {"action": "authenticate", "token": token, "note": marker})
    stack.send(TAB, {"action": "status", "status": "busy", "text": marker})
    stack.send(TAB, {"action": "data", "data": {marker: marker}})
    stack.send(TAB, {"action": "data", "patch": {marker: marker * 100}})
    stack.send(TAB, {"action": marker, "id": marker})
    for action in ("join", "typing", "message", "leave", "join-chat-session"):
        body = {"chatSessionId": marker, "typing": True, "content": marker, "clientId": marker}
        stack.send(TAB, {"action": action, "id": marker, **body})
    for action in ("watch", "unwatch", "verify"):
        stack.send(TAB, {"action": action, "userIds": [marker]})
    stack.send(TAB, f"{marker} {token}")
    with stack.throttled():
        stack.send(TAB, {"action": "authenticate", "token": token, "note": marker})


def request_everywhere(stack: Stack, marker: str, token: str) -> None:
    """Requests and queued messages with *marker* in them, right ones and wrong ones."""
    stack.http("GET /online", token=token, query={"limit": marker, "note": marker})
    stack.http("PUT /", token=token, body={"status": "busy", "text": marker})
    stack.http("PUT /data", token=token, body={marker: marker})
    stack.http("PATCH /data", token=token, body={marker: marker * 100})
    stack.http("PUT /", token=f"{token}x", body=f"{marker} {token}")
    stack.http("GET /online", headers={"authorization": f"Basic {marker}"})
    scoped = stack.token("ada", scope="presence:publish presence:admin")
    said = {"content": marker}
    stack.http(f"POST /chat-sessions/{marker}/messages", token=scoped, body=said)
    stack.http(f"GET /chat-sessions/{marker}/members", token=scoped)
    for request_line in ("PUT /blocked/", "DELETE /blocked/", "GET /blocked/", "DELETE /"):
        stack.http(f"{request_line}{marker}", token=scoped)
    for function in ("timers", "deliver"):
        stack.invoke(function, {"Records": [{"messageId": "1", "body": f"{marker} {token}"}]})
    stack.invoke("announce", {"Records": [change("ada", {"text": {"S": marker}}, None)]})


def test_no_log_line_holds_a_token_a_body_or_a_query_string(stack: Stack) -> None:
    stack.log_everything()
    token, marker = stack.token("ada"), "only-for-my-eyes"
    send_everywhere(stack, marker, token)
    request_everywhere(stack, marker, token)
    stack.disconnect(TAB)

    logged = stack.log.getvalue()

    assert len(stack.log_lines()) >= 30
    assert "eyJ" not in logged
    assert SECRET not in logged
    assert marker not in logged


@pytest.mark.parametrize(
    "text", ["x\n{}", "\x1b[31mred", '","level":"FATAL', "\u2028next"], ids=ascii
)
def test_client_input_cannot_inject_log_lines(stack: Stack, text: str) -> None:
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


@pytest.mark.fault("A warm environment remembers the previous call.")
def test_a_warm_environment_remembers_nothing_of_the_call_before(stack: Stack) -> None:
    """One process serves one person after the other; a cold one serves each of them alone."""

    def visit(connection_id: str, user_id: str) -> tuple[list[Event], list[set[str]]]:
        lines = len(stack.log_lines())
        stack.join(user_id, connection_id)
        answers = [
            stack.ask(connection_id, "typing", chatSessionId="elsewhere", typing=True),
            stack.ask(connection_id, "status", status="busy", text=user_id),
        ]
        return answers, [set(line) for line in stack.log_lines()[lines:]]

    warm = [visit(TAB, "ada"), visit(PHONE, "grace")]
    stack.configure()
    cold = visit(WATCH, "linus")

    assert warm == [cold, cold]
    assert [stack.user(name).text for name in ("ada", "grace")] == ["ada", "grace"]


def test_what_is_usual_leaves_no_line(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.enter(TAB)
    stack.send(TAB, {"action": "ping", "userId": "ada"})
    stack.http("GET /online", token=stack.token("ada"))
    stack.stream()
    stack.run_timers()
    stack.invoke("sweep")
    stack.disconnect(TAB)

    assert stack.log_lines() == []


def test_a_line_says_where_and_how_long(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.send(TAB, {"action": "dance"})
    stack.log_everything()
    stack.send(TAB, {"action": "ping"})

    dance, ping = stack.log_lines()

    assert {line["connection_id"] for line in (dance, ping)} == {TAB}
    assert (dance["level"], dance["route"], dance["refused"]) == (
        *("INFO", "$default", "unknown-action"),
    )
    assert (ping["level"], ping["route"], ping["action"]) == ("DEBUG", "ping", "ping")
    assert "refused" not in ping
    assert dance["milliseconds"] >= 0


@pytest.mark.parametrize(("milliseconds", "lines"), [(999, 0), (1_000, 1)])
def test_what_takes_a_second_leaves_a_line(stack: Stack, milliseconds: int, lines: int) -> None:
    stack.join("ada", TAB)
    began = time.perf_counter()
    times = iter((began, began + milliseconds / 1000))
    with stack.monkeypatch.context() as patched:
        patched.setattr(time, "perf_counter", lambda: next(times))
        stack.send(TAB, {"action": "ping"})

    assert [line["milliseconds"] for line in stack.log_lines()] == [milliseconds] * lines


@pytest.mark.fault("A flood of refused frames fills the logs.")
def test_of_a_flood_of_refusals_a_few_leave_a_line_and_the_rest_a_count(stack: Stack) -> None:
    stack.join("ada", TAB)
    for _ in range(3 * REFUSALS_LOGGED):
        stack.send(TAB, {"action": "dance"})
    stack.send(TAB, {"action": "ping", "active": 1})
    flood = stack.log_lines()

    stack.wait(60_000)
    stack.send(TAB, {"action": "ping"})
    stack.wait(60_000)
    stack.send(TAB, {"action": "ping"})

    codes = [line["refused"] for line in flood]
    assert codes == ["unknown-action"] * REFUSALS_LOGGED + ["invalid-message"]
    (counted,) = stack.log_lines()[len(flood) :]
    assert counted["refusals"] == {"unknown-action": 2 * REFUSALS_LOGGED}
