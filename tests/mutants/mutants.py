"""The mistakes that tests have to find: each a patch, with a header that says what it breaks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Mutant:
    """`against` are promises, faults and threats; `models` the variants of tests/model that err so.

    `killers` are tests of pytest, and files of tests in web/.
    """

    patch: Path
    breaks: str
    against: Sequence[str]
    killers: Sequence[str]
    models: Sequence[str] = ()

    @property
    def name(self) -> str:
        return self.patch.stem

    @property
    def nodes(self) -> Sequence[str]:
        """The killers that pytest runs."""
        return [it for it in self.killers if "::" in it]

    @property
    def files(self) -> Sequence[str]:
        """The killers that Vitest runs."""
        return [it for it in self.killers if "::" not in it]


def read(patch: Path) -> Mutant:
    header = patch.read_text("utf-8").partition("\n\n")[0]
    fields = [line.partition(": ")[::2] for line in header.splitlines()]
    (breaks,) = _all(fields, "Breaks")
    (against,) = _all(fields, "Against")
    return Mutant(
        patch, breaks, against.split(", "), _all(fields, "Killed by"), _all(fields, "Model")
    )


def _all(fields: Iterable[tuple[str, str]], name: str) -> Sequence[str]:
    return [value for it, value in fields if it == name]


MUTANTS = [read(patch) for patch in sorted(FOLDER.glob("*.patch"))]
