"""Connections that should keep another heartbeat than they do are told so."""

from collections.abc import Callable
from dataclasses import dataclass

from presence.domain.heartbeat import Heartbeats
from presence.domain.user import User
from presence.ports import Post
from presence.protocol.frames import heartbeat
from presence.protocol.strict_json import encode


@dataclass(frozen=True, slots=True)
class Pacing:
    """Only clients that have named a heartbeat are told: others may not know what it is.

    `post` may lose what it is given: the next ping of a connection says what it keeps.
    """

    heartbeats: Heartbeats
    post: Callable[[Post], object]

    def tell(self, connection_id: str, milliseconds: int) -> None:
        lease = self.heartbeats.lease(milliseconds)
        frame = heartbeat(milliseconds // 1000, lease // 1000)
        self.post(Post(encode(frame), [connection_id]))

    def tell_others(self, user: User, connection_id: str, now: int) -> None:
        """After a connection came, went or was left alone: who has to notice more now."""
        for name, milliseconds in self.heartbeats.misfits(user, now).items():
            if name != connection_id:
                self.tell(name, milliseconds)
