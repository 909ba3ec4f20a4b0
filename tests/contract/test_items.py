"""What only the real tables show: how large a user's item may be, its mark, and every TTL."""

import random
import string
from dataclasses import replace

import boto3
import pytest

from bench.units import item_size, write_units
from presence.domain.errors import Conflict
from presence.domain.events import (
    Authenticated,
    Barred,
    Blocked,
    Chosen,
    Joined,
    TimePassed,
    TokenRevoked,
    Unblocked,
)
from presence.domain.events import UserEvent as Event
from presence.domain.reducer import reduce
from presence.domain.standing import LONGEST_LIFE, fingerprint
from presence.domain.user import Choice, Lease, User
from presence.limits import MAX_BARRED, MAX_BLOCKED, MAX_CONNECTIONS, MAX_REVOKED, MAX_SESSIONS
from tests.contract.conftest import Store, items
from tests.contract.test_store import LEASE, NOW, PHONE, ROOM, TAB, full_record, lease, renew, save

pytestmark = pytest.mark.contract

LETTERS = string.ascii_letters + string.digits


def grown(user: User, events: list[Event]) -> User:
    """After as many of these as are allowed."""
    for event in events:
        try:
            user, _ = reduce(user, event, NOW)
        except Conflict:
            break
    return user


def fattest(first: str) -> User:
    """A user who has all that the limits allow, with ids that do not compress."""
    random_ids = random.Random(first)  # noqa: S311

    def ids(count: int) -> list[str]:
        return ["".join(random_ids.choices(LETTERS, k=128)) for _ in range(count)]

    names = [f"L{number:014}=" for number in range(MAX_CONNECTIONS)]
    user = User(ids(1)[0])
    for name, device in zip(names, ids(MAX_CONNECTIONS), strict=True):
        lease = Lease(NOW + LEASE, NOW, device=device, ends_by=NOW + LONGEST_LIFE)
        user = grown(user, [Authenticated(name, lease)])
    sessions = [Joined(name, (it,)) for it in ids(MAX_SESSIONS) for name in names]
    blocks = [Blocked(it) for it in ids(MAX_BLOCKED)]
    bars = [Barred(it) for it in ids(MAX_BARRED)]
    events: dict[str, list[Event]] = {"sessions": [*sessions], "blocks": [*blocks], "bars": [*bars]}
    user = grown(user, events.pop(first))
    for others in events.values():
        user = grown(user, others)
    user = grown(user, [TokenRevoked(fingerprint(it)) for it in ids(MAX_REVOKED)])
    return grown(user, [Chosen(Choice.BUSY, "\U0001f600" * 140, until=NOW + LONGEST_LIFE)])


@pytest.mark.parametrize("first", ["sessions", "blocks", "bars"])
def test_a_ping_of_the_fattest_user_takes_ten_units(dictionaries: Store, first: str) -> None:
    after = fattest(first)
    busy = {name: replace(it, arrival=it.seen_at + 1) for name, it in after.leases.items()}
    after = replace(after, leases=busy, arrival=NOW + 1)
    dictionaries.users.save(User(after.user_id), after, NOW, announce=True)
    [item] = dictionaries.everything()["Users"].values()

    assert dictionaries.users.read(after.user_id, consistent=True).leases == after.leases
    assert item_size(item) > 6_000
    assert write_units(item, item) <= 10


@pytest.mark.parametrize(("blocks", "sessions"), [(MAX_BLOCKED, 2), (150, 40), (100, MAX_SESSIONS)])
def test_ordinary_ids_meet_the_limits_of_their_numbers_first(blocks: int, sessions: int) -> None:
    uuids = random.Random(1)  # noqa: S311
    user = grown(User("ada"), [Authenticated("a1", Lease(NOW + LEASE, NOW))])

    def uuid() -> str:
        text = f"{uuids.getrandbits(128):032x}"
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))

    user = grown(user, [Blocked(uuid()) for _ in range(blocks)])
    user = grown(
        user, [Joined("a1", (f"team:{number}:{uuid()[:8]}",)) for number in range(sessions)]
    )

    assert (len(user.blocked), len(user.sessions)) == (blocks, sessions)


# ── marks and TTLs ─────────────────────────────────────────────────────────────────────────


@pytest.mark.fault("A function dies after the write and before the change is announced.")
@pytest.mark.fault("A write that changes nothing leaves no stream record.")
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


#: Written with their user, and right for as long as that is.
WITHOUT_TTL = {("Subscriptions", f"members:{ROOM}", "ada"), ("Subscriptions", "blocked:eve", "ada")}


@pytest.mark.fault("TTL deletes days late, or never.")
@pytest.mark.fault("TTL deletes too early, or never because it is in milliseconds.")
def test_every_ttl_is_in_seconds_and_outlives_what_it_is_for(dynamodb: Store) -> None:
    full_record(dynamodb)
    save(dynamodb, "ada", Blocked("eve"))
    save(dynamodb, "bob", Authenticated(PHONE, lease()))

    rows = {
        (table, *key): item
        for table in ("Connections", "Users", "Subscriptions")
        for key, item in items(table).items()
    }
    lives = {key: int(it["ttl"]) - NOW // 1000 for key, it in rows.items() if "ttl" in it}

    assert rows.keys() - lives.keys() == WITHOUT_TTL | {("Users", "ada")}
    assert all(2 * 60 * 60 + 10 * 60 <= it <= 90 * 24 * 60 * 60 for it in lives.values())


def test_an_invisible_user_is_not_deleted_by_ttl_before_becoming_visible(
    dynamodb: Store,
) -> None:
    """A TTL on it would show the user to the viewers that they hide from."""
    has_ttl = []
    events = (
        *(Chosen(Choice.AWAY), Blocked("eve"), TimePassed(), Unblocked(frozenset({"eve"}))),
        *(Chosen(Choice.INVISIBLE), TimePassed(), Chosen(Choice.ONLINE)),
    )
    for event in events:
        save(dynamodb, "ada", event)
        has_ttl.append("ttl" in items("Users")["ada",])

    assert has_ttl == [True, False, False, True, False, False, True]


def test_a_closed_record_has_a_short_ttl_and_no_personal_data(dynamodb: Store) -> None:
    full_record(dynamodb)

    dynamodb.connections.close(TAB, NOW)

    record = items("Connections")[TAB,]
    assert record.keys() == {
        *("connection_id", "endpoint", "state", "opened_at", "revision", "ttl"),
    }
    assert record["ttl"] == NOW // 1000 + 15 * 60
