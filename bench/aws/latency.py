"""From a write to a frame at another user: the stream of Users, its function, the post."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import time

from bench.aws.answers import Answer, median, percentile, seconds, unknown
from bench.aws.stage import Stage, Visitor, Watcher

_WITHIN = 30.0
_SLOW_SECONDS = 2.0
_SLOW = (
    "With CoalesceSeconds=0 it should be less: look at IteratorAge and the cold starts of "
    "AnnounceFunction, and state the figure in docs/reliability.md."
)


@dataclass(frozen=True, slots=True)
class Change:
    """Seconds since the epoch by this machine's clock; `heard` is None if it did not come."""

    sent: float
    answered: float
    heard: float | None


@dataclass(frozen=True, slots=True)
class Observed:
    changes: Sequence[Change]
    coalesced: float = 0


async def observe(stage: Stage) -> Observed:
    name = stage.name()
    async with stage.alone, stage.watcher([name]) as watcher:
        speaker = await stage.join(name)
        await asyncio.sleep(stage.pace.quiet)
        changes = []
        for number in range(stage.pace.rounds):
            status = "dnd" if number % 2 else "busy"
            changes.append(await _change(speaker, watcher, status))
            await asyncio.sleep(stage.pace.pause)
        await speaker.wire.close()
    coalesced = float(stage.target.parameters.get("CoalesceSeconds", 0))
    return Observed(changes, coalesced)


async def _change(speaker: Visitor, watcher: Watcher, status: str) -> Change:
    sent = time()
    await speaker.ask("status", status=status)
    answered = time()
    heard = await watcher.wait(speaker.user_id, status, sent, _WITHIN)
    return Change(sent, answered, None if heard is None else heard[0])


def evaluate(observed: Observed) -> Iterator[Answer]:
    question = "How long from a change to the frame at another user?"
    heard = [it for it in observed.changes if it.heard is not None]
    if not heard:
        yield unknown(question, f"None was heard within {_WITHIN:.0f} s.")
        return
    took = [it.heard - it.sent for it in heard if it.heard is not None]
    yield Answer(question, seconds(median(took)), _said(took, observed), _change_of(took, observed))
    yield _stream(heard)


def _said(took: Sequence[float], observed: Observed) -> str:
    missed = len(observed.changes) - len(took)
    return (
        f"{len(took)} changes: 95 of 100 within {seconds(percentile(took, 95))}, at most "
        f"{seconds(max(took))}; {missed} not heard; CoalesceSeconds is {observed.coalesced:g}."
    )


def _change_of(took: Sequence[float], observed: Observed) -> str:
    return _SLOW if median(took) > _SLOW_SECONDS + observed.coalesced else ""


def _stream(heard: Sequence[Change]) -> Answer:
    after = [max(0.0, it.heard - it.answered) for it in heard if it.heard is not None]
    said = (
        f"95 of 100 within {seconds(percentile(after, 95))}. The answer to the change came after "
        f"{seconds(median([it.answered - it.sent for it in heard]))}."
    )
    question = "How long from the answer to that frame: stream, function and post?"
    return Answer(question, seconds(median(after)), said)
