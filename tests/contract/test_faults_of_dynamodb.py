"""What DynamoDB does on a bad day, said to the real client of the adapters.

moto is never busy and never short of a page, so a subscriber at botocore's events says it instead.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, TypeAlias

import boto3
import pytest

from presence.adapters.dynamodb.tables import UserItem
from presence.domain.connection import Connection, Typed
from presence.domain.errors import Unavailable
from presence.domain.events import Authenticated, Blocked, Chosen, Disconnected, Joined, UserEvent
from presence.domain.rate_limit import Charge
from presence.domain.reducer import reduce
from presence.domain.user import Choice, User
from presence.limits import CONFLICT_ATTEMPTS, FIRST_MEMBERS
from presence.ports import EVERYONE, LargeRoom, Topic, WriteConflict
from tests.contract.conftest import Store, items
from tests.contract.test_store import (
    NOW,
    PHONE,
    RECORD,
    ROOM,
    TAB,
    admit,
    enter,
    full_record,
    lease,
    record_of,
    renew,
    save,
)

pytestmark = pytest.mark.contract

Said: TypeAlias = tuple[SimpleNamespace, dict[str, Any]]
NAMES = [f"user-{number:02}" for number in range(12)]


@contextmanager
def listening(event: str, subscriber: Any) -> Iterator[None]:
    """Lets *subscriber* hear, and answer, what the adapters' client asks of DynamoDB."""
    events = UserItem._get_connection().connection.client.meta.events
    events.register(event, subscriber)
    try:
        yield
    finally:
        events.unregister(event, subscriber)


def said(status: int, body: Mapping[str, Any]) -> Said:
    return SimpleNamespace(status_code=status), {"ResponseMetadata": {}, **body}


# ── pages and batches ──────────────────────────────────────────────────────────────────────


def twelve_members(store: Store) -> Connection:
    """Twelve who are in one chat session, block and are watched; returns the watcher's record."""
    for number, name in enumerate(NAMES):
        connection_id = f"connection-{number:04}="
        store.connections.open(Connection(connection_id, RECORD.endpoint, NOW))
        admit(store, name, name=connection_id)
        enter(store, name, ROOM, connection_id)
        save(store, name, Blocked("eve"))
    store.connections.open(RECORD)
    admit(store, "bob")
    store.subscriptions.watch(record_of(store), set(NAMES))
    return record_of(store)


def everything_listed(store: Store) -> list[Any]:
    subscribers = [
        *store.subscriptions.pages(EVERYONE),
        *store.subscriptions.pages(Topic("session", ROOM)),
        *store.subscriptions.pages(Topic("user", NAMES[0])),
    ]
    return [
        *store.online_index.after(None),
        *store.members.of(ROOM),
        *store.subscriptions.naming("eve"),
        *(it for page in subscribers for it in page),
    ]


def one_at_a_time(params: dict[str, Any], **_: object) -> None:
    params["Limit"] = 1


@pytest.mark.fault(
    "A guest lists who is online, and is in many chat sessions of very many members."
)
@pytest.mark.parametrize("after", ["", "a"])
def test_members_are_not_read_much_further_than_they_are_needed(
    dynamodb: Store, after: str
) -> None:
    sizes = list[int | None]()

    def note(params: dict[str, Any], **_: object) -> None:
        sizes.append(params.get("Limit"))

    with listening("before-parameter-build.dynamodb.Query", note):
        next(dynamodb.members.of(ROOM, after), None)

    assert sizes == [FIRST_MEMBERS]


@pytest.mark.fault("A query ends its page early, even an empty one.")
def test_every_list_is_read_to_its_end_however_small_its_pages(dynamodb: Store) -> None:
    twelve_members(dynamodb)
    whole, asked = everything_listed(dynamodb), list[str]()

    def count(**_: object) -> None:
        asked.append("Query")

    event = "before-parameter-build.dynamodb.Query"
    with listening(event, one_at_a_time), listening("before-call.dynamodb.Query", count):
        by_ones = everything_listed(dynamodb)

    assert by_ones == whole
    assert len(whole) == 5 * 12 + 3
    assert len(asked) >= len(whole)


def test_an_empty_page_is_not_the_end_of_a_list(dynamodb: Store) -> None:
    twelve_members(dynamodb)
    whole = everything_listed(dynamodb)

    def every_other_page_is_empty(params: dict[str, Any], **_: object) -> Said | None:
        asked = json.loads(params["body"])
        if asked.get("ExclusiveStartKey", {}) in seen:
            return None
        seen.append(asked.get("ExclusiveStartKey", {}))
        start = asked.get("ExclusiveStartKey") or first_key(asked)
        seen.append(start)
        page: dict[str, Any] = {
            "Items": [],
            "Count": 0,
            "ScannedCount": 1,
            "LastEvaluatedKey": start,
        }
        return said(200, page)

    seen: list[Any] = []
    with listening("before-call.dynamodb.Query", every_other_page_is_empty):
        assert everything_listed(dynamodb) == whole


def first_key(asked: Mapping[str, Any]) -> dict[str, Any]:
    """A key before all others of the partition that is asked for."""
    (partition, *_) = asked["ExpressionAttributeValues"].values()
    if asked.get("IndexName"):
        return {"online_shard": partition, "user_id": {"S": "!"}}
    return {"topic": partition, "subscriber": {"S": "!"}}


@pytest.mark.fault("A batch leaves keys, rows or messages unprocessed.")
def test_keys_that_a_batch_left_unprocessed_are_asked_for_again(dynamodb: Store) -> None:
    for name in NAMES:
        save(dynamodb, name, Authenticated(f"c-{name}", lease()))
    answers = list[int]()

    def serve_half(parsed: dict[str, Any], **_: object) -> None:
        found = parsed["Responses"]["Users"]
        served, left = found[: -(-len(found) // 2)], found[-(-len(found) // 2) :]
        keys = [{"user_id": item["user_id"]} for item in left]
        parsed["Responses"]["Users"] = served
        parsed["UnprocessedKeys"] = {"Users": {"Keys": keys}} if keys else {}
        answers.append(len(served))

    with listening("after-call.dynamodb.BatchGetItem", serve_half):
        users = dynamodb.users.read_many(NAMES)

    assert [users[name].is_here for name in NAMES] == [True] * len(NAMES)
    assert answers == [6, 3, 2, 1]


@pytest.mark.parametrize("refusals", [1, CONFLICT_ATTEMPTS - 1])
def test_rows_that_a_batch_left_unprocessed_are_deleted_all_the_same(
    dynamodb: Store, refusals: int
) -> None:
    record = twelve_members(dynamodb)
    left = busy(refusals)

    with listening("before-call.dynamodb.BatchWriteItem", left):
        dynamodb.subscriptions.remove(record)

    assert not [key for key in items("Subscriptions") if TAB in key]


def test_a_table_that_stays_too_busy_is_said_to_be(dynamodb: Store) -> None:
    record = twelve_members(dynamodb)

    with (
        listening("before-call.dynamodb.BatchWriteItem", busy(CONFLICT_ATTEMPTS)),
        pytest.raises(Unavailable),
    ):
        dynamodb.subscriptions.remove(record)


def busy(refusals: int) -> Any:
    """The first *refusals* batches of writes are taken, and nothing of them is done."""
    left = [*range(refusals)]

    def leave_all(params: dict[str, Any], **_: object) -> Said | None:
        if not left:
            return None
        left.pop()
        return said(200, {"UnprocessedItems": json.loads(params["body"])["RequestItems"]})

    return leave_all


# ── conflicts ──────────────────────────────────────────────────────────────────────────────


def cancelled(*codes: str) -> Said:
    """A transaction that was refused, with a reason for each of its operations."""
    reasons = [{"Code": code, "Message": code} for code in codes]
    error = {"Code": "TransactionCanceledException", "Message": f"reasons [{', '.join(codes)}]"}
    return said(400, {"Error": error, "CancellationReasons": reasons})


def conflicting() -> Said:
    error = {"Code": "TransactionConflictException", "Message": "Transaction is ongoing"}
    return said(400, {"Error": error})


def saying(answers: list[Said]) -> Any:
    def say(**_: object) -> Said | None:
        return answers.pop(0) if answers else None

    return say


@pytest.mark.fault("Two transactions meet, or a write meets a transaction.")
def test_a_transaction_that_meets_another_is_tried_again(dynamodb: Store) -> None:
    dynamodb.connections.open(RECORD)
    answers = [cancelled("TransactionConflict", "None"), cancelled("None", "TransactionConflict")]

    with listening("before-call.dynamodb.TransactWriteItems", saying(answers)):
        assert admit(dynamodb, "ada")

    assert answers == []
    assert set(dynamodb.users.read("ada", consistent=True).leases) == {TAB}


def test_a_plain_write_that_meets_a_transaction_is_tried_again(dynamodb: Store) -> None:
    save(dynamodb, "ada", Authenticated(TAB, lease()))
    answers = [conflicting(), conflicting()]

    with listening("before-call.dynamodb.UpdateItem", saying(answers)):
        assert renew(dynamodb, at=NOW + 30_000).is_done

    assert answers == []


def test_a_conflict_that_does_not_end_is_said_to_be_one(dynamodb: Store) -> None:
    dynamodb.connections.open(RECORD)
    before = dynamodb.everything()
    answers = [cancelled("TransactionConflict", "None")] * CONFLICT_ATTEMPTS

    with (
        listening("before-call.dynamodb.TransactWriteItems", saying(answers)),
        pytest.raises(Unavailable),
    ):
        admit(dynamodb, "ada")

    assert dynamodb.everything() == before


def test_a_condition_that_does_not_hold_is_no_conflict(dynamodb: Store) -> None:
    dynamodb.connections.open(RECORD)
    answers = [
        cancelled("None", "ConditionalCheckFailed", "TransactionConflict"),
        cancelled("ConditionalCheckFailed", "TransactionConflict", "None"),
    ]

    with listening("before-call.dynamodb.TransactWriteItems", saying(answers)):
        assert not admit(dynamodb, "ada"), "the connection record refused"
        with pytest.raises(WriteConflict):
            admit(dynamodb, "ada")


# ── answers that are lost ──────────────────────────────────────────────────────────────────


@contextmanager
def lost_answers(*operations: str) -> Iterator[list[bytes]]:
    """The first answer to each of these is lost after it was done; botocore sends it again.

    Yields what was sent.
    """
    sent = list[bytes]()
    left = list(operations)

    def lose(operation: Any, response: Any, **_: object) -> int | None:
        if operation.name not in left or response is None:
            return None
        left.remove(operation.name)
        return 0  # seconds to wait before it is sent again

    def keep(request: Any, **_: object) -> None:
        sent.append(request.body)

    with listening("needs-retry.dynamodb", lose), listening("before-send.dynamodb", keep):
        yield sent
    assert left == []


@pytest.mark.fault("DynamoDB has done a write, and its answer is lost.")
def test_a_handshake_is_not_refused_for_what_it_has_written_itself(dynamodb: Store) -> None:
    with lost_answers("PutItem"):
        dynamodb.connections.open(RECORD)

    assert record_of(dynamodb) == RECORD


def test_what_was_typed_and_whose_answer_was_lost_is_kept(dynamodb: Store) -> None:
    dynamodb.connections.open(RECORD)
    admit(dynamodb, "ada")
    record = record_of(dynamodb)
    typed, other = ({ROOM: Typed(at, is_typing=True)} for at in (NOW, NOW + 1))

    with lost_answers("UpdateItem"):
        assert dynamodb.connections.keep_typed(record, typed)
    with lost_answers("UpdateItem"):
        assert not dynamodb.connections.keep_typed(record, other)

    assert record_of(dynamodb).typed == typed


def test_an_action_whose_answer_was_lost_is_done(dynamodb: Store) -> None:
    save(dynamodb, "ada", Authenticated(TAB, lease()))

    with lost_answers("UpdateItem"):
        assert dynamodb.users.act("ada", TAB, lease(), Charge(NOW)).is_done
    with lost_answers("UpdateItem"):
        assert dynamodb.users.charge("ada", Charge(NOW))


def test_a_connection_that_never_authenticated_is_closed_though_the_answer_was_lost(
    dynamodb: Store,
) -> None:
    dynamodb.connections.open(RECORD)

    with lost_answers("UpdateItem"):
        assert dynamodb.connections.close_unauthenticated(TAB, NOW)
    with lost_answers("UpdateItem"):
        assert not dynamodb.connections.close_unauthenticated(TAB, NOW + 1_000)


def test_a_close_whose_answer_was_lost_says_what_was_there(dynamodb: Store) -> None:
    record = full_record(dynamodb)

    with lost_answers("UpdateItem"):
        assert dynamodb.connections.close(TAB, NOW, record) == record
    closed = record_of(dynamodb)
    assert closed.user_id is None
    with lost_answers("UpdateItem"):  # what another has closed is not ours
        assert dynamodb.connections.close(TAB, NOW + 1_000, record) == closed


def test_a_renewal_whose_answer_was_lost_is_done(dynamodb: Store) -> None:
    save(dynamodb, "ada", Authenticated(TAB, lease()))

    with lost_answers("UpdateItem"):
        assert renew(dynamodb, at=NOW + 30_000).is_done
    with lost_answers("UpdateItem"):
        assert not renew(dynamodb, at=NOW + 30_001).is_done


def test_a_probe_whose_mark_was_not_answered_is_sent_once(dynamodb: Store) -> None:
    save(dynamodb, "ada", Authenticated(TAB, lease()))

    with lost_answers("UpdateItem"):
        assert dynamodb.users.mark_probed("ada", NOW + 40_000, NOW + 10_000)
    with lost_answers("UpdateItem"):
        assert not dynamodb.users.mark_probed("ada", NOW + 40_001, NOW + 10_001)


def test_a_change_of_a_user_whose_answer_was_lost_is_no_conflict(dynamodb: Store) -> None:
    before = save(dynamodb, "ada", Authenticated(TAB, lease()))
    after, _ = reduce(before, Chosen(Choice.BUSY, "deep work"), NOW)

    with lost_answers("UpdateItem"):
        assert dynamodb.users.save(before, after, NOW, announce=True)
    assert dynamodb.users.read("ada", consistent=True).choice is Choice.BUSY
    other, _ = reduce(before, Chosen(Choice.AWAY), NOW)
    with lost_answers("UpdateItem"), pytest.raises(WriteConflict):
        dynamodb.users.save(before, other, NOW, announce=True)


def test_a_large_room_whose_answer_was_lost_is_kept(dynamodb: Store) -> None:
    first = LargeRoom(ROOM)
    tick = replace(first, is_large=True, member_count=7, tick=NOW, recent=("ada",))

    with lost_answers("PutItem"):
        assert dynamodb.members.keep(first, tick)
    assert not dynamodb.members.keep(first, tick)
    with lost_answers("PutItem"):
        assert not dynamodb.members.keep(first, replace(tick, member_count=8))


def test_a_user_whose_deletion_was_not_answered_is_gone(dynamodb: Store) -> None:
    user = save(dynamodb, "ada", Authenticated(TAB, lease()), Disconnected(TAB, NOW))

    with lost_answers("DeleteItem"):
        dynamodb.users.forget(user)

    assert dynamodb.users.read("ada", consistent=True) == User("ada")


def test_a_topic_grows_and_a_list_shrinks_though_the_answer_was_lost(dynamodb: Store) -> None:
    dynamodb.connections.open(RECORD)
    admit(dynamodb, "bob")
    dynamodb.subscriptions.watch(record_of(dynamodb), {"ada", "eve"})
    topic = Topic("user", "ada")

    with lost_answers("UpdateItem"):
        dynamodb.subscriptions.grow(topic, 1, 4)
    assert dynamodb.subscriptions.part(topic).shards == 4
    with lost_answers("UpdateItem", "BatchWriteItem"):
        dynamodb.subscriptions.unwatch(TAB, {"ada"})

    assert not dynamodb.heard(topic)
    assert len(dynamodb.heard(Topic("user", "eve"))) == 1


def test_a_transaction_is_sent_again_under_the_same_token(dynamodb: Store) -> None:
    """By which DynamoDB knows that it was done, and answers as the first time."""
    dynamodb.connections.open(RECORD)

    # moto does not know the token; where DynamoDB has forgotten it, the record is read again.
    with lost_answers("TransactWriteItems") as sent:
        assert not admit(dynamodb, "ada")

    tokens = [it["ClientRequestToken"] for it in map(json.loads, sent) if "TransactItems" in it]
    assert len(tokens) == 2
    assert tokens[0] == tokens[1]


# ── two versions of the code ───────────────────────────────────────────────────────────────


FROM_THE_FUTURE = {"mood": "sunny", "badges": ["early", "bird"], "schema": 2}

OLD_CODE: dict[str, UserEvent] = {
    "authenticate": Authenticated(PHONE, lease(NOW + 5)),
    "join": Joined(TAB, (ROOM,)),
    "choose": Chosen(Choice.BUSY, "deep work"),
    "block": Blocked("eve"),
    "disconnect": Disconnected(TAB, NOW + 10_000),
}


@pytest.mark.fault("Old and new code write the same item.")
@pytest.mark.parametrize("event", OLD_CODE.values(), ids=OLD_CODE)
def test_what_newer_code_stored_of_a_user_survives_a_write_of_older_code(
    dynamodb: Store, event: UserEvent
) -> None:
    save(dynamodb, "ada", Authenticated(TAB, lease()))
    table = boto3.resource("dynamodb").Table("Users")
    table.put_item(Item={**items("Users")["ada",], **FROM_THE_FUTURE})

    after = save(dynamodb, "ada", event)

    stored = items("Users")["ada",]
    assert {name: stored[name] for name in FROM_THE_FUTURE} == FROM_THE_FUTURE
    assert after.revision == 2


def test_what_newer_code_stored_of_a_lease_survives_a_ping_of_older_code(dynamodb: Store) -> None:
    save(dynamodb, "ada", Authenticated(TAB, lease()))
    table = boto3.resource("dynamodb").Table("Users")
    item: Any = items("Users")["ada",]
    item["leases"][TAB]["network"] = "wifi"
    table.put_item(Item=item)

    assert renew(dynamodb, at=NOW + 30_000).is_done

    stored: Any = items("Users")["ada",]
    assert stored["leases"][TAB]["network"] == "wifi"


def test_an_item_of_older_code_is_read_with_what_it_lacks_as_unsaid(dynamodb: Store) -> None:
    table = boto3.resource("dynamodb").Table("Users")
    table.put_item(Item={"user_id": "ada", "revision": 3, "version": 7, "leases": {}})

    assert dynamodb.users.read("ada") == User("ada", revision=3, version=7)
    assert save(dynamodb, "ada", Authenticated(TAB, lease())).is_here
