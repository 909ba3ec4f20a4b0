"""What the functions count and measure: the table of metrics, and the figures of one minute.

No dimension and no value names a user, a connection, a chat session or a token.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from presence.limits import METRIC_VALUES, METRICS_MILLISECONDS


class Unit(StrEnum):
    """As CloudWatch spells them."""

    COUNT = "Count"
    PERCENT = "Percent"
    SECONDS = "Seconds"
    MILLISECONDS = "Milliseconds"


@dataclass(frozen=True, slots=True)
class Metric:
    """`read_by` is the statistic of CloudWatch that says what `says` promises."""

    name: str
    unit: Unit
    read_by: str
    says: str


def _count(name: str, says: str) -> Metric:
    return Metric(name, Unit.COUNT, "Sum", says)


OPEN_CONNECTIONS = Metric(
    "OpenConnections",
    Unit.COUNT,
    "Maximum",
    "authenticated connections with a valid lease, counted by each whole sweep",
)
ONLINE_USERS = Metric(
    "OnlineUsers", Unit.COUNT, "Maximum", "users that others see online, counted by the same sweep"
)
SWEEP_COVERAGE = Metric(
    "SweepCoverage",
    Unit.PERCENT,
    "Minimum",
    "how many of the users a sweep looked at before its time ran out; 100 if at all",
)
SESSION_LENGTH = Metric(
    "SessionLength", Unit.SECONDS, "p50, p95", "from the handshake to the close of a socket"
)
AUTHENTICATIONS = _count("Authentications", "frames `authenticate` on the socket")
AUTHENTICATION_FAILURES = _count(
    "AuthenticationFailures", "those that were refused, or failed; success is what is left"
)
STATUS_LATENCY = Metric(
    "StatusLatency",
    Unit.MILLISECONDS,
    "p50, p95",
    "time in the handler of a query for statuses: `online`, `watch`, `verify`, and the same "
    "over HTTP, lists of members included",
)
REFUSALS = _count("Refusals", "frames, handshakes and HTTP requests answered with an error code")
ERRORS = _count(
    "Errors",
    "frames and requests that failed: a fault of ours, or a service of AWS that did not serve us",
)
POSTS = _count("Posts", "frames that API Gateway was asked to send to a connection")
POSTS_REFUSED = _count("PostsRefused", "those dropped after 400, 403, 404 or 413")
POSTS_PUT_OFF = _count("PostsPutOff", "those that have to be made again: 429, 5xx, no answer")
POSTS_GONE = _count("PostsGone", "those for a socket that is gone (410)")
ANNOUNCE_DELAY = Metric(
    "AnnounceDelay",
    Unit.MILLISECONDS,
    "p50, p95",
    "from a change to the last post about it, or until the rest was queued",
)
SESSION_RECIPIENTS = Metric(
    "SessionRecipients",
    Unit.COUNT,
    "Average",
    "connections that one message or typing in a chat session goes to: what it costs",
)
LOST_SWAPS = _count("LostSwaps", "changes of a user that another write came before; tried again")
TIMER_DELAY = Metric(
    "TimerDelay", Unit.MILLISECONDS, "p95", "how long after it was due a timer changed a user"
)
PROBES = _count("Probes", "connections that were asked whether they are there (`verify`)")
PROBES_UNANSWERED = _count("ProbesUnanswered", "those whose lease ended, because no frame came")
TABLE_THROTTLES = _count(
    "TableThrottles", "answers of DynamoDB that it was asked too much, those tried again included"
)

#: All of them; docs/operations.md has the same table.
METRICS: Sequence[Metric] = tuple(it for it in list(globals().values()) if isinstance(it, Metric))

#: By metric: one sum, or some of the values that were measured.
Figures: TypeAlias = Mapping[Metric, Sequence[float]]


@dataclass(slots=True)
class Meter:
    """The figures of one execution environment since they were taken last.

    Of values, METRIC_VALUES are kept, each as likely as any other. Instants are in epoch
    milliseconds.
    """

    taken_at: int = 0
    _sums: Counter[Metric] = field(default_factory=Counter)
    _values: defaultdict[Metric, list[float]] = field(default_factory=lambda: defaultdict(list))
    _measured: Counter[Metric] = field(default_factory=Counter)

    def count(self, metric: Metric, amount: int = 1) -> None:
        if amount:
            self._sums[metric] += amount

    def measure(self, metric: Metric, value: float) -> None:
        """Keep a value, in the unit of the metric."""
        kept = self._values[metric]
        self._measured[metric] += 1
        if len(kept) < METRIC_VALUES:
            kept.append(value)
        elif (place := random.randrange(self._measured[metric])) < METRIC_VALUES:  # noqa: S311
            kept[place] = value

    def due(self, now: int, *, at_once: bool = False) -> Figures:
        """What there is, if nothing was taken for a minute; it is not told again."""
        if not (self._sums or self._values):
            return {}
        if not at_once and now - self.taken_at < METRICS_MILLISECONDS:
            return {}
        sums: dict[Metric, Sequence[float]] = {it: [value] for it, value in self._sums.items()}
        found = {**sums, **self._values}
        self.taken_at = now
        self.clear()
        return found

    def clear(self) -> None:
        self._sums, self._measured = Counter(), Counter()
        self._values = defaultdict(list)
