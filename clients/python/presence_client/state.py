"""What a client holds, right whatever the order in which frames come (docs/protocol.md)."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from presence_client.models import MembersChanged, MembersPage, Presence


class Presences(dict[str, Presence]):
    """Of each user, the presence with the highest version that was told.

    Attributes:
        doubtful: users of which no frame has come since the connection was lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.doubtful: set[str] = set()

    def doubt(self) -> None:
        self.doubtful = set(self)

    def take(self, told: Iterable[Presence]) -> list[Presence]:
        """Take these in; return those that were news."""
        news = []
        for presence in told:
            self.doubtful.discard(presence.user_id)
            held = self.get(presence.user_id)
            if held is None or presence.version > held.version or _is_erased(presence, held):
                self[presence.user_id] = presence
                news.append(presence)
        return news


def _is_erased(presence: Presence, held: Presence) -> bool:
    """An erased user begins anew; a version of 0 is told over HTTP only."""
    return presence.version == 0 < held.version


@dataclass
class ChatSession:
    """One chat session that was joined.

    Attributes:
        members: user ids; empty in a large room, whose members `Api.members` reads in pages.
        sampled: whether it is a large room.
    """

    chat_session_id: str
    members: set[str] = field(default_factory=set)
    member_count: int = 0
    sampled: bool = False
    _counted: int = -1  # as of when the count is
    _since: int = -1  # as of when all members are known
    _moved: dict[str, int] = field(default_factory=dict)  # as of when a user joined or left

    def enter(self, joined: MembersPage) -> None:
        """Take the answer to `join`: a user who is not in it, nor in later pages, is absent."""
        self._since = self._count(joined)
        self._moved = {user: at for user, at in self._moved.items() if at > self._since}
        self.members &= self._moved.keys()
        self.add(joined)

    def add(self, page: MembersPage) -> None:
        """Take a page of the members, the first or a later one of those that `enter` began."""
        for member in () if self.sampled else page.members:
            if member.user_id not in self._moved:
                self.members.add(member.user_id)

    def move(self, frame: MembersChanged) -> bool:
        """Take `chat-session-members`; return whether to join again, to know all members."""
        was_sampled = self.sampled
        as_of = self._count(frame)
        if self.sampled:
            return False
        moves = [(it.user_id, True) for it in frame.joined] + [(it, False) for it in frame.left]
        for user_id, is_member in moves:
            if as_of >= self._moved.get(user_id, self._since):
                self._moved[user_id] = as_of
                (self.members.add if is_member else self.members.discard)(user_id)
        return was_sampled

    def _count(self, told: MembersPage | MembersChanged) -> int:
        """Take the count, and whether the room is large, unless a newer one was told."""
        as_of = self._counted if told.as_of is None else told.as_of
        if as_of >= self._counted:
            self._counted, self.member_count, self.sampled = as_of, told.member_count, told.sampled
            if self.sampled:
                self.members, self._moved = set(), {}
        return as_of
