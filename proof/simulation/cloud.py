"""What lies between the functions: sockets, the queue, the stream; each as unreliable as on AWS."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any
from zlib import crc32

from presence.domain.user import User
from presence.fanout.diffs import Record
from presence.ports import Delivery, ExpiredCheck, Job, Post, UserCheck
from proof.simulation.faults import Injector
from proof.simulation.scheduler import Scheduler, running
from tests.fakes import check_each

SECOND = 1_000
#: A socket so young may be answered 410 although it lives.
YOUNG = 5 * SECOND
#: How often in a row API Gateway has no room for one socket.
MOST_BUSY = 3
STREAM_SHARDS = 2
BATCH = 5


@dataclass
class Clock:
    """Virtual time, and what is to happen when; epoch milliseconds."""

    now: int
    due: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)
    number: Iterator[int] = field(default_factory=count)

    def later(self, milliseconds: int, act: Callable[[], None]) -> None:
        heappush(self.due, (self.now + max(0, milliseconds), next(self.number), act))

    @property
    def is_due(self) -> bool:
        return bool(self.due) and self.due[0][0] <= self.now

    def next(self) -> None:
        at, _, act = heappop(self.due)
        self.now = max(self.now, at)
        act()


@dataclass
class Socket:
    """As API Gateway sees it; the client at the other end may be long gone.

    `hear` is called with a frame that arrives, `closed` when the server has closed it.
    """

    endpoint: str
    opened_at: int
    hear: Callable[[str], None]
    closed: Callable[[], None]
    missed: Callable[[], None]
    is_open: bool = True
    busy: int = 0


@dataclass
class Lambda:
    """Invokes: in parallel, with a clock of its own, until a deadline."""

    rng: Random
    clock: Clock
    scheduler: Scheduler
    injector: Injector
    #: Errors that no function should end with.
    unexpected: Callable[[str, BaseException], None]
    is_expected: Callable[[BaseException], bool]

    def invoke(
        self,
        name: str,
        work: Callable[[int], Any],
        ended: Callable[[Any], None],
        seconds: int = 10,
        since: int | None = None,
    ) -> None:
        """Have *work* done with the time of its host, and tell *ended* the result or the error.

        *since* is when the oldest of what it has to tell was so; None is now.
        """

        def end(result: Any) -> None:
            if isinstance(result, BaseException) and not self.is_expected(result):
                self.unexpected(name, result)
            ended(result)

        began = self.clock.now
        deadline = began + seconds * SECOND
        self.scheduler.spawn(
            name,
            lambda: work(self._now_of_host()),
            end,
            began=began,
            deadline=deadline,
            since=since,
        )

    def _now_of_host(self) -> int:
        skew = 3 * SECOND if self.injector.happens("skew") else 0
        return self.clock.now + self.rng.randint(-skew, skew)

    def until_done(
        self,
        name: str,
        work: Callable[[int], Any],
        seconds: int = 10,
        since: int | None = None,
    ) -> None:
        """At least once, as a queue does it: what fails comes again, and so may what did not."""

        def ended(result: Any) -> None:
            has_failed = isinstance(result, BaseException)
            if has_failed or self.injector.happens("twice"):
                delay = self.rng.randint(SECOND, 30 * SECOND)
                self.clock.later(delay, lambda: self.until_done(name, work, seconds, since))

        self.invoke(name, work, ended, seconds, since)


@dataclass
class SimulatedGateway:
    """The management API of one stage."""

    endpoint: str
    rng: Random
    clock: Clock
    injector: Injector
    #: A text is about to be sent to a connection.
    sending: Callable[[str, str], None]
    closing: Callable[[str], None]
    sockets: dict[str, Socket] = field(default_factory=dict)

    def post(self, posts: Iterable[Post], *, until: int | None = None) -> Delivery:
        del until
        at = self.clock.now
        answers: dict[str, list[str]] = {"gone": [], "again": []}
        for post in posts:
            self.injector.before("gateway.post")
            for name in post.connection_ids:
                answer = self._post(name, post.text)
                answers.get(answer, []).append(name)
        named = {name: tuple(dict.fromkeys(ids)) for name, ids in answers.items()}
        return Delivery(**named, at=at)

    def _post(self, name: str, text: str) -> str:
        socket = self.sockets.get(name)
        if socket is None or not socket.is_open or socket.endpoint != self.endpoint:
            return "gone"
        if self.clock.now - socket.opened_at < YOUNG and self.injector.happens("young_gone"):
            socket.missed()
            return "gone"
        if socket.busy < MOST_BUSY and self.injector.happens("busy_socket"):
            socket.busy += 1
            return "again"
        socket.busy = 0
        self.sending(name, text)
        slow = 3 * SECOND if self.injector.happens("reordered") else 20
        self.clock.later(self.rng.randint(1, slow), lambda: socket.hear(text))
        return "delivered"

    def close(self, name: str) -> None:
        self.injector.before(f"gateway.close({name!r})")
        socket = self.sockets.get(name)
        if socket is not None and socket.is_open and socket.endpoint == self.endpoint:
            self.closing(name)
            socket.is_open = False
            self.clock.later(10, socket.closed)


@dataclass
class SimulatedQueue:
    """Timers, deliveries and jobs: at least once, in any order, never early and perhaps late.

    `work` does what a message says.
    """

    rng: Random
    clock: Clock
    functions: Lambda
    injector: Injector
    work: Callable[[str, tuple[Any, ...], int], None]

    def _put(self, kind: str, *what: Any, seconds: int = 0) -> None:
        self.injector.before(f"queue.put({kind}, {what[:1]}, {seconds} s)")
        late = 60 * SECOND if self.injector.happens("late") else 200
        task = running()
        since = self.clock.now if task is None else task.since

        def arrive() -> None:
            name = f"{kind}{what[:1]}"
            self.functions.until_done(name, lambda now: self.work(kind, what, now), since=since)

        self.clock.later(seconds * SECOND + self.rng.randrange(late), arrive)
        self.injector.after("queue.put")

    def check_connection(self, connection_id: str, delay_seconds: int) -> None:
        self._put("connection", connection_id, seconds=delay_seconds)

    def check_user(self, user_id: str, delay_seconds: int) -> None:
        self._put("user", user_id, seconds=delay_seconds)

    def check_expired(
        self,
        connection_id: str,
        user_id: str,
        sessions: Collection[str],
        delay_seconds: int = 0,
        reason: str | None = None,
    ) -> None:
        what = (connection_id, user_id, frozenset(sessions), reason)
        self._put("expired", *what, seconds=delay_seconds)

    def check_all(self, checks: Sequence[UserCheck | ExpiredCheck]) -> None:
        check_each(self, checks)

    def check_gone(self, connection_ids: Sequence[str], at: int) -> None:
        for connection_id in connection_ids:
            self._put("gone", connection_id, at)

    def check_told(self, user_id: str, version: int, delay_seconds: int) -> None:
        self._put("told", user_id, version, seconds=delay_seconds)

    def check_room(self, session_id: str, tick: int, delay_seconds: int) -> None:
        self._put("room", session_id, tick, seconds=delay_seconds)

    def put_all(
        self, parcels: Iterable[Sequence[Post]], *, attempt: int = 0, delay_seconds: int = 0
    ) -> None:
        for posts in parcels:
            self._put("post", posts, attempt, seconds=delay_seconds)

    def put_jobs(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            self._put("job", job)


@dataclass(frozen=True)
class Change:
    """What the stream carries of one write at an instant, in epoch milliseconds."""

    before: User
    after: User
    at: int


@dataclass
class Stream:
    """The changes of the users, in the order of each user; a batch that fails comes again."""

    rng: Random
    clock: Clock
    functions: Lambda
    injector: Injector
    announce: Callable[[Sequence[Record]], Any]
    shards: list[list[Change]] = field(default_factory=lambda: [[] for _ in range(STREAM_SHARDS)])
    busy: set[int] = field(default_factory=set)

    def take(self, records: list[tuple[User, User]]) -> None:
        """New records; everything that is in the list afterwards has been taken."""
        while records:
            before, after = records.pop(0)
            number = crc32(after.user_id.encode()) % STREAM_SHARDS
            self.shards[number].append(Change(before, after, self.clock.now))
            self._poll_soon(number)

    def _poll_soon(self, number: int, least: int = 1) -> None:
        self.clock.later(self.rng.randint(least, SECOND), lambda: self._poll(number))

    def _poll(self, number: int) -> None:
        waiting = self.shards[number]
        if not waiting or number in self.busy:
            return
        self.busy.add(number)
        batch = waiting[: self.rng.randint(1, BATCH)]

        def ended(result: Any) -> None:
            self.busy.remove(number)
            if not isinstance(result, BaseException) and not self.injector.happens("twice"):
                del waiting[: len(batch)]
                if self.injector.happens("twice"):  # out of the dead-letter queue, much later
                    self._redrive(batch)
            self._poll_soon(number)

        self._announce(f"announce/{number}", batch, ended)

    def _redrive(self, batch: Sequence[Change]) -> None:
        delay = self.rng.randint(SECOND, 300 * SECOND)
        self.clock.later(delay, lambda: self._announce("redrive", batch, lambda _: None))

    def _announce(self, name: str, batch: Sequence[Change], ended: Callable[[Any], None]) -> None:
        def work(now: int) -> None:
            self.announce([Record(it.before, it.after, at=now) for it in batch])

        since = min(it.at for it in batch)
        self.functions.invoke(name, work, ended, seconds=60, since=since)
