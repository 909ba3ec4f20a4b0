"""Removing users: from a chat session, from the stack (kick), their tokens, and all about them."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from presence.application.expiry import Expiry
from presence.application.user_changes import RecordRefused, UserChanges
from presence.chunks import chunked
from presence.deadline import HasTime, always, in_time
from presence.domain.connection import State
from presence.domain.errors import Unavailable
from presence.domain.events import (
    Allowed,
    Barred,
    Erased,
    GraceEnded,
    Left,
    TokenRevoked,
    TokensRevoked,
    Unblocked,
)
from presence.domain.user import User
from presence.fanout.dispatch import Dispatcher, OpenSocket
from presence.limits import ERASE_ATTEMPTS, INTEGRATION_SECONDS, MAX_UNBLOCKED
from presence.ports import (
    ConnectionRecords,
    Subscriptions,
    Timers,
    Users,
    WriteConflict,
)


@dataclass(frozen=True, slots=True)
class Removal:
    """Every call may be repeated, which also repairs one that stopped halfway."""

    records: ConnectionRecords
    users: Users
    subscriptions: Subscriptions
    timers: Timers
    changes: UserChanges
    expiry: Expiry
    dispatcher: Dispatcher

    def kick(self, user_id: str, now: int, has_time: HasTime = always) -> None:
        """Close all connections of a user, who is offline at once."""
        self._close_all(self._kick(user_id, now), has_time)

    def _kick(self, user_id: str, now: int) -> Sequence[str]:
        """Returns the connections whose sockets have to be closed."""
        evicted = self._evict_all(self.users.read(user_id, consistent=True), now)
        self.changes.apply(user_id, GraceEnded(), now)
        return evicted

    def _evict_all(self, user: User, now: int) -> Sequence[str]:
        return self._evict(user, list(user.leases), now)

    def _evict(self, user: User, connection_ids: Sequence[str], now: int) -> Sequence[str]:
        for connection_id in connection_ids:
            # If this request dies, no lease tells that the socket is still open; the timer does.
            self.timers.check_connection(connection_id, INTEGRATION_SECONDS + 1)
        if connection_ids:
            self.expiry.evict(user, connection_ids, now)
        return connection_ids

    def _close_all(
        self, connection_ids: Iterable[str], has_time: HasTime, reason: str = "kicked"
    ) -> None:
        """After all that concerns the user: the timers close what API Gateway is too slow for."""
        sockets = [OpenSocket(name, reason) for name in connection_ids]
        self.dispatcher.close_all(sockets, has_time)

    def revoke(
        self,
        user_id: str,
        event: TokensRevoked | TokenRevoked,
        now: int,
        has_time: HasTime = always,
    ) -> None:
        """Refuse tokens of a user, and close the connections that were admitted by them.

        After the write no such token is admitted: what is in the leases by then is all there is.
        """
        _, user = self.changes.apply(user_id, event, now)
        revoked = [name for name in user.leases if not self._has_good_token(name, user)]
        self._close_all(self._evict(user, revoked, now), has_time, "token-expired")

    def _has_good_token(self, connection_id: str, user: User) -> bool:
        """A closed record has forgotten its token, and what closed it may have stopped there."""
        record = self.records.read(connection_id, consistent=True)
        if record is None or record.state is State.CLOSED:
            return False
        return user.standing.accepts(record.token)

    def remove_member(self, session_id: str, user_id: str, now: int) -> None:
        """Take a user out of a chat session, on all devices, until `allow_member`.

        After the first write no connection can join or return to it. One whose lease that write has
        found to be over leaves it, too: it may come back when the user is allowed again.
        """
        before, user = self.changes.apply(user_id, Barred(session_id), now)
        for connection_id, lease in {**before.leases, **user.leases}.items():
            if session_id in lease.sessions:
                self._end_part(user, connection_id, session_id, now)

    def _end_part(self, user: User, connection_id: str, session_id: str, now: int) -> None:
        connection = self.records.read(connection_id, consistent=True)
        if connection is not None and connection.user_id == user.user_id:
            with suppress(RecordRefused):
                self.changes.leave(connection, [session_id], now)
                return
        # It is closed; what closed it may have stopped before it came to the subscriptions.
        self.expiry.remove_trace(connection_id, frozenset({session_id}), now)
        self.changes.apply(user.user_id, Left(connection_id, (session_id,)), now)

    def allow_member(self, session_id: str, user_id: str, now: int) -> None:
        """Let the user join again; nothing brings the user back."""
        self.changes.apply(user_id, Allowed(session_id), now)

    def erase(
        self, user_id: str, now: int, has_time: HasTime = always, *, lifts_blocks: bool
    ) -> None:
        """Delete a user from all tables, but for what the back end refused.

        Tokens that were revoked stay so while they could be good otherwise, and chat sessions stay
        barred, unless this *lifts_blocks*.

        Blocks against the user stay, unless this *lifts_blocks*: a user must not get rid of a block
        by erasing themselves and coming back. Watches of the user stay, because they belong to
        the watchers: they are told that the user is offline, and hear of one who comes back.

        Raises:
            Unavailable: the user reconnects faster than that, or there is more to do than time; the
                next call goes on where this one stopped.
        """
        evicted, event = list[str](), Erased(allows_sessions=lifts_blocks)
        if not any(self._try_to_erase(user_id, event, now, evicted) for _ in range(ERASE_ATTEMPTS)):
            raise Unavailable("The user keeps coming back; take away their token, then try again.")
        if lifts_blocks:
            names = self.subscriptions.naming(user_id)
            for name in in_time(names, has_time):
                self.changes.apply(name, Unblocked(frozenset({user_id}), gone=True), now)
            _require_nothing_left(names)
        self._close_all(evicted, has_time)

    def _try_to_erase(self, user_id: str, event: Erased, now: int, evicted: list[str]) -> bool:
        """False if the user came back meanwhile. *evicted* gets the connections, as of `_kick`."""
        evicted += self._kick(user_id, now)
        before, user = self.changes.apply(user_id, event, now)
        # Of connections since the kick, the leases are gone already.
        evicted += self._evict_all(before, now)
        self.users.raise_floor(user.newest_version)
        self._unblock_all(user, now)
        return self._delete(user_id, now)

    def _unblock_all(self, user: User, now: int) -> None:
        for viewer_ids in chunked(user.blocked, MAX_UNBLOCKED):
            self.changes.apply(user.user_id, Unblocked(frozenset(viewer_ids), gone=True), now)

    def _delete(self, user_id: str, now: int) -> bool:
        """Delete the item; False if rows of other tables depend on it.

        They do if the user is here again, and so in chat sessions and announced, or blocks or has
        blocked viewers.
        The item stays, with nothing but that, while the back end refuses the user something.
        """
        stored = self.users.read(user_id, consistent=True)
        if stored.is_listed or stored.special_viewers:
            return False
        until = stored.standing.matters_until()
        if until is None or until > now:
            return True
        try:
            self.users.raise_floor(stored.newest_version)
            self.users.forget(stored)
        except WriteConflict:
            return False
        return True


def _require_nothing_left(items: Iterator[object]) -> None:
    """Refuse to end as if all were done.

    Raises:
        Unavailable: time ran out before the last of the items.
    """
    if next(items, None) is not None:
        raise Unavailable("There is much to erase; ask again to go on.", retry_after_seconds=1)
