"""Every mutant still fits the code, and names who finds it. `make mutants` sees that they do."""

import shutil
from pathlib import Path

import pytest

from local.stack import ROOT
from tests.docs.test_invariants import KNOWN
from tests.docs.test_pages import is_test
from tests.lacking import program
from tests.model.variants import BAD
from tests.mutants.mutants import MUTANTS, Mutant
from tests.mutants.trial import apply

ALL = pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
VARIANTS = {case.variant for case in BAD}


@ALL
def test_a_mutant_changes_the_code_as_it_is(mutant: Mutant, tmp_path: Path) -> None:
    program("git", reason="git is missing, which applies the patches")
    for name in changed(mutant):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)

    apply(mutant, tmp_path)

    for name in changed(mutant):
        assert (tmp_path / name).read_bytes() != (ROOT / name).read_bytes()


def changed(mutant: Mutant) -> set[str]:
    lines = mutant.patch.read_text("utf-8").splitlines()
    return {line.removeprefix("+++ b/") for line in lines if line.startswith("+++ b/")}


@ALL
def test_a_mutant_is_a_mistake_in_the_product(mutant: Mutant) -> None:
    assert not [name for name in changed(mutant) if "test" in name]
    assert mutant.breaks.endswith(".")


@ALL
def test_a_mutant_names_what_it_breaks_and_who_finds_it(mutant: Mutant) -> None:
    assert mutant.killers
    assert [node for node in mutant.nodes if not is_test(node)] == []
    assert [file for file in mutant.files if not (ROOT / file).is_file()] == []
    assert [number for number in mutant.against if number not in KNOWN] == []
    assert set(mutant.models) <= VARIANTS


def test_no_two_mutants_are_the_same() -> None:
    bodies = {mutant.patch.read_text("utf-8").partition("\n\n")[2] for mutant in MUTANTS}

    assert len(bodies) == len(MUTANTS)
