"""What the item of a user may take at most: each ping is billed for all of it."""

import random
import string
from dataclasses import replace

import pytest

from bench.units import item_size, write_units
from presence.domain.errors import Conflict
from presence.domain.events import Authenticated, Barred, Blocked, Chosen, Joined, TokenRevoked
from presence.domain.events import UserEvent as Event
from presence.domain.reducer import reduce
from presence.domain.standing import LONGEST_LIFE, fingerprint
from presence.domain.user import Choice, Lease, User
from presence.limits import MAX_BARRED, MAX_BLOCKED, MAX_CONNECTIONS, MAX_REVOKED, MAX_SESSIONS
from tests.contract.conftest import Store
from tests.contract.test_store import LEASE, NOW

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
