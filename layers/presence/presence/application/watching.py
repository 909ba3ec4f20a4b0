"""Watching users: hear of them without sharing a chat session."""

from collections.abc import Sequence
from dataclasses import dataclass

from presence.application.connections import Lifecycle
from presence.application.statuses import Statuses
from presence.domain.errors import NotAuthenticated
from presence.domain.user import Presence
from presence.fanout.dispatch import Dispatcher
from presence.ports import Post, Subscriptions
from presence.protocol.frames import fitting, status_change_frames


@dataclass(frozen=True, slots=True)
class Watching:
    lifecycle: Lifecycle
    statuses: Statuses
    subscriptions: Subscriptions
    dispatcher: Dispatcher

    def watch(self, connection_id: str, user_ids: Sequence[str], now: int) -> Sequence[Presence]:
        """Let a connection hear of these users; how they are, as far as one frame holds it.

        What does not fit is sent as changes, which a client takes in the same way.

        Raises:
            Conflict: it would watch too many.
            NotAuthenticated, TokenExpired, RateLimited: see `Lifecycle`.
        """
        actor = self.lifecycle.act(connection_id, now)
        if not self.subscriptions.watch(actor.connection, frozenset(user_ids)):
            raise NotAuthenticated("This connection is over; open a new one.")
        # Read behind the subscription: what changes in between is told as well.
        presences = self.statuses.read_for_listener(user_ids, actor.user.user_id, now)
        count = fitting(presences)
        if rest := presences[count:]:
            self.dispatcher.send(
                [Post(text, [connection_id]) for text in status_change_frames(rest)]
            )
        return presences[:count]

    def unwatch(self, connection_id: str, user_ids: Sequence[str], now: int) -> None:
        self.lifecycle.act(connection_id, now)
        self.subscriptions.unwatch(connection_id, frozenset(user_ids))
