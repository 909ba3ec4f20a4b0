"""Who a user is, and who sees what of them.

Values only; what changes them is in `reducer`. Every instant is in epoch milliseconds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

MAX_CONNECTIONS = 20
MAX_SESSIONS = 50
#: They are stored with the user, and a ping is paid by the size of what it touches.
MAX_BLOCKED = 200


class Status(StrEnum):
    """What is seen of a user; `invisible` by nobody but their own devices."""

    ONLINE = "online"
    AWAY = "away"
    BUSY = "busy"
    DND = "dnd"
    OFFLINE = "offline"
    INVISIBLE = "invisible"


class Choice(StrEnum):
    """What a user may choose; `online` takes an earlier choice back."""

    ONLINE = "online"
    AWAY = "away"
    BUSY = "busy"
    DND = "dnd"
    INVISIBLE = "invisible"


@dataclass(frozen=True, slots=True)
class Presence:
    """A user as somebody sees them. The version grows whenever any other field changes."""

    user_id: str
    status: Status
    last_seen: int | None
    version: int
    text: str | None = None

    @property
    def is_online(self) -> bool:
        return self.status is not Status.OFFLINE

    def says_more_than(self, other: "Presence") -> bool:
        """Whether whoever knows *other* should be told; a newer last_seen alone is no news."""
        return (self.status, self.text) != (other.status, other.text)

    def looks_like(self, other: "Presence") -> bool:
        """Whether nothing but the version differs."""
        return replace(self, version=0) == replace(other, version=0)


@dataclass(frozen=True, slots=True)
class Lease:
    """One connection's claim that its user is here, good until `expires_at`.

    `sessions` are the chat sessions that it has joined.
    """

    expires_at: int
    seen_at: int
    device: str | None = None
    is_active: bool = True
    sessions: frozenset[str] = frozenset()

    def is_over(self, now: int) -> bool:
        return self.expires_at <= now


@dataclass(frozen=True, slots=True)
class FrozenView:
    """What a blocked viewer goes on seeing: somebody who left when they were blocked, or before."""

    last_seen: int | None
    version: int


@dataclass(frozen=True, slots=True)
class User:
    """The aggregate: changed as a whole, by compare-and-swap on `revision`.

    `version` is what others see of time passing: it grows only with their view of the user, so
    that it cannot give away the comings and goings of somebody invisible. `own_version` is the
    same for the user's own devices.

    `pending_leaves` are chat sessions of a closed connection: until the instant given, it is
    expected back. That counts when no lease is in them, as grace does when there is none: beside a
    lease nobody looks whether it is over. `blocked` are those who see the user offline, whatever
    the truth.
    """

    user_id: str
    revision: int = 0
    version: int = 0
    own_version: int = 0
    leases: Mapping[str, Lease] = field(default_factory=dict)
    choice: Choice = Choice.ONLINE
    text: str | None = None
    until: int | None = None
    status: Status = Status.OFFLINE
    grace_until: int | None = None
    pending_leaves: Mapping[str, int] = field(default_factory=dict)
    last_seen: int | None = None
    blocked: Mapping[str, FrozenView] = field(default_factory=dict)

    def erased(self) -> "User":
        """What has to be kept for the others to hear of it: they drop versions that they hold."""
        return User(
            self.user_id,
            revision=self.revision,
            version=self.version,
            own_version=self.own_version,
            blocked=self.blocked,
        )

    @property
    def is_here(self) -> bool:
        """Connected, or expected back within the grace period; whatever others may see."""
        return bool(self.leases) or self.grace_until is not None

    @property
    def is_in_grace(self) -> bool:
        """Not connected, and expected back. Beside a lease nobody looks at the grace period."""
        return not self.leases and self.grace_until is not None

    @property
    def sessions(self) -> frozenset[str]:
        """The chat sessions that the user is in, whoever may see that."""
        return self.joined_sessions.union(self.pending_leaves)

    @property
    def joined_sessions(self) -> frozenset[str]:
        """Those that a connection is in."""
        return frozenset[str]().union(*(it.sessions for it in self.leases.values()))

    @property
    def presence(self) -> Presence:
        """As everybody sees the user who is not blocked."""
        text = None if self.status is Status.OFFLINE else self.text
        return Presence(self.user_id, self.status, self.last_seen, self.version, text)

    @property
    def own_presence(self) -> Presence:
        """As the user's own devices see them: the truth."""
        own = replace(self.presence, version=self.own_version)
        if self.is_here and self.choice is Choice.INVISIBLE:
            return replace(own, status=Status.INVISIBLE, text=self.text)
        return own

    def seen_by(self, viewer_id: str | None) -> Presence:
        """As *viewer_id* sees the user; None is a stranger without a token."""
        if viewer_id == self.user_id:
            return self.own_presence
        if not may_see(viewer_id, self):
            frozen_view = self.blocked[str(viewer_id)]
            return Presence(
                self.user_id, Status.OFFLINE, frozen_view.last_seen, frozen_view.version
            )
        return self.presence

    def sessions_seen_by(self, viewer_id: str | None) -> frozenset[str]:
        """The chat sessions in which *viewer_id* sees the user: whoever is offline is in none."""
        if not may_see(viewer_id, self) or not self.presence.is_online:
            return frozenset()
        return self.sessions

    @property
    def next_change_at(self) -> int | None:
        """When something about this user changes by itself next; leases are left to the sweep.

        In grace a choice waits for its end.
        """
        grace_or_choice = self.grace_until if self.is_in_grace else self.until
        held = self.joined_sessions
        expected = (until for name, until in self.pending_leaves.items() if name not in held)
        times: Iterable[int | None] = (grace_or_choice, *expected)
        return min((at for at in times if at is not None), default=None)


def may_see(viewer_id: str | None, target: User) -> bool:
    """The one rule of privacy: snapshots, HTTP reads and announcements all ask here (T37, I10)."""
    return viewer_id not in target.blocked
