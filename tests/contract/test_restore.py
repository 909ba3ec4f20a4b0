"""Blocks after the table Users was lost: the rows in Subscriptions bring them back."""

import pytest

from presence.application.blocking import Blocking
from presence.application.user_changes import UserChanges
from presence.domain.events import Authenticated, Blocked, Unblocked
from tests.contract.conftest import Store, moto
from tests.contract.test_store import NOW, TAB, lease, save
from tests.fakes import FakeTimers

pytestmark = pytest.mark.contract

BLOCKS = {"ada": ["bob", "eve"], "kim": ["ada"]}


@pytest.fixture
def lost(dynamodb: Store) -> Store:
    """Users have blocked viewers, and the table with the users is gone."""
    save(dynamodb, "ada", Authenticated(TAB, lease()), Blocked("zoe"))
    save(dynamodb, "ada", Unblocked(frozenset({"zoe"})))
    for user_id, viewer_ids in BLOCKS.items():
        save(dynamodb, user_id, *(Blocked(it) for it in viewer_ids))
    for user_id in BLOCKS:
        moto().Table("Users").delete_item(Key={"user_id": user_id})
    return dynamodb


def blocking(store: Store) -> Blocking:
    changes = UserChanges(store.users, FakeTimers(), lambda _: None)
    return Blocking(store.users, store.subscriptions, changes)


def stored(store: Store) -> dict[str, list[str]]:
    return {it: sorted(store.users.read(it, consistent=True).blocked) for it in BLOCKS}


@pytest.mark.fault("The table of users is lost, and with it their blocks.")
def test_blocks_are_restored_from_their_rows(lost: Store) -> None:
    before = stored(lost)

    is_complete, _ = blocking(lost).restore(None, NOW, lambda: True)

    assert before == {"ada": [], "kim": []}
    assert is_complete
    assert stored(lost) == BLOCKS
    assert not lost.users.read("ada").seen_by("eve").is_online
    assert list(lost.subscriptions.naming("eve")) == ["ada"]


def test_restoring_goes_on_where_it_ran_out_of_time(lost: Store) -> None:
    last, done = None, list[bool]()
    for _ in range(3):
        time = iter([True])
        is_complete, last = blocking(lost).restore(last, NOW, lambda: next(time, False))  # noqa: B023
        done.append(is_complete)

    assert done == [False, False, True]
    assert stored(lost) == BLOCKS


def test_restoring_changes_no_block_that_is_there(dynamodb: Store) -> None:
    save(dynamodb, "ada", Blocked("eve"))
    known = dynamodb.users.read("ada", consistent=True)

    blocking(dynamodb).restore(None, NOW + 5_000, lambda: True)

    assert dynamodb.users.read("ada", consistent=True) == known
