"""The members of a chat session, page by page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from presence.application.paging import Fits, Page, paginate
from presence.application.statuses import Statuses
from presence.domain.user import Presence
from presence.ports import LargeRoom, Members, MembersPart
from presence.protocol.cursors import decode_cursor, encode_cursor, not_ours
from presence.protocol.requests import is_id


@dataclass(frozen=True, slots=True)
class MemberPage:
    """`cursor` is None on the last page.

    `as_of` is an instant, in epoch milliseconds, just before the members were read; in a large room
    that of its last count. `is_sampled` says that the room is large: not every change is told.
    """

    members: Sequence[Presence]
    cursor: str | None
    member_count: int
    as_of: int
    is_sampled: bool = False


@dataclass(frozen=True, slots=True)
class MemberList:
    statuses: Statuses
    members: Members

    def page(
        self,
        session_id: str,
        viewer_id: str | None,
        limit: int,
        cursor: str | None,
        now: int,
        *,
        fits: Fits = len,
    ) -> MemberPage:
        """A page of the members that *viewer_id* sees, in the order of their ids.

        Raises:
            InvalidMessage: a cursor that no page has given.
        """

        def read(user_ids: Sequence[str]) -> Sequence[Presence]:
            return self.statuses.read_many(user_ids, viewer_id, now, consistent=True)

        after = "" if cursor is None else _position_in(cursor)
        first = self.members.part(session_id)
        if first.room and first.room.is_large:
            ids = self._ids(session_id, first, viewer_id, after)
            return _page_of_large(paginate(ids, limit, read, fits), first.room)
        seen = list(self._ids(session_id, first, viewer_id))
        page = paginate((it for it in seen if it > after), limit, read, fits)
        # A lease may just have expired, so a page that holds all members counts them best.
        holds_all = cursor is None and page.last_id is None
        count = len(page.users) if holds_all else len(seen)
        return MemberPage(page.users, _cursor(page.last_id), count, first.as_of(now))

    def _ids(
        self, session_id: str, first: MembersPart, viewer_id: str | None, after: str = ""
    ) -> Iterator[str]:
        """The ids behind *after* of the members that the viewer sees, read lazily."""
        ahead = (member for member in first.members if member.user_id > after)
        rest = self.members.of(session_id, max(after, first.after)) if first.after else ()
        return (it.user_id for it in chain(ahead, rest) if viewer_id not in it.hidden_from)


def _page_of_large(page: Page, room: LargeRoom) -> MemberPage:
    """A large room is not read as a whole: the last tick has counted it, for all viewers alike."""
    cursor = _cursor(page.last_id)
    return MemberPage(page.users, cursor, room.member_count, room.as_of, is_sampled=True)


def _cursor(user_id: str | None) -> str | None:
    return None if user_id is None else encode_cursor(user_id)


def _position_in(cursor: str) -> str:
    user_id = decode_cursor(cursor)
    if not is_id(user_id):
        raise not_ours()
    return user_id
