"""The members of chat sessions, in the Subscriptions table, and the state of large rooms."""

from collections.abc import Iterator, Sequence

from pynamodb.connection import Connection as Client

from presence import limits
from presence.adapters.dynamodb.subscriptions import members
from presence.adapters.dynamodb.tables import (
    ConditionFailed,
    RoomItem,
    SubscriptionItem,
    instant,
    put_of,
    write,
)
from presence.adapters.dynamodb.users import users_of
from presence.chunks import chunked
from presence.ports import LargeRoom, Member, MembersPart


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
        for items in chunked(found, limits.MAX_BATCH_READ):
            yield from _members(session_id, items)

    def part(self, session_id: str) -> MembersPart:
        found = SubscriptionItem.query(
            members(session_id), consistent_read=True, limit=limits.FIRST_MEMBERS
        )
        items = list(found)
        last = items[-1].subscriber if items and found.last_evaluated_key else None
        is_known = bool(items) and items[0].subscriber == RoomItem.KEY
        room = self.room(session_id) if is_known else None
        return MembersPart(_members(session_id, items[is_known:]), last, room)

    def count(self, session_id: str) -> int:
        behind = SubscriptionItem.subscriber > RoomItem.KEY
        usual = SubscriptionItem.unusual.does_not_exist()
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


def _members(session_id: str, items: Sequence[SubscriptionItem]) -> Sequence[Member]:
    """Each member with the viewers who see it. Of users who hide, their items say which.

    A user who has left by the time that the item is read is no member any more.
    """
    hiding = users_of([it.subscriber for it in items if it.hides], consistent=True)
    found = list[Member]()
    for it in items:
        user = hiding.get(it.subscriber)
        if user is None:
            found.append(Member(it.subscriber))
        elif (audience := user.audiences.get(session_id)) is not None:
            found.append(Member(it.subscriber, audience))
    return found
