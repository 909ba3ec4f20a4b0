"""The idle timer of ten minutes: do protocol pings or posts reset it? Are pings counted?"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from time import time

from bench.aws.answers import Answer, seconds, unknown, yes_or_no
from bench.aws.ledger import Rule, Window, because, is_counted
from bench.aws.stage import Stage, Visitor

SILENT, FRAMES, PINGS, POSTS = "silent", "frames", "protocol pings", "posts of the server"
_PINGS_KEEP = (
    "Clients that are no browsers can keep an idle connection by protocol pings: longer heartbeats "
    "than 540 s become possible for them."
)
_PINGS_COUNT = "Count protocol pings as messages in bench/bill."
_POSTS_KEEP = "A dead peer to which changes are posted is not found by the idle timer: keep leases."


@dataclass(frozen=True, slots=True)
class Held:
    """One idle socket: seconds until it was over and its close code; None while it was not."""

    kind: str
    lasted: float | None
    code: int | None


@dataclass(frozen=True, slots=True)
class Observed:
    """Sockets that were watched for so long, and a window of protocol pings.

    Attributes:
        lease: seconds after which the stack itself closes a silent connection.
        pongs: that came to the users of the window.
    """

    watched: float
    lease: float
    sockets: Sequence[Held]
    rule: Rule | None
    window: Window
    pongs: int


async def observe(stage: Stage) -> Observed:
    acts: dict[str, Callable[[Visitor], Awaitable[object]]] = {
        SILENT: _nothing,
        FRAMES: _frame,
        PINGS: _ping,
        POSTS: partial(_post, stage),
    }
    holding = [_hold(stage, kind, act) for kind, act in acts.items()]
    counting = asyncio.create_task(_counted(stage))
    found = await asyncio.gather(*holding)
    rule, window, pongs = await counting
    lease = min(lease for _, lease in found)
    return Observed(stage.pace.watch, lease, [it for it, _ in found], rule, window, pongs)


async def _hold(
    stage: Stage, kind: str, act: Callable[[Visitor], Awaitable[object]]
) -> tuple[Held, float]:
    async with stage.crowd(1) as [visitor]:
        started, wire = time(), visitor.wire
        while not wire.over.done() and time() < started + stage.pace.watch:
            await asyncio.wait([wire.over], timeout=stage.pace.every)
            if not wire.over.done():
                await act(visitor)
        if not wire.over.done():
            return Held(kind, None, None), visitor.lease_seconds
        end = wire.over.result()
        return Held(kind, end.at - started, end.code), visitor.lease_seconds


async def _nothing(_: Visitor) -> None:
    pass


async def _frame(visitor: Visitor) -> None:
    visitor.beat()


async def _ping(visitor: Visitor) -> None:
    visitor.wire.ping()


async def _post(stage: Stage, visitor: Visitor) -> None:
    await stage.cloud.post(visitor.connection_id, '{"type": "bench"}')


async def _counted(stage: Stage) -> tuple[Rule | None, Window, int]:
    pongs = 0

    async def burst(visitors: Sequence[Visitor], frames: int) -> int:
        nonlocal pongs
        for _ in range(frames):
            for visitor in visitors:
                visitor.wire.ping()
            await asyncio.sleep(stage.pace.pause)
        await asyncio.sleep(stage.pace.pause)  # the last pong is on its way
        pongs = sum(it.wire.pongs for it in visitors)
        return frames * len(visitors)

    _, rule = await stage.control()
    window = await stage.window("ping", burst)
    return rule, window, pongs


def evaluate(observed: Observed) -> Iterator[Answer]:
    silent = _of(observed, SILENT)
    yield _timer(observed, silent)
    for kind, change in ((FRAMES, ""), (PINGS, _PINGS_KEEP), (POSTS, _POSTS_KEEP)):
        yield _resets(observed, silent, _of(observed, kind), change)
    counted = is_counted(observed.window, observed.rule)
    figures = because(observed.window, observed.rule)
    pongs = f"{observed.pongs:,} of {observed.window.asked:,} pings were answered by a pong."
    yield yes_or_no(
        "Are protocol pings billed as messages?",
        counted,
        f"{figures} {pongs}",
        _PINGS_COUNT if counted else "",
    )


def _of(observed: Observed, kind: str) -> Held:
    return next(it for it in observed.sockets if it.kind == kind)


def _timer(observed: Observed, silent: Held) -> Answer:
    question = "When is a silent, living socket closed?"
    if silent.lasted is None:
        return unknown(question, f"It was open after {seconds(observed.watched)}.")
    if silent.lasted >= observed.lease:
        return unknown(question, _too_short(observed.lease))
    because_ = f"After {silent.lasted:,.0f} s, with code {silent.code}."
    return Answer(question, f"after {seconds(silent.lasted)}", because_)


def _resets(observed: Observed, silent: Held, held: Held, change: str) -> Answer:
    question = f"Is the idle timer reset by {held.kind}?"
    if silent.lasted is None:
        return unknown(question, "The silent socket was not closed either.")
    if silent.lasted >= observed.lease:
        return unknown(question, _too_short(observed.lease))
    if held.lasted is None:
        said = f"Open after {seconds(observed.watched)}; the silent one was closed before."
        return Answer(question, "yes", said, change)
    return Answer(question, "no", f"Closed after {held.lasted:,.0f} s, with code {held.code}.")


def _too_short(lease: float) -> str:
    return (
        f"The stack's own lease of {lease:.0f} s may have ended it: deploy with "
        "HeartbeatSeconds=540."
    )
