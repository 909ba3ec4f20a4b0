"""The handlers that AWS triggers by itself: when they fail in part, and what they then leave."""

import json
from typing import Any

import pytest

from presence.domain.connection import State
from presence.domain.user import Status
from tests.dynamodb import TABLES
from tests.functions.conftest import PHONE, START, TAB, Event, Stack, change, message, recorded


def told(stack: Stack, connection_id: str) -> list[tuple[str, str]]:
    """Every (user, status) that a connection heard."""
    frames = [json.loads(text) for text in stack.gateway.heard.get(connection_id, [])]
    return [(it["userId"], it["status"]) for frame in frames for it in frame["changes"]]


# ── announce ───────────────────────────────────────────────────────────────────────────────


POISON: list[Any] = [
    pytest.param({"version": {"N": "many"}}, id="no-number"),
    pytest.param({"user_id": {"S": "bob"}, "status": {"S": "asleep"}}, id="no-status"),
    pytest.param({"user_id": {"S": "bob"}, "leases": {"S": "none"}}, id="no-map"),
    pytest.param(
        {"user_id": {"S": "bob"}, "leases": {"M": {"x": {"M": {}}}}}, id="a-lease-without-fields"
    ),
    pytest.param({"user_id": {"X": "bob"}}, id="no-type"),
]


@pytest.mark.parametrize("poison", POISON)
def test_a_poison_record_is_named_and_all_others_are_announced(stack: Stack, poison: Event) -> None:
    stack.join("ada", TAB)
    stack.join("grace", PHONE)
    records = [
        change("ada", None, stack.image("ada"), number=1),
        change("bob", None, poison, number=2),
        change("grace", None, stack.image("grace"), number=3),
    ]

    answer = stack.invoke("announce", {"Records": records})

    assert answer == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    assert told(stack, PHONE) == [("ada", "online"), ("grace", "online")]


def test_of_two_poison_records_the_first_is_named(stack: Stack) -> None:
    poison = {"version": {"N": "many"}}
    records = [change("bob", None, poison, number=number) for number in (1, 2)]

    answer = stack.invoke("announce", {"Records": records})

    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}


def test_what_comes_again_behind_a_poison_record_is_counted_then(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.join("grace", PHONE)
    records = [
        change("ada", None, stack.image("ada"), number=1),
        change("bob", None, {"version": {"N": "many"}}, number=2),
        change("grace", None, stack.image("grace"), number=3),
    ]

    stack.invoke("announce", {"Records": records})
    first = counted(stack)
    stack.invoke("announce", {"Records": records[2:]})

    assert (first, counted(stack)) == (1, 2)


def counted(stack: Stack) -> int:
    answer = stack.aws("dynamodb").get_item(
        TableName=TABLES["users"], Key={"user_id": {"S": "#online"}}
    )
    return int(answer["Item"]["online"]["N"])


def test_a_whole_batch_is_one_frame_for_each_connection(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.join("grace", PHONE)
    records = [
        change(name, None, stack.image(name), number)
        for number, name in enumerate(["ada", "grace"])
    ]

    answer = stack.invoke("announce", {"Records": records})

    assert answer == {"batchItemFailures": []}
    assert told(stack, TAB) == told(stack, PHONE) == [("ada", "online"), ("grace", "online")]
    assert {len(texts) for texts in stack.gateway.heard.values()} == {1}


def test_an_erased_user_is_announced_as_offline_or_not_at_all(stack: Stack) -> None:
    stack.join("ada", TAB)
    record = change("ada", stack.image("ada"), None)

    answer = stack.invoke("announce", {"Records": [record]})

    assert answer == {"batchItemFailures": []}
    assert told(stack, TAB) in ([], [("ada", "offline")])


def test_posts_that_have_to_wait_are_queued(stack: Stack) -> None:
    stack.join("ada", TAB)
    record = change("ada", None, stack.image("ada"))
    stack.gateway.busy.add(TAB)

    answer = stack.invoke("announce", {"Records": [record]})

    ((body, delay),) = stack.queued("deliveries")
    assert answer == {"batchItemFailures": []}
    assert (body["connectionIds"], body["attempt"], delay) == ([TAB], 1, 1)
    assert json.loads(body["text"])["type"] == "user-status-change"


def test_whoever_is_gone_takes_the_path_of_a_disconnect(stack: Stack) -> None:
    stack.join("ada", TAB)
    record = change("ada", None, stack.image("ada"))
    stack.gateway.gone.add(TAB)
    stack.wait(20_000)

    answer = stack.invoke("announce", {"Records": [record]})
    lines = stack.log_lines()
    settled = recorded("settle")["Records"][0]
    body = json.dumps({"check": "gone", "connectionId": TAB})
    stack.invoke("settle", {"Records": [settled | {"body": body}]})

    gate = stack.gate(TAB)
    assert answer == {"batchItemFailures": []}
    assert ({"check": "gone", "connectionId": TAB}, 0) in stack.timers()
    assert gate is not None
    assert gate.state is State.CLOSED
    assert stack.listeners() == set()
    assert stack.user("ada").grace_until == START + 30_000
    assert lines[-1]["gone"] == 1


def test_announced_arrivals_are_counted(stack: Stack) -> None:
    stack.join("ada", TAB)

    stack.invoke("announce", {"Records": [change("ada", None, stack.image("ada"))]})
    welcome = stack.join("grace", PHONE)

    assert welcome["onlineCount"] == 2


def test_an_empty_batch_is_no_failure(stack: Stack) -> None:
    answer = stack.invoke("announce", {"Records": []})

    assert answer == {"batchItemFailures": []}


# ── settle ─────────────────────────────────────────────────────────────────────────────────


BAD_TIMERS: list[Any] = [
    pytest.param("", id="empty"),
    pytest.param("hello", id="no-json"),
    pytest.param("[]", id="list"),
    pytest.param({}, id="no-check"),
    pytest.param({"check": "weather", "userId": "ada"}, id="unknown-check"),
    pytest.param({"check": ["user"], "userId": "ada"}, id="list-of-checks"),
    pytest.param({"check": "user", "connectionId": TAB}, id="no-user"),
    pytest.param({"check": "user", "userId": "#online"}, id="no-id"),
    pytest.param('{"check":"user","userId":"ada","userId":"eve"}', id="two-users"),
]


@pytest.mark.parametrize("bad", BAD_TIMERS)
def test_a_timer_that_fails_keeps_no_other_waiting(stack: Stack, bad: Any) -> None:
    stack.connect(TAB)
    stack.connect(PHONE)
    stack.wait(10_000)
    records = [
        message("first", {"check": "connection", "connectionId": TAB}),
        message("bad", bad),
        message("last", {"check": "connection", "connectionId": PHONE}),
    ]

    answer = stack.invoke("settle", {"Records": records})

    assert answer == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
    assert stack.gateway.closed == [TAB, PHONE]


def test_timers_come_again_while_the_table_is_throttled(stack: Stack) -> None:
    stack.connect(TAB)
    stack.wait(10_000)
    records = [
        message("one", {"check": "connection", "connectionId": TAB}),
        message("two", {"check": "user", "userId": "ada"}),
    ]

    with stack.throttled():
        answer = stack.invoke("settle", {"Records": records})

    assert answer == {"batchItemFailures": [{"itemIdentifier": "one"}, {"itemIdentifier": "two"}]}
    assert stack.gateway.closed == []


def test_a_grace_period_ends_by_its_message(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.disconnect(TAB)
    stack.wait(10_000)

    answer = stack.invoke("settle", {"Records": [message("1", stack.timers()[-1][0])]})

    user, image = stack.user("ada"), stack.image("ada") or {}
    assert answer == {"batchItemFailures": []}
    assert (user.status, user.last_seen) == (Status.OFFLINE, START)
    assert "online_shard" not in image
    assert image["changed"] == {"BOOL": True}


def test_a_timer_that_comes_twice_or_for_nobody_changes_nothing(stack: Stack) -> None:
    timers = [
        message("1", {"check": "user", "userId": "nobody"}),
        message("2", {"check": "connection", "connectionId": PHONE}),
    ]

    answer = stack.invoke("settle", {"Records": timers + timers})

    assert answer == {"batchItemFailures": []}
    assert stack.image("nobody") is None
    assert stack.gateway.closed == []


# ── sweep ──────────────────────────────────────────────────────────────────────────────────


def test_a_sweep_without_time_looks_at_nobody_and_counts_nothing(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.wait(90_000)

    answer = stack.invoke("sweep", remaining=5_000)

    assert answer == {}
    assert stack.user("ada").status is Status.ONLINE
    assert "online" not in stack.log_lines()[-1]


def test_a_sweep_closes_what_the_silent_left_open(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.wait(90_000)

    stack.invoke("sweep")
    stack.invoke("settle", {"Records": [message("1", stack.timers()[-1][0])]})

    gate = stack.gate(TAB)
    assert gate is not None
    assert gate.state is State.CLOSED
    assert stack.listeners() == set()
    assert stack.gateway.closed == [TAB]


def test_a_second_sweep_finds_nothing_left_to_do(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.wait(90_000)
    stack.invoke("sweep")
    swept = stack.image("ada")

    stack.wait(60_000)
    stack.invoke("sweep")

    assert stack.image("ada") == swept
