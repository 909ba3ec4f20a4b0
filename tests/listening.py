"""What a client makes of what it hears of a chat session that is not large (docs/protocol.md)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from presence.application.member_list import MemberPage


@dataclass
class Hearsay:
    """The newest count, and of every user the newest movement; instants are epoch milliseconds."""

    count: int = 0
    as_of: int = 0
    #: As of when every member is known at least.
    since: int = 0
    present: set[str] = field(default_factory=set)
    moved: dict[str, int] = field(default_factory=dict)

    def joined(self, page: MemberPage) -> None:
        """The answer to `join`, with all members on one page."""
        assert page.cursor is None
        self.since = page.as_of
        self.present -= self._news(list(self.present), page.as_of)
        self.present |= self._news((it.user_id for it in page.members), page.as_of)
        self._counts(page.member_count, page.as_of)

    def hears(self, frame: Mapping[str, Any]) -> None:
        if frame["type"] == "chat-session-members":
            as_of = frame["asOf"]
            self.present -= self._news(frame["left"], as_of)
            self.present |= self._news((it["userId"] for it in frame["joined"]), as_of)
            self._counts(frame["memberCount"], as_of)

    def _news(self, user_ids: Iterable[str], as_of: int) -> set[str]:
        """The users of which nothing newer is known."""
        news = {it for it in user_ids if as_of >= max(self.since, self.moved.get(it, 0))}
        self.moved.update(dict.fromkeys(news, as_of))
        return news

    def _counts(self, count: int, as_of: int) -> None:
        if as_of >= self.as_of:
            self.count, self.as_of = count, as_of
