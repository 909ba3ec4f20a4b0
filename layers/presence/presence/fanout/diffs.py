"""What has changed, by viewer: of one user, and of the members of one chat session. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from presence.domain.reducer import special_viewers
from presence.domain.user import Presence, User
from presence.fanout.payloads import FramesPayload, PresenceByViewer
from presence.ports import Member, Subscriber
from presence.protocol.frames import members_change_frames


@dataclass(frozen=True, slots=True)
class Record:
    """One change of one user, as the stream reports it; `at` is before anything is read for it.

    `comes_again` says that this record is known to be delivered once more.
    """

    before: User
    after: User
    comes_again: bool = False
    at: int = 0


@dataclass(frozen=True, slots=True)
class UserDiff:
    """All records of one user in a batch, oldest first, and the newest known state of the user.

    A record may be old: it was repeated, or lay in a dead-letter queue. So records only say that
    there is something to send; the content comes from `user`. Clients that connected later know no
    newer version, and would keep the old state for good.

    `special_viewers` are those whose view may differ, and None for all the others.
    """

    records: Sequence[Record]
    user: User
    special_viewers: frozenset[str | None]
    presence: PresenceByViewer

    @classmethod
    def of(cls, records: Sequence[Record], stored: User) -> "UserDiff":
        """*stored* was read after the records came."""
        user = _newest(records, stored)
        viewers = frozenset(special_viewers(*_images(records), user))
        news = {viewer_id: _news_for(viewer_id, records, user) for viewer_id in viewers}
        usual = news.pop(None)
        special = {str(viewer_id): it for viewer_id, it in news.items()}
        return cls(records, user, viewers, PresenceByViewer(user.user_id, usual, special))

    @property
    def at(self) -> int:
        return max(it.at for it in self.records)

    @property
    def sessions(self) -> frozenset[str]:
        """Each chat session that the user was in before or after."""
        return _union(user.sessions for user in _images(self.records))

    @property
    def devices(self) -> Iterable[Subscriber]:
        """The user's own connections, which get each change without a subscription."""
        return [Subscriber(connection_id, self.user.user_id) for connection_id in self.user.leases]

    @property
    def hides_from_no_viewer(self) -> bool:
        return not any(user.blocked for user in _images(self.records))

    def public_changes(self) -> Iterator[Presence]:
        """Each change that all viewers may see; the user id and the version identify it."""
        for it in self.records:
            if it.after.presence.differs_for_others(it.before.presence):
                yield it.after.presence

    def sessions_changed_for(self, viewer_id: str | None) -> frozenset[str]:
        """The chat sessions that *viewer_id* saw the user join or leave."""
        return _union(
            it.before.sessions_seen_by(viewer_id) ^ it.after.sessions_seen_by(viewer_id)
            for it in self.records
        )


def _newest(records: Sequence[Record], stored: User) -> User:
    """The revisions of an erased user who is back start again, but the versions go on."""
    newest = max((it.after for it in records), key=_age)
    if not stored.revision:  # erased since: this record may be the only one that is sent
        return newest.erased()
    return max(newest, stored, key=_age)


def _age(user: User) -> tuple[int, int]:
    return max(user.version, user.own_version), user.revision


def _news_for(viewer_id: str | None, records: Sequence[Record], user: User) -> Presence | None:
    """The newest presence, if any record says more than the one before.

    Also if the last record is back where the first began: a record may have come before, alone,
    and a client that got it would wait for its opposite for good.
    """
    is_news = any(
        it.after.seen_by(viewer_id).differs_for_others(it.before.seen_by(viewer_id))
        for it in records
    )
    return user.seen_by(viewer_id) if is_news else None


def _images(records: Iterable[Record]) -> Sequence[User]:
    return [user for it in records for user in (it.before, it.after)]


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*sets)


def user_diffs(records: Iterable[Record], stored: Mapping[str, User]) -> Sequence[UserDiff]:
    by_user: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_user[record.after.user_id].append(record)
    return [UserDiff.of(of_one, stored[user_id]) for user_id, of_one in by_user.items()]


def by_session(diffs: Iterable[UserDiff]) -> Mapping[str, Sequence[UserDiff]]:
    """For each chat session, the users that any viewer saw join or leave it."""
    movers: defaultdict[str, list[UserDiff]] = defaultdict(list)
    for diff in diffs:
        for session_id in _union(map(diff.sessions_changed_for, diff.special_viewers)):
            movers[session_id].append(diff)
    return movers


#: The users who joined, who left, and the number of members, as one viewer sees them.
SeenMoves: TypeAlias = tuple[tuple[Presence, ...], tuple[str, ...], int]


@dataclass(frozen=True, slots=True)
class MembershipDiff:
    """The users who joined or left a chat session; nearly all of its members see the same.

    `movers` and, after them, `members` were read at `as_of` or later.
    """

    session_id: str
    movers: Sequence[UserDiff]
    members: Sequence[Member]
    as_of: int

    @property
    def special_viewers(self) -> frozenset[str]:
        hidden_from = _union(member.hidden_from for member in self.members)
        movers = (name for it in self.movers for name in it.special_viewers if name is not None)
        return hidden_from.union(movers)

    def content_for(self, viewer_id: str | None) -> SeenMoves:
        """Without the viewer's own join, which was the answer to `join`."""
        moved = [
            it.user
            for it in self.movers
            if it.user.user_id != viewer_id
            and self.session_id in it.sessions_changed_for(viewer_id)
        ]
        joined = [it for it in moved if self.session_id in it.sessions_seen_by(viewer_id)]
        return (
            tuple(it.seen_by(viewer_id) for it in joined),
            tuple(it.user_id for it in moved if it not in joined),
            sum(viewer_id not in member.hidden_from for member in self.members),
        )

    def frames(self, content: SeenMoves) -> Sequence[str]:
        joined, left, count = content
        if not (joined or left):
            return ()
        return tuple(members_change_frames(self.session_id, joined, left, count, self.as_of))

    def as_frames(self) -> FramesPayload:
        """The same for the queue: for each viewer who may get it."""
        special = {name: self.frames(self.content_for(name)) for name in self.special_viewers}
        said_at = max(it.at for it in self.movers)
        return FramesPayload(self.frames(self.content_for(None)), special, said_at=said_at)
