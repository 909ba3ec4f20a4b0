"""Connection records, in the Connections table."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import and_
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
from presence.chunks import chunked
from presence.domain.connection import (
    Admission,
    Closing,
    Connection,
    ConnectionChange,
    Joining,
    Leaving,
    Returning,
    State,
    Typed,
    begun,
    ended,
)
from presence.domain.user import User
from presence.limits import CLOSED_RECORD_SECONDS, OPEN_RECORD_SECONDS
from presence.ports import EVERYONE, Topic

#: What is removed from the record of a closed connection.
_PERSONAL: Sequence[Attribute[Any]] = (
    ConnectionItem.user_id,
    ConnectionItem.token_expires_at,
    ConnectionItem.allowed_sessions,
    ConnectionItem.token_issued_at,
    ConnectionItem.token_id,
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

    def read_many(self, connection_ids: Collection[str]) -> Mapping[str, Connection]:
        found = dict[str, Connection]()
        for batch in chunked(sorted(connection_ids), limits.MAX_BATCH_READ):
            items = ConnectionItem.batch_get(batch, consistent_read=True)
            found |= {item.connection_id: _connection(item) for item in items}
        return found

    def close(
        self, connection_id: str, now: int, known: Connection | None = None
    ) -> Connection | None:
        # One that is closed, but names its user, is left to be cleaned up (see `Closing`).
        has_more = (ConnectionItem.state == State.OPEN.value) | ConnectionItem.user_id.exists()
        update = update_of(ConnectionItem(connection_id), _closing(now), has_more)
        try:
            before = write(self._client, "UpdateItem", update | {"ReturnValues": "ALL_OLD"})
        except ConditionFailed as error:
            if known is not None and error.was_done(_closed(now)):
                return known
            before = error.item or {}
        return _connection(ConnectionItem.from_raw_data(before)) if before else None

    def close_unauthenticated(self, connection_id: str, now: int) -> bool:
        is_open = ConnectionItem.state == State.OPEN.value
        update = update_of(ConnectionItem(connection_id), _closing(now), is_open)
        try:
            write(self._client, "UpdateItem", update)
        except ConditionFailed as error:
            return error.was_done(_closed(now))
        return True

    def keep_typed(self, connection: Connection, typed: Mapping[str, Typed]) -> bool:
        known, kept = _typed_item(connection.typed), _typed_item(typed)
        same = (ConnectionItem.typed == known) & _is_still(connection.revision)
        if not known:
            same = ConnectionItem.typed.does_not_exist() & _is_still(connection.revision)
        is_authenticated = ConnectionItem.state == State.AUTHENTICATED.value
        item = ConnectionItem(connection.connection_id)
        update = update_of(item, [ConnectionItem.typed.set(kept)], same & is_authenticated)
        try:
            write(self._client, "UpdateItem", update)
        except ConditionFailed as error:
            found = error.item and _connection(ConnectionItem.from_raw_data(error.item))
            return bool(error.is_repeated and found and found.typed == typed)
        return True


def connection_update(
    change: ConnectionChange, user: User, places: Mapping[Topic, int]
) -> Operation:
    """The record's part of a transaction with its user; *places* as in `places_for`."""
    item, is_same_user = ConnectionItem(change.connection_id), still_of(user.user_id)
    match change:
        case Admission():
            may_be = (ConnectionItem.state == State.OPEN.value) | is_same_user
            admitting = _admitting(change, user.user_id, places)
            actions = [*admitting, *_taking_part(change, user, places), NEXT]
            return update_of(item, actions, may_be & _is_still(change.revision))
        case Returning():
            left = _leaving(ended(change, user))
            actions = [*left, NEXT] if left else [_SAME]
            return update_of(item, actions, is_same_user & _is_still(change.revision))
        case Joining():
            entries = _entries(begun(change, user), places)
            joined = [ConnectionItem.chat_sessions.add(entries)] if entries else []
            still_allows = _still_allows(change.allowed_by)
            return update_of(item, [*joined, NEXT], is_same_user & still_allows)
        case Leaving():
            return update_of(item, [*_leaving(change.left), NEXT], is_same_user)
        case Closing():
            closed = [ConnectionItem.state.set(State.CLOSED.value)]
            return update_of(item, closed, is_same_user)


#: Each write of what a connection may, is in or watches makes the record another one.
NEXT = ConnectionItem.revision.add(1)
_SAME = ConnectionItem.state.set(State.AUTHENTICATED.value)


def _is_still(revision: int) -> Condition:
    """The record is as it was read; one of before this rule has no revision."""
    same: Condition = ConnectionItem.revision == revision
    return same if revision else same | ConnectionItem.revision.does_not_exist()


def _leaving(sessions: Mapping[str, Collection[int]]) -> Sequence[Action]:
    entries = {entry(name, it) for name, shards in sessions.items() for it in shards}
    return [ConnectionItem.chat_sessions.delete(entries)] if entries else []


def _entries(session_ids: Iterable[str], places: Mapping[Topic, int]) -> set[str]:
    return {entry(name, places[Topic("session", name)]) for name in session_ids}


def _taking_part(change: Admission, user: User, places: Mapping[Topic, int]) -> Sequence[Action]:
    """All chat sessions that it is in: one update cannot add some and remove others."""
    left, new = ended(change, user), _entries(begun(change, user), places)
    if not left and not new:
        return []
    kept = {name: shards for name, shards in change.joined.items() if name not in left}
    entries = {entry(name, it) for name, shards in kept.items() for it in shards} | new
    sessions = ConnectionItem.chat_sessions
    return [sessions.set(entries) if entries else sessions.remove()]


def still_of(user_id: str) -> Condition:
    """The connection is authenticated as this user."""
    condition: Condition = (ConnectionItem.state == State.AUTHENTICATED.value) & (
        ConnectionItem.user_id == user_id
    )
    return condition


def still_limited(connection: Connection) -> Condition:
    """The token of the connection has a claim, or none, as it was read."""
    claim = ConnectionItem.allowed_sessions
    has_none = connection.allowed_sessions is None
    condition: Condition = claim.does_not_exist() if has_none else claim.exists()
    return condition


def _still_allows(allowed_by: frozenset[str] | None) -> Condition:
    """The claim of its token still allows what it allowed; a fresh token may have replaced it."""
    claim = ConnectionItem.allowed_sessions
    if allowed_by is None:
        condition: Condition = claim.does_not_exist()
        return condition
    return reduce(and_, (claim.contains(it) for it in sorted(allowed_by)))


def _admitting(change: Admission, user_id: str, places: Mapping[Topic, int]) -> Iterator[Action]:
    item, token = ConnectionItem, change.token
    yield item.state.set(State.AUTHENTICATED.value)
    yield item.user_id.set(user_id)
    yield item.token_expires_at.set(token.expires_at)
    yield item.token_issued_at.set(token.issued_at)
    yield item.token_id.remove() if token.token_id is None else item.token_id.set(token.token_id)
    if token.allowed_sessions is None:
        yield item.allowed_sessions.remove()
    else:  # a set in DynamoDB is never empty; no session has this name
        yield item.allowed_sessions.set(set(token.allowed_sessions) or {_NONE})
    usual = shard_of(change.connection_id, limits.EVERYONE_SHARDS)
    if (shard := places.get(EVERYONE, usual)) != usual:
        yield item.everyone_shards.add({shard})


_NONE = "#none"


def _closed_until(now: int) -> int:
    return now // 1000 + CLOSED_RECORD_SECONDS


def _closed(now: int) -> dict[str, Any]:
    """What a record has that was closed at *now*."""
    return {"state": {"S": State.CLOSED.value}, "ttl": {"N": str(_closed_until(now))}}


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
        token_issued_at=int(item.token_issued_at or 0),
        token_id=item.token_id,
        revision=int(item.revision),
        sessions=frozenset(joined),
        typed={name: Typed(abs(at), at > 0) for name, at in (item.typed or {}).items()},
        is_watching=item.is_watching is not None,  # false while the list is ended
        shards={name: shards for name, shards in joined.items() if shards != {0}},
        everyone_shards=frozenset(int(it) for it in item.everyone_shards or ()),
    )
