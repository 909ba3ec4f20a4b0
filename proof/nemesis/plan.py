"""What the nemesis does and when, from a seed: the same seed makes the same plan."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from proof.nemesis.history import Rules

#: What is done to the stack: how often (once in so many seconds), and for how long at most.
STACK = {
    "route": (70.0, 15.0),  # the route $disconnect is deleted
    "sweep": (60.0, 20.0),  # no sweep runs
    "stream": (180.0, 60.0),  # the stream has no consumer
    "workers": (25.0, 0.0),  # Lambda workers are killed
    "redeploy": (80.0, 0.0),
    "two-sweeps": (30.0, 0.0),  # two sweeps at once
}
#: What is done to the process of a device, and how often.
DEVICES = {
    "kill": 5.0,  # kill -9; another one comes later
    "pause": 8.0,  # SIGSTOP, and SIGCONT before or after its lease has run out
    "pause-kill": 12.0,  # SIGSTOP, and then kill -9
}
#: These change the same API, one after the other.
_ONE_LANE = ("route", "redeploy")


@dataclass(frozen=True, slots=True)
class Step:
    """`number` chooses among devices or workers; `seconds` is how long it lasts."""

    at: float
    fault: str
    seconds: float = 0.0
    number: int = 0


def plan(seed: int, seconds: float, rules: Rules) -> list[Step]:
    """All steps of a run, in order; every kind of fault is there at least once."""
    dice = random.Random(seed)  # noqa: S311  to be repeated, not to be secret
    steps = [*_of_stack(dice, seconds), *_of_devices(dice, seconds, rules)]
    return sorted(steps, key=lambda it: it.at)


def _of_stack(dice: random.Random, seconds: float) -> Iterator[Step]:
    lanes = [[name] for name in STACK if name not in _ONE_LANE]
    for names in ([*_ONE_LANE], *lanes):
        kinds = [name for name in names for _ in range(_count(seconds, STACK[name][0]))]
        dice.shuffle(kinds)
        yield from _lane(dice, seconds, kinds)


def _lane(dice: random.Random, seconds: float, kinds: Sequence[str]) -> Iterator[Step]:
    """One after the other, each somewhere in its own part of the run, and over before the next."""
    share = seconds / len(kinds)
    for number, kind in enumerate(kinds):
        lasts = min(STACK[kind][1], 0.6 * share)
        at = number * share + dice.uniform(0.05, 0.3) * share
        yield Step(at, kind, lasts, dice.randrange(1_000_000))


def _of_devices(dice: random.Random, seconds: float, rules: Rules) -> Iterator[Step]:
    long = rules.lease + rules.sweep + 4
    for kind, period in DEVICES.items():
        for number in range(_count(seconds, period)):
            # Every other one is long; a run that is short has one of each.
            is_long = (number + dice.randrange(2) * (kind == "kill")) % 2 == 0
            lasts = dice.uniform(long, long + 4) if is_long else dice.uniform(1, rules.lease)
            at = dice.uniform(0.05 * seconds, max(0.1 * seconds, seconds - lasts))
            yield Step(at, kind, lasts, dice.randrange(1_000_000))


def _count(seconds: float, period: float) -> int:
    return max(1, round(seconds / period))
