"""Who could see whom until when: a second look at what every presence that is told must keep to.

Users see each other while they are in a chat session together. What a claim or the policy of the
stack adds or takes away is asked for each presence that leaves.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import permutations
from typing import TypeAlias, TypeVar

from presence.domain.standing import AllowedSessions, is_allowed
from presence.domain.user import User

#: A viewer, a user, and a chat session in which the viewer sees the user.
View: TypeAlias = tuple[str, str, str]
Key = TypeVar("Key")


@dataclass
class Sights:
    """`seen` says until when a viewer saw a user in a chat session, `shared` that both were in it.

    `inside` says until when a user was in a chat session. What is so now is in those with `now_`.
    Instants are in epoch milliseconds.
    """

    clock: Callable[[], int]
    is_open: bool
    seen: dict[View, int] = field(default_factory=dict)
    shared: dict[View, int] = field(default_factory=dict)
    inside: dict[tuple[str, str], int] = field(default_factory=dict)
    now_seen: set[View] = field(default_factory=set)
    now_shared: set[View] = field(default_factory=set)
    now_inside: set[tuple[str, str]] = field(default_factory=set)

    def update(self, users: Mapping[str, User]) -> None:
        """A user was written."""
        self.seen |= dict.fromkeys(self.now_seen, self.clock())
        self.shared |= dict.fromkeys(self.now_shared, self.clock())
        self.inside |= dict.fromkeys(self.now_inside, self.clock())
        self.now_seen = {
            (viewer, name, session_id)
            for viewer, name in permutations(users, 2)
            for session_id in users[name].sessions_seen_by(viewer)
        }
        self.now_inside = {
            (name, it)
            for name, user in users.items()
            for it in user.sessions - user.standing.barred
        }
        self.now_shared = {it for it in self.now_seen if (it[0], it[2]) in self.now_inside}

    def may_see(
        self,
        viewer_id: str,
        user_id: str,
        claims: Collection[AllowedSessions],
        since: int,
        *,
        is_end: bool = False,
    ) -> bool:
        """Whether a connection that has sent tokens with these claims could see it since then.

        That the user is gone (`is_end`) is told late to who has come in between.
        """
        is_limited = bool(claims) and None not in claims
        if self.is_open and not is_limited:
            return True
        seen = {it for it in self._since(self.now_seen, self.seen, since) if it[1] == user_id}
        shared = self._since(self.now_shared, self.shared, since)
        inside = self._since(self.now_inside, self.inside, since)
        return any(
            (self.is_open or it in shared or (is_end and (viewer_id, it[2]) in inside))
            and (not is_limited or any(is_allowed(it[2], claim) for claim in claims))
            for it in seen
            if it[0] == viewer_id
        )

    @staticmethod
    def _since(now: set[Key], before: Mapping[Key, int], since: int) -> set[Key]:
        return {*now, *(it for it, until in before.items() if until >= since)}
