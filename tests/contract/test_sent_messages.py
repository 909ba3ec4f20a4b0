"""Messages that were sent under a `clientId`: remembered, and known again."""

from dataclasses import replace

import pytest

from presence.domain.message import Message
from presence.limits import CLIENT_ID_MILLISECONDS
from presence.ports import Sent
from tests.contract.conftest import Store, items

pytestmark = pytest.mark.contract

NOW = 1_800_000_000_000
HELLO = Message("lobby", "0001", "ada", {"text": "Hello \U0001f31e"}, NOW, "mine-1")


def again(message: Message = HELLO) -> Message:
    """The same, sent a second later."""
    return replace(message, message_id="0002", sent_at=NOW + 1_000)


def test_a_message_is_known_again_with_what_became_of_it(store: Store) -> None:
    assert store.sent.claim(HELLO) is None
    assert store.sent.claim(again()) == Sent("0001", NOW, is_same=True, is_relayed=False)

    store.sent.relayed(HELLO)

    assert store.sent.claim(again()) == Sent("0001", NOW, is_same=True, is_relayed=True)
    other = replace(again(), content={"text": "Bye"})
    assert store.sent.claim(other) == Sent("0001", NOW, is_same=False, is_relayed=True)


def test_the_same_write_may_come_twice(store: Store) -> None:
    assert store.sent.claim(HELLO) is None
    assert store.sent.claim(HELLO) is None


@pytest.mark.parametrize(
    "other",
    [
        replace(again(), session_id="attic"),
        replace(again(), sender_id="eve"),
        replace(again(), client_id="mine-2"),
        replace(again(), sent_at=NOW + CLIENT_ID_MILLISECONDS),
    ],
    ids=["another-session", "another-user", "another-id", "much-later"],
)
def test_what_is_not_the_same_is_new(store: Store, other: Message) -> None:
    store.sent.claim(HELLO)
    store.sent.relayed(HELLO)

    assert store.sent.claim(other) is None
    known = store.sent.claim(replace(other, message_id="0003"))
    assert known == Sent("0002", other.sent_at, is_same=True, is_relayed=False)


def test_what_is_stored_is_small_names_no_user_and_ends(dynamodb: Store) -> None:
    longest = replace(HELLO, session_id="s" * 128, sender_id="u" * 128, client_id="c" * 128)
    dynamodb.sent.claim(longest)
    dynamodb.sent.relayed(longest)

    ((_, item),) = items("Subscriptions").items()
    stored = str(item)
    assert not any(it in stored for it in ("u" * 9, "s" * 9, "c" * 9, "Hello"))
    assert item["ttl"] == (NOW + CLIENT_ID_MILLISECONDS) // 1000
    assert sum(len(name) + len(str(value)) for name, value in item.items()) < 1024
