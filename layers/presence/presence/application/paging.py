"""Pages of users, the same for every list."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from presence.chunks import chunked
from presence.domain.user import Presence

#: How many of these, from the first on, fit into an answer; `len` where all of them do.
Fits: TypeAlias = Callable[[Sequence[Presence]], int]


@dataclass(frozen=True, slots=True)
class Page:
    """`last_id` is the id behind which the next page begins; None if there is none.

    `found` is how many users were found online in all, on the page or behind it.
    """

    users: Sequence[Presence]
    last_id: str | None
    found: int


def paginate(
    user_ids: Iterable[str],
    limit: int,
    read: Callable[[Sequence[str]], Sequence[Presence]],
    fits: Fits,
) -> Page:
    """The first *limit* of these users who are online, or as many of them as fit.

    One more is looked for, so that neither a short page nor a cursor to an empty page reveals that
    an invisible user stands in between.
    """
    found: list[Presence] = []
    for chunk in chunked(user_ids, limit + 1):
        found += [presence for presence in read(chunk) if presence.is_online]
        if len(found) > limit:
            break
    users = found[: fits(found[:limit])]
    last_id = users[-1].user_id if len(users) < len(found) else None
    return Page(users, last_id, len(found))
