"""Many examples, each batch from a seed of its own: `python -m proof.stateful --examples 10000`.

What failed comes again with `--seed` and the seed that was printed. It needs the root of the
repository and `layers/presence` in PYTHONPATH.
"""

import argparse
import random
import sys

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from proof.stateful.machine import Presence

BATCH = 100
SETTINGS = settings(
    max_examples=BATCH,
    stateful_step_count=50,
    deadline=None,
    database=None,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--examples", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    chosen = parser.parse_args()
    for number in range(chosen.seed, chosen.seed + max(1, chosen.examples // BATCH)):
        sys.stdout.write(f"seed {number}\n")
        sys.stdout.flush()
        machine = seed(number)(type("Seeded", (Presence,), {}))
        run_state_machine_as_test(machine, settings=SETTINGS)


if __name__ == "__main__":
    main()
