"""Why a user is shown as they are, through the handlers: one case for each reason."""

from collections.abc import Callable

import pytest

from presence.domain.explanation import Reason
from tests.functions.conftest import PHONE, ROOM, START, TAB, Event, Stack
from tests.functions.test_user_status import ADMIN, body_of, code_of


def explain(stack: Stack, user_id: str = "ada", **query: str) -> Event:
    root = stack.token("root", scope=ADMIN)
    return body_of(stack.http(f"GET /users/{user_id}/explain", token=root, query=query or None))


def away(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.ask(TAB, "check", active=False)


def chosen(status: str) -> Callable[[Stack], None]:
    def choose(stack: Stack) -> None:
        stack.join("ada", TAB)
        stack.ask(TAB, "status", status=status)
        stack.wait(10_000)

    return choose


def hidden(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.ask(TAB, "status", status="invisible")


def closed(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.disconnect(TAB)


def gone(stack: Stack) -> None:
    closed(stack)
    stack.wait(20_000)
    stack.run_timers()


def silent(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.wait(24 * 3_600_000)


def ended(stack: Stack) -> None:
    stack.join("ada", TAB, exp=START // 1000 + 20)
    stack.wait(60_000)


CASES: list[tuple[Reason, Callable[[Stack], object], str]] = [
    (Reason.UNKNOWN, lambda _stack: None, "offline"),
    (Reason.ACTIVE, lambda stack: stack.join("ada", TAB), "online"),
    (Reason.IDLE, away, "away"),
    (Reason.CHOSEN, chosen("busy"), "busy"),
    (Reason.INVISIBLE, chosen("invisible"), "offline"),
    (Reason.HIDING, hidden, "online"),
    (Reason.GRACE, closed, "online"),
    (Reason.NOT_CONNECTED, gone, "offline"),
    (Reason.LEASE_EXPIRED, silent, "offline"),
    (Reason.TOKEN_ENDED, ended, "offline"),
]


@pytest.mark.parametrize(("reason", "happened", "status"), CASES, ids=[it[0] for it in CASES])
def test_each_reason_is_told_with_the_status_that_others_see(
    stack: Stack, reason: Reason, happened: Callable[[Stack], object], status: str
) -> None:
    happened(stack)

    found = explain(stack)

    assert (found["reason"], found["seen"]["status"]) == (reason, status)
    assert found["because"]


def test_all_reasons_have_a_case() -> None:
    assert {it[0] for it in CASES} == {*Reason}


def test_it_changes_nothing(stack: Stack) -> None:
    silent(stack)
    before = stack.image("ada")

    explain(stack)

    assert stack.image("ada") == before


def test_a_connection_is_described_by_its_lease_and_its_record(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.enter(TAB)
    stack.join("grace", PHONE)
    stack.enter(PHONE)
    stack.ask(PHONE, "watch", userIds=["ada"])

    found = explain(stack)

    (tab,) = found["connections"]
    assert (tab["connectionId"], tab["state"], tab["isOver"]) == (TAB, "authenticated", False)
    assert tab["heardAt"] + tab["leaseSeconds"] * 1000 == tab["leaseEndsAt"]
    assert tab["chatSessionIds"] == [ROOM]
    assert found["chatSessions"] == [{"chatSessionId": ROOM, "memberCount": 2}]
    assert found["watchers"] == {"connections": 1, "isMore": False}
    assert 0 < found["unitsLeft"] < 400


def test_a_user_in_grace_leaves_the_chat_session_with_it(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.enter(TAB)
    stack.disconnect(TAB)

    found = explain(stack)

    assert found["connections"] == []
    assert found["chatSessions"][0]["leavesAt"] == found["tellsAt"] == found["nextChangeAt"]


def test_what_one_viewer_sees_is_told_with_why(stack: Stack) -> None:
    stack.join("ada", TAB)
    stack.http("PUT /blocked/eve", token=stack.token("ada"))
    stack.wait(10_000)

    blocked, free = (explain(stack, viewerId=name)["toViewer"] for name in ("eve", "bob"))

    assert (blocked["isBlocked"], blocked["seen"]["status"]) == (True, "offline")
    assert (free["isBlocked"], free["seen"]["status"]) == (False, "online")
    assert explain(stack)["blocked"] == 1


def test_a_policy_that_keeps_a_viewer_out_is_told(stack: Stack) -> None:
    stack.configure(VISIBILITY="shared-sessions")
    stack.join("ada", TAB)

    look = explain(stack, viewerId="bob")["toViewer"]

    assert (look["maySee"], look["seen"]["status"]) == (False, "offline")


def test_what_the_back_end_has_decided_is_told(stack: Stack) -> None:
    root = stack.token("root", scope=ADMIN)
    stack.join("ada", TAB)
    stack.http(f"DELETE /chat-sessions/{ROOM}/members/ada", token=root)
    stack.http("POST /users/ada/revocations", token=root, body={"tokenId": "j 1"})

    assert explain(stack)["standing"] == {"revokedTokens": 1, "removedFrom": [ROOM]}


def test_only_an_administrator_may_ask(stack: Stack) -> None:
    answer = stack.http("GET /users/ada/explain", token=stack.token("ada"))

    assert code_of(answer, 403) == "forbidden"
