"""An answer to "why am I shown offline?", for operators; it reads, and changes nothing."""

from dataclasses import dataclass
from itertools import chain, islice

from presence.domain.explanation import Explanation, Look, Room, as_of, reason
from presence.domain.user import User
from presence.fanout.sight import FREE, Sight
from presence.limits import EXPLAINED_WATCHERS
from presence.ports import ConnectionRecords, Members, Subscriptions, Topic, Users


@dataclass(frozen=True, slots=True)
class Explaining:
    users: Users
    records: ConnectionRecords
    members: Members
    subscriptions: Subscriptions
    sight: Sight

    def explain(self, user_id: str, viewer_id: str | None, now: int) -> Explanation:
        """Why the user is shown as they are, to all and to one viewer.

        Raises:
            Unavailable: the stack's policy does not say in time which users the viewer may see.
        """
        stored = self.users.read(user_id, consistent=True)
        current = as_of(stored, now)
        return Explanation(
            now,
            stored,
            current,
            reason(stored, now),
            self.records.read_many(stored.leases),
            [self._room(current, name) for name in sorted(current.sessions)],
            self._watchers(user_id),
            None if viewer_id is None else self._look(current, viewer_id),
        )

    def _look(self, user: User, viewer_id: str) -> Look:
        may_see = bool(self.sight.visible(viewer_id, FREE, [user]))
        seen = (user if may_see else User(user.user_id)).seen_by(viewer_id)
        return Look(viewer_id, seen, viewer_id in user.blocked, may_see)

    def _room(self, user: User, session_id: str) -> Room:
        room = self.members.room(session_id)
        count = room.member_count if room.is_large else self.members.count(session_id)
        is_held = session_id in user.joined_sessions
        return Room(session_id, count, None if is_held else user.pending_leaves.get(session_id))

    def _watchers(self, user_id: str) -> int:
        pages = self.subscriptions.pages(Topic("user", user_id))
        return sum(1 for _ in islice(chain.from_iterable(pages), EXPLAINED_WATCHERS))
