"""A few people with a few devices, on the real use cases, where everything that can fail does.

One seed decides everything: who does what, which function runs next, what fails, what is late. The
run is then left in peace, and every client has to be right.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any, cast

from presence.bootstrap import App
from presence.domain.connection import State, lease_limit
from presence.domain.disclosure import Rules
from presence.domain.errors import Unavailable
from presence.domain.events import Chosen
from presence.domain.user import Choice, User
from presence.protocol.frames import presence as frame_of
from proof.simulation.checks import Checks, Violation
from proof.simulation.cloud import (
    SECOND,
    Clock,
    Lambda,
    SimulatedGateway,
    SimulatedQueue,
    Socket,
    Stream,
)
from proof.simulation.devices import Device
from proof.simulation.faults import Faults, Faulty, Injector, is_expected, swarm
from proof.simulation.memory import STALE, Memory, Name
from proof.simulation.scheduler import Scheduler, pause, running
from tests.fakes import (
    FakeAuthorizer,
    FakeConnections,
    FakeMembers,
    FakeOnlineIndex,
    FakeSentMessages,
    FakeSubscriptions,
    FakeUsers,
)
from tests.world import ENDPOINT, GRACE, LEASE, START, Fakes, settings

STEPS = 2_000
SWEEP = 60 * SECOND
LONGEST_SWEEP = 10 * SECOND
PEOPLE, DEVICES = ("ada", "bob", "cyd"), 2
SESSIONS = ("hall", "room")
ELSEWHERE = "https://api.example/before"
#: A closed connection record is deleted so much later by TTL, at the earliest.
FORGOTTEN = 15 * 60 * SECOND
TRACE = 60


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
        self.checks = Checks(lambda: self.clock.now, margin=6 * SECOND * (self.faults.skew > 0))
        self.injector = Injector(rng, self.faults, self.note)
        self._start_services()
        self.sockets = self.gateway.sockets
        self.large = rng.choice((1, 1_000, 1_000))
        chosen = settings(is_global=self.is_global, large=self.large)
        self.cases = App(self._ports(), chosen, pause=lambda _: pause())
        self.stream = Stream(
            rng, self.clock, self.functions, self.injector, self.cases.announcer.announce
        )
        names = [(f"{it}-{number}", it) for it in PEOPLE for number in range(DEVICES)]
        self.devices = [Device(self, name, user_id) for name, user_id in names]
        self.is_over = False
        self.announced = 0
        self.unexpected: list[str] = []
        #: Connections whose last token is over.
        self.expired: set[str] = set()
        #: Users who were invisible: no frame tells them that they do not count themselves any more.
        self.hidden: set[str] = set()
        self.began: dict[str, int] = {}

    def _start_services(self) -> None:
        """Lambda, DynamoDB and API Gateway, as far as the code sees them."""
        rng, clock, scheduler, injector = self.rng, self.clock, self.scheduler, self.injector
        self.functions = Lambda(rng, clock, scheduler, injector, self._unexpected, is_expected)
        slow = self.faults.slow_commit
        self.memory = Memory(rng, scheduler, lambda: clock.now, self._wrote, slow_commits=slow)
        self.gateway = SimulatedGateway(
            ENDPOINT, rng, clock, injector, self._sending, self._closing
        )

    def _ports(self) -> Fakes:
        memory, injector = self.memory, self.injector
        queue = SimulatedQueue(self.rng, self.clock, self.functions, injector, self._work)
        users = Faulty(
            "users",
            lambda tables: FakeUsers(tables, is_global=self.is_global, rules=Rules(GRACE)),
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
        )
        return Fakes(*cast("Any", ports))

    # ── a run ──────────────────────────────────────────────────────────────────────────

    def run(self, steps: int = STEPS) -> int:
        """So many steps with faults, and then in peace; how many it were in all.

        Raises:
            Violation: a promise is broken.
        """
        for device in self.devices:
            self.clock.later(self.rng.randrange(20 * SECOND), device.connect)
            self.clock.later(self.rng.randrange(30 * SECOND), partial(self._live, device))
        self._sweep_later()
        count = sum(1 for _ in self._steps(steps))
        return count + self._rest()

    def _rest(self) -> int:
        self.is_over = True
        self.injector.faults = Faults()
        self.memory.slow_commits = 0.0
        for device in self.devices:
            if self.rng.random() < 0.5:
                device.connect()
        count = self._quiet(2 * LEASE + 2 * SWEEP)
        self._check_truth()
        for device in self.devices:
            device.close()
        count += self._quiet(2 * LEASE + 2 * SWEEP + GRACE)
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

    # ── what people do ─────────────────────────────────────────────────────────────────

    def _live(self, device: Device) -> None:
        if self.is_over:
            return
        self.clock.later(self.rng.randint(SECOND, 40 * SECOND), partial(self._live, device))
        if self.clock.now < device.waits_until:
            return
        if not device.link:
            device.connect()
        elif device.is_here:
            self.rng.choice(self._whims)(device)

    @property
    def _whims(self) -> list[Callable[[Device], None]]:
        rng = self.rng
        session_id = rng.choice(SESSIONS)
        return [
            Device.close,
            Device.close,
            Device.die,
            Device.quit,
            self._back_soon,
            self._back_soon,
            self._part,
            lambda it: it.turn(is_active=rng.random() < 0.5),
            lambda it: it.join(session_id),
            lambda it: it.leave(session_id),
            self._choose,
            self._read,
            self._read,
            self._block,
            self._kick,
            self._forget,
            lambda _: self._sweep(),
        ]

    def _back_soon(self, device: Device) -> None:
        device.close()
        self.clock.later(self.rng.randrange(GRACE), device.connect_again)

    def _part(self, device: Device) -> None:
        """One device falls silent, and another closes when that is about to be noticed."""
        others = [it for it in self.devices if it.user_id == device.user_id and it is not device]
        other = self.rng.choice(others)
        session_id = self.rng.choice(SESSIONS)
        for it in (device, other):
            it.waits_until = self.clock.now + LEASE + 3 * GRACE
            if it.is_here:
                it.join(session_id)
        self.clock.later(self.rng.randrange(GRACE), device.die)
        self.clock.later(LEASE - self.rng.randrange(2 * GRACE), other.close)

    def _choose(self, device: Device) -> None:
        until = self.rng.choice((None, None, self.clock.now + 20 * SECOND))
        choice = self.rng.choice(list(Choice))
        if choice is Choice.INVISIBLE:
            self.hidden.add(device.user_id)
        chosen_at = self.rng.choice((None, None, self.clock.now - 5 * SECOND))
        device.choose(Chosen(choice, self.rng.choice((None, "out")), until, chosen_at))

    def _read(self, device: Device) -> None:
        """A back end asks over HTTP."""
        asked_at, viewer_id = self.clock.now, self.rng.choice((None, device.user_id))
        user_id = self.rng.choice(PEOPLE)

        def answered(result: Any) -> None:
            if not isinstance(result, BaseException):
                self.checks.hears(viewer_id, frame_of(result))
                self.checks.read(result, asked_at - STALE)

        statuses = self.cases.statuses
        self.functions.invoke(
            f"GET {user_id}", lambda now: statuses.read(user_id, viewer_id, now), answered
        )

    def _block(self, device: Device) -> None:
        act = self.rng.choice((self.cases.blocking.block, self.cases.blocking.unblock))
        other = self.rng.choice([it for it in PEOPLE if it != device.user_id])
        self.functions.until_done("block", lambda now: act(device.user_id, other, now))

    def _kick(self, device: Device) -> None:
        if self.rng.random() < 0.3:
            user_id = device.user_id
            for link in self.sockets:
                if link.startswith(user_id):
                    self.expired.add(link)
                    self.checks.ends(link)

            def work(now: int) -> None:
                self.checks.leaves(user_id)
                self.cases.removal.kick(user_id, now)

            self.functions.invoke("kick", work, lambda _: None)

    def _forget(self, _: Device) -> None:
        """TTL deletes what is not needed any more, some time."""
        for name, record in list(self.memory.tables.connections.items()):
            is_old = record.opened_at < self.clock.now - FORGOTTEN
            if record.state is State.CLOSED and is_old:
                self.memory.forget(("connections", name, ""))

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
        connections = self.cases.connections

        def ended(before: Any) -> None:
            if not isinstance(before, BaseException) and before and before.user_id:
                self.checks.finished.add(link)

        def work(now: int) -> Any:
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
        late = 100 * SECOND if self.injector.happens("late") else 50

        def ended(result: Any) -> None:
            if not isinstance(result, BaseException) and action != "authenticate":
                self.checks.accepted(link, device.token_until[link], self.began[link])
            self.clock.later(20, lambda: answered(result))

        def arrive() -> None:
            def timed(now: int) -> Any:
                self.began[link] = self.clock.now
                self._may_be_here(link, now + LEASE)
                return work(now)

            self.functions.invoke(f"{action} {link}", timed, ended)

        for _ in range(1 + self.injector.happens("twice")):
            self.clock.later(self.rng.randrange(late), arrive)

    def _may_be_here(self, link: str, until: int) -> None:
        self.checks.may_be_here(link.partition("-")[0], until)

    def heard(self, link: str, sent_at: int) -> None:
        """A frame of a connection was answered."""
        user_id = link.partition("-")[0]
        record = self.memory.tables.connections.get(link)
        if record is not None and link not in self.expired and self.sockets[link].is_open:
            limit = lease_limit(record.token_expires_at or 0)
            user = self.memory.tables.users.get(user_id)
            self.checks.acknowledged(link, sent_at, limit, user)

    def _sending(self, connection_id: str, text: str) -> None:
        """A frame leaves; what waited in the queue was decided before, so it is not looked at."""
        task = running()
        if task is None or task.name.startswith(("post", "job")):
            return
        viewer_id, frame = connection_id.partition("-")[0], json.loads(text)
        for said in (*frame.get("changes", ()), *frame.get("joined", ())):
            user = self.memory.tables.users.get(said["userId"])
            self._hold(partial(self.checks.sends, viewer_id, said, user, task.began))

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
                self._sweep()

    def _sweep(self) -> None:
        sweeping = self.cases.sweep
        self.functions.invoke(
            "sweep", lambda now: sweeping.run(now, lambda: True), lambda _: None, seconds=60
        )

    # ── what must be so in the end ─────────────────────────────────────────────────────

    def _check_truth(self) -> None:
        for user_id in PEOPLE:
            user = self.memory.tables.users.get(user_id, User(user_id))
            live = {it.link for it in self.devices if it.user_id == user_id and it.is_here}
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
        for user_id in PEOPLE:
            user = self.memory.tables.users.get(user_id, User(user_id))
            truth = frame_of(user.seen_by(device.user_id))
            belief = device.beliefs.get(user_id, {"status": "offline"})
            if any(truth.get(name) != belief.get(name) for name in ("status", "text")):
                raise Violation(f"I8: {device.link} believes {belief}, and it is {truth}")

    def _check_members(self, device: Device) -> None:
        """Who is there is ordered by the clocks of functions, so these have to agree."""
        if self.faults.skew or self.large < len(PEOPLE):
            return
        for session_id in device.rooms - device.left:
            if device.link not in self.memory.tables.sessions.get(session_id, {}):
                continue
            users = [self.memory.tables.users.get(it, User(it)) for it in PEOPLE]
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
