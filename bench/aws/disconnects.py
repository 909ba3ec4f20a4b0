"""How long after a clean close and after a reset does `$disconnect` run?"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import time

from bench.aws.answers import Answer, median, percentile, seconds, unknown
from bench.aws.stage import Stage, Visitor, Watcher

CLEAN, RESET = HOWS = ("a clean close", "a reset")
_WITHIN = 90.0
_SLOW_SECONDS = 5.0
_SLOW = "State it in docs/reliability.md: a close is told that much later than GraceSeconds."


@dataclass(frozen=True, slots=True)
class Observed:
    """Seconds from the end of a socket until others heard `offline`; None if they did not.

    Attributes:
        grace: seconds that the stack waits on purpose; None if not known.
    """

    grace: float | None
    delays: Mapping[str, Sequence[float | None]]


async def observe(stage: Stage) -> Observed:
    # Alone: what ends here would be in the minutes that others count.
    async with stage.alone, stage.crowd(len(HOWS) * stage.pace.rounds) as visitors:
        names = [it.user_id for it in visitors]
        async with stage.watcher(names) as watcher:
            await asyncio.sleep(stage.pace.quiet)

            ends = [_delay(stage, watcher, it, number) for number, it in enumerate(visitors)]
            delays = await asyncio.gather(*ends)
    found = {how: delays[number :: len(HOWS)] for number, how in enumerate(HOWS)}
    return Observed(stage.target.grace_seconds, found)


async def _delay(stage: Stage, watcher: Watcher, visitor: Visitor, number: int) -> float | None:
    # One end after the other: all at once would measure a crowd.
    await asyncio.sleep(number * stage.pace.pause)
    ended = time()
    if HOWS[number % len(HOWS)] == CLEAN:
        await visitor.wire.close()
    else:
        visitor.wire.reset()
    within = _WITHIN + (stage.target.grace_seconds or 0)
    heard = await watcher.wait(visitor.user_id, "offline", ended, within)
    return None if heard is None else heard[0] - ended


def evaluate(observed: Observed) -> Iterator[Answer]:
    for how, delays in observed.delays.items():
        yield _answer(f"How late is `$disconnect` after {how}?", observed.grace, delays)


def _answer(question: str, grace: float | None, delays: Sequence[float | None]) -> Answer:
    heard = [it for it in delays if it is not None]
    missed = len(delays) - len(heard)
    lost = f" {missed} of {len(delays)} were not heard of within {_WITHIN:.0f} s." if missed else ""
    if not heard:
        return unknown(question, lost.strip())
    late = [max(0.0, it - (grace or 0)) for it in heard]
    waited = "with" if grace is None else f"less {grace:g} s of"
    said = (
        f"Until others heard of it, {waited} grace: median {seconds(median(late))}, 95 of 100 "
        f"within {seconds(percentile(late, 95))}, at most {seconds(max(late))}.{lost}"
    )
    slow = _SLOW if missed or (grace is not None and max(late) > _SLOW_SECONDS) else ""
    return Answer(question, seconds(median(late)), said, slow)
