"""Connection records, in the Connections table."""

from collections.abc import Mapping, Sequence
from typing import Any

from pynamodb.attributes import Attribute
from pynamodb.connection import Connection as Client
from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from presence import limits
from presence.adapters.dynamodb.tables import (
    ConditionFailed,
    ConnectionItem,
    Operation,
    instant,
    put_of,
    update_of,
    write,
)
from presence.adapters.dynamodb.topics import entry, parsed, shard_of
from presence.domain.connection import (
    Admission,
    Closing,
    Connection,
    ConnectionChange,
    Joining,
    Leaving,
    State,
    Typed,
)
from presence.limits import CLOSED_RECORD_SECONDS, OPEN_RECORD_SECONDS

#: What is removed from the record of a closed connection.
_PERSONAL: Sequence[Attribute[Any]] = (
    ConnectionItem.user_id,
    ConnectionItem.token_expires_at,
    ConnectionItem.allowed_sessions,
    ConnectionItem.chat_sessions,
    ConnectionItem.everyone_shards,
    ConnectionItem.typed,
    ConnectionItem.is_watching,
)


class DynamoDBConnections:
    def __init__(self, client: Client) -> None:
        self._client = client

    def open(self, connection: Connection) -> None:
        put = put_of(_item(connection), ConnectionItem.connection_id.does_not_exist())
        try:
            write(self._client, "PutItem", put)
        except ConditionFailed as error:
            # An id is used once: an equal item is ours, and the answer to its write was lost.
            if error.item != put["Item"]:
                raise

    def read(self, connection_id: str, *, consistent: bool = False) -> Connection | None:
        try:
            return _connection(ConnectionItem.get(connection_id, consistent_read=consistent))
        except ConnectionItem.DoesNotExist:
            return None

    def close(self, connection_id: str, now: int) -> Connection | None:
        known = ConnectionItem.connection_id.exists()
        update = update_of(ConnectionItem(connection_id), _closing(now), known)
        try:
            before = write(self._client, "UpdateItem", update | {"ReturnValues": "ALL_OLD"})
        except ConditionFailed:
            return None
        return _connection(ConnectionItem.from_raw_data(before))

    def close_unauthenticated(self, connection_id: str, now: int) -> bool:
        is_open = ConnectionItem.state == State.OPEN.value
        update = update_of(ConnectionItem(connection_id), _closing(now), is_open)
        try:
            write(self._client, "UpdateItem", update)
        except ConditionFailed as error:
            return error.was_done(
                {"state": {"S": State.CLOSED.value}, "ttl": {"N": str(_closed_until(now))}}
            )
        return True

    def charge(self, before: Connection, after: Connection) -> bool:
        actions = [ConnectionItem.theoretical_arrival.set(after.theoretical_arrival)]
        if after.typed != before.typed:
            actions.append(ConnectionItem.typed.set(_typed_item(after.typed)))
        same = ConnectionItem.theoretical_arrival == before.theoretical_arrival
        is_authenticated = ConnectionItem.state == State.AUTHENTICATED.value
        item = ConnectionItem(before.connection_id)
        try:
            write(self._client, "UpdateItem", update_of(item, actions, same & is_authenticated))
        except ConditionFailed as error:
            charged = {"N": str(after.theoretical_arrival)}
            authenticated = {"S": State.AUTHENTICATED.value}
            return error.was_done({"theoretical_arrival": charged, "state": authenticated})
        return True


def connection_update(change: ConnectionChange, user_id: str, shard: int) -> Operation:
    """The record's part of a transaction with its user; *shard* is where the subscription is."""
    item, is_same_user = ConnectionItem(change.connection_id), still_of(user_id)
    match change:
        case Admission():
            is_open = ConnectionItem.state == State.OPEN.value
            actions = _admitting(change, user_id)
            if shard != shard_of(change.connection_id, limits.EVERYONE_SHARDS):
                actions = [*actions, ConnectionItem.everyone_shards.add({shard})]
            return update_of(item, actions, is_open | is_same_user)
        case Joining():
            joined = [ConnectionItem.chat_sessions.add({entry(change.session_id, shard)})]
            return update_of(item, joined, is_same_user & _still_allows(change.allowed_by))
        case Leaving():
            entries = {entry(change.session_id, it) for it in change.shards}
            left = [ConnectionItem.chat_sessions.delete(entries)]
            return update_of(item, left, is_same_user)
        case Closing():
            closed = [ConnectionItem.state.set(State.CLOSED.value)]
            return update_of(item, closed, is_same_user)


def still_of(user_id: str) -> Condition:
    """The connection is authenticated as this user."""
    condition: Condition = (ConnectionItem.state == State.AUTHENTICATED.value) & (
        ConnectionItem.user_id == user_id
    )
    return condition


def _still_allows(allowed_by: str | None) -> Condition:
    """The claim of its token still allows what it allowed; a fresh token may have replaced it."""
    claim = ConnectionItem.allowed_sessions
    condition: Condition = (
        claim.does_not_exist() if allowed_by is None else claim.contains(allowed_by)
    )
    return condition


def _admitting(change: Admission, user_id: str) -> Sequence[Action]:
    allowed = change.allowed_sessions
    return [
        ConnectionItem.state.set(State.AUTHENTICATED.value),
        ConnectionItem.user_id.set(user_id),
        ConnectionItem.token_expires_at.set(change.token_expires_at),
        # A set in DynamoDB is never empty; no session has this name.
        ConnectionItem.allowed_sessions.remove()
        if allowed is None
        else ConnectionItem.allowed_sessions.set(set(allowed) or {_NONE}),
    ]


_NONE = "#none"


def _closed_until(now: int) -> int:
    return now // 1000 + CLOSED_RECORD_SECONDS


def _closing(now: int) -> Sequence[Action]:
    return [
        ConnectionItem.state.set(State.CLOSED.value),
        ConnectionItem.ttl.set(_closed_until(now)),
        *(attribute.remove() for attribute in _PERSONAL),
    ]


def _item(connection: Connection) -> ConnectionItem:
    return ConnectionItem(
        connection.connection_id,
        endpoint=connection.endpoint,
        state=connection.state.value,
        opened_at=connection.opened_at,
        ttl=connection.opened_at // 1000 + OPEN_RECORD_SECONDS,
    )


def _typed_item(typed: Mapping[str, Typed]) -> dict[str, int]:
    """Instants, negative for a stop: code that does not know this takes it for long ago."""
    return {name: it.at if it.is_typing else -it.at for name, it in typed.items()}


def _connection(item: ConnectionItem) -> Connection:
    allowed, joined = item.allowed_sessions, parsed(item.chat_sessions or ())
    return Connection(
        connection_id=item.connection_id,
        endpoint=item.endpoint,
        opened_at=int(item.opened_at),
        state=State(item.state),
        user_id=item.user_id,
        token_expires_at=instant(item.token_expires_at),
        allowed_sessions=frozenset(allowed) - {_NONE} if allowed else None,
        theoretical_arrival=int(item.theoretical_arrival),
        sessions=frozenset(joined),
        typed={name: Typed(abs(at), at > 0) for name, at in (item.typed or {}).items()},
        is_watching=bool(item.is_watching),
        shards={name: shards for name, shards in joined.items() if shards != {0}},
        everyone_shards=frozenset(int(it) for it in item.everyone_shards or ()),
    )
