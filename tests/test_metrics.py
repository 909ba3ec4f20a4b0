"""The figures of one execution environment, in memory."""

import ast
from collections.abc import Mapping
from pathlib import Path

import presence
import presence.metrics
from presence.limits import METRIC_VALUES
from presence.metrics import (
    METRICS,
    POSTS,
    REFUSALS,
    SESSION_LENGTH,
    STATUS_LATENCY,
    Meter,
    Metric,
    Unit,
)

CODE = Path(presence.__file__).parent
MINUTE = 60_000
NOW = 1_000 * MINUTE


def taken(meter: Meter, now: int, *, at_once: bool = False) -> Mapping[Metric, list[float]]:
    return {it: [*values] for it, values in meter.due(now, at_once=at_once).items()}


def test_what_was_counted_is_one_sum_and_what_was_measured_are_values() -> None:
    meter = Meter()
    meter.count(REFUSALS)
    meter.count(REFUSALS, 4)
    meter.count(POSTS, 0)
    meter.measure(SESSION_LENGTH, 1.5)
    meter.measure(SESSION_LENGTH, 60)
    assert taken(meter, NOW) == {REFUSALS: [5], SESSION_LENGTH: [1.5, 60]}


def test_figures_are_taken_once_a_minute_and_none_is_told_twice() -> None:
    meter = Meter()
    meter.count(POSTS)
    assert taken(meter, NOW) == {POSTS: [1]}
    meter.count(POSTS, 2)
    meter.count(POSTS, 3)
    assert taken(meter, NOW + MINUTE - 1) == {}
    assert taken(meter, NOW + MINUTE) == {POSTS: [5]}
    assert taken(meter, NOW + 9 * MINUTE) == {}


def test_nothing_is_no_line_and_does_not_begin_a_minute() -> None:
    meter = Meter()
    assert taken(meter, NOW) == {}
    meter.count(POSTS)
    assert taken(meter, NOW + 1) == {POSTS: [1]}


def test_what_is_taken_at_once_waits_for_no_minute() -> None:
    meter = Meter()
    for moment in (NOW, NOW + 1):
        meter.count(POSTS)
        assert taken(meter, moment, at_once=True) == {POSTS: [1]}


def test_of_many_values_some_are_kept_from_everywhere() -> None:
    meter = Meter()
    many = 50 * METRIC_VALUES
    for value in range(many):
        meter.measure(STATUS_LATENCY, value)
    kept = taken(meter, NOW)[STATUS_LATENCY]
    assert len({*kept}) == METRIC_VALUES
    # 99 of 4,950, each as likely: none of the first or of the last half once in 2 ** 99 runs.
    assert min(kept) < many / 2 < max(kept)


def test_names_are_unlike_and_counts_are_sums() -> None:
    names = [it.name for it in METRICS]
    assert len({*names}) == len(names)
    assert all(name.isalnum() for name in names)
    assert {it.read_by for it in METRICS if it.unit is not Unit.COUNT} <= {
        "p95",
        "p50, p95",
        "Minimum",
    }


def test_every_metric_is_counted_or_measured_somewhere() -> None:
    used = {
        node.id
        for path in CODE.rglob("*.py")
        if path.name != "metrics.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Name)
    }
    names = {name for name, it in vars(presence.metrics).items() if isinstance(it, Metric)}
    assert len(names) == len(METRICS)
    assert names - used == set()
