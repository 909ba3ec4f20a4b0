"""Everything about one user's presence, decided in one pure function: `reduce`.

No clock, no I/O, no randomness: `now` is an argument, in epoch milliseconds like every instant
here. Writes, reads, sweeps and tests all use it, so they cannot disagree.

                     last lease leaves               grace is over
    OFFLINE ──add──► HERE ─────────────► GRACE ────────────────────► OFFLINE   (announced)
                      │  ▲                 │
                      │  └────── add ──────┘  nothing is announced
                      └─ last lease runs out: it has waited already ► OFFLINE  (announced)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

from presence.domain.errors import TooManyConnections

MAX_CONNECTIONS = 20


class Status(StrEnum):
    """What others see."""

    ONLINE = "online"
    AWAY = "away"
    BUSY = "busy"
    DND = "dnd"
    OFFLINE = "offline"


class Choice(StrEnum):
    """What a user may choose; `online` takes an earlier choice back."""

    ONLINE = "online"
    AWAY = "away"
    BUSY = "busy"
    DND = "dnd"
    INVISIBLE = "invisible"


@dataclass(frozen=True, slots=True)
class Presence:
    """A user as others see them. The version grows whenever any other field changes."""

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


@dataclass(frozen=True, slots=True)
class Lease:
    """One connection's claim that its user is here, good until `expires_at`."""

    expires_at: int
    seen_at: int
    device: str | None = None
    is_active: bool = True

    def is_over(self, now: int) -> bool:
        return self.expires_at <= now


@dataclass(frozen=True, slots=True)
class User:
    """The aggregate: changed as a whole, by compare-and-swap on `revision`.

    `version` is what others see of time passing: it grows only with their view of the user, so
    that it cannot give away the comings and goings of somebody invisible.
    """

    user_id: str
    revision: int = 0
    version: int = 0
    leases: Mapping[str, Lease] = field(default_factory=dict)
    choice: Choice = Choice.ONLINE
    text: str | None = None
    until: int | None = None
    status: Status = Status.OFFLINE
    grace_until: int | None = None
    last_seen: int | None = None

    @property
    def is_here(self) -> bool:
        """Connected, or expected back within the grace period; whatever others may see."""
        return bool(self.leases) or self.grace_until is not None

    @property
    def presence(self) -> Presence:
        text = None if self.status is Status.OFFLINE else self.text
        return Presence(self.user_id, self.status, self.last_seen, self.version, text)

    @property
    def wakes_at(self) -> int | None:
        """When something about this user changes by itself next; leases are left to the sweep."""
        return min((at for at in (self.grace_until, self.until) if at is not None), default=None)


# ── what can happen to a user ──────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Authenticated:
    """A connection of this user proved who it is, for the first time or again."""

    connection_id: str
    lease: Lease


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
class Chosen:
    """The user chose a status; at `until` the choice ends by itself."""

    choice: Choice
    text: str | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """The user did something without a connection."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Nothing happened, except that it is later now."""


Event: TypeAlias = Authenticated | Renewed | Disconnected | Chosen | Seen | TimePassed

# ── what follows from it ───────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """Others have to hear this."""

    before: Presence
    after: Presence


@dataclass(frozen=True, slots=True)
class LeaseRanOut:
    """The connection was silent for too long; what else it left behind has to go as well."""

    connection_id: str


@dataclass(frozen=True, slots=True)
class Due:
    """Somebody has to look at this user again at `at`."""

    at: int


Change: TypeAlias = PresenceChanged | LeaseRanOut | Due


def reduce(user: User, event: Event, now: int) -> tuple[User, tuple[Change, ...]]:
    """The user after *event*, and what follows from it.

    What the clock alone decides is decided first: leases and grace periods that are over by
    *now* are gone before the event is looked at. Repeating an event changes nothing but the
    ends of leases (I13).

    Raises:
        TooManyConnections: an `Authenticated` beyond MAX_CONNECTIONS; the user is unchanged.
    """
    settled = _settle(user, now)
    after = _apply(settled, event, now)
    after = replace(after, status=_status(after))
    after = _hide_or_show(user, after, now)
    after = _count_version(user, after, now)
    return after, tuple(_changes(user, settled, after))


def _settle(user: User, now: int) -> User:
    if user.until is not None and user.until <= now:
        user = replace(user, choice=Choice.ONLINE, text=None, until=None)
    live = {name: lease for name, lease in user.leases.items() if not lease.is_over(now)}
    if len(live) < len(user.leases):
        user = _without_lapsed(user, live)
    if user.grace_until is not None and user.grace_until <= now:
        user = replace(user, grace_until=None)
    return replace(user, status=_status(user))


def _without_lapsed(user: User, live: Mapping[str, Lease]) -> User:
    """Whoever falls silent was last seen when last heard, not when that was noticed."""
    heard = max(lease.seen_at for name, lease in user.leases.items() if name not in live)
    user = replace(user, leases=live)
    return user if user.is_here else _seen(user, heard)


def _apply(user: User, event: Event, now: int) -> User:  # noqa: C901  one line per event
    match event:
        case Authenticated():
            return _add(user, event, now)
        case Renewed():
            return _renew(user, event)
        case Disconnected():
            return _remove(user, event, now)
        case Chosen():
            return _choose(user, event)
        case Seen():
            return _seen(user, now)
        case TimePassed():
            return user


def _add(user: User, event: Authenticated, now: int) -> User:
    known = event.connection_id in user.leases
    if not known and len(user.leases) >= MAX_CONNECTIONS:
        raise TooManyConnections(f"Close one of the {MAX_CONNECTIONS} connections of this user.")
    arriving = user if user.is_here else _seen(user, now)
    leases = {**arriving.leases, event.connection_id: event.lease}
    return replace(arriving, leases=leases, grace_until=None)


def _renew(user: User, event: Renewed) -> User:
    """Creates nothing: a lease that is gone stays gone (a ghost otherwise, F11)."""
    lease = user.leases.get(event.connection_id)
    if lease is None:
        return user
    renewed = replace(
        lease,
        expires_at=max(lease.expires_at, event.lease.expires_at),
        seen_at=max(lease.seen_at, event.lease.seen_at),
        is_active=lease.is_active if event.is_active is None else event.is_active,
    )
    return replace(user, leases={**user.leases, event.connection_id: renewed})


def _remove(user: User, event: Disconnected, now: int) -> User:
    if event.connection_id not in user.leases:
        return user
    leases = {name: lease for name, lease in user.leases.items() if name != event.connection_id}
    if leases:
        return replace(user, leases=leases)
    left = _seen(replace(user, leases=leases), now)
    return replace(left, grace_until=event.grace_until) if event.grace_until > now else left


def _choose(user: User, event: Chosen) -> User:
    return replace(user, choice=event.choice, text=event.text, until=event.until)


def _seen(user: User, at: int) -> User:
    """An invisible user is not seen; for everybody else they left when they became invisible."""
    if user.choice is Choice.INVISIBLE:
        return user
    return replace(user, last_seen=max(at, user.last_seen or 0))


def _status(user: User) -> Status:
    if not user.is_here or user.choice is Choice.INVISIBLE:
        return Status.OFFLINE
    if user.choice is not Choice.ONLINE:
        return Status(user.choice)
    if user.leases:
        active = any(lease.is_active for lease in user.leases.values())
        return Status.ONLINE if active else Status.AWAY
    # In grace nobody is there to be active: others go on seeing what they saw.
    return user.status if user.status in (Status.ONLINE, Status.AWAY) else Status.ONLINE


def _hide_or_show(before: User, after: User, now: int) -> User:
    """Becoming invisible looks like leaving, and ceasing to be like arriving."""
    was_hidden, is_hidden = (user.choice is Choice.INVISIBLE for user in (before, after))
    return replace(after, last_seen=now) if was_hidden != is_hidden and after.is_here else after


def _count_version(before: User, after: User, now: int) -> User:
    """A hybrid clock: greater than before, and than any version of an item since deleted."""
    if replace(after.presence, version=0) == replace(before.presence, version=0):
        return after
    return replace(after, version=max(before.version + 1, now))


def _changes(before: User, settled: User, after: User) -> Iterable[Change]:
    for name in before.leases:
        if name not in settled.leases:
            yield LeaseRanOut(name)
    if after.wakes_at is not None and after.wakes_at != before.wakes_at:
        yield Due(after.wakes_at)
    if after.presence.says_more_than(before.presence):
        yield PresenceChanged(before.presence, after.presence)
