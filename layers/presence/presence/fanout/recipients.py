"""The recipients of a topic: few, too many for one function, or a large room; and its growth.

Reading writes nothing; `rebalance` is a step of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from presence import limits
from presence.ports import Part, Subscriber, Subscriptions, Topic


@dataclass(frozen=True, slots=True)
class Few:
    """So few that one function posts to all of them. `rows` is the size of each shard."""

    subscribers: Sequence[Subscriber]
    rows: Sequence[int] = ()

    @property
    def shards(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class TooMany:
    """More than one function should post to. `rows` is the size of the shards that were read."""

    shards: int
    rows: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Sampled:
    """A large room: its members hear messages and ticks, but not each change."""

    shards: int
    rows: Sequence[int] = ()


Recipients: TypeAlias = Few | TooMany | Sampled


def read_recipients(subscriptions: Subscriptions, topic: Topic) -> Recipients:
    """Read until all are known, or it is clear that they are too many."""
    first = subscriptions.part(topic)
    if first.is_large:
        return Sampled(first.shards)
    if first.shards > limits.FEW_SHARDS:
        return TooMany(first.shards)
    found, rows = dict[str, Subscriber](), list[int]()
    for shard in range(first.shards):
        part = subscriptions.part(topic, shard) if shard else first
        some = _read_on(subscriptions, topic, shard, part, limits.POSTS_AT_ONCE - len(found))
        found |= {it.connection_id: it for it in some}
        rows.append(len(some))
        if len(found) > limits.POSTS_AT_ONCE:
            return TooMany(first.shards, rows)
    return Few(list(found.values()), rows)


def _read_on(
    subscriptions: Subscriptions, topic: Topic, shard: int, part: Part, most: int
) -> Sequence[Subscriber]:
    """A shard from this part of it on; no page more once there are more than *most*."""
    found = [*part.subscribers]
    while part.after is not None and len(found) <= most:
        part = subscriptions.part(topic, shard, part.after)
        found += part.subscribers
    return found


# ── growth ─────────────────────────────────────────────────────────────────────────────────


def shards_needed(shards: int, rows: Mapping[int, int]) -> int:
    """How many shards a topic should have, by the rows of those that were read; never fewer.

    New rows lie in the upper half of the shards. The lower ones stay as full as they were until
    their connections end, within two hours, so they say nothing about the number needed.
    """
    needed = shards
    for shard, count in rows.items():
        if shard >= shards // 2:
            needed = max(needed, _split(shards, count))
    return needed


def _split(shards: int, rows: int) -> int:
    while rows > limits.ROWS_PER_SHARD and shards < limits.MOST_SHARDS:
        shards, rows = 2 * shards, rows // 2
    return shards


def rebalance(
    subscriptions: Subscriptions, topic: Topic, shards: int, rows: Mapping[int, int]
) -> None:
    """Let a topic of so many shards grow, if the *rows* by shard ask for it."""
    if (needed := shards_needed(shards, rows)) > shards:
        subscriptions.grow(topic, shards, needed)
