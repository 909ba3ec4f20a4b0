"""A second sink: this class and one line in `SINKS`; it sees each change once for each version."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence.domain.user import Choice
from presence.fanout.diffs import Record, UserDiff
from presence.fanout.sinks import SINKS, Parts
from tests.functions.conftest import TAB, Stack
from tests.world import GRACE, World


@dataclass
class History:
    """Keeps each public change; the user id and the version tell that it has it already."""

    kept: dict[tuple[str, int], str] = field(default_factory=dict)
    error: Exception | None = None
    figures: Mapping[str, int] = field(default_factory=dict)

    def publish(self, diffs: Sequence[UserDiff], *, until: int | None) -> Mapping[str, int]:
        del until
        if self.error:
            raise self.error
        before = len(self.kept)
        for it in (change for diff in diffs for change in diff.public_changes()):
            self.kept.setdefault((it.user_id, it.version), it.status.value)
        return {"kept": len(self.kept) - before, **self.figures}


@pytest.fixture
def history() -> Iterator[History]:
    made = History()

    def make(parts: Parts) -> History:
        del parts
        return made

    SINKS.append(make)  # the one line
    yield made
    SINKS.remove(make)


def statuses(history: History, user_id: str) -> list[str]:
    return [status for (name, _), status in history.kept.items() if name == user_id]


def test_a_sink_sees_each_change_also_those_that_a_batch_coalesces(history: History) -> None:
    world = World()
    world.join("bob", "b1")
    world.stream()
    for choice in (Choice.AWAY, Choice.BUSY, Choice.INVISIBLE, Choice.ONLINE):
        world.wait(1)
        world.choose("bob", choice)
    world.enter("b1", "room.1")
    world.leave("b1")
    world.wait(GRACE)
    world.fire_timers()

    announced = world.stream()

    # Hiding is told after the grace period, as leaving is: the user was visible again before.
    assert statuses(history, "bob") == ["online", "away", "busy", "online", "offline"]
    assert announced.figures == {"gone": 0, "refused_posts": 0, "kept": 4}
    assert world.heard_by("b1") == [("bob", "online")]


@given(st.data())
def test_a_sink_sees_each_change_once_whatever_comes_late_or_twice(data: st.DataObject) -> None:
    world, history = World(), History()
    announce = type(world.announcer)(world.users, world.online_index, [history]).announce
    for choice in data.draw(st.lists(st.sampled_from(Choice), max_size=8)):
        world.wait(1)
        world.join("ada", f"a{world.now}")
        world.choose("ada", choice)
    records = [Record(*images) for images in world.tables.stream]
    delivered = data.draw(st.permutations(records * 2))

    while delivered:
        size = data.draw(st.integers(1, len(delivered)))
        announce(delivered[:size])
        delivered = delivered[size:]

    written = [
        (after.version, after.presence.status.value)
        for before, after in world.tables.stream
        if after.presence.differs_for_others(before.presence)
    ]
    assert sorted((version, it) for (_, version), it in history.kept.items()) == written


def test_a_sink_that_fails_keeps_no_frame_and_no_count_back(history: History) -> None:
    world = World()
    history.error = RuntimeError("its service is down")
    world.join("bob", "b1")

    announced = world.stream()

    assert world.heard_by("b1") == [("bob", "online")]
    assert world.online_index.count().online == 1
    assert announced.failures == {"History": history.error}


# ── behind the stream ──────────────────────────────────────────────────────────────────────


def test_the_handler_calls_each_sink(history: History, stack: Stack) -> None:
    stack.log_everything()
    stack.join("ada", TAB)
    stack.ask(TAB, "status", status="busy")

    for _ in range(2):
        stack.handed_on["stream"] = 0  # the batch is repeated
        assert stack.stream() == {"batchItemFailures": []}

    assert statuses(history, "ada") == ["online", "busy"]
    assert stack.log_lines()[-1]["failed_sinks"] == 0


def test_a_batch_is_not_repeated_for_a_sink_that_fails(history: History, stack: Stack) -> None:
    history.error = RuntimeError("its service is down")
    stack.join("ada", TAB)

    assert stack.stream() == {"batchItemFailures": []}

    assert [it["type"] for it in stack.heard(TAB)][-1] == "user-status-change"
    failed, served = stack.log_lines()[-2:]
    assert (failed["message"], failed["sink"]) == ("sink failed", "History")
    assert "its service is down" in failed["exception"]
    assert served["failed_sinks"] == 1


def test_a_figure_of_a_sink_replaces_none_of_the_handler(history: History, stack: Stack) -> None:
    stack.log_everything()
    history.figures = {"records": 99, "failed_sinks": 99, "sent": 1}
    stack.join("ada", TAB)

    assert stack.stream() == {"batchItemFailures": []}

    served = stack.log_lines()[-1]
    assert (served["records"], served["failed_sinks"], served["sent"]) == (1, 0, 1)
