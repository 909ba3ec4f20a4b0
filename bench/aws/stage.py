"""What experiments share: users on sockets, a user who watches others, and quiet minutes."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from time import time
from typing import Any, TypeAlias

from bench.aws.cloud import Cloud
from bench.aws.ledger import Kind, Ledger, Rule, Window, rule_of
from bench.aws.target import Target
from bench.aws.wire import Wire

_ANSWER_SECONDS = 30.0
Burst: TypeAlias = Callable[[Sequence["Visitor"], int], Awaitable[int]]


class NotHeard(Exception):
    """The stack did not say in time what it has to say."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much of everything, and how long; durations in seconds.

    Attributes:
        sockets: of a burst; each sends `frames`, fewer than a connection may send at once.
        window: whole minutes that belong to one burst; 0 does not wait for minutes.
        settle: until CloudWatch has what happened.
        watch: how long an idle or silent socket is watched: beyond the 600 s after which API
            Gateway closes an idle one.
        minute: CloudWatch's.
        every: between two frames, pings or posts to such a socket.
        twins: sockets of each kind.
        quiet: before something is measured.
        pause: between two rounds.
        looks: seconds after a stimulus at which `lastActiveAt` is read.
        rounds: of what is done again and again.
    """

    sockets: int = 20
    frames: int = 15
    window: int = 2
    minute: float = 60
    settle: float = 300
    watch: float = 840
    every: float = 60
    twins: int = 2
    quiet: float = 10
    looks: Sequence[float] = (0.5, 2, 5, 10, 20, 40, 60)
    rounds: int = 20
    pause: float = 1


FULL = Pace()
QUICK = Pace(
    sockets=4,
    frames=5,
    window=0,
    settle=0,
    watch=20,
    every=2,
    twins=1,
    quiet=2,
    looks=(0.2, 1, 2),
    rounds=5,
    pause=0.3,
)


@dataclass
class Visitor:
    """A user on one connection, authenticated."""

    user_id: str
    wire: Wire
    welcome: dict[str, Any] = field(default_factory=dict)
    on_frame: Callable[[dict[str, Any]], None] = lambda _: None
    _numbers: "count[int]" = field(default_factory=count)
    _waiting: dict[str, "asyncio.Future[dict[str, Any]]"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.wire.on_text = self._hear

    @property
    def connection_id(self) -> str:
        return str(self.welcome["connectionId"])

    @property
    def lease_seconds(self) -> float:
        return float(self.welcome["leaseSeconds"])

    def say(self, action: str, **fields: object) -> None:
        """Send a frame that asks for no answer."""
        self.wire.send(json.dumps({"action": action, **fields}))

    def beat(self) -> None:
        """A ping that says whose it is: one write for the stack."""
        self.say("ping", userId=self.user_id)

    async def ask(self, action: str, **fields: object) -> dict[str, Any]:
        """Send a frame with an id, and return its answer.

        Raises:
            NotHeard: none came in time.
        """
        name = str(next(self._numbers))
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[name] = answer
        self.say(action, id=name, **fields)
        try:
            return await asyncio.wait_for(answer, _ANSWER_SECONDS)
        except TimeoutError:
            raise NotHeard(f"{self.user_id} heard no answer to {action}.") from None
        finally:
            del self._waiting[name]

    def _hear(self, text: str) -> None:
        frame = json.loads(text)
        waiting = self._waiting.get(str(frame.get("id")))
        if waiting and not waiting.done():
            waiting.set_result(frame)
        self.on_frame(frame)


@dataclass
class Watcher:
    """A user who hears of the users it watches: when, and which presence."""

    visitor: Visitor
    heard: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.visitor.on_frame = self._hear

    async def watch(self, user_ids: Sequence[str]) -> None:
        await self.visitor.ask("watch", userIds=list(user_ids))

    def when(self, user_id: str, status: str, since: float) -> tuple[float, dict[str, Any]] | None:
        """The first presence with this status that was heard since then, and when."""
        return next(
            (
                (at, it)
                for at, it in self.heard
                if at >= since and (it["userId"], it["status"]) == (user_id, status)
            ),
            None,
        )

    async def wait(
        self, user_id: str, status: str, since: float, within: float
    ) -> tuple[float, dict[str, Any]] | None:
        """As `when`, but waits for it; None if it did not come in time."""
        deadline = time() + within
        while (found := self.when(user_id, status, since)) is None and time() < deadline:
            self._news.clear()
            with_limit = asyncio.wait_for(self._news.wait(), max(0.0, deadline - time()))
            await asyncio.gather(with_limit, return_exceptions=True)
        return found

    def _hear(self, frame: dict[str, Any]) -> None:
        if frame.get("type") != "user-status-change":
            return
        now = time()
        self.heard += [(now, it) for it in frame["changes"]]
        self._news.set()


class Stage:
    """One stack, for all experiments of a run."""

    def __init__(self, target: Target, cloud: Cloud, ledger: Ledger, pace: Pace, run: str) -> None:
        self.target, self.cloud, self.ledger, self.pace = target, cloud, ledger, pace
        self.started = time()
        #: Held while something is counted, and by what makes much traffic.
        self.alone = asyncio.Lock()
        self._run, self._numbers = run, count()
        self._control: asyncio.Task[Window] | None = None

    def name(self) -> str:
        """A user id that no run had before."""
        return f"bench-{self._run}-{next(self._numbers)}"

    async def join(self, user_id: str | None = None) -> Visitor:
        """A user who has connected and authenticated.

        Raises:
            NotHeard: the stack does not let it in; the message has its answer.
        """
        name = user_id or self.name()
        self.cloud.hosts.require(self.target.web_socket_url)
        token = await asyncio.to_thread(self.target.token, name)
        visitor = Visitor(name, await Wire.open(self.target.web_socket_url, self.ledger))
        visitor.welcome = await visitor.ask("authenticate", token=token, userId=name)
        if visitor.welcome["type"] != "authentication-success":
            visitor.wire.abandon()
            raise NotHeard(f"{name} is not let in: {visitor.welcome.get('message')}")
        return visitor

    @asynccontextmanager
    async def crowd(self, size: int) -> AsyncIterator[Sequence[Visitor]]:
        """So many users, one after the other; all leave at the end."""
        async with AsyncExitStack() as leaving:
            visitors = []
            for _ in range(size):
                visitor = await self.join()
                leaving.push_async_callback(visitor.wire.close)
                visitors.append(visitor)
            yield visitors

    @asynccontextmanager
    async def watcher(self, user_ids: Sequence[str]) -> AsyncIterator[Watcher]:
        """A user who watches these, and keeps its lease by pings."""
        watcher = Watcher(await self.join())
        beating = asyncio.create_task(_beat(watcher.visitor))
        try:
            await watcher.watch(user_ids)
            yield watcher
        finally:
            beating.cancel()
            await watcher.visitor.wire.close()

    # ── what CloudWatch counts ─────────────────────────────────────────────────────────────

    async def window(self, kind: Kind, burst: Burst) -> Window:
        """Do something so often that it stands out in MessageCount, in minutes of its own.

        Args:
            kind: of what is done.
            burst: gets the users of the window and how often each is to do it; returns how often
                it was done in all.
        """
        async with self.alone, self.crowd(self.pace.sockets) as visitors:
            start = await self.minute()
            asked = await burst(visitors, self.pace.frames)
            end = await self.pass_from(start)
            counts = self.ledger.between(start, end)
        window = Window(kind, start, end, asked, {str(kind): it for kind, it in counts.items()})
        await asyncio.sleep(self.pace.settle)
        messages = await self.cloud.metric("MessageCount", start, end)
        return replace(window, messages=messages)

    async def control(self) -> tuple[Window, Rule | None]:
        """Frames that are all answered: what the metric counts. Measured once in a run."""
        if self._control is None:
            self._control = asyncio.create_task(self.window("heard", answered))
        window = await self._control
        return window, rule_of(window)

    async def minute(self) -> float:
        """The begin of the minute that is counted; waits for it, unless in a hurry."""
        now, minute = time(), self.pace.minute
        if not self.pace.window:
            return math.floor(now / minute) * minute
        start = math.ceil(now / minute) * minute
        await asyncio.sleep(start - now + minute / 60)
        return start

    async def pass_from(self, start: float) -> float:
        """The end of the minutes that are counted; waits for it, unless in a hurry."""
        minute, now = self.pace.minute, time()
        end = max(start + self.pace.window * minute, math.ceil(now / minute) * minute)
        if self.pace.window:
            await asyncio.sleep(end - now)
        return end


async def answered(visitors: Sequence[Visitor], frames: int) -> int:
    """Each user sends so many frames, one after the other, and each has its answer.

    `unwatch` of a user who is not watched costs next to nothing, is told to no other user, and is
    answered because of its `id`.
    """

    async def speak(visitor: Visitor) -> None:
        for _ in range(frames):
            await visitor.ask("unwatch", userIds=["stranger"])

    await asyncio.gather(*map(speak, visitors))
    return frames * len(visitors)


async def _beat(visitor: Visitor) -> None:
    while True:
        await asyncio.sleep(0.9 * float(visitor.welcome["heartbeatSeconds"]))
        visitor.beat()
