"""Who hears what, in the Subscriptions table: a topic and the connections that listen to it."""

from collections.abc import Iterator, Sequence
from itertools import islice
from zlib import crc32

from pynamodb.connection import Connection as Client

from presence.adapters.dynamodb.connections import OPEN_TTL_SECONDS
from presence.adapters.dynamodb.tables import Operation, SubscriptionItem, write

SHARDS = 8
PAGE = 500


class DynamoDBSubscriptions:
    def __init__(self, client: Client, *, is_global: bool) -> None:
        self._client = client
        self._is_global = is_global

    def everyone(self) -> Iterator[Sequence[str]]:
        for shard in range(SHARDS):
            items = SubscriptionItem.query(_everyone(shard))
            while page := [item.connection_id for item in islice(items, PAGE)]:
                yield page

    def remove(self, connection_id: str) -> None:
        if self._is_global:
            item = SubscriptionItem(_everyone_of(connection_id), connection_id)
            write(self._client, "DeleteItem", item.get_delete_kwargs_from_instance())


def subscribe_to_everyone(connection_id: str, opened_at: int) -> Operation:
    """A part of `Users.admit`: atomic with it, so that a closed gate leaves no listener behind."""
    ttl = opened_at // 1000 + OPEN_TTL_SECONDS
    item = SubscriptionItem(_everyone_of(connection_id), connection_id, ttl=ttl)
    return item.get_save_kwargs_from_instance()


def _everyone_of(connection_id: str) -> str:
    return _everyone(crc32(connection_id.encode()) % SHARDS)


def _everyone(shard: int) -> str:
    return f"everyone#{shard}"
