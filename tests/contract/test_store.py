"""What the ports of the tables promise, kept by the fakes and by DynamoDB alike."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from presence.domain.connection import (
    MAX_ENDED_ROWS,
    Admission,
    Closing,
    Connection,
    ConnectionChange,
    Joining,
    Leaving,
    Returning,
    State,
    Typed,
)
from presence.domain.errors import InvalidMessage, RateLimited
from presence.domain.events import (
    Allowed,
    Authenticated,
    Barred,
    Blocked,
    Chosen,
    Disconnected,
    Erased,
    Joined,
    Left,
    Probed,
    Renewed,
    TimePassed,
    TokenRevoked,
    TokensRevoked,
    UserEvent,
)
from presence.domain.rate_limit import USER, Arrivals, Charge
from presence.domain.reducer import reduce
from presence.domain.standing import LONGEST_LIFE, Standing, Token
from presence.domain.user import Choice, Lease, User
from presence.limits import BURST, MANY_CHANGES, MAX_SESSIONS, USER_BURST, USERS_TOGETHER
from presence.ports import (
    EVERYONE,
    Count,
    Pinged,
    Subscriber,
    TooManyRows,
    Topic,
    UserChange,
    WriteConflict,
)
from tests.contract.conftest import Store

pytestmark = pytest.mark.contract

NOW = 1_800_000_000_000
LEASE = 75_000
TAB, PHONE = "L0SM9cOFvHcCIhw=", "VNRXVFJOywMF3-Q="  # as API Gateway makes them
RECORD = Connection(TAB, "https://api.example/live", opened_at=NOW)
TOKEN = Token(NOW + 3_600_000, issued_at=NOW, token_id="0f" * 16)
ADMISSION = Admission(TAB, NOW, TOKEN)
ROOM = "room.1"


def lease(at: int = NOW, device: str | None = "laptop") -> Lease:
    return Lease(at + LEASE, seen_at=at, device=device)


def save(store: Store, user_id: str, *events: UserEvent, now: int = NOW) -> User:
    for event in events:
        save_at_once(store, user_id, event, now=now)
    return store.users.read(user_id, consistent=True)


def save_at_once(store: Store, user_id: str, *events: UserEvent, now: int = NOW) -> None:
    before = after = store.users.read(user_id, consistent=True)
    for event in events:
        after, _ = reduce(after, event, now)
    store.users.save(before, after, now, announce=True)


def fields(user: User) -> User:
    return replace(user, revision=0)


def admit(store: Store, user_id: str, token: Token = TOKEN, name: str = TAB) -> bool:
    """As `Connections.authenticate` does it, with the record as it is."""
    record = store.connections.read(name, consistent=True) or RECORD
    admission = Admission(name, NOW, token, record.revision, record.joined)
    return change_record(store, user_id, Authenticated(name, lease(), token=token), admission)


def enter(
    store: Store, user_id: str, session_id: str, name: str = TAB, allowed_by: str | None = None
) -> bool:
    entries = None if allowed_by is None else frozenset({allowed_by})
    record = Joining(name, NOW, [session_id], allowed_by=entries)
    return change_record(store, user_id, Joined(name, (session_id,)), record)


def exit_(store: Store, user_id: str, session_id: str, name: str = TAB) -> bool:
    left = Leaving(name, {session_id: frozenset({0})})
    return change_record(store, user_id, Left(name, (session_id,)), left)


def change_record(
    store: Store, user_id: str, event: UserEvent, connection_change: ConnectionChange
) -> bool:
    before = store.users.read(user_id, consistent=True)
    after, _ = reduce(before, event, NOW)
    return store.users.save(before, after, NOW, announce=True, connection_change=connection_change)


def as_any_revision(record: Connection) -> Connection:
    return replace(record, revision=0)


def record_of(store: Store, name: str = TAB) -> Connection:
    record = store.connections.read(name, consistent=True)
    assert record is not None
    return record


# ── connection records ────────────────────────────────────────────────────────────────────────


def test_an_opened_connection_record_is_read_back(store: Store) -> None:
    store.connections.open(RECORD)

    assert store.connections.read(TAB, consistent=True) == RECORD


def test_a_connection_may_be_opened_again_as_it_is_and_not_otherwise(store: Store) -> None:
    store.connections.open(RECORD)
    store.connections.open(RECORD)
    assert record_of(store) == RECORD

    with pytest.raises(Exception):  # noqa: B017, PT011  the port names none: no id comes twice
        store.connections.open(replace(RECORD, opened_at=NOW + 1))
    store.connections.close(TAB, NOW)
    with pytest.raises(Exception):  # noqa: B017, PT011
        store.connections.open(RECORD)


def test_an_unknown_connection_record_is_none_and_closing_it_is_fine(store: Store) -> None:
    assert store.connections.read("unknown") is None
    assert store.connections.close("unknown", NOW) is None
    assert not store.connections.close_unauthenticated("unknown", NOW)


def test_closing_says_what_was_there_and_may_be_repeated(store: Store) -> None:
    store.connections.open(RECORD)

    first = store.connections.close(TAB, NOW)
    second = store.connections.close(TAB, NOW)

    assert first == RECORD
    assert second == replace(RECORD, state=State.CLOSED)


def full_record(store: Store) -> Connection:
    """A connection record with every field."""
    store.connections.open(RECORD)
    admit(store, "ada", replace(TOKEN, allowed_sessions=frozenset({"room.*", "team"})))
    enter(store, "ada", ROOM, allowed_by="room.*")
    record = record_of(store)
    assert store.connections.keep_typed(record, {ROOM: Typed(NOW, is_typing=True)})
    assert store.subscriptions.watch(record, {"bob"})
    return record_of(store)


def test_a_connection_record_is_read_back_with_all_fields(store: Store) -> None:
    assert full_record(store) == Connection(
        TAB,
        RECORD.endpoint,
        opened_at=NOW,
        state=State.AUTHENTICATED,
        user_id="ada",
        token_expires_at=TOKEN.expires_at,
        allowed_sessions=frozenset({"room.*", "team"}),
        token_issued_at=NOW,
        token_id=TOKEN.token_id,
        revision=3,
        sessions=frozenset({ROOM}),
        typed={ROOM: Typed(NOW, is_typing=True)},
        is_watching=True,
    )


def test_closing_returns_the_fields_of_the_record_once_and_deletes_personal_data(
    store: Store,
) -> None:
    record = full_record(store)

    told = store.connections.close(TAB, NOW)

    closed = Connection(
        TAB,
        RECORD.endpoint,
        NOW,
        State.CLOSED,
        revision=record.revision,
    )
    assert told == record
    assert record_of(store) == store.connections.close(TAB, NOW) == closed


@pytest.mark.parametrize("allowed", [None, frozenset(), frozenset({"*"}), frozenset({"a", "b*"})])
def test_what_a_token_allows_is_kept_and_replaced_by_the_next(
    store: Store, allowed: frozenset[str] | None
) -> None:
    store.connections.open(RECORD)

    kept = []
    for sessions in (allowed, frozenset({"x"}), allowed):
        assert admit(store, "ada", replace(TOKEN, allowed_sessions=sessions))
        kept.append(record_of(store).allowed_sessions)

    assert kept == [allowed, {"x"}, allowed]


@pytest.mark.parametrize("allowed_by", [None, "room.*", ROOM])
@pytest.mark.parametrize(
    "allowed",
    [None, frozenset(), frozenset({"room.*"}), frozenset({ROOM, "hall"}), frozenset({"room.*x"})],
)
def test_a_join_is_checked_against_the_newest_claims_of_the_record(
    store: Store, allowed: frozenset[str] | None, allowed_by: str | None
) -> None:
    store.connections.open(RECORD)
    admit(store, "ada", replace(TOKEN, allowed_sessions=allowed))
    before = store.everything()

    has_joined = enter(store, "ada", ROOM, allowed_by=allowed_by)

    assert has_joined == (allowed is None if allowed_by is None else allowed_by in (allowed or ()))
    assert record_of(store).sessions == ({ROOM} if has_joined else frozenset())
    assert has_joined or store.everything() == before


def test_only_an_unauthenticated_record_is_closed_as_unauthenticated(store: Store) -> None:
    store.connections.open(RECORD)
    admit(store, "ada")

    assert not store.connections.close_unauthenticated(TAB, NOW)
    assert record_of(store).state is State.AUTHENTICATED


def test_a_record_closed_as_unauthenticated_refuses_admission(store: Store) -> None:
    store.connections.open(RECORD)

    assert store.connections.close_unauthenticated(TAB, NOW)
    assert not store.connections.close_unauthenticated(TAB, NOW)
    assert not admit(store, "ada")
    assert record_of(store) == replace(RECORD, state=State.CLOSED)


def test_of_two_who_type_at_once_one_is_told(store: Store) -> None:
    store.connections.open(RECORD)
    admit(store, "ada")
    record = record_of(store)
    typed, stopped = ({ROOM: Typed(NOW + it, is_typing=not it)} for it in (0, 1))

    assert store.connections.keep_typed(record, typed)
    assert not store.connections.keep_typed(record, stopped)

    assert record_of(store) == replace(record, typed=typed)
    assert store.connections.keep_typed(record_of(store), stopped)


@pytest.mark.parametrize("state", ["unknown", "open", "closed"])
def test_an_unauthenticated_record_keeps_nothing_typed(store: Store, state: str) -> None:
    if state != "unknown":
        store.connections.open(RECORD)
    if state == "closed":
        store.connections.close(TAB, NOW)
    before = store.everything()

    assert not store.connections.keep_typed(RECORD, {ROOM: Typed(NOW, is_typing=True)})

    assert store.everything() == before


# ── several chat sessions ──────────────────────────────────────────────────────────────────

ROOMS = tuple(f"room-{number:02}" for number in range(MAX_SESSIONS))


def admit_with(store: Store, *session_ids: str, name: str = TAB) -> bool:
    record = store.connections.read(name, consistent=True) or RECORD
    change = Admission(name, NOW, TOKEN, record.revision, record.joined, session_ids)
    event = Authenticated(name, lease(), token=TOKEN, session_ids=session_ids)
    return change_record(store, "ada", event, change)


def enter_all(store: Store, *session_ids: str) -> bool:
    change = Joining(TAB, NOW, session_ids, record_of(store).joined)
    return change_record(store, "ada", Joined(TAB, session_ids), change)


def test_an_admission_subscribes_to_the_chat_sessions_that_it_names(store: Store) -> None:
    store.connections.open(RECORD)

    assert admit_with(store, ROOM, "room.2")

    assert record_of(store).sessions == {ROOM, "room.2"}
    for name in (ROOM, "room.2"):
        assert store.heard(Topic("session", name)) == [Subscriber(TAB, "ada")]
        assert [it.user_id for it in store.members.of(name)] == ["ada"]


def test_an_admission_ends_some_chat_sessions_and_begins_others(store: Store) -> None:
    store.connections.open(RECORD)
    assert admit_with(store, ROOM, "room.2")
    token = replace(TOKEN, allowed_sessions=frozenset({"room.2", "room.3"}))
    record = record_of(store)
    names = (ROOM, "room.2", "room.3")

    change = Admission(TAB, NOW, token, record.revision, record.joined, names)
    event = Authenticated(TAB, lease(), token=token, session_ids=names)
    assert change_record(store, "ada", event, change)

    assert record_of(store).sessions == {"room.2", "room.3"}
    heard = {name: len(store.heard(Topic("session", name))) for name in names}
    assert heard == {ROOM: 0, "room.2": 1, "room.3": 1}


def test_what_the_user_may_not_join_is_not_subscribed_to(store: Store) -> None:
    store.connections.open(RECORD)
    save(store, "ada", Barred("room.2"))

    assert admit_with(store, ROOM, "room.2")
    assert enter_all(store, "room.2", "room.3")

    assert record_of(store).sessions == {ROOM, "room.3"}
    assert store.heard(Topic("session", "room.2")) == []


def test_chat_sessions_are_joined_and_left_together(store: Store) -> None:
    store.connections.open(RECORD)
    admit(store, "ada")

    assert enter_all(store, ROOM, "room.2", "room.3")
    left = Leaving(TAB, {ROOM: frozenset({0}), "room.2": frozenset({0})})
    assert change_record(store, "ada", Left(TAB, (ROOM, "room.2")), left)

    assert record_of(store).sessions == {"room.3"}
    assert store.heard(Topic("session", ROOM)) == []
    assert [it.user_id for it in store.members.of("room.3")] == ["ada"]


def test_every_entry_of_the_claim_has_to_be_there_still(store: Store) -> None:
    store.connections.open(RECORD)
    admit(store, "ada", replace(TOKEN, allowed_sessions=frozenset({"room.*"})))
    change = Joining(TAB, NOW, ["room.1", "hall"], allowed_by=frozenset({"room.*", "hall"}))

    assert not change_record(store, "ada", Joined(TAB, ("room.1", "hall")), change)
    assert enter(store, "ada", "room.1", allowed_by="room.*")


def test_as_many_rows_change_as_one_transaction_takes(store: Store) -> None:
    """The user, the record, and of each chat session the subscription and the member."""
    store.connections.open(RECORD)
    admit(store, "ada")
    before = store.everything()

    with pytest.raises(TooManyRows):
        enter_all(store, *ROOMS)
    assert store.everything() == before

    assert enter_all(store, *ROOMS[:-1])
    assert record_of(store).sessions == set(ROOMS[:-1])


def test_all_chat_sessions_of_a_user_who_was_in_them_are_joined_at_once(store: Store) -> None:
    store.connections.open(RECORD)
    admit(store, "ada")
    enter_all(store, *ROOMS[:25])
    enter_all(store, *ROOMS[25:])
    save(store, "ada", Disconnected(TAB, NOW + 10_000))
    store.connections.open(replace(RECORD, connection_id=PHONE))

    assert admit_with(store, *ROOMS, name=PHONE)

    user = store.users.read("ada", consistent=True)
    assert (user.pending_leaves, user.joined_sessions) == ({}, frozenset(ROOMS))


# ── rate limits ────────────────────────────────────────────────────────────────────────────


def arrivals_of(store: Store, name: str = TAB) -> Arrivals:
    return store.users.read("ada", consistent=True).arrivals(name)


@pytest.mark.parametrize(
    ("units", "frames", "times"), [(1, 1, BURST), (USER_BURST // 2, 1, 2), (0, BURST, 1)]
)
def test_so_much_is_done_at_once_and_nothing_more_is_written(
    store: Store, units: int, frames: int, times: int
) -> None:
    save(store, "ada", Authenticated(TAB, lease()))
    charge = Charge(NOW, units, frames)
    for _ in range(times):
        assert store.users.act("ada", TAB, lease(), charge).is_done
    full = arrivals_of(store)

    with pytest.raises(RateLimited) as refusal:
        store.users.act("ada", TAB, lease(), charge)

    assert refusal.value.retry_after_seconds
    assert arrivals_of(store) == full
    later = NOW + 1_000 * refusal.value.retry_after_seconds
    assert store.users.act("ada", TAB, lease(), replace(charge, now=later)).is_done


def test_an_action_renews_the_lease_but_makes_none_shorter_and_none_anew(store: Store) -> None:
    save(store, "ada", Authenticated(TAB, replace(lease(), ends_by=NOW + 200_000)))
    longer = replace(lease(), expires_at=NOW + 100_000, seen_at=NOW + 10)

    renewed = store.users.act("ada", TAB, longer, Charge(NOW))
    late = store.users.act("ada", TAB, lease(), Charge(NOW))
    beyond = store.users.act("ada", TAB, replace(lease(), expires_at=NOW + 200_001), Charge(NOW))
    gone = store.users.act("ada", PHONE, longer, Charge(NOW))

    ends = [it.user.leases[TAB].expires_at for it in (renewed, late, beyond, gone)]
    assert ends == [NOW + 100_000] * 4
    assert renewed.user.leases[TAB].seen_at == NOW + 10
    assert [it.is_done for it in (renewed, late, beyond, gone)] == [True, True, True, False]
    assert arrivals_of(store) == Arrivals(NOW + 3 * USER.milliseconds, NOW + 3 * 1_000)


def test_charges_of_all_connections_and_of_http_are_one_users(store: Store) -> None:
    store.users.charge("ada", Charge(NOW))
    assert store.users.read("ada", consistent=True) == User("ada")
    save(store, "ada", Authenticated(TAB, lease()), Authenticated(PHONE, lease()))

    store.users.act("ada", TAB, lease(), Charge(NOW))
    store.users.act("ada", PHONE, lease(), Charge(NOW))
    assert store.users.charge("ada", Charge(NOW, 5))

    assert arrivals_of(store) == Arrivals(NOW + 7 * USER.milliseconds, NOW + 1_000)
    with pytest.raises(RateLimited):
        store.users.charge("ada", Charge(NOW, USER_BURST - 6))


def test_a_write_of_the_user_neither_gives_back_nor_loses_a_charge(store: Store) -> None:
    before = save(store, "ada", Authenticated(TAB, lease()))
    store.users.charge("ada", Charge(NOW))
    after, _ = reduce(before, Chosen(Choice.BUSY), NOW)

    assert store.users.save(before, after, NOW, announce=True)
    assert arrivals_of(store).user == NOW + USER.milliseconds
    stale, current = after, store.users.read("ada", consistent=True)
    taken = replace(stale, revision=current.revision, arrival=NOW + 7)
    with pytest.raises(WriteConflict):
        store.users.save(replace(taken, arrival=0), taken, NOW, announce=False)
    assert store.users.save(current, replace(current, arrival=NOW + 7), NOW, announce=False)
    assert arrivals_of(store).user == NOW + 7


def test_a_write_of_a_lease_does_not_give_back_what_its_connection_did(store: Store) -> None:
    before = save(store, "ada", Authenticated(TAB, lease()))
    store.users.act("ada", TAB, lease(), Charge(NOW))
    away, _ = reduce(before, Renewed(TAB, lease(), is_active=False), NOW)

    with pytest.raises(WriteConflict):
        store.users.save(before, away, NOW, announce=False)


# ── aggregates ─────────────────────────────────────────────────────────────────────────────


def test_an_unknown_user_is_read_as_empty(store: Store) -> None:
    assert store.users.read("unknown") == User("unknown")
    assert store.users.read_many({"unknown"}) == {"unknown": User("unknown")}


def test_a_user_is_read_back_as_saved(store: Store) -> None:
    events = (
        Authenticated(TAB, lease()),
        Authenticated(PHONE, replace(lease(device=None), is_active=False)),
        Chosen(Choice.BUSY, "deep work", NOW + 60_000),
        Joined(TAB, (ROOM,)),
        Joined(TAB, ("room.2",)),
        Joined(PHONE, (ROOM,)),
        Blocked("eve"),
        Disconnected(TAB, NOW + 10_000),
        Chosen(Choice.INVISIBLE),
        Blocked("mallory"),
        Left(PHONE, (ROOM,)),
        Disconnected(PHONE, NOW + 10_000),
        Erased(),
    )
    for event in events:
        before = store.users.read("ada", consistent=True)
        after, _ = reduce(before, event, NOW)

        store.users.save(before, after, NOW, announce=True)

        assert fields(store.users.read("ada", consistent=True)) == fields(after)


def test_many_users_are_read_beyond_one_batch(store: Store) -> None:
    names = [f"user-{number}" for number in range(130)]
    for name in names:
        save(store, name, Authenticated(name, lease()))

    users = store.users.read_many([*names, "unknown"])

    assert set(users) == {*names, "unknown"}
    assert all(users[name].is_here for name in names)


@pytest.mark.fault("A read returns an older state.")
def test_of_two_writers_the_second_loses_and_learns_what_the_first_wrote(store: Store) -> None:
    before = save(store, "ada", Authenticated(TAB, lease()))
    busy, _ = reduce(before, Chosen(Choice.BUSY), NOW)
    away, _ = reduce(before, Chosen(Choice.AWAY), NOW)
    store.users.save(before, busy, NOW, announce=True)

    with pytest.raises(WriteConflict) as lost:
        store.users.save(before, away, NOW, announce=True)

    assert lost.value.current is not None
    assert lost.value.current.choice is Choice.BUSY


def test_of_two_who_create_a_user_one_loses(store: Store) -> None:
    before = User("ada")
    after, _ = reduce(before, Authenticated(TAB, lease()), NOW)
    store.users.save(before, after, NOW, announce=True)

    with pytest.raises(WriteConflict) as lost:
        store.users.save(before, after, NOW, announce=True)

    assert lost.value.current is not None
    assert set(lost.value.current.leases) == {TAB}


def test_an_eviction_loses_to_a_ping_that_came_first(store: Store) -> None:
    before = save(store, "ada", Authenticated(TAB, lease()))
    gone, _ = reduce(before, TimePassed(), NOW + LEASE)
    renew(store, at=NOW + LEASE)

    with pytest.raises(WriteConflict):
        store.users.save(before, gone, NOW + LEASE, announce=True)

    assert set(store.users.read("ada", consistent=True).leases) == {TAB}


def test_a_write_leaves_the_renewals_of_other_connections_alone(store: Store) -> None:
    before = save(store, "ada", Authenticated(TAB, lease()), Authenticated(PHONE, lease()))
    busy, _ = reduce(before, Chosen(Choice.BUSY), NOW)
    renew(store, at=NOW + 30_000)

    store.users.save(before, busy, NOW, announce=True)

    user = store.users.read("ada", consistent=True)
    assert user.choice is Choice.BUSY
    assert user.leases[TAB].expires_at == NOW + 30_000 + LEASE


def renew(
    store: Store, at: int, *, is_active: bool | None = None, name: str = TAB, gap: int = 10_000
) -> Pinged:
    return store.users.renew("ada", name, lease(at), is_active=is_active, heard_by=at - gap)


@pytest.mark.fault("A renewal that began before a `leave` ends after it.")
def test_a_renewal_moves_the_end_of_the_lease_and_nothing_else(store: Store) -> None:
    before = save(store, "ada", Authenticated(TAB, lease()))

    renewal = renew(store, at=NOW + 30_000, is_active=True)

    renewed = replace(before.leases[TAB], expires_at=NOW + 105_000, seen_at=NOW + 30_000)
    after = replace(before, leases={TAB: renewed})
    assert renewal == Pinged(is_done=True)
    assert store.users.read("ada", consistent=True) == after


@pytest.mark.parametrize("way", ["another device", "a revoked token"])
def test_a_renewal_brings_a_user_who_has_to_be_looked_at(store: Store, way: str) -> None:
    more: dict[str, UserEvent] = {
        "another device": Authenticated(PHONE, lease()),
        "a revoked token": TokensRevoked(1),
    }
    save(store, "ada", Authenticated(TAB, lease()), more[way])

    renewal = renew(store, at=NOW + 30_000)

    assert renewal == Pinged(is_done=True, user=store.users.read("ada", consistent=True))


def test_a_renewal_creates_nothing(store: Store) -> None:
    before = save(store, "ada", Authenticated(TAB, lease()))

    refused = renew(store, at=NOW + 30_000, name=PHONE)

    assert refused == Pinged(is_done=False, user=before)
    assert store.users.read("ada", consistent=True) == before


def test_renewing_an_unknown_user_creates_no_item(store: Store) -> None:
    assert renew(store, at=NOW) == Pinged(is_done=False, user=User("ada"))
    assert store.users.read("ada", consistent=True) == User("ada")


@pytest.mark.parametrize(
    ("at", "is_active"), [(NOW + 9_000, None), (NOW + 30_000, False)], ids=["too soon", "idle now"]
)
def test_a_renewal_that_does_not_fit_says_what_is_there(
    store: Store, at: int, is_active: bool | None
) -> None:
    before = save(store, "ada", Authenticated(TAB, lease()))

    refused = renew(store, at=at, is_active=is_active)

    assert refused == Pinged(is_done=False, user=before)


def test_a_probe_is_marked_once_and_nothing_else_is_written(store: Store) -> None:
    before = save(store, "ada", Authenticated(TAB, lease()))

    first = store.users.mark_probed("ada", NOW + 40_000, NOW + 10_000)
    second = store.users.mark_probed("ada", NOW + 40_001, NOW + 10_001)
    again = store.users.mark_probed("ada", NOW + 70_000, NOW + 40_000)

    assert first == replace(before, probed_at=NOW + 40_000)
    assert second is None
    assert again == replace(before, probed_at=NOW + 70_000)
    assert store.users.read("ada", consistent=True) == again


def test_a_user_who_was_never_here_is_not_probed(store: Store) -> None:
    assert store.users.mark_probed("ada", NOW, NOW) is None
    assert store.users.read("ada", consistent=True) == User("ada")


def test_a_mark_is_neither_lost_by_a_write_nor_makes_it_lose(store: Store) -> None:
    before = save(store, "ada", Authenticated(TAB, lease()))
    busy, _ = reduce(before, Chosen(Choice.BUSY), NOW)
    store.users.mark_probed("ada", NOW + 1, NOW)

    store.users.save(before, busy, NOW, announce=True)

    user = store.users.read("ada", consistent=True)
    assert (user.choice, user.probed_at) == (Choice.BUSY, NOW + 1)


def test_a_lease_is_not_shortened_once_its_connection_was_heard(store: Store) -> None:
    """Its end stays where it is, because its token ends then."""
    last = replace(lease(), ends_by=NOW + LEASE)
    before = save(store, "ada", Authenticated(TAB, last))
    probed, _ = reduce(before, Probed({TAB: NOW}, NOW + 50_000), NOW + 40_000)
    answer = replace(last, seen_at=NOW + 40_001)
    store.users.renew("ada", TAB, answer, is_active=None, heard_by=NOW + 30_000)

    with pytest.raises(WriteConflict):
        store.users.save(before, probed, NOW + 40_002, announce=False)

    assert store.users.read("ada", consistent=True).leases[TAB].expires_at == NOW + LEASE


# ── both at once ───────────────────────────────────────────────────────────────────────────


@pytest.mark.fault("A function dies in the middle of an admission.")
def test_admission_writes_record_lease_and_subscription_together(store: Store) -> None:
    store.connections.open(RECORD)

    assert admit(store, "ada")

    record = store.connections.read(TAB, consistent=True)
    assert record == replace(
        RECORD,
        state=State.AUTHENTICATED,
        user_id="ada",
        token_expires_at=TOKEN.expires_at,
        token_issued_at=NOW,
        token_id=TOKEN.token_id,
        revision=1,
    )
    assert set(store.users.read("ada", consistent=True).leases) == {TAB}
    assert list(store.subscriptions.pages(EVERYONE)) == [[Subscriber(TAB, "ada")]]


def test_an_admission_may_be_repeated_and_takes_the_new_token(store: Store) -> None:
    store.connections.open(RECORD)
    later = replace(TOKEN, expires_at=NOW + 7_200_000, token_id=None)

    assert admit(store, "ada")
    assert enter(store, "ada", ROOM)
    assert admit(store, "ada", later)

    record = record_of(store)
    assert (record.token, set(record.sessions)) == (later, {ROOM})
    assert list(store.subscriptions.pages(EVERYONE)) == [[Subscriber(TAB, "ada")]]


def test_joining_lets_the_connection_hear_and_the_user_be_seen(store: Store) -> None:
    store.connections.open(RECORD)
    admit(store, "ada")

    for _ in range(2):  # a client may not know that it has joined
        assert enter(store, "ada", ROOM)

    assert record_of(store).sessions == {ROOM}
    assert store.users.read("ada", consistent=True).leases[TAB].sessions == {ROOM}
    assert list(store.subscriptions.pages(Topic("session", ROOM))) == [[Subscriber(TAB, "ada")]]
    assert [member.user_id for member in store.members.of(ROOM)] == ["ada"]


def test_leaving_undoes_it_and_may_be_repeated(store: Store) -> None:
    store.connections.open(RECORD)
    admit(store, "ada")
    enter(store, "ada", "room.2")
    before = fields(store.users.read("ada", consistent=True)), as_any_revision(record_of(store))
    enter(store, "ada", ROOM)

    for _ in range(2):
        assert exit_(store, "ada", ROOM)

    after = fields(store.users.read("ada", consistent=True)), as_any_revision(record_of(store))
    assert after == before
    assert not list(store.subscriptions.pages(Topic("session", ROOM)))
    assert not list(store.members.of(ROOM))
    assert [member.user_id for member in store.members.of("room.2")] == ["ada"]


def test_leaving_the_only_chat_session_leaves_an_empty_set(store: Store) -> None:
    store.connections.open(RECORD)
    admit(store, "ada")
    before = record_of(store)
    enter(store, "ada", ROOM)

    exit_(store, "ada", ROOM)

    assert as_any_revision(record_of(store)) == as_any_revision(before)


def test_a_record_closed_with_its_user_refuses_admission_and_keeps_its_fields(
    store: Store,
) -> None:
    record = full_record(store)

    assert change_record(store, "ada", TimePassed(), Closing(TAB))

    assert record_of(store) == replace(record, state=State.CLOSED)
    assert not admit(store, "ada")
    assert not change_record(store, "ada", TimePassed(), Closing(TAB))
    assert store.connections.close(TAB, NOW) == replace(record, state=State.CLOSED)


def test_a_narrower_token_ends_its_chat_sessions_in_the_write_that_admits_it(store: Store) -> None:
    store.connections.open(RECORD)
    admit(store, "ada")
    for session_id in (ROOM, "room.2", "hall"):
        enter(store, "ada", session_id)

    assert admit(store, "ada", replace(TOKEN, allowed_sessions=frozenset({"hall", "lobby"})))

    assert record_of(store).sessions == {"hall"}
    assert store.users.read("ada", consistent=True).leases[TAB].sessions == {"hall"}
    for session_id, are_there in ((ROOM, False), ("room.2", False), ("hall", True)):
        assert bool([*store.subscriptions.pages(Topic("session", session_id))]) == are_there
        assert bool([*store.members.of(session_id)]) == are_there


def test_the_most_that_a_write_may_end_fits_into_one_transaction(store: Store) -> None:
    store.connections.open(RECORD)
    admit(store, "ada")
    most = MAX_ENDED_ROWS
    for number in range(most):
        enter(store, "ada", f"room.{number}")

    assert admit(store, "ada", replace(TOKEN, allowed_sessions=frozenset()))

    assert record_of(store).sessions == frozenset()
    assert not any(list(store.members.of(f"room.{number}")) for number in range(most))


def test_a_returning_connection_gets_nothing_but_its_lease(store: Store) -> None:
    store.connections.open(RECORD)
    admit(store, "ada")
    enter(store, "ada", ROOM)
    save(store, "ada", TimePassed(), now=NOW + LEASE)
    record = record_of(store)

    returned = Authenticated(TAB, replace(lease(), sessions=record.sessions), token=TOKEN)
    assert change_record(store, "ada", returned, Returning(TAB, record.revision, record.joined))

    assert record_of(store) == record
    assert store.users.read("ada", consistent=True).leases[TAB].sessions == {ROOM}


CHANGES_SINCE: dict[str, Callable[[Store], Any]] = {
    "a token": lambda store: admit(store, "ada", replace(TOKEN, expires_at=NOW + 1)),
    "a join": lambda store: enter(store, "ada", "room.2"),
    "a leave": lambda store: exit_(store, "ada", ROOM),
}


@pytest.mark.parametrize("happens", CHANGES_SINCE.values(), ids=CHANGES_SINCE)
def test_what_was_read_before_a_change_of_the_record_is_not_written(
    store: Store, happens: Callable[[Store], Any]
) -> None:
    store.connections.open(RECORD)
    admit(store, "ada")
    enter(store, "ada", ROOM)
    old = record_of(store)
    happens(store)
    before = store.everything()

    event = Authenticated(TAB, lease(), token=TOKEN)
    admission = Admission(TAB, NOW, TOKEN, old.revision, old.joined)
    assert not change_record(store, "ada", event, admission)
    assert not change_record(store, "ada", event, Returning(TAB, old.revision, old.joined))
    assert not store.connections.keep_typed(old, {ROOM: Typed(NOW, is_typing=True)})

    assert store.everything() == before


def test_a_renewal_does_not_outlive_the_token_of_the_lease(store: Store) -> None:
    short = replace(lease(), ends_by=NOW + LEASE + 5_000)
    save(store, "ada", Authenticated(TAB, short))

    renewal = renew(store, at=NOW + 30_000)

    renewed = replace(short, expires_at=NOW + LEASE + 5_000, seen_at=NOW + 30_000)
    assert renewal.is_done
    assert store.users.read("ada", consistent=True).leases == {TAB: renewed}


@pytest.mark.parametrize(("at", "is_active"), [(NOW + LEASE, None), (NOW + 30_000, False)])
def test_a_renewal_at_the_end_of_the_token_needs_all_that_any_needs(
    store: Store, at: int, is_active: bool | None
) -> None:
    before = save(store, "ada", Authenticated(TAB, replace(lease(), ends_by=NOW + LEASE)))

    refused = renew(store, at=at, is_active=is_active)

    assert refused == Pinged(is_done=False, user=before)
    assert store.users.read("ada", consistent=True) == before


def test_a_renewal_of_a_connection_of_another_user_changes_neither(store: Store) -> None:
    ada = save(store, "ada", Authenticated(TAB, lease()))
    bob = save(store, "bob", Authenticated(PHONE, lease()))

    refused = renew(store, at=NOW + 30_000, name=PHONE)

    assert refused == Pinged(is_done=False, user=ada)
    assert store.users.read("ada", consistent=True) == ada
    assert store.users.read("bob", consistent=True) == bob


LONG = 810_000


def long_lease(seen_at: int) -> Lease:
    return Lease(seen_at + LONG, seen_at, lasts=LONG)


def test_a_lease_keeps_how_long_it_lasts(store: Store) -> None:
    save(store, "ada", Authenticated(TAB, long_lease(NOW)))

    assert store.users.read("ada", consistent=True).leases[TAB] == long_lease(NOW)


@pytest.mark.parametrize("kept", [None, LONG])
def test_a_renewal_that_lasts_otherwise_is_refused(store: Store, kept: int | None) -> None:
    now = NOW + 30_000
    have, want = (lease(), long_lease(now)) if kept is None else (long_lease(NOW), lease(now))
    before = save(store, "ada", Authenticated(TAB, have))

    refused = store.users.renew("ada", TAB, want, is_active=None, heard_by=NOW)

    assert refused == Pinged(is_done=False, user=before)
    same = replace(have, seen_at=now, expires_at=now + (kept or LEASE))
    assert store.users.renew("ada", TAB, same, is_active=None, heard_by=NOW).is_done


def test_any_action_renews_a_lease_by_its_own_time(store: Store) -> None:
    save(store, "ada", Authenticated(TAB, long_lease(NOW)))
    now = NOW + 30_000

    acted = store.users.act("ada", TAB, lease(now), Charge(now))

    found = store.users.read("ada", consistent=True).leases[TAB]
    assert acted.is_done
    assert (found.expires_at, found.seen_at, found.lasts) == (now + LONG, now, LONG)


def test_what_the_back_end_has_decided_is_read_back(store: Store) -> None:
    decided: list[UserEvent] = [
        TokensRevoked(NOW),
        TokenRevoked("0f" * 16),
        Barred(ROOM),
        Barred("hall"),
    ]

    user = save(store, "ada", *decided, Allowed("hall"))

    assert user.standing == Standing(NOW, {"0f" * 16: NOW + LONGEST_LIFE}, frozenset({ROOM}))


CHANGES: dict[str, tuple[UserEvent, ConnectionChange]] = {
    "admission": (Authenticated(TAB, lease()), ADMISSION),
    "returning": (Authenticated(TAB, lease(), token=TOKEN), Returning(TAB, 2)),
    "joining": (Joined(TAB, (ROOM,)), Joining(TAB, NOW, [ROOM])),
    "leaving": (Left(TAB, ("room.2",)), Leaving(TAB, {"room.2": frozenset({0})})),
    "closing": (TimePassed(), Closing(TAB)),
}
REFUSING = ["unknown", "closed", "theirs, but closed", "another's", "open"]


@pytest.mark.parametrize(
    ("state", "event", "connection_change"),
    [
        pytest.param(state, *change, id=f"{name}-{state}")
        for name, change in CHANGES.items()
        for state in REFUSING
        if (name, state) != ("admission", "open")
    ],
)
def test_a_refused_condition_of_the_record_writes_to_no_table(
    store: Store, state: str, event: UserEvent, connection_change: ConnectionChange
) -> None:
    if state != "unknown":
        store.connections.open(RECORD)
    if state == "theirs, but closed":
        admit(store, "ada")
    if state == "another's":
        admit(store, "bob")
        enter(store, "bob", "room.2")
    if "closed" in state:
        store.connections.close(TAB, NOW)
    before = store.everything()

    assert not change_record(store, "ada", event, connection_change)

    assert store.everything() == before


@pytest.mark.parametrize(("event", "connection_change"), CHANGES.values(), ids=CHANGES)
def test_a_write_conflict_writes_to_no_table(
    store: Store, event: UserEvent, connection_change: ConnectionChange
) -> None:
    store.connections.open(RECORD)
    if not isinstance(connection_change, Admission):
        admit(store, "ada")
        enter(store, "ada", "room.2")
    stale = store.users.read("ada", consistent=True)
    after, _ = reduce(stale, event, NOW)
    current = save(store, "ada", Authenticated(PHONE, lease()))
    before = store.everything()

    with pytest.raises(WriteConflict) as lost:
        store.users.save(stale, after, NOW, announce=True, connection_change=connection_change)

    assert lost.value.current == current
    assert store.everything() == before


# ── the versions of those who were erased ──────────────────────────────────────────────────


def test_the_floor_only_rises(store: Store) -> None:
    found = [store.users.floor()]
    for version in (5, 3, 9):
        store.users.raise_floor(version)
        found.append(store.users.floor())

    assert found == [0, 5, 5, 9]


# ── forgetting ─────────────────────────────────────────────────────────────────────────────


def test_a_user_is_forgotten_and_may_come_back(store: Store) -> None:
    user = save(store, "ada", Authenticated(TAB, lease()), Erased())

    store.users.forget(user)
    forgotten = store.users.read("ada", consistent=True)
    back = save(store, "ada", Authenticated(PHONE, lease()))

    assert forgotten == User("ada")
    assert set(back.leases) == {PHONE}


@pytest.mark.parametrize("times", [1, 2])
def test_forgetting_is_idempotent_and_needs_no_user(store: Store, times: int) -> None:
    user = save(store, "ada", Authenticated(TAB, lease()), Erased())

    for _ in range(times):
        store.users.forget(user)
        store.users.forget(User("unknown"))

    assert store.users.read("ada", consistent=True) == User("ada")
    assert store.users.read("unknown", consistent=True) == User("unknown")


def test_a_user_who_returns_during_forget_is_kept(store: Store) -> None:
    user = save(store, "ada", Authenticated(TAB, lease()), Erased())
    back = save(store, "ada", Authenticated(PHONE, lease()))

    with pytest.raises(WriteConflict):
        store.users.forget(user)

    assert store.users.read("ada", consistent=True) == back


def test_a_user_created_during_forget_is_kept(store: Store) -> None:
    came = save(store, "ada", Authenticated(TAB, lease()))

    with pytest.raises(WriteConflict):
        store.users.forget(User("ada"))

    assert store.users.read("ada", consistent=True) == came


# ── the online index and the subscriptions ───────────────────────────────────────────────────────


def test_the_online_index_lists_every_online_user_once(store: Store) -> None:
    names = {f"user-{number}" for number in range(40)}
    for name in names:
        save(store, name, Authenticated(name, lease()))
    save(store, "user-7", Disconnected("user-7", NOW + 10_000))
    save(store, "user-8", Chosen(Choice.INVISIBLE))
    save(store, "user-9", Disconnected("user-9", NOW + 10_000))
    save(store, "user-9", TimePassed(), now=NOW + 10_000)

    listed = list(store.online_index.after(None))

    assert len(listed) == len(set(listed))
    assert set(listed) == names - {"user-9"}


def test_the_online_index_continues_after_any_user_also_one_who_has_gone(store: Store) -> None:
    for number in range(20):
        save(store, f"user-{number}", Authenticated("c1", lease()))
    names = list(store.online_index.after(None))

    for index, name in enumerate(names):
        position = store.online_index.position_of(name)
        behind = list(store.online_index.after(position))
        save(store, name, Disconnected("c1", NOW))

        assert behind == names[index + 1 :]
        assert list(store.online_index.after(position)) == behind


def test_the_online_index_ends_with_any_user(store: Store) -> None:
    for number in range(20):
        save(store, f"user-{number}", Authenticated(f"c{number}", lease()))
    names = list(store.online_index.after(None))

    for index, name in enumerate(names):
        position = store.online_index.position_of(name)

        assert list(store.online_index.after(None, up_to=position)) == names[: index + 1]
        for start, other in enumerate(names):
            begin = store.online_index.position_of(other)
            between = list(store.online_index.after(begin, up_to=position))
            assert between == names[start + 1 : index + 1]


def test_where_a_sweep_stopped_is_kept_until_one_is_complete(store: Store) -> None:
    before = store.online_index.stopped_at()

    store.online_index.stop_at("ada")
    store.online_index.stop_at("bob")
    stopped = store.online_index.stopped_at()
    store.online_index.add(1)
    store.online_index.counted(Count(5, NOW))

    assert (before, stopped, store.online_index.stopped_at()) == (None, "bob", None)


@pytest.mark.parametrize("amount", [3, MANY_CHANGES, 2 * USERS_TOGETHER + 1])
def test_changes_of_many_users_are_written_but_for_those_that_are_refused(
    store: Store, amount: int
) -> None:
    users = [save(store, f"user-{n}", Authenticated(f"c{n}", lease())) for n in range(amount)]
    moved = store.users.read("user-1", consistent=True)
    save(store, "user-1", Chosen(Choice.BUSY))
    changes = [
        UserChange(it, replace(it, text="hi"), announce=False)
        for it in (*users[:1], moved, *users[2:])
    ]

    refused = store.users.save_all(changes, NOW)

    stored = store.users.read_many([it.user_id for it in users], consistent=True)
    assert list(refused) == ["user-1"]
    assert {name for name, it in stored.items() if it.text == "hi"} == {
        it.user_id for it in users
    } - {"user-1"}


def test_members_of_chat_sessions_go_with_changes_of_many_users(store: Store) -> None:
    """More rows than one transaction takes: each user is in many chat sessions."""
    sessions = frozenset(f"room-{number}" for number in range(30))
    users = [
        save(store, f"user-{n}", Authenticated(f"c{n}", replace(lease(), sessions=sessions)))
        for n in range(MANY_CHANGES)
    ]
    gone = [reduce(it, TimePassed(), NOW + 10_000_000)[0] for it in users]

    refused = store.users.save_all(
        [UserChange(*both, announce=True) for both in zip(users, gone, strict=True)], NOW
    )

    assert list(refused) == []
    assert [list(store.members.of(it)) for it in sessions] == [[]] * 30


@pytest.mark.parametrize("position", ["x", "MDphZGE=", "OTk6YWRh", "Xw", "-_-_"])
def test_a_position_that_was_never_given_is_refused(store: Store, position: str) -> None:
    with pytest.raises(InvalidMessage):
        list(store.online_index.after(position))


def test_the_count_is_kept_and_corrected(store: Store) -> None:
    before = store.online_index.count()

    store.online_index.counted(Count(5, NOW))
    store.online_index.add(-2)

    assert before == Count(0, 0)
    assert store.online_index.count() == Count(3, NOW)


def test_the_count_is_not_in_the_online_index(store: Store) -> None:
    store.online_index.counted(Count(5, NOW))

    assert list(store.online_index.after(None)) == []


def test_unsubscribing_may_be_repeated(store: Store) -> None:
    store.connections.open(RECORD)
    admit(store, "ada")

    store.subscriptions.remove(RECORD)
    store.subscriptions.remove(RECORD)

    assert list(store.subscriptions.pages(EVERYONE)) == []
