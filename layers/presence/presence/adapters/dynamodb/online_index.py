"""The sparse index of users who are here, and the count of those online."""

from collections.abc import Iterator
from zlib import crc32

from pynamodb.connection import Connection as Client
from pynamodb.expressions.update import Action

from presence.adapters.dynamodb.tables import CountItem, UserItem, update_of, write
from presence.limits import ONLINE_SHARDS as SHARDS
from presence.ports import Count
from presence.protocol.cursors import decode_cursor, encode_cursor, not_ours
from presence.protocol.requests import is_id


def shard_of(user_id: str) -> int:
    return crc32(user_id.encode()) % SHARDS


class DynamoDBOnlineIndex:
    def __init__(self, client: Client) -> None:
        self._client = client

    def after(
        self, position: str | None, page_size: int | None = None, up_to: str | None = None
    ) -> Iterator[str]:
        first, begin = _parse(position)
        final, end = (SHARDS - 1, None) if up_to is None else _parse(up_to)
        for shard in range(first, final + 1):
            last = end if shard == final else None
            condition = None if last is None else UserItem.user_id <= last
            if shard == first and begin:
                # A key takes one condition: what is behind `last` is read and not yielded.
                condition = UserItem.user_id > begin
            # PynamoDB follows LastEvaluatedKey, also after an empty page.
            for item in UserItem.online_index.query(shard, condition, page_size=page_size):
                if last is not None and item.user_id > last:
                    break
                yield item.user_id

    def position_of(self, user_id: str) -> str:
        return _position_of(user_id)

    def count(self) -> Count:
        try:
            item = CountItem.get(CountItem.KEY)
        except CountItem.DoesNotExist:
            return Count(0, 0)
        return Count(max(0, int(item.online)), int(item.as_of))

    def counted(self, count: Count) -> None:
        kept = [CountItem.online.set(count.online), CountItem.as_of.set(count.as_of)]
        self._update(*kept, CountItem.swept_to.remove())

    def add(self, difference: int) -> None:
        self._update(CountItem.online.add(difference))

    def stop_at(self, user_id: str) -> None:
        self._update(CountItem.swept_to.set(user_id))

    def stopped_at(self) -> str | None:
        try:
            return CountItem.get(CountItem.KEY).swept_to
        except CountItem.DoesNotExist:
            return None

    def _update(self, *actions: Action) -> None:
        write(self._client, "UpdateItem", update_of(CountItem(CountItem.KEY), actions, None))


def _position_of(user_id: str) -> str:
    return encode_cursor(f"{shard_of(user_id)}:{user_id}")


def _parse(position: str | None) -> tuple[int, str]:
    if position is None:
        return 0, ""
    user_id = decode_cursor(position).partition(":")[2]
    if not is_id(user_id) or position != _position_of(user_id):
        raise not_ours()
    return shard_of(user_id), user_id
