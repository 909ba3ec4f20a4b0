"""From the stream to the clients: coalesce, find the audience, one frame per connection."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from presence.domain.frames import members_change_frames, status_change_frames
from presence.domain.reducer import special_viewers
from presence.domain.user import Presence, User
from presence.ports import Delivery, Listener, Member, Members, Post, Roster, Subscriptions
from presence.use_cases.courier import Courier


@dataclass(frozen=True, slots=True)
class Record:
    """One change of one user, as the stream tells it; some are known to come again."""

    before: User
    after: User
    comes_again: bool = False


@dataclass(frozen=True, slots=True)
class Story:
    """All records of one user in a batch, oldest first."""

    records: Sequence[Record]

    @property
    def user(self) -> User:
        """As of the last record."""
        return max((record.after for record in self.records), key=lambda user: user.revision)

    @property
    def sessions(self) -> frozenset[str]:
        """Every chat session that the user was in before or after."""
        users = (user for it in self.records for user in (it.before, it.after))
        return frozenset[str]().union(*(user.sessions for user in users))

    def special_viewers(self) -> frozenset[str | None]:
        users = [user for it in self.records for user in (it.before, it.after)]
        return frozenset(special_viewers(*users))

    def is_news_for(self, viewer_id: str | None) -> bool:
        """Whether any record says more than the one before.

        Also if the last one is back where the first began: a record may have come before, alone,
        and whoever heard it would wait for ever for its opposite (I8).
        """
        return any(
            it.after.seen_by(viewer_id).says_more_than(it.before.seen_by(viewer_id))
            for it in self.records
        )

    def sessions_changed_for(self, viewer_id: str | None) -> frozenset[str]:
        """The chat sessions that *viewer_id* saw the user come into or leave."""
        differences = (
            it.before.sessions_seen_by(viewer_id) ^ it.after.sessions_seen_by(viewer_id)
            for it in self.records
        )
        return frozenset[str]().union(*differences)


@dataclass(frozen=True, slots=True)
class Views:
    """What there is to tell of one user; nearly all viewers see the same."""

    story: Story
    usual: Presence | None
    special: Mapping[str, Presence | None]

    def of(self, listener: Listener) -> Presence | None:
        return self.special.get(listener.user_id, self.usual)


@dataclass(frozen=True, slots=True)
class Movement:
    """Who came into a chat session, and who left it, as one viewer sees it."""

    joined: tuple[Presence, ...]
    left: tuple[str, ...]
    member_count: int


#: Per connection, the presences to tell it, by user.
Audience: TypeAlias = dict[str, dict[str, Presence]]


@dataclass(frozen=True, slots=True)
class Announcements:
    subscriptions: Subscriptions
    members: Members
    roster: Roster
    courier: Courier
    is_global: bool

    def announce(self, records: Sequence[Record]) -> Delivery:
        """Tell everybody who should know. May be repeated: clients drop versions they hold."""
        stories = _stories(records)
        listeners = _Listeners(self.subscriptions, self.is_global)
        posts = [*self._presences(stories, listeners), *self._movements(stories, listeners)]
        delivery = self.courier.send(posts) if posts else Delivery()
        self._count(records)
        return delivery

    def _count(self, records: Iterable[Record]) -> None:
        """Counts drift with records that come twice; the sweep counts anew every minute."""
        difference = sum(
            record.after.presence.is_online - record.before.presence.is_online
            for record in records
            if not record.comes_again
        )
        if difference:
            self.roster.add(difference)

    def _presences(self, stories: Sequence[Story], listeners: "_Listeners") -> Iterable[Post]:
        audience: Audience = defaultdict(dict)
        for views in filter(_is_told, map(_views, stories)):
            for listener in listeners.of_user(views.story):
                if (presence := views.of(listener)) is not None:
                    audience[listener.connection_id][presence.user_id] = presence
        for alike, connection_ids in _alike(audience).items():
            for text in status_change_frames(alike):
                yield Post(text, connection_ids)

    def _movements(self, stories: Sequence[Story], listeners: "_Listeners") -> Iterable[Post]:
        for session_id, movers in _movers(stories).items():
            movements = _Movements(session_id, movers, list(self.members.of(session_id)))
            alike: defaultdict[Movement, list[str]] = defaultdict(list)
            for listener in listeners.of_session(session_id):
                alike[movements.seen_by(listener.user_id)].append(listener.connection_id)
            for it, connection_ids in alike.items():
                if not (it.joined or it.left):
                    continue
                for text in members_change_frames(session_id, it.joined, it.left, it.member_count):
                    yield Post(text, connection_ids)


@dataclass(slots=True)
class _Listeners:
    """Every topic is read once for a batch, however many changes are about it."""

    subscriptions: Subscriptions
    is_global: bool
    sessions: dict[str, list[Listener]] = field(default_factory=dict)
    everybody: list[Listener] | None = None

    def of_session(self, session_id: str) -> list[Listener]:
        if session_id not in self.sessions:
            self.sessions[session_id] = _all(self.subscriptions.listeners(session_id))
        return self.sessions[session_id]

    def of_user(self, story: Story) -> Iterator[Listener]:
        """The user's own connections, watchers, members of shared sessions, everybody."""
        user = story.user
        yield from (Listener(connection_id, user.user_id) for connection_id in user.leases)
        if self.is_global:
            # Everybody includes them all.
            yield from self._everybody()
            return
        yield from _all(self.subscriptions.watchers(user.user_id))
        for session_id in story.sessions:
            yield from self.of_session(session_id)

    def _everybody(self) -> list[Listener]:
        if self.everybody is None:
            self.everybody = _all(self.subscriptions.everyone())
        return self.everybody


class _Movements:
    """What there is to hear of a chat session; nearly all of its members hear the same."""

    def __init__(self, session_id: str, movers: Sequence[Story], members: Sequence[Member]) -> None:
        self._session_id = session_id
        self._movers = movers
        self._members = members
        self._special = frozenset[str | None]().union(
            *(story.special_viewers() for story in movers),
            *(member.hidden_from for member in members),
        )
        self._found: dict[str | None, Movement] = {}

    def seen_by(self, viewer_id: str) -> Movement:
        viewer = viewer_id if viewer_id in self._special else None
        if viewer not in self._found:
            self._found[viewer] = self._movement(viewer)
        return self._found[viewer]

    def _movement(self, viewer_id: str | None) -> Movement:
        """One's own coming was the answer to `join`, so it is no news."""
        moved = [
            story.user
            for story in self._movers
            if story.user.user_id != viewer_id
            and self._session_id in story.sessions_changed_for(viewer_id)
        ]
        joined = [user for user in moved if self._session_id in user.sessions_seen_by(viewer_id)]
        left = [user for user in moved if user not in joined]
        return Movement(
            joined=tuple(user.seen_by(viewer_id) for user in joined),
            left=tuple(user.user_id for user in left),
            member_count=sum(viewer_id not in member.hidden_from for member in self._members),
        )


def _all(pages: Iterable[Sequence[Listener]]) -> list[Listener]:
    return [listener for page in pages for listener in page]


def _stories(records: Iterable[Record]) -> list[Story]:
    by_user: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_user[record.after.user_id].append(record)
    return [Story(of_one) for of_one in by_user.values()]


def _views(story: Story) -> Views:
    def told(viewer_id: str | None) -> Presence | None:
        return story.user.seen_by(viewer_id) if story.is_news_for(viewer_id) else None

    special = {name: told(name) for name in story.special_viewers() if name is not None}
    return Views(story, told(None), special)


def _is_told(views: Views) -> bool:
    return views.usual is not None or any(views.special.values())


def _alike(audience: Audience) -> Mapping[tuple[Presence, ...], list[str]]:
    """Whoever hears the same gets the same text, encoded once."""
    alike: defaultdict[tuple[Presence, ...], list[str]] = defaultdict(list)
    for connection_id, presences in audience.items():
        alike[tuple(presences.values())].append(connection_id)
    return alike


def _movers(stories: Iterable[Story]) -> Mapping[str, list[Story]]:
    """By chat session, those whom anybody saw come or go."""
    movers: defaultdict[str, list[Story]] = defaultdict(list)
    for story in stories:
        seen = (story.sessions_changed_for(viewer) for viewer in story.special_viewers())
        for session_id in frozenset[str]().union(*seen):
            movers[session_id].append(story)
    return movers
