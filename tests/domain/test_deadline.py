"""Working through a list until the deadline."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence.deadline import always, in_time, within


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
