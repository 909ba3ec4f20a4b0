"""Working through a list until the deadline: what is not begun by then is left to the next try.

Lambda ends a function that is late, and then all of its work counts as failed, also what was done.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias, TypeVar

T = TypeVar("T")

#: Whether another piece of work may begin.
HasTime: TypeAlias = Callable[[], bool]


def always() -> bool:
    return True


def within(seconds: float, clock: Callable[[], float]) -> HasTime:
    """Time for so long from now on, by a clock that counts seconds."""
    end = clock() + seconds
    return lambda: clock() < end


def in_time(items: Iterator[T], has_time: HasTime) -> Iterator[T]:
    """The items, while there is time; those that are left stay in the iterator."""
    while has_time():
        try:
            item = next(items)
        except StopIteration:
            return
        yield item
