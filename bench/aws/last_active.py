"""`lastActiveAt` of GET @connections: what moves it, and how late?"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import time

from bench.aws.answers import Answer, seconds, unknown
from bench.aws.stage import Stage, Visitor

#: What the server sees of a client at a time of its own.
STIMULI = ("nothing", "a client's frame", "a client's protocol ping", "a post of the server")
#: A clock is as good as this; what moves it has to move it by more.
CLOCKS_APART = 1.0
_CHANGE = {
    "a client's frame": "A lease could be read from API Gateway for clients that send frames.",
    "a client's protocol ping": (
        "Clients that are no browsers could keep a connection by protocol pings, and the sweep "
        "could read `lastActiveAt` instead of a lease: clients/python would need no `ping`."
    ),
    "a post of the server": "It says nothing of the client: never take it for a sign of life.",
    "nothing": "Looking moves it: it cannot be used.",
}


@dataclass(frozen=True, slots=True)
class Looks:
    """`lastActiveAt` around one stimulus, all in seconds since the epoch.

    Attributes:
        at: when the stimulus was.
        before: the value until then; None if GET had none.
        after: when it was looked at, and what it was.
    """

    at: float
    before: float | None
    after: Sequence[tuple[float, float | None]]


@dataclass(frozen=True, slots=True)
class Observed:
    looks: Mapping[str, Looks]


async def observe(stage: Stage) -> Observed:
    acts: dict[str, Callable[[Visitor], Awaitable[None]]] = {
        "nothing": _nothing,
        "a client's frame": _frame,
        "a client's protocol ping": _ping,
        "a post of the server": partial(_post, stage),
    }
    found = await asyncio.gather(*(_looks(stage, acts[it]) for it in STIMULI))
    return Observed(dict(zip(STIMULI, found, strict=True)))


async def _looks(stage: Stage, act: Callable[[Visitor], Awaitable[None]]) -> Looks:
    async with stage.crowd(1) as [visitor]:
        await asyncio.sleep(stage.pace.quiet)
        before = (await stage.cloud.look(visitor.connection_id)).last_active
        at = time()
        await act(visitor)
        after = []
        for later in stage.pace.looks:
            await asyncio.sleep(max(0.0, at + later - time()))
            looked = await stage.cloud.look(visitor.connection_id)
            after.append((time(), looked.last_active))
    return Looks(at, before, after)


async def _nothing(_: Visitor) -> None:
    pass


async def _frame(visitor: Visitor) -> None:
    visitor.beat()


async def _ping(visitor: Visitor) -> None:
    visitor.wire.ping()


async def _post(stage: Stage, visitor: Visitor) -> None:
    await stage.cloud.post(visitor.connection_id, '{"type": "bench"}')


def evaluate(observed: Observed) -> Iterator[Answer]:
    for stimulus, looks in observed.looks.items():
        yield _answer(f"Is `lastActiveAt` moved by {stimulus}?", looks, _CHANGE[stimulus])


def _answer(question: str, looks: Looks, change: str) -> Answer:
    if looks.before is None:
        return unknown(question, "GET @connections did not say `lastActiveAt`.")
    for at, value in looks.after:
        if value is not None and value > looks.before:
            late = seconds(max(0.0, at - looks.at))
            off = f"{value - looks.at:+.2f} s from it by this machine's clock"
            return Answer(question, "yes", f"Seen {late} later; the value is {off}.", change)
    last = max((at for at, _ in looks.after), default=looks.at)
    if looks.at - looks.before < CLOCKS_APART:
        return unknown(question, "It was moved less than a second before.")
    return Answer(question, "no", f"It stayed for {seconds(last - looks.at)}.")
