"""What an experiment says: a question, its answer, and what to change."""

from collections.abc import Sequence
from dataclasses import dataclass

NOT_KNOWN = "not known here"


@dataclass(frozen=True, slots=True)
class Answer:
    """One row of the table.

    Attributes:
        question: a sentence.
        found: the answer in few words; NOT_KNOWN if nothing that was seen decides.
        because: the figures behind it, or why it is not known.
        change: what to change in the template, the settings or the meter; empty for nothing.
    """

    question: str
    found: str
    because: str
    change: str = ""


def unknown(question: str, because: str) -> Answer:
    return Answer(question, NOT_KNOWN, because)


def yes_or_no(question: str, found: bool | None, because: str, change: str = "") -> Answer:
    """None is neither; then there is nothing to change."""
    if found is None:
        return unknown(question, because)
    return Answer(question, "yes" if found else "no", because, change)


def seconds(value: float) -> str:
    """0.25 s, 12 s, 10.1 min."""
    if value < 10:  # noqa: PLR2004  two figures are enough
        return f"{value:.2f} s"
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.1f} min"  # noqa: PLR2004


def median(values: Sequence[float]) -> float:
    return percentile(values, 50)


def percentile(values: Sequence[float], part: int) -> float:
    """The smallest value that so many percent of them do not exceed."""
    return sorted(values)[max(0, -(-part * len(values) // 100) - 1)]
