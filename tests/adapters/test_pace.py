import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence.adapters.posting.pace import LATEST, LEAST, MOST, SOONEST, STEP, Pace


def behind(pace: Pace, share: float, rounds: int) -> Pace:
    """The pace after so many rounds in which that share was refused."""
    for _ in range(rounds):
        pace = pace.after(1000, round(1000 * share), 10)
    return pace


def test_the_window_doubles_while_hardly_anything_is_refused() -> None:
    windows = [behind(Pace(), 0, rounds).window for rounds in range(6)]

    assert windows == [16, 32, 64, 128, 256, 256]
    assert [behind(Pace(), 0.05, rounds).window for rounds in range(3)] == [16, 32, 63]


def test_when_many_are_refused_it_grows_by_steps_from_then_on() -> None:
    cut = behind(Pace(100), 0.2, 1)

    assert cut.window == 90 + STEP
    assert [behind(cut, 0, rounds).window for rounds in (1, 2)] == [94 + STEP, 94 + 2 * STEP]


@pytest.mark.fault("The account's quota of requests is used up: 429.")
def test_it_is_cut_by_half_of_the_share_that_was_refused() -> None:
    pace = Pace(100, is_probing=False)

    cuts = [100 + STEP - pace.after(100, refused, 1).window for refused in (0, 10, 50, 100)]

    assert cuts == [0, 5, 25, 50]


def test_single_clients_with_full_buffers_do_not_close_it() -> None:
    assert behind(Pace(), 0.05, 1000).window >= MOST // 2


def test_an_endpoint_that_refuses_everything_is_asked_little() -> None:
    assert behind(Pace(), 1, 20).window <= 2 * STEP


@pytest.mark.parametrize("quota", [20, 50, 200])
def test_a_quota_is_exceeded_by_no_more_than_two_steps(quota: int) -> None:
    """A quota of so many posts a round, and whatever is more is refused."""
    pace = Pace()
    for _ in range(200):
        pace = pace.after(pace.window, max(0, pace.window - quota), 1)

    assert quota <= pace.window <= quota + 2 * STEP + 1


@pytest.mark.parametrize(
    ("took", "late"), [(0.001, SOONEST), (0.010, 0.05), (0.030, 0.15), (0.1, 0.5), (1, LATEST)]
)
def test_a_post_is_late_after_several_times_what_others_take(took: float, late: float) -> None:
    assert Pace().after(100, 0, 100 * took).late == pytest.approx(late)


@pytest.mark.parametrize("start", [Pace(), Pace(MOST), Pace(LEAST, is_probing=False)])
@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0, 1000))))
def test_it_stays_within_its_bounds(start: Pace, rounds: list[tuple[int, float]]) -> None:
    for refused, seconds in rounds:
        start = start.after(100, refused, seconds)
        assert LEAST <= start.window <= MOST
        assert SOONEST <= start.late <= LATEST
