"""The recipients of a topic, which reading leaves as they are, and the growth of topics."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence import limits
from presence.fanout.recipients import (
    Few,
    Recipients,
    Sampled,
    TooMany,
    read_recipients,
    rebalance,
    shards_needed,
)
from presence.ports import EVERYONE, Topic
from tests.world import World

ROOM = "room.1"
SESSION = Topic("session", ROOM)


def subscribed(amount: int, *, page: int = 1_000) -> World:
    world = World(page=page)
    for number in range(amount):
        world.tables.sessions.setdefault(ROOM, {})[f"c{number}"] = f"user-{number}"
    return world


def read(world: World, monkeypatch: pytest.MonkeyPatch) -> Recipients:
    """With a limit of five posts, and without a single write."""
    monkeypatch.setattr(limits, "POSTS_AT_ONCE", 5)
    tables = world.tables
    before = deepcopy((tables.shards, tables.marked, tables.sessions))
    found = read_recipients(world.subscriptions, SESSION)
    assert (tables.shards, tables.marked, tables.sessions) == before
    return found


def test_a_topic_without_subscribers_has_few(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(World(), monkeypatch) == Few([], [0])


@pytest.mark.parametrize("page", [1, 2, 100])
def test_up_to_the_limit_all_are_read(page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(subscribed(5, page=page), monkeypatch)

    assert isinstance(found, Few)
    assert sorted(it.connection_id for it in found.subscribers) == [f"c{n}" for n in range(5)]
    assert (found.shards, found.rows) == (1, [5])


@pytest.mark.parametrize(("page", "rows"), [(1, [6]), (4, [8]), (100, [30])])
def test_beyond_the_limit_no_further_page_is_read(
    page: int, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read(subscribed(30, page=page), monkeypatch) == TooMany(1, rows)


def test_a_topic_of_many_shards_is_too_many_without_being_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = subscribed(3)
    world.subscriptions.grow(SESSION, 1, 16)

    assert read(world, monkeypatch) == TooMany(16)


def test_a_marked_room_is_sampled_however_few_are_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = subscribed(3)
    world.subscriptions.mark(ROOM, is_large=True)

    assert read(world, monkeypatch) == Sampled(1)


# ── growth ─────────────────────────────────────────────────────────────────────────────────

FULL = limits.ROWS_PER_SHARD


@pytest.mark.parametrize(
    ("shards", "rows", "needed"),
    [
        pytest.param(1, {}, 1, id="nothing-read"),
        pytest.param(1, {0: FULL}, 1, id="full"),
        pytest.param(1, {0: FULL + 1}, 2, id="one-row-more"),
        pytest.param(1, {0: 10 * FULL}, 16, id="very-full-before-it-was-read"),
        pytest.param(4, {0: 9 * FULL, 1: 9 * FULL}, 4, id="only-rows-from-before-it-grew"),
        pytest.param(4, {2: FULL + 1, 3: 3 * FULL}, 16, id="the-fullest-counts"),
        pytest.param(limits.MOST_SHARDS, {1_000: 9 * FULL}, limits.MOST_SHARDS, id="the-most"),
    ],
)
def test_a_topic_grows_with_the_new_rows(shards: int, rows: dict[int, int], needed: int) -> None:
    assert shards_needed(shards, rows) == needed


@given(st.integers(0, 10), st.dictionaries(st.integers(0, 1_023), st.integers(0, 10**7)))
def test_a_topic_never_shrinks_and_grows_by_doubling(power: int, rows: dict[int, int]) -> None:
    shards = 1 << power

    needed = shards_needed(shards, rows)

    assert shards <= needed <= limits.MOST_SHARDS
    assert needed & (needed - 1) == 0


def test_growth_is_written_once_for_all_that_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ROWS_PER_SHARD", 2)
    world = World()

    for rows in ({0: 3}, {0: 9}, {0: 1}):
        rebalance(world.subscriptions, SESSION, 1, rows)
        rebalance(world.subscriptions, EVERYONE, 8, {0: 9})

    assert world.tables.shards == {SESSION: 2}
