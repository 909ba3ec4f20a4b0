"""What can happen to a user (`UserEvent`), and what follows from it (`Effect`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from presence.domain.disclosure import Disclosure
from presence.domain.standing import Token
from presence.domain.user import Choice, Lease, Presence

#: A token without instants: refused as soon as any tokens of its user are revoked.
_UNKNOWN = Token(0)

# ── events ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A connection proved with a token that it is this user's, for the first time or again.

    `is_active` says whether a person is at the device; None keeps what is known. Chat sessions of
    the lease that the token does not allow end. Of `session_ids` it joins those that it may.

    Beyond MAX_CONNECTIONS it replaces another connection, whose chat sessions the user leaves at
    `grace_until`, unless another connection is in them. `data` replaces the user's; None keeps it.
    """

    connection_id: str
    lease: Lease
    is_active: bool | None = None
    token: Token = _UNKNOWN
    session_ids: tuple[str, ...] = ()
    grace_until: int = 0
    data: str | None = None


@dataclass(frozen=True, slots=True)
class Renewed:
    """A frame came from a connection; `is_active` as in `Authenticated`."""

    connection_id: str
    lease: Lease
    is_active: bool | None = None


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A connection was closed. The user stays online until `grace_until`."""

    connection_id: str
    grace_until: int


@dataclass(frozen=True, slots=True)
class Evicted:
    """These connections were closed, and no grace period follows."""

    connection_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class LeaseExpired:
    """The lease of a connection is said to have expired."""

    connection_id: str


class LeaseStillValid(Exception):
    """The lease has not expired, or was renewed."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(f"valid until {lease.expires_at}")
        self.lease = lease


@dataclass(frozen=True, slots=True)
class Probed:
    """API Gateway took a probe for these connections, each of which was heard last at this instant.

    The lease of one that has not been heard since ends at `until`, if it does not end before.
    """

    unheard: Mapping[str, int]
    until: int


@dataclass(frozen=True, slots=True)
class GraceEnded:
    """The grace period and the pending leaves end now."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A connection joined those of these chat sessions that it may join, at least one."""

    connection_id: str
    session_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Left:
    """A connection left chat sessions, which end without a grace period."""

    connection_id: str
    session_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The user chose a status; at `until` it ends by itself, but not during the grace period.

    `chosen_at` is when the user did so, if that was a while ago: a newer choice is kept. None is
    now. `disclosure` is chosen with it, and `data` replaces the user's; None keeps either.
    """

    choice: Choice
    text: str | None = None
    until: int | None = None
    chosen_at: int | None = None
    disclosure: Disclosure | None = None
    data: str | None = None


@dataclass(frozen=True, slots=True)
class DataChanged:
    """The user's data was replaced by `data`, or patched with it (see the module `data`)."""

    data: str
    is_patch: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """The user did something without a connection."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """This viewer sees the user leave, as if the last connection had been closed now."""

    viewer_id: str


@dataclass(frozen=True, slots=True)
class Unblocked:
    """These viewers see the truth again; if they are `gone`, or the user is, none has to be served.

    Then nothing names them any more, also those who were unblocked before.
    """

    viewer_ids: frozenset[str]
    gone: bool = False


@dataclass(frozen=True, slots=True)
class TokensRevoked:
    """All tokens of the user that were issued before `not_before` are refused."""

    not_before: int


@dataclass(frozen=True, slots=True)
class TokenRevoked:
    """One token is refused; `token_id` is the fingerprint of its `jti`."""

    token_id: str


@dataclass(frozen=True, slots=True)
class Barred:
    """The user may not be in this chat session. Connections that are in it have to leave it yet."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Allowed:
    """The user may be in this chat session again."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Erased:
    """Everything about the user goes except the blocks: blocked viewers must not see it happen.

    What was revoked stays so; what is barred too, unless this *allows_sessions*.
    """

    allows_sessions: bool = False


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Nothing happened but time."""


#: What a user, or the back end for a user, has decided.
Decision: TypeAlias = (
    Chosen
    | DataChanged
    | Seen
    | Blocked
    | Unblocked
    | TokensRevoked
    | TokenRevoked
    | Barred
    | Allowed
    | Erased
)

UserEvent: TypeAlias = (
    Authenticated
    | Renewed
    | Disconnected
    | Evicted
    | LeaseExpired
    | Probed
    | GraceEnded
    | Joined
    | Left
    | Decision
    | TimePassed
)


def must_write(event: UserEvent) -> bool:
    """Whether the event is written even if it changes nothing.

    A `Disconnected` or `Evicted` is: an `authenticate` that runs beside it must lose its
    compare-and-swap, or it would add a lease to a connection that is closed. So are decisions of
    the back end: what they find beside an `authenticate` or a `join` has to be all there is.
    """
    return isinstance(event, Disconnected | Evicted | TokensRevoked | TokenRevoked | Barred)


# ── effects ────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """The public view changed; all subscribers must be told."""

    before: Presence
    after: Presence


@dataclass(frozen=True, slots=True)
class ViewChanged:
    """The view of some viewers changed.

    They are the user's own devices, a blocked or unblocked viewer, or the members of a chat session
    that the user joined or left.
    """


@dataclass(frozen=True, slots=True)
class LeaseRemoved:
    """The lease of a connection expired; its record and its subscriptions must go as well."""

    connection_id: str
    sessions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LeaseReplaced:
    """Another connection took the place of this one, which must be told and closed."""

    connection_id: str
    sessions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TimerDue:
    """The user must be looked at again at `at`."""

    at: int


Effect: TypeAlias = PresenceChanged | ViewChanged | LeaseRemoved | LeaseReplaced | TimerDue
