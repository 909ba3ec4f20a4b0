"""What AWS bills for, as pure rules: how much of it begins with each message, minute and line."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

#: Amounts by names such as `log_bytes/ping: lines`: the item, its cause, and a part of it.
Amounts: TypeAlias = Mapping[str, float]

KB = 1024
# A WebSocket message is metered in steps of 32 KB, an HTTP request in steps of 512 KB, an SQS
# request in steps of 64 KB (aws.amazon.com/api-gateway/pricing and /sqs/pricing).
MESSAGE_BYTES, HTTP_BYTES, SQS_BYTES = 32 * KB, 512 * KB, 64 * KB
#: What CloudWatch adds to each event (CloudWatch Logs API Reference, PutLogEvents).
LOG_EVENT_BYTES = 26
#: What has the CPU of one whole processor (AWS Lambda Developer Guide, "Configure memory").
MB_OF_A_PROCESSOR = 1_769

# What Lambda itself logs of an invocation, unless its level is WARN: START, END and REPORT.
_ID = "8f507cfc-xmpl-4697-b07a-ac58fc914c95"
SYSTEM_LINES = (
    f"START RequestId: {_ID} Version: $LATEST\n",
    f"END RequestId: {_ID}\n",
    (
        f"REPORT RequestId: {_ID}\tDuration: 12.34 ms\tBilled Duration: 13 ms\t"
        "Memory Size: 512 MB\tMax Memory Used: 104 MB\t\n"
    ),
)


def steps(size: int, step: int) -> int:
    """How many steps are begun; nothing is one, too."""
    return max(1, -(-size // step))


def messages(size: int) -> int:
    """What a frame of so many bytes counts, in either direction."""
    return steps(size, MESSAGE_BYTES)


def http_requests(size: int) -> int:
    return steps(size, HTTP_BYTES)


def sqs_requests(size: int) -> int:
    """One request, alone or as a batch, with so many bytes in all."""
    return steps(size, SQS_BYTES)


def minutes(milliseconds: int) -> int:
    """Connected for so long: each minute that is begun. AWS does not say how it rounds."""
    return steps(milliseconds, 60_000)


def log_bytes(lines: Iterable[str]) -> int:
    return sum(len(line.encode()) + LOG_EVENT_BYTES for line in lines)


def system_log_bytes(*, is_quiet: bool) -> int:
    """Of one invocation; quiet with `LogFormat: JSON` and `SystemLogLevel: WARN`."""
    return 0 if is_quiet else log_bytes(SYSTEM_LINES)


@dataclass(frozen=True, slots=True)
class Waits:
    """What a function waits for, by a stated model: milliseconds of a round trip in the region."""

    dynamodb: float = 4.0
    sqs: float = 6.0
    #: All posts of an invocation go out side by side.
    posts: float = 10.0

    def of(self, *, dynamodb: int, sqs: int, posts: bool) -> float:
        return dynamodb * self.dynamodb + sqs * self.sqs + posts * self.posts


def billed_milliseconds(cpu: float, waited: float, memory: int) -> int:
    """Of one invocation, each millisecond that is begun.

    Args:
        cpu: milliseconds of a whole processor, as measured here.
        waited: milliseconds for other services.
        memory: of the function in MB; its share of a processor grows with it.
    """
    share = min(1.0, memory / MB_OF_A_PROCESSOR)
    return steps(round((cpu / share + waited) * 1000), 1000)


def gb_seconds(milliseconds: int, memory: int) -> float:
    return milliseconds / 1000 * memory / KB


# ── sums ───────────────────────────────────────────────────────────────────────────────────


def total(amounts: Amounts, item: str) -> float:
    """Of one item, all kinds together."""
    return sum(it for name, it in amounts.items() if name.partition("/")[0] == item)


def by_cause(amounts: Amounts, item: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for kind, amount in kinds(amounts, item).items():
        cause = kind.partition(": ")[0]
        found[cause] = found.get(cause, 0) + amount
    return found


def kinds(amounts: Amounts, item: str) -> dict[str, float]:
    return {
        name.partition("/")[2]: it
        for name, it in sorted(amounts.items())
        if name.partition("/")[0] == item
    }


def combined(parts: Iterable[tuple[float, Amounts]]) -> dict[str, float]:
    """The sum of all amounts, each taken so many times."""
    found: Counter[str] = Counter()
    for times, amounts in parts:
        for name, amount in amounts.items():
            found[name] += times * amount  # type: ignore[assignment]  # a Counter of floats
    return {name: found[name] for name in sorted(found)}


def stretched(short: Amounts, long: Amounts, cut_short: float, cut_long: float) -> dict[str, float]:
    """A whole day from two cut ones, `1/cut` as long as it, with the same events in them.

    What a day uses is a constant for its events and a share for its length: two days give the
    line, and the whole day is on it.
    """
    slope = (1 - 1 / cut_long) / (1 / cut_long - 1 / cut_short)
    return combined([(1 + slope, long), (-slope, short)])


def of_users(used: Amounts, idle_minute: Amounts, minutes: float) -> dict[str, float]:
    """What a day used beyond a stack with no user connected, of which a minute is given."""
    return combined([(1, used), (-minutes, idle_minute)])


def month(
    by_users: Amounts, idle_minute: Amounts, *, shown: int, users: int, days: int
) -> dict[str, float]:
    """A month of many users from one day of few.

    Args:
        by_users: what a day of the shown users used beyond the idle stack.
        idle_minute: what a stack with no user uses in a minute, all the month.
        shown: how many users were in that day.
        users: how many the bill is for.
        days: for how many days it is.
    """
    return combined([(users / shown * days, by_users), (days * 24 * 60, idle_minute)])
