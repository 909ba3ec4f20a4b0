"""Blocks: viewers who always see a user offline."""

from collections.abc import Sequence
from dataclasses import dataclass

from presence.application.user_changes import UserChanges
from presence.deadline import HasTime, in_time
from presence.domain.errors import Conflict, RateLimited
from presence.domain.events import Blocked, Unblocked
from presence.domain.rate_limit import Charge
from presence.ports import Block, Subscriptions, Users


@dataclass(frozen=True, slots=True)
class Blocking:
    """Every call may be repeated."""

    users: Users
    subscriptions: Subscriptions
    changes: UserChanges

    def block(self, user_id: str, viewer_id: str, now: int, charge: Charge | None = None) -> None:
        """Show the user as offline to a viewer from now on.

        Raises:
            Conflict: the viewer is the user, or one block too many.
            RateLimited: see `Take.of` and `reduce`.
        """
        if user_id == viewer_id:
            raise Conflict("Nobody can hide from themselves; choose the status invisible.")
        self.changes.apply(user_id, Blocked(viewer_id), now, charge=charge)

    def unblock(self, user_id: str, viewer_id: str, now: int, charge: Charge | None = None) -> None:
        self.changes.apply(user_id, Unblocked(frozenset({viewer_id})), now, charge=charge)

    def restore(
        self, after: Block | None, now: int, has_time: HasTime
    ) -> tuple[bool, Block | None]:
        """Block again what the table Subscriptions has, where the table Users was lost.

        Returns whether all were looked at, and the last one that was; go on behind it. It stops
        early at a user who changes so often just now that no more viewers can see it end.
        """
        blocks, last = self.subscriptions.blocks(after), after
        for block in in_time(blocks, has_time):
            try:
                self.changes.apply(block.user_id, Blocked(block.viewer_id), now)
            except RateLimited:
                return False, last
            last = block
        return next(blocks, None) is None, last

    def blocked(self, user_id: str) -> Sequence[str]:
        """The ids of the blocked viewers, in their order."""
        return sorted(self.users.read(user_id, consistent=True).blocked)
