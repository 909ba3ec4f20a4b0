"""When a user certainly was here, and when they possibly were: two lists of intervals.

Only what a client knows counts. A frame that was answered was served between its sending and its
answer, so its lease certainly lasts from the answer until a lease after the sending. A frame that
was sent may have been served, or not. A connection that ended may have been reported at once, or
never.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from proof.nemesis.history import Call, Connection, Decision, History, Interval
from proof.nemesis.leases import latest_end, least_end
from proof.nemesis.looks import Looks, looks_at
from proof.nemesis.outages import FOREVER, TICK, TRAVEL, Outages, union

#: The kind of death that is not reported: a half-open connection.
SILENT = "half-open"
#: What it may take, beside the wait for an answer, until who asks is told that there was none.
LOOK = 2.0


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


@dataclass(frozen=True, slots=True)
class Witness:
    """All that is held against the connections of one user."""

    history: History
    outages: Outages
    looks: Looks


def witness(user_id: str, history: History, outages: Outages) -> Witness:
    own = [it for it in history.connections if it.user_id == user_id]
    return Witness(history, outages, looks_at(user_id, own, history, outages.http))


def lives_of(user_id: str, history: History, outages: Outages) -> list[Life]:
    it = witness(user_id, history, outages)
    return [
        life
        for connection in history.connections
        if connection.user_id == user_id
        for life in _lives(connection, it)
    ]


def _lives(connection: Connection, it: Witness) -> list[Life]:
    """The stays of a connection: several if it was silent for longer than a lease."""
    found = []
    for first, last in (stays := _stays(connection.calls, it)):
        is_last = (first, last) == stays[-1]
        silent, ending = _silent(connection, first, last, it), connection.ending
        looked = _looked(silent, connection.calls[last - 1].sent, it)
        if ending is None or not is_last:
            is_over = not is_last or looked.untold < it.history.stop
            found.append(looked if is_over else _open(silent))
        elif ending.at > looked.ideal:
            found.append(looked)
        else:
            found.append(_ended(silent, connection, it))
    return found


def _open(silent: Life) -> Life:
    """It may still be there when the history ends."""
    return Life(silent.start, FOREVER, "open", FOREVER, FOREVER, FOREVER, silent.is_acked)


def _stays(calls: Sequence[Call], it: Witness) -> list[tuple[int, int]]:
    """Parted where a frame came so late that its user must have been offline before."""
    starts = [0] if calls else []
    for number in range(1, len(calls)):
        end = latest_end(calls[:number], it.history.rules, it.looks.spared_until) + TRAVEL
        settled = it.looks.settled_at(calls[number - 1].sent)
        if calls[number].sent > min(end, it.outages.http.known(settled)):
            starts.append(number)
    return list(pairwise([*starts, len(calls)]))


def _silent(connection: Connection, first: int, last: int, it: Witness) -> Life:
    """As if its end was never reported, and no observer looked."""
    rules, calls = it.history.rules, connection.calls[:last]
    sent, until = calls[-1].sent, latest_end(calls, rules, it.looks.spared_until)
    died_at = min((at for at in connection.paused if at >= sent), default=sent)
    return Life(
        start=calls[first].sent,
        died_at=died_at if died_at <= until else sent,
        kind=SILENT,
        ideal=until,
        unread=it.outages.http.known(sent, until - sent),
        untold=it.outages.push.known(sent, until - sent + rules.sweep),
        is_acked=any(call.acked for call in calls[first:]),
    )


def _looked(silent: Life, sent: float, it: Witness) -> Life:
    """A half-open connection whose user others verify, if one of them did before its lease ended.

    What they cause is told by a timer, and not by the sweep.
    """
    settled = it.looks.settled_at(sent)
    if settled >= silent.ideal:
        return silent
    return replace(
        silent,
        ideal=settled,
        unread=min(silent.unread, it.outages.http.known(settled, travel=LOOK)),
        untold=min(silent.untold, it.outages.push.known(settled, travel=LOOK)),
    )


def _ended(silent: Life, connection: Connection, it: Witness) -> Life:
    """As `$disconnect` reports it, or as late as if it had been lost, if it may have been.

    To leave on purpose has no grace period, once that is answered.
    """
    assert connection.ending is not None
    outages, rules = it.outages, it.history.rules
    at, how = connection.ending.at, connection.ending.how
    left = [call.acked for call in connection.calls if call.action == "leave" and call.acked]
    at, grace = (min(left), 0.0) if left else (at, rules.grace)
    ideal = at + grace
    unread = outages.http.known(at, grace)
    untold = outages.push.known(at, grace)
    if outages.may_lose(at - TRAVEL, ideal + TRAVEL):
        untold = max(outages.push.known(at, grace + rules.sweep), silent.untold)
    if outages.may_lose(at - TRAVEL, at + TRAVEL):
        unread, ideal = max(unread, silent.unread), max(ideal, silent.ideal)
    return Life(silent.start, at, how, ideal, unread, untold, silent.is_acked)


def lease_ends(connection: Connection, it: Witness) -> list[tuple[Call, float]]:
    """Each frame that was answered, and until when its lease certainly lasts."""
    calls, rules = connection.calls, it.history.rules
    return [
        (call, min(least_end(calls, number, rules), it.looks.spared_until(call.sent)))
        for number, call in enumerate(calls)
        if call.acked is not None
    ]


def certain(connection: Connection, it: Witness, *, member: bool = False) -> list[Interval]:
    """When the user was certainly here, or in the chat session, because of this connection."""
    end = _certain_end(connection, it.history)
    leases = [
        Interval(call.acked, min(until, end) - TICK)
        for call, until in lease_ends(connection, it)
        if call.acked is not None
    ]
    return union(_both(leases, _memberships(connection, it.history)) if member else leases)


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


def certainty(connections: Sequence[Connection], it: Witness) -> Certainty:
    return Certainty(
        here=union(i for own in connections for i in certain(own, it)),
        member=union(i for own in connections for i in certain(own, it, member=True)),
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
