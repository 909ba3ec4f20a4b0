"""`python -m tests.mutants [NAME...]`: make each mistake in a copy, and see that a test fails."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from tests.mutants.mutants import MUTANTS, Mutant
from tests.mutants.trial import PASSED, Verdict, copy_of_the_tree, run_tests, try_out

ROW = "{:<34}  {:<9}  {:>7}  {}"
AT_ONCE = 2


def main(names: Sequence[str]) -> int:
    chosen = [it for it in MUTANTS if not names or it.name in names]
    if unknown := set(names) - {it.name for it in chosen}:
        print("There is no mutant of the name", *sorted(unknown))
        return 2
    if not _pass_without(chosen):
        return 2
    survivors = _try_all(chosen)
    print(f"{len(chosen)} mutants, {len(survivors)} not killed", *survivors)
    return min(len(survivors), 1)


def _pass_without(mutants: Sequence[Mutant]) -> bool:
    """A test that fails anyway would kill whatever it is named for."""
    nodes = sorted({node for it in mutants for node in it.nodes})
    files = sorted({file for it in mutants for file in it.files})
    with copy_of_the_tree() as tree:
        code, output = run_tests(tree, nodes, files)
    if code != PASSED:
        print(output, "These tests have to pass first.", sep="\n")
    return code == PASSED


def _try_all(mutants: Sequence[Mutant]) -> Sequence[str]:
    survivors = []
    print(ROW.format("mutant", "", "time", "breaks"))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        trials = {pool.submit(try_out, it): it for it in mutants}
        for trial in as_completed(trials):
            mutant, verdict = trials[trial], trial.result()
            _print(mutant, verdict)
            if verdict.fate != "killed":
                survivors.append(mutant.name)
    return survivors


def _print(mutant: Mutant, verdict: Verdict) -> None:
    seconds = f"{verdict.seconds:.1f} s"
    fate = verdict.fate if verdict.fate == "killed" else verdict.fate.upper()
    print(ROW.format(mutant.name, fate, seconds, mutant.breaks), flush=True)
    if verdict.fate == "broken":
        print(verdict.output)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
