"""Simulate for as long as you like: `python -m proof.simulation [--steps N] [--seed FIRST]`.

Every run has a seed of its own, from FIRST on; `--only SEED` replays one and prints its trace if
it fails. The first failure ends it, with exit code 1.
"""

import sys
import time
from argparse import ArgumentParser
from itertools import count

from proof.simulation.simulation import Failure, simulate

PROGRESS_SECONDS = 10.0


def main() -> int:
    parser = ArgumentParser(prog="python -m proof.simulation", description=__doc__)
    parser.add_argument("--steps", type=int, default=1_000_000, help="how many in all")
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--only", type=int, help="replay this seed")
    request = parser.parse_args()
    try:
        if request.only is not None:
            print(simulate(request.only))
            return 0
        return _many(request.seed, request.steps)
    except Failure as failure:
        print(failure)
        return 1


def _many(first: int, wanted: int) -> int:
    began = told = time.monotonic()
    steps = announced = 0
    for seed in count(first):
        result = simulate(seed)
        steps, announced = steps + result.steps, announced + result.announced
        now = time.monotonic()
        if steps >= wanted or now > told + PROGRESS_SECONDS:
            told = now
            runs = seed - first + 1
            print(f"{runs:,} runs, {steps:,} steps, {announced:,} changes, {now - began:.0f} s")
        if steps >= wanted:
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
