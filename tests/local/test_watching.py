"""What the local stack makes of lines of metrics, and of alarms, as CloudWatch does."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local.watching import Tail, Watcher, data_in, periods_of, state_of
from presence.metrics import METRICS, POSTS, STATUS_LATENCY

MINUTE = 60.0
NOW = 100_000 * MINUTE


def alarm(**fields: Any) -> dict[str, Any]:
    usual = {
        "AlarmName": "alarm",
        "Namespace": "stack",
        "MetricName": "Errors",
        "Dimensions": [{"Name": "service", "Value": "presence"}],
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 3,
        "ComparisonOperator": "GreaterThanThreshold",
        "Threshold": 10.0,
        "TreatMissingData": "notBreaching",
    }
    return {**usual, **fields}


LINE = (
    '{"_aws":{"Timestamp":1700000000500,"CloudWatchMetrics":[{"Namespace":"stack","Dimensions":'
    '[["service"]],"Metrics":[{"Name":"Posts","Unit":"Count"},{"Name":"StatusLatency","Unit":'
    '"Milliseconds"}]}]},"service":"presence","Posts":[7.0],"StatusLatency":[3.5,4.0]}'
)


def test_a_line_of_metrics_is_a_datum_for_each() -> None:
    found = [*data_in(LINE)]
    assert {namespace for namespace, _ in found} == {"stack"}
    posts, latency = (datum for _, datum in found)
    assert posts == {
        "MetricName": POSTS.name,
        "Dimensions": [{"Name": "service", "Value": "presence"}],
        "Timestamp": datetime.fromtimestamp(1_700_000_000.5, UTC),
        "Unit": "Count",
        "Values": [7.0],
    }
    assert (latency["MetricName"], latency["Values"]) == (STATUS_LATENCY.name, [3.5, 4.0])
    assert {POSTS, STATUS_LATENCY} <= {*METRICS}


@pytest.mark.parametrize(
    "line", ["", "Traceback", "[]", "3", '{"message": "served"}', '{"_aws": 1}', LINE[:-1]]
)
def test_any_other_line_is_none(line: str) -> None:
    assert [*data_in(line)] == []


def test_a_line_is_read_once_and_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "functions.log"
    file.write_text("one\ntw")
    tail = Tail(file)
    assert tail.lines() == ["one"]
    with file.open("a") as more:
        more.write("o\nthree\n")
    assert tail.lines() == ["two", "three"]
    assert tail.lines() == []


# ── alarms ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("periods", "state"),
    [
        ([11, 12, 13], "ALARM"),
        ([11, 10, 13], "OK"),
        ([11, None, 13], "OK"),
        ([None, None, None], "OK"),
    ],
    ids=str,
)
def test_an_alarm_needs_all_its_periods(periods: list[float | None], state: str) -> None:
    assert state_of(alarm(), periods) == state


def test_an_alarm_may_need_some_of_them_only() -> None:
    assert state_of(alarm(DatapointsToAlarm=2), [11, None, 13]) == "ALARM"


@pytest.mark.fault("Nothing tells that nothing happens.")
def test_a_dead_mans_switch_rings_for_what_is_missing() -> None:
    switch = alarm(
        Statistic="SampleCount",
        ComparisonOperator="LessThanThreshold",
        Threshold=1.0,
        TreatMissingData="breaching",
    )
    assert state_of(switch, [None, None, None]) == "ALARM"
    assert state_of(switch, [None, 2, None]) == "OK"


def test_ticks_are_combined_as_the_statistic_says() -> None:
    ticks = {0: 1.0, 4: 2.0, 5: 8.0}
    assert periods_of(ticks, "Sum", 2, 5) == [3, 8]
    assert periods_of(ticks, "Minimum", 2, 5) == [1, 8]
    assert periods_of(ticks, "Maximum", 3, 5) == [2, 8, None]


class OneAlarm:
    """A local CloudWatch with one alarm, and data of other dimensions beside its own."""

    def __init__(self, alarm: dict[str, Any], data: dict[float, float]) -> None:
        self.alarm, self.data = alarm, data
        self.told: list[str] = []

    def set_alarm_state(self, **told: str) -> None:
        self.told.append(told["StateValue"])
        self.alarm["StateValue"] = told["StateValue"]

    def describe_alarms(self, **_: Any) -> dict[str, Any]:
        return {"MetricAlarms": [self.alarm]}

    def get_metric_statistics(self, **asked: Any) -> dict[str, Any]:
        start, end = asked["StartTime"].timestamp(), asked["EndTime"].timestamp()
        assert asked["Dimensions"] == self.alarm["Dimensions"]
        found = {at // asked["Period"] * asked["Period"]: it for at, it in self.data.items()}
        return {
            "Datapoints": [
                {"Timestamp": datetime.fromtimestamp(at, UTC), asked["Statistics"][0]: it}
                for at, it in found.items()
                if start <= at < end
            ]
        }


def states(alarm: dict[str, Any], data: dict[float, float], **how: float) -> dict[str, str]:
    now, since, pace = how.get("now", NOW), how.get("since", 0.0), how.get("pace", 1.0)
    return Watcher(OneAlarm(alarm, data), None, since, pace).states(now)


def test_an_alarm_is_looked_at_each_minute_over_periods_that_end_then() -> None:
    """Five minutes are the last five, and not those that a clock begins with 0 and 5."""
    five = alarm(Period=300, EvaluationPeriods=1)
    data = {NOW - 4.5 * MINUTE: 6.0, NOW - 0.5 * MINUTE: 6.0}
    assert states(five, data) == {"alarm": "ALARM"}
    assert states(five, data, now=NOW + MINUTE) == {"alarm": "OK"}
    # The minute that has begun does not count yet.
    assert states(five, data, now=NOW - 1) == {"alarm": "OK"}


def test_minutes_can_be_shorter() -> None:
    quick = alarm(EvaluationPeriods=2)
    data = {NOW - 2: 11.0, NOW - 4: 11.0}
    assert states(quick, data, pace=20) == {"alarm": "ALARM"}
    assert states(quick, data) == {"alarm": "OK"}


def test_what_should_have_come_before_the_stack_was_ready_is_not_missed() -> None:
    switch = alarm(TreatMissingData="breaching")
    assert states(switch, {}, since=NOW - 2 * MINUTE) == {}
    assert states(switch, {}, since=NOW - 3 * MINUTE) == {"alarm": "ALARM"}
    assert states(alarm(), {}, since=NOW) == {"alarm": "OK"}


def test_an_alarm_is_told_only_when_its_state_is_another() -> None:
    data = {NOW - MINUTE * (number + 0.5): 11.0 for number in range(3)}
    local = OneAlarm(alarm(StateValue="OK"), data)
    for _ in range(2):
        Watcher(local, None, since=0).tell(NOW)
    assert local.told == ["ALARM"]
