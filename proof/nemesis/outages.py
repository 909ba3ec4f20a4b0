"""Intervals of time, and when the stack, or the machine, could not do what it has to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proof.nemesis.history import History, Interval

#: What news may take on its way beyond lease, grace and sweep (I5), on a machine that has nothing
#: else to do; what it loses to others, or stands still, is measured and does not count.
TRAVEL = 3.0
#: The server's clock has whole milliseconds, and so have its leases.
TICK = 0.01
#: What keeps a change from being announced, or shown to a read.
_HIDES = frozenset({"stream", "sweep", "workers", "redeploy"})
#: What may lose the news that a connection has ended, or the timer that ends a grace period.
_LOSES = frozenset({"route", "workers", "redeploy"})
#: What keeps those who ask from what is stored.
_DELAYS = frozenset({"workers", "redeploy"})

FOREVER = float("inf")


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same instants in as few intervals as possible, in order."""
    merged: list[Interval] = []
    for it in sorted(intervals, key=lambda it: it.start):
        if merged and it.start <= merged[-1].stop:
            merged[-1] = Interval(merged[-1].start, max(merged[-1].stop, it.stop))
        elif it.start < it.stop:
            merged.append(it)
    return merged


def later(start: float, seconds: float, outages: Sequence[Interval]) -> float:
    """When so many seconds have passed since *start*, outages not counted."""
    at = start
    for outage in outages:
        if outage.stop <= at:
            continue
        if outage.start >= at + seconds:
            break
        seconds -= max(0.0, outage.start - at)
        at = outage.stop
    return at + seconds


def lost_share(history: History) -> float:
    """How much of a run the machine was not there for it."""
    lost = sum(it.stop - it.start for it in union(history.stalls))
    return lost / max(1.0, history.stop - history.start)


@dataclass(frozen=True, slots=True)
class Path:
    """How an observer learns of a change, and when that could not be."""

    outages: Sequence[Interval]
    stalls: Sequence[Interval]

    def known(self, start: float, waits: float = 0.0, travel: float = TRAVEL) -> float:
        """When a change has to be known that became due so long after *start*.

        What only waits does not depend on the machine: neither the clock nor a lease stands still.
        """
        due = later(start, waits, self.outages)
        return later(due, travel, union([*self.outages, *self.stalls]))


@dataclass(frozen=True, slots=True)
class Outages:
    """By what they keep from happening."""

    push: Path
    http: Path
    endings: Sequence[Interval]

    @classmethod
    def of(cls, history: History) -> "Outages":
        def those(names: frozenset[str]) -> list[Interval]:
            return union(Interval(it.start, it.stop) for it in history.faults if it.name in names)

        stalls = union(history.stalls)
        return cls(Path(those(_HIDES), stalls), Path(those(_DELAYS), stalls), those(_LOSES))

    def may_lose(self, start: float, stop: float) -> bool:
        """Whether something that was to happen in this time may never have happened."""
        return any(it.start < stop and start < it.stop for it in self.endings)
