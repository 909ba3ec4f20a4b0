"""The three tables, as PynamoDB models, and the one client that serves them.

`ttl` is a backstop for storage in epoch *seconds*; no decision reads it.
"""

import json
import zlib
from base64 import b64decode
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from pynamodb.attributes import (
    Attribute,
    BooleanAttribute,
    ListAttribute,
    MapAttribute,
    NumberAttribute,
    NumberSetAttribute,
    UnicodeAttribute,
    UnicodeSetAttribute,
)
from pynamodb.connection import Connection as Client
from pynamodb.constants import BINARY, MAP, NUMBER, STRING
from pynamodb.exceptions import CancellationReason, VerboseClientError
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action
from pynamodb.indexes import GlobalSecondaryIndex, KeysOnlyProjection
from pynamodb.models import Model

from presence.chunks import chunked
from presence.domain.errors import Unavailable
from presence.limits import CONFLICT_ATTEMPTS, MAX_BATCH_WRITE
from presence.pauses import pause

Item: TypeAlias = dict[str, Any]
Operation: TypeAlias = dict[str, Any]


class Meta:
    """A table's settings; `bind` names the table."""

    table_name = ""
    connect_timeout_seconds = 1
    read_timeout_seconds = 3
    max_pool_connections = 32


class MapById(Attribute[dict[str, Any]]):
    """A map whose keys are ids, and its values numbers, texts or such maps.

    Not PynamoDB's: for that, a key is an argument or an attribute in Python, and an item with the
    key `self` can never be read again.
    """

    attr_type = MAP

    def serialize(self, value: dict[str, Any]) -> Any:  # noqa: ANN401
        return {name: _raw(it) for name, it in value.items()}

    def deserialize(self, value: Any) -> dict[str, Any]:  # noqa: ANN401
        return {name: _plain(it) for name, it in value.items()}


def _raw(value: int | str | dict[str, Any]) -> Item:
    if isinstance(value, dict):
        return {MAP: {name: _raw(it) for name, it in value.items()}}
    return {STRING: value} if isinstance(value, str) else {NUMBER: str(value)}


def _plain(raw: Item) -> int | str | Item:
    if MAP in raw:
        return {name: _plain(it) for name, it in raw[MAP].items()}
    return str(raw[STRING]) if STRING in raw else int(raw[NUMBER])


class PackedText(Attribute[str]):
    """A text, compressed: renewals are billed by its size, though it seldom changes."""

    attr_type = BINARY

    def serialize(self, value: str) -> bytes:
        return _packed(value)

    def deserialize(self, value: Any) -> str:  # noqa: ANN401
        return _unpacked(value)


class Packed(Attribute[dict[str, Any]]):
    """A map, as compressed JSON."""

    attr_type = BINARY

    def serialize(self, value: dict[str, Any]) -> bytes:
        return _packed(json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False))

    def deserialize(self, value: Any) -> dict[str, Any]:  # noqa: ANN401
        found: dict[str, Any] = json.loads(_unpacked(value))
        return found


def _packed(text: str) -> bytes:
    return zlib.compress(text.encode(), 9)


def _unpacked(value: Any) -> str:  # noqa: ANN401
    # In the records of a stream, as Lambda has them, binary values are in Base64.
    packed = b64decode(value) if isinstance(value, str) else value
    return zlib.decompress(packed).decode()


class ConnectionItem(Model):
    """A connection record."""

    class Meta(Meta):
        pass

    connection_id = UnicodeAttribute(hash_key=True)
    endpoint = UnicodeAttribute()
    state = UnicodeAttribute()
    opened_at = NumberAttribute()
    user_id = UnicodeAttribute(null=True)
    token_expires_at = NumberAttribute(null=True)
    allowed_sessions = UnicodeSetAttribute(null=True)
    token_issued_at = NumberAttribute(null=True)
    token_id = UnicodeAttribute(null=True)
    revision = NumberAttribute(default=0)
    chat_sessions = UnicodeSetAttribute(null=True)
    everyone_shards = NumberSetAttribute(null=True)
    typed = MapById(null=True)
    is_watching = BooleanAttribute(null=True)
    ttl = NumberAttribute()


class OnlineIndex(GlobalSecondaryIndex[Any]):  # type: ignore[no-untyped-call]
    """Users who are here. Sparse and keys only, so that a ping never writes to it."""

    class Meta:
        index_name = "online"
        projection = KeysOnlyProjection()

    online_shard = NumberAttribute(hash_key=True)
    user_id = UnicodeAttribute(range_key=True)


class UserItem(Model):
    """A user. `changed` marks a write that must be announced."""

    class Meta(Meta):
        pass

    user_id = UnicodeAttribute(hash_key=True)
    revision = NumberAttribute(default=0)
    version = NumberAttribute(default=0)
    own_version = NumberAttribute(default=0)
    leases: MapAttribute[str, Any] = MapAttribute(default=dict)  # type: ignore[no-untyped-call]
    choice = UnicodeAttribute(null=True)
    text = UnicodeAttribute(null=True)
    data = PackedText(null=True)
    until = NumberAttribute(null=True)
    status = UnicodeAttribute(null=True)
    grace_until = NumberAttribute(null=True)
    sessions = Packed(null=True)
    devices = Packed(null=True)
    last_seen = NumberAttribute(null=True)
    earlier = Packed(null=True)  # by position
    chosen_at = NumberAttribute(null=True)
    farewell = MapById(null=True)
    active_at = NumberAttribute(null=True)
    disclosure = UnicodeAttribute(null=True)
    returned = Packed(null=True)
    blocked = Packed(null=True)
    has_blocked = BooleanAttribute(null=True)
    not_before = NumberAttribute(null=True)
    revoked = Packed(null=True)
    barred = Packed(null=True)
    arrival = NumberAttribute(null=True)
    probed_at = NumberAttribute(null=True)
    changed = BooleanAttribute(null=True)
    online_shard = NumberAttribute(null=True)
    ttl = NumberAttribute(null=True)
    online_index = OnlineIndex()


class CountItem(Model):
    """How many are online: one item of the Users table, under a key that no user id can be."""

    class Meta(Meta):
        pass

    KEY = "#online"

    user_id = UnicodeAttribute(hash_key=True)
    online = NumberAttribute(default=0)
    as_of = NumberAttribute(default=0)
    #: Where the last sweep ran out of time.
    swept_to = UnicodeAttribute(null=True)


class FloorItem(Model):
    """The greatest version of any user who was erased: one item of the Users table, as the count.

    A user who comes back exceeds it, and no item has to name the user until then.
    """

    class Meta(Meta):
        pass

    KEY = "#erased"

    user_id = UnicodeAttribute(hash_key=True)
    version = NumberAttribute(default=0)


class SubscriptionItem(Model):
    """One row of a topic.

    everyone#SHARD, user:USER, session:SESSION   its subscribers: connections and their users;
                                                 user:USER#SHARD, session:SESSION#SHARD, if many
    members:SESSION                              its members; `hides` marks those who may hide from
                                                 viewers, as their items say, and `unusual` those
                                                 that only some viewers see
    blocked:USER, returned:USER                  the users who have blocked this one, or had
    watching:CONNECTION                          pages of its watch list; an entry names a user and,
                                                 if it is not the first, the shard: USER#SHARD
    """

    class Meta(Meta):
        pass

    topic = UnicodeAttribute(hash_key=True)
    subscriber = UnicodeAttribute(range_key=True)
    user_id = UnicodeAttribute(null=True)
    limited = BooleanAttribute(null=True)
    hides = BooleanAttribute(null=True)
    unusual = BooleanAttribute(null=True)
    shards = NumberAttribute(null=True)
    large = BooleanAttribute(null=True)
    entries = UnicodeSetAttribute(null=True)
    ttl = NumberAttribute(null=True)


class SentItem(Model):
    """A message that was sent under a `clientId`: one item of the Subscriptions table."""

    class Meta(Meta):
        pass

    KEY = "#"

    topic = UnicodeAttribute(hash_key=True)
    subscriber = UnicodeAttribute(range_key=True)
    message_id = UnicodeAttribute()
    sent_at = NumberAttribute()
    content = UnicodeAttribute()
    relayed = BooleanAttribute(null=True)
    ttl = NumberAttribute()


class RoomItem(Model):
    """The state of a large room: one item of the Subscriptions table, before its members.

    Its key is no id; an id may begin with `!`, and only a space sorts before that.
    """

    class Meta(Meta):
        pass

    KEY = " "

    topic = UnicodeAttribute(hash_key=True)
    subscriber = UnicodeAttribute(range_key=True)
    revision = NumberAttribute(default=0)
    large = BooleanAttribute(null=True)
    member_count = NumberAttribute(default=0)
    as_of = NumberAttribute(default=0)
    tick = NumberAttribute(null=True)
    ticking = NumberAttribute(null=True)
    recent: ListAttribute[Any] = ListAttribute(default=list)
    told: ListAttribute[Any] = ListAttribute(default=list)


def bind(*, connections: str, users: str, subscriptions: str) -> Client:
    """Name the tables, and let one client serve them.

    PynamoDB would make one for every model, and each costs a cold start some 50 ms.
    """
    names: dict[type[Model], str] = {
        ConnectionItem: connections,
        UserItem: users,
        CountItem: users,
        FloorItem: users,
        SubscriptionItem: subscriptions,
        RoomItem: subscriptions,
        SentItem: subscriptions,
    }
    client: Client | None = None
    for model, name in names.items():
        model.Meta.table_name = name
        own = model._get_connection()  # noqa: SLF001
        client = client or own.connection
        if name not in client._tables:  # noqa: SLF001
            client.add_meta_table(own.get_meta_table())
        own.connection = client
    if client is None:
        raise AssertionError("there are tables")
    return client


class ConditionFailed(Exception):
    """The item was not as the write required; *item* is what it was, if it exists.

    *is_repeated*: botocore has sent the write before, and got no answer. It may have been done
    then, and have made its own condition fail: `was_done` asks the item. (A transaction has a
    token by which DynamoDB itself knows it again.)
    """

    def __init__(self, item: Item | None, *, is_repeated: bool = False) -> None:
        super().__init__("the condition does not hold")
        self.item = item
        self.is_repeated = is_repeated

    def was_done(self, item: Item) -> bool:
        """Whether the write itself has left the item so; *item* has some of its attributes."""
        found = self.item or {}
        return self.is_repeated and all(found.get(name) == it for name, it in item.items())


class TransactionRefused(Exception):
    """Per operation, in order: None if its condition held, else the item as it was ({} if none)."""

    def __init__(self, items: Sequence[Item | None]) -> None:
        super().__init__("a condition of the transaction does not hold")
        self.items = items


def update_of(item: Model, actions: Sequence[Action], condition: Condition | None) -> Operation:
    return item.get_update_kwargs_from_instance(
        list(actions), condition=condition, return_values_on_condition_failure="ALL_OLD"
    )


def put_of(item: Model, condition: Condition | None) -> Operation:
    return item.get_save_kwargs_from_instance(
        condition, return_values_on_condition_failure="ALL_OLD"
    )


def write(client: Client, operation: str, arguments: Operation) -> Item:
    """One write or one transaction, answered with its `Attributes`.

    Raises:
        ConditionFailed: with the item as it is, at no extra read
            (`ReturnValuesOnConditionCheckFailure`), which `Model.update` cannot ask for.
        TransactionRefused: as the same, of a transaction.
        Unavailable: other transactions held the item for too long.
    """
    for attempt in range(CONFLICT_ATTEMPTS):
        try:
            answer: Item = client.dispatch(operation, arguments)
            return answer.get("Attributes") or {}
        except VerboseClientError as error:
            if not _is_conflict(error):
                raise _refusal(error) from error
        pause(attempt)  # botocore does not repeat after a conflict
    raise Unavailable("Too many transactions on one item.", retry_after_seconds=1)


def _is_conflict(error: VerboseClientError) -> bool:
    reasons = [reason.code for reason in error.cancellation_reasons or () if reason]
    refused = "ConditionalCheckFailed" in reasons
    return _code(error) == "TransactionConflictException" or (
        "TransactionConflict" in reasons and not refused
    )


def _refusal(error: VerboseClientError) -> Exception:
    if _code(error) == "ConditionalCheckFailedException":
        response = _response(error)
        retries = response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
        return ConditionFailed(response.get("Item"), is_repeated=retries > 0)
    reasons = error.cancellation_reasons or ()
    if any(reason and reason.code == "ConditionalCheckFailed" for reason in reasons):
        return TransactionRefused([_item_if_refused(reason) for reason in reasons])
    return error


def _item_if_refused(reason: CancellationReason | None) -> Item | None:
    refused = reason is not None and reason.code == "ConditionalCheckFailed"
    return (reason.raw_item or {}) if refused and reason else None


def _code(error: VerboseClientError) -> str:
    return str(error.response["Error"]["Code"])


def _response(error: VerboseClientError) -> Item:
    """PynamoDB keeps the code and the message; the rest is in the botocore error behind it."""
    response: Item = getattr(error.__cause__, "response", {})
    return response


def delete_all(client: Client, keys: Iterable[tuple[str, str]]) -> None:
    """Delete rows of Subscriptions, whether they exist or not."""
    _write_all(
        client,
        (
            {"DeleteRequest": {"Key": {"topic": {"S": topic}, "subscriber": {"S": name}}}}
            for topic, name in keys
        ),
    )


def put_all(client: Client, rows: Iterable[SubscriptionItem]) -> None:
    """Write rows of Subscriptions, each in the place of what was there."""
    _write_all(client, ({"PutRequest": {"Item": it.serialize()}} for it in rows))


def _write_all(client: Client, requests: Iterable[Item]) -> None:
    for batch in chunked(requests, MAX_BATCH_WRITE):
        _write_batch(client, {SubscriptionItem.Meta.table_name: batch})


def _write_batch(client: Client, requests: Item) -> None:
    for attempt in range(CONFLICT_ATTEMPTS):
        answer: Item = client.dispatch("BatchWriteItem", {"RequestItems": requests})
        requests = answer.get("UnprocessedItems") or {}
        if not requests:
            return
        pause(attempt)
    raise Unavailable("The table is too busy.", retry_after_seconds=1)


def plain(value: MapAttribute[str, Any] | None) -> Item:
    """A map as a dictionary; an empty one for None."""
    found: Item = {} if value is None else value.as_dict()  # type: ignore[no-untyped-call]
    return found


def instant(value: float | None) -> int | None:
    """PynamoDB reads numbers as int or float; instants are whole milliseconds."""
    return None if value is None else int(value)
