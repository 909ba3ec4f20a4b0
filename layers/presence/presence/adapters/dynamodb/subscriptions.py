"""The Subscriptions table: for each topic its subscribers, members or blockers."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain

from pynamodb.connection import Connection as Client
from pynamodb.expressions.update import Action

from presence import limits
from presence.adapters.dynamodb import topics
from presence.adapters.dynamodb.connections import NEXT, still_limited, still_of
from presence.adapters.dynamodb.tables import (
    ConditionFailed,
    ConnectionItem,
    Operation,
    SubscriptionItem,
    TransactionRefused,
    delete_all,
    put_all,
    update_of,
    write,
)
from presence.adapters.dynamodb.topics import Shards, entry, key_of, parsed
from presence.domain.connection import (
    Admission,
    Connection,
    ConnectionChange,
    Joining,
    Leaving,
    Returning,
    begun,
    ended,
)
from presence.domain.errors import Conflict
from presence.domain.user import User
from presence.ports import EVERYONE, Block, Part, Subscriber, Topic

# ── topics of users ────────────────────────────────────────────────────────────────────────


def members(session_id: str) -> str:
    return f"members:{session_id}"


def blockers(user_id: str) -> str:
    return f"blocked:{user_id}"


def forgivers(user_id: str) -> str:
    """Users who blocked this one, and whose versions are still others for this one."""
    return f"returned:{user_id}"


# ── rows ───────────────────────────────────────────────────────────────────────────────────


class DynamoDBSubscriptions:
    def __init__(self, client: Client, *, is_global: bool, shards: Shards | None = None) -> None:
        self._client = client
        self._is_global = is_global
        self._shards = shards or Shards()

    def part(self, topic: Topic, shard: int = 0, after: str | None = None) -> Part:
        return topics.part(topic, shard, after)

    def grow(self, topic: Topic, before: int, shards: int) -> None:
        topics.grow(self._client, topic, before, shards)

    def mark(self, session_id: str, *, is_large: bool) -> None:
        topics.mark(self._client, Topic("session", session_id), is_large=is_large)

    def pages(self, topic: Topic) -> Iterator[Sequence[Subscriber]]:
        return (part.subscribers for part in topics.pages(topic) if part.subscribers)

    def blocks(self, after: Block | None = None) -> Iterator[Block]:
        last = None
        if after is not None:
            key = SubscriptionItem(blockers(after.viewer_id), after.user_id)
            last = key.get_delete_kwargs_from_instance()["Key"]
        prefix = blockers("")
        found = SubscriptionItem.scan(
            SubscriptionItem.topic.startswith(prefix), last_evaluated_key=last
        )
        return (Block(it.subscriber, it.topic.removeprefix(prefix)) for it in found)

    def naming(self, user_id: str) -> Iterator[str]:
        for topic in (blockers(user_id), forgivers(user_id)):
            for item in SubscriptionItem.query(topic, consistent_read=True):
                yield item.subscriber

    def watch(self, connection: Connection, user_ids: Collection[str]) -> bool:
        """The list first, in a transaction with the record; then the rows that it names.

        Rows in the transaction would cost twice as much. What ends the list meanwhile has said so
        in the record before it looks for rows: those that came too late are deleted here.
        """
        name = connection.connection_id
        pages = _pages_of(name)
        listed = frozenset[str]().union(*pages.values())
        known = parsed(listed)
        if len(listed) + len(set(user_ids) - known.keys()) > limits.WATCHED_USERS:
            raise Conflict(f"Watch at most {limits.WATCHED_USERS} users on a connection.")
        topics_of = [Topic("user", user_id) for user_id in sorted(set(user_ids))]
        shards = {it: self._shard(it, name, known) for it in topics_of}
        entries = {entry(it.name, shard) for it, shard in shards.items()}
        added = _paged(sorted(entries.difference(listed)), pages)
        operations = list(_list_operations(connection, added))
        try:
            write(self._client, "TransactWriteItems", {"TransactItems": operations})
        except TransactionRefused:
            return False
        # All rows also for users on the list: what took them off it may have stopped halfway.
        keys = [key_of(topic, shard) for topic, shard in shards.items()]
        put_all(self._client, (_subscriber_row(connection, key) for key in keys))
        first = min(page for page, some in pages.items() if not entries.isdisjoint(some))
        is_watching = self._is_still_watching(connection, entries, first)
        return is_watching or self._take_back(name, keys)

    def _is_still_watching(
        self, connection: Connection, entries: Collection[str], first: str
    ) -> bool:
        """Whether nothing has ended the list, or begun to, which has these from a page on."""
        name = connection.connection_id
        try:
            record = ConnectionItem.get(name, consistent_read=True)
        except ConnectionItem.DoesNotExist:
            return False
        is_same = record.is_watching and record.user_id == connection.user_id
        has_claim = connection.allowed_sessions is not None
        if not is_same or has_claim != (record.allowed_sessions is not None):
            return False
        return frozenset[str]().union(*_pages_of(name, first).values()).issuperset(entries)

    def _take_back(self, connection_id: str, keys: Iterable[str]) -> bool:
        delete_all(self._client, ((key, connection_id) for key in keys))
        return False

    def _shard(self, topic: Topic, connection_id: str, known: Mapping[str, frozenset[int]]) -> int:
        """A user on the list stays in the shard that it names, and takes no further entry."""
        shards = known.get(topic.name)
        return min(shards) if shards else self._shards.pick(topic, connection_id)

    def unwatch_all(self, connection: Connection) -> None:
        name = connection.connection_id
        if connection.is_watching:
            # Before the rows: a watch that is under way adds no more.
            self._mark(name, ConnectionItem.is_watching.set(value=False))
        if self._is_global:
            # The next one may lie in another shard.
            usual = topics.shard_of(name, limits.EVERYONE_SHARDS)
            delete_all(
                self._client, topics.rows(EVERYONE, name, {usual, *connection.everyone_shards})
            )
        if connection.is_watching:
            self._delete_list(name)
            self._mark(name, ConnectionItem.is_watching.remove())

    def _mark(self, connection_id: str, action: Action) -> None:
        known = ConnectionItem.connection_id.exists()
        with suppress(ConditionFailed):
            update = update_of(ConnectionItem(connection_id), [action, NEXT], known)
            write(self._client, "UpdateItem", update)

    def unwatch(self, connection_id: str, user_ids: Collection[str]) -> None:
        names = set(user_ids)
        listed = {
            page: {it for it in entries if it.partition("#")[0] in names}
            for page, entries in _pages_of(connection_id).items()
        }
        # The rows first: entries that stay on the list are deleted with the connection.
        delete_all(self._client, _rows_of_list(connection_id, chain(*listed.values())))
        for page, entries in listed.items():
            if entries:
                self._unlist(connection_id, page, entries)

    def remove(self, connection: Connection) -> None:
        name = connection.connection_id
        everyone = {topics.shard_of(name, limits.EVERYONE_SHARDS), *connection.everyone_shards}
        joined = {it: connection.shards_of(it) for it in connection.sessions}
        self._remove(connection, everyone, joined)

    def remove_trace(self, connection: Connection) -> None:
        name = connection.connection_id
        joined = {it: _anywhere(Topic("session", it), name) for it in connection.sessions}
        everyone = _anywhere(EVERYONE, name) if self._is_global else ()
        self._remove(connection, everyone, joined)

    def _remove(
        self,
        connection: Connection,
        everyone: Collection[int],
        joined: Mapping[str, Collection[int]],
    ) -> None:
        name = connection.connection_id
        lies_in = {Topic("session", session_id): shards for session_id, shards in joined.items()}
        if self._is_global:
            lies_in[EVERYONE] = everyone
        rows = (
            row for topic, shards in lies_in.items() for row in topics.rows(topic, name, shards)
        )
        delete_all(self._client, rows)
        if connection.is_watching:
            self._delete_list(name)

    def _delete_list(self, connection_id: str) -> None:
        """The rows first: they are found by the list alone."""
        pages = _pages_of(connection_id)
        delete_all(self._client, _rows_of_list(connection_id, chain(*pages.values())))
        delete_all(self._client, ((_list_of(connection_id), page) for page in pages))

    def _unlist(self, connection_id: str, page: str, entries: Collection[str]) -> None:
        """Take these off a page of the list; an empty page goes, unless it is filled again."""
        item, listed = SubscriptionItem(_list_of(connection_id), page), SubscriptionItem.entries
        # Without the condition, DynamoDB would make an empty page where there is none.
        update = update_of(item, [listed.delete(set(entries))], listed.exists())
        with suppress(ConditionFailed):
            left = write(self._client, "UpdateItem", update | {"ReturnValues": "ALL_NEW"})
            if "entries" not in left:
                is_empty = listed.does_not_exist()
                delete = item.get_delete_kwargs_from_instance(condition=is_empty)
                write(self._client, "DeleteItem", delete)


def _subscriber(
    topic: str, connection_id: str, user_id: str, opened_at: int, *, is_limited: bool = False
) -> SubscriptionItem:
    ttl = opened_at // 1000 + limits.OPEN_RECORD_SECONDS
    limited = True if is_limited else None
    return SubscriptionItem(topic, connection_id, user_id=user_id, limited=limited, ttl=ttl)


def places_for(
    change: ConnectionChange, user: User, shards: Shards, *, is_global: bool
) -> Mapping[Topic, int]:
    """The topics that the connection subscribes to, each with the shard for its row.

    A second join stays in the shard of the first.
    """
    if not isinstance(change, Admission | Joining):
        return {}
    joined = {Topic("session", name): change.joined.get(name) for name in begun(change, user)}
    everyone = {EVERYONE: None} if is_global and isinstance(change, Admission) else {}
    return {
        topic: min(known) if known else shards.pick(topic, change.connection_id)
        for topic, known in {**everyone, **joined}.items()
    }


def subscription_changes(
    change: ConnectionChange, user: User, places: Mapping[Topic, int]
) -> Iterator[Operation]:
    """What a change of a connection record does to the connection's subscriptions."""
    name = change.connection_id
    if isinstance(change, Admission | Joining):
        is_limited = isinstance(change, Admission) and change.token.allowed_sessions is not None
        for topic, shard in places.items():
            row = _subscriber(
                key_of(topic, shard),
                name,
                user.user_id,
                change.opened_at,
                is_limited=is_limited and topic == EVERYONE,
            )
            # Part of the transaction: a closed connection gets no subscription.
            yield {"Put": row.get_save_kwargs_from_instance()}
    if isinstance(change, Admission | Returning):
        yield from _unsubscribe(name, ended(change, user))
    if isinstance(change, Leaving):
        yield from _unsubscribe(name, change.left)


def _unsubscribe(
    connection_id: str, sessions: Mapping[str, Collection[int]]
) -> Iterator[Operation]:
    for session_id, shards in sessions.items():
        for key in topics.rows(Topic("session", session_id), connection_id, shards):
            yield {"Delete": SubscriptionItem(*key).get_delete_kwargs_from_instance()}


def row_changes(before: User, after: User) -> Iterator[Operation]:
    """What a change of a user does to its rows as a member and as a blocker.

    Part of the user's own transaction, so that these rows are never wrong, and have no TTL.
    """
    old, new = _rows(before), _rows(after)
    for key in old.keys() - new.keys():
        yield {"Delete": SubscriptionItem(*key).get_delete_kwargs_from_instance()}
    for key, flags in new.items():
        if old.get(key) != flags:
            hides, is_unusual = flags
            item = SubscriptionItem(*key, hides=hides or None, unusual=is_unusual or None)
            yield {"Put": item.get_save_kwargs_from_instance()}


def _rows(user: User) -> dict[tuple[str, str], tuple[bool, bool]]:
    """By key, whether the user may hide from viewers, and whether only some viewers see the user.

    The row does not say which: each block would write all rows of the user anew. Who has blocked
    once is looked at for good, so that the rows are not written for each first block.
    """
    hides = user.has_blocked or bool(user.blocked)
    seen_in = {
        (members(name), user.user_id): (hides or bool(it.only_for), bool(it.only_for))
        for name, it in user.audiences.items()
    }
    blocks = {(blockers(name), user.user_id): (False, False) for name in user.blocked}
    returned = {(forgivers(name), user.user_id): (False, False) for name in user.returned}
    return {**seen_in, **blocks, **returned}


def _rows_of_list(connection_id: str, entries: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The keys of the rows that a watch list names."""
    return ((f"user:{it}", connection_id) for it in entries)


def _anywhere(topic: Topic, connection_id: str) -> Collection[int]:
    return list(topics.shards_so_far(topic, connection_id, topics.count_of(topic)))


# ── watch lists ────────────────────────────────────────────────────────────────────────────


def _list_of(connection_id: str) -> str:
    return f"watching:{connection_id}"


def _pages_of(connection_id: str, first: str = "0000") -> dict[str, frozenset[str]]:
    """The watch list of a connection: by page, from one on, its entries."""
    on = SubscriptionItem.subscriber >= first
    found = SubscriptionItem.query(_list_of(connection_id), on, consistent_read=True)
    return {item.subscriber: frozenset(item.entries or ()) for item in found}


def _paged(entries: Iterable[str], pages: dict[str, frozenset[str]]) -> Mapping[str, set[str]]:
    """The entries to add to each page: to the last one while it has room, then to new ones.

    A page has what one write unit takes, so that no change of a long list writes all of it.
    """
    added: dict[str, set[str]] = {}
    page = max(pages, default="0000")
    for it in entries:
        if sum(map(len, pages.get(page, ()))) + len(it) > limits.WATCH_PAGE_BYTES:
            page = f"{int(page) + 1:04}"
        pages[page] = pages.get(page, frozenset()) | {it}
        added.setdefault(page, set()).add(it)
    return added


def _list_operations(connection: Connection, added: Mapping[str, set[str]]) -> Iterator[Operation]:
    """The record of the connection, and the pages of its list."""
    name = connection.connection_id
    is_ending = ConnectionItem.is_watching == False  # noqa: E712  a condition of DynamoDB's
    may_be = still_of(str(connection.user_id)) & still_limited(connection) & ~is_ending
    is_watching = [ConnectionItem.is_watching.set(value=True), NEXT]
    yield {"Update": update_of(ConnectionItem(name), is_watching, may_be)}
    ttl = SubscriptionItem.ttl.set(connection.opened_at // 1000 + limits.OPEN_RECORD_SECONDS)
    for page, entries in added.items():
        item = SubscriptionItem(_list_of(name), page)
        yield {"Update": update_of(item, [SubscriptionItem.entries.add(entries), ttl], None)}


def _subscriber_row(connection: Connection, topic: str) -> SubscriptionItem:
    is_limited = connection.allowed_sessions is not None
    name, user_id = connection.connection_id, str(connection.user_id)
    return _subscriber(topic, name, user_id, connection.opened_at, is_limited=is_limited)
