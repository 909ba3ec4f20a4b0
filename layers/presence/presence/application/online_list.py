"""The list of users online, and how many they are."""

from collections.abc import Sequence
from dataclasses import dataclass

from presence.application.paging import Fits, Page, paginate
from presence.application.statuses import Statuses
from presence.domain.user import Presence
from presence.limits import MAX_PAGE
from presence.ports import Count, OnlineIndex


@dataclass(frozen=True, slots=True)
class OnlinePage:
    """`cursor` is None on the last page."""

    users: Sequence[Presence]
    cursor: str | None
    online_count: int


@dataclass(frozen=True, slots=True)
class OnlineList:
    statuses: Statuses
    online_index: OnlineIndex

    def page(
        self, limit: int, cursor: str | None, viewer_id: str | None, now: int, *, fits: Fits = len
    ) -> OnlinePage:
        """A page of the users that *viewer_id* sees online, in the order of the index.

        Raises:
            InvalidMessage: a cursor that no page has given.
        """
        page = self._page(limit, cursor, viewer_id, now, fits)
        if page.last_id is None and cursor is None:
            return OnlinePage(page.users, None, len(page.users))
        count = max(self.count(viewer_id, now).online, page.found)
        following = page.last_id and self.online_index.position_of(page.last_id)
        return OnlinePage(page.users, following, count)

    def count(self, viewer_id: str | None, now: int) -> Count:
        """Exact while a page of MAX_PAGE could hold all users online, else as last counted.

        A small count that is the same for all viewers would reveal a block when the user comes.
        """
        counted = self.online_index.count()
        if counted.online <= MAX_PAGE:
            page = self._page(MAX_PAGE, None, viewer_id, now, len)
            if page.last_id is None:
                return Count(len(page.users), now)
        return counted

    def _page(
        self, limit: int, cursor: str | None, viewer_id: str | None, now: int, fits: Fits
    ) -> Page:
        def read(user_ids: Sequence[str]) -> Sequence[Presence]:
            return self.statuses.read_many(user_ids, viewer_id, now, consistent=True)

        return paginate(self.online_index.after(cursor, limit + 1), limit, read, fits)
