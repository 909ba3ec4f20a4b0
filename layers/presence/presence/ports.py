"""What the use cases need from the world outside; each docstring is a promise.

Instants are epoch milliseconds. "Already gone" is success everywhere.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from presence.domain.connection import Admission, Connection, Identity
from presence.domain.user import Lease, User


class Lost(Exception):
    """Somebody else wrote first. `current` is what they left, when it came with the answer."""

    def __init__(self, current: User | None = None) -> None:
        super().__init__("somebody else wrote first")
        self.current = current


class Connections(Protocol):
    """The gates. `closed` is final: no write below can undo it."""

    def open(self, connection: Connection) -> None:
        """Remember a connection that nobody has claimed yet."""
        ...

    def read(self, connection_id: str, *, consistent: bool = False) -> Connection | None:
        """None if it was never opened, or so long ago that it is forgotten."""
        ...

    def close(self, connection_id: str, now: int) -> Connection | None:
        """Close the gate and return what it was before; None if there is nothing to close."""
        ...

    def close_unclaimed(self, connection_id: str, now: int) -> bool:
        """Close the gate if nobody has authenticated; whether that was so."""
        ...

    def spend(self, connection: Connection, spent_until: int) -> bool:
        """Move `spent_until` on; False if somebody else did since *connection* was read."""
        ...


class Users(Protocol):
    """The aggregates, changed by compare-and-swap on `revision` and on every lease touched."""

    def read(self, user_id: str, *, consistent: bool = False) -> User:
        """The user; somebody never seen is an empty one."""
        ...

    def read_many(self, user_ids: Collection[str]) -> Mapping[str, User]:
        """All of them, however many; each is in the answer, known or not."""
        ...

    def save(self, before: User, after: User, now: int, *, announce: bool) -> None:
        """Write *after* if the user is still as in *before*.

        `announce` marks the record for the stream. Leases of other connections are not touched:
        one that was renewed meanwhile stays renewed, one to be removed must be as it was seen.

        Raises:
            Lost: it is not as in *before* any more; nothing was written.
        """
        ...

    def admit(
        self, admission: Admission, before: User, after: User, now: int, *, announce: bool
    ) -> bool:
        """`save`, and the gate becomes this user's, in one transaction; False if the gate refuses.

        It refuses when it is closed, unknown, or another user's already.

        Raises:
            Lost: as `save`.
        """
        ...

    def renew(
        self,
        user_id: str,
        connection_id: str,
        lease: Lease,
        *,
        is_active: bool | None,
        if_before: int,
    ) -> User | None:
        """Let a lease run until `lease.expires_at`, in one write that announces nothing.

        Only if the lease exists, expires by `if_before`, and (when `is_active` is given) is that
        active already. Otherwise the user as it is comes back, and nothing was written.
        """
        ...


@dataclass(frozen=True, slots=True)
class Count:
    online: int
    as_of: int


class Roster(Protocol):
    """An index of the users who are here. It only proposes: it may lag, and knows no leases."""

    def after(self, position: str | None) -> Iterator[str]:
        """User ids in the order of the index, behind *position* (see `position_of`), read lazily.

        Raises:
            InvalidMessage: no such position.
        """
        ...

    def position_of(self, user_id: str) -> str:
        """Where *user_id* stands, whether it is in the index or not."""
        ...

    def count(self) -> Count:
        """How many users others see online, as last counted."""
        ...

    def counted(self, count: Count) -> None:
        """Remember a count of everybody."""
        ...

    def add(self, difference: int) -> None:
        """Correct the count by those who came and went since."""
        ...


class Subscriptions(Protocol):
    """Who hears what, besides a user's own connections."""

    def everyone(self) -> Iterator[Sequence[str]]:
        """Pages of the connections that hear of every user."""
        ...

    def remove(self, connection_id: str) -> None:
        """Forget every subscription of a connection."""
        ...


class Timers(Protocol):
    """Ask for a second look. At least once, never before its time, perhaps late, in any order."""

    def check_connection(self, connection_id: str, delay_seconds: int) -> None: ...

    def check_user(self, user_id: str, delay_seconds: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Post:
    """One text for many connections."""

    text: str
    connection_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of some posts; every connection that is in no list has its text."""

    gone: Sequence[str] = ()
    throttled: Sequence[str] = ()
    failed: Sequence[str] = ()


class Gateway(Protocol):
    """The way to the clients."""

    def post(self, posts: Iterable[Post]) -> Delivery:
        """Send every text to its connections; all is done when this returns."""
        ...

    def close(self, connection_id: str) -> None:
        """Close the socket. It may be closed already."""
        ...


class Tokens(Protocol):
    def verify(self, token: str, now: int) -> Identity:
        """Who the token speaks for.

        Raises:
            TokenInvalid: forged, malformed, for somebody else, or without a claim it needs.
            TokenExpired: it was right once.
            Unavailable: its key cannot be had just now.
        """
        ...
