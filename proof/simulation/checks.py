"""What must hold, looked at with every item that is written, and every frame that a client hears.

The names are those of the invariants in docs/reliability.md.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from presence.domain.connection import State
from presence.domain.user import Choice, Presence, Status, User
from proof.simulation.memory import Name
from tests.world import GRACE, LEASE, LONG_LEASE, PROBE

#: What every frame and every answer says of a user.
Said = dict[str, Any]
#: Frames that say which heartbeat a client keeps.
NAMING = ("authenticate", "ping")
EVERYWHERE = ""
#: Much shorter than a heartbeat, so that there is something to ask for.
#: Longer than two clocks are apart: an answer that a slow clock has handled is evidence, too.
FRESH = 7_000
#: Nothing takes more milliseconds from where it begins to its last write.
WORK_LASTS = 60_000


class Violation(AssertionError):
    """A promise is broken."""


@dataclass
class Checks:
    """`margin` is how far the clocks of two hosts may be apart, in milliseconds.

    `most` is how many connections a user may have, and `late` how long a frame may be on its way.
    """

    clock: Callable[[], int]
    margin: int
    most: int
    late: int
    #: Until when a connection certainly lives: a lease from when its newest acknowledged frame was
    #: sent, if its token is good for so long. It closes, or is closed: no longer.
    lives_until: dict[str, int] = field(default_factory=dict)
    #: In which chat sessions a connection is for as long as it lives.
    held: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    #: When another connection took the place of one.
    replaced: dict[str, int] = field(default_factory=dict)
    #: Connections that were ended to the end, by `$disconnect` or on request, and when.
    finished: dict[str, int] = field(default_factory=dict)
    said: dict[tuple[str | None, str, int], Said] = field(default_factory=dict)
    #: Who has named the background's heartbeat, and when each named the usual one last.
    slow: set[str] = field(default_factory=set)
    usual_at: dict[str, int] = field(default_factory=dict)
    #: When a connection was last sent a probe, and each that was: for whom, and when it was marked.
    probed: dict[str, int] = field(default_factory=dict)
    probes: set[tuple[str, int]] = field(default_factory=set)
    #: By user and connection, until when the user may be online because of it.
    possible: defaultdict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    #: Until when it must not be visible that a user has gone, out of a chat session or altogether.
    expected_until: dict[tuple[str, str], int] = field(default_factory=dict)
    asked_at: dict[tuple[str, str], int] = field(default_factory=dict)

    # ── what is written ────────────────────────────────────────────────────────────────

    def wrote(self, name: Name, before: Any, after: Any) -> None:
        table, key, row = name
        if table == "users":
            self._user(before or User(key), after or User(key))
        elif table == "connections" and before is not None and after is not None:
            self._record(key, before.state, after.state)
        elif table in ("everyone", "sessions", "watchers") and after is not None:
            connection_id = key if table == "everyone" else row
            self.require(connection_id not in self.finished, "I6", f"{name} is written again")

    def _record(self, connection_id: str, before: State, after: State) -> None:
        stays = before is not State.CLOSED or after is State.CLOSED
        self.require(stays, "I6", f"the connection record of {connection_id} opens again")

    def _user(self, before: User, after: User) -> None:
        user_id = after.user_id
        is_hidden = after.choice is Choice.INVISIBLE
        is_seen = not after.leases or after.status is not Status.OFFLINE or is_hidden
        self.require(is_seen, "I1", f"leases, and offline: {after}")
        ghosts = after.leases.keys() & self.finished
        self.require(not ghosts, "I6", f"leases of {ghosts} come back: {after}")
        for old, new in (
            (before.presence, after.presence),
            (before.own_presence, after.own_presence),
        ):
            grows = new.equals_except_version(old) or new.version > old.version
            self.require(grows, "I3", f"another state, and no greater version: {old} {new}")
        self._hidden(before, after)
        self._probed(before, after)
        self._replaced(before, after)
        for connection_id in before.leases.keys() - after.leases.keys():
            self.require(
                not self.must_live(connection_id), "I2", f"{connection_id} loses its lease"
            )
        for connection_id, lease in after.leases.items():
            lost = self.held[connection_id] - lease.sessions
            is_lost = bool(lost) and self.must_live(connection_id)
            self.require(not is_lost, "I2", f"{connection_id} is not in {lost} any more")
        if not is_hidden and not after.presence.is_online:
            is_expected = before.presence.is_online and self._is_expected(user_id, EVERYWHERE)
            self.require(not is_expected, "I7", f"{user_id} is offline within grace")
        for it in before.sessions - after.sessions:
            is_expected = self._is_expected(user_id, it)
            self.require(not is_expected, "I7", f"{user_id} is out of {it} within grace")

    def _replaced(self, before: User, after: User) -> None:
        """One connection too many takes the place of the one that was heard longest ago."""
        self.require(len(after.leases) <= self.most, "I14", f"too many leases: {after}")
        lost = before.leases.keys() - after.leases.keys()
        if not after.leases.keys() - before.leases.keys() or len(before.leases) < self.most:
            return
        oldest = min((it.seen_at, name) for name, it in before.leases.items())[1]
        if oldest in lost:
            self.replaced[oldest] = self.clock()
            self.ends(oldest)

    def _hidden(self, before: User, after: User) -> None:
        """A viewer that the user hides from sees the user leave once, and nothing else."""
        viewers: set[str | None] = {*(before.blocked.keys() & after.blocked.keys())}
        # One that ends by itself may have ended in between.
        if before.choice is after.choice is Choice.INVISIBLE and before.until is None:
            viewers.add(None)
        for viewer_id in viewers:
            old, new = before.seen_by(viewer_id), after.seen_by(viewer_id)
            left = replace(old, status=Status.OFFLINE, text=None, version=new.version)
            stays = new == old or (old.is_online and new == left)
            self.require(stays, "I10", f"{viewer_id} sees {new} after {old}")

    def must_live(self, connection_id: str, ahead: int = 0) -> bool:
        """Whether the lease of a connection cannot be over, now or so much later."""
        return self.clock() + ahead < self.lives_until.get(connection_id, 0) - self.margin

    # ── what is acknowledged ───────────────────────────────────────────────────────────

    def sent(self, connection_id: str, action: str, *, is_slow: bool) -> None:
        """A client may say which heartbeat it keeps: with the usual one, its lease may be short."""
        if is_slow:
            self.slow.add(connection_id)
        if is_slow or action not in NAMING:
            return
        now = self.clock()
        self.usual_at[connection_id] = now
        if connection_id in self.lives_until:
            self.lives_until[connection_id] = min(self.lives_until[connection_id], now + LEASE)

    def acknowledged(
        self, connection_id: str, sent_at: int, limit: int, user: User | None, *, is_slow: bool
    ) -> None:
        """A frame was answered; its token is over at *limit*, and *user* is what is stored.

        One that names the usual heartbeat may be handled so much later, and counts then.
        """
        if sent_at <= self.replaced.get(connection_id, 0):
            return
        is_long = is_slow and self.usual_at.get(connection_id, 0) + self.late + WORK_LASTS < sent_at
        until = sent_at + (LONG_LEASE if is_long else LEASE)
        probed_at = self.probed.get(connection_id, 0)
        if sent_at <= probed_at:  # it may have been handled before the probe
            until = min(until, probed_at + PROBE)
        until = max(until, self.lives_until.get(connection_id, 0))
        self.lives_until[connection_id] = min(until, limit)
        if self.must_live(connection_id):
            has_lease = user is not None and connection_id in user.leases
            self.require(has_lease, "I2", f"{connection_id} is acknowledged without a lease")

    def is_probed(self, connection_id: str, user: User) -> None:
        """API Gateway takes a probe: it is answered in time, or the lease ends."""
        self.probed[connection_id] = self.clock()
        if connection_id in self.lives_until:
            until = min(self.lives_until[connection_id], self.clock() + PROBE)
            self.lives_until[connection_id] = until
        probe = connection_id, user.probed_at
        self.require(probe not in self.probes, "I22", f"{connection_id} is probed twice at once")
        self.probes.add(probe)

    def _probed(self, before: User, after: User) -> None:
        """A probe comes once in a while, and changes nothing but the ends of leases."""
        versions = (before.version, before.own_version)
        seen = replace(after, version=before.version, own_version=before.own_version)
        seen = replace(seen, revision=before.revision, arrival=before.arrival)
        is_unseen = replace(seen, leases=before.leases) == before
        if is_unseen and before.leases.keys() == after.leases.keys():
            is_same = (after.version, after.own_version) == versions
            self.require(is_same, "I21", f"another version, and nothing to see: {before} {after}")
        if after.probed_at == before.probed_at:
            return
        is_due = not before.probed_at or after.probed_at - before.probed_at >= FRESH
        self.require(is_due, "I22", f"probed at {before.probed_at}, and again: {after}")
        is_same = replace(after, probed_at=before.probed_at) == before
        self.require(is_same, "I21", f"a probe changes {before}: {after}")

    def ends(self, connection_id: str) -> None:
        self.lives_until.pop(connection_id, None)
        self.held.pop(connection_id, None)

    def finishes(self, connection_id: str) -> None:
        """Nothing of it is left, and nothing brings it back."""
        self.ends(connection_id)
        self.finished.setdefault(connection_id, self.clock())

    def has_closed(self, user_id: str, connection_id: str, until: int) -> None:
        """Its `$disconnect` was handled to the end: until then the user is expected back."""
        self.finishes(connection_id)
        self.possible[user_id][connection_id] = until

    def has_left(self, connection_id: str, user: User) -> None:
        """Its user has left on purpose, and was told so: without a grace period."""
        self.finishes(connection_id)
        known = self.possible[user.user_id]
        known.pop(connection_id, None)
        is_over = max(known.values(), default=0) + self.margin < self.clock()
        self.require(not (is_over and user.is_here), "I7", f"{user} has left, and is here")

    def loses(self, user_id: str, session_id: str) -> None:
        """None of the user's connections has to stay in a chat session."""
        for connection_id, rooms in self.held.items():
            if connection_id.startswith(f"{user_id}-"):
                rooms.discard(session_id)

    def closes(self, user_id: str, rooms: Iterable[str]) -> None:
        """Expected back, in these chat sessions too; a lease keeps the user if no frame is sent."""
        until = self.clock() + GRACE - self.margin
        for it in (EVERYWHERE, *rooms):
            self.expected_until[user_id, it] = until

    def leaves(self, user_id: str, room: str = EVERYWHERE) -> None:
        """Any device of the user asks for it: the frame may be handled after later ones."""
        self.asked_at[user_id, room] = self.clock()

    def _is_expected(self, user_id: str, room: str) -> bool:
        if self.clock() >= self.expected_until.get((user_id, room), 0):
            return False
        asked_at = max(self.asked_at.get((user_id, it), 0) for it in (room, EVERYWHERE))
        return asked_at + WORK_LASTS < self.clock()

    def may_be_here(self, user_id: str, connection_id: str, until: int) -> None:
        """Because of something that a connection sends, or because it is closed."""
        if connection_id not in self.finished:
            known = self.possible[user_id]
            known[connection_id] = max(until, known.get(connection_id, 0))

    # ── what is said ───────────────────────────────────────────────────────────────────

    def hears(self, viewer_id: str | None, said: Said) -> None:
        key = (viewer_id, said["userId"], said["version"])
        known = self.said.setdefault(key, said)
        self.require(known == said, "I3", f"one version, two states for {key}: {known} {said}")

    def read(self, presence: Presence, asked_at: int) -> None:
        """HTTP says who is online, by the clock."""
        until = max(self.possible[presence.user_id].values(), default=0)
        is_late = asked_at > until + self.margin
        self.require(
            not (is_late and presence.is_online), "I5", f"{presence} at {asked_at}, after {until}"
        )

    def sends(self, viewer_id: str, said: Said, user: User | None, began_at: int) -> None:
        """A frame leaves for a viewer who may have been blocked meanwhile, but not before."""
        if user is None or viewer_id not in user.blocked or said["status"] == "offline":
            return
        if user.blocked[viewer_id].farewell is not None:
            return  # the viewer is not told yet
        blocked_at = user.blocked[viewer_id].version
        is_new = blocked_at > began_at - self.margin
        self.require(is_new, "I10", f"{viewer_id} hears {said} although blocked")

    def posts(self, connection_id: str, what: str, began_at: int) -> None:
        """What began when a connection was over does not reach it."""
        ended_at = self.finished.get(connection_id)
        is_late = ended_at is not None and ended_at + self.margin < began_at
        self.require(not is_late, "I11", f"{connection_id} hears {what}, and is over")

    def accepted(self, connection_id: str, token_until: int, began_at: int) -> None:
        is_good = began_at <= token_until + self.margin
        self.require(is_good, "I12", f"{connection_id} is served after its token")

    def none_of(self, faults: Iterable[tuple[str, str]]) -> None:
        """Each is a number, and a sentence about what is wrong."""
        for number, sentence in faults:
            self.require(not sentence, number, sentence)

    def require(self, holds: bool, number: str, sentence: str) -> None:
        if not holds:
            raise Violation(f"{number} at {self.clock()}: {sentence}")
