"""`python -m proof.model`: what the model checker finds, as a table."""

import sys

from proof.model.checker import CASES, Case, Result, check

ROW = "{:<44}  {:<9}  {:<9}  {:>10}  {:>8}  {:>8}"
MEGABYTE = 1024 * 1024


def row(case: Case, result: Result) -> str:
    states, memory = f"{result.states:,}", f"{result.memory // MEGABYTE} MB"
    seconds = f"{result.seconds:.1f} s"
    return ROW.format(case.label, case.expected, result.found, states, memory, seconds)


def main() -> int:
    print(ROW.format("model, scene, variant", "expected", "found", "states", "memory", "time"))
    surprises = 0
    for case in CASES:
        result = check(case)
        surprises += result.found != case.expected
        print(row(case, result), flush=True)
    print(f"{len(CASES)} cases, {surprises} of them not as expected")
    return min(surprises, 1)


if __name__ == "__main__":
    sys.exit(main())
