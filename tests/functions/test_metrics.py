"""What the functions write for CloudWatch to make metrics of (embedded metric format)."""

import json
import logging
import os
import subprocess
import sys
from collections import defaultdict
from typing import Any, TypeAlias

import pytest
from pynamodb.exceptions import PynamoDBException
from pynamodb.models import Model

from presence import bootstrap
from presence.entrypoints.runtime import STATUS_QUERIES
from presence.limits import METRIC_VALUES
from presence.metrics import METRICS, TABLE_THROTTLES, Meter
from presence.settings import read_settings
from tests.endpoint import Answer, Endpoint, serving
from tests.functions.conftest import ENVIRONMENT, PHONE, ROOM, START, TAB, Stack, recorded
from tests.functions.test_handlers import request_everywhere, send_everywhere
from tests.template.test_template import FUNCTIONS, ROUTES

MINUTE = 60_000
Told: TypeAlias = dict[str, list[float]]
Printed: TypeAlias = pytest.CaptureFixture[str]


def lines(printed: Printed) -> list[dict[str, Any]]:
    """The lines since the last call, each as the specification wants it."""
    found = [json.loads(line) for line in printed.readouterr().out.splitlines()]
    for line in found:
        (told,) = line["_aws"]["CloudWatchMetrics"]
        assert told["Namespace"] == "presence-test"
        assert told["Dimensions"] == [["service"]]
        assert line["service"] == "presence"
        units = {it.name: it.unit.value for it in METRICS}
        assert told["Metrics"] == [{"Name": n, "Unit": units[n]} for n in _values(line)]
        assert all(1 <= len(values) <= METRIC_VALUES for values in _values(line).values())
    return found


def _values(line: dict[str, Any]) -> Told:
    return {name: it for name, it in line.items() if name not in ("_aws", "service")}


def told(stack: Stack, printed: Printed) -> Told:
    """All that was counted and measured since the last call, in however many lines."""
    stack.wait(MINUTE)
    stack.http("GET /nowhere")  # an invocation of the next minute
    found: defaultdict[str, list[float]] = defaultdict(list)
    for line in lines(printed):
        for name, values in _values(line).items():
            found[name] += values
    return dict(found)


def test_an_ordinary_ping_writes_no_line(stack: Stack, capsys: Printed) -> None:
    stack.join("ada", TAB)
    stack.calm()
    told(stack, capsys)
    for _ in range(10):
        stack.wait(30_000)
        stack.send(TAB, {"action": "ping"})
    assert lines(capsys) == []


def test_of_all_invocations_of_a_minute_there_is_one_line(stack: Stack, capsys: Printed) -> None:
    for number in range(20):
        stack.join(f"user-{number}", f"connection-{number}")
    (first,) = lines(capsys)
    stack.wait(MINUTE)
    stack.send(TAB, {"action": "ping"})
    (later,) = lines(capsys)
    assert first["Authentications"] == [1]
    assert later["Authentications"] == [19]


def test_authentications_are_counted_and_those_that_fail(stack: Stack, capsys: Printed) -> None:
    stack.join("ada", TAB)
    stack.send(PHONE, {"action": "authenticate", "token": "x.y.z"})
    stack.send(PHONE, {"action": "authenticate"})
    with stack.throttled():
        stack.send(PHONE, {"action": "authenticate", "token": stack.token("grace")})
    found = told(stack, capsys)
    assert sum(found["Authentications"]) == 4
    assert sum(found["AuthenticationFailures"]) == 3


def test_a_session_is_as_long_as_its_socket(stack: Stack, capsys: Printed) -> None:
    stack.join("ada", TAB)
    stack.wait(90_500)
    stack.disconnect(TAB)
    assert told(stack, capsys)["SessionLength"] == [90.5]


def test_refusals_and_errors_are_counted_apart(stack: Stack, capsys: Printed) -> None:
    stack.connect(TAB, headers={"Origin": "https://elsewhere.example.com"})
    stack.join("ada", TAB)
    stack.send(TAB, {"action": "dance"})
    stack.http("GET /online")
    assert (sum(told(stack, capsys)["Refusals"])) == 3 + 1  # and the request that brings the line
    with stack.throttled():
        stack.send(TAB, {"action": "status", "status": "away"})
    found = told(stack, capsys)
    assert found["Errors"] == [1]
    assert sum(found["Refusals"]) == 1


@pytest.mark.parametrize("action", ["online", "watch", "verify"])
def test_queries_for_statuses_are_timed_on_the_socket(
    stack: Stack, capsys: Printed, action: str
) -> None:
    stack.join("ada", TAB)
    stack.ask(TAB, "status")
    assert "StatusLatency" not in told(stack, capsys)
    stack.ask(TAB, action)
    (milliseconds,) = told(stack, capsys)["StatusLatency"]
    assert 0 < milliseconds < MINUTE


def test_queries_for_statuses_are_timed_over_http(stack: Stack, capsys: Printed) -> None:
    token = stack.token("ada")
    event = recorded("http_api")  # GET /users/{userId}
    assert event["routeKey"] in STATUS_QUERIES
    stack.http("GET /online", token=token)
    stack.http("POST /batch", token=token, body={"userIds": ["ada"]})
    stack.http("PUT /last-seen", token=token)
    stack.http("GET /online")  # refused
    assert len(told(stack, capsys)["StatusLatency"]) == 2


def test_queries_for_statuses_are_routes_of_the_template() -> None:
    http = {
        f"{it['Properties']['Method']} {it['Properties']['Path']}"
        for it in FUNCTIONS["HttpFunction"]["Events"].values()
    }
    assert http | ROUTES.keys() >= STATUS_QUERIES


def test_posts_are_counted_by_what_became_of_them(stack: Stack, capsys: Printed) -> None:
    sockets = [set[str](), stack.gateway.gone, stack.gateway.busy, stack.gateway.refusing]
    for number, kind in enumerate(sockets):
        stack.join(f"user-{number}", f"connection-{number}")
        kind.add(f"connection-{number}")
    stack.stream()
    found = {name: sum(values) for name, values in told(stack, capsys).items()}
    outcomes = [found[name] for name in ("PostsGone", "PostsPutOff", "PostsRefused")]
    assert outcomes == [1, 1, 1]
    assert found["Posts"] >= 4


def test_a_change_is_timed_until_it_was_announced(stack: Stack, capsys: Printed) -> None:
    stack.join("ada", TAB)
    stack.wait(700)
    stack.stream()
    assert told(stack, capsys)["AnnounceDelay"] == [700]


def test_a_message_is_measured_by_those_who_hear_it(private: Stack, capsys: Printed) -> None:
    for user_id, connection_id in (("ada", TAB), ("grace", PHONE)):
        private.join(user_id, connection_id)
        private.enter(connection_id)
    private.ask(TAB, "message", chatSessionId=ROOM, content="hi")
    assert told(private, capsys)["SessionRecipients"] == [1]  # the sender is answered


def test_a_timer_is_timed_from_when_it_was_due(stack: Stack, capsys: Printed) -> None:
    stack.join("ada", TAB)
    stack.disconnect(TAB)
    stack.wait(10_000 + 1_234)
    stack.run_timers()
    assert told(stack, capsys)["TimerDelay"] == [1_234]


def test_probes_are_counted_and_those_without_an_answer(private: Stack, capsys: Printed) -> None:
    private.join("grace", PHONE)
    private.wait(45_000)
    private.join("ada", TAB)
    private.ask(TAB, "verify", userIds=["grace"])
    assert told(private, capsys)["Probes"] == [1]
    private.run_timers()
    assert told(private, capsys)["ProbesUnanswered"] == [1]


def test_lost_swaps_are_counted(stack: Stack, capsys: Printed) -> None:
    stack.join("ada", TAB)
    told(stack, capsys)
    changing = iter([True])

    def change_first(operation: str, request: Any) -> None:
        is_of_ada = operation in ("UpdateItem", "TransactWriteItems") and "'ada'" in str(request)
        if is_of_ada and next(changing, False):
            stack.http("PUT /", token=stack.token("ada"), body={"status": "busy"})

    stack.called = change_first
    stack.disconnect(TAB)
    assert sum(told(stack, capsys)["LostSwaps"]) == 1


# ── the sweep ──────────────────────────────────────────────────────────────────────────────


def test_each_sweep_has_a_line_with_what_it_counted(stack: Stack, capsys: Printed) -> None:
    for connection_id in (TAB, PHONE):
        stack.join("ada", connection_id)
    told(stack, capsys)
    for _ in range(3):
        stack.wait(1_000)
        stack.invoke("sweep")
        (line,) = lines(capsys)
        assert _values(line) == {
            "OpenConnections": [2],
            "OnlineUsers": [1],
            "SweepCoverage": [100],
        }


def test_a_sweep_without_time_says_how_little_it_covered(stack: Stack, capsys: Printed) -> None:
    for number in range(4):
        stack.join(f"user-{number}", f"connection-{number}")
    stack.invoke("sweep")
    told(stack, capsys)
    stack.invoke("sweep", remaining=1)
    (line,) = lines(capsys)
    assert _values(line) == {"SweepCoverage": [0]}


def test_blocks_that_are_restored_are_no_sweep(stack: Stack, capsys: Printed) -> None:
    stack.invoke("sweep", {"restore": "blocks"})
    assert lines(capsys) == []


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARN", "ERROR"])
def test_functions_keep_to_their_level_whatever_lambda_filters(level: str) -> None:
    """Lambda's filter has to let lines without a level through: INFO, or DEBUG with DEBUG."""
    code = "import logging, presence.entrypoints.runtime as it; print(it.logger.log_level)"
    filters = {"AWS_LAMBDA_LOG_LEVEL": "DEBUG" if level == "DEBUG" else "INFO"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | ENVIRONMENT | filters | {"POWERTOOLS_LOG_LEVEL": level},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == logging.getLevelNamesMapping()[level]


# ── what is in no line ─────────────────────────────────────────────────────────────────────


def test_no_line_names_a_user_a_connection_or_what_was_said(stack: Stack, capsys: Printed) -> None:
    token, marker = stack.token("ada"), "only-for-my-eyes"
    send_everywhere(stack, marker, token)
    request_everywhere(stack, marker, token)
    stack.stream()
    stack.run_timers()
    stack.invoke("sweep")
    stack.disconnect(TAB)
    stack.wait(MINUTE)
    stack.http("GET /nowhere")
    written = capsys.readouterr().out
    assert len(written.splitlines()) >= 3
    for private in ("ada", marker, "eyJ", TAB, ROOM):
        assert private not in written


@pytest.mark.fault("DynamoDB throttles, and the client tries again by itself.")
def test_each_throttled_answer_is_counted_those_tried_again_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for model in Model.__subclasses__():  # no client of another test's tables
        monkeypatch.setattr(model, "_connection", None)
    settings = read_settings(ENVIRONMENT | {"TIMER_QUEUE_URL": "", "DELIVERY_QUEUE_URL": ""})
    throttled = json.dumps({"__type": "x#ProvisionedThroughputExceededException"}).encode()
    meter = Meter()
    with serving(Endpoint(otherwise=Answer(400, throttled))) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", endpoint.url)
        with pytest.raises(PynamoDBException):
            bootstrap.AWS(settings, meter).users.read("ada")
        tries = len(endpoint.asked)
    assert tries > 1
    assert meter.due(START) == {TABLE_THROTTLES: [tries]}
