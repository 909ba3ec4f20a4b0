"""Topics in the Subscriptions table: their shards, their keys, and how many shards there are.

Shard 0 of `session:lobby` has that key, shard 3 is `session:lobby#3`. The number of shards is in a
row of shard 0 that sorts before all subscribers, so each reader of the topic reads it too. A small
topic has no such row, and costs what it would cost without shards.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from zlib import crc32

from pynamodb.connection import Connection as Client

from presence import limits
from presence.adapters.dynamodb.tables import ConditionFailed, SubscriptionItem, update_of, write
from presence.ports import EVERYONE, Part, Subscriber, Topic

#: The key of the row with the number of shards: it is no id, and a space sorts before all ids.
COUNT = " "


def key_of(topic: Topic, shard: int) -> str:
    if topic == EVERYONE:
        return f"everyone#{shard}"
    return f"{topic.kind}:{entry(topic.name, shard)}"


def entry(name: str, shard: int) -> str:
    """A topic and its shard, as a connection record or a watch list names them."""
    return f"{name}#{shard}" if shard else name


def parsed(entries: Iterable[str]) -> Mapping[str, frozenset[int]]:
    """By topic, the shards that entries name."""
    shards: dict[str, frozenset[int]] = {}
    for it in entries:
        name, _, shard = it.partition("#")
        shards[name] = shards.get(name, frozenset()) | {int(shard or 0)}
    return shards


def shard_of(connection_id: str, shards: int) -> int:
    return crc32(connection_id.encode()) % shards


def at_first(topic: Topic) -> int:
    """How many shards a topic has before it grows."""
    return limits.EVERYONE_SHARDS if topic == EVERYONE else 1


def shards_so_far(topic: Topic, connection_id: str, shards: int) -> Iterator[int]:
    """All shards where a connection may be: its row may be older than the last doubling."""
    known = set[int]()
    while shards >= at_first(topic):
        known.add(shard_of(connection_id, shards))
        shards //= 2
    yield from sorted(known)


# ── how many shards ────────────────────────────────────────────────────────────────────────


def count_of(topic: Topic) -> int:
    """How many shards there are; the read costs half a unit."""
    found = SubscriptionItem.query(key_of(topic, 0), SubscriptionItem.subscriber == COUNT)
    return next((int(it.shards) for it in found if it.shards), at_first(topic))


class Shards:
    """The shard counts of the topics to which this environment often writes.

    Rows of other topics go to the shards that were there from the start, which all readers read.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[Topic, tuple[int, int]] = OrderedDict()

    def pick(self, topic: Topic, connection_id: str) -> int:
        written, shards = self._known.pop(topic, (0, at_first(topic)))
        written += 1
        if written % limits.ROWS_UNASKED == 0:
            shards = count_of(topic)
        self._known[topic] = written, shards
        if len(self._known) > limits.KNOWN_TOPICS:
            self._known.popitem(last=False)
        return shard_of(connection_id, shards)


def grow(client: Client, topic: Topic, before: int, shards: int) -> None:
    is_same = SubscriptionItem.shards == before
    if before == at_first(topic):
        is_same |= SubscriptionItem.shards.does_not_exist()
    update = update_of(
        SubscriptionItem(key_of(topic, 0), COUNT), [SubscriptionItem.shards.set(shards)], is_same
    )
    try:
        write(client, "UpdateItem", update)
    except ConditionFailed:
        return  # another function has let it grow


def mark(client: Client, topic: Topic, *, is_large: bool) -> None:
    """A row without the mark says that the topic is no large room."""
    large = SubscriptionItem.large
    action = large.set(value=True) if is_large else large.remove()
    item = SubscriptionItem(key_of(topic, 0), COUNT)
    write(client, "UpdateItem", update_of(item, [action], None))


# ── reading ────────────────────────────────────────────────────────────────────────────────


def part(topic: Topic, shard: int, after: str | None) -> Part:
    is_first = shard == 0 and after is None
    behind = None if after is None else SubscriptionItem.subscriber > after
    size = limits.FIRST_SUBSCRIBERS if is_first else limits.SUBSCRIBERS_PER_PAGE
    # Consistently: a connection that has just subscribed would miss the next change.
    found = SubscriptionItem.query(key_of(topic, shard), behind, limit=size, consistent_read=True)
    items = list(found)
    last = items[-1].subscriber if items and found.last_evaluated_key else None
    shards, is_large = at_first(topic), False
    if is_first and items and items[0].subscriber == COUNT:
        about = items.pop(0)
        shards, is_large = int(about.shards or shards), bool(about.large)
    return Part(
        [Subscriber(it.subscriber, str(it.user_id), bool(it.limited)) for it in items],
        last,
        shards,
        is_large,
    )


def pages(topic: Topic) -> Iterator[Part]:
    """All pages of a topic, shard by shard."""
    shard, shards = 0, 1
    while shard < shards:
        found = part(topic, shard, None)
        shards = max(shards, found.shards)
        yield found
        while found.after is not None:
            found = part(topic, shard, found.after)
            yield found
        shard += 1


def rows(topic: Topic, connection_id: str, shards: Collection[int]) -> Iterator[tuple[str, str]]:
    """The keys of a connection's rows in these shards."""
    for shard in shards:
        yield key_of(topic, shard), connection_id
