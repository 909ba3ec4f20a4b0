"""What is counted of a run, and how it reads."""

from typing import Any

from tests.nemesis import report
from tests.nemesis.check import Violation
from tests.nemesis.history import (
    Call,
    Connection,
    Ending,
    Epoch,
    Fault,
    History,
    Poll,
    Rules,
    Told,
)
from tests.nemesis.report import Death, deaths, distributions, render, results, summary

RULES = Rules(heartbeat=2, lease=10, grace=3, sweep=5)
ABOUT = {
    "commit": "abc",
    "date": "2026-11-26",
    "durations": {"heartbeat": 2, "lease": 10, "grace": 3, "sweep": 5},
}


def history(how: str = "close", *, is_read: bool = False, **more: Any) -> History:
    """Ada comes at 10 and dies at 20; a subscriber hears of it, or HTTP is asked at 30."""
    calls = [Call("authenticate", 10, 10.1), Call("ping", 18, 18.1)]
    heard = [Told(10.2, "ada", "online", 10_100), Told(24, "ada", "offline", 23_900)]
    connection = Connection("a", "ada", calls, Ending(20, how))
    return History(
        RULES,
        [connection],
        epochs=[Epoch("watcher", 0, 100, heard)],
        polls=[Poll(30, 30.5, [Told(30.5, "ada", "offline", 23_900)])] if is_read else [],
        stop=100,
        **more,
    )


def test_a_death_is_measured_to_each_who_notices() -> None:
    assert deaths(history()) == [Death("close", "push", 4.0, is_undisturbed=True)]
    assert deaths(history(is_read=True)) == [Death("close", "http", 10.5, is_undisturbed=True)]


def test_what_was_done_to_the_stack_meanwhile_is_told_apart() -> None:
    faults = [Fault("stream", 19, 26)]
    (push,) = deaths(history(faults=faults))
    (http,) = deaths(history(faults=faults, is_read=True))
    assert not push.is_undisturbed
    assert http.is_undisturbed


def test_whoever_came_back_in_time_was_not_noticed() -> None:
    back = Connection("b", "ada", [Call("authenticate", 22, 22.1)])
    it = history()
    found = deaths(History(RULES, [*it.connections, back], it.epochs, it.polls, stop=23))
    assert found == []


def test_a_silent_death_counts_from_when_the_process_stood_still() -> None:
    calls = [Call("authenticate", 10, 10.1), Call("ping", 18, 18.1)]
    silent = Connection("a", "ada", calls, paused=[19])
    heard = [Told(10.2, "ada", "online", 10_100), Told(30, "ada", "offline", 29_900)]
    found = deaths(History(RULES, [silent], epochs=[Epoch("w", 0, 100, heard)], stop=100))
    assert found == [Death("half-open", "push", 11.0, is_undisturbed=True)]


def test_a_distribution_names_the_worst() -> None:
    found = [Death("kill", "push", float(number), is_undisturbed=True) for number in range(100)]
    (it,) = distributions(found)
    assert it == {
        "death": "kill",
        "path": "push",
        "undisturbed": True,
        "count": 100,
        "min": 0,
        "median": 50,
        "p95": 95,
        "p99": 99,
        "max": 99,
    }


def test_runs_are_added_up() -> None:
    wrong = Violation("false-offline", 24, "watcher: ada")
    one = summary(1, 180, history(faults=[Fault("route", 1, 2)]), [])
    other = summary(2, 180, history("kill", faults=[Fault("route", 1, 2)]), [wrong])

    found = results([one, other], ABOUT)

    assert found["seeds"] == [1, 2]
    assert found["faults"] == {"kill": 1, "route": 2}
    assert (found["offlinesTold"], found["falseOfflines"]) == (2, 1)
    assert found["violations"] == [{"kind": "false-offline", "at": 24, "text": "watcher: ada"}]
    assert [it["count"] for it in found["deathToOffline"]] == [1, 1]


def test_a_page_says_what_was_found() -> None:
    text = render(results([summary(it, 180, history(), []) for it in (1, 2, 3)], ABOUT))
    assert "3 runs with 180 seconds of faults" in text
    assert "seeds 1 to 3" in text
    assert "**0 violations**" in text
    assert "| closed cleanly | told to subscribers | 3 | 4.0 | 4.0 | 4.0 | 4.0 | 4.0 |" in text


def test_every_fault_and_every_death_has_words() -> None:
    assert set(report.DEATHS) >= {"close", "kill", "abort", "half-open"}
