"""What can happen to a user, and what follows from it."""

from dataclasses import dataclass
from typing import TypeAlias

from presence.domain.user import Choice, Lease, Presence

# ── what can happen ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A connection of this user proved who it is, for the first time or again.

    `is_active` says whether a person is there, if known.
    """

    connection_id: str
    lease: Lease
    is_active: bool | None = None


@dataclass(frozen=True, slots=True)
class Renewed:
    """A connection was heard; `is_active` says whether a person is there, if known."""

    connection_id: str
    lease: Lease
    is_active: bool | None = None


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A connection was closed. The user is expected back until `grace_until`."""

    connection_id: str
    grace_until: int


@dataclass(frozen=True, slots=True)
class LeaseExpired:
    """The lease of a connection is said to have run out."""

    connection_id: str


class LeaseStillValid(Exception):
    """It has not, or not any more."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(f"good until {lease.expires_at}")
        self.lease = lease


@dataclass(frozen=True, slots=True)
class GraceEnded:
    """Whoever has left is not expected back."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A connection takes part in a chat session."""

    connection_id: str
    session_id: str


@dataclass(frozen=True, slots=True)
class Left:
    """A connection has had enough of a chat session, and is not expected back."""

    connection_id: str
    session_id: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """The user chose a status; at `until` the choice ends by itself, but for the grace period."""

    choice: Choice
    text: str | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """The user did something without a connection."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """The user wants to be offline for somebody, from now on."""

    viewer_id: str


@dataclass(frozen=True, slots=True)
class Unblocked:
    """The user shows themselves again."""

    viewer_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Erased:
    """Everything about the user goes, but for the blocks: nobody must see them on the way out."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Nothing happened, except that it is later now."""


UserEvent: TypeAlias = (
    Authenticated
    | Renewed
    | Disconnected
    | LeaseExpired
    | GraceEnded
    | Joined
    | Left
    | Chosen
    | Seen
    | Blocked
    | Unblocked
    | Erased
    | TimePassed
)

# ── what follows from it ───────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """Others have to hear this."""

    before: Presence
    after: Presence


@dataclass(frozen=True, slots=True)
class ViewChanged:
    """Somebody in particular has to hear something.

    The user's own devices, whoever was blocked or unblocked, or the members of a chat session that
    the user came into or left.
    """


@dataclass(frozen=True, slots=True)
class LeaseRemoved:
    """The connection was silent for too long; what else it left behind has to go as well."""

    connection_id: str
    sessions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TimerDue:
    """Somebody has to look at this user again at `at`."""

    at: int


Effect: TypeAlias = PresenceChanged | ViewChanged | LeaseRemoved | TimerDue
