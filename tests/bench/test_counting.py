"""What AWS bills for, as rules: each part that is begun counts, and a month is a line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.bill import counting
from bench.bill.events import fits
from bench.bill.functions import metrics_of
from bench.bill.prices import APART, PRICES

SIZES = st.integers(0, 1_000_000)
AMOUNTS = st.dictionaries(
    st.sampled_from(["writes/ping", "writes/status", "reads/ping", "log_bytes/ping: lines"]),
    st.integers(0, 10_000).map(float),
)


@pytest.mark.parametrize(
    ("rule", "amount", "begun"),
    [
        (counting.messages, 0, 1),  # an empty frame is a message, if it is sent
        (counting.messages, 32 * 1024, 1),
        (counting.messages, 32 * 1024 + 1, 2),
        (counting.http_requests, 512 * 1024 + 1, 2),
        (counting.sqs_requests, 64 * 1024, 1),
        (counting.sqs_requests, 256 * 1024, 4),
        (counting.minutes, 1, 1),
        (counting.minutes, 60_000, 1),
        (counting.minutes, 60_001, 2),
    ],
)
def test_each_step_counts_that_is_begun(rule: object, amount: int, begun: int) -> None:
    assert callable(rule)
    assert rule(amount) == begun


@given(SIZES, st.integers(1, 100_000))
def test_steps_hold_the_size_and_no_step_is_empty(size: int, step: int) -> None:
    begun = counting.steps(size, step)
    assert begun * step >= size
    assert begun == 1 or (begun - 1) * step < size


@given(SIZES, SIZES)
def test_one_large_message_never_costs_more_than_its_parts(first: int, second: int) -> None:
    assert counting.messages(first + second) <= counting.messages(first) + counting.messages(second)


@given(st.floats(0, 500), st.floats(0, 500), st.sampled_from([128, 512, 1769, 3008]))
def test_a_function_is_billed_for_each_millisecond_it_has_begun(
    cpu: float, waited: float, memory: int
) -> None:
    billed = counting.billed_milliseconds(cpu, waited, memory)
    took = cpu / min(1, memory / 1769) + waited
    assert took - 0.001 <= billed <= took + 1.001


def test_a_function_with_half_a_processor_takes_twice_as_long() -> None:
    assert counting.billed_milliseconds(10, 0, 1769) == 10
    assert counting.billed_milliseconds(10, 5, 512) == 40  # 34.6 and 5
    assert counting.gb_seconds(1000, 512) == 0.5


def test_quiet_functions_have_no_lines_of_lambda() -> None:
    assert counting.system_log_bytes(is_quiet=True) == 0
    assert counting.system_log_bytes(is_quiet=False) > 3 * counting.LOG_EVENT_BYTES
    assert counting.log_bytes(["é"]) == 2 + counting.LOG_EVENT_BYTES


@given(AMOUNTS, AMOUNTS, st.integers(2, 12))
def test_two_cut_days_give_the_whole_day(
    events: dict[str, float], an_hour: dict[str, float], cut: int
) -> None:
    """Whatever is used once, and whatever is used all the time."""

    def day(cut: float) -> dict[str, float]:
        return counting.combined([(1, events), (24 / cut, an_hour)])

    found = counting.stretched(day(2 * cut), day(cut), 2 * cut, cut)
    assert found == pytest.approx(day(1), abs=1e-6)


@given(AMOUNTS, AMOUNTS, st.integers(1, 5), st.integers(1, 4))
def test_the_idle_stack_is_in_a_month_once_however_many_users_there_are(
    by_users: dict[str, float], idle: dict[str, float], minutes: int, times: int
) -> None:
    used = counting.combined([(1, by_users), (minutes, idle)])
    beyond = counting.of_users(used, idle, minutes)
    month = counting.month(beyond, idle, shown=3, users=3 * times, days=2)
    expected = counting.combined([(2 * times, by_users), (2 * 24 * 60, idle)])
    assert month == pytest.approx(expected, abs=1e-6)


def test_an_item_is_the_sum_of_its_causes() -> None:
    amounts = {
        "log_bytes/ping: lines": 3.0,
        "log_bytes/ping: of Lambda": 2.0,
        "log_bytes/join": 1.0,
    }
    assert counting.total(amounts, "log_bytes") == 6
    assert counting.by_cause(amounts, "log_bytes") == {"ping": 5, "join": 1}


def test_prices_are_for_so_many_and_say_where_they_stand() -> None:
    assert PRICES["messages_in"].of(2_000_000) == 2
    assert PRICES["log_bytes"].of(5e9) == 2.5
    assert all(it.source for it in (*PRICES.values(), *APART.values()))
    assert not PRICES.keys() & APART.keys()


def test_a_metric_is_billed_for_each_set_of_its_dimensions() -> None:
    told = (
        '{"_aws": {"CloudWatchMetrics": [{"Namespace": "Presence", "Dimensions": [["route"]],'
        ' "Metrics": [{"Name": "frames"}, {"Name": "late"}]}]}, "route": "ROUTE"}'
    )
    assert len(metrics_of(told)) == 2
    assert len(metrics_of(told) | metrics_of(told.replace("ROUTE", "ping"))) == 4
    assert metrics_of('{"message": "served"}') == set()


@pytest.mark.parametrize(
    ("pattern", "value", "is_wanted"),
    [
        ({"a": {"b": [True]}}, {"a": {"b": True}}, True),
        ({"a": {"b": [True]}}, {"a": {"b": 1}}, False),
        ({"a": {"b": [True]}}, {"a": {}}, False),
        ({"a": ["x", "y"]}, {"a": "y", "other": 1}, True),
        ({"a": [{"exists": False}]}, {}, True),
        ({"a": [{"prefix": "us"}]}, {"a": "user"}, True),
        ({"a": [{"anything-but": ["x"]}]}, {"a": "x"}, False),
    ],
)
def test_a_stream_calls_its_function_for_what_fits_the_filter(
    pattern: object, value: object, is_wanted: bool
) -> None:
    assert fits(pattern, value) is is_wanted
