"""People's devices: they keep to docs/protocol.md, and believe what they hear, by version."""

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from presence.application.connections import AuthenticateCommand, PingCommand
from presence.domain.connection import Identity
from presence.domain.errors import PresenceError
from presence.domain.events import Chosen
from presence.domain.user import Presence
from presence.limits import DEFAULT_PAGE, TOKEN_LEEWAY_MILLISECONDS
from presence.protocol.frames import presence as frame_of
from proof.simulation.checks import Said
from proof.simulation.cloud import SECOND
from tests.world import GRACE, HEARTBEAT, Hearsay

if TYPE_CHECKING:
    from proof.simulation.simulation import Simulation

#: How long an answer is waited for, and how many pings in a row may be without one.
PATIENCE, MOST_SILENT = 6 * SECOND, 2
#: How often a ping names its user, as the shipped clients always do.
NAMED = 0.8
FATAL = frozenset({"not-authenticated", "token-expired", "forbidden"})


@dataclass(eq=False)
class Device:
    """`link` is the connection that it uses; what concerns an earlier one is none of its business.

    `missed` says that API Gateway refused a frame for a socket that lives: it was told so by 410.
    """

    simulation: "Simulation"
    name: str
    user_id: str
    link: str = ""
    number: int = 0
    is_here: bool = False
    silent: int = 0
    missed: bool = False
    is_active: bool | None = None
    waits_until: int = 0
    rooms: set[str] = field(default_factory=set)
    token_until: dict[str, int] = field(default_factory=dict)
    beliefs: dict[str, Said] = field(default_factory=dict)
    members: defaultdict[str, Hearsay] = field(default_factory=lambda: defaultdict(Hearsay))
    #: Sessions that this link has left: a `leave` that is late may come after the next `join`.
    left: set[str] = field(default_factory=set)

    # ── the link ───────────────────────────────────────────────────────────────────────

    def connect(self) -> None:
        if self.link:
            return
        self.number += 1
        link = self.link = f"{self.name}.{self.number}"
        self.is_here, self.silent, self.missed, self.beliefs = False, 0, False, {}
        self.rooms, self.left, self.members = set(), set(), defaultdict(Hearsay)

        def ended(result: Any) -> None:
            if isinstance(result, BaseException):
                self._gone(link)
            elif self.link == link:
                self.authenticate()

        self.simulation.open_socket(self, link, ended)

    def close(self) -> None:
        """Close the tab."""
        if self.simulation.checks.must_live(self.link, GRACE):
            # Where it has left and joined at once, the frames may be served in another order.
            self.simulation.checks.closes(self.user_id, self.rooms - self.left)
        self._let_go("closes")

    def quit(self) -> None:
        """Leave on purpose; the socket is closed then, whether the answer came or not."""
        link, connections = self.link, self.simulation.cases.connections
        if not (link and self.is_here):
            return
        self.simulation.checks.leaves(self.user_id)
        self.simulation.checks.ends(link)

        def work(now: int) -> None:
            self.simulation.checks.leaves(self.user_id)
            connections.leave(link, now)

        self.simulation.frame(self, "leave", work, lambda _: None)
        self.link, self.is_here = "", False
        delay = self.simulation.rng.randrange(7 * SECOND)
        self.simulation.clock.later(delay, lambda: self.simulation.leave_socket(link, "closes"))

    def die(self) -> None:
        """The battery is empty."""
        self._let_go("dies")

    def closed(self, link: str) -> None:
        """The server has closed the connection."""
        self._gone(link)

    def _let_go(self, how: str) -> None:
        link, self.link, self.is_here = self.link, "", False
        if link:
            self.simulation.checks.ends(link)
            self.simulation.leave_socket(link, how)

    def _gone(self, link: str) -> None:
        if self.link == link:
            self.link, self.is_here = "", False
            self.simulation.checks.ends(link)
            delay = self.simulation.rng.randint(SECOND, 5 * SECOND)
            self.simulation.clock.later(delay, self.connect_again)

    def connect_again(self) -> None:
        if not self.simulation.is_over:
            self.connect()

    def _reconnect(self) -> None:
        """The link is of no use: close it, and make another one."""
        link = self.link
        self.simulation.leave_socket(link, "closes")
        self._gone(link)

    # ── what it asks for ───────────────────────────────────────────────────────────────

    def authenticate(self) -> None:
        simulation, link = self.simulation, self.link
        life = simulation.rng.choice((90, 600, 3_600)) * SECOND
        expires_at = simulation.clock.now + life
        limit = expires_at + TOKEN_LEEWAY_MILLISECONDS
        self.token_until[link] = max(limit, self.token_until.get(link, 0))
        if simulation.rng.random() < 0.8:
            simulation.clock.later(life - 20 * SECOND, lambda: self._renew(link))
        left = limit - simulation.clock.now - simulation.checks.margin
        simulation.clock.later(left, lambda: self._token_ends(link, limit))

        def work(now: int) -> Any:
            identity = Identity(self.user_id, expires_at)
            opened_at = simulation.sockets[link].opened_at
            return simulation.cases.connections.authenticate(
                AuthenticateCommand(link, identity, opened_at, None, self.is_active), now
            )

        self._ask("authenticate", work, self._welcomed)

    def _renew(self, link: str) -> None:
        if self.link == link:
            self.authenticate()

    def _token_ends(self, link: str, limit: int) -> None:
        """No promise beyond it: of two tokens, the one handled last counts.

        Two invocations may have overtaken each other, so that may be the older one.
        """
        self.simulation.checks.ends(link)
        if self.token_until.get(link) == limit:
            self.simulation.expired.add(link)

    def _welcomed(self, welcome: Any) -> None:
        self._take(frame_of(welcome.user.own_presence))
        if not self.is_here:
            self.is_here = True
            self.look_around()
            self._beat_later(self.link)

    def look_around(self) -> None:
        if self.simulation.is_global:
            self._list(None)
            return
        link, users = self.link, list(self.simulation.user_ids)
        watching = self.simulation.cases.watching
        self._ask("watch", lambda now: watching.watch(link, users, now), self._take_all)

    def _list(self, cursor: str | None) -> None:
        link, cases = self.link, self.simulation.cases

        def work(now: int) -> Any:
            viewer_id = cases.access.authorize(link, now).user.user_id
            return cases.online_list.page(2, cursor, viewer_id, now)

        def took(page: Any) -> None:
            self._take_all(page.users)
            if page.cursor is not None:
                self._list(page.cursor)

        self._ask("online", work, took)

    def join(self, session_id: str) -> None:
        link, cases = self.link, self.simulation.cases

        def work(now: int) -> Any:
            ahead = now - self.simulation.clock.now
            user_id = cases.chat_sessions.join(link, [session_id], now).user.user_id
            later = self.simulation.clock.now + ahead
            return cases.member_list.page(session_id, user_id, DEFAULT_PAGE, None, later)

        def took(page: Any) -> None:
            self.rooms.add(session_id)
            self.members[session_id].joined(page)
            self._take_all(page.members)

        self._ask("join", work, took)

    def leave(self, session_id: str) -> None:
        link, sessions = self.link, self.simulation.cases.chat_sessions
        self.rooms.discard(session_id)
        self.left.add(session_id)

        def work(now: int) -> Any:
            self.simulation.checks.leaves(self.user_id, session_id)
            return sessions.leave(link, [session_id], now)

        self._ask("leave", work)

    def choose(self, chosen: Chosen) -> None:
        link, cases = self.link, self.simulation.cases

        def work(now: int) -> None:
            actor = cases.access.authorize(link, now)
            cases.statuses.choose(actor.user.user_id, chosen, now)

        self._ask("status", work)

    def turn(self, *, is_active: bool) -> None:
        """The user comes to the screen, or leaves it."""
        self.is_active = is_active
        self._ping()

    def _beat_later(self, link: str) -> None:
        jitter = self.simulation.rng.randint(0, 3 * SECOND)
        self.simulation.clock.later(HEARTBEAT - jitter, lambda: self._beat(link))

    def _beat(self, link: str) -> None:
        if self.link != link or not self.is_here:
            return
        if self.silent >= MOST_SILENT:
            self._reconnect()
            return
        self.silent += 1
        self._ping()
        self._beat_later(link)

    def _ping(self) -> None:
        connections = self.simulation.cases.connections
        command = PingCommand(self.link, self._named(), self.is_active)
        self._ask("ping", lambda now: connections.ping(command, now), repeats=False)

    def _named(self) -> str | None:
        """Whose ping it is said to be: the shipped clients always name their user."""
        return self.user_id if self.simulation.rng.random() < NAMED else None

    def _ask(
        self,
        action: str,
        work: Callable[[int], Any],
        took: Callable[[Any], None] = lambda _: None,
        *,
        repeats: bool = True,
    ) -> None:
        """Send a frame, and again if no answer comes."""
        link, sent_at = self.link, self.simulation.clock.now
        answers: list[Any] = []

        def answered(result: Any) -> None:
            if self.link == link and not answers and self._is_final(result):
                answers.append(result)
                self._answered(result, sent_at, took)

        def waited() -> None:
            if self.link == link and not answers:
                self._ask(action, work, took)

        self.simulation.frame(self, action, work, answered)
        if repeats:
            self.simulation.clock.later(PATIENCE, waited)

    def _is_final(self, result: Any) -> bool:
        """Whether to ask once more would help."""
        if isinstance(result, PresenceError):
            return result.code in FATAL
        return not isinstance(result, BaseException)

    def _answered(self, result: Any, sent_at: int, took: Callable[[Any], None]) -> None:
        if isinstance(result, PresenceError):
            self._reconnect()
            return
        self.silent = 0
        self.simulation.heard(self.link, sent_at)
        took(result)

    # ── what it hears ──────────────────────────────────────────────────────────────────

    def hear(self, link: str, text: str) -> None:
        if self.link != link:
            return
        frame = json.loads(text)
        if frame["type"] == "chat-session-members":
            self.members[frame["chatSessionId"]].hears(frame)
        for said in (*frame.get("changes", ()), *frame.get("joined", ())):
            self._take(said)

    def _take_all(self, presences: "list[Presence]") -> None:
        for it in presences:
            self._take(frame_of(it))

    def _take(self, said: Said) -> None:
        self.simulation.checks.hears(self.user_id, said)
        if said["version"] > self.beliefs.get(said["userId"], {"version": -1})["version"]:
            self.beliefs[said["userId"]] = said
