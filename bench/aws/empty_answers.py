"""Does a route that answers send an empty frame when its function returns no body, and bill it?"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.aws.answers import Answer, yes_or_no
from bench.aws.ledger import TOLERANCE, Rule, Window, because, is_counted
from bench.aws.stage import Burst, Stage, Visitor

#: Their functions say nothing to a frame without an `id`.
ACTIONS = ("ping", "unwatch")
_PAUSE = 0.1
_BILLED = (
    "Count them: `python -m bench.bill --count empty-answers`. Make the routes of frames that need "
    "no answer one-way: no RouteResponseSelectionExpression and no RouteResponse in template.yaml."
)
_FREE = "Take `empty_answers` out of APART in bench/bill/prices.py: they cost nothing."


@dataclass(frozen=True, slots=True)
class Observed:
    """Windows of frames whose function returned no body, by action.

    Attributes:
        answering: routes with a RouteResponse; None if that could not be read.
    """

    rule: Rule | None
    windows: dict[str, Window]
    answering: frozenset[str] | None


async def observe(stage: Stage) -> Observed:
    _, rule = await stage.control()
    windows = await asyncio.gather(*(stage.window(it, _silent(it)) for it in ACTIONS))
    found = dict(zip(ACTIONS, windows, strict=True))
    return Observed(rule, found, await stage.cloud.answering())


def _silent(action: str) -> Burst:
    async def burst(visitors: Sequence[Visitor], frames: int) -> int:
        for _ in range(frames):
            for visitor in visitors:
                visitor.say(action, **({} if action == "ping" else {"userIds": ["nobody"]}))
            await asyncio.sleep(_PAUSE)
        # Whatever comes for the frames before has come when the last one is answered.
        await asyncio.gather(*(it.ask("unwatch", userIds=["nobody"]) for it in visitors))
        return frames * len(visitors)

    return burst


def evaluate(observed: Observed) -> Iterator[Answer]:
    for action, window in observed.windows.items():
        route = f"`{action}`, {_kind(action, observed.answering)}"
        seen, counted = _is_seen(window), is_counted(window, observed.rule)
        said = f"{window.of('empty'):,} empty frames for {window.asked:,} answers without a body."
        yield yes_or_no(f"Does an empty frame come? {route}", seen, said)
        change = (
            "" if observed.answering is not None and action not in observed.answering else _FREE
        )
        figures = because(window, observed.rule)
        yield yes_or_no(
            f"Is it billed as a message? {route}", counted, figures, _BILLED if counted else change
        )


def _is_seen(window: Window) -> bool | None:
    """None if some came and some did not."""
    share = window.of("empty") / window.asked
    return share > 1 - TOLERANCE if not TOLERANCE < share <= 1 - TOLERANCE else None


def _kind(action: str, answering: frozenset[str] | None) -> str:
    if answering is None:
        return "it is not known whether the route answers"
    return "a route that answers" if action in answering else "a one-way route"
