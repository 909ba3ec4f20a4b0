"""Whom a user hides from, and what it takes to be forgotten."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from presence.application.connections import Lifecycle
from presence.application.user_changes import UserChanges
from presence.domain.errors import Conflict, Unavailable
from presence.domain.events import Blocked, Erased, GraceEnded, Unblocked
from presence.domain.user import User, may_see
from presence.fanout.dispatch import Dispatcher
from presence.ports import Post, Subscriptions, Topic, Users, WriteConflict
from presence.protocol.frames import status_change_frames

ATTEMPTS = 5
#: A transaction holds 100 operations (TransactWriteItems); each block is a row of its own.
CHUNK = 40
#: No function that serves a request lives as long: API Gateway waits 29 seconds for it.
REQUEST_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Privacy:
    """Everything here may be repeated, and a crash halfway is mended by doing so."""

    users: Users
    subscriptions: Subscriptions
    lifecycle: Lifecycle
    dispatcher: Dispatcher

    @property
    def changes(self) -> UserChanges:
        return self.lifecycle.changes

    def block(self, user_id: str, viewer_id: str, now: int) -> None:
        """Be offline for somebody from now on.

        Raises:
            Conflict: it is the user themselves, or one too many.
        """
        if user_id == viewer_id:
            raise Conflict("Nobody can hide from themselves; choose the status invisible.")
        self.changes.apply(user_id, Blocked(viewer_id), now)

    def unblock(self, user_id: str, viewer_id: str, now: int) -> None:
        self.changes.apply(user_id, Unblocked(frozenset({viewer_id})), now)

    def blocked(self, user_id: str) -> Sequence[str]:
        """Whom the user hides from, in the order of their ids."""
        return sorted(self.users.read(user_id, consistent=True).blocked)

    def kick(self, user_id: str, now: int) -> None:
        """Close every connection of a user, who is offline at once."""
        self._evict_all(self.users.read(user_id, consistent=True), now)
        self.changes.apply(user_id, GraceEnded(), now)

    def _evict_all(self, user: User, now: int) -> None:
        for connection_id, lease in user.leases.items():
            # No lease says of a closed gate that its socket is still open, so a timer has to.
            self.lifecycle.timers.check_connection(connection_id, REQUEST_SECONDS)
            self.lifecycle.evict(connection_id, user.user_id, lease.sessions, now)
            with suppress(Unavailable):
                self.dispatcher.close(connection_id, "kicked")

    def erase(self, user_id: str, now: int, *, lifts_blocks: bool) -> None:
        """Forget a user: in every table, nothing says any more that there was one.

        But for the privacy lists of others, unless this *lifts_blocks*: nobody must get rid of a
        block against them by erasing themselves and coming back.

        The others hear that the user is offline, but for those who were blocked, who know it
        already; that is why the user's own blocks go last.

        Raises:
            Unavailable: the user comes back faster than that.
        """
        for _ in range(ATTEMPTS):
            self.kick(user_id, now)
            before, user = self.changes.apply(user_id, Erased(), now)
            self._evict_all(before, now)  # whoever came since: their leases are gone already
            self._forget_watchers(user)
            while user.blocked:
                some = frozenset(islice(user.blocked, CHUNK))
                _, user = self.changes.apply(user_id, Unblocked(some), now)
            if self._forget(user):
                break
        else:
            raise Unavailable("The user keeps coming back; take away their token, then try again.")
        if lifts_blocks:
            for blocker_id in self.subscriptions.blockers(user_id):
                self.unblock(blocker_id, user_id, now)

    def _forget(self, user: User) -> bool:
        """Remove the item, if no row of another table stands or falls with it; else False.

        Whoever came back meanwhile, or is expected back, is in chat sessions, and was announced.
        """
        stored = self.users.read(user.user_id, consistent=True)
        if stored.is_here or stored.blocked:
            return False
        try:
            self.users.forget(stored)
        except WriteConflict:
            return False
        return True

    def _forget_watchers(self, user: User) -> None:
        """Watchers are told here: when the stream comes to it, nobody knows them any more."""
        for page in self.subscriptions.pages(Topic("user", user.user_id)):
            self.dispatcher.send(
                Post(text, [subscriber.connection_id])
                for subscriber in page
                if may_see(subscriber.user_id, user)
                for text in status_change_frames([user.seen_by(subscriber.user_id)])
            )
        self.subscriptions.forget(user.user_id)
