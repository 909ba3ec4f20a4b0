"""The real use cases on fakes, with a clock that tests move."""

import itertools
import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Protocol

from presence.application.blocking import Privacy
from presence.application.chat_sessions import MemberPage, Sessions
from presence.application.connections import Durations, Lifecycle, Welcome
from presence.application.expiry import Settling, Sweep
from presence.application.statuses import Statuses
from presence.application.watching import Watching
from presence.domain.connection import AllowedSessions, Identity
from presence.domain.errors import PresenceError
from presence.domain.user import Choice, Presence, User
from presence.fanout import sinks
from presence.fanout.announcer import Announced, Announcer
from presence.fanout.broadcast import Broadcast
from presence.fanout.diffs import Record
from presence.fanout.dispatch import Dispatcher
from presence.fanout.large_rooms import LargeRooms
from presence.ports import (
    Authorizer,
    ConnectionRecords,
    Deliveries,
    Gateway,
    Jobs,
    Members,
    OnlineIndex,
    Subscriptions,
    Timers,
    Users,
)
from presence.protocol.requests import SetStatus
from tests.fakes import (
    FakeAuthorizer,
    FakeConnections,
    FakeDeliveries,
    FakeGateway,
    FakeMembers,
    FakeOnlineIndex,
    FakeSubscriptions,
    FakeTables,
    FakeTimers,
    FakeUsers,
)

START = 1_800_000_000_000
SECOND = 1_000
HEARTBEAT, LEASE, GRACE, AUTHENTICATION, CONNECTION = 30_000, 75_000, 10_000, 10_000, 7_200_000
TICK = 2_000
ENDPOINT = "https://api.example/live"
TOKEN_LIFE = 3_600_000


class Queue(Deliveries, Jobs, Protocol):
    """Both have one queue."""


@dataclass(frozen=True)
class Ports:
    """What the use cases stand on."""

    connections: ConnectionRecords
    users: Users
    subscriptions: Subscriptions
    members: Members
    online_index: OnlineIndex
    timers: Timers
    gateway: Gateway
    deliveries: Queue
    authorizer: Authorizer


class UseCases:
    """The real ones; what they stand on is the caller's."""

    def __init__(self, ports: Ports, *, is_global: bool, large: int) -> None:
        self.ids = itertools.count()
        self.lifecycle = Lifecycle(
            ports.connections,
            ports.users,
            ports.subscriptions,
            ports.online_index,
            ports.timers,
            Durations(HEARTBEAT, LEASE, GRACE, AUTHENTICATION, CONNECTION),
            ENDPOINT,
        )
        self.statuses = Statuses(ports.users, ports.online_index, ports.timers)
        self.dispatcher = Dispatcher(ports.gateway, ports.deliveries, ports.timers)
        self.broadcast = Broadcast(
            ports.subscriptions, ports.users, ports.deliveries, self.dispatcher
        )
        self.sessions = Sessions(
            self.lifecycle,
            self.statuses,
            self.broadcast,
            ports.members,
            self.dispatcher,
            ports.authorizer,
            new_id=lambda: f"{next(self.ids):04x}",
        )
        self.watching = Watching(
            self.lifecycle, self.statuses, ports.subscriptions, self.dispatcher
        )
        self.privacy = Privacy(ports.users, ports.subscriptions, self.lifecycle, self.dispatcher)
        self.subscriptions, self.members = ports.subscriptions, ports.members
        self.is_global = is_global
        self.large_rooms = LargeRooms(
            ports.members,
            ports.users,
            ports.subscriptions,
            self.broadcast,
            ports.timers,
            large,
            TICK // SECOND,
        )
        self.announcer = Announcer(
            ports.users, ports.online_index, [make(self) for make in sinks.SINKS]
        )
        self.settling = Settling(ports.connections, self.dispatcher, self.lifecycle)
        self.sweeping = Sweep(ports.users, ports.online_index, self.lifecycle)


@dataclass
class World(UseCases):
    """Nothing happens by itself: tests connect, wait, deliver the stream and run the sweep."""

    now: int = START
    is_global: bool = True
    large: int = 1_000
    page: int = 1_000
    tables: FakeTables = field(default_factory=FakeTables)
    timers: FakeTimers = field(default_factory=FakeTimers)
    gateway: FakeGateway = field(default_factory=FakeGateway)
    deliveries: FakeDeliveries = field(default_factory=FakeDeliveries)
    authorizer: FakeAuthorizer = field(default_factory=FakeAuthorizer)
    announced: int = 0

    def __post_init__(self) -> None:
        self.connections = FakeConnections(self.tables)
        self.users = FakeUsers(self.tables, is_global=self.is_global)
        self.subscriptions = FakeSubscriptions(self.tables, self.page)
        self.members = FakeMembers(self.tables)
        self.online_index = FakeOnlineIndex(self.tables)
        ports = Ports(
            self.connections,
            self.users,
            self.subscriptions,
            self.members,
            self.online_index,
            self.timers,
            self.gateway,
            self.deliveries,
            self.authorizer,
        )
        super().__init__(ports, is_global=self.is_global, large=self.large)

    # ── what people do ─────────────────────────────────────────────────────────────────

    def wait(self, milliseconds: int) -> None:
        self.now += milliseconds

    def open(self, connection_id: str) -> None:
        self.lifecycle.connect(connection_id, self.now)

    def authenticate(
        self,
        user_id: str,
        connection_id: str,
        *,
        token_life: int = TOKEN_LIFE,
        is_active: bool | None = None,
        allowed: AllowedSessions = None,
    ) -> Welcome:
        identity = Identity(user_id, self.now + token_life, allowed_sessions=allowed)
        gate = self.connections.read(connection_id)
        opened_at = self.now if gate is None else gate.opened_at
        return self.lifecycle.authenticate(
            connection_id, identity, None, opened_at, self.now, is_active=is_active
        )

    def join(self, user_id: str, connection_id: str, *, is_active: bool | None = None) -> Welcome:
        self.open(connection_id)
        return self.authenticate(user_id, connection_id, is_active=is_active)

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
        return self.sessions.join(connection_id, session_id, self.now, lambda: self.now)

    def exit(self, connection_id: str, session_id: str) -> None:
        self.sessions.leave(connection_id, session_id, self.now)

    def choose(
        self, user_id: str, choice: Choice, text: str | None = None, until: int | None = None
    ) -> User:
        return self.statuses.choose(user_id, SetStatus(choice, text, until), self.now)

    # ── what AWS does ──────────────────────────────────────────────────────────────────

    def stream(self) -> Announced:
        """Deliver what was written since the last time."""
        records = self.tables.stream[self.announced :]
        self.announced = len(self.tables.stream)
        return self.announcer.announce([Record(*images, at=self.now) for images in records])

    def work(self) -> int:
        """Do each job, and those that follow from it; how many there were."""
        count = 0
        while self.deliveries.jobs:
            self.broadcast.work(self.deliveries.jobs.pop(0), self.now)
            count += 1
        return count

    def deliver(self) -> int:
        """Deliver all posts that wait, and those that have to wait again; how many there were."""
        count = 0
        while self.deliveries.waiting:
            post, attempt, _ = self.deliveries.waiting.pop(0)
            self.dispatcher.deliver([post], attempt)
            count += 1
        return count

    def fire_timers(self) -> None:
        """Deliver every timer that was asked for so far, due or not."""
        asked, self.timers.asked = self.timers.asked, []
        for what, which, _ in asked:
            check = self.settling.user if what == "user" else self.settling.connection
            check(which, self.now)
        lapsed, self.timers.lapsed = self.timers.lapsed, []
        for connection_id, user_id, sessions, _ in lapsed:
            self.settling.lapsed(connection_id, user_id, sessions, self.now)
        rooms, self.timers.rooms = self.timers.rooms, []
        for session_id, tick, _ in rooms:
            self.large_rooms.tick(session_id, tick, self.now)
        gone, self.timers.gone = self.timers.gone, []
        for connection_id, at in gone:
            self.settling.gone(connection_id, at, self.now)

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
