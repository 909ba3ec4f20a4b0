"""What only the real tables show: how large a user's item may be, its mark, and every TTL."""

import random
import string
from collections.abc import Callable
from dataclasses import replace

import boto3
import pytest

from bench.units import write_units
from presence.domain.data import compact
from presence.domain.disclosure import Rules
from presence.domain.errors import Conflict, RateLimited
from presence.domain.events import (
    Authenticated,
    Barred,
    Blocked,
    Chosen,
    DataChanged,
    Disconnected,
    Joined,
    TimePassed,
    TokenRevoked,
    Unblocked,
)
from presence.domain.events import UserEvent as Event
from presence.domain.reducer import reduce
from presence.domain.standing import LONGEST_LIFE, fingerprint
from presence.domain.user import Choice, Lease, User
from presence.limits import (
    MAX_BARRED,
    MAX_BLOCKED,
    MAX_CONNECTIONS,
    MAX_DATA_BYTES,
    MAX_EARLIER_CHOICES,
    MAX_REVOKED,
    MAX_SCENES,
    MAX_SESSIONS,
)
from tests.contract.conftest import Store, items
from tests.contract.test_store import LEASE, NOW, PHONE, ROOM, TAB, full_record, lease, renew, save

pytestmark = pytest.mark.contract

GRACE = 10_000
LETTERS = string.ascii_letters + string.digits


def grown(user: User, events: list[Event], now: int = NOW, *, apart: int = 0) -> User:
    """After as many of these as are allowed, so many milliseconds apart."""
    for number, event in enumerate(events):
        try:
            user, _ = reduce(user, event, now + number * apart)
        except (Conflict, RateLimited):
            break
    return user


class Fat:
    """A user who grows to all that the limits allow, with ids and texts that do not compress."""

    def __init__(self, seed: str, length: int = 128) -> None:
        self._random = random.Random(seed)  # noqa: S311
        self.names = [f"L{number:014}=" for number in range(MAX_CONNECTIONS)]
        self.user = User(self.ids(1)[0], rules=Rules(GRACE))
        for name, device in zip(self.names, self.ids(MAX_CONNECTIONS, length), strict=True):
            lease = Lease(NOW + LEASE, NOW, device=device, ends_by=NOW + LONGEST_LIFE)
            self.user = grown(self.user, [Authenticated(name, lease)])

    def ids(self, count: int, length: int = 128) -> list[str]:
        return ["".join(self._random.choices(LETTERS, k=length)) for _ in range(count)]

    def text(self) -> str:
        return "".join(chr(self._random.randrange(0x20000, 0x2A6DF)) for _ in range(140))

    def data(self) -> str:
        return compact({"a": self.text() + self.text()[:112]})

    def enter(self, sessions: list[str]) -> None:
        self.user = grown(
            self.user, [Joined(name, (it,)) for it in sessions for name in self.names]
        )

    def block(self, viewers: list[str]) -> None:
        """Quickly, with as many texts in between as the viewers may go on seeing."""
        for number in range(MAX_SCENES):
            texted = Chosen(Choice.BUSY, self.text())
            some = [Blocked(it) for it in viewers[number::MAX_SCENES]]
            self.user = grown(self.user, [texted, *some], NOW + 1_000 * number, apart=7)

    def say(self, viewers: list[str]) -> None:
        """One data after the other, each as the next viewer goes on seeing it."""
        for number, viewer in enumerate(viewers[:MAX_SCENES]):
            said: list[Event] = [DataChanged(self.data()), Blocked(viewer)]
            said.append(DataChanged(self.data()))
            self.user = grown(self.user, said, NOW + 2_000 * number, apart=7)

    def close(self) -> None:
        """All connections but one."""
        for number, name in enumerate(self.names[1:]):
            at = NOW + 5_000 + number
            self.user = grown(self.user, [Disconnected(name, at + GRACE)], at)

    def hide(self) -> None:
        """Choose one timed status after the other."""
        for number in range(MAX_EARLIER_CHOICES + 2):
            until = NOW + LONGEST_LIFE - number
            chosen = Chosen(Choice.INVISIBLE, self.text(), until=until if number else None)
            self.user = grown(self.user, [chosen], NOW + 6_000)


def fattest(first: str) -> Fat:
    fat = Fat(first)
    sessions, viewers, barred = fat.ids(MAX_SESSIONS), fat.ids(MAX_BLOCKED), fat.ids(MAX_BARRED)
    steps: dict[str, Callable[[], None]] = {
        "sessions": lambda: fat.enter(sessions),
        "blocks": lambda: fat.block(viewers),
        "bars": lambda: setattr(fat, "user", grown(fat.user, [Barred(it) for it in barred])),
        "data": lambda: fat.say(viewers),
    }
    steps.pop(first)()
    for others in steps.values():
        others()
    fat.user = grown(fat.user, [TokenRevoked(fingerprint(it)) for it in fat.ids(MAX_REVOKED)])
    return fat


def units(store: Store, user: User) -> int:
    """Of a ping of the user, as stored."""
    busy = {name: replace(it, arrival=it.seen_at + 1) for name, it in user.leases.items()}
    user = replace(user, leases=busy, arrival=NOW + 1)
    known, viewers = store.users.read(user.user_id, consistent=True), [*user.blocked]
    for count in range(
        len(known.blocked), MAX_BLOCKED + 1, MAX_BLOCKED // 5
    ):  # each is a row of the transaction
        after = replace(user, blocked={name: user.blocked[name] for name in viewers[:count]})
        assert store.users.save(known, after, NOW, announce=True)
        known = replace(after, revision=known.revision + 1)
    assert store.users.read(user.user_id, consistent=True) == replace(known, rules=Rules())
    [item] = store.everything()["Users"].values()
    return write_units(item, item)


@pytest.mark.parametrize("first", ["sessions", "blocks", "bars", "data"])
def test_a_ping_of_the_fattest_user_takes_ten_units(dictionaries: Store, first: str) -> None:
    fat = fattest(first)

    assert 6 < units(dictionaries, fat.user) <= 10


@pytest.mark.fault("A user blocks very many viewers one after the other, and hides.")
@pytest.mark.parametrize("first", ["sessions", "blocks", "bars", "data"])
def test_hiding_from_many_viewers_takes_ten_units_too(dictionaries: Store, first: str) -> None:
    fat = fattest(first)
    fat.hide()
    assert units(dictionaries, fat.user) <= 10

    fat.close()
    assert units(dictionaries, fat.user) <= 10


def test_blocking_many_viewers_in_many_chat_sessions_takes_ten_units(
    dictionaries: Store,
) -> None:
    fat = Fat("short", length=6)
    fat.enter(fat.ids(MAX_SESSIONS, 6))
    fat.block(fat.ids(MAX_BLOCKED, 6))
    fat.hide()
    assert units(dictionaries, fat.user) <= 10

    fat.close()

    assert (len(fat.user.blocked), len(fat.user.all_sessions)) == (MAX_BLOCKED, MAX_SESSIONS)
    assert units(dictionaries, fat.user) <= 10


def test_without_room_a_text_is_refused_and_a_device_keeps_no_user_out() -> None:
    fat = Fat("short", length=6)
    fat.enter(fat.ids(MAX_SESSIONS))
    (device,) = fat.ids(1, 100)

    with pytest.raises(Conflict):
        reduce(fat.user, Chosen(Choice.BUSY, fat.text() + "".join(fat.ids(1, 40))), NOW)
    after, _ = reduce(fat.user, Authenticated("one-more", Lease(NOW + LEASE, NOW, device)), NOW)

    assert after.leases["one-more"].device is None


def ordinary(data: str | None) -> User:
    """On two devices, in two chat sessions, and busy."""
    user = User("9f0c1d6e-3a52-4b8e-9c37-5d2f8a6b4e10")
    for number, device in enumerate(("laptop", "phone")):
        lease = Lease(NOW + LEASE, NOW, device=device, ends_by=NOW + LONGEST_LIFE)
        joined = Joined(f"L{number}", ("team:7:4f2a9c1e", "team:8:b07d53aa"))
        user = grown(user, [Authenticated(f"L{number}", lease), joined])
    return grown(user, [Chosen(Choice.BUSY, "In a meeting", data=data)])


@pytest.mark.parametrize(("size", "billed"), [(0, 1), (600, 1), (MAX_DATA_BYTES, 2)])
def test_data_of_some_600_bytes_cost_a_ping_nothing_and_more_a_second_unit(
    dictionaries: Store, size: int, billed: int
) -> None:
    """Of data that compress no better than Base64 does; names and addresses do."""
    (letters,) = Fat("data").ids(1, max(size - len('{"a":""}'), 0))

    assert units(dictionaries, ordinary(compact({"a": letters}) if size else None)) == billed


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
