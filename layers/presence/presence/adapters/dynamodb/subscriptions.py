"""The Subscriptions table: for each topic its subscribers, members or blockers."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain

from pynamodb.connection import Connection as Client
from pynamodb.expressions.condition import size

from presence import limits
from presence.adapters.dynamodb import topics
from presence.adapters.dynamodb.connections import NEXT, still_limited, still_of
from presence.adapters.dynamodb.tables import (
    ConditionFailed,
    ConnectionItem,
    Operation,
    RoomItem,
    SubscriptionItem,
    TransactionRefused,
    WatchItem,
    delete_all,
    instant,
    put_of,
    refused,
    update_of,
    write,
)
from presence.adapters.dynamodb.topics import Shards, entry, key_of, parsed
from presence.chunks import chunked
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
from presence.domain.user import Audience, User
from presence.ports import EVERYONE, Block, LargeRoom, Member, MembersPart, Part, Subscriber, Topic

# ── topics of users ────────────────────────────────────────────────────────────────────────


def members(session_id: str) -> str:
    return f"members:{session_id}"


def blockers(user_id: str) -> str:
    return f"blocked:{user_id}"


def forgivers(user_id: str) -> str:
    """Those who blocked the user once, and still tell the user other versions than the rest."""
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
        known: Mapping[str, frozenset[int]] = {}
        if len(user_ids) > limits.WATCHED_AT_ONCE:
            # All or none, in more than one transaction: so the list is read first.
            listed = _read_list(connection.connection_id)
            _require_free(listed, _missing(listed, user_ids))
            known = parsed(listed)
        chunks = chunked(sorted(user_ids), limits.WATCHED_AT_ONCE)
        return all(self._watch(connection, chunk, known) for chunk in chunks)

    def _watch(
        self, connection: Connection, user_ids: Sequence[str], known: Mapping[str, frozenset[int]]
    ) -> bool:
        operations = list(self._watch_operations(connection, user_ids, known))
        try:
            write(self._client, "TransactWriteItems", {"TransactItems": operations})
        except TransactionRefused as error:
            if 0 in refused(error):
                return False
            listed = WatchItem.from_raw_data(error.items[1] or {}).user_ids or ()
            new = _missing(listed, user_ids)
            if new == user_ids:
                raise _list_is_full() from error  # the same would be refused again
            _require_free(listed, new)
            return not new or self._watch(connection, new, known)
        return True

    def _watch_operations(
        self, connection: Connection, user_ids: Sequence[str], known: Mapping[str, frozenset[int]]
    ) -> Iterator[Operation]:
        """The record of the connection first, then its list; a refusal is told by the position."""
        record = update_of(
            ConnectionItem(connection.connection_id),
            [ConnectionItem.is_watching.set(value=True), NEXT],
            still_of(str(connection.user_id)) & still_limited(connection),
        )
        name, viewer_id = connection.connection_id, str(connection.user_id)
        watched = [Topic("user", user_id) for user_id in user_ids]
        shards = {topic: self._shard(topic, name, known) for topic in watched}
        yield {"Update": record}
        entries = [entry(topic.name, shard) for topic, shard in shards.items()]
        yield {"Update": _watched(connection, entries)}
        for topic, shard in shards.items():
            yield _subscriber(
                key_of(topic, shard),
                name,
                viewer_id,
                connection.opened_at,
                is_limited=connection.allowed_sessions is not None,
            )

    def _shard(self, topic: Topic, connection_id: str, known: Mapping[str, frozenset[int]]) -> int:
        """A user on the list stays in the shard that it names, and takes no further entry."""
        shards = known.get(topic.name)
        return min(shards) if shards else self._shards.pick(topic, connection_id)

    def unwatch_all(self, connection: Connection) -> None:
        name = connection.connection_id
        if self._is_global:
            # The next one may lie in another shard.
            usual = topics.shard_of(name, limits.EVERYONE_SHARDS)
            delete_all(
                self._client, topics.rows(EVERYONE, name, {usual, *connection.everyone_shards})
            )
        if not connection.is_watching:
            return
        delete_all(self._client, _rows_of_list(name, _read_list(name)))
        item = WatchItem(_list_of(name))
        write(self._client, "DeleteItem", item.get_delete_kwargs_from_instance())
        ended = [ConnectionItem.is_watching.remove(), NEXT]
        known = ConnectionItem.connection_id.exists()
        with suppress(ConditionFailed):
            write(self._client, "UpdateItem", update_of(ConnectionItem(name), ended, known))

    def unwatch(self, connection_id: str, user_ids: Collection[str]) -> None:
        # The rows first: entries that stay on the list are deleted with the connection.
        delete_all(self._client, _rows_of_list(connection_id, user_ids))
        listed = self._unlist(connection_id, user_ids)
        # Of large topics the list alone knows the shard.
        elsewhere = [it for it in listed if "#" in it and it.partition("#")[0] in user_ids]
        if elsewhere:
            delete_all(self._client, _rows_of_list(connection_id, elsewhere))
            self._unlist(connection_id, elsewhere)

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
        listed = _read_list(name) if connection.is_watching else ()
        rows = (
            row for topic, shards in lies_in.items() for row in topics.rows(topic, name, shards)
        )
        delete_all(self._client, chain(rows, _rows_of_list(name, listed)))
        if connection.is_watching:
            item = WatchItem(_list_of(name))
            write(self._client, "DeleteItem", item.get_delete_kwargs_from_instance())

    def _unlist(self, connection_id: str, user_ids: Collection[str]) -> Collection[str]:
        """Take these off the list; returns what was on it."""
        item = WatchItem(_list_of(connection_id))
        removal = WatchItem.user_ids.delete(set(user_ids))
        # Without the condition, DynamoDB would make an empty list where there is none.
        update = update_of(item, [removal], WatchItem.user_ids.exists())
        try:
            before = write(self._client, "UpdateItem", update | {"ReturnValues": "ALL_OLD"})
        except ConditionFailed:
            return ()
        return WatchItem.from_raw_data(before).user_ids or ()


class DynamoDBMembers:
    """The row of a large room sorts before its members, so each reader of them reads it too."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def of(self, session_id: str, after: str = "") -> Iterator[Member]:
        behind = SubscriptionItem.subscriber > (after or RoomItem.KEY)
        # Read on only as far as it is needed: a list may begin in many chat sessions at once.
        found = SubscriptionItem.query(
            members(session_id), behind, consistent_read=True, page_size=limits.FIRST_MEMBERS
        )
        return map(_member, found)

    def part(self, session_id: str) -> MembersPart:
        found = SubscriptionItem.query(
            members(session_id), consistent_read=True, limit=limits.FIRST_MEMBERS
        )
        items = list(found)
        last = items[-1].subscriber if items and found.last_evaluated_key else None
        is_known = bool(items) and items[0].subscriber == RoomItem.KEY
        room = self.room(session_id) if is_known else None
        return MembersPart([_member(it) for it in items[is_known:]], last, room)

    def count(self, session_id: str) -> int:
        behind = SubscriptionItem.subscriber > RoomItem.KEY
        usual = SubscriptionItem.only_for.does_not_exist()
        return SubscriptionItem.count(members(session_id), behind, usual, consistent_read=True)

    def room(self, session_id: str) -> LargeRoom:
        try:
            item = RoomItem.get(members(session_id), RoomItem.KEY, consistent_read=True)
        except RoomItem.DoesNotExist:
            return LargeRoom(session_id)
        return LargeRoom(
            session_id,
            int(item.revision),
            bool(item.large),
            int(item.member_count),
            int(item.as_of),
            instant(item.tick),
            instant(item.ticking),
            tuple(item.recent),
            tuple(item.told),
        )

    def keep(self, before: LargeRoom, after: LargeRoom) -> bool:
        item = RoomItem(
            members(after.session_id),
            RoomItem.KEY,
            revision=before.revision + 1,
            large=after.is_large,
            member_count=after.member_count,
            as_of=after.as_of,
            tick=after.tick,
            ticking=after.ticking,
            recent=list(after.recent),
            told=list(after.told),
        )
        is_new = before.revision == 0
        same = RoomItem.topic.does_not_exist() if is_new else RoomItem.revision == before.revision
        put = put_of(item, same)
        try:
            write(self._client, "PutItem", put)
        except ConditionFailed as error:
            return error.was_done(put["Item"])
        return True


def _member(item: SubscriptionItem) -> Member:
    audience = Audience(frozenset(item.hidden_from or ()), frozenset(item.only_for or ()))
    return Member(item.subscriber, audience)


def _subscriber(
    topic: str, connection_id: str, user_id: str, opened_at: int, *, is_limited: bool = False
) -> Operation:
    """Part of a transaction with the connection record: a closed one gets no subscription."""
    ttl = opened_at // 1000 + limits.OPEN_RECORD_SECONDS
    limited = True if is_limited else None
    item = SubscriptionItem(topic, connection_id, user_id=user_id, limited=limited, ttl=ttl)
    return {"Put": item.get_save_kwargs_from_instance()}


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
            yield _subscriber(
                key_of(topic, shard),
                name,
                user.user_id,
                change.opened_at,
                is_limited=is_limited and topic == EVERYONE,
            )
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
    for key, audience in new.items():
        if old.get(key) != audience:
            hidden_from, only_for = set(audience.hidden_from), set(audience.only_for)
            item = SubscriptionItem(
                *key, hidden_from=hidden_from or None, only_for=only_for or None
            )
            yield {"Put": item.get_save_kwargs_from_instance()}


def _rows(user: User) -> dict[tuple[str, str], Audience]:
    seen_in = {(members(name), user.user_id): it for name, it in user.audiences.items()}
    blocks = {(blockers(name), user.user_id): Audience() for name in user.blocked}
    returned = {(forgivers(name), user.user_id): Audience() for name in user.returned}
    return {**seen_in, **blocks, **returned}


def _rows_of_list(connection_id: str, entries: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The keys of the rows that a watch list names."""
    return ((f"user:{it}", connection_id) for it in entries)


def _anywhere(topic: Topic, connection_id: str) -> Collection[int]:
    return list(topics.shards_so_far(topic, connection_id, topics.count_of(topic)))


def _missing(listed: Iterable[str], user_ids: Iterable[str]) -> Sequence[str]:
    """The users who are on a list in no shard."""
    known = parsed(listed)
    return [user_id for user_id in user_ids if user_id not in known]


def _require_free(listed: Collection[str], new: Collection[str]) -> None:
    """Entries are counted, not users: a user whose topic grew may have two."""
    if len(listed) + len(new) > limits.WATCHED_USERS:
        raise _list_is_full()


def _list_is_full() -> Conflict:
    return Conflict(f"Watch at most {limits.WATCHED_USERS} users on a connection.")


def _list_of(connection_id: str) -> str:
    """A key that no connection has: none has a `#` in it."""
    return f"{connection_id}#watching"


def _read_list(connection_id: str) -> Collection[str]:
    try:
        item = WatchItem.get(_list_of(connection_id), consistent_read=True)
    except WatchItem.DoesNotExist:
        return ()
    return item.user_ids or ()


def _watched(connection: Connection, entries: Sequence[str]) -> Operation:
    budget = limits.WATCHED_USERS - len(entries)
    actions = [
        WatchItem.user_ids.add(set(entries)),
        WatchItem.ttl.set(connection.opened_at // 1000 + limits.OPEN_RECORD_SECONDS),
    ]
    count = size(WatchItem.user_ids)  # type: ignore[no-untyped-call]
    fits = WatchItem.user_ids.does_not_exist() | (count <= budget)
    return update_of(WatchItem(_list_of(connection.connection_id)), actions, fits)
