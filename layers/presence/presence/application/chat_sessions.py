"""Chat sessions: who is in them, who types, what is said."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from presence.application.connections import Lifecycle
from presence.application.statuses import Statuses
from presence.domain.connection import AllowedSessions, Connection, is_allowed, no_access
from presence.domain.errors import Forbidden
from presence.domain.user import Presence
from presence.fanout.broadcast import Broadcast
from presence.fanout.dispatch import Dispatcher
from presence.fanout.recipients import Few
from presence.ports import Authorizer, LargeRoom, Members, MembersPart, Post, Topic
from presence.protocol.cursors import decode_cursor, encode_cursor, not_ours
from presence.protocol.frames import Frame, fitting, user_typing
from presence.protocol.requests import DEFAULT_PAGE, is_id
from presence.protocol.strict_json import Json, encode

#: How long a receiver shows that somebody types, if it hears nothing more.
TYPING_SHOWN_MILLISECONDS = 6_000


@dataclass(frozen=True, slots=True)
class MemberPage:
    """`cursor` is None on the last page.

    All is at least as new as `as_of`: an instant just before the members were read, or in a large
    room the one of its last count. `is_sampled` says that it is large, and that not every change
    is told.
    """

    members: Sequence[Presence]
    cursor: str | None
    member_count: int
    as_of: int
    is_sampled: bool = False


@dataclass(frozen=True, slots=True)
class Sessions:
    """`new_id` makes what orders ids of the same millisecond: text that nobody can guess."""

    lifecycle: Lifecycle
    statuses: Statuses
    broadcast: Broadcast
    members: Members
    dispatcher: Dispatcher
    authorizer: Authorizer
    new_id: Callable[[], str]

    # ── coming and going ───────────────────────────────────────────────────────────────

    def join(
        self, connection_id: str, session_id: str, now: int, clock: Callable[[], int]
    ) -> MemberPage:
        """Let a connection into a chat session; the first page of who is there.

        *clock* is asked when that is written: what others are told of the members before does not
        count this user, who hears of it no more than this answer.

        Raises:
            Forbidden: the token or the authorizer says no.
            Conflict: the user is in too many chat sessions.
            NotAuthenticated, TokenExpired, RateLimited, Unavailable: see `Lifecycle`.
        """
        actor = self.lifecycle.act(connection_id, now)
        self.require_entry(actor.user.user_id, actor.connection.allowed_sessions, session_id)
        self.lifecycle.join(actor, session_id, now)
        return self.page(session_id, actor.user.user_id, DEFAULT_PAGE, None, clock())

    def leave(self, connection_id: str, session_id: str, now: int) -> None:
        self.lifecycle.leave(self.lifecycle.act(connection_id, now), session_id, now)

    def leave_forbidden(self, connection_id: str, now: int, allowed: AllowedSessions) -> None:
        """A fresh token may allow less than the one before."""
        connection = self.lifecycle.claimed(connection_id, now)
        actor = self.lifecycle.heard(connection, now)
        # The lease knows them as of now; the gate may have been read before the last `join`.
        for session_id in actor.user.leases[connection_id].sessions:
            if not is_allowed(session_id, allowed):
                self.lifecycle.leave(actor, session_id, now)

    def require_entry(self, user_id: str, allowed: AllowedSessions, session_id: str) -> None:
        """Answer the same for a chat session that exists and one that does not (T34).

        Raises:
            Forbidden: the token or the authorizer says no.
            Unavailable: see `Authorizer.may_join`.
        """
        if not (is_allowed(session_id, allowed) and self.authorizer.may_join(user_id, session_id)):
            raise no_access()

    # ── who is there ───────────────────────────────────────────────────────────────────

    def page(
        self, session_id: str, viewer_id: str | None, limit: int, cursor: str | None, now: int
    ) -> MemberPage:
        """A page of those whom *viewer_id* sees in a chat session, in the order of their ids.

        Raises:
            InvalidMessage: a cursor that no page has given.
        """
        after = "" if cursor is None else _position_in(cursor)
        first = self.members.part(session_id)
        if first.room and first.room.is_large:
            return self._page_of_large(first, first.room, after, viewer_id, limit=limit, now=now)
        behind = self.members.of(session_id, first.after) if first.after else iter(())
        seen = [
            member.user_id
            for member in chain(first.members, behind)
            if viewer_id not in member.hidden_from
        ]
        as_of = first.as_of(now)
        ahead = [user_id for user_id in seen if user_id > after]
        found = self._present(ahead, limit + 1, viewer_id, now)
        page = found[: fitting(found[:limit])]
        if len(page) < len(found):
            return MemberPage(page, encode_cursor(page[-1].user_id), len(seen), as_of)
        return MemberPage(page, None, len(page) if cursor is None else len(seen), as_of)

    def _page_of_large(
        self,
        first: MembersPart,
        room: LargeRoom,
        after: str,
        viewer_id: str | None,
        *,
        limit: int,
        now: int,
    ) -> MemberPage:
        """The same without reading the whole room: how many there are, the last tick has counted.

        It counts for all alike, also those whom *viewer_id* does not see.
        """
        ahead = [it for it in first.members if it.user_id > after]
        rest = self.members.of(room.session_id, max(after, first.after)) if first.after else ()
        seen = (it.user_id for it in chain(ahead, rest) if viewer_id not in it.hidden_from)
        found = self._present(seen, limit + 1, viewer_id, now)
        page = found[: fitting(found[:limit])]
        cursor = encode_cursor(page[-1].user_id) if len(page) < len(found) else None
        return MemberPage(page, cursor, room.member_count, room.as_of, is_sampled=True)

    def _present(
        self, user_ids: Iterable[str], least: int, viewer_id: str | None, now: int
    ) -> list[Presence]:
        """Of these, so many as are online now, in their order; a lease may just have run out."""
        found: list[Presence] = []
        rest = iter(user_ids)
        while len(found) < least and (chunk := list(islice(rest, least))):
            presences = self.statuses.read_for_listener(chunk, viewer_id, now)
            found += [presence for presence in presences if presence.is_online]
        return found[:least]

    # ── what is said ───────────────────────────────────────────────────────────────────

    def typing(self, connection_id: str, session_id: str, now: int, *, is_typing: bool) -> None:
        """Tell the others; once a second at most, and never whoever must not see the user.

        Raises:
            Forbidden: the connection has not joined, or its token allows that no more.
            NotAuthenticated, TokenExpired, RateLimited: see `Lifecycle`.
        """
        connection = self._joined(self.lifecycle.claimed(connection_id, now), session_id)
        typed = connection.typing(session_id, now)
        # Whoever spends at this very moment wins: nobody misses one of two.
        if typed is None or not self.lifecycle.connections.spend(connection, typed.paid(now)):
            return
        user = self.lifecycle.heard(connection, now).user
        expires_at = now + TYPING_SHOWN_MILLISECONDS if is_typing else now
        frame = user_typing(session_id, user.user_id, is_typing=is_typing, expires_at=expires_at)
        found = self.broadcast.recipients(Topic("session", session_id))
        # Where many members type, no client could show them all.
        subscribers = [
            subscriber.connection_id
            for subscriber in (found.subscribers if isinstance(found, Few) else ())
            if subscriber.connection_id != connection_id
            and user.seen_by(subscriber.user_id).is_online
        ]
        self.dispatcher.send_or_drop([Post(encode(frame), subscribers)])

    def say(
        self, connection_id: str, session_id: str, content: Json, client_id: str | None, now: int
    ) -> Frame:
        """Relay a message to every other connection; all have it, or it is queued for them.

        Raises:
            Forbidden: the connection has not joined, or its token allows that no more.
            NotAuthenticated, TokenExpired, RateLimited: see `Lifecycle`.
        """
        actor = self.lifecycle.act(connection_id, now)
        self._joined(actor.connection, session_id)
        frame = self._frame(actor.user.user_id, session_id, content, now)
        if client_id is not None:
            frame["clientId"] = client_id
        self.broadcast.relay(Topic("session", session_id), encode(frame), connection_id, now)
        return frame

    def publish(self, sender_id: str, session_id: str, content: Json, now: int) -> Frame:
        """As `say`, for a back end, which has no connection."""
        frame = self._frame(sender_id, session_id, content, now)
        self.broadcast.relay(Topic("session", session_id), encode(frame), None, now)
        return frame

    def _frame(self, sender_id: str, session_id: str, content: Json, now: int) -> Frame:
        return {
            "type": "new-message",
            "chatSessionId": session_id,
            # Sorts by time as text, until the year 10889.
            "messageId": f"{now:012x}-{self.new_id()}",
            "senderId": sender_id,
            "content": content,
            "sentAt": now,
        }

    def _joined(self, connection: Connection, session_id: str) -> Connection:
        """The connection, which has joined; only members may type or speak.

        The claim counts here, too: a fresh token that allows less may have been served only half.
        """
        if connection.takes_part_in(session_id):
            return connection
        # An eventually consistent read may lag behind the client's own `join`, or its token.
        current = self.lifecycle.connections.read(connection.connection_id, consistent=True)
        if current is None or not current.takes_part_in(session_id):
            raise Forbidden("Join the chat session first.")
        return current


def _position_in(cursor: str) -> str:
    user_id = decode_cursor(cursor)
    if not is_id(user_id):
        raise not_ours()
    return user_id
