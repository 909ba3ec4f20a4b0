"""The members of chat sessions, in the Subscriptions table, and the state of large rooms."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from pynamodb.connection import Connection as Client

from presence import limits
from presence.adapters.dynamodb.subscriptions import blockers, members
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
from presence.domain.user import User
from presence.ports import LargeRoom, Member, MembersPart, Viewer


class DynamoDBMembers:
    """The row of a large room sorts before its members, so each reader of them reads it too."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def of(
        self, session_id: str, after: str = "", viewer: Viewer | None = None
    ) -> Iterator[Member]:
        resolve = _Resolving(session_id, viewer)
        behind = SubscriptionItem.subscriber > (after or RoomItem.KEY)
        # Read on only as far as it is needed: a list may begin in many chat sessions at once.
        found = SubscriptionItem.query(
            members(session_id), behind, consistent_read=True, page_size=limits.FIRST_MEMBERS
        )
        for items in chunked(found, limits.MAX_BATCH_READ):
            yield from resolve.members(items)

    def part(self, session_id: str, viewer: Viewer | None = None) -> MembersPart:
        found = SubscriptionItem.query(
            members(session_id), consistent_read=True, limit=limits.FIRST_MEMBERS
        )
        items = list(found)
        last = items[-1].subscriber if items and found.last_evaluated_key else None
        is_known = bool(items) and items[0].subscriber == RoomItem.KEY
        room = self.room(session_id) if is_known else None
        found_members = _Resolving(session_id, viewer).members(items[is_known:])
        return MembersPart(found_members, last, room)

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


@dataclass
class _Resolving:
    """From the rows of members to those who are seen: by all viewers, or by one."""

    session_id: str
    viewer: Viewer | None
    _first_blockers: tuple[frozenset[str], bool] | None = None

    def members(self, rows: Sequence[SubscriptionItem]) -> Sequence[Member]:
        users = users_of(self._hiding(rows), consistent=True)
        found = (self._member(it, users.get(it.subscriber)) for it in rows)
        return [it for it in found if it is not None]

    def _member(self, row: SubscriptionItem, user: User | None) -> Member | None:
        """A user who has left by the time that the item is read is no member any more."""
        if user is None:  # the row says enough
            return None if row.unusual else Member(row.subscriber)
        audience = user.audiences.get(self.session_id)
        if audience is None:
            return None
        if self.viewer is None:
            return Member(row.subscriber, audience)
        return Member(row.subscriber) if audience.has(self.viewer.user_id) else None

    def _hiding(self, rows: Sequence[SubscriptionItem]) -> Collection[str]:
        """The members whose rows do not say enough."""
        hiding = {it.subscriber for it in rows if it.hides}
        return hiding if self.viewer is None or not hiding else self._blockers_among(hiding)

    def _blockers_among(self, user_ids: Collection[str]) -> Collection[str]:
        """Those who have blocked the viewer: for others, rows say whether the viewer sees them."""
        if self.viewer is None or self.viewer.user_id is None:
            return frozenset()
        topic = blockers(self.viewer.user_id)
        if self._first_blockers is None:
            self._first_blockers = _first_of(topic)
        names, is_all = self._first_blockers
        if is_all:
            return names.intersection(user_ids)
        # Of many, those that are asked for cost less than all.
        keys = [(topic, it) for it in sorted(user_ids)]
        found = SubscriptionItem.batch_get(keys, consistent_read=True)
        return frozenset(it.subscriber for it in found)


def _first_of(topic: str) -> tuple[frozenset[str], bool]:
    """Some who have blocked a user, and whether these are all."""
    found = SubscriptionItem.query(topic, consistent_read=True, limit=limits.FIRST_BLOCKERS)
    names = frozenset(it.subscriber for it in found)
    return names, found.last_evaluated_key is None
