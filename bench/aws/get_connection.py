"""GET @connections: is it counted as a message, and how many a second are taken?"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from time import perf_counter

from bench.aws.answers import Answer, unknown, yes_or_no
from bench.aws.ledger import Rule, Window, because, is_counted
from bench.aws.stage import Stage, Visitor

_FREE = (
    "A sweep that asks GET @connections before it ends a lease costs no message. Whether it can "
    "take the place of a ping depends on `last-active`."
)
_BILLED = "Count each GET @connections as a message in bench/bill before a design uses it."


@dataclass(frozen=True, slots=True)
class Observed:
    """A burst of requests; `statuses` is how often each was answered, in so many seconds."""

    rule: Rule | None
    window: Window
    statuses: dict[int, int]
    seconds: float


async def observe(stage: Stage) -> Observed:
    statuses: Counter[int] = Counter()
    took = 0.0

    async def burst(visitors: Sequence[Visitor], frames: int) -> int:
        nonlocal took
        started = perf_counter()
        names = [it.connection_id for it in visitors] * frames
        answers = await asyncio.gather(*map(stage.cloud.look, names))
        took = perf_counter() - started
        statuses.update(it.status for it in answers)
        return len(answers)

    _, rule = await stage.control()
    window = await stage.window("get", burst)
    return Observed(rule, window, dict(statuses), took)


def evaluate(observed: Observed) -> Iterator[Answer]:
    counted = is_counted(observed.window, observed.rule)
    change = _BILLED if counted else _FREE
    figures = because(observed.window, observed.rule)
    yield yes_or_no("Is GET @connections billed as a message?", counted, figures, change)
    yield _throttle(observed)


def _throttle(observed: Observed) -> Answer:
    question = "How many GET @connections a second are taken?"
    taken = observed.statuses.get(HTTPStatus.OK, 0)
    refused = observed.statuses.get(HTTPStatus.TOO_MANY_REQUESTS, 0)
    said = ", ".join(f"{it} of {status}" for status, it in sorted(observed.statuses.items()))
    if not taken:
        return unknown(question, f"None was answered with 200: {said}.")
    rate = f"{(taken + refused) / observed.seconds:,.0f} a second"
    if refused:
        share = f"{refused / (taken + refused):.0%} refused"
        return Answer(question, f"fewer than {rate}", f"{share}: {said}.", "Pace them below this.")
    because_ = f"As fast as this machine asks; none was throttled: {said}."
    return Answer(question, f"at least {rate}", because_)
