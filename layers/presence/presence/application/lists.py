"""Lists, page by page: the users online, and the members of a chat session."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import chain, groupby, takewhile
from typing import TypeAlias

from presence.application.statuses import Statuses
from presence.chunks import chunked
from presence.domain.user import Presence, User
from presence.fanout.sight import ALL, FREE, Reach
from presence.limits import MAX_PAGE, MAX_SESSIONS
from presence.ports import Count, LargeRoom, Members, MembersPart, OnlineIndex, Viewer
from presence.protocol.cursors import decode_cursor, encode_cursor, not_ours
from presence.protocol.requests import is_id

#: How many of these, from the first on, fit into an answer; `len` where all of them do.
Fits: TypeAlias = Callable[[Sequence[Presence]], int]


@dataclass(frozen=True, slots=True)
class Page:
    """`last_id` is the id behind which the next page begins; None if there is none.

    `found` is how many users were found online in all, on the page or behind it.
    """

    users: Sequence[Presence]
    last_id: str | None
    found: int


def paginate(
    user_ids: Iterable[str],
    limit: int,
    read: Callable[[Sequence[str]], Sequence[Presence]],
    fits: Fits,
) -> Page:
    """The first *limit* of these users who are online, or as many of them as fit.

    One more is looked for, so that neither a short page nor a cursor to an empty page reveals that
    an invisible user stands in between.
    """
    found: list[Presence] = []
    for chunk in chunked(user_ids, limit + 1):
        found += [presence for presence in read(chunk) if presence.is_online]
        if len(found) > limit:
            break
    users = found[: fits(found[:limit])]
    last_id = users[-1].user_id if len(users) < len(found) else None
    return Page(users, last_id, len(found))


@dataclass(frozen=True, slots=True)
class Known:
    """What a reader holds already: these users are left out, and so is all behind `up_to`.

    They are left out whether they are in the index or not, and are not read: what the reader is
    told does not depend on them, so it cannot reveal that one who looks offline is there.
    """

    user_ids: Collection[str] = frozenset()
    up_to: str | None = None


NOTHING = Known()


@dataclass(frozen=True, slots=True)
class OnlinePage:
    """`cursor` is None on the last page.

    `online_count` is None where the reader knows it better: of a page without those whom the reader
    holds, while one page could hold all users online.
    """

    users: Sequence[Presence]
    cursor: str | None
    online_count: int | None


@dataclass(frozen=True, slots=True)
class OnlineList:
    """A reader who may not see all users (see `Sight`) is shown those of some chat sessions.

    They are those that the reader is in, or that the token names, in the order of the ids: to look
    for them among all users online would read all of these.
    """

    statuses: Statuses
    online_index: OnlineIndex
    members: Members

    def page(
        self,
        limit: int,
        cursor: str | None,
        viewer_id: str | None,
        now: int,
        *,
        reach: Reach = FREE,
        fits: Fits = len,
        known: Known = NOTHING,
    ) -> OnlinePage:
        """A page of the users that *viewer_id* sees online, in the order of the index.

        Raises:
            InvalidMessage: a cursor that no page has given.
        """
        is_restricted = self.statuses.sight.is_restricted(reach)
        ids = self._ids(limit, cursor, viewer_id, reach, known)
        page = self._page(ids, limit, viewer_id, now, reach, fits)
        position = encode_cursor if is_restricted else self.online_index.position_of
        behind = page.last_id and position(page.last_id)
        if known != NOTHING:
            return OnlinePage(page.users, behind, None if is_restricted else self._many())
        if behind is None and cursor is None:
            return OnlinePage(page.users, None, len(page.users))
        count = max(self.count(viewer_id, now, reach=reach).online, page.found)
        return OnlinePage(page.users, behind, count)

    def _many(self) -> int | None:
        """How many are online, the same for all viewers, if one page cannot hold them."""
        counted = self.online_index.count().online
        return counted if counted > MAX_PAGE else None

    def count(self, viewer_id: str | None, now: int, *, reach: Reach = FREE) -> Count:
        """Exact while a page of MAX_PAGE could hold all users online, else as last counted.

        A small count that is the same for all viewers would reveal a block when the user comes. A
        reader who may not see all is told how many were found, once they are more than a page.
        """
        is_restricted = self.statuses.sight.is_restricted(reach)
        counted = self.online_index.count()
        if is_restricted or counted.online <= MAX_PAGE:
            ids = self._ids(MAX_PAGE, None, viewer_id, reach, NOTHING)
            page = self._page(ids, MAX_PAGE, viewer_id, now, reach, len)
            if is_restricted or page.last_id is None:
                return Count(page.found, now)
        return counted

    def _page(  # noqa: PLR0917
        self,
        user_ids: Iterable[str],
        limit: int,
        viewer_id: str | None,
        now: int,
        reach: Reach,
        fits: Fits,
    ) -> Page:
        def read(some: Sequence[str]) -> Sequence[Presence]:
            return self.statuses.read_many(some, viewer_id, now, reach=reach, consistent=True)

        return paginate(user_ids, limit, read, fits)

    def _ids(
        self, limit: int, cursor: str | None, viewer_id: str | None, reach: Reach, known: Known
    ) -> Iterator[str]:
        """The ids of all who may be on the page, in its order, read lazily."""
        if self.statuses.sight.is_restricted(reach):
            ids = self._nearby(viewer_id, reach, "" if cursor is None else _position_in(cursor))
            if known.up_to is not None:
                last = _position_in(known.up_to)
                ids = takewhile(lambda it: it <= last, ids)
        else:
            ids = self.online_index.after(cursor, limit + 1, known.up_to)
        return (it for it in ids if it not in known.user_ids)

    def _nearby(self, viewer_id: str | None, reach: Reach, after: str) -> Iterator[str]:
        """The viewer and the members of the viewer's chat sessions, in the order of their ids."""
        if viewer_id is None:
            return iter(())
        names = _sessions_of(self.statuses.users.read(viewer_id, consistent=True), reach)
        viewer = Viewer(viewer_id)
        lists = ((it.user_id for it in self.members.of(name, after, viewer)) for name in names)
        own = [viewer_id] if viewer_id > after else []
        return (user_id for user_id, _ in groupby(merge(own, *lists)))


def _sessions_of(viewer: User, reach: Reach) -> Sequence[str]:
    """MAX_SESSIONS at most: those that the viewer is in, and then those that the token names."""
    allowed = reach.allowed_sessions
    named = sorted(it for it in allowed or () if not it.endswith("*"))
    names = dict.fromkeys([*sorted(viewer.sessions), *named])
    return [it for it in names if viewer.standing.lets_into(it, allowed)][:MAX_SESSIONS]


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
            return self.statuses.read_many(user_ids, viewer_id, now, reach=ALL, consistent=True)

        after, viewer = "" if cursor is None else _position_in(cursor), Viewer(viewer_id)
        first = self.members.part(session_id, viewer)
        if first.room and first.room.is_large:
            ids = self._ids(session_id, first, viewer, after)
            return _page_of_large(paginate(ids, limit, read, fits), first.room)
        seen = list(self._ids(session_id, first, viewer))
        page = paginate((it for it in seen if it > after), limit, read, fits)
        # A lease may just have expired, so a page that holds all members counts them best.
        holds_all = cursor is None and page.last_id is None
        count = len(page.users) if holds_all else len(seen)
        return MemberPage(page.users, _cursor(page.last_id), count, first.as_of(now))

    def _ids(
        self, session_id: str, first: MembersPart, viewer: Viewer, after: str = ""
    ) -> Iterator[str]:
        """The ids behind *after* of the members that the viewer sees, read lazily."""
        ahead = (member for member in first.members if member.user_id > after)
        rest = self.members.of(session_id, max(after, first.after), viewer) if first.after else ()
        return (it.user_id for it in chain(ahead, rest))


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
