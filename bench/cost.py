"""What a month costs at list prices: the tables of docs/cost.md and README.md.

`python -m bench.cost` prints them; `make docs` writes them into the pages.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

#: List prices of us-east-1 in dollars a million, without free tiers and discounts (November 2026).
MESSAGE, MINUTE = 1.00, 0.25  # API Gateway WebSocket
INVOCATION, GB_SECOND = 0.20, 13.3334  # Lambda on arm64
WRITE, READ = 0.625, 0.125  # DynamoDB on demand
REQUEST = 0.40  # SQS
LOG_KB = 0.50  # CloudWatch Logs: $0.50 a GB
ALARM = 0.10  # dollars each, CloudWatch

TIMES = "\N{MULTIPLICATION SIGN}"

USERS, HOURS, DAYS = 10_000, 8, 30
SECONDS = HOURS * 3600
CONNECTIONS_A_DAY, CHOICES, CHANGES, HEARERS = 4, 4, 6, 20
GB, SWEEPS = 0.5, 60 * 24 * 30


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a bill: *millions* of something, at *price* dollars a million."""

    name: str
    count: str
    millions: float
    price: float

    @property
    def dollars(self) -> float:
        return self.millions * self.price


def pings(heartbeat: int) -> Sequence[Item]:
    """What heartbeats cost: a usual ping is one write and half a read unit.

    The clients ask for an answer to every second one, to know that the server is still there.
    """
    millions = USERS * SECONDS // heartbeat * DAYS / 1e6
    count = f"{USERS:,} * {SECONDS // heartbeat} * {DAYS}"
    return [
        Item("Pings: messages", count, millions, MESSAGE),
        Item("Answers: messages (to every second ping)", f"{count} * 0.5", millions / 2, MESSAGE),
        Item("Pings: invocations", count, millions, INVOCATION),
        Item("Pings: GB-s (25 ms)", f"{count} * 0.025 * {GB}", millions * 0.025 * GB, GB_SECOND),
        Item("Pings: writes (the lease)", count, millions, WRITE),
        Item("Pings: reads (the connection record)", f"{count} * 0.5", millions * 0.5, READ),
        Item("Pings: KB of log", count, millions, LOG_KB),
    ]


def rest() -> Sequence[Item]:
    """Everything else of the same day."""
    minutes = USERS * HOURS * 60 * DAYS / 1e6
    opened = USERS * CONNECTIONS_A_DAY * DAYS / 1e6
    chosen = USERS * CHOICES * DAYS / 1e6
    changed = USERS * CHANGES * DAYS / 1e6
    connect = (
        *(4 * MESSAGE, 5 * INVOCATION, 5 * 0.025 * GB * GB_SECOND),
        *(10 * WRITE, 4 * READ, 6 * REQUEST, 5 * LOG_KB),
    )
    choose = (MESSAGE, INVOCATION, 0.025 * GB * GB_SECOND, 3 * WRITE, READ, LOG_KB)
    announce = (INVOCATION, 0.1 * GB * GB_SECOND, WRITE, LOG_KB)
    sweeps = HOURS * 60 * DAYS / 1e6
    return [
        Item("Connection minutes", f"{USERS:,} * {HOURS * 60} * {DAYS}", minutes, MINUTE),
        Item("Connections", f"{USERS:,} * {CONNECTIONS_A_DAY} * {DAYS}", opened, sum(connect)),
        Item("Statuses chosen", f"{USERS:,} * {CHOICES} * {DAYS}", chosen, sum(choose)),
        Item("Announcing (0.1 s each)", f"{USERS:,} * {CHANGES} * {DAYS}", changed, sum(announce)),
        Item(
            "Changes heard: posts",
            f"{USERS:,} * {CHANGES} * {HEARERS} * {DAYS}",
            changed * HEARERS,
            MESSAGE,
        ),
        Item("Sweep: reads", f"{HOURS * 60} * {DAYS} * 5,100", sweeps * 5_100, READ),
        Item("Sweep: GB-s (4 s a run)", f"{HOURS * 60} * {DAYS} * 2", sweeps * 4 * GB, GB_SECOND),
    ]


def idle() -> Sequence[Item]:
    """A month in which no user is connected: the sweep, the polling of two queues, the alarms."""
    runs = SWEEPS / 1e6
    return [
        Item("Sweep: invocations", f"{SWEEPS:,}", runs, INVOCATION),
        Item("Sweep: GB-s (0.1 s a run)", f"{SWEEPS:,} * 0.05", runs * 0.1 * GB, GB_SECOND),
        Item("Sweep: reads (8 shards)", f"{SWEEPS:,} * 8 * 0.5", runs * 4, READ),
        Item("Sweep: writes (the count)", f"{SWEEPS:,}", runs, WRITE),
        Item("Sweep: KB of log", f"{SWEEPS:,}", runs, LOG_KB),
        Item("Two queues: polls (5 pollers each, 20 s)", f"{SWEEPS:,} * 30", runs * 30, REQUEST),
        Item("Alarms", "5", 5, ALARM),
    ]


def total(items: Iterable[Item]) -> float:
    return sum(it.dollars for it in items)


def bill(items: Sequence[Item]) -> str:
    """A table of items with their sum."""
    lines = [
        f"| {it.name} | `{it.count.replace('*', TIMES)}` | {it.price:,.4g} | {it.dollars:,.2f} |"
        for it in items
    ]
    head = ["| Item | How many | $ a million | $ a month |", "|---|---|---:|---:|"]
    return "\n".join([*head, *lines, f"| **Total** | | | **{total(items):,.2f}** |"])


def by_heartbeat() -> str:
    """What a slower heartbeat saves, and how much later a crash is noticed."""
    names = ("`HeartbeatSeconds`", "`LeaseSeconds`", "$ a month")
    lines = [
        f"| {' | '.join(names)} | Crash seen over HTTP within | clients told within |",
        "|---:|---:|---:|---:|---:|",
    ]
    for heartbeat in (30, 60, 120, 300):
        lease, month = int(2.5 * heartbeat), total(pings(heartbeat)) + total(rest())
        lines.append(f"| {heartbeat} | {lease} | {month:,.2f} | {lease} s | {lease + 63} s |")
    return "\n".join(lines)


#: By the names under which the pages ask for them.
BLOCKS: dict[str, Callable[[], str]] = {
    "cost-of-a-day": lambda: bill([*pings(30), *rest()]),
    "cost-by-heartbeat": by_heartbeat,
    "cost-while-idle": lambda: bill(idle()),
}


if __name__ == "__main__":
    for make in BLOCKS.values():
        print(make(), end="\n\n")
