"""A user, and what each viewer sees of the user.

Values only; what changes them is in `reducer`. Every instant is in epoch milliseconds.
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

from presence.domain.disclosure import Disclosure, Precision, Rules
from presence.domain.rate_limit import Arrivals
from presence.domain.standing import Standing
from presence.limits import MAX_NAME_BYTES


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
    """A user as one viewer sees them. The version grows whenever any other field changes.

    Only the user's own devices are told `until` and `disclosure`. `heard_at` is told to viewers who
    ask for it (see `freshness`), and no version grows with it. `data` is kept as JSON (see the
    module `data`).
    """

    user_id: str
    status: Status
    last_seen: int | None
    version: int
    text: str | None = None
    until: int | None = None
    disclosure: Disclosure | None = None
    heard_at: int | None = None
    data: str | None = None

    @property
    def is_online(self) -> bool:
        return self.status is not Status.OFFLINE

    def differs_for_others(self, other: "Presence") -> bool:
        """Whether a viewer who knows *other* must be told; not of a newer `last_seen` alone."""
        known, new = (replace(it, last_seen=None, version=0) for it in (other, self))
        return new != known

    def equals_except_version(self, other: "Presence") -> bool:
        return replace(self, version=0) == replace(other, version=0)


@dataclass(frozen=True, slots=True)
class Lease:
    """One connection's promise that its user is here, valid until `expires_at`.

    `seen_at` is when its last frame came, `is_active` whether a person is at the device, and
    `sessions` are the chat sessions that the connection has joined. `ends_by` is when its token
    ends, with the leeway; no renewal goes beyond it. `arrival` is the state of the connection's
    rate limit (see `rate_limit.Take`). `lasts` is how long each renewal is good, as the client has
    asked for (see `heartbeat`); None for the stack's usual time.
    """

    expires_at: int
    seen_at: int
    device: str | None = None
    is_active: bool = True
    sessions: frozenset[str] = frozenset()
    ends_by: int | None = None
    arrival: int = 0
    lasts: int | None = None

    def is_expired(self, now: int) -> bool:
        return self.expires_at <= now

    def takes(self, newer: "Lease") -> bool:
        """Whether a renewal to *newer* makes it no shorter, and no longer than its token."""
        ends_by = newer.expires_at if self.ends_by is None else self.ends_by
        return self.expires_at <= newer.expires_at <= ends_by

    def within_token(self, newer: "Lease") -> "Lease":
        """A renewal to *newer* that goes no further than the token."""
        if self.ends_by is None or self.ends_by >= newer.expires_at:
            return newer
        return replace(newer, expires_at=self.ends_by)

    def takes_ping(self, newer: "Lease", *, is_active: bool | None, heard_by: int) -> bool:
        """Whether a ping renews it to *newer* and changes nothing else.

        It was heard at `heard_by` or before, its token is good, and `lasts` and `is_active` are as
        they were.
        """
        is_good = newer.seen_at < newer.expires_at and self.takes(newer)
        is_same = newer.lasts == self.lasts and is_active in (None, self.is_active)
        return is_good and is_same and self.seen_at <= heard_by

    def renewed_by(self, newer: "Lease") -> "Lease":
        """A renewal at the time of *newer*, which lasts as long as this does."""
        if self.lasts is None:
            return newer
        expires_at = newer.seen_at + self.lasts
        return self.within_token(replace(newer, expires_at=expires_at, lasts=self.lasts))


#: Status, text, data, and chat sessions, each with its instant if that is not when the rest ends.
Scene: TypeAlias = tuple[Status, str | None, str | None, frozenset[tuple[str, int | None]]]


@dataclass(frozen=True, slots=True)
class Farewell:
    """What viewers go on seeing of a user who hides, as if the last connection had been closed.

    Hiding looks like closing a tab, so it is told when the grace period would end: at `until`.
    `sessions` are chat sessions, each with the instant at which the user is seen to leave it.
    """

    until: int
    status: Status
    text: str | None = None
    sessions: Mapping[str, int] = field(default_factory=dict)
    data: str | None = None

    @property
    def ends(self) -> frozenset[int]:
        return frozenset({self.until, *self.sessions.values()})

    @property
    def scene(self) -> Scene:
        """The same but for the instant: quick blocks, one after the other, have it in common."""
        leaving = ((name, None if at == self.until else at) for name, at in self.sessions.items())
        return self.status, self.text, self.data, frozenset(leaving)

    def at(self, now: int) -> "Farewell | None":
        """What of it is left at *now*."""
        if self.until <= now:
            return None
        left = {name: until for name, until in self.sessions.items() if until > now}
        return self if len(left) == len(self.sessions) else replace(self, sessions=left)


@dataclass(frozen=True, slots=True)
class FrozenView:
    """What a blocked viewer goes on seeing: a user who left at the time of the block, or before.

    `farewell` is what is seen until the leaving is told, and `disclosure` what the user had chosen:
    a later choice would show that the user is there.
    """

    last_seen: int | None
    version: int
    farewell: Farewell | None = None
    disclosure: Disclosure = Disclosure.EXACT


@dataclass(frozen=True, slots=True)
class Returned:
    """A viewer who was blocked, and holds a version and a `last_seen` that others do not.

    The viewer's versions are `ahead` of the public ones, so that unblocking raises those for no
    other viewer; `last_seen` is the one from the time of the block.
    """

    ahead: int
    last_seen: int | None = None


@dataclass(frozen=True, slots=True)
class EarlierChoice:
    """A choice that comes back when a timed one ends, unless it has ended by then."""

    choice: Choice = Choice.ONLINE
    text: str | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class User:
    """The aggregate: changed as a whole, by compare-and-swap on `revision`.

    `version` grows only when the public view changes, so that it cannot reveal that an invisible
    user comes and goes. `own_version` is the same for the user's own devices.

    `pending_leaves` are chat sessions of closed connections, each with the instant at which the
    user leaves it. They matter only while no lease is in that chat session, as `grace_until`
    matters only without any lease. `blocked` are the viewers who see the user offline, each with
    what they go on seeing; `returned` are viewers who were blocked. `farewell` is what all others
    go on seeing of a user who became invisible. `standing` is what the back end has decided.

    `data` is no part of a choice, and is kept as JSON (see the module `data`). `earlier` are the
    choices that come back when timed ones end, the next one last, and `chosen_at` is when the user
    chose. `active_at` is when a person was last at a device that is not active any more, as far as
    others may learn it. `floor` is a version that an unknown user has to exceed. `arrival` is the
    state of the user's rate limit (see `rate_limit.Take`), `probed_at` is when the user's
    connections were last asked whether they are there, and `has_blocked` says whether there ever
    was a viewer in `blocked`.
    """

    user_id: str
    revision: int = 0
    version: int = 0
    own_version: int = 0
    leases: Mapping[str, Lease] = field(default_factory=dict)
    choice: Choice = Choice.ONLINE
    text: str | None = None
    data: str | None = None
    until: int | None = None
    earlier: tuple[EarlierChoice, ...] = ()
    chosen_at: int = 0
    status: Status = Status.OFFLINE
    grace_until: int | None = None
    pending_leaves: Mapping[str, int] = field(default_factory=dict)
    farewell: Farewell | None = None
    last_seen: int | None = None
    active_at: int = 0
    disclosure: Disclosure = Disclosure.EXACT
    blocked: Mapping[str, FrozenView] = field(default_factory=dict)
    returned: Mapping[str, Returned] = field(default_factory=dict)
    standing: Standing = field(default_factory=Standing)
    floor: int = 0
    rules: Rules = field(default_factory=Rules)
    arrival: int = 0
    probed_at: int = 0
    has_blocked: bool = False

    def erased(self) -> "User":
        """What must be kept until others are told: they drop versions that they already hold.

        The version is raised beyond those of viewers who were blocked once, so that nothing has to
        name these any more. What the back end refused stays refused.
        """
        ahead = (self.version + it.ahead + 1 for it in self.returned.values())
        return User(
            self.user_id,
            revision=self.revision,
            version=max((self.version, *ahead)),
            own_version=self.own_version,
            blocked=self.blocked,
            standing=self.standing,
            rules=self.rules,
            arrival=self.arrival,
            probed_at=self.probed_at,
            has_blocked=self.has_blocked,
        )

    def arrivals(self, connection_id: str) -> Arrivals:
        """The state of the rate limits of one of the user's connections."""
        lease = self.leases.get(connection_id)
        return Arrivals(self.arrival, lease.arrival if lease else 0)

    @property
    def precision(self) -> Precision:
        """How exactly others are told `last_seen`."""
        return self.rules.precision_with(self.disclosure)

    @property
    def newest_version(self) -> int:
        """The greatest version that any viewer was told."""
        returned = (self.version + it.ahead for it in self.returned.values())
        frozen = (it.version for it in self.blocked.values())
        return max(self.version, self.own_version, *returned, *frozen)

    @property
    def farewells(self) -> tuple[Farewell, ...]:
        """Those of all viewers."""
        found = (self.farewell, *(it.farewell for it in self.blocked.values()))
        return tuple(it for it in found if it is not None)

    @property
    def is_listed(self) -> bool:
        """Whether any viewer may see the user online."""
        return self.is_here or bool(self.farewells)

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
    def name_bytes(self) -> int:
        """What ids, names of devices, texts and data take that are stored, compressed."""
        return self.name_bytes_with()

    def name_bytes_with(self, *more: str) -> int:
        ids = {*self.blocked, *self.returned, *self.all_sessions, *self.standing.barred, *more}
        devices = {it.device for it in self.leases.values()}
        texts = {*(it.text for it in self.earlier), *(it.text for it in self.farewells)}
        said = {*texts, self.text, self.data, *(it.data for it in self.farewells)}
        words = {*ids, *(it for it in {*devices, *said} if it is not None)}
        text = "\n".join(sorted(words)).encode()
        return len(text) if len(text) <= MAX_NAME_BYTES else len(zlib.compress(text, 9))

    @property
    def joined_sessions(self) -> frozenset[str]:
        """The chat sessions that a connection is in."""
        return frozenset[str]().union(*(it.sessions for it in self.leases.values()))

    @property
    def all_sessions(self) -> frozenset[str]:
        """The chat sessions in which the user is, or is seen by any viewer."""
        return self.sessions.union(*(it.sessions for it in self.farewells))

    @property
    def special_viewers(self) -> frozenset[str]:
        """The other users whose view may differ from the public one."""
        return frozenset({*self.blocked, *self.returned})

    @property
    def presence(self) -> Presence:
        """The public view: what every viewer sees who is not blocked."""
        last_seen = self.precision.coarsen(self.last_seen)
        if self.status is Status.OFFLINE:
            return Presence(self.user_id, self.status, last_seen, self.version)
        shown = self if self.farewell is None else self.farewell
        status, text, data = self.status, shown.text, shown.data
        return Presence(self.user_id, status, last_seen, self.version, text, data=data)

    @property
    def own_presence(self) -> Presence:
        """The truth, as the user's own devices see it; what they chose, also while offline."""
        is_hidden = self.choice is Choice.INVISIBLE or self.farewell is not None
        status = Status.INVISIBLE if self.choice is Choice.INVISIBLE else Status.OFFLINE
        return Presence(
            self.user_id,
            (status if self.is_here else Status.OFFLINE) if is_hidden else self.status,
            self.last_seen,
            self.own_version,
            self.text,
            self.until,
            None if self.disclosure is Disclosure.EXACT else self.disclosure,
            data=self.data,
        )

    def seen_by(self, viewer_id: str | None) -> Presence:
        """As *viewer_id* sees the user; None is a reader without a token."""
        if viewer_id == self.user_id:
            return self.own_presence
        if viewer_id is None:
            return self.presence
        if (frozen_view := self.blocked.get(viewer_id)) is not None:
            return self._frozen(frozen_view)
        if (returned := self.returned.get(viewer_id)) is not None:
            last_seen = max(self.last_seen or 0, returned.last_seen or 0) or None
            return replace(
                self.presence,
                version=self.version + returned.ahead,
                last_seen=self.precision.coarsen(last_seen),
            )
        return self.presence

    def _frozen(self, view: FrozenView) -> Presence:
        last_seen = self.rules.precision_with(view.disclosure).coarsen(view.last_seen)
        if (it := view.farewell) is not None:
            status, text, data = it.status, it.text, it.data
            return Presence(self.user_id, status, last_seen, view.version, text, data=data)
        return Presence(self.user_id, Status.OFFLINE, last_seen, view.version)

    def farewell_for(self, viewer_id: str | None) -> Farewell | None:
        """What *viewer_id* sees instead of a user who hides; None if the user does not, or left."""
        if viewer_id is not None and viewer_id in self.blocked:
            return self.blocked[viewer_id].farewell
        return self.farewell

    def sessions_seen_by(self, viewer_id: str | None) -> frozenset[str]:
        """The chat sessions in which *viewer_id* sees the user; none if the user looks offline."""
        if (farewell := self.farewell_for(viewer_id)) is not None:
            return frozenset(farewell.sessions)
        if not may_see(viewer_id, self) or not self.presence.is_online:
            return frozenset()
        return self.sessions

    def is_seen_acting_by(self, viewer_id: str | None) -> bool:
        """Whether *viewer_id* may learn that the user does something at this moment."""
        is_leaving = viewer_id != self.user_id and self.farewell_for(viewer_id) is not None
        return self.seen_by(viewer_id).is_online and not is_leaving

    @property
    def audiences(self) -> Mapping[str, "Audience"]:
        """For each chat session in which any other viewer sees the user, which viewers do."""
        usual = self.sessions_seen_by(None)
        blocked = {name: self.sessions_seen_by(name) for name in self.blocked}
        found = dict[str, Audience]()
        for session_id in self.all_sessions:
            seen = frozenset(name for name, sessions in blocked.items() if session_id in sessions)
            if session_id in usual:
                found[session_id] = Audience(hidden_from=frozenset(blocked.keys() - seen))
            elif seen:
                found[session_id] = Audience(only_for=seen)
        return found

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
        told = (at for it in self.farewells for at in it.ends)
        times: Iterable[int | None] = (grace_or_choice, *expected, *tokens, *told)
        return min((at for at in times if at is not None), default=None)


@dataclass(frozen=True, slots=True)
class Audience:
    """The viewers who see a user in a chat session: all but some, or only some."""

    hidden_from: frozenset[str] = frozenset()
    only_for: frozenset[str] = frozenset()

    def has(self, viewer_id: str | None) -> bool:
        if self.only_for:
            return viewer_id in self.only_for
        return viewer_id not in self.hidden_from


def may_see(viewer_id: str | None, target: User) -> bool:
    """The one rule of privacy: snapshots, HTTP reads and fan-out all ask here."""
    return viewer_id not in target.blocked
