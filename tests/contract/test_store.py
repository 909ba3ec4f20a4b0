"""What the ports of the tables promise, kept by the fakes and by DynamoDB alike."""

from dataclasses import replace

import boto3
import pytest

from presence.domain.connection import Admission, Connection, State
from presence.domain.errors import InvalidMessage
from presence.domain.events import Authenticated, Chosen, Disconnected, Event, TimePassed
from presence.domain.reducer import reduce
from presence.domain.user import Choice, Lease, User
from presence.ports import Count, Listener, Lost, Renewal
from tests.contract.conftest import Store

pytestmark = pytest.mark.contract

NOW = 1_800_000_000_000
LEASE = 75_000
TAB, PHONE = "L0SM9cOFvHcCIhw=", "VNRXVFJOywMF3-Q="  # as API Gateway makes them
GATE = Connection(TAB, "https://api.example/live", opened_at=NOW)
ADMISSION = Admission(TAB, opened_at=NOW, token_expires_at=NOW + 3_600_000)


def lease(at: int = NOW, device: str | None = "laptop") -> Lease:
    return Lease(at + LEASE, seen_at=at, device=device)


def save(store: Store, user_id: str, *events: Event, now: int = NOW) -> User:
    for event in events:
        before = store.users.read(user_id, consistent=True)
        after, _ = reduce(before, event, now)
        store.users.save(before, after, now, announce=True)
    return store.users.read(user_id, consistent=True)


def fields(user: User) -> User:
    return replace(user, revision=0)


# ── gates ──────────────────────────────────────────────────────────────────────────────────


def test_an_opened_gate_is_read_back(store: Store) -> None:
    store.connections.open(GATE)

    assert store.connections.read(TAB, consistent=True) == GATE


def test_an_unknown_gate_is_none_and_closing_it_is_fine(store: Store) -> None:
    assert store.connections.read("unknown") is None
    assert store.connections.close("unknown", NOW) is None
    assert not store.connections.close_unclaimed("unknown", NOW)


def test_closing_says_what_was_there_and_may_be_repeated(store: Store) -> None:
    store.connections.open(GATE)

    first = store.connections.close(TAB, NOW)
    second = store.connections.close(TAB, NOW)

    assert first == GATE
    assert second is not None
    assert second.state is State.CLOSED


def test_only_an_unclaimed_gate_is_closed_as_unclaimed(store: Store) -> None:
    store.connections.open(GATE)
    admit(store, "ada")

    assert not store.connections.close_unclaimed(TAB, NOW)
    gate = store.connections.read(TAB, consistent=True)
    assert gate is not None
    assert gate.state is State.AUTHENTICATED


def test_of_two_who_spend_at_once_one_is_told(store: Store) -> None:
    store.connections.open(GATE)

    admit(store, "ada")
    gate = store.connections.read(TAB, consistent=True)
    assert gate is not None

    assert store.connections.spend(gate, replace(gate, spent_until=NOW + 1_000))
    assert not store.connections.spend(gate, replace(gate, spent_until=NOW + 2_000))


def test_what_was_typed_is_kept_with_what_was_spent(store: Store) -> None:
    store.connections.open(GATE)
    admit(store, "ada")
    gate = store.connections.read(TAB, consistent=True)
    assert gate is not None
    after = replace(gate, spent_until=NOW + 1_000, typed={"room.1": NOW})

    assert store.connections.spend(gate, after)

    assert store.connections.read(TAB, consistent=True) == after


def test_a_closed_gate_cannot_be_spent_at(store: Store) -> None:
    store.connections.open(GATE)
    store.connections.close(TAB, NOW)

    assert not store.connections.spend(GATE, replace(GATE, spent_until=NOW + 1_000))

    gate = store.connections.read(TAB, consistent=True)
    assert gate is not None
    assert gate.state is State.CLOSED


# ── aggregates ─────────────────────────────────────────────────────────────────────────────


def test_somebody_unknown_is_an_empty_user(store: Store) -> None:
    assert store.users.read("nobody") == User("nobody")
    assert store.users.read_many({"nobody"}) == {"nobody": User("nobody")}


def test_a_user_is_read_back_as_saved(store: Store) -> None:
    events = (
        Authenticated(TAB, lease()),
        Authenticated(PHONE, replace(lease(device=None), is_active=False)),
        Chosen(Choice.BUSY, "deep work", NOW + 60_000),
        Disconnected(TAB, NOW + 10_000),
        Disconnected(PHONE, NOW + 10_000),
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

    users = store.users.read_many([*names, "nobody"])

    assert set(users) == {*names, "nobody"}
    assert all(users[name].is_here for name in names)


def test_of_two_writers_the_second_loses_and_learns_what_the_first_wrote(store: Store) -> None:
    before = save(store, "ada", Authenticated(TAB, lease()))
    busy, _ = reduce(before, Chosen(Choice.BUSY), NOW)
    away, _ = reduce(before, Chosen(Choice.AWAY), NOW)
    store.users.save(before, busy, NOW, announce=True)

    with pytest.raises(Lost) as lost:
        store.users.save(before, away, NOW, announce=True)

    assert lost.value.current is not None
    assert lost.value.current.choice is Choice.BUSY


def test_of_two_who_create_a_user_one_loses(store: Store) -> None:
    before = User("ada")
    after, _ = reduce(before, Authenticated(TAB, lease()), NOW)
    store.users.save(before, after, NOW, announce=True)

    with pytest.raises(Lost) as lost:
        store.users.save(before, after, NOW, announce=True)

    assert lost.value.current is not None
    assert set(lost.value.current.leases) == {TAB}


def test_an_eviction_loses_to_a_ping_that_came_first(store: Store) -> None:
    before = save(store, "ada", Authenticated(TAB, lease()))
    gone, _ = reduce(before, TimePassed(), NOW + LEASE)
    renew(store, at=NOW + LEASE)

    with pytest.raises(Lost):
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
) -> Renewal:
    return store.users.renew(
        "ada", name, lease(at), is_active=is_active, if_before=at + LEASE - gap
    )


def test_a_renewal_moves_the_end_of_the_lease_and_nothing_else(store: Store) -> None:
    before = save(store, "ada", Authenticated(TAB, lease()))

    renewal = renew(store, at=NOW + 30_000, is_active=True)

    renewed = replace(before.leases[TAB], expires_at=NOW + 105_000, seen_at=NOW + 30_000)
    after = replace(before, leases={TAB: renewed})
    assert renewal == Renewal(after, is_done=True)
    assert store.users.read("ada", consistent=True) == after


def test_a_renewal_creates_nothing(store: Store) -> None:
    before = save(store, "ada", Authenticated(TAB, lease()))

    refused = renew(store, at=NOW + 30_000, name=PHONE)

    assert refused == Renewal(before, is_done=False)
    assert store.users.read("ada", consistent=True) == before


def test_a_renewal_of_somebody_unknown_creates_nobody(store: Store) -> None:
    assert renew(store, at=NOW) == Renewal(User("ada"), is_done=False)
    assert store.users.read("ada", consistent=True) == User("ada")


@pytest.mark.parametrize(
    ("at", "is_active"), [(NOW + 9_000, None), (NOW + 30_000, False)], ids=["too soon", "idle now"]
)
def test_a_renewal_that_does_not_fit_says_what_is_there(
    store: Store, at: int, is_active: bool | None
) -> None:
    before = save(store, "ada", Authenticated(TAB, lease()))

    refused = renew(store, at=at, is_active=is_active)

    assert refused == Renewal(before, is_done=False)


# ── both at once ───────────────────────────────────────────────────────────────────────────


def admit(store: Store, user_id: str) -> bool:
    before = store.users.read(user_id, consistent=True)
    after, _ = reduce(before, Authenticated(TAB, lease()), NOW)
    return store.users.save(before, after, NOW, announce=True, gate=ADMISSION)


def test_admission_claims_the_gate_and_gives_the_lease_and_the_subscription(store: Store) -> None:
    store.connections.open(GATE)

    assert admit(store, "ada")

    gate = store.connections.read(TAB, consistent=True)
    assert gate == replace(
        GATE,
        state=State.AUTHENTICATED,
        user_id="ada",
        token_expires_at=ADMISSION.token_expires_at,
    )
    assert set(store.users.read("ada", consistent=True).leases) == {TAB}
    assert list(store.subscriptions.everyone()) == [[Listener(TAB, "ada")]]


@pytest.mark.parametrize("state", ["unknown", "closed", "somebody else's"])
def test_a_gate_that_refuses_leaves_no_trace(store: Store, state: str) -> None:
    if state != "unknown":
        store.connections.open(GATE)
    if state == "closed":
        store.connections.close(TAB, NOW)
    if state == "somebody else's":
        admit(store, "bob")

    assert not admit(store, "ada")

    assert store.users.read("ada", consistent=True) == User("ada")


def test_an_admission_that_loses_leaves_the_gate_open(store: Store) -> None:
    store.connections.open(GATE)
    before = User("ada")
    after, _ = reduce(before, Authenticated(TAB, lease()), NOW)
    current = save(store, "ada", Authenticated(PHONE, lease()))

    with pytest.raises(Lost) as lost:
        store.users.save(before, after, NOW, announce=True, gate=ADMISSION)

    gate = store.connections.read(TAB, consistent=True)
    assert lost.value.current == current
    assert gate == GATE


# ── the roster and the subscriptions ───────────────────────────────────────────────────────


def test_the_roster_names_everybody_who_is_here_once(store: Store) -> None:
    names = {f"user-{number}" for number in range(40)}
    for name in names:
        save(store, name, Authenticated(name, lease()))
    save(store, "user-7", Disconnected("user-7", NOW + 10_000))
    save(store, "user-8", Chosen(Choice.INVISIBLE))
    save(store, "user-9", Disconnected("user-9", NOW + 10_000))
    save(store, "user-9", TimePassed(), now=NOW + 10_000)

    listed = list(store.roster.after(None))

    assert len(listed) == len(set(listed))
    assert set(listed) == names - {"user-9"}


def test_the_roster_goes_on_behind_any_user(store: Store) -> None:
    for number in range(20):
        save(store, f"user-{number}", Authenticated(f"c{number}", lease()))
    everybody = list(store.roster.after(None))

    for index, name in enumerate(everybody):
        behind = list(store.roster.after(store.roster.position_of(name)))

        assert behind == everybody[index + 1 :]


@pytest.mark.parametrize("position", ["x", "MDphZGE=", "OTk6YWRh", "Xw", "-_-_"])
def test_a_position_that_was_never_given_is_refused(store: Store, position: str) -> None:
    with pytest.raises(InvalidMessage):
        list(store.roster.after(position))


def test_the_count_is_kept_and_corrected(store: Store) -> None:
    before = store.roster.count()

    store.roster.counted(Count(5, NOW))
    store.roster.add(-2)

    assert before == Count(0, 0)
    assert store.roster.count() == Count(3, NOW)


def test_the_count_is_nobody(store: Store) -> None:
    store.roster.counted(Count(5, NOW))

    assert list(store.roster.after(None)) == []


def test_unsubscribing_may_be_repeated(store: Store) -> None:
    store.connections.open(GATE)
    admit(store, "ada")

    store.subscriptions.remove(GATE)
    store.subscriptions.remove(GATE)

    assert list(store.subscriptions.everyone()) == []


# ── what only the real tables show ─────────────────────────────────────────────────────────


def test_only_writes_that_announce_are_marked_for_the_stream(dynamodb: Store) -> None:
    table = boto3.resource("dynamodb").Table("Users")
    before = save(dynamodb, "ada", Authenticated(TAB, lease()))
    marked = table.get_item(Key={"user_id": "ada"})["Item"].get("changed")

    renew(dynamodb, at=NOW + 30_000)
    after_ping = table.get_item(Key={"user_id": "ada"})["Item"]
    seen, _ = reduce(before, TimePassed(), NOW)
    dynamodb.users.save(dynamodb.users.read("ada"), seen, NOW, announce=False)
    after_quiet_write = table.get_item(Key={"user_id": "ada"})["Item"]

    assert marked is True
    assert "changed" not in after_ping
    assert "changed" not in after_quiet_write


def test_every_ttl_is_in_seconds_and_outlives_what_it_is_for(dynamodb: Store) -> None:
    dynamodb.connections.open(GATE)
    admit(dynamodb, "ada")
    resource = boto3.resource("dynamodb")

    for name in ("Connections", "Users", "Subscriptions"):
        for item in resource.Table(name).scan()["Items"]:
            life = int(item["ttl"]) - NOW // 1000

            assert 2 * 60 * 60 + 10 * 60 <= life <= 90 * 24 * 60 * 60


def test_a_user_with_as_many_connections_as_allowed_fits_a_few_units(dynamodb: Store) -> None:
    for number in range(20):
        name = f"connection-{number:04}="
        save(dynamodb, "ada", Authenticated(name, lease(device="d" * 36)))

    item = boto3.client("dynamodb").get_item(TableName="Users", Key={"user_id": {"S": "ada"}})

    assert len(str(item["Item"])) < 8_000
