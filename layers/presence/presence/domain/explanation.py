"""Why a user is shown as they are: one reason, and what it follows from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from presence.domain.connection import Connection
from presence.domain.events import TimePassed
from presence.domain.reducer import reduce
from presence.domain.user import Choice, Presence, User


class Reason(StrEnum):
    """What decides the status that others see; the first that applies, in this order."""

    UNKNOWN = "unknown"
    HIDING = "hiding"
    INVISIBLE = "invisible"
    GRACE = "grace"
    CHOSEN = "chosen"
    ACTIVE = "active"
    IDLE = "idle"
    TOKEN_ENDED = "token-ended"  # noqa: S105  a reason, and no secret
    LEASE_EXPIRED = "lease-expired"
    NOT_CONNECTED = "not-connected"


@dataclass(frozen=True, slots=True)
class Room:
    """A chat session of the user, with how many members most viewers see.

    `leaves_at` is when the user leaves it by itself, None while a connection is in it.
    """

    session_id: str
    member_count: int
    leaves_at: int | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """How one viewer sees the user; `may_see` is false where the stack's policy says so."""

    viewer_id: str
    presence: Presence
    is_blocked: bool
    may_see: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """A user as `stored` and as of `now` (`current`), and why.

    `look` is that of the viewer who was asked about.

    `records` are those of the connections that have a lease, as far as there are any, and
    `watchers` how many connections watch the user, at most EXPLAINED_WATCHERS.
    """

    now: int
    stored: User
    current: User
    reason: Reason
    records: Mapping[str, Connection]
    rooms: Sequence[Room]
    watchers: int
    look: Look | None = None


def as_of(stored: User, now: int) -> User:
    """The user after what the clock has decided by *now*, whether that is stored or not."""
    return reduce(stored, TimePassed(), now)[0]


def reason(stored: User, now: int) -> Reason:
    """Why others see the user's status at *now*; *stored* is the user as read."""
    current = as_of(stored, now)
    if stored.revision == 0:
        return Reason.UNKNOWN
    if current.farewell is not None:
        return Reason.HIDING
    return _presence(current) if current.is_here else _absence(stored)


def _presence(user: User) -> Reason:
    if user.choice is Choice.INVISIBLE:
        return Reason.INVISIBLE
    if user.is_in_grace:
        return Reason.GRACE
    if user.choice is not Choice.ONLINE:
        return Reason.CHOSEN
    is_active = any(lease.is_active for lease in user.leases.values())
    return Reason.ACTIVE if is_active else Reason.IDLE


def _absence(stored: User) -> Reason:
    """Of leases that are over and were not found to be yet, the one that ended last."""
    last = max(stored.leases.values(), key=lambda lease: lease.expires_at, default=None)
    if last is None:
        return Reason.NOT_CONNECTED
    is_by_token = last.ends_by is not None and last.expires_at >= last.ends_by
    return Reason.TOKEN_ENDED if is_by_token else Reason.LEASE_EXPIRED
