"""Data of a user: replaced, patched as RFC 7396 says, and seen by those who see the status text."""

import json
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence.domain.data import NO_DATA, compact, patch, patched, value_of
from presence.domain.disclosure import Rules
from presence.domain.errors import Conflict, PayloadTooLarge
from presence.domain.events import (
    Authenticated,
    Blocked,
    Chosen,
    DataChanged,
    Disconnected,
    Effect,
    Erased,
    PresenceChanged,
    TimePassed,
    Unblocked,
    UserEvent,
    ViewChanged,
)
from presence.domain.reducer import reduce
from presence.domain.user import Choice, Lease, Status, User
from presence.limits import MAX_DATA_BYTES, MAX_NAME_BYTES

NOW = 1_800_000_000_000
LEASE, GRACE = 75_000, 10_000
INBOX = '{"page":"/inbox"}'

# ── merge patches ──────────────────────────────────────────────────────────────────────────

#: Of appendix A of RFC 7396, those whose document and patch are objects.
EXAMPLES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]
values = st.recursive(
    st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("abc", max_size=1), inner),
    max_leaves=6,
)
objects = st.dictionaries(st.text("abc", max_size=1), values, max_size=3)


@pytest.mark.parametrize(("before", "changes", "after"), EXAMPLES, ids=str)
def test_a_patch_is_applied_as_the_rfc_says(before: Any, changes: Any, after: Any) -> None:
    assert patched(compact(before), patch(changes)) == compact(after)


def test_a_patch_of_nothing_is_what_it_says_without_nulls() -> None:
    assert patched(None, '{"a":{"b":null,"c":1},"d":null}') == '{"a":{"c":1}}'


@given(objects, st.dictionaries(st.text("abc", max_size=1), st.none() | values, max_size=3))
def test_a_patch_that_comes_twice_is_applied_once(before: Any, changes: Any) -> None:
    once = patched(compact(before), patch(changes))

    assert patched(once, patch(changes)) == once


@given(objects)
def test_an_object_is_the_same_text_in_whatever_order_its_names_come(value: Any) -> None:
    turned = dict(reversed(value.items()))

    assert compact(turned) == compact(value)
    assert value_of(compact(value)) == value


# ── a user's data ──────────────────────────────────────────────────────────────────────────


def arrive(at: int = NOW, connection_id: str = "tab", data: str | None = None) -> Authenticated:
    return Authenticated(connection_id, Lease(at + LEASE, at), data=data)


def told(user: User, *events: tuple[int, UserEvent]) -> tuple[User, tuple[Effect, ...]]:
    """After these, each so many milliseconds after NOW; and what follows from the last."""
    effects: tuple[Effect, ...] = ()
    for after, event in events:
        user, effects = reduce(user, event, NOW + after)
    return user, effects


def here(*events: tuple[int, UserEvent]) -> User:
    user, _ = told(User("ada", rules=Rules(GRACE)), (0, arrive()), *events)
    return user


#: Each way to say data.
WAYS: dict[str, UserEvent] = {
    "data": DataChanged(INBOX),
    "patch": DataChanged('{"page":"/inbox","mood":null}', is_patch=True),
    "status": Chosen(Choice.BUSY, data=INBOX),
    "authenticate": arrive(NOW + 1, data=INBOX),
}


@pytest.mark.parametrize("way", WAYS)
def test_data_are_a_new_version_that_all_are_told(way: str) -> None:
    user = here()

    after, effects = told(user, (1, WAYS[way]))

    assert after.presence.data == after.own_presence.data == INBOX
    assert after.version > user.version
    assert [type(it) for it in effects] == [PresenceChanged]


@pytest.mark.parametrize("way", ["data", "patch", "authenticate"])
def test_the_same_data_again_are_no_news(way: str) -> None:
    user = here((1, DataChanged(INBOX)))

    after, effects = told(user, (1, WAYS[way]))

    assert replace(after, leases=user.leases) == user
    assert effects == ()


@pytest.mark.parametrize(
    "event",
    [
        DataChanged(NO_DATA),
        DataChanged('{"page":null}', is_patch=True),
        Chosen(Choice.ONLINE, data=NO_DATA),
    ],
    ids=["data", "patch", "status"],
)
def test_an_empty_object_is_no_data(event: UserEvent) -> None:
    after, effects = told(here((1, DataChanged(INBOX))), (2, event))

    assert (after.data, after.presence.data) == (None, None)
    assert [type(it) for it in effects] == [PresenceChanged]


def test_a_patch_is_of_the_newest_data_whatever_its_sender_knew() -> None:
    user = here((1, DataChanged('{"mood":"fine","page":"/"}')))

    after, _ = told(
        user,
        (2, DataChanged('{"page":"/inbox"}', is_patch=True)),
        (3, DataChanged('{"mood":null}', is_patch=True)),
    )

    assert after.data == INBOX


@pytest.mark.parametrize("event", [Chosen(Choice.BUSY, "hm"), arrive(NOW + 2)], ids=["s", "a"])
def test_who_says_no_data_keeps_them(event: UserEvent) -> None:
    after, _ = told(here((1, DataChanged(INBOX))), (2, event))

    assert after.presence.data == INBOX


def test_a_choice_that_ends_brings_no_old_data_back() -> None:
    user = here(
        (1, DataChanged('{"page":"/"}')),
        (2, Chosen(Choice.BUSY, "call", NOW + 60_000, data=INBOX)),
        (3, DataChanged('{"mood":"fine"}', is_patch=True)),
    )

    after, _ = told(user, (60_000, TimePassed()))

    assert (after.status, after.text) == (Status.ONLINE, None)
    assert after.data == '{"mood":"fine","page":"/inbox"}'


def test_data_of_a_choice_that_is_too_old_are_too_old_as_well() -> None:
    user = here((0, DataChanged(INBOX)), (5_000, Chosen(Choice.BUSY)))

    after, _ = told(user, (6_000, Chosen(Choice.DND, chosen_at=NOW + 1, data='{"page":"/"}')))

    assert after == user


def test_own_devices_see_data_while_offline_and_others_do_not() -> None:
    user = here((1, DataChanged(INBOX)), (2, Disconnected("tab", NOW + GRACE)))

    gone, _ = told(user, (GRACE, TimePassed()))
    changed, effects = told(gone, (GRACE + 1, DataChanged("{}")))

    assert (user.presence.data, gone.presence.data, gone.own_presence.data) == (INBOX, None, INBOX)
    assert changed.version == gone.version
    assert effects == (ViewChanged(),)


@pytest.mark.parametrize(
    ("hide", "viewer"), [(Chosen(Choice.INVISIBLE), None), (Blocked("eve"), "eve")], ids=str
)
def test_who_hides_is_seen_with_the_data_of_that_moment(
    hide: UserEvent, viewer: str | None
) -> None:
    user = here((1, DataChanged(INBOX)), (2, hide), (3, DataChanged('{"page":"secret"}')))

    gone, _ = told(user, (3 + GRACE, TimePassed()))

    assert user.seen_by(viewer).data == INBOX
    assert (gone.seen_by(viewer).data, gone.seen_by(viewer).status) == (None, Status.OFFLINE)
    assert user.own_presence.data == gone.own_presence.data == '{"page":"secret"}'


def test_data_said_with_hiding_are_not_shown() -> None:
    user = here((1, DataChanged(INBOX)), (2, Chosen(Choice.INVISIBLE, data='{"page":"secret"}')))

    assert (user.presence.data, user.own_presence.data) == (INBOX, '{"page":"secret"}')


def test_data_are_erased_with_their_user() -> None:
    user = here((1, DataChanged(INBOX)), (2, Blocked("eve")))

    after, _ = told(user, (3, Erased()))

    assert (after.data, after.own_presence.data) == (None, None)


def test_data_beyond_their_limit_are_refused_and_what_was_known_is_kept() -> None:
    full = json.dumps({"a": "x" * (MAX_DATA_BYTES - 8)}, separators=(",", ":"))
    user = here((1, DataChanged(full)))

    with pytest.raises(PayloadTooLarge, match="1024 bytes"):
        told(user, (2, DataChanged('{"b":1}', is_patch=True)))
    after, _ = told(user, (3, DataChanged('{"a":1,"b":1}', is_patch=True)))

    assert after.data == '{"a":1,"b":1}'


def test_data_share_the_bytes_of_a_user_with_ids_and_texts() -> None:
    random, user = Random(1), here()  # noqa: S311  not a secret
    for _ in range(100):
        with suppress(Conflict):
            user, _ = reduce(user, Blocked(f"{random.getrandbits(500):x}"), NOW)
    noise = DataChanged(compact({"a": f"{random.getrandbits(4_000):x}"}))

    with pytest.raises(Conflict, match="keep less data"):
        told(user, (1, noise))
    after, _ = told(user, (1, Unblocked(frozenset([*user.blocked][:10]), gone=True)), (2, noise))

    assert after.data == noise.data
    assert after.name_bytes <= MAX_NAME_BYTES
