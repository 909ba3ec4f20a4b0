"""Reads the history of a run and says what must not have happened.

    python -m proof.nemesis.check FOLDER

It knows nothing of the server but its durations: all that it holds against the clients' own
accounts is what observers were told. Its bounds count from what a client sent and what was
acknowledged; an outage that the nemesis made, or a machine that stood still, stretches a bound by
exactly as long as it lasted.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from proof.nemesis.history import (
    Epoch,
    History,
    Interval,
    Look,
    Poll,
    Snapshot,
    Told,
    read,
)
from proof.nemesis.lives import (
    Certainty,
    certainty,
    gaps,
    lease_ends,
    lives_of,
    revoked_at,
    witness,
)
from proof.nemesis.looks import excess
from proof.nemesis.outages import FOREVER, TICK, Outages, lost_share, union

#: A run on a machine that lost a larger share of its time has shown nothing.
MOST_LOST = 0.5


@dataclass(frozen=True, slots=True)
class Violation:
    """`kind` is a name of `KINDS`."""

    kind: str
    at: float
    text: str


KINDS = {
    "version": "a version went back, or named two states",
    "instant": "a version that is not the instant of its change",
    "false-offline": "offline, although the user was certainly here",
    "unheard": "still believed offline, although the user has certainly been here for long",
    "false-online": "online, although no connection can have been there",
    "ghost": "still believed online, long after the last device had gone",
    "probes": "a user was probed more often than once in FreshSeconds",
    "closed": "the server closed a connection whose lease was good",
    "revoked": "served by a token that was revoked",
    "removed": "in a chat session out of which the user was taken",
    "disagreement": "an observer does not believe what is stored",
    "leftover": "a trace of a user who has left",
    "run": "the run itself went wrong, or the machine stood still for too long",
}


@dataclass(frozen=True, slots=True)
class Person:
    """What the clients of a user know about themselves.

    An answer may say that the user is here while `readable`; during `absences` no subscriber may
    believe it any more.
    """

    user_id: str
    certain: Certainty
    readable: Sequence[Interval]
    absences: Sequence[Interval]


@dataclass(frozen=True, slots=True)
class Belief:
    """What an observer held about a user, and during which time."""

    start: float
    stop: float
    is_online: bool


def check(history: History) -> list[Violation]:
    """All violations, in the order of their time."""
    outages = Outages.of(history)
    people = {it: person(it, history, outages) for it in history.users}
    found = [
        *_versions(history),
        *_instants(history, outages),
        *_closed(history, outages),
        *_probes(history),
        *_revoked(history),
        *_removed(history),
        *_answers(history, people),
        *_disagreements(history),
        *_run(history),
    ]
    for epoch in history.epochs:
        for it in people.values():
            found += _pushes(epoch, it, history, outages)
    return sorted(found, key=lambda it: it.at)


def person(user_id: str, history: History, outages: Outages) -> Person:
    own = [it for it in history.connections if it.user_id == user_id]
    found = lives_of(user_id, history, outages)
    return Person(
        user_id,
        certainty(own, witness(user_id, history, outages)),
        readable=union(Interval(it.start, it.unread) for it in found),
        absences=gaps(union(Interval(it.start, it.untold) for it in found), FOREVER),
    )


# ── versions ───────────────────────────────────────────────────────────────────────────────


def _versions(history: History) -> Iterator[Violation]:
    for epoch in history.epochs:
        applied = [it for it in epoch.told if it.is_applied and it.status is not None]
        yield from _increase(applied, epoch.observer, strictly=True)
    polled = [it for poll in history.polls for it in poll.told]
    yield from _increase(polled, "HTTP", strictly=False)
    looked = [it for look in history.looks for it in look.told]
    heard = [it for epoch in history.epochs for it in epoch.told if it.status is not None]
    yield from _name_one_state([*heard, *polled, *looked])


def _increase(told: Sequence[Told], who: str, *, strictly: bool) -> Iterator[Violation]:
    held: dict[str, int] = {}
    for it in told:
        before = held.get(it.user_id, -1)
        if it.version < before or (strictly and it.version == before):
            yield Violation(
                "version", it.at, f"{who}: {it.user_id} {before} is followed by {it.version}"
            )
        held[it.user_id] = it.version


def _name_one_state(told: Iterable[Told]) -> Iterator[Violation]:
    states: dict[tuple[str, int], Told] = {}
    for it in told:
        first = states.setdefault((it.user_id, it.version), it)
        if (first.status, first.text) != (it.status, it.text):
            yield Violation(
                "version", it.at, f"{it.user_id} {it.version} is {first.status} and {it.status}"
            )


def _instants(history: History, outages: Outages) -> Iterator[Violation]:
    """The other checks take a version for the instant of its change, so this has to hold.

    A member also hears of a user who has only joined the session, with the presence of before.
    """
    for epoch in history.epochs:
        for it in epoch.told:
            if it.at > epoch.start and it.is_applied and it.status is not None:
                made = history.rules.instant(it.version)
                latest = FOREVER if epoch.is_member else outages.push.known(made)
                if not made - TICK <= it.at <= latest:
                    text = f"{epoch.observer} heard {it.user_id} {it.status} {it.at - made:.3f} s"
                    yield Violation("instant", it.at, f"{text} after its version")


# ── connections ────────────────────────────────────────────────────────────────────────────


def _closed(history: History, outages: Outages) -> Iterator[Violation]:
    """What the local AWS says it has dropped itself is no closing by the server."""
    for it in history.connections:
        end = it.ending
        if end is None or end.how != "closed" or _is_crash(end.at, history):
            continue
        revocation = revoked_at(it, history)
        if revocation is not None and revocation.start <= end.at:
            continue
        leases = [at for _, at in lease_ends(it, witness(it.user_id, history, outages))]
        if leases and end.at < max(leases) - TICK:
            yield Violation("closed", end.at, f"{it.name}, {max(leases) - end.at:.3f} s too soon")


def _revoked(history: History) -> Iterator[Violation]:
    """No frame is served that was sent after a revocation of its token was answered."""
    for it in history.connections:
        revocation = revoked_at(it, history)
        if revocation is None:
            continue
        for call in it.calls:
            if call.acked is not None and call.sent > revocation.stop + TICK:
                yield Violation("revoked", call.acked, f"{it.name}: {call.action}")


def _removed(history: History) -> Iterator[Violation]:
    """No answer says that a user is in a chat session, from removal to the next permission."""
    for it in history.connections:
        allowed = [one.start for one in history.decided("allow", it.user_id)]
        for removal in history.decided("remove", it.user_id):
            until = min((at for at in allowed if at > removal.start), default=FOREVER)
            for call in it.calls:
                is_out = removal.stop + TICK < call.sent and (call.acked or FOREVER) < until
                if call.joined and is_out:
                    yield Violation("removed", call.sent, f"{it.name}: {call.action}")


def _probes(history: History) -> Iterator[Violation]:
    for connection, at, count in excess(history):
        yield Violation("probes", at, f"{connection.name} read {count} of them")


def _is_crash(at: float, history: History) -> bool:
    return any(it.start <= at <= it.stop for it in history.crashes)


# ── answers ────────────────────────────────────────────────────────────────────────────────


def _answers(history: History, people: Mapping[str, Person]) -> Iterator[Violation]:
    for what, answers in (("HTTP", history.polls), ("verified", history.looks)):
        for answer in answers:
            for it in answer.told:
                if it.user_id in people:
                    yield from _answer(answer, it, people[it.user_id], what)


def _answer(answer: Poll | Look, told: Told, who: Person, what: str) -> Iterator[Violation]:
    """An answer is true of some instant between the question and the answer."""
    asked, at = answer.asked, answer.at
    if not told.is_online:
        if any(it.start <= asked and at <= it.stop for it in who.certain.here):
            yield Violation("false-offline", at, f"{what}: {who.user_id} {told.version}")
    elif not any(it.start <= at and asked <= it.stop for it in who.readable):
        yield Violation("false-online", at, f"{what}: {who.user_id} {told.version}")


# ── subscribers ──────────────────────────────────────────────────────────────────────────────


def _pushes(epoch: Epoch, who: Person, history: History, outages: Outages) -> Iterator[Violation]:
    told = [it for it in epoch.told if it.user_id == who.user_id]
    name = f"{epoch.observer}: {who.user_id}"
    for it in told:
        if it.is_applied and it.status is not None:
            yield from _news(it, who, history.rules.instant(it.version), name)
    held = beliefs(told, epoch)
    certain = who.certain.member if epoch.is_member else who.certain.here
    if epoch.is_member:
        yield from _departures(told, certain, outages, name)
    due = [Interval(outages.push.known(max(it.start, epoch.start)), it.stop) for it in certain]
    for at in _overlaps(held, due, is_online=False):
        yield Violation("unheard", at, name)
    for at in _overlaps(held, who.absences, is_online=True):
        yield Violation("ghost", at, name)


def _news(told: Told, who: Person, made: float, name: str) -> Iterator[Violation]:
    if told.is_online:
        if not any(it.start - TICK <= made <= it.stop for it in who.readable):
            yield Violation("false-online", told.at, f"{name} {told.version}")
    elif any(it.start + TICK < made < it.stop for it in who.certain.here):
        yield Violation("false-offline", told.at, f"{name} {told.version}")


def _departures(
    told: Iterable[Told], certain: Sequence[Interval], outages: Outages, name: str
) -> Iterator[Violation]:
    """Leaving a session has no version, so it may be as old as news can be."""
    for it in told:
        if it.status is None and any(outages.push.known(i.start) < it.at < i.stop for i in certain):
            yield Violation("false-offline", it.at, f"{name} left the session")


def beliefs(told: Sequence[Told], epoch: Epoch) -> list[Belief]:
    """What a client that drops old versions holds; at first, that no user is there."""
    found: list[Belief] = []
    start, is_online, version = epoch.start, False, -1
    for it in told:
        if it.status is not None and it.version < version:
            continue
        if it.at > start:
            found.append(Belief(start, it.at, is_online))
        start, is_online = max(it.at, epoch.start), it.is_online
        version = max(version, it.version)
    return [*found, Belief(start, epoch.stop, is_online)]


def _overlaps(
    held: Sequence[Belief], intervals: Sequence[Interval], *, is_online: bool
) -> Iterator[float]:
    """Where an interval begins to meet a belief that it should not."""
    for it in held:
        for interval in intervals if it.is_online is is_online else ():
            start = max(it.start, interval.start)
            if start + TICK < min(it.stop, interval.stop):
                yield start


# ── the end ────────────────────────────────────────────────────────────────────────────────


def _disagreements(history: History) -> Iterator[Violation]:
    for snapshot in history.snapshots:
        for epoch in history.epochs:
            if epoch.start < snapshot.at < epoch.stop:
                yield from _differences(snapshot, epoch)


def _differences(snapshot: Snapshot, epoch: Epoch) -> Iterator[Violation]:
    of_user: defaultdict[str, list[Told]] = defaultdict(list)
    for it in epoch.told:
        if it.at <= snapshot.at:
            of_user[it.user_id].append(it)
    for stored in snapshot.told:
        applied = [it for it in of_user[stored.user_id] if it.is_applied and it.status is not None]
        held = applied[-1] if applied else None
        if held is None and not stored.is_online:
            continue
        # Not the version: it grows with `lastSeen` too, and that alone is no news.
        if held is None or (held.status, held.text) != (stored.status, stored.text):
            believes = f"{held.status} {held.version}" if held else "nothing"
            yield Violation(
                "disagreement",
                snapshot.at,
                f"{epoch.observer} believes {believes} of {stored.user_id}, "
                f"who is {stored.status} {stored.version}",
            )


def _run(history: History) -> Iterator[Violation]:
    for text in history.leftovers:
        yield Violation("leftover", history.stop, text)
    for text in history.complaints:
        yield Violation("run", history.stop, text)


def inconclusive(history: History) -> list[Violation]:
    """A machine that was busy with something else excuses so much that the run shows nothing."""
    lost = lost_share(history)
    text = f"the machine lost {lost:.0%} of its time to others"
    return [Violation("run", history.stop, text)] if lost > MOST_LOST else []


def main(folder: Path) -> int:
    history = read(folder)
    found = [*check(history), *inconclusive(history)]
    for it in found:
        print(f"{it.at - history.start:8.3f} s  {it.kind:13}  {it.text}")
    print(f"{len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
