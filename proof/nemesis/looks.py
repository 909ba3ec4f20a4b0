"""What it does to a user that others verify: when a probe ends a lease, and how many come.

A probe is sent while a viewer's question is under way, and only if no frame has come for as long as
`FreshSeconds`. A lease that is not renewed ends `ProbeSeconds` later.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from proof.nemesis.history import Connection, History, Interval, Look, Rules
from proof.nemesis.outages import FOREVER, TRAVEL, Path

#: The instant of the last frame is kept in steps of this part of `FreshSeconds`.
STEPS = 3


@dataclass(frozen=True, slots=True)
class Looks:
    """The questions about one user; `settling` are those that no frame of the user can answer.

    After one of those nobody is seen online, `ProbeSeconds` after its answer, who does not send a
    frame again.
    """

    rules: Rules
    asked: Sequence[Look] = ()
    settling: Sequence[Look] = ()

    def spared_until(self, sent: float) -> float:
        """Until when no probe can have ended the lease of a frame that was sent then.

        A probe whose question was answered before has no hold on it.
        """
        stale = sent + self.rules.fresh * (1 - 1 / STEPS)
        asked = min((it.asked for it in self.asked if it.at >= stale), default=FOREVER)
        return max(asked, stale) + self.rules.probe

    def settled_at(self, sent: float) -> float:
        """When a user must be offline whose last frame was sent then, were nothing in the way."""
        number = bisect_left(self.settling, sent, key=lambda it: it.asked)
        found = self.settling[number : number + 1]
        return found[0].at + self.rules.probe if found else FOREVER


def looks_at(
    user_id: str, connections: Sequence[Connection], history: History, http: Path
) -> Looks:
    """What was asked about a user; no question settles anything while functions are killed."""
    rules = history.rules
    asked = sorted((it for it in history.looks if user_id in it.users), key=lambda it: it.asked)
    frames = [
        Interval(it.sent, http.known(it.sent) if it.acked is None else it.acked)
        for connection in connections
        for it in connection.calls
    ]
    busy = [Interval(it.start, it.stop + rules.fresh) for it in (*frames, *http.outages)]
    settling = [
        look
        for look in asked
        if look.told and not any(it.start <= look.at and it.stop > look.asked for it in busy)
    ]
    return Looks(rules, asked, settling)


def excess(history: History) -> Iterator[tuple[Connection, float, int]]:
    """Connections that read more probes than there can have been, when, and how many (I22)."""
    for connection in history.connections:
        probed = connection.probed
        for first, start in enumerate(probed):
            began = _sent_after(connection, start, history)
            for last in range(first + 1, len(probed)):
                if (last - first) * history.rules.fresh > probed[last] - began:
                    yield connection, probed[last], last - first + 1


def _sent_after(connection: Connection, heard: float, history: History) -> float:
    """When the probe that was read then was sent, at the earliest.

    A client that was stopped reads it when it goes on.
    """
    read = max((it.acked for it in connection.calls if it.acked and it.acked < heard), default=0.0)
    start = read if any(read <= at <= heard for at in connection.paused) else heard
    start -= TRAVEL
    lost = (min(it.stop, heard) - max(it.start, start) for it in history.stalls)
    return start - sum(max(0.0, it) for it in lost)
