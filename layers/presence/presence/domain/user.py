"""A user, and what each viewer sees of the user.

Values only; what changes them is in `reducer`. Every instant is in epoch milliseconds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from presence.domain.standing import Standing


class Status(StrEnum):
    """What is seen of a user; only the user's own devices see `invisible`."""

    ONLINE = "online"
    AWAY = "away"
    BUSY = "busy"
    DND = "dnd"
    OFFLINE = "offline"
    INVISIBLE = "invisible"


class Choice(StrEnum):
    """What a user may choose; `online` takes back an earlier choice."""

    ONLINE = "online"
    AWAY = "away"
    BUSY = "busy"
    DND = "dnd"
    INVISIBLE = "invisible"


@dataclass(frozen=True, slots=True)
class Presence:
    """A user as one viewer sees them. The version grows whenever any other field changes."""

    user_id: str
    status: Status
    last_seen: int | None
    version: int
    text: str | None = None

    @property
    def is_online(self) -> bool:
        return self.status is not Status.OFFLINE

    def differs_for_others(self, other: "Presence") -> bool:
        """Whether a viewer who knows *other* must be told; not of a newer `last_seen` alone."""
        return (self.status, self.text) != (other.status, other.text)

    def equals_except_version(self, other: "Presence") -> bool:
        return replace(self, version=0) == replace(other, version=0)


@dataclass(frozen=True, slots=True)
class Lease:
    """One connection's promise that its user is here, valid until `expires_at`.

    `seen_at` is when its last frame came, `is_active` whether a person is at the device, and
    `sessions` are the chat sessions that the connection has joined. `ends_by` is when its token
    ends, with the leeway; no renewal goes beyond it.
    """

    expires_at: int
    seen_at: int
    device: str | None = None
    is_active: bool = True
    sessions: frozenset[str] = frozenset()
    ends_by: int | None = None

    def is_expired(self, now: int) -> bool:
        return self.expires_at <= now


@dataclass(frozen=True, slots=True)
class FrozenView:
    """What a blocked viewer goes on seeing: a user who left at the time of the block, or before."""

    last_seen: int | None
    version: int


@dataclass(frozen=True, slots=True)
class User:
    """The aggregate: changed as a whole, by compare-and-swap on `revision`.

    `version` grows only when the public view changes, so that it cannot reveal that an invisible
    user comes and goes. `own_version` is the same for the user's own devices.

    `pending_leaves` are chat sessions of closed connections, each with the instant at which the
    user leaves it. They matter only while no lease is in that chat session, as `grace_until`
    matters only without any lease. `blocked` are the viewers who see the user offline, each with
    what they go on seeing. `standing` is what the back end has decided about the user.
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
    standing: Standing = field(default_factory=Standing)

    def erased(self) -> "User":
        """What must be kept until others are told: they drop versions that they already hold.

        What the back end refused stays refused.
        """
        return User(
            self.user_id,
            revision=self.revision,
            version=self.version,
            own_version=self.own_version,
            blocked=self.blocked,
            standing=self.standing,
        )

    @property
    def is_here(self) -> bool:
        """Connected, or in the grace period; whatever others may see."""
        return bool(self.leases) or self.grace_until is not None

    @property
    def is_in_grace(self) -> bool:
        """Not connected, but the grace period has not ended."""
        return not self.leases and self.grace_until is not None

    @property
    def sessions(self) -> frozenset[str]:
        """The chat sessions that the user is in, whether others see that or not."""
        return self.joined_sessions.union(self.pending_leaves)

    @property
    def joined_sessions(self) -> frozenset[str]:
        """The chat sessions that a connection is in."""
        return frozenset[str]().union(*(it.sessions for it in self.leases.values()))

    @property
    def presence(self) -> Presence:
        """The public view: what every viewer sees who is not blocked."""
        text = None if self.status is Status.OFFLINE else self.text
        return Presence(self.user_id, self.status, self.last_seen, self.version, text)

    @property
    def own_presence(self) -> Presence:
        """The truth, as the user's own devices see it."""
        own = replace(self.presence, version=self.own_version)
        if self.is_here and self.choice is Choice.INVISIBLE:
            return replace(own, status=Status.INVISIBLE, text=self.text)
        return own

    def seen_by(self, viewer_id: str | None) -> Presence:
        """As *viewer_id* sees the user; None is a reader without a token."""
        if viewer_id == self.user_id:
            return self.own_presence
        if not may_see(viewer_id, self):
            frozen_view = self.blocked[str(viewer_id)]
            return Presence(
                self.user_id, Status.OFFLINE, frozen_view.last_seen, frozen_view.version
            )
        return self.presence

    def sessions_seen_by(self, viewer_id: str | None) -> frozenset[str]:
        """The chat sessions in which *viewer_id* sees the user; none if the user looks offline."""
        if not may_see(viewer_id, self) or not self.presence.is_online:
            return frozenset()
        return self.sessions

    @property
    def next_change_at(self) -> int | None:
        """When the user next changes by itself; leases that are not renewed are left to the sweep.

        A lease that ends with its token is not: the connection must hear nothing more.
        During grace the chosen status does not end.
        """
        grace_or_choice = self.grace_until if self.is_in_grace else self.until
        held = self.joined_sessions
        expected = (until for name, until in self.pending_leaves.items() if name not in held)
        tokens = (lease.ends_by for lease in self.leases.values())
        times: Iterable[int | None] = (grace_or_choice, *expected, *tokens)
        return min((at for at in times if at is not None), default=None)


def may_see(viewer_id: str | None, target: User) -> bool:
    """The one rule of privacy: snapshots, HTTP reads and fan-out all ask here."""
    return viewer_id not in target.blocked
