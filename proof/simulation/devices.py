"""People's devices: they keep to docs/protocol.md, and believe what they hear, by version."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from presence.application.connections import AuthenticateCommand, PingCommand, Welcome
from presence.application.lists import MemberPage
from presence.application.verification import Verification
from presence.domain.connection import Identity
from presence.domain.errors import PresenceError
from presence.domain.events import Chosen
from presence.domain.standing import AllowedSessions
from presence.domain.user import Presence
from presence.fanout.sight import Reach
from presence.limits import DEFAULT_PAGE, TOKEN_LEEWAY_MILLISECONDS
from presence.protocol.frames import presence as frame_of
from proof.simulation.checks import Said
from proof.simulation.cloud import SECOND
from proof.simulation.scheduler import pause
from tests.world import BACKGROUND, GRACE, HEARTBEAT, Hearsay

if TYPE_CHECKING:
    from proof.simulation.simulation import Simulation

#: How long an answer is waited for, and how many pings in a row may be without one.
PATIENCE, MOST_SILENT = 6 * SECOND, 2
#: How often a ping names its user, as the shipped clients always do.
NAMED = 0.8
FATAL = frozenset({"not-authenticated", "token-expired", "token-invalid", "forbidden"})
LIVES = (90 * SECOND, 600 * SECOND, 3_600 * SECOND)
#: What some tokens say of the chat sessions of `simulation`.
CLAIMS: tuple[AllowedSessions, ...] = (
    *(None, None, None, frozenset({"hall"})),
    *(frozenset({"hall", "ro*"}), frozenset({"ro*"}), frozenset()),
)


@dataclass(eq=False)
class Device:
    """`link` is the connection that it uses; what concerns an earlier one is none of its business.

    `missed` says that API Gateway refused a frame for a socket that lives: it was told so by 410.
    `token` is the last that it was given, which it may send again, and `wanted` are the chat
    sessions that it was in when it lost its connection. If it `is_replaced`, it waits for a person.
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
    #: Whether it keeps the background's heartbeat, and which of its series of pings goes on.
    is_slow: bool = False
    beats: int = 0
    waits_until: int = 0
    rooms: set[str] = field(default_factory=set)
    token_until: dict[str, int] = field(default_factory=dict)
    beliefs: dict[str, Said] = field(default_factory=dict)
    members: defaultdict[str, Hearsay] = field(default_factory=lambda: defaultdict(Hearsay))
    #: Sessions that this link has left: a `leave` that is late may come after the next `join`.
    left: set[str] = field(default_factory=set)
    wanted: set[str] = field(default_factory=set)
    token: Identity | None = None
    is_replaced: bool = False
    #: When the frame was sent whose answer is taken in.
    asked_at: int = 0

    # ── the link ───────────────────────────────────────────────────────────────────────

    def connect(self) -> None:
        if self.link:
            return
        self.number += 1
        link = self.link = f"{self.name}.{self.number}"
        self.is_here, self.silent, self.missed, self.beliefs = False, 0, False, {}
        self.is_replaced, self.wanted = False, self.rooms - self.left
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

        def answered(result: Any) -> None:
            if not isinstance(result, BaseException):
                self.simulation.has_left(link)

        self.simulation.frame(self, "leave", work, answered)
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
            if not self.is_replaced:
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
        token = self.token = self._next_token()
        simulation.sends_token(link, token)
        limit = token.expires_at + TOKEN_LEEWAY_MILLISECONDS
        self.token_until[link] = max(limit, self.token_until.get(link, 0))
        life = token.expires_at - simulation.clock.now
        if simulation.rng.random() < 0.8:
            simulation.clock.later(life - 20 * SECOND, lambda: self._renew(link))
        left = limit - simulation.clock.now - simulation.checks.margin
        simulation.clock.later(left, lambda: self._token_ends(link, limit))
        names = sorted(self.wanted) if simulation.rng.random() < 0.8 else []
        heartbeat = self._heartbeat()

        def work(now: int) -> Any:
            began_at, ahead = simulation.clock.now, now - simulation.clock.now
            opened_at = simulation.sockets[link].opened_at
            welcome = simulation.cases.connections.authenticate(
                AuthenticateCommand(
                    link, token, opened_at, None, self.is_active, names, heartbeat=heartbeat
                ),
                now,
            )
            simulation.admitted(link, token, began_at)
            simulation.refuses(link, [it for it in names if it in welcome.refused])
            joined = [it for it in names if it not in welcome.refused]
            return welcome, {it: self._members(it, ahead) for it in joined}

        self._ask("authenticate", work, self._welcomed, heartbeat=heartbeat)

    def _next_token(self) -> Identity:
        """A fresh one, or the last one again, whatever the back end thinks of it."""
        simulation, now, last = self.simulation, self.simulation.clock.now, self.token
        is_good = last is not None and last.expires_at > now and not self.link_has(last)
        if last is not None and is_good and simulation.rng.random() < 0.3:
            return last
        life = simulation.rng.choice(LIVES)
        claim = simulation.rng.choice(CLAIMS) if simulation.has_claims else None
        return Identity(
            self.user_id,
            now + life,
            allowed_sessions=claim,
            issued_at=now,
            token_id=f"{self.name}.{simulation.next_number()}",
        )

    def link_has(self, token: Identity) -> bool:
        """Whether it was sent on the connection of now."""
        return token.token in self.simulation.decisions.tokens.get(self.link, ())

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

    def _welcomed(self, answer: tuple[Welcome, dict[str, MemberPage]]) -> None:
        welcome, joined = answer
        self._take(frame_of(welcome.user.own_presence))
        held = welcome.user.leases[self.link].sessions
        self.rooms &= held
        for session_id, page in joined.items():
            self._entered(session_id, page)
        self.wanted = set()
        is_new, self.is_here = not self.is_here, True
        # With its first claim, a connection loses what it watches.
        if is_new or self.simulation.has_claims:
            self.look_around()
        if is_new:
            self._beat_later(self.link)

    def _entered(self, session_id: str, page: MemberPage) -> None:
        self.rooms.add(session_id)
        self.members[session_id].joined(page)
        self._take_all(page.members)
        self.simulation.holds(self.link, session_id, is_left=session_id in self.left)

    def _members(self, session_id: str, ahead: int) -> MemberPage:
        """As the answer to a `join` has them: by the clock after the write."""
        later, members = self.simulation.clock.now + ahead, self.simulation.cases.member_list
        return members.page(session_id, self.user_id, DEFAULT_PAGE, None, later)

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
            actor = cases.access.authorize(link, now)
            reach = Reach(actor.connection.allowed_sessions)
            return cases.online_list.page(2, cursor, actor.user.user_id, now, reach=reach)

        def took(page: Any) -> None:
            self._take_all(page.users)
            if page.cursor is not None:
                self._list(page.cursor)

        self._ask("online", work, took)

    def join(self, session_id: str) -> None:
        link, cases, simulation = self.link, self.simulation.cases, self.simulation

        def work(now: int) -> MemberPage | None:
            began_at, ahead = simulation.clock.now, now - simulation.clock.now
            entry = cases.chat_sessions.join(link, [session_id], now)
            if session_id in entry.refused:
                return None
            simulation.let_in(link, session_id, began_at)
            return self._members(session_id, ahead)

        def took(page: MemberPage | None) -> None:
            if page is not None:
                self._entered(session_id, page)

        self._ask("join", work, took)

    def speak(self, session_id: str) -> None:
        """Type, and say something, if it may."""
        link, messages, simulation = self.link, self.simulation.cases.messages, self.simulation
        is_message = simulation.rng.random() < 0.5

        def work(now: int) -> None:
            began_at = simulation.clock.now
            if is_message:
                messages.say(link, session_id, "hello", None, now)
            else:
                messages.typing(link, session_id, now, is_typing=True)
            simulation.let_in(link, session_id, began_at)

        simulation.frame(self, "say" if is_message else "typing", work, lambda _: None)

    def leave(self, session_id: str) -> None:
        link, sessions = self.link, self.simulation.cases.chat_sessions
        self.rooms.discard(session_id)
        self.left.add(session_id)
        self.simulation.checks.held[link].discard(session_id)

        def work(now: int) -> Any:
            self.simulation.checks.leaves(self.user_id, session_id)
            return sessions.leave(link, [session_id], now)

        self._ask("leave", work)

    def verify(self, user_id: str) -> None:
        """Ask whether a user is there now. The function reads its clock again after its posts.

        It may be slow between them and the next write, and the answer be quicker.
        """
        link, clock, verification = self.link, self.simulation.clock, self._verification
        slow = self.simulation.rng.choice((0, 0, 100))

        def work(now: int) -> Sequence[Presence]:
            ahead = now - clock.now
            verified = verification.ask(link, [user_id], now)
            for _ in range(slow if verified.probes else 0):
                pause()
            verification.expect(verified.probes, clock.now + ahead)
            return [replace(it, heard_at=None) for it in verified.users]

        self._ask("verify", work, self._take_all)

    @property
    def _verification(self) -> Verification:
        return self.simulation.cases.verification

    def choose(self, chosen: Chosen) -> None:
        link, cases = self.link, self.simulation.cases

        def work(now: int) -> None:
            actor = cases.access.authorize(link, now)
            cases.statuses.choose(actor.user.user_id, chosen, now)

        self._ask("status", work)

    def turn(self, *, is_active: bool) -> None:
        """The user comes to the screen, or leaves it."""
        self.is_active = is_active
        self._keep(is_slow=not is_active and self.simulation.rng.random() < 0.7)

    def _keep(self, *, is_slow: bool) -> None:
        """Keep a heartbeat from now on, and say so."""
        self.is_slow = is_slow
        self._ping()
        self._beat_later(self.link)

    def _heartbeat(self) -> int | None:
        """In milliseconds; a client that keeps the usual one may leave it out."""
        if self.is_slow:
            return BACKGROUND
        return HEARTBEAT if self.simulation.rng.random() < NAMED else None

    def _beat_later(self, link: str) -> None:
        self.beats += 1
        jitter = self.simulation.rng.randint(0, 3 * SECOND)
        heartbeat = BACKGROUND if self.is_slow else HEARTBEAT
        beat = partial(self._beat, link, self.beats)
        self.simulation.clock.later(heartbeat - jitter, beat)

    def _beat(self, link: str, number: int) -> None:
        if self.link != link or not self.is_here or self.beats != number:
            return
        if self.silent >= MOST_SILENT:
            self._reconnect()
            return
        self.silent += 1
        self._ping()
        self._beat_later(link)

    def _ping(self) -> None:
        connections, heartbeat = self.simulation.cases.connections, self._heartbeat()
        command = PingCommand(self.link, self._named(), self.is_active, heartbeat)
        work = partial(connections.ping, command)
        self._ask("ping", work, repeats=False, heartbeat=heartbeat)

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
        heartbeat: int | None = None,
    ) -> None:
        """Send a frame, and again if no answer comes."""
        link, sent_at = self.link, self.simulation.clock.now
        self.simulation.checks.sent(link, action, is_slow=heartbeat == BACKGROUND)
        answers: list[Any] = []

        def answered(result: Any) -> None:
            if self.link == link and not answers and self._is_final(result):
                answers.append(result)
                self._answered(result, sent_at, took, is_slow=heartbeat == BACKGROUND)

        def waited() -> None:
            if self.link == link and not answers:
                self._ask(action, work, took, heartbeat=heartbeat)

        self.simulation.frame(self, action, work, answered)
        if repeats:
            self.simulation.clock.later(PATIENCE, waited)

    def _is_final(self, result: Any) -> bool:
        """Whether to ask once more would help."""
        if isinstance(result, PresenceError):
            return result.code in FATAL
        return not isinstance(result, BaseException)

    def _answered(
        self, result: Any, sent_at: int, took: Callable[[Any], None], *, is_slow: bool
    ) -> None:
        if isinstance(result, PresenceError):
            self._reconnect()
            return
        self.silent, self.asked_at = 0, sent_at
        self.simulation.heard(self.link, sent_at, is_slow=is_slow)
        took(result)

    # ── what it hears ──────────────────────────────────────────────────────────────────

    def hear(self, link: str, text: str) -> None:
        if self.link != link:
            return
        frame = json.loads(text)
        self.is_replaced |= frame.get("reason") == "replaced"
        if frame["type"] == "probe" and self.is_here:
            self._ping()
        if frame["type"] == "heartbeat" and self.is_here and self.is_active:
            self._keep(is_slow=frame["heartbeatSeconds"] * SECOND > HEARTBEAT)
        if frame["type"] == "chat-session-members":
            self.members[frame["chatSessionId"]].hears(frame)
        for said in (*frame.get("changes", ()), *frame.get("joined", ())):
            self._take(said)

    def _take_all(self, presences: Sequence[Presence]) -> None:
        for it in presences:
            self.simulation.sees(self.link, frame_of(it), self.asked_at)
            self._take(frame_of(it))

    def _take(self, said: Said) -> None:
        self.simulation.checks.hears(self.user_id, said)
        if said["version"] > self.beliefs.get(said["userId"], {"version": -1})["version"]:
            self.beliefs[said["userId"]] = said
