"""Removing users: kick closes their connections, erase deletes everything about them."""

from contextlib import suppress
from dataclasses import dataclass

from presence.application.expiry import Expiry
from presence.application.user_changes import UserChanges
from presence.chunks import chunked
from presence.domain.errors import Unavailable
from presence.domain.events import Erased, GraceEnded, Unblocked
from presence.domain.user import User, may_see
from presence.fanout.dispatch import Dispatcher
from presence.limits import ERASE_ATTEMPTS, INTEGRATION_SECONDS, MAX_UNBLOCKED
from presence.ports import Post, Subscriptions, Timers, Topic, Users, WriteConflict
from presence.protocol.frames import status_change_frames


@dataclass(frozen=True, slots=True)
class Removal:
    """Every call may be repeated, which also repairs one that stopped halfway."""

    users: Users
    subscriptions: Subscriptions
    timers: Timers
    changes: UserChanges
    expiry: Expiry
    dispatcher: Dispatcher

    def kick(self, user_id: str, now: int) -> None:
        """Close all connections of a user, who is offline at once."""
        self._evict_all(self.users.read(user_id, consistent=True), now)
        self.changes.apply(user_id, GraceEnded(), now)

    def _evict_all(self, user: User, now: int) -> None:
        for connection_id, lease in user.leases.items():
            # If this request dies, no lease tells that the socket is still open; the timer does.
            self.timers.check_connection(connection_id, INTEGRATION_SECONDS + 1)
            self.expiry.evict(connection_id, user.user_id, lease.sessions, now)
            with suppress(Unavailable):
                self.dispatcher.close(connection_id, "kicked")

    def erase(self, user_id: str, now: int, *, lifts_blocks: bool) -> None:
        """Delete a user from all tables.

        Blocks against the user stay, unless this *lifts_blocks*: a user must not get rid of a block
        by erasing themselves and coming back. Viewers are told that the user is offline, except
        blocked viewers; that is why the user's own blocks are deleted last.

        Raises:
            Unavailable: the user reconnects faster than that.
        """
        if not any(self._try_to_erase(user_id, now) for _ in range(ERASE_ATTEMPTS)):
            raise Unavailable("The user keeps coming back; take away their token, then try again.")
        if lifts_blocks:
            for blocker_id in self.subscriptions.blockers(user_id):
                self.changes.apply(blocker_id, Unblocked(frozenset({user_id})), now)

    def _try_to_erase(self, user_id: str, now: int) -> bool:
        """False if the user came back meanwhile."""
        self.kick(user_id, now)
        before, user = self.changes.apply(user_id, Erased(), now)
        self._evict_all(before, now)  # of connections since the kick, the leases are gone already
        self._tell_watchers(user)
        self.subscriptions.forget(user_id)
        self._unblock_all(user, now)
        return self._delete(user_id)

    def _tell_watchers(self, user: User) -> None:
        """Before their subscriptions go: the stream would find no watchers any more."""
        for page in self.subscriptions.pages(Topic("user", user.user_id)):
            self.dispatcher.send(
                Post(text, [subscriber.connection_id])
                for subscriber in page
                if may_see(subscriber.user_id, user)
                for text in status_change_frames([user.seen_by(subscriber.user_id)])
            )

    def _unblock_all(self, user: User, now: int) -> None:
        for viewer_ids in chunked(user.blocked, MAX_UNBLOCKED):
            self.changes.apply(user.user_id, Unblocked(frozenset(viewer_ids)), now)

    def _delete(self, user_id: str) -> bool:
        """Delete the item; False if rows of other tables depend on it.

        They do if the user is here again, and so in chat sessions and announced, or blocks viewers.
        """
        stored = self.users.read(user_id, consistent=True)
        if stored.is_here or stored.blocked:
            return False
        try:
            self.users.forget(stored)
        except WriteConflict:
            return False
        return True
