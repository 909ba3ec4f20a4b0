"""Histories written by hand, of one user: ada.

Lease 10, grace 3, sweep 5, and 3 seconds for the news to travel; hidden, a lease of 60; a frame is
proof for 3 seconds, and a probe is awaited for 2. A version is an instant, in thousandths of the
seconds used here.
"""

from collections.abc import Sequence
from typing import Any

from proof.nemesis.check import check
from proof.nemesis.history import Call, Connection, Ending, Epoch, History, Rules, Told

RULES = Rules(
    heartbeat=2, lease=10, grace=3, sweep=5, background=40, background_lease=60, fresh=3, probe=2
)


def told(at: float, status: str | None, made: float | None = None, **more: Any) -> Told:
    """*status* of ada, heard at *at*, changed at *made*."""
    version = 0 if status is None else round((at - 0.2 if made is None else made) * 1000)
    return Told(at, "ada", status, version, **more)


def device(*sent: float, ending: Ending | None = None, name: str = "a", **more: Any) -> Connection:
    """A connection of ada whose frames were answered a tenth of a second after they were sent."""
    first, *others = sent
    calls = [
        Call("authenticate", first, first + 0.1),
        Call("join", first + 0.1, first + 0.2, joined=True),
    ]
    calls += [Call("ping", at, at + 0.1) for at in others]
    return Connection(name, "ada", calls, ending, **more)


def heard(*news: Told, observer: str = "watcher", stop: float = 100) -> Epoch:
    return Epoch(observer, 0, stop, news)


def history(*connections: Connection, **more: Any) -> History:
    return History(RULES, connections, **({"stop": 100} | more))


def kinds(it: History) -> Sequence[str]:
    return sorted({violation.kind for violation in check(it)})
