"""Statuses: what users choose and what others may read, exact at the moment of reading."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from presence.application.user_changes import UserChanges
from presence.domain.events import Chosen, DataChanged, Seen, TimePassed
from presence.domain.rate_limit import Charge
from presence.domain.reducer import reduce
from presence.domain.user import Presence, User
from presence.fanout.sight import FREE, Reach, Sight
from presence.ports import Users


@dataclass(frozen=True, slots=True)
class Statuses:
    users: Users
    changes: UserChanges
    sight: Sight

    def change(
        self, user_id: str, change: Chosen | DataChanged, now: int, charge: Charge | None = None
    ) -> User:
        """A status was chosen, or data were said; neither brings the user online."""
        _, after = self.changes.apply(user_id, change, now, charge=charge)
        return after

    def seen(self, user_id: str, now: int, charge: Charge | None = None) -> User:
        """Set the user's last seen to *now*, without a connection."""
        _, after = self.changes.apply(user_id, Seen(), now, charge=charge)
        return after

    def read(self, user_id: str, viewer_id: str | None, now: int, reach: Reach = FREE) -> Presence:
        user = self._as_of_now(self.users.read(user_id), viewer_id, now)
        return self._visible([user], viewer_id, reach)[user_id].seen_by(viewer_id)

    def read_many(
        self,
        user_ids: Sequence[str],
        viewer_id: str | None,
        now: int,
        *,
        reach: Reach = FREE,
        consistent: bool = False,
    ) -> Sequence[Presence]:
        """The presences in the order asked; unless *consistent*, perhaps of a moment ago.

        Users that the viewer may not see look as if they had never been here (see `Sight`). A
        subscriber needs them *consistent*: changes of a moment ago were announced before it
        subscribed, so they must not be missing here.
        """
        seen = self.users_for(user_ids, viewer_id, now, reach=reach, consistent=consistent)
        return [seen[user_id].seen_by(viewer_id) for user_id in user_ids]

    def users_for(
        self,
        user_ids: Sequence[str],
        viewer_id: str | None,
        now: int,
        *,
        reach: Reach,
        consistent: bool = False,
    ) -> Mapping[str, User]:
        """As `read_many`, for what else of them a viewer may see."""
        stored = self.users.read_many(set(user_ids), consistent=consistent)
        current = [self._as_of_now(user, viewer_id, now) for user in stored.values()]
        return self._visible(current, viewer_id, reach)

    def _visible(
        self, users: Sequence[User], viewer_id: str | None, reach: Reach
    ) -> Mapping[str, User]:
        visible = self.sight.visible(viewer_id, reach, users)
        return {it.user_id: it if it.user_id in visible else User(it.user_id) for it in users}

    def _as_of_now(self, user: User, viewer_id: str | None, now: int) -> User:
        """The user after what the clock has decided, stored: a version names a stored state.

        Otherwise a late ping could revive a lease that a reader was told has expired, under the
        same version, and no event would ever correct that reader.
        """
        after, _ = reduce(user, TimePassed(), now)
        viewers = (user.user_id, None, viewer_id)
        if any(after.seen_by(name) != user.seen_by(name) for name in viewers):
            _, after = self.changes.apply(user.user_id, TimePassed(), now, known=user)
            return after
        return user
