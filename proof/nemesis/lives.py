"""When a user certainly was here, and when they possibly were: two lists of intervals.

Only what a client knows counts. A frame that was answered was served between its sending and its
answer, so its lease certainly lasts from the answer until a lease after the sending. A frame that
was sent may have been served, or not. A connection that ended may have been reported at once, or
never.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from proof.nemesis.history import Call, Connection, Decision, History, Interval

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

#: The kind of death that is not reported: a half-open connection.
SILENT = "half-open"


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

    def known(self, start: float, waits: float = 0.0) -> float:
        """When a change has to be known that became due so long after *start*.

        What only waits does not depend on the machine: neither the clock nor a lease stands still.
        """
        due = later(start, waits, self.outages)
        return later(due, TRAVEL, union([*self.outages, *self.stalls]))


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


@dataclass(frozen=True, slots=True)
class Life:
    """One stay of one connection, from its first frame until no observer should see it any more.

    `ideal` is when it ends if nothing is in the way, `unread` from when no answer may say that
    the user is here because of it, and `untold` from when no subscriber may believe so.
    """

    start: float
    died_at: float
    kind: str
    ideal: float
    unread: float
    untold: float
    is_acked: bool


def lives(connection: Connection, history: History, outages: Outages) -> list[Life]:
    """The stays of a connection: several if it was silent for longer than a lease."""
    found = []
    for calls, is_last in _stays(connection.calls, history.rules.lease):
        sent = calls[-1].sent
        silent = _silent(connection, calls, history, outages)
        ending = connection.ending if is_last else None
        if ending is None:
            found.append(silent if not is_last or _is_over(silent, history) else _open(silent))
        elif ending.at > sent + history.rules.lease:
            found.append(silent)
        else:
            found.append(_ended(silent, connection, history, outages))
    return found


def _is_over(silent: Life, history: History) -> bool:
    return silent.untold < history.stop


def _open(silent: Life) -> Life:
    """It may still be there when the history ends."""
    return Life(silent.start, FOREVER, "open", FOREVER, FOREVER, FOREVER, silent.is_acked)


def _stays(calls: Sequence[Call], lease: float) -> list[tuple[list[Call], bool]]:
    stays: list[list[Call]] = []
    for call in calls:
        if stays and call.sent <= stays[-1][-1].sent + lease + TRAVEL:
            stays[-1].append(call)
        else:
            stays.append([call])
    return [(stay, stay is stays[-1]) for stay in stays]


def _silent(
    connection: Connection, calls: Sequence[Call], history: History, outages: Outages
) -> Life:
    """As if its end was never reported."""
    rules, sent = history.rules, calls[-1].sent
    died_at = min((at for at in connection.paused if at >= sent), default=sent)
    return Life(
        start=calls[0].sent,
        died_at=died_at if died_at <= sent + rules.lease else sent,
        kind=SILENT,
        ideal=sent + rules.lease,
        unread=outages.http.known(sent, rules.lease),
        untold=outages.push.known(sent, rules.lease + rules.sweep),
        is_acked=any(call.acked for call in calls),
    )


def _ended(silent: Life, connection: Connection, history: History, outages: Outages) -> Life:
    """As `$disconnect` reports it, or as late as if it had been lost, if it may have been.

    To leave on purpose has no grace period, once that is answered.
    """
    assert connection.ending is not None
    rules, at, how = history.rules, connection.ending.at, connection.ending.how
    left = [it.acked for it in connection.calls if it.action == "leave" and it.acked is not None]
    at, grace = (min(left), 0.0) if left else (at, rules.grace)
    ideal = at + grace
    unread = outages.http.known(at, grace)
    untold = outages.push.known(at, grace)
    if outages.may_lose(at - TRAVEL, ideal + TRAVEL):
        untold = max(outages.push.known(at, grace + rules.sweep), silent.untold)
    if outages.may_lose(at - TRAVEL, at + TRAVEL):
        unread, ideal = max(unread, silent.unread), max(ideal, silent.ideal)
    return Life(silent.start, at, how, ideal, unread, untold, silent.is_acked)


def certain(connection: Connection, history: History, *, member: bool = False) -> list[Interval]:
    """When the user was certainly here, or in the chat session, because of this connection."""
    end = _certain_end(connection, history)
    leases = [
        Interval(call.acked, min(call.sent + history.rules.lease, end) - TICK)
        for call in connection.calls
        if call.acked is not None
    ]
    return union(_both(leases, _memberships(connection, history)) if member else leases)


def _both(some: Iterable[Interval], others: Sequence[Interval]) -> Iterable[Interval]:
    for it in some:
        for other in others:
            yield Interval(max(it.start, other.start), min(it.stop, other.stop))


def _memberships(connection: Connection, history: History) -> list[Interval]:
    """From each answer that says so, until the user is taken out."""
    removals = history.decided("remove", connection.user_id)
    return [
        Interval(
            call.acked, min((it.start for it in removals if it.stop > call.sent), default=FOREVER)
        )
        for call in connection.calls
        if call.joined and call.acked is not None
    ]


def revoked_at(connection: Connection, history: History) -> Decision | None:
    """The first revocation of the token of a connection."""
    found = history.decided("revoke", connection.user_id)
    return next((it for it in found if connection.issued < it.start), None)


def _certain_end(connection: Connection, history: History) -> float:
    """No frame before grace is over, or before the lease is, if the ending was lost."""
    revocation, ending = revoked_at(connection, history), connection.ending
    end = FOREVER if revocation is None else revocation.start
    if ending is None:
        return end
    has_grace = ending.how not in ("closed", "leave")
    return min(end, ending.at + history.rules.grace * has_grace)


@dataclass(frozen=True, slots=True)
class Certainty:
    """When a user was certainly here, and certainly in the chat session."""

    here: Sequence[Interval]
    member: Sequence[Interval]


def certainty(connections: Sequence[Connection], history: History) -> Certainty:
    return Certainty(
        here=union(i for it in connections for i in certain(it, history)),
        member=union(i for it in connections for i in certain(it, history, member=True)),
    )


@dataclass(frozen=True, slots=True)
class Stay:
    """All lives of a user that overlap, and the one that ends last."""

    lives: Sequence[Life]

    @property
    def start(self) -> float:
        return min(it.start for it in self.lives)

    @property
    def last(self) -> Life:
        return max(self.lives, key=lambda it: it.ideal)


def stays(found: Iterable[Life]) -> list[Stay]:
    """Lives that overlap, were nothing in the way of their ends, are one stay."""
    groups: list[list[Life]] = []
    for life in sorted(found, key=lambda it: it.start):
        if groups and life.start <= max(it.ideal for it in groups[-1]):
            groups[-1].append(life)
        else:
            groups.append([life])
    return [Stay(group) for group in groups]


def gaps(intervals: Sequence[Interval], end: float) -> list[Interval]:
    """What is between the intervals, and behind the last."""
    edges = [*((it.stop, other.start) for it, other in pairwise(intervals))]
    edges += [(intervals[-1].stop, end)] if intervals else []
    return [Interval(start, stop) for start, stop in edges if start < stop]
