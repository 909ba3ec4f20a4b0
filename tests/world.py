"""The real use cases on fakes, with a clock that tests move."""

import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from presence.adapters.visibility import Everyone
from presence.application.connections import AuthenticateCommand, PingCommand, Welcome
from presence.application.lists import MemberPage
from presence.application.verification import Verified
from presence.bootstrap import App
from presence.domain.connection import Identity
from presence.domain.disclosure import Precision, Rules
from presence.domain.errors import PresenceError, Unavailable
from presence.domain.events import Chosen
from presence.domain.standing import AllowedSessions
from presence.domain.user import Choice, Presence, User
from presence.fanout.announcer import Announced
from presence.fanout.diffs import Record
from presence.limits import DEFAULT_PAGE
from presence.ports import (
    Authorizer,
    ConnectionRecords,
    Gateway,
    Members,
    OnlineIndex,
    Queue,
    SentMessages,
    Subscriptions,
    Timers,
    Tokens,
    Users,
    Visibility,
)
from presence.settings import Settings
from tests.fakes import (
    FakeAuthorizer,
    FakeConnections,
    FakeDeliveries,
    FakeGateway,
    FakeMembers,
    FakeOnlineIndex,
    FakeSentMessages,
    FakeSubscriptions,
    FakeTables,
    FakeTimers,
    FakeTokens,
    FakeUsers,
)

START = 1_800_000_000_000
SECOND = 1_000
HEARTBEAT, LEASE, GRACE, AUTHENTICATION, CONNECTION = 30_000, 75_000, 10_000, 10_000, 7_200_000
#: The heartbeat of a device that is hidden or idle, and how long it counts without one.
BACKGROUND, LONG_LEASE = 540_000, 810_000
TICK = 2_000
FRESH, PROBE = 30_000, 10_000
ENDPOINT = "https://api.example/live"
TOKEN_LIFE = 3_600_000


@dataclass(frozen=True)
class Fakes:
    """What the use cases stand on in tests."""

    records: ConnectionRecords
    users: Users
    subscriptions: Subscriptions
    members: Members
    online_index: OnlineIndex
    timers: Timers
    gateway: Gateway
    deliveries: Queue
    authorizer: Authorizer
    sent: SentMessages
    visibility: Visibility = field(default_factory=Everyone)
    tokens: Tokens = field(default_factory=FakeTokens)


SETTINGS = Settings(
    connections_table="",
    users_table="",
    subscriptions_table="",
    timer_queue_url="",
    delivery_queue_url="",
    callback_url=ENDPOINT,
    websocket_url="",
    token_issuer=frozenset({"https://issuer.example.com"}),
    token_audience=frozenset({"presence"}),
    token_user_claim="sub",
    token_audience_claims=("aud",),
    token_use="any",
    token_claim_prefix="",
    token_secret_parameter="/token-secret",
    token_jwks_url="",
    authorizer_arn="",
    visibility="everyone",
    visibility_arn="",
    allowed_origins=frozenset(),
    heartbeat_seconds=HEARTBEAT // SECOND,
    background_heartbeat_seconds=BACKGROUND // SECOND,
    browser_clients=True,
    grace_seconds=GRACE // SECOND,
    authentication_seconds=AUTHENTICATION // SECOND,
    max_connection_seconds=CONNECTION // SECOND,
    fresh_seconds=FRESH // SECOND,
    probe_seconds=PROBE // SECOND,
    large_audience=1_000,
    tick_seconds=TICK // SECOND,
    global_presence=True,
    public_reads=False,
    last_seen_precision=Precision.EXACT,
)


def settings(*, is_global: bool, large: int, precision: Precision = Precision.EXACT) -> Settings:
    return replace(
        SETTINGS, global_presence=is_global, large_audience=large, last_seen_precision=precision
    )


@dataclass
class World(App):
    """Nothing happens by itself: tests connect, wait, deliver the stream and run the sweep."""

    now: int = START
    is_global: bool = True
    large: int = 1_000
    page: int = 1_000
    precision: Precision = Precision.EXACT
    tables: FakeTables = field(default_factory=FakeTables)
    timers: FakeTimers = field(default_factory=FakeTimers)
    gateway: FakeGateway = field(default_factory=FakeGateway)
    deliveries: FakeDeliveries = field(default_factory=FakeDeliveries)
    authorizer: FakeAuthorizer = field(default_factory=FakeAuthorizer)
    visibility: Visibility = field(default_factory=Everyone)
    announced: int = 0
    #: Who authenticated each connection.
    owners: dict[str, str] = field(default_factory=dict)
    #: What happens while a writer waits that has lost.
    meanwhile: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.records = FakeConnections(self.tables)
        self.users = FakeUsers(
            self.tables, is_global=self.is_global, rules=Rules(GRACE, self.precision, FRESH)
        )
        self.subscriptions = FakeSubscriptions(self.tables, self.page)
        self.members = FakeMembers(self.tables)
        self.online_index = FakeOnlineIndex(self.tables)
        ports = Fakes(
            self.records,
            self.users,
            self.subscriptions,
            self.members,
            self.online_index,
            self.timers,
            self.gateway,
            self.deliveries,
            self.authorizer,
            FakeSentMessages(self.tables),
            self.visibility,
        )
        ids = (f"{number:04x}" for number in itertools.count())
        chosen = settings(is_global=self.is_global, large=self.large, precision=self.precision)
        super().__init__(ports, chosen, ids.__next__, pause=lambda _: self.meanwhile())

    # ── what users do ──────────────────────────────────────────────────────────────────

    def wait(self, milliseconds: int) -> None:
        self.now += milliseconds

    def open(self, connection_id: str) -> None:
        self.connections.open(connection_id, self.now)

    def authenticate(
        self,
        user_id: str,
        connection_id: str,
        *,
        token_life: int = TOKEN_LIFE,
        is_active: bool | None = None,
        allowed: AllowedSessions = None,
        token_id: str | None = None,
        session_ids: Sequence[str] = (),
        device: str | None = None,
        opened_at: int | None = None,
    ) -> Welcome:
        """*opened_at* is what the gateway says; without it, when the record was opened."""
        identity = Identity(
            user_id,
            self.now + token_life,
            allowed_sessions=allowed,
            issued_at=self.now,
            token_id=token_id,
        )
        if opened_at is None:
            record = self.records.read(connection_id)
            opened_at = self.now if record is None else record.opened_at
        command = AuthenticateCommand(
            connection_id, identity, opened_at, device, is_active, session_ids
        )
        welcome = self.connections.authenticate(command, self.now)
        self.owners[connection_id] = user_id
        return welcome

    def join(self, user_id: str, connection_id: str, *, is_active: bool | None = None) -> Welcome:
        self.open(connection_id)
        return self.authenticate(user_id, connection_id, is_active=is_active)

    def ping(
        self, connection_id: str, *, is_active: bool | None = None, user_id: str | None = None
    ) -> None:
        """As the shipped clients do: they name their user, unless another one is said here."""
        named = user_id or self.owners.get(connection_id)
        self.connections.ping(PingCommand(connection_id, named, is_active), self.now)

    def ping_unnamed(self, connection_id: str, *, is_active: bool | None = None) -> None:
        self.connections.ping(PingCommand(connection_id, None, is_active), self.now)

    def act(self, connection_id: str) -> str:
        return self.access.authorize(connection_id, self.now).user.user_id

    def try_ping(self, connection_id: str) -> str:
        """The code of the refusal, or "" for none."""
        try:
            self.ping(connection_id)
        except PresenceError as refusal:
            return refusal.code
        return ""

    def leave(self, connection_id: str) -> None:
        self.connections.disconnect(connection_id, self.now)

    def enter(self, connection_id: str, session_id: str) -> MemberPage:
        entry = self.chat_sessions.join(connection_id, [session_id], self.now)
        for refusal in entry.refused.values():
            raise refusal
        return self.member_list.page(session_id, entry.user.user_id, DEFAULT_PAGE, None, self.now)

    def exit(self, connection_id: str, session_id: str) -> None:
        self.chat_sessions.leave(connection_id, [session_id], self.now)

    def choose(
        self, user_id: str, choice: Choice, text: str | None = None, until: int | None = None
    ) -> User:
        return self.statuses.change(user_id, Chosen(choice, text, until), self.now)

    def hide(self, user_id: str, text: str | None = None, until: int | None = None) -> None:
        """Choose to be invisible, and wait until others are told."""
        self.choose(user_id, Choice.INVISIBLE, text, until)
        self._wait_for_grace(user_id)

    def block(self, user_id: str, viewer_id: str) -> None:
        """Block a viewer, and wait until the viewer is told."""
        self.blocking.block(user_id, viewer_id, self.now)
        self._wait_for_grace(user_id)

    def verify(self, connection_id: str, *user_ids: str) -> Verified:
        verified = self.verification.ask(connection_id, user_ids, self.now)
        self.verification.expect(verified.probes, self.now)
        return verified

    def _wait_for_grace(self, user_id: str) -> None:
        self.wait(GRACE)
        self.on_timer.user(user_id, self.now)

    # ── what AWS does ──────────────────────────────────────────────────────────────────

    def stream(self) -> Announced:
        """Deliver what was written since the last time, and after that what was held."""
        announced = self.announce()
        self.tell()
        return announced

    def announce(self) -> Announced:
        """Deliver what was written since the last time."""
        records = self.tables.stream[self.announced :]
        self.announced = len(self.tables.stream)
        return self.announcer.announce([Record(*images, at=self.now) for images in records])

    def tell(self, due_at: int | None = None) -> None:
        """Run the timers of changes that were held; a version is when its change was."""
        held, self.timers.told = self.timers.told, []
        for it in held:
            if due_at is None or it[1] <= due_at:
                self.announcer.tell(it[0], it[1], self.now)
            else:
                self.timers.told.append(it)

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

    def timer(self, what: str, *about: Any, **told: Any) -> None:
        """A timer comes, and the socket is closed that it finds open."""
        socket = getattr(self.on_timer, what)(*about, now=self.now, **told)
        if socket is not None and self.dispatcher.close_all([socket]):
            raise Unavailable("API Gateway is too busy to close a socket.")

    def fire_timers(self) -> None:
        """Deliver every timer that was set so far, due or not."""
        asked, self.timers.asked = self.timers.asked, []
        for what, which, _ in asked:
            self.timer(what, which)
        expired, self.timers.expired = self.timers.expired, []
        for connection_id, user_id, sessions, _ in expired:
            reason = self.timers.reasons.pop(connection_id, None)
            self.timer("expired", connection_id, user_id, sessions, reason=reason)
        rooms, self.timers.rooms = self.timers.rooms, []
        for session_id, tick, _ in rooms:
            self.large_rooms.tick(session_id, tick, self.now)
        gone, self.timers.gone = self.timers.gone, []
        for connection_id, at in gone:
            self.on_timer.gone([connection_id], at, self.now)

    def run_sweep(self) -> None:
        self.sweep.run(self.now, lambda: True)

    # ── what can be seen of it ─────────────────────────────────────────────────────────

    def user(self, user_id: str) -> User:
        return self.users.read(user_id)

    def read(self, user_id: str, viewer_id: str | None = None) -> Presence:
        return self.statuses.read(user_id, viewer_id, self.now)

    def heard_by(self, connection_id: str) -> list[tuple[str, str]]:
        """Every (user, status) that a connection was sent, in order."""
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


# ── what a client makes of it ────────────────────────────────────────────────────────────────────


@dataclass
class Hearsay:
    """The newest count, and of every user the newest movement; instants are epoch milliseconds."""

    count: int = 0
    as_of: int = 0
    #: As of when every member is known at least.
    since: int = 0
    present: set[str] = field(default_factory=set)
    moved: dict[str, int] = field(default_factory=dict)

    def joined(self, page: MemberPage) -> None:
        """The answer to `join`, with all members on one page."""
        assert page.cursor is None
        self.since = page.as_of
        self.present -= self._news(list(self.present), page.as_of)
        self.present |= self._news((it.user_id for it in page.members), page.as_of)
        self._counts(page.member_count, page.as_of)

    def hears(self, frame: Mapping[str, Any]) -> None:
        if frame["type"] == "chat-session-members":
            as_of = frame["asOf"]
            self.present -= self._news(frame["left"], as_of)
            self.present |= self._news((it["userId"] for it in frame["joined"]), as_of)
            self._counts(frame["memberCount"], as_of)

    def _news(self, user_ids: Iterable[str], as_of: int) -> set[str]:
        """The users of which nothing newer is known."""
        news = {it for it in user_ids if as_of >= max(self.since, self.moved.get(it, 0))}
        self.moved.update(dict.fromkeys(news, as_of))
        return news

    def _counts(self, count: int, as_of: int) -> None:
        if as_of >= self.as_of:
            self.count, self.as_of = count, as_of
