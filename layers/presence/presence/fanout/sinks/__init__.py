"""What reacts to changes of users. A new sink is a module in here, and a line in `SINKS`.

The sockets are the first: what they raise makes Lambda repeat the batch. The others are called
after them, and what they raise is logged, not repeated: a batch that fails is halved and tried up
to six times while all later changes of its stream shard wait, so one broken sink would stop
presence for all users. A sink whose service may fail puts the change into a queue of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from presence.fanout.broadcast import Broadcast
from presence.fanout.diffs import UserDiff
from presence.fanout.large_rooms import LargeRooms
from presence.fanout.sight import Sight
from presence.fanout.sinks.sockets import Sockets
from presence.ports import Ports


class Sink(Protocol):
    def publish(self, diffs: Sequence[UserDiff], *, until: int | None) -> Mapping[str, int]:
        """React to one batch of changes until then, if given; figures for the log line.

        Called when the sockets have taken the batch, with the records of one user in their order:
        at least once for each record, but for a batch that the stream gives up (dead-letter queue).
        Any record may come again, alone or in another batch, even days later: the user id and
        the version of a `UserDiff.public_changes` identify a change.
        """
        ...


class Parts(Protocol):
    """What sinks may be made of; `bootstrap.App` has them."""

    @property
    def ports(self) -> Ports: ...
    @property
    def broadcast(self) -> Broadcast: ...
    @property
    def large_rooms(self) -> LargeRooms: ...
    @property
    def is_global(self) -> bool: ...
    @property
    def sight(self) -> Sight: ...


def sockets(parts: Parts) -> Sink:
    ports = parts.ports
    return Sockets(
        ports.subscriptions,
        ports.members,
        parts.broadcast,
        parts.large_rooms,
        parts.is_global,
        parts.sight,
        ports.timers,
    )


SINKS: list[Callable[[Parts], Sink]] = [
    sockets,
]
