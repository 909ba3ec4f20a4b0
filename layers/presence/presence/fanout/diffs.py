"""What has changed, by viewer: of one user, and of the members of one chat session. Pure."""

from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias, TypeVar

from presence.domain.user import Presence, Status, User
from presence.fanout.payloads import (
    Differences,
    FramesPayload,
    PresenceByViewer,
    with_differences,
)
from presence.limits import ANNOUNCED_MILLISECONDS, TOPICS_AT_ONCE
from presence.ports import Member, Subscriber
from presence.protocol.frames import members_change_frames, presence_text

#: What a viewer saw a user do in a chat session.
Move: TypeAlias = Literal["joined", "left"]


@dataclass(frozen=True, slots=True)
class Record:
    """One change of one user, as the stream reports it; `at` is before anything is read for it.

    `comes_again` says that this record is known to be delivered once more.
    """

    before: User
    after: User
    comes_again: bool = False
    at: int = 0

    @property
    def is_rapid(self) -> bool:
        """Whether a user who is seen online changed again in the interval of the change before.

        Only what all see of it has changed: status, text and data. A version is a reading of the
        clock.
        """
        before, after = self.before, self.after
        is_same = (before.sessions, before.blocked) == (after.sessions, after.blocked)
        is_online = before.presence.is_online and after.presence.is_online
        intervals = {it.version // ANNOUNCED_MILLISECONDS for it in (before, after)}
        return is_same and is_online and before.version < after.version and len(intervals) == 1


@dataclass(frozen=True, slots=True)
class Moves:
    """What viewers that a user hides from in the same states saw of the user's chat sessions.

    `changed` are those that they saw the user join or leave, `now` those in which they see the user
    now. The first of a `UserDiff` are the public's, without names.
    """

    viewers: Sequence[str]
    changed: frozenset[str]
    now: frozenset[str]

    def seen_in(self, session_id: str) -> Move | None:
        if session_id not in self.changed:
            return None
        return "joined" if session_id in self.now else "left"


@dataclass(frozen=True)
class UserDiff:
    """All records of one user in a batch, oldest first, and the newest known state of the user.

    A record may be old: it was repeated, or lay in a dead-letter queue. So records only say that
    there is something to send; the content comes from `user`. Clients that connected later know no
    newer version, and would keep the old state for good.

    What a viewer sees is computed once for all viewers who see the same: each of hundreds of users
    in a batch may have hundreds of blocks and chat sessions.
    """

    records: Sequence[Record]
    user: User
    presence: PresenceByViewer
    moves: Sequence[Moves]

    @classmethod
    def of(cls, records: Sequence[Record], stored: User) -> "UserDiff":
        """*stored* was read after the records came."""
        user = _newest(records, stored)
        alike = _alike([*_images(records), user])
        special = _news_for([user.user_id], records, user)
        for viewer_ids in alike:
            special |= _news_for(viewer_ids, records, user)
        usual = _news_for([None], records, user)[None]
        presence = PresenceByViewer(user.user_id, usual, special)
        return cls(records, user, presence, [_moves(it, records, user) for it in ((), *alike)])

    @property
    def at(self) -> int:
        return max(it.at for it in self.records)

    @property
    def sessions(self) -> frozenset[str]:
        """Each chat session whose members are told of the user.

        They are those that the user is in, or is seen in; if the user is gone, those of before, so
        that the end of what was seen is heard. Who is in one that the user has left may have come
        after that.
        """
        known = self.user.all_sessions
        if self.user.presence.is_online:
            return known
        return known.union(*(user.all_sessions for user in _images(self.records)))

    @property
    def devices(self) -> Iterable[Subscriber]:
        """The user's own connections, which get each change without a subscription."""
        return [Subscriber(connection_id, self.user.user_id) for connection_id in self.user.leases]

    @property
    def hides_from_no_viewer(self) -> bool:
        return not any(user.special_viewers for user in _images(self.records))

    @property
    def is_held(self) -> bool:
        """Whether others are told later, and only if nothing new has happened by then.

        What only the own devices see, such as hiding, is told to these at once, and changes
        nothing of that: to others, it looks like a tab that is closed.
        """
        seen = [
            it for it in self.records if it.after.presence.differs_for_others(it.before.presence)
        ]
        return bool(seen) and all(it.is_rapid for it in seen)

    @property
    def public_moves(self) -> Moves:
        return self.moves[0]

    def public_changes(self) -> Iterator[Presence]:
        """Each change that all viewers may see; the user id and the version identify it."""
        for it in self.records:
            if it.after.presence.differs_for_others(it.before.presence):
                yield it.after.presence


def told_anew(user: User, now: int) -> UserDiff:
    """As if the user had just become what they are, for all who see them online.

    The user's own devices were told at once.
    """
    other = Status.AWAY if user.status is Status.BUSY else Status.BUSY
    diff = UserDiff.of([Record(replace(user, status=other, version=0), user, at=now)], user)
    return replace(diff, presence=diff.presence.without_own_devices())


def _newest(records: Sequence[Record], stored: User) -> User:
    """The revisions of an erased user who is back start again, but the versions go on."""
    newest = max((it.after for it in records), key=_age)
    if not stored.revision:  # erased since: this record may be the only one that is sent
        return newest.erased()
    return max(newest, stored, key=_age)


def _age(user: User) -> tuple[int, int]:
    return max(user.version, user.own_version), user.revision


def _alike(images: Sequence[User]) -> Collection[Sequence[str]]:
    """The viewers who are special in any of these states, together if they see the same."""
    found: defaultdict[Hashable, list[str]] = defaultdict(list)
    for name in sorted(_union(it.special_viewers for it in images)):
        found[tuple(_hiding(it, name) for it in images)].append(name)
    return found.values()


def _hiding(user: User, viewer_id: str) -> Hashable:
    """How the user hides from a viewer: not at all, altogether, or with a farewell."""
    if viewer_id not in user.blocked:
        return False
    it = user.farewell_for(viewer_id)
    return it and (it.until, it.status, it.text, it.data, tuple(sorted(it.sessions.items())))


ViewerId = TypeVar("ViewerId", str, None)


def _news_for(
    viewer_ids: Sequence[ViewerId], records: Sequence[Record], user: User
) -> dict[ViewerId, Presence | None]:
    """For viewers who see the same: the newest presence, if any record says more than the last.

    Also if the last record is back where the first began: a record may have come before, alone,
    and a client that got it would wait for its opposite for good.
    """
    first = viewer_ids[0]
    is_news = any(
        it.after.seen_by(first).differs_for_others(it.before.seen_by(first)) for it in records
    )
    return {it: user.seen_by(it) if is_news else None for it in viewer_ids}


def _moves(viewer_ids: Sequence[str], records: Sequence[Record], user: User) -> Moves:
    first = viewer_ids[0] if viewer_ids else None
    changed = _union(
        it.before.sessions_seen_by(first) ^ it.after.sessions_seen_by(first) for it in records
    )
    return Moves(viewer_ids, changed, user.sessions_seen_by(first))


def _images(records: Iterable[Record]) -> Sequence[User]:
    return [user for it in records for user in (it.before, it.after)]


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset[str]().union(*sets)


def parts_of(records: Iterable[Record]) -> Iterator[Sequence[Record]]:
    """The records in their order, in parts of about TOPICS_AT_ONCE topics: nearly always in one."""
    part, topics = list[Record](), set[str]()
    for record in records:
        topics |= record.before.all_sessions | record.after.all_sessions
        part.append(record)
        if len(topics) >= TOPICS_AT_ONCE:
            yield part
            part, topics = [], set()
    if part:
        yield part


def user_diffs(records: Iterable[Record], stored: Mapping[str, User]) -> Sequence[UserDiff]:
    by_user: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_user[record.after.user_id].append(record)
    return [UserDiff.of(of_one, stored[user_id]) for user_id, of_one in by_user.items()]


def images_of(diffs: Iterable[UserDiff]) -> Mapping[str, Sequence[User]]:
    """Each user as they were at some moments of the diffs."""
    return {it.user.user_id: [*_images(it.records), it.user] for it in diffs}


def by_session(diffs: Iterable[UserDiff]) -> Mapping[str, Sequence[UserDiff]]:
    """For each chat session, the users that any viewer saw join or leave it."""
    movers: defaultdict[str, list[UserDiff]] = defaultdict(list)
    for diff in diffs:
        for session_id in sorted(_union(it.changed for it in diff.moves)):
            movers[session_id].append(diff)
    return movers


#: What a frame says of a user: "left", or the presence of one who joined, as text.
Entry: TypeAlias = str | None


def _entry(move: Move | None, user: User, viewer_id: str | None) -> Entry:
    return presence_text(user.seen_by(viewer_id)) if move == "joined" else move


#: The joins and leaves that a viewer sees otherwise than most do, and how many members it sees.
SeenMoves: TypeAlias = tuple[Differences[Entry], int]


@dataclass(frozen=True)
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
        return frozenset({*self._special, *self._counted})

    @cached_property
    def _usual(self) -> Sequence[Entry]:
        return [
            _entry(it.public_moves.seen_in(self.session_id), it.user, None) for it in self.movers
        ]

    @cached_property
    def _special(self) -> Mapping[str, Differences[Entry]]:
        """What differs; for movers it is their own join, which was the answer to `join`."""
        found: defaultdict[str, list[tuple[int, Entry]]] = defaultdict(list)
        for position, (mover, usual) in enumerate(zip(self.movers, self._usual, strict=True)):
            found[mover.user.user_id].append((position, None))
            for moves in mover.moves[1:]:
                move = moves.seen_in(self.session_id)
                # Of a join, those who were blocked once are told another version.
                if move == "joined" or move != usual:
                    for name in moves.viewers:
                        found[name].append((position, _entry(move, mover.user, name)))
        return {name: tuple(differences) for name, differences in found.items()}

    @cached_property
    def _usual_count(self) -> int:
        return sum(not member.audience.only_for for member in self.members)

    @cached_property
    def _counted(self) -> Counter[str]:
        """By viewer, how many more members it sees than most viewers do, or fewer."""
        counted = Counter[str]()
        for member in self.members:
            counted.update(member.audience.only_for)
            counted.subtract(member.audience.hidden_from)
        return counted

    def content_for(self, viewer_id: str | None) -> SeenMoves:
        name = viewer_id or ""
        return self._special.get(name, ()), self._usual_count + self._counted[name]

    def frames(self, content: SeenMoves) -> Sequence[str]:
        differences, count = content
        moves = list(zip(self.movers, with_differences(self._usual, differences), strict=True))
        joined = [it for _, it in moves if it not in (None, "left")]
        left = [mover.user.user_id for mover, it in moves if it == "left"]
        if not (joined or left):
            return ()
        return tuple(members_change_frames(self.session_id, joined, left, count, self.as_of))

    def as_frames(self) -> FramesPayload:
        """The same for the queue: for each viewer who may get it."""
        special = {name: self.frames(self.content_for(name)) for name in self.special_viewers}
        said_at = max(it.at for it in self.movers)
        return FramesPayload(self.frames(self.content_for(None)), special, said_at=said_at)
