"""What goes wrong: how often, and where.

Swarm testing (Groce et al., ISSTA 2012): every run has some of the faults and not the others, since
one fault can keep another from ever mattering.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from random import Random
from typing import Any

from presence.domain.errors import PresenceError, Unavailable
from proof.simulation.memory import INDEX_STALE, STALE, Memory
from proof.simulation.scheduler import Crashed, pause, running
from tests.fakes import (
    FakeConnections,
    FakeMembers,
    FakeOnlineIndex,
    FakeSentMessages,
    FakeSubscriptions,
    FakeTables,
    FakeUsers,
)


@dataclass(frozen=True)
class Faults:
    """Probabilities, most of them for a call of a port; zero is what this run is spared."""

    crash: float = 0.0
    throttled: float = 0.0
    ambiguous: float = 0.0
    slow_commit: float = 0.0
    stale_read: float = 0.0
    busy_socket: float = 0.0
    young_gone: float = 0.0
    lost_disconnect: float = 0.0
    late: float = 0.0
    twice: float = 0.0
    reordered: float = 0.0
    skew: float = 0.0
    stalled: float = 0.0
    no_sweep: float = 0.0
    elsewhere: float = 0.0


#: How bad it gets, where it happens at all.
WORST = Faults(
    crash=0.01,
    throttled=0.03,
    ambiguous=0.03,
    slow_commit=0.7,
    stale_read=0.7,
    busy_socket=0.1,
    young_gone=0.2,
    lost_disconnect=0.5,
    late=0.05,
    twice=0.2,
    reordered=0.5,
    skew=0.5,
    stalled=0.002,
    no_sweep=0.3,
    elsewhere=0.2,
)


def swarm(rng: Random) -> Faults:
    chosen = {it.name: getattr(WORST, it.name) for it in fields(Faults) if rng.random() < 0.5}
    return replace(Faults(), **chosen)


@dataclass
class Injector:
    """`note` hears of every call, for the trace."""

    rng: Random
    faults: Faults
    note: Callable[[str, str], None]

    def happens(self, name: str) -> bool:
        rate: float = getattr(self.faults, name)
        return rate > 0 and self.rng.random() < rate

    def said(self, what: str) -> None:
        task = running()
        self.note("-" if task is None else task.name, what)

    def before(self, call: str) -> None:
        pause()
        self.said(call)
        self._maybe_crash(call)
        if self.happens("throttled"):
            self.said(f"{call}: throttled")
            raise Unavailable("throttled", retry_after_seconds=1)

    def after(self, call: str) -> None:
        if self.happens("ambiguous"):
            self.said(f"{call}: done, but the answer is lost")
            raise Unavailable("timed out", retry_after_seconds=1)
        self._maybe_crash(call)

    def _maybe_crash(self, call: str) -> None:
        if self.happens("crash"):
            self.said(f"{call}: crashes")
            raise Crashed


#: How a method of a port is served.
TRANSACTIONS = frozenset(
    {"open", "close", "close_unauthenticated", "charge", "save", "save_all", "renew", "counted"}
    | {
        "act",
        "keep_typed",
        "add",
        "keep",
        "grow",
        "mark",
        "mark_probed",
        "watch",
        "claim",
        "relayed",
        "stop_at",
        "raise_floor",
    }
)
PIECEMEAL = frozenset({"unwatch", "unwatch_all", "remove", "remove_trace", "forget"})
#: By port, unless the caller asks for a consistent one.
STALE_READS = frozenset({("connections", "read"), ("users", "read"), ("users", "read_many")})
LAZY = frozenset({"after", "of", "pages", "naming", "blocks"})
INDEX = frozenset({"after"})
CONSISTENT_READS = frozenset({"part", "count", "room", "floor", "position_of", "stopped_at"})

FAKES = (
    FakeConnections,
    FakeUsers,
    FakeOnlineIndex,
    FakeMembers,
    FakeSubscriptions,
    FakeSentMessages,
)
SERVED = TRANSACTIONS | PIECEMEAL | LAZY | CONSISTENT_READS | {it for _, it in STALE_READS}
#: A method that is new, or was renamed, would be served as another kind.
assert {it for fake in FAKES for it in vars(fake) if not it.startswith("_")} == SERVED


class Faulty:
    """A port: the fake of it, on this memory, with faults at every call.

    `single` says that what would be a batch elsewhere is one item here.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[FakeTables], Any],
        memory: Memory,
        injector: Injector,
        *,
        single: bool = False,
    ) -> None:
        self._name, self._make, self._single = name, make, single
        self._memory, self._injector = memory, injector

    def __getattr__(self, method: str) -> Any:
        if method.startswith("_"):
            raise AttributeError(method)
        return partial(self._call, method)

    def _call(self, method: str, *args: Any, **request: Any) -> Any:
        call = f"{self._name}.{method}{args[:1]}"
        self._injector.before(call)

        def act(tables: FakeTables) -> Any:
            return getattr(self._make(tables), method)(*args, **request)

        if method == "position_of":
            return act(self._memory.tables)
        if method in LAZY:
            return self._lazily(call, act(self._tables_for(method, args, request)))
        if method in TRANSACTIONS or (method in PIECEMEAL and self._single):
            return self._written(call, act)
        if method in PIECEMEAL:
            result = self._memory.piecemeal(act)
        else:
            result = act(self._tables_for(method, args, request))
        self._injector.after(call)
        return result

    def _written(self, call: str, act: Callable[[FakeTables], Any]) -> Any:
        result = self._memory.transact(act)
        if self._injector.happens("ambiguous"):
            # botocore repeats what was not answered, and is told what its own first try has left.
            self._injector.said(f"{call}: repeated")
            pause()
            result = self._repeat(act)
        self._injector.after(call)
        return result

    def _repeat(self, act: Callable[[FakeTables], Any]) -> Any:
        try:
            return self._memory.transact(act)
        except AssertionError as error:  # the fake's way to refuse what is there already
            raise Unavailable(str(error)) from error

    def _tables_for(
        self, method: str, args: tuple[Any, ...], request: dict[str, Any]
    ) -> FakeTables:
        if method in INDEX and args == (None,) and self._injector.happens("stale_read"):
            return self._memory.stale(INDEX_STALE)
        is_lax = (self._name, method) in STALE_READS and not request.get("consistent")
        if is_lax and self._injector.happens("stale_read"):
            record = args[0] if self._name == "connections" else None
            return self._memory.stale(STALE, record)
        return self._memory.tables

    def _lazily(self, call: str, pages: Iterable[Any]) -> Iterator[Any]:
        for page in list(pages):
            yield page
            self._injector.before(f"{call}: next")


def is_expected(error: BaseException) -> bool:
    """What a function may end with; anything else is a fault of ours."""
    return isinstance(error, PresenceError | Crashed)
