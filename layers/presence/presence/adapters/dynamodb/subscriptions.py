"""Who hears what, in the Subscriptions table: a topic and those who have to do with it."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from zlib import crc32

from pynamodb.connection import Connection as Client
from pynamodb.expressions.condition import size

from presence.adapters.dynamodb.connections import OPEN_TTL_SECONDS, still_of
from presence.adapters.dynamodb.tables import (
    ConditionFailed,
    ConnectionItem,
    Operation,
    SubscriptionItem,
    TransactionRefused,
    WatchItem,
    delete_all,
    refused,
    update_of,
    write,
)
from presence.domain.connection import Admission, Connection, GateChange, Joining, Leaving
from presence.domain.errors import Conflict
from presence.domain.user import User
from presence.ports import Listener, Member

SHARDS = 8
PAGE = 500
MAX_WATCHED = 1_000
#: TransactWriteItems takes 100 operations; two are for the connection.
WATCH_CHUNK = 98


# ── topics ─────────────────────────────────────────────────────────────────────────────────


def everyone(shard: int) -> str:
    return f"everyone#{shard}"


def everyone_of(connection_id: str) -> str:
    return everyone(crc32(connection_id.encode()) % SHARDS)


def watchers(user_id: str) -> str:
    return f"user:{user_id}"


def listeners(session_id: str) -> str:
    return f"session:{session_id}"


def members(session_id: str) -> str:
    return f"members:{session_id}"


def blockers(user_id: str) -> str:
    return f"blocked:{user_id}"


# ── rows ───────────────────────────────────────────────────────────────────────────────────


class DynamoDBSubscriptions:
    def __init__(self, client: Client, *, is_global: bool) -> None:
        self._client = client
        self._is_global = is_global

    def everyone(self) -> Iterator[Sequence[Listener]]:
        for shard in range(SHARDS):
            yield from _pages(everyone(shard))

    def watchers(self, user_id: str) -> Iterator[Sequence[Listener]]:
        yield from _pages(watchers(user_id))

    def listeners(self, session_id: str) -> Iterator[Sequence[Listener]]:
        yield from _pages(listeners(session_id))

    def blockers(self, user_id: str) -> Iterator[str]:
        for item in SubscriptionItem.query(blockers(user_id), consistent_read=True):
            yield item.subscriber

    def watch(self, connection: Connection, user_ids: Collection[str]) -> bool:
        if len(user_ids) > WATCH_CHUNK:
            # All or none, in more than one transaction: so look first.
            listed = _read_list(connection.connection_id)
            _require_room(len({*listed, *user_ids}))
        rest = iter(sorted(user_ids))
        while chunk := list(islice(rest, WATCH_CHUNK)):
            if not self._watch(connection, chunk):
                return False
        return True

    def _watch(self, connection: Connection, user_ids: Sequence[str]) -> bool:
        gate = update_of(
            ConnectionItem(connection.connection_id),
            [ConnectionItem.is_watching.set(value=True)],
            still_of(str(connection.user_id)),
        )
        viewer_id, opened_at = str(connection.user_id), connection.opened_at
        rows = [
            _listener(watchers(user_id), connection.connection_id, viewer_id, opened_at)
            for user_id in user_ids
        ]
        operations = [{"Update": gate}, {"Update": _watched(connection, user_ids)}, *rows]
        try:
            write(self._client, "TransactWriteItems", {"TransactItems": operations})
        except TransactionRefused as error:
            if 0 in refused(error):
                return False
            known = WatchItem.from_raw_data(error.items[1] or {}).user_ids or ()
            new = [user_id for user_id in user_ids if user_id not in known]
            _require_room(len(known) + len(new))
            return not new or self._watch(connection, new)
        return True

    def unwatch(self, connection_id: str, user_ids: Collection[str]) -> None:
        # The rows first: what is left on the list of a connection is deleted with it.
        delete_all(self._client, ((watchers(name), connection_id) for name in user_ids))
        self._unlist(connection_id, user_ids)

    def remove(self, connection: Connection) -> None:
        delete_all(self._client, self._rows_of(connection))
        if connection.is_watching:
            item = WatchItem(_list_of(connection.connection_id))
            write(self._client, "DeleteItem", item.get_delete_kwargs_from_instance())

    def _rows_of(self, connection: Connection) -> Iterator[tuple[str, str]]:
        connection_id = connection.connection_id
        if self._is_global:
            yield everyone_of(connection_id), connection_id
        for session_id in connection.sessions:
            yield listeners(session_id), connection_id
        if connection.is_watching:
            for user_id in _read_list(connection_id):
                yield watchers(user_id), connection_id

    def forget(self, user_id: str) -> None:
        for page in self.watchers(user_id):
            for listener in page:
                self.unwatch(listener.connection_id, [user_id])

    def _unlist(self, connection_id: str, user_ids: Collection[str]) -> None:
        item = WatchItem(_list_of(connection_id))
        removal = WatchItem.user_ids.delete(set(user_ids))
        # Without the condition, DynamoDB would make an empty list for who has none.
        try:
            write(
                self._client, "UpdateItem", update_of(item, [removal], WatchItem.user_ids.exists())
            )
        except ConditionFailed:
            return


class DynamoDBMembers:
    def of(self, session_id: str) -> Iterator[Member]:
        for item in SubscriptionItem.query(members(session_id), consistent_read=True):
            yield Member(item.subscriber, frozenset(item.hidden_from or ()))


def _listener(topic: str, connection_id: str, user_id: str, opened_at: int) -> Operation:
    """Part of a transaction with the gate: a closed one leaves no listener behind."""
    ttl = opened_at // 1000 + OPEN_TTL_SECONDS
    item = SubscriptionItem(topic, connection_id, user_id=user_id, ttl=ttl)
    return {"Put": item.get_save_kwargs_from_instance()}


def listener_changes(change: GateChange, user_id: str, *, is_global: bool) -> Iterator[Operation]:
    """What a change of a gate does to the rows of what its connection hears."""
    match change:
        case Admission(connection_id, opened_at) if is_global:
            topic = everyone_of(connection_id)
            yield _listener(topic, connection_id, user_id, opened_at)
        case Joining(connection_id, opened_at, session_id):
            yield _listener(listeners(session_id), connection_id, user_id, opened_at)
        case Leaving(connection_id, session_id):
            item = SubscriptionItem(listeners(session_id), connection_id)
            yield {"Delete": item.get_delete_kwargs_from_instance()}


def row_changes(before: User, after: User) -> Iterator[Operation]:
    """What a change of a user does to the rows that say where others see them, and whom they block.

    Part of the user's own transaction, so that these rows are never wrong, and have no TTL.
    """
    old, new = _rows(before), _rows(after)
    for key in old.keys() - new.keys():
        yield {"Delete": SubscriptionItem(*key).get_delete_kwargs_from_instance()}
    for key, hidden_from in new.items():
        if old.get(key) != hidden_from:
            item = SubscriptionItem(*key, hidden_from=set(hidden_from) or None)
            yield {"Put": item.get_save_kwargs_from_instance()}


def _rows(user: User) -> dict[tuple[str, str], frozenset[str]]:
    hidden_from = frozenset(user.blocked)
    seen_in = {(members(name), user.user_id): hidden_from for name in user.sessions_seen_by(None)}
    blocks = {(blockers(name), user.user_id): frozenset[str]() for name in user.blocked}
    return {**seen_in, **blocks}


def _pages(topic: str) -> Iterator[Sequence[Listener]]:
    items = SubscriptionItem.query(topic)
    while page := [Listener(it.subscriber, str(it.user_id)) for it in islice(items, PAGE)]:
        yield page


def _require_room(count: int) -> None:
    if count > MAX_WATCHED:
        raise Conflict(f"Watch at most {MAX_WATCHED} users on a connection.")


def _list_of(connection_id: str) -> str:
    """A key that no connection has: none has a `#` in it."""
    return f"{connection_id}#watching"


def _read_list(connection_id: str) -> Iterable[str]:
    try:
        item = WatchItem.get(_list_of(connection_id), consistent_read=True)
    except WatchItem.DoesNotExist:
        return ()
    return item.user_ids or ()


def _watched(connection: Connection, user_ids: Sequence[str]) -> Operation:
    room = MAX_WATCHED - len(user_ids)
    actions = [
        WatchItem.user_ids.add(set(user_ids)),
        WatchItem.ttl.set(connection.opened_at // 1000 + OPEN_TTL_SECONDS),
    ]
    count = size(WatchItem.user_ids)  # type: ignore[no-untyped-call]
    fits = WatchItem.user_ids.does_not_exist() | (count <= room)
    return update_of(WatchItem(_list_of(connection.connection_id)), actions, fits)
