"""What is found, and excused, where users are verified and clients keep two kinds of heartbeats."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from proof.nemesis.history import (
    Call,
    Connection,
    Ending,
    Fault,
    Interval,
    Look,
    Poll,
    Writer,
    read,
)
from proof.nemesis.report import deaths, kept, render, results, summary
from proof.nemesis.settings import SETTINGS, rules
from tests.proof.histories import RULES, device, heard, history, kinds, told


def look(asked: float, status: str, made: float = 10.05) -> Look:
    """A question that is answered a tenth of a second later; *made* is when ada changed last."""
    return Look(["ada"], asked, asked + 0.1, [told(asked + 0.1, status, made)])


def keeping(*beats: tuple[float, float | None], **more: object) -> Connection:
    """A connection of ada that named these heartbeats at these times, and was answered."""
    calls = [Call("check", at, at + 0.1, heartbeat=beat) for at, beat in beats]
    return Connection("a", "ada", calls, **more)  # type: ignore[arg-type]


def polled(at: float, status: str) -> Sequence[Poll]:
    return [Poll(at, at + 0.1, [told(at + 0.1, status, at if status == "offline" else 10.05)])]


HIDDEN, SHOWN = RULES.background, RULES.heartbeat
#: Heard last at 14, and never again.
SILENT = device(10, 14, paused=[14.5])


# ── those who look ─────────────────────────────────────────────────────────────────────────


def test_who_is_dead_is_offline_to_whoever_looks_when_the_probe_is_over() -> None:
    """Asked at 18, answered at 18.1, awaited until 20.1; two seconds more are allowed."""
    for at, expected in ((22.0, []), (22.3, ["false-online"])):
        looks = [look(18, "online"), look(at, "online")]
        assert kinds(history(SILENT, looks=looks)) == expected
        assert kinds(history(SILENT, looks=looks[1:])) == []


def test_so_are_answers_over_http_and_news() -> None:
    looked = history(SILENT, looks=[look(18, "online")])
    assert kinds(replace(looked, polls=polled(22.3, "online"))) == ["false-online"]
    for at, expected in ((22, []), (22.2, ["ghost"])):
        news = heard(told(10.3, "online", 10.05), told(at, "offline", at - 0.2))
        assert kinds(replace(looked, epochs=[news])) == expected


def test_a_look_at_who_was_heard_a_moment_ago_settles_nothing() -> None:
    fresh = [look(16.9, "online"), look(23.5, "online")]
    assert kinds(history(SILENT, looks=fresh)) == []


def test_a_look_settles_nothing_while_functions_are_killed() -> None:
    looks = [look(18, "online"), look(23, "online")]
    killed = [Fault("workers", 16, 18.05)]
    assert kinds(history(SILENT, looks=looks, faults=killed)) == []


def test_another_device_that_is_heard_answers_for_all() -> None:
    other = device(10, 12, 14, 16, 18, 20, 22, name="b")
    looks = [look(18, "online"), look(23, "online")]
    assert kinds(history(SILENT, other, looks=looks)) == []


def test_who_answers_a_probe_is_never_offline() -> None:
    answers = device(10, 14, 18.1)
    gone = look(20.3, "offline", 20.2)
    assert kinds(history(answers, looks=[look(18, "online"), gone])) == ["false-offline"]


def test_who_does_not_answer_may_be_offline_before_the_lease_is_over() -> None:
    gone = look(20.3, "offline", 20.2)
    assert kinds(history(SILENT, looks=[look(18, "online"), gone])) == []
    assert kinds(history(SILENT, looks=[gone])) == ["false-offline"]


def test_a_question_without_an_answer_may_have_sent_a_probe() -> None:
    lost = Look(["ada"], 18, 48)
    assert kinds(history(SILENT, looks=[lost, look(20.3, "offline", 20.2)])) == []


def test_who_is_closed_by_an_unanswered_probe_had_no_good_lease() -> None:
    closed = device(10, 14, ending=Ending(20.5, "closed"))
    assert kinds(history(closed, looks=[look(18, "online")])) == []
    assert kinds(history(closed)) == ["closed"]


@pytest.mark.parametrize(("count", "expected"), [(2, []), (3, ["probes"])])
def test_a_probe_for_each_who_looks_is_too_many(count: int, expected: list[str]) -> None:
    probed = [18.0 + number / 10 for number in range(count)]
    assert kinds(history(device(10, 14, 18.2, probed=probed))) == expected


def test_probes_that_waited_for_a_client_that_was_stopped_are_read_together() -> None:
    probed = [30.0, 30.0, 30.0, 30.0]
    stopped = device(10, 14, paused=[15], probed=probed)
    assert kinds(history(stopped)) == []
    assert kinds(history(replace(stopped, paused=[]))) == ["probes"]


def test_a_machine_that_stood_still_delays_probes() -> None:
    late = history(device(10, 14, probed=[18.0, 18.1, 18.2]), stalls=[Interval(14, 17.9)])
    assert kinds(late) == []


# ── two kinds of heartbeats ────────────────────────────────────────────────────────────────


def test_who_is_hidden_has_a_longer_lease() -> None:
    hidden = history(keeping((10, HIDDEN)))
    assert kinds(replace(hidden, polls=polled(60, "offline"))) == ["false-offline"]
    assert kinds(replace(hidden, polls=polled(72, "online"))) == []
    assert kinds(replace(hidden, polls=polled(74, "online"))) == ["false-online"]


def test_who_is_shown_again_has_the_usual_one() -> None:
    shown = history(keeping((10, HIDDEN), (20, SHOWN)))
    assert kinds(replace(shown, polls=polled(29, "offline"))) == ["false-offline"]
    assert kinds(replace(shown, polls=polled(31, "offline"))) == []
    assert kinds(replace(shown, polls=polled(34, "online"))) == ["false-online"]


def test_a_frame_that_names_none_keeps_the_last() -> None:
    joined = history(keeping((10, HIDDEN), (20, None)))
    assert kinds(replace(joined, polls=polled(79, "online"))) == []


def test_who_is_let_in_again_by_a_frame_that_names_none_may_be_silent_for_long() -> None:
    back = history(keeping((10, SHOWN), (19.9, None)))
    assert kinds(replace(back, polls=polled(79, "online"))) == []
    in_time = history(keeping((10, SHOWN), (14, None)))
    assert kinds(replace(in_time, polls=polled(28, "online"))) == ["false-online"]


def test_what_was_not_answered_may_count_or_not() -> None:
    calls = [Call("check", 10, 10.1, heartbeat=HIDDEN), Call("check", 20, heartbeat=SHOWN)]
    unsure = history(Connection("a", "ada", calls))
    for at, status in ((31, "offline"), (60, "online")):
        assert kinds(replace(unsure, polls=polled(at, status))) == []
    assert kinds(replace(unsure, polls=polled(29, "offline"))) == ["false-offline"]


@pytest.mark.parametrize("name", SETTINGS)
def test_the_relations_of_each_setting_are_kept_in_its_runs(name: str) -> None:
    found = rules(name)
    assert (10 * found.heartbeat, 10 * found.background) == SETTINGS[name]
    assert found.grace < found.lease
    assert found.probe < found.lease <= found.background_lease


# ── reading and reporting ──────────────────────────────────────────────────────────────────


def test_the_time_until_a_death_is_known_to_whoever_looks_is_reported() -> None:
    gone = look(20.3, "offline", 20.1)
    (death,) = deaths(history(SILENT, looks=[look(18, "online"), gone]))
    assert (death.kind, death.path) == ("half-open", "look")
    assert death.seconds == pytest.approx(20.4 - 14.5)


def test_results_of_settings_are_kept_side_by_side() -> None:
    run = summary(1, 60, history(SILENT, looks=[look(18, "online")]), [])
    about = {"commit": "c", "date": "d", "durations": {"lease": 9, "grace": 3, "sweep": 5}}
    about["durations"] |= {"heartbeat": 6, "background_lease": 81, "fresh": 3, "probe": 2}  # type: ignore[operator]
    usual, fast = (results([run], about | {"setting": name}) for name in ("usual", "fast"))
    assert kept([{"runs": 20}, usual], fast) == [fast, usual]
    page = render(kept([usual], fast))
    assert page.index("Setting *fast*") < page.index("Setting *usual*")
    assert "81 s while hidden" in page
    assert "answered 1 times" in page


def test_what_lookers_and_devices_wrote_is_read(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "a.jsonl")
    writer.write("rules", at=0, heartbeat=2, lease=10, grace=3, sweep=5)
    writer.write("open", at=1, connection="a.1", process="a", user="ada")
    call = {"call": 1, "action": "check", "connection": "a.1"}
    writer.write("invoke", at=2, heartbeat=40, **call)
    writer.write("ok", at=3, **call)
    writer.write("probed", at=4, connection="a.1")
    online = {"userId": "ada", "status": "online", "version": 4000}
    known = {"observer": "looker", "users": ["ada"]}
    writer.write("looked", at=5, told=[online], asked=4.5, until=34.5, **known)
    writer.write("looked", at=7, told=[], asked=6, until=36, **known)

    found = read(tmp_path)

    calls = [Call("check", 2, 3, heartbeat=40)]
    assert found.connections == [Connection("a.1", "ada", calls, paused=[], probed=(4,))]
    assert found.looks == [
        Look(["ada"], 4.5, 5, [told(5, "online", 4)]),
        Look(["ada"], 6, 36, []),
    ]
    assert found.users == ["ada"]
