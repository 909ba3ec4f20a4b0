"""Topics with many recipients and large rooms, through the functions: stream, timer and jobs."""

import pytest

from tests.functions.conftest import Event, Stack
from tests.functions.test_user_status import MEMBERS

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
