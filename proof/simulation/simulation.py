"""A few people with a few devices, on the real use cases, where everything that can fail does.

One seed decides everything: who does what, which function runs next, what fails, what is late. The
run is then left in peace, and every client has to be right.
"""

import json
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from random import Random
from typing import Any, cast
from unittest.mock import patch

from presence.adapters.visibility import Everyone, SharedSessions
from presence.bootstrap import App
from presence.domain import reducer
from presence.domain.connection import Identity, State, lease_limit
from presence.domain.disclosure import Rules
from presence.domain.errors import Unavailable
from presence.domain.user import User
from presence.ports import Visibility
from presence.protocol.frames import presence as frame_of
from proof.simulation.checks import FRESH, NAMING, Checks, Said, Violation
from proof.simulation.cloud import (
    SECOND,
    Clock,
    Lambda,
    SimulatedGateway,
    SimulatedQueue,
    Socket,
    Stream,
)
from proof.simulation.decisions import Decisions, owner_of
from proof.simulation.devices import Device
from proof.simulation.faults import Faults, Faulty, Injector, is_expected, swarm
from proof.simulation.memory import STALE, Memory, Name
from proof.simulation.scheduler import Scheduler, pause, running
from proof.simulation.sights import Sights
from proof.simulation.whims import PEOPLE, SESSIONS, People
from tests.fakes import (
    FakeAuthorizer,
    FakeConnections,
    FakeMembers,
    FakeOnlineIndex,
    FakeSentMessages,
    FakeSubscriptions,
    FakeUsers,
)
from tests.world import ENDPOINT, GRACE, LEASE, LONG_LEASE, START, Fakes, settings

STEPS = 2_000
RULES = Rules(GRACE, fresh=FRESH)
SWEEP = 60 * SECOND
#: How long a frame may be on its way, where frames are late.
LATE = 100 * SECOND
LONGEST_SWEEP = 10 * SECOND
DEVICES = 2
ELSEWHERE = "https://api.example/before"
TRACE = 60
#: What belongs together in the stored state of a connection.
WHOLE = frozenset({"connections", "users", "sessions"})


@dataclass(frozen=True)
class Result:
    seed: int
    steps: int
    announced: int


class Failure(AssertionError):
    """What was violated in which run, and what happened just before."""


class Simulation:
    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)  # noqa: S311  a seed that replays is the point
        self.faults = swarm(rng)
        self.is_global = rng.random() < 0.5
        self.user_ids = PEOPLE
        self.clock = Clock(START)
        self.trace: deque[tuple[int, str, str]] = deque(maxlen=TRACE)
        self.scheduler = Scheduler(rng)
        margin = 6 * SECOND * (self.faults.skew > 0)
        late = LATE if self.faults.late else SECOND
        most = rng.choice((20, 20, 2, 1))
        self.checks = Checks(lambda: self.clock.now, margin, most, late)
        self.has_claims = rng.random() < 0.5
        self.visibility: Visibility = rng.choice((Everyone(), Everyone(), SharedSessions()))
        self.decisions = Decisions(lambda: self.clock.now, margin)
        self.sights = Sights(lambda: self.clock.now, self.visibility.is_open)
        self._numbers = count()
        self.injector = Injector(rng, self.faults, self.note)
        self._start_services()
        self.sockets = self.gateway.sockets
        self.large = rng.choice((1, 1_000, 1_000))
        chosen = settings(is_global=self.is_global, large=self.large)
        self.cases = App(self._ports(), chosen, pause=lambda _: pause())
        self.stream = Stream(
            rng, self.clock, self.functions, self.injector, self.cases.announcer.announce
        )
        self._start_records()

    def _start_records(self) -> None:
        """What the simulation itself notes of its story."""
        names = [(f"{it}-{number}", it) for it in PEOPLE for number in range(DEVICES)]
        self.devices = [Device(self, name, user_id) for name, user_id in names]
        self.is_over = False
        self.announced = 0
        self.unexpected: list[str] = []
        #: Connections whose last token is over.
        self.expired: set[str] = set()
        #: Users who were invisible: no frame tells them that they do not count themselves any more.
        self.hidden: set[str] = set()

    def _start_services(self) -> None:
        """Lambda, DynamoDB and API Gateway, as far as the code sees them."""
        rng, clock, scheduler, injector = self.rng, self.clock, self.scheduler, self.injector
        self.functions = Lambda(rng, clock, scheduler, injector, self._unexpected, is_expected)
        slow = self.faults.slow_commit
        self.memory = Memory(
            rng, scheduler, lambda: clock.now, self._wrote, self._settled, slow_commits=slow
        )
        self.gateway = SimulatedGateway(
            ENDPOINT, rng, clock, injector, self._sending, self._closing
        )

    def _ports(self) -> Fakes:
        memory, injector = self.memory, self.injector
        queue = SimulatedQueue(self.rng, self.clock, self.functions, injector, self._work)
        users = Faulty(
            "users",
            lambda tables: FakeUsers(tables, is_global=self.is_global, rules=RULES),
            memory,
            injector,
            single=True,
        )
        ports = (
            Faulty("connections", FakeConnections, memory, injector),
            users,
            Faulty("subscriptions", FakeSubscriptions, memory, injector),
            Faulty("members", FakeMembers, memory, injector),
            Faulty("online_index", FakeOnlineIndex, memory, injector),
            queue,
            self.gateway,
            queue,
            FakeAuthorizer(),
            Faulty("sent", FakeSentMessages, memory, injector),
            self.visibility,
        )
        return Fakes(*cast("Any", ports))

    # ── a run ──────────────────────────────────────────────────────────────────────────

    def run(self, steps: int = STEPS) -> int:
        """So many steps with faults, and then in peace; how many it were in all.

        Raises:
            Violation: a promise is broken.
        """
        people = People(self)
        for device in self.devices:
            self.clock.later(self.rng.randrange(20 * SECOND), device.connect)
            self.clock.later(self.rng.randrange(30 * SECOND), partial(people.live, device))
        self._sweep_later()
        with patch.object(reducer, "MAX_CONNECTIONS", self.checks.most):
            return sum(1 for _ in self._steps(steps)) + self._rest()

    def _rest(self) -> int:
        self.is_over = True
        self.injector.faults = Faults()
        self.memory.slow_commits = 0.0
        for device in self.devices:
            if self.rng.random() < 0.5:
                device.connect()
        count = self._quiet(LONG_LEASE + LEASE + 2 * SWEEP)
        self._check_truth()
        for device in self.devices:
            device.close()
        count += self._quiet(LONG_LEASE + LEASE + 2 * SWEEP + GRACE)
        if not self.memory.tables.is_spotless():
            raise Violation(f"I11: traces of no user: {self.memory.tables}")
        return count

    def _quiet(self, milliseconds: int) -> int:
        until = self.clock.now + milliseconds
        count = 0
        while self.clock.now < until:
            self._step()
            count += 1
        return count

    def _steps(self, count: int) -> Iterator[None]:
        for _ in range(count):
            self._step()
            yield

    def _step(self) -> None:
        """Something that is due, or one step of a function; if neither, the next thing to come."""
        if self.scheduler.tasks and not self.clock.is_due and not self.injector.happens("stalled"):
            self.scheduler.step(self.clock.now)
            self.clock.now += self.rng.choice((0, 0, 1, 5, 20))
        else:
            self.clock.next()
        self.announced += len(self.memory.tables.stream)
        self.stream.take(self.memory.tables.stream)
        if self.unexpected:
            raise Violation(self.unexpected[0])

    # ── what AWS does ──────────────────────────────────────────────────────────────────

    def open_socket(self, device: Device, link: str, ended: Callable[[Any], None]) -> None:
        endpoint = ELSEWHERE if self.injector.happens("elsewhere") else ENDPOINT

        def missed() -> None:
            device.missed = True

        def connect(now: int) -> None:
            self.cases.connections.open(link, now)
            if endpoint != ENDPOINT:  # it was opened before this deployment
                records = self.memory.tables.connections
                records[link] = replace(records[link], endpoint=endpoint)

        self.sockets[link] = Socket(
            endpoint,
            self.clock.now,
            partial(device.hear, link),
            partial(device.closed, link),
            missed,
        )
        device.missed = endpoint != ENDPOINT
        self.functions.invoke(f"$connect {link}", connect, ended)

    def leave_socket(self, link: str, how: str) -> None:
        """API Gateway notices a close at once, and a death after ten minutes or never."""
        if how == "closes":
            self._notices(link)
        elif self.rng.random() < 0.5:
            self.clock.later(self.rng.randrange(600 * SECOND), partial(self._notices, link))

    def _notices(self, link: str) -> None:
        socket = self.sockets[link]
        if socket.is_open:
            socket.is_open = False
            self._disconnect(link)

    def _disconnect(self, link: str) -> None:
        if self.injector.happens("lost_disconnect"):
            return
        late = 120 * SECOND if self.injector.happens("late") else SECOND
        again = self.injector.happens("twice")
        for _ in range(1 + again):
            self.clock.later(self.rng.randrange(late), partial(self._disconnected, link))

    def _disconnected(self, link: str) -> None:
        connections, user_id = self.cases.connections, owner_of(link)
        handled_at: list[int] = []

        def ended(before: Any) -> None:
            if not isinstance(before, BaseException) and before and before.user_id:
                self.checks.has_closed(user_id, link, handled_at[0] + GRACE)

        def work(now: int) -> Any:
            handled_at.append(now)
            self._may_be_here(link, now + GRACE)
            return connections.disconnect(link, now)

        self.functions.invoke(f"$disconnect {link}", work, ended)

    def frame(
        self,
        device: Device,
        action: str,
        work: Callable[[int], Any],
        answered: Callable[[Any], None],
    ) -> None:
        """A frame is on its way to its function, and the answer on its way back."""
        link = device.link
        late = LATE if self.injector.happens("late") else 50

        def arrive() -> None:
            def timed(now: int) -> Any:
                began_at = self.clock.now
                self._may_be_here(link, now + self._lasts(link, action))
                result = work(now)
                if action != "authenticate":
                    self._served(link, device.token_until[link], began_at)
                return result

            def ended(result: Any) -> None:
                self.clock.later(20, lambda: answered(result))

            self.functions.invoke(f"{action} {link}", timed, ended)

        for _ in range(1 + self.injector.happens("twice")):
            self.clock.later(self.rng.randrange(late), arrive)

    def _lasts(self, link: str, action: str) -> int:
        """The longest lease that a frame may give, which is long also without having asked for it.

        So it is for who comes back with a frame that does not say how long it may be silent.
        """
        lease = self.user(owner_of(link)).leases.get(link)
        margin = self.checks.margin + LEASE // 2
        is_there = lease is not None and not lease.is_expired(self.clock.now + margin)
        is_usual = link not in self.checks.slow and (is_there or action in NAMING)
        return LEASE if is_usual else LONG_LEASE

    def _may_be_here(self, link: str, until: int) -> None:
        self.checks.may_be_here(owner_of(link), link, until)

    def next_number(self) -> int:
        return next(self._numbers)

    def user(self, user_id: str) -> User:
        return self.memory.tables.users.get(user_id, User(user_id))

    # ── what clients are answered ──────────────────────────────────────────────────────

    def sends_token(self, link: str, token: Identity) -> None:
        self.decisions.tokens[link].append(token.token)
        for session_id in SESSIONS:
            if not self.decisions.always_allowed(link, session_id):
                self.checks.held[link].discard(session_id)

    def admitted(self, link: str, token: Identity, began_at: int) -> None:
        """An `authenticate` was served."""
        is_refused = self.decisions.is_refused(token.user_id, token.token, began_at)
        self._hold(partial(self.checks.require, not is_refused, "I18", f"{link} sends {token}"))

    def refuses(self, link: str, session_ids: Collection[str]) -> None:
        """An `authenticate` that named these has not joined them: it may not, or may not now."""
        user_id = owner_of(link)
        for it in session_ids:
            is_out = it in self.user(user_id).standing.barred
            is_open = not is_out and self.decisions.is_free(user_id, it)
            may_join = is_open and self.decisions.always_allowed(link, it)
            may_join = may_join and not self.decisions.allowing[user_id, it]
            text = f"{link} has named {it}, and is not in it"
            self._hold(partial(self.checks.require, not may_join, "I7", text))

    def _served(self, link: str, token_until: int, began_at: int) -> None:
        """Any other frame was."""
        self._hold(partial(self.checks.accepted, link, token_until, began_at))
        is_dead = self.decisions.is_dead(link, began_at)
        self._hold(partial(self.checks.require, not is_dead, "I18", f"{link} is served"))

    def let_in(self, link: str, session_id: str, began_at: int) -> None:
        """A frame that needs a chat session was served."""
        is_out = self.decisions.is_out(owner_of(link), session_id, began_at)
        text = f"{link} is served in {session_id}"
        self._hold(partial(self.checks.require, not is_out, "I18", text))

    def holds(self, link: str, session_id: str, *, is_left: bool) -> None:
        """A connection was told that it is in a chat session."""
        may_stay = self.decisions.is_free(owner_of(link), session_id) and not is_left
        if may_stay and self.decisions.always_allowed(link, session_id):
            self.checks.held[link].add(session_id)

    def has_left(self, link: str) -> None:
        """A `leave` without a chat session was answered."""
        self._hold(partial(self.checks.has_left, link, self.user(owner_of(link))))

    def sees(self, link: str, said: Said, since: int) -> None:
        """A connection is told of a user; what it is told was so since then, or later.

        One without a lease hears what it subscribes to until a timer has closed it.
        """
        viewer_id, user_id = owner_of(link), said["userId"]
        if user_id == viewer_id or not said["version"] or link not in self.user(viewer_id).leases:
            return
        margin = self.checks.margin + STALE
        claims = self.decisions.claims(link)
        is_end = said["status"] == "offline"
        may_see = self.sights.may_see(viewer_id, user_id, claims, since - margin, is_end=is_end)
        may_see = may_see or self._hears_on(link, user_id)
        self._hold(partial(self.checks.require, may_see, "I20", f"{link} is told {said}"))

    def _hears_on(self, link: str, user_id: str) -> bool:
        """A connection whose lease ran out hears its chat sessions until it is closed."""
        viewer_id, now_seen = owner_of(link), self.sights.now_seen
        rooms = [it for it, rows in self.memory.tables.sessions.items() if link in rows]
        is_late = link not in self.user(viewer_id).leases
        return is_late and any((viewer_id, user_id, it) in now_seen for it in rooms)

    def reads(self, viewer_id: str | None, said: Said, since: int) -> None:
        """A reader without a connection is told of a user."""
        user_id = said["userId"]
        if viewer_id == user_id or not said["version"]:
            return
        since -= self.checks.margin + STALE
        may_see = self.sights.may_see(viewer_id or "", user_id, (), since)
        self._hold(partial(self.checks.require, may_see, "I20", f"{viewer_id} reads {said}"))

    def is_rid_of(self, links: Collection[str]) -> None:
        """Revoked tokens have admitted these connections; one that has no other is over.

        If another has taken its place meanwhile, a timer closes it.
        """
        for link in sorted(links):
            user_id, sent = owner_of(link), self.decisions.tokens[link]
            if all(self.decisions.refused_since(user_id, it) is not None for it in sent):
                record = self.memory.tables.connections.get(link)
                is_closed = record is None or record.state is State.CLOSED
                is_over = is_closed or link in self.checks.replaced
                is_over = is_over and link not in self.user(user_id).leases
                self._hold(partial(self.checks.require, is_over, "I18", f"{link} is not over"))
                if is_closed:
                    self.checks.finishes(link)
        for link in self.sockets:
            self.look_at(link)

    def heard(self, link: str, sent_at: int, *, is_slow: bool) -> None:
        """A frame of a connection was answered."""
        user_id = owner_of(link)
        record = self.memory.tables.connections.get(link)
        if record is not None and link not in self.expired and self.sockets[link].is_open:
            limit = lease_limit(record.token_expires_at or 0)
            user = self.memory.tables.users.get(user_id)
            self.checks.acknowledged(link, sent_at, limit, user, is_slow=is_slow)

    def _sending(self, connection_id: str, text: str) -> None:
        """A frame leaves; what waited in the queue was decided before, so it is not looked at."""
        task, frame = running(), json.loads(text)
        if frame["type"] == "probe":
            asked = self.user(owner_of(connection_id))
            self._hold(partial(self.checks.is_probed, connection_id, asked))
        if task is None or task.name.startswith("post") or frame["type"] == "closing":
            return
        viewer_id, session_id = owner_of(connection_id), frame.get("chatSessionId", "")
        began_at, name = task.began, f"{frame} of {task.name}"
        self._hold(partial(self.checks.posts, connection_id, name, began_at))
        if connection_id in self.user(viewer_id).leases:
            is_out = self.decisions.is_out(viewer_id, session_id, began_at)
            text = f"{connection_id} hears {name}"
            self._hold(partial(self.checks.require, not is_out, "I18", text))
        for said in (*frame.get("changes", ()), *frame.get("joined", ())):
            self.sees(connection_id, said, task.since)
            if not task.name.startswith("job"):
                user = self.memory.tables.users.get(said["userId"])
                self._hold(partial(self.checks.sends, viewer_id, said, user, began_at))

    def _closing(self, connection_id: str) -> None:
        if self.checks.must_live(connection_id):
            self.unexpected.append(f"I2: {connection_id} is closed although it lives")
        self.checks.ends(connection_id)
        self._disconnect(connection_id)

    def _work(self, kind: str, what: tuple[Any, ...], now: int) -> None:
        cases = self.cases
        actions: dict[str, Callable[..., Any]] = {
            "connection": cases.on_timer.connection,
            "user": cases.on_timer.user,
            "expired": lambda name, user_id, sessions, reason, now: cases.on_timer.expired(
                name, user_id, sessions, now, reason
            ),
            "gone": lambda name, at, now: cases.on_timer.gone([name], at, now),
            "room": cases.large_rooms.tick,
            "told": cases.announcer.tell,
        }
        if kind == "post":
            cases.dispatcher.deliver(*what)
        elif kind == "job":
            cases.broadcast.work(what[0], now)
        else:
            socket = actions[kind](*what, now)
            if socket is not None and cases.dispatcher.close_all([socket]):
                raise Unavailable("API Gateway is too busy to close a socket.")

    def _sweep_later(self) -> None:
        self.clock.later(SWEEP, self._sweep_later)
        if not self.injector.happens("no_sweep"):
            for _ in range(1 + self.injector.happens("twice")):
                self.sweep()

    def sweep(self) -> None:
        sweeping = self.cases.sweep
        self.functions.invoke(
            "sweep", lambda now: sweeping.run(now, lambda: True), lambda _: None, seconds=60
        )

    # ── what must be so in the end ─────────────────────────────────────────────────────

    def _check_truth(self) -> None:
        for user_id in PEOPLE:
            user = self.user(user_id)
            # Whose token is over, and whose socket cannot be closed, learns it by the next ping.
            live = {
                it.link
                for it in self.devices
                if it.user_id == user_id and it.is_here and it.token_until[it.link] > self.clock.now
            }
            # A token may have ended a moment ago: the next sweep is within a minute.
            swept = self.clock.now - SWEEP - LONGEST_SWEEP
            over = {
                name for name, it in user.leases.items() if swept < it.expires_at <= self.clock.now
            }
            if user.leases.keys() - over != live - over:
                raise Violation(f"I5: {user_id} has {live}, and is stored as {user}")
        for device in self.devices:
            if device.is_here and not device.missed:
                self._check_beliefs(device)
                self._check_members(device)

    def _check_beliefs(self, device: Device) -> None:
        for user_id in self._known_to(device):
            user = self.user(user_id)
            truth = frame_of(user.seen_by(device.user_id))
            belief = device.beliefs.get(user_id, {"status": "offline"})
            if any(truth.get(name) != belief.get(name) for name in ("status", "text")):
                raise Violation(f"I8: {device.link} believes {belief}, and it is {truth}")

    def _known_to(self, device: Device) -> Collection[str]:
        """The users of which it hears; where not all may be seen, no frame says when that begins.

        But in a chat session that tells each change of its members it does.
        """
        claims = self.decisions.claims(device.link)
        if self.visibility.is_open and all(it is None for it in claims):
            return PEOPLE
        tables, views = self.memory.tables, self.sights.now_shared
        rooms = [it for it in device.rooms if device.link in tables.sessions.get(it, {})]
        if self.large < len(PEOPLE):
            rooms = []
        return {
            device.user_id,
            *(name for viewer, name, it in views if it in rooms and viewer == device.user_id),
        }

    def _check_members(self, device: Device) -> None:
        """Who is there is ordered by the clocks of functions, so these have to agree."""
        if self.faults.skew or self.large < len(PEOPLE):
            return
        for session_id in device.rooms - device.left:
            if device.link not in self.memory.tables.sessions.get(session_id, {}):
                continue
            users = [self.user(it) for it in PEOPLE]
            seen = [it for it in users if session_id in it.sessions_seen_by(device.user_id)]
            truth = {it.user_id for it in seen} | {device.user_id}
            belief = device.members[session_id]
            if belief.present | {device.user_id} != truth:
                raise Violation(f"I8: {device.link} believes {belief}, and there are {truth}")
            if device.user_id not in self.hidden and belief.count != len(truth):
                raise Violation(f"I8: {device.link} believes {belief}, and there are {truth}")

    # ── what is remembered of it ───────────────────────────────────────────────────────

    def note(self, who: str, what: str) -> None:
        self.trace.append((self.clock.now - START, who, what))

    def _wrote(self, name: Name, before: Any, after: Any) -> None:
        self.note("item", f"{name}: {after}")
        self._hold(partial(self.checks.wrote, name, before, after))
        if name[0] == "connections":
            task = running()
            asked = "" if task is None else task.name
            self._hold(partial(self.checks.none_of, self.decisions.takes(before, after, asked)))
        if name[0] == "users":
            self.sights.update({it: self.user(it) for it in PEOPLE})

    def _settled(self, names: Collection[Name]) -> None:
        """All that belongs together is written: each connection that it concerns is looked at."""
        links = {row if table == "sessions" else key for table, key, row in names if table in WHOLE}
        for user_id in links & {*PEOPLE}:
            links |= {*self.user(user_id).leases}
        for link in sorted(links - {*PEOPLE}):
            self.look_at(link)

    def look_at(self, link: str) -> None:
        """Unless a write of what belongs to a connection is under way."""
        own = {("connections", link, ""), ("users", owner_of(link), "")}
        own |= {("sessions", it, link) for it in SESSIONS}
        if self.memory.locked.isdisjoint(own):
            faults = self.decisions.faults_of(link, self.memory.tables)
            self._hold(partial(self.checks.none_of, faults))

    def _hold(self, check: Callable[[], None]) -> None:
        """What is found inside of a function must not look to it like a fault of its own."""
        try:
            check()
        except Violation as violation:
            self.unexpected.append(str(violation))

    def _unexpected(self, name: str, error: BaseException) -> None:
        self.unexpected.append(f"{name} ended with {error!r}")


def simulate(seed: int, steps: int = STEPS) -> Result:
    """One run.

    Raises:
        Failure: with the seed that replays it.
    """
    simulation = Simulation(seed)
    try:
        count = simulation.run(steps)
    except Violation as violation:
        told = "\n".join(f"{at:>9} {who}: {what}" for at, who, what in simulation.trace)
        raise Failure(f"{told}\n\nseed {seed}: {violation}\n{simulation.faults}") from violation
    return Result(seed, count, simulation.announced)
