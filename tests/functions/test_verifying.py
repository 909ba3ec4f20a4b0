"""Verifying a user through the handlers: over the socket, over HTTP, and what is awaited."""

import json
from typing import Any

import pytest

from tests.functions.conftest import PHONE, TAB, Stack

PROBE = {"type": "probe"}


@pytest.fixture
def stack(private: Stack) -> Stack:
    """grace was heard a while ago, and ada looks."""
    private.join("grace", PHONE)
    private.wait(45_000)
    private.join("ada", TAB)
    return private


def told(stack: Stack, connection_id: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in stack.gateway.heard.get(connection_id, [])]


def test_a_user_who_was_not_heard_is_probed_and_the_asker_is_answered_at_once(stack: Stack) -> None:
    now = stack.clock.now

    frame = stack.ask(TAB, "verify", userIds=["grace"])

    (grace,) = frame.pop("users")
    assert frame == {"type": "verified", "id": "1", "awaited": ["grace"], "probeSeconds": 10}
    assert (grace["status"], grace["heardAt"] <= now - 45_000) == ("online", True)
    assert told(stack, PHONE) == [PROBE]


def test_an_answer_is_told_to_who_asks_again(stack: Stack) -> None:
    asked_at = stack.clock.now
    stack.ask(TAB, "verify", userIds=["grace"])
    stack.wait(200)
    assert stack.send(PHONE, {"action": "ping"}) == {"statusCode": 200}

    frame = stack.ask(TAB, "verify", userIds=["grace"])

    assert (frame["awaited"], frame["users"][0]["heardAt"]) == ([], asked_at)
    assert told(stack, PHONE) == [PROBE]


def test_a_timer_puts_one_offline_who_did_not_answer(stack: Stack) -> None:
    stack.ask(TAB, "watch", userIds=["grace"])
    stack.calm()
    stack.ask(TAB, "verify", userIds=["grace"])
    check, delay = stack.queues["timers"][-1]

    stack.wait(delay * 1000)
    stack.run_timers()
    stack.stream()

    assert (check, delay) == ({"check": "user", "userId": "grace"}, 10)
    (change,) = [it for it in told(stack, TAB) if it["type"] == "user-status-change"]
    assert [it["status"] for it in change["changes"]] == ["offline"]


def test_over_http_a_user_is_verified_too(stack: Stack) -> None:
    asked_at, token = stack.clock.now, stack.token("ada")

    first = stack.http("GET /users/grace", token=token, query={"verify": "true"})
    stack.send(PHONE, {"action": "ping"})
    again = stack.http("GET /grace", token=token, query={"verify": "true"})

    assert told(stack, PHONE) == [PROBE]
    assert first["headers"]["Retry-After"] == "1"
    assert first["headers"]["Cache-Control"] == "no-store"
    assert "Retry-After" not in again["headers"]
    assert json.loads(again["body"])["heardAt"] == asked_at


@pytest.mark.parametrize("query", [None, {"verify": "false"}], ids=["left out", "false"])
def test_who_only_reads_probes_no_one(stack: Stack, query: dict[str, str] | None) -> None:
    answer = stack.http("GET /users/grace", token=stack.token("ada"), query=query)

    assert "heardAt" not in json.loads(answer["body"])
    assert told(stack, PHONE) == []


def test_verify_is_true_or_false(stack: Stack) -> None:
    answer = stack.http("GET /users/grace", token=stack.token("ada"), query={"verify": "1"})

    assert answer["statusCode"] == 400


def test_a_reader_without_a_token_probes_no_one(stack: Stack) -> None:
    stack.configure(PUBLIC_READS="true")

    answer = stack.http("GET /users/grace", query={"verify": "true"})

    assert answer["statusCode"] == 401
    assert told(stack, PHONE) == []


def test_verifying_over_http_is_limited_as_reading_is_and_a_back_end_is_not(stack: Stack) -> None:
    user, back_end = stack.token("ada"), stack.token("root", scope="presence:admin")

    def ask(token: str) -> int:
        answer = stack.http("GET /users/grace", token=token, query={"verify": "true"})
        return int(answer["statusCode"])

    assert {ask(user) for _ in range(150)} == {200}
    assert {ask(user) for _ in range(100)} == {200, 429}
    assert {ask(back_end) for _ in range(250)} == {200}


@pytest.mark.parametrize("unknown", ["nobody", "zoe"], ids=["never here", "blocks the viewer"])
def test_one_who_is_offline_to_the_viewer_is_answered_alike(stack: Stack, unknown: str) -> None:
    stack.join("zoe", "zoes-phone=")
    stack.http("PUT /blocked/ada", token=stack.token("zoe"))
    stack.wait(45_000)
    stack.run_timers()
    calls = list[str]()
    stack.called = lambda name, _: calls.append(name)

    frame = stack.ask(TAB, "verify", userIds=[unknown])

    assert frame["awaited"] == []
    assert {name: it for name, it in frame["users"][0].items() if name != "lastSeen"} == {
        "userId": unknown,
        "status": "offline",
        "isOnline": False,
        "version": frame["users"][0]["version"],
    }
    assert calls == ["GetItem", "UpdateItem", "BatchGetItem"]
