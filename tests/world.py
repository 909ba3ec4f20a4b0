"""The real use cases on fakes, with a clock that tests move."""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from presence.domain.connection import Identity
from presence.domain.errors import PresenceError
from presence.domain.requests import SetStatus
from presence.domain.user import Choice, Presence, User
from presence.use_cases.announcements import Announcements, Record
from presence.use_cases.connections import Durations, Lifecycle, Welcome
from presence.use_cases.courier import Courier
from presence.use_cases.privacy import Privacy
from presence.use_cases.sessions import MemberPage, Sessions
from presence.use_cases.statuses import Statuses
from presence.use_cases.upkeep import Settling, Sweep
from presence.use_cases.watching import Watching
from tests.fakes import (
    FakeConnections,
    FakeDeliveries,
    FakeDoorkeeper,
    FakeGateway,
    FakeMembers,
    FakeRoster,
    FakeSubscriptions,
    FakeTables,
    FakeTimers,
    FakeUsers,
)

START = 1_800_000_000_000
SECOND = 1_000
HEARTBEAT, LEASE, GRACE, AUTHENTICATION, CONNECTION = 30_000, 75_000, 10_000, 10_000, 7_200_000
ENDPOINT = "https://api.example/live"
TOKEN_LIFE = 3_600_000


@dataclass
class World:
    """Nothing happens by itself: tests connect, wait, deliver the stream and run the sweep."""

    now: int = START
    is_global: bool = True
    tables: FakeTables = field(default_factory=FakeTables)
    timers: FakeTimers = field(default_factory=FakeTimers)
    gateway: FakeGateway = field(default_factory=FakeGateway)
    deliveries: FakeDeliveries = field(default_factory=FakeDeliveries)
    doorkeeper: FakeDoorkeeper = field(default_factory=FakeDoorkeeper)
    announced: int = 0
    ids: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.connections = FakeConnections(self.tables)
        self.users = FakeUsers(self.tables, is_global=self.is_global)
        self.subscriptions = FakeSubscriptions(self.tables)
        self.members = FakeMembers(self.tables)
        self.roster = FakeRoster(self.tables)
        self.lifecycle = Lifecycle(
            self.connections,
            self.users,
            self.subscriptions,
            self.roster,
            self.timers,
            Durations(HEARTBEAT, LEASE, GRACE, AUTHENTICATION, CONNECTION),
            ENDPOINT,
        )
        self.statuses = Statuses(self.users, self.roster, self.timers)
        self.courier = Courier(self.gateway, self.deliveries, self.timers)
        self.sessions = Sessions(
            self.lifecycle,
            self.statuses,
            self.subscriptions,
            self.members,
            self.courier,
            self.doorkeeper,
            new_id=lambda: f"{next(self.ids):04x}",
        )
        self.watching = Watching(self.lifecycle, self.statuses, self.subscriptions, self.courier)
        self.privacy = Privacy(self.users, self.subscriptions, self.lifecycle, self.courier)
        self.announcements = Announcements(
            self.subscriptions,
            self.members,
            self.roster,
            self.courier,
            is_global=self.is_global,
        )
        self.settling = Settling(self.connections, self.courier, self.lifecycle)
        self.sweeping = Sweep(self.users, self.roster, self.lifecycle)

    # ── what people do ─────────────────────────────────────────────────────────────────

    def wait(self, milliseconds: int) -> None:
        self.now += milliseconds

    def open(self, connection_id: str) -> None:
        self.lifecycle.connect(connection_id, self.now)

    def authenticate(
        self, user_id: str, connection_id: str, *, token_life: int = TOKEN_LIFE
    ) -> Welcome:
        identity = Identity(user_id, self.now + token_life)
        gate = self.connections.read(connection_id)
        opened_at = self.now if gate is None else gate.opened_at
        return self.lifecycle.authenticate(connection_id, identity, None, opened_at, self.now)

    def join(self, user_id: str, connection_id: str) -> Welcome:
        self.open(connection_id)
        return self.authenticate(user_id, connection_id)

    def ping(self, connection_id: str, *, is_active: bool | None = None) -> None:
        self.lifecycle.ping(connection_id, is_active, self.now)

    def act(self, connection_id: str) -> str:
        return self.lifecycle.act(connection_id, self.now).user.user_id

    def try_ping(self, connection_id: str) -> str:
        """The code of the refusal, or "" for none."""
        try:
            self.ping(connection_id)
        except PresenceError as refusal:
            return refusal.code
        return ""

    def leave(self, connection_id: str) -> None:
        self.lifecycle.disconnect(connection_id, self.now)

    def enter(self, connection_id: str, session_id: str) -> MemberPage:
        return self.sessions.join(connection_id, session_id, self.now)

    def exit(self, connection_id: str, session_id: str) -> None:
        self.sessions.leave(connection_id, session_id, self.now)

    def choose(
        self, user_id: str, choice: Choice, text: str | None = None, until: int | None = None
    ) -> User:
        return self.statuses.choose(user_id, SetStatus(choice, text, until), self.now)

    # ── what AWS does ──────────────────────────────────────────────────────────────────

    def stream(self) -> None:
        """Deliver what was written since the last time."""
        records = self.tables.stream[self.announced :]
        self.announced = len(self.tables.stream)
        self.announcements.announce([Record(*images) for images in records])

    def fire_timers(self) -> None:
        """Deliver every timer that was asked for so far, due or not."""
        asked, self.timers.asked = self.timers.asked, []
        for what, which, _ in asked:
            check = self.settling.user if what == "user" else self.settling.connection
            check(which, self.now)
        lapsed, self.timers.lapsed = self.timers.lapsed, []
        for connection_id, user_id, sessions in lapsed:
            self.settling.lapsed(connection_id, user_id, sessions, self.now)
        gone, self.timers.gone = self.timers.gone, []
        for connection_id in gone:
            self.settling.gone(connection_id, self.now)

    def sweep(self) -> None:
        self.sweeping.run(self.now, lambda: True)

    # ── what can be seen of it ─────────────────────────────────────────────────────────

    def user(self, user_id: str) -> User:
        return self.users.read(user_id)

    def read(self, user_id: str, viewer_id: str | None = None) -> Presence:
        return self.statuses.read(user_id, viewer_id, self.now)

    def heard_by(self, connection_id: str) -> list[tuple[str, str]]:
        """Every (user, status) that a connection was told, in order."""
        return [
            (change["userId"], change["status"])
            for frame in self.frames_of(connection_id)
            for change in frame.get("changes", [])
        ]

    def frames_of(self, connection_id: str) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.gateway.heard.get(connection_id, [])]

    def everything_heard(self) -> dict[str, list[tuple[str, str]]]:
        heard: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for connection_id in self.gateway.heard:
            heard[connection_id] += self.heard_by(connection_id)
        return dict(heard)
