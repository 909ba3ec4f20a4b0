"""What is sent into a chat session: messages, and who is typing."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from presence.application.access import Access
from presence.application.user_changes import too_busy
from presence.domain.connection import Connection
from presence.domain.errors import Conflict, Forbidden
from presence.domain.message import Message
from presence.domain.rate_limit import Charge
from presence.fanout.broadcast import Broadcast
from presence.fanout.dispatch import Dispatcher
from presence.fanout.recipients import Few
from presence.limits import SWAP_ATTEMPTS, TYPING_SHOWN_MILLISECONDS
from presence.ports import ConnectionRecords, Post, SentMessages, Topic
from presence.protocol.frames import new_message, user_typing
from presence.protocol.strict_json import Json, encode


@dataclass(frozen=True, slots=True)
class Messages:
    """`new_id` makes the random part of a message id, which orders those of one millisecond."""

    records: ConnectionRecords
    sent: SentMessages
    access: Access
    broadcast: Broadcast
    dispatcher: Dispatcher
    new_id: Callable[[], str]

    def say(
        self, connection_id: str, session_id: str, content: Json, client_id: str | None, now: int
    ) -> Message:
        """Relay a message to every other connection; it is posted, or queued, on return.

        Sent again under its *client_id*, it is answered as the first time; it is relayed again, as
        the same message, only if that may not have been done to its end.

        Raises:
            Conflict: the client id is of a message with another content.
            Forbidden: the connection has not joined, or its token does not allow that any more.
            NotAuthenticated, TokenExpired, RateLimited: see `Access.authorize`.
        """
        actor = self.access.authorize(connection_id, now)
        if not actor.takes_part_in(session_id):
            raise _not_joined()
        message = self._message(actor.user.user_id, session_id, content, now, client_id)
        return self._relay_once(message, connection_id)

    def publish(
        self, sender_id: str, session_id: str, content: Json, client_id: str | None, now: int
    ) -> Message:
        """As `say`, for a back end, which has no connection."""
        message = self._message(sender_id, session_id, content, now, client_id)
        return self._relay_once(message, None)

    def _message(
        self, sender_id: str, session_id: str, content: Json, now: int, client_id: str | None
    ) -> Message:
        # In hexadecimal, the instant sorts as text until the year 10889.
        message_id = f"{now:012x}-{self.new_id()}"
        return Message(session_id, message_id, sender_id, content, now, client_id)

    def _relay_once(self, message: Message, without: str | None) -> Message:
        if message.client_id is None:
            return self._relay(message, without)
        before = self.sent.claim(message)
        if before is not None:
            if not before.is_same:
                raise Conflict("Give each message a clientId of its own.")
            message = replace(message, message_id=before.message_id, sent_at=before.sent_at)
            if before.is_relayed:
                return message
        self._relay(message, without)
        self.sent.relayed(message)
        return message

    def _relay(self, message: Message, without: str | None) -> Message:
        topic = Topic("session", message.session_id)
        self.broadcast.relay(topic, encode(new_message(message)), without, message.sent_at)
        return message

    def typing(self, connection_id: str, session_id: str, now: int, *, is_typing: bool) -> None:
        """Tell the other members who may see the user; see `Connection.typing` for how often.

        Raises:
            Forbidden: the connection has not joined, or its token does not allow that any more.
            NotAuthenticated, TokenExpired, RateLimited: see `Access.authorize`.
        """
        connection = self.access.require_authenticated(connection_id, now)
        # First, so that of many at the same moment the one that is told is charged.
        if not self._keep_typed(connection, session_id, now, is_typing=is_typing):
            return
        actor = self.access.act(connection, Charge(now))
        if not actor.takes_part_in(session_id):
            raise _not_joined()
        user = actor.user
        expires_at = now + TYPING_SHOWN_MILLISECONDS if is_typing else now
        frame = user_typing(session_id, user.user_id, is_typing=is_typing, expires_at=expires_at)
        found = self.broadcast.recipients(Topic("session", session_id))
        # Where many members type, no client could show them all.
        recipients = [
            it.connection_id
            for it in (found.subscribers if isinstance(found, Few) else ())
            if it.connection_id != connection_id and user.is_seen_acting_by(it.user_id)
        ]
        self.dispatcher.send_or_drop([Post(encode(frame), recipients)])

    def _keep_typed(
        self, connection: Connection, session_id: str, now: int, *, is_typing: bool
    ) -> bool:
        """Whether to tell it. A stop may be handled beside its start."""
        for attempt in range(SWAP_ATTEMPTS):
            if not connection.takes_part_in(session_id):
                raise _not_joined()
            typed = connection.typing(session_id, now, is_typing=is_typing)
            if typed is None:
                return False
            if self.records.keep_typed(connection, typed):
                return True
            self.access.changes.pause(attempt)
            connection = self.access.require_authenticated(connection.connection_id, now)
        raise too_busy()


def _not_joined() -> Forbidden:
    return Forbidden("Join the chat session first.")
