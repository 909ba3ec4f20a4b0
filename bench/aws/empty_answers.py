"""Does a route that answers send an empty frame when its function returns no body, and bill it?"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.aws.answers import Answer, yes_or_no
from bench.aws.ledger import TOLERANCE, Rule, Window, because, is_counted
from bench.aws.stage import Burst, Stage, Visitor

#: Their functions say nothing to a frame without an `id`.
ACTIONS = ("ping", "unwatch")
_BILLED = (
    "Count them: `python -m bench.bill --count empty-answers`. Make the routes of frames that need "
    "no answer one-way: no RouteResponseSelectionExpression and no RouteResponse in template.yaml."
)
_FREE = "Empty answers of such a route cost nothing: the sum of bench.bill is right without them."


@dataclass(frozen=True, slots=True)
class Observed:
    """Windows of frames whose function returned no body, by action.

    Attributes:
        empty: frames without a payload that came to the users of each window.
        answering: routes with a RouteResponse; None if that could not be read.
    """

    rule: Rule | None
    windows: dict[str, Window]
    empty: dict[str, int]
    answering: frozenset[str] | None


async def observe(stage: Stage) -> Observed:
    _, rule = await stage.control()
    empty: dict[str, int] = {}
    bursts = [stage.window("empty", _silent(it, empty, stage.pace.pause)) for it in ACTIONS]
    windows = dict(zip(ACTIONS, await asyncio.gather(*bursts), strict=True))
    return Observed(rule, windows, empty, await stage.cloud.answering())


def _silent(action: str, empty: dict[str, int], pause: float) -> Burst:
    """Frames whose function returns no body; how many empty frames came goes to *empty*."""

    async def burst(visitors: Sequence[Visitor], frames: int) -> int:
        for _ in range(frames):
            for visitor in visitors:
                visitor.beat() if action == "ping" else visitor.say(action, userIds=["stranger"])
            await asyncio.sleep(pause)
        # Whatever comes for the frames before has come when the last one is answered.
        await asyncio.gather(*(it.ask("unwatch", userIds=["stranger"]) for it in visitors))
        empty[action] = sum(it.wire.empty for it in visitors)
        return frames * len(visitors)

    return burst


def evaluate(observed: Observed) -> Iterator[Answer]:
    for action, window in observed.windows.items():
        route = f"`{action}`, {_kind(action, observed.answering)}"
        empty, counted = observed.empty[action], is_counted(window, observed.rule)
        said = f"{empty:,} empty frames for {window.asked:,} answers without a body."
        seen = _is_seen(empty / window.asked)
        yield yes_or_no(f"Does an empty frame come? {route}", seen, said)
        figures, change = because(window, observed.rule), _BILLED if counted else _FREE
        yield yes_or_no(f"Is it billed as a message? {route}", counted, figures, change)


def _is_seen(share: float) -> bool | None:
    """None if some came and some did not."""
    return share > 1 - TOLERANCE if not TOLERANCE < share <= 1 - TOLERANCE else None


def _kind(action: str, answering: frozenset[str] | None) -> str:
    if answering is None:
        return "it is not known whether the route answers"
    return "a route that answers" if action in answering else "a one-way route"
