"""What must hold, looked at with every item that is written, and every frame that a client hears.

The names are those of the invariants in docs/reliability.md.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from presence.domain.connection import State
from presence.domain.user import Choice, Presence, Status, User
from proof.simulation.memory import Name
from tests.world import GRACE, LEASE

#: What every frame and every answer says of a user.
Said = dict[str, Any]
EVERYWHERE = ""
#: Nothing takes more milliseconds from where it begins to its last write.
WORK_LASTS = 60_000


class Violation(AssertionError):
    """A promise is broken."""


@dataclass
class Checks:
    """`margin` is how far the clocks of two hosts may be apart, in milliseconds."""

    clock: Callable[[], int]
    margin: int
    #: Until when a connection certainly lives: a lease from when its newest acknowledged frame was
    #: sent, if its token is good for so long. It closes, or is closed: no longer.
    lives_until: dict[str, int] = field(default_factory=dict)
    #: Connections whose `$disconnect` was handled to the end.
    finished: set[str] = field(default_factory=set)
    said: dict[tuple[str | None, str, int], Said] = field(default_factory=dict)
    #: Until when a user may be online, as far as their own actions allow it.
    possible: dict[str, int] = field(default_factory=dict)
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
            self._require(connection_id not in self.finished, "I6", f"{name} is written again")

    def _record(self, connection_id: str, before: State, after: State) -> None:
        stays = before is not State.CLOSED or after is State.CLOSED
        self._require(stays, "I6", f"the connection record of {connection_id} opens again")

    def _user(self, before: User, after: User) -> None:
        user_id = after.user_id
        is_hidden = after.choice is Choice.INVISIBLE
        is_seen = not after.leases or after.status is not Status.OFFLINE or is_hidden
        self._require(is_seen, "I1", f"leases, and offline: {after}")
        ghosts = after.leases.keys() & self.finished
        self._require(not ghosts, "I6", f"leases of {ghosts} come back: {after}")
        for old, new in (
            (before.presence, after.presence),
            (before.own_presence, after.own_presence),
        ):
            grows = new.equals_except_version(old) or new.version > old.version
            self._require(grows, "I3", f"another state, and no greater version: {old} {new}")
        self._hidden(before, after)
        for connection_id in before.leases.keys() - after.leases.keys():
            self._require(
                not self.must_live(connection_id), "I2", f"{connection_id} loses its lease"
            )
        if not is_hidden and not after.presence.is_online:
            is_expected = before.presence.is_online and self._is_expected(user_id, EVERYWHERE)
            self._require(not is_expected, "I7", f"{user_id} is offline within grace")
        for it in before.sessions - after.sessions:
            is_expected = self._is_expected(user_id, it)
            self._require(not is_expected, "I7", f"{user_id} is out of {it} within grace")

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
            self._require(stays, "I10", f"{viewer_id} sees {new} after {old}")

    def must_live(self, connection_id: str, ahead: int = 0) -> bool:
        """Whether the lease of a connection cannot be over, now or so much later."""
        return self.clock() + ahead < self.lives_until.get(connection_id, 0) - self.margin

    # ── what is acknowledged ───────────────────────────────────────────────────────────

    def acknowledged(self, connection_id: str, sent_at: int, limit: int, user: User | None) -> None:
        """A frame was answered; its token is over at *limit*, and *user* is what is stored."""
        until = max(sent_at + LEASE, self.lives_until.get(connection_id, 0))
        self.lives_until[connection_id] = min(until, limit)
        if self.must_live(connection_id):
            has_lease = user is not None and connection_id in user.leases
            self._require(has_lease, "I2", f"{connection_id} is acknowledged without a lease")

    def ends(self, connection_id: str) -> None:
        self.lives_until.pop(connection_id, None)

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

    def may_be_here(self, user_id: str, until: int) -> None:
        self.possible[user_id] = max(until, self.possible.get(user_id, 0))

    # ── what is said ───────────────────────────────────────────────────────────────────

    def hears(self, viewer_id: str | None, said: Said) -> None:
        key = (viewer_id, said["userId"], said["version"])
        known = self.said.setdefault(key, said)
        self._require(known == said, "I3", f"one version, two states for {key}: {known} {said}")

    def read(self, presence: Presence, asked_at: int) -> None:
        """HTTP says who is online, by the clock."""
        until = self.possible.get(presence.user_id, 0)
        is_late = asked_at > until + self.margin
        self._require(
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
        self._require(is_new, "I10", f"{viewer_id} hears {said} although blocked")

    def accepted(self, connection_id: str, token_until: int, began_at: int) -> None:
        is_good = began_at <= token_until + self.margin
        self._require(is_good, "I12", f"{connection_id} is served after its token")

    def _require(self, holds: bool, number: str, sentence: str) -> None:
        if not holds:
            raise Violation(f"{number} at {self.clock()}: {sentence}")
