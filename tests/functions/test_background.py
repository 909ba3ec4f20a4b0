"""The handlers that AWS triggers by itself: when they fail in part, and what they then leave."""

import json
from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions import timers as timers_function
from presence.adapters.dynamodb.users import DynamoDBUsers
from presence.adapters.sqs import job_to_json
from presence.deadline import always, in_time, within
from presence.domain.connection import State
from presence.domain.user import Status
from presence.fanout.payloads import FramesPayload
from presence.ports import Job, Topic
from tests.functions.conftest import (
    PHONE,
    ROOM,
    START,
    TAB,
    WATCH,
    Context,
    Event,
    Stack,
    change,
    message,
)


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
    pytest.param(
        {"user_id": {"S": "bob"}, "sessions": {"B": "bm90IHBhY2tlZA=="}}, id="sessions-not-packed"
    ),
    pytest.param({"user_id": {"S": "bob"}, "blocked": {"M": {}}}, id="blocked-not-packed"),
    pytest.param({"user_id": {"X": "bob"}}, id="no-type"),
]


@pytest.mark.fault("A record of the stream cannot be read.")
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


@pytest.mark.fault("A function names what failed in a form that Lambda takes for success.")
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
    item = stack.image("#online") or {}
    return int(item["online"]["N"])


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
    del stack.tables.items["Users"]["ada",]

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
    (waiting,), attempt = body["posts"], body["attempt"]
    assert (waiting["connectionIds"], attempt, delay) == ([TAB], 1, 1)
    assert json.loads(waiting["text"])["type"] == "user-status-change"


def gone_check(at: int, *connection_ids: str) -> Event:
    return {"check": "gone", "connectionIds": list(connection_ids), "at": at}


def test_announced_arrivals_are_counted(stack: Stack) -> None:
    stack.join("ada", TAB)

    stack.invoke("announce", {"Records": [change("ada", None, stack.image("ada"))]})
    welcome = stack.join("grace", PHONE)

    assert welcome["onlineCount"] == 2


def test_an_empty_batch_is_no_failure(stack: Stack) -> None:
    answer = stack.invoke("announce", {"Records": []})

    assert answer == {"batchItemFailures": []}


# ── deliver ────────────────────────────────────────────────────────────────────────────────


def post(*connection_ids: str, text: str = "{}", attempt: int = 0) -> Event:
    return {"posts": [{"text": text, "connectionIds": list(connection_ids)}], "attempt": attempt}


def test_from_the_first_post_to_the_dead_letter_queue_and_back(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.gateway.busy.add(TAB)

    stack.stream()
    answers = [stack.deliver() for _ in range(4)]
    ((last, _),) = stack.queued("deliveries")[-1:]
    stack.gateway.busy.clear()
    redriven = stack.invoke("deliver", {"Records": [message("1", last)]})

    delays = [delay for _, delay in stack.queued("deliveries")]
    assert delays == [1, 2, 4, 8]
    assert [len(it["batchItemFailures"]) for it in answers] == [0, 0, 0, 1]
    assert redriven == {"batchItemFailures": []}
    assert told(stack, TAB) == [("ada", "online")]


def test_a_lost_socket_of_a_queued_post_is_cleaned_up(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.gateway.gone.add(TAB)
    stack.wait(20_000)

    stack.invoke("deliver", {"Records": [message("1", post(TAB))]})
    timers = stack.timers()
    stack.run_timers()

    record = stack.connection(TAB)
    assert timers[-1] == (gone_check(stack.gateway.at, TAB), 0)
    assert record is not None
    assert record.state is State.CLOSED


def test_a_job_that_comes_too_late_is_counted_and_not_told(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.enter(TAB)
    payload = FramesPayload(["{}"], said_at=stack.clock.now)
    job = job_to_json(Job(Topic("session", ROOM), 0, 1, payload))
    stack.calm()
    stack.wait(3_600_000)

    answer = stack.invoke("deliver", {"Records": [message("1", job)]})

    assert answer == {"batchItemFailures": []}
    assert stack.gateway.heard == {}
    assert stack.log_lines()[-1]["jobs_too_late"] == 1


BAD_POSTS: list[Any] = [
    pytest.param("", id="empty"),
    pytest.param("[]", id="list"),
    pytest.param({}, id="nothing"),
    pytest.param({"posts": [{"text": "{}", "connectionIds": [TAB]}]}, id="no-attempt"),
    pytest.param({"attempt": 0}, id="no-posts"),
    pytest.param({"posts": [{"connectionIds": [TAB]}], "attempt": 0}, id="no-text"),
    pytest.param({"posts": [{"text": "{}", "connectionIds": 7}], "attempt": 0}, id="a-number"),
    pytest.param({"posts": 7, "attempt": 0}, id="no-list"),
    pytest.param({"posts": [{"text": "{}"}], "attempt": 0}, id="posts-without-connections"),
    pytest.param('{"posts":[],"posts":[],"attempt":0}', id="two-lists"),
]


@pytest.mark.parametrize("bad", BAD_POSTS)
def test_a_post_that_is_none_keeps_no_other_waiting(stack: Stack, bad: Any) -> None:
    records = [message("bad", bad), message("good", post(PHONE))]

    answer = stack.invoke("deliver", {"Records": records})

    assert answer == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
    assert stack.gateway.heard == {PHONE: ["{}"]}


# ── timers ───────────────────────────────────────────────────────────────────────────────────────


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
    pytest.param({"check": "expired", "connectionId": TAB}, id="expired-without-user"),
    pytest.param({"check": "expired", "userId": "ada"}, id="expired-without-connection"),
    pytest.param(
        {"check": "expired", "connectionId": TAB, "userId": "ada", "chatSessionIds": 7},
        id="expired-without-list",
    ),
    pytest.param({"check": "gone"}, id="gone-without-connection"),
    pytest.param({"check": "gone", "connectionIds": 7, "at": 1}, id="gone-without-list"),
    pytest.param({"check": "gone", "connectionIds": ["#w"], "at": 1}, id="gone-without-ids"),
]


@pytest.mark.fault("Part of a batch fails.")
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

    answer = stack.invoke("timers", {"Records": records})

    assert answer == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
    assert stack.gateway.closed == [TAB, PHONE]


@pytest.mark.fault("API Gateway does not answer.")
def test_timers_of_users_do_not_wait_for_sockets(stack: Stack) -> None:
    """A request to close a socket may hang until the function has no time left."""
    stack.join("ada", TAB)
    stack.disconnect(TAB)
    for name in (PHONE, WATCH):
        stack.connect(name)
    stack.wait(10_000)
    records = [
        message("phone", {"check": "connection", "connectionId": PHONE}),
        message("watch", {"check": "connection", "connectionId": WATCH}),
        message("ada", {"check": "user", "userId": "ada"}),
    ]
    context = Context("timers", 30_000)
    stack.gateway.busy |= {PHONE, WATCH}
    close = stack.gateway.close

    def hang(connection_id: str) -> None:
        assert stack.user("ada").status is Status.OFFLINE
        context._remaining = 5_000
        close(connection_id)

    stack.gateway.close = hang  # type: ignore[method-assign]
    answer = timers_function.handler({"Records": records}, context)
    stack.gateway.busy.clear()
    context._remaining = 30_000
    again = timers_function.handler({"Records": records[:2]}, context)

    assert [it["itemIdentifier"] for it in answer["batchItemFailures"]] == ["phone", "watch"]
    assert again == {"batchItemFailures": [{"itemIdentifier": "watch"}]}
    assert stack.gateway.closed == [PHONE]


@pytest.mark.fault("A function runs out of time in a loop.")
@pytest.mark.parametrize("name", ["timers", "deliver"])
def test_a_batch_without_time_comes_again_as_a_whole(stack: Stack, name: str) -> None:
    records = [message("1", {}), message("2", {})]

    answer = stack.invoke(name, {"Records": records}, remaining=5_000)

    assert answer == {"batchItemFailures": [{"itemIdentifier": it} for it in ("1", "2")]}
    assert stack.log_lines()[-1]["failed_messages"] == 2


@pytest.mark.fault("A function runs out of time in a loop.")
def test_records_that_are_left_come_again_from_the_first_on(stack: Stack) -> None:
    stack.join("ada", TAB)
    records = [change("ada", None, stack.image("ada"), number=it) for it in (1, 2)]

    answer = stack.invoke("announce", {"Records": records}, remaining=20_000)

    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert stack.log_lines()[-1]["left"] == 2
    assert stack.gateway.heard == {}


def test_timers_come_again_while_the_table_is_throttled(stack: Stack) -> None:
    stack.connect(TAB)
    stack.wait(10_000)
    records = [
        message("one", {"check": "connection", "connectionId": TAB}),
        message("two", {"check": "user", "userId": "ada"}),
    ]

    with stack.throttled():
        answer = stack.invoke("timers", {"Records": records})

    assert answer == {"batchItemFailures": [{"itemIdentifier": "one"}, {"itemIdentifier": "two"}]}
    assert stack.gateway.closed == []


def test_a_grace_period_ends_by_its_message(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.disconnect(TAB)
    stack.wait(10_000)

    answer = stack.invoke("timers", {"Records": [message("1", stack.timers()[-1][0])]})

    user, image = stack.user("ada"), stack.image("ada") or {}
    assert answer == {"batchItemFailures": []}
    assert (user.status, user.last_seen) == (Status.OFFLINE, START)
    assert "online_shard" not in image
    assert image["changed"] == {"BOOL": True}


def test_a_repeated_timer_of_an_unknown_user_or_connection_changes_nothing(stack: Stack) -> None:
    timers = [
        message("1", {"check": "user", "userId": "unknown"}),
        message("2", {"check": "connection", "connectionId": PHONE}),
    ]

    answer = stack.invoke("timers", {"Records": timers + timers})

    assert answer == {"batchItemFailures": []}
    assert stack.image("unknown") is None
    assert stack.gateway.closed == []


def expired(connection_id: str = TAB, user_id: str = "ada", *sessions: str) -> Event:
    body = {"check": "expired", "connectionId": connection_id, "userId": user_id}
    return message("1", {**body, "chatSessionIds": list(sessions)})


def gone(at: int, *connection_ids: str) -> Event:
    return message("1", gone_check(at, *(connection_ids or [TAB])))


def test_every_connection_that_a_timer_names_is_looked_after(stack: Stack) -> None:
    for name in (TAB, PHONE, WATCH):
        stack.join("ada", name)
    stack.wait(20_000)

    invoke_timers(stack, gone(stack.clock.now, TAB, PHONE, WATCH))

    assert [record.state for it in (TAB, PHONE, WATCH) if (record := stack.connection(it))] == (
        [State.CLOSED] * 3
    )


def invoke_timers(stack: Stack, *timers: Event) -> None:
    assert stack.invoke("timers", {"Records": list(timers)}) == {"batchItemFailures": []}


def a_member(stack: Stack) -> None:
    """Everything that a connection can hear."""
    stack.join("ada", TAB)
    stack.enter(TAB)
    stack.ask(TAB, "watch", userIds=["grace"])
    stack.calm()


def all_that_is_heard(stack: Stack) -> list[Event]:
    rows = stack.tables.items["Subscriptions"]
    return [item for (_, subscriber), item in rows.items() if subscriber == TAB]


def test_a_lease_that_ran_out_takes_its_connection_along(stack: Stack) -> None:
    a_member(stack)
    stack.wait(80_000)
    stack.invoke("sweep")

    for _ in range(2):  # at least once, says SQS
        invoke_timers(stack, expired(TAB, "ada", ROOM))

    record = stack.connection(TAB)
    assert record is not None
    assert record.state is State.CLOSED
    assert all_that_is_heard(stack) == []
    assert set(stack.gateway.closed) == {TAB}
    assert stack.heard(TAB) == []


# ── sweep ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.fault("A function runs out of time in a loop.")
def test_a_sweep_without_time_reads_no_user_and_writes_no_count(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.wait(90_000)

    answer = stack.invoke("sweep", remaining=5_000)

    assert answer == {}
    assert stack.user("ada").status is Status.ONLINE
    line = stack.log_lines()[-1]
    assert "online" not in line
    assert (line["users"], line["changed_users"], line["is_complete"]) == (0, 0, False)


def test_a_sweep_says_how_far_it_came(stack: Stack) -> None:
    stack.log_everything()
    stack.join("ada", TAB)
    stack.join("grace", PHONE)
    stack.wait(60_000)
    stack.send(PHONE, {"action": "ping"})
    stack.wait(30_000)

    stack.invoke("sweep")

    line = stack.log_lines()[-1]
    assert (line["users"], line["changed_users"], line["is_complete"]) == (2, 1, True)
    assert line["online"] == 1


def test_a_sweep_names_a_user_who_cannot_be_read_and_ends_with_the_error(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user_id, connection_id in (("ada", TAB), ("grace", PHONE)):
        stack.join(user_id, connection_id)
    stack.wait(90_000)
    read = DynamoDBUsers.read_many

    def unless_ada(users: DynamoDBUsers, user_ids: Collection[str], **how: Any) -> Any:
        if "ada" in user_ids:
            raise KeyError("revision")
        return read(users, user_ids, **how)

    monkeypatch.setattr(DynamoDBUsers, "read_many", unless_ada)
    with pytest.raises(KeyError):
        stack.invoke("sweep")

    assert stack.user("grace").status is Status.OFFLINE
    line = stack.log_lines()[-1]
    assert (line["failed_users"], line["users"], line["is_complete"]) == (["ada"], 1, True)


def test_a_second_sweep_finds_nothing_left_to_do(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.wait(90_000)
    stack.invoke("sweep")
    swept = stack.image("ada")

    stack.wait(60_000)
    stack.invoke("sweep")

    assert stack.image("ada") == swept


# ── until the deadline ─────────────────────────────────────────────────────────────────────


@pytest.mark.fault("A function runs out of time in a loop.")
@given(st.lists(st.integers()), st.integers(0, 10))
def test_what_is_not_begun_in_time_is_left_in_its_order(items: list[int], pieces: int) -> None:
    rest, time = iter(items), iter([True] * pieces)

    done = list(in_time(rest, lambda: next(time, False)))

    assert done == items[:pieces]
    assert list(rest) == items[pieces:]


def test_time_is_over_at_its_end() -> None:
    now = [100.0]
    has_time = within(2.0, lambda: now[0])

    said = []
    for now[0] in (100.0, 101.9, 102.0, 200.0):
        said.append(has_time())

    assert said == [True, True, False, False]


def test_with_time_enough_all_is_done() -> None:
    assert list(in_time(iter("abc"), always)) == ["a", "b", "c"]
