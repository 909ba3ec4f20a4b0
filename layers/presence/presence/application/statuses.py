"""What users choose and what others may read, exact at the moment of reading."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from presence.application.user_changes import UserChanges
from presence.domain.events import Chosen, Seen, TimePassed
from presence.domain.reducer import reduce
from presence.domain.user import Presence, User
from presence.ports import Count, OnlineIndex, Timers, Users
from presence.protocol.frames import fitting
from presence.protocol.requests import MAX_PAGE, SetStatus


@dataclass(frozen=True, slots=True)
class Page:
    """`cursor` is None on the last page."""

    users: Sequence[Presence]
    cursor: str | None
    online_count: int


@dataclass(frozen=True, slots=True)
class Statuses:
    users: Users
    online_index: OnlineIndex
    timers: Timers

    @property
    def changes(self) -> UserChanges:
        return UserChanges(self.users, self.timers)

    def choose(self, user_id: str, request: SetStatus, now: int) -> User:
        _, after = self.changes.apply(
            user_id, Chosen(request.choice, request.text, request.until), now
        )
        return after

    def seen(self, user_id: str, now: int) -> User:
        _, after = self.changes.apply(user_id, Seen(), now)
        return after

    def read(self, user_id: str, viewer_id: str | None, now: int) -> Presence:
        return self._as_of_now(self.users.read(user_id), now).seen_by(viewer_id)

    def read_many(
        self, user_ids: Sequence[str], viewer_id: str | None, now: int
    ) -> Sequence[Presence]:
        """In the order asked; perhaps as it was a moment ago."""
        return self._seen(self.users.read_many(set(user_ids)), user_ids, viewer_id, now)

    def read_for_listener(
        self, user_ids: Sequence[str], viewer_id: str | None, now: int
    ) -> Sequence[Presence]:
        """The same for somebody who hears from now on what changes.

        What has changed a moment ago was told before, so it must not be missing here (I8).
        """
        known = self.users.read_many(set(user_ids), consistent=True)
        return self._seen(known, user_ids, viewer_id, now)

    def _seen(
        self, known: Mapping[str, User], user_ids: Sequence[str], viewer_id: str | None, now: int
    ) -> Sequence[Presence]:
        current = {user_id: self._as_of_now(user, now) for user_id, user in known.items()}
        return [current[user_id].seen_by(viewer_id) for user_id in user_ids]

    def _as_of_now(self, user: User, now: int) -> User:
        """What the clock has decided is stored before it is told: a version names a stored state.

        Otherwise a late ping could revive what a reader was told is over, under the same version,
        and no event would ever correct that reader (F85).
        """
        after, _ = reduce(user, TimePassed(), now)
        if after.own_presence != user.own_presence or after.presence != user.presence:
            _, after = self.changes.apply(user.user_id, TimePassed(), now, known=user)
            return after
        return user

    def online(self, limit: int, cursor: str | None, viewer_id: str | None, now: int) -> Page:
        """A page of those whom *viewer_id* sees online.

        One more than asked for is looked for, so that neither a short page nor a cursor to an
        empty one gives away that somebody invisible stands in between.

        Raises:
            InvalidMessage: a cursor that no page has given.
        """
        found = self._visible(limit, cursor, viewer_id, now)
        page = found[: fitting(found[:limit])]
        is_last = len(page) == len(found)
        if is_last and cursor is None:
            return Page(page, None, online_count=len(page))
        online = max(self.count(viewer_id, now).online, len(found))
        return Page(
            page, None if is_last else self.online_index.position_of(page[-1].user_id), online
        )

    def _visible(
        self, limit: int, cursor: str | None, viewer_id: str | None, now: int
    ) -> Sequence[Presence]:
        """Those whom *viewer_id* sees online behind a cursor; *limit* of them, or more."""
        found: list[Presence] = []
        for user_ids in _chunks(self.online_index.after(cursor, limit + 1), limit + 1):
            presences = self.read_for_listener(user_ids, viewer_id, now)
            found += [presence for presence in presences if presence.is_online]
            if len(found) > limit:
                break
        return found

    def count(self, viewer_id: str | None, now: int) -> Count:
        """Exact while a page of MAX_PAGE could hold everybody, else as last counted.

        A count of few that is the same for all would tell whom somebody blocks when they come.
        """
        counted = self.online_index.count()
        if counted.online <= MAX_PAGE:
            found = self._visible(MAX_PAGE, None, viewer_id, now)
            if len(found) <= MAX_PAGE:
                return Count(len(found), now)
        return counted


def _chunks(user_ids: Iterator[str], size: int) -> Iterator[list[str]]:
    while chunk := list(islice(user_ids, size)):
        yield chunk
