"""From the stream to the clients: coalesce, find the audience, one frame per connection."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from presence.domain.reducer import special_viewers
from presence.domain.user import Presence, User
from presence.fanout.dispatch import Dispatcher
from presence.fanout.large_rooms import LargeRooms
from presence.fanout.payloads import FramesPayload, View, shared_out
from presence.fanout.recipients import Audiences, Crowd, fits
from presence.ports import (
    EVERYONE,
    Delivery,
    LargeRoom,
    Member,
    Members,
    OnlineIndex,
    Post,
    Subscriber,
    Topic,
    Users,
)
from presence.protocol.frames import members_change_frames, status_change_frames


@dataclass(frozen=True, slots=True)
class Record:
    """One change of one user, as the stream tells it at `at`; some are known to come again.

    `at` is before anything is read for it: what is told of it is at least as new.
    """

    before: User
    after: User
    comes_again: bool = False
    at: int = 0


@dataclass(frozen=True, slots=True)
class Story:
    """All records of one user in a batch, oldest first, and the user as stored.

    A record may be old: it was repeated, or lay in a dead-letter queue. It says that there is
    something to tell, and the user as stored says what. Whoever has come since does not know a
    newer version, and would believe the old one for good (F54, I8).
    """

    records: Sequence[Record]
    stored: User

    @property
    def user(self) -> User:
        """The newest known.

        Whoever was erased and is back counts revisions anew, but no version is older than those
        of before.
        """
        newest = max((it.after for it in self.records), key=_age)
        if not self.stored.revision:  # erased since: this record may be all that anybody hears
            return newest.erased()
        return max(newest, self.stored, key=_age)

    @property
    def sessions(self) -> frozenset[str]:
        """Every chat session that the user was in before or after."""
        users = (user for it in self.records for user in (it.before, it.after))
        return frozenset[str]().union(*(user.sessions for user in users))

    def special_viewers(self) -> frozenset[str | None]:
        users = [user for it in self.records for user in (it.before, it.after)]
        return frozenset(special_viewers(*users, self.stored))

    def is_news_for(self, viewer_id: str | None) -> bool:
        """Whether any record says more than the one before.

        Also if the last one is back where the first began: a record may have come before, alone,
        and whoever heard it would wait for ever for its opposite (I8).
        """
        return any(
            it.after.seen_by(viewer_id).differs_for_others(it.before.seen_by(viewer_id))
            for it in self.records
        )

    def sessions_changed_for(self, viewer_id: str | None) -> frozenset[str]:
        """The chat sessions that *viewer_id* saw the user come into or leave."""
        differences = (
            it.before.sessions_seen_by(viewer_id) ^ it.after.sessions_seen_by(viewer_id)
            for it in self.records
        )
        return frozenset[str]().union(*differences)


def _age(user: User) -> tuple[int, int]:
    return max(user.version, user.own_version), user.revision


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
    audiences: Audiences
    users: Users
    members: Members
    online_index: OnlineIndex
    dispatcher: Dispatcher
    rooms: LargeRooms
    is_global: bool

    def announce(self, records: Sequence[Record], *, until: int | None = None) -> Delivery:
        """Tell everybody who should know. May be repeated: clients drop versions they hold."""
        stories = self._stories(records)
        subscribers = _Subscribers(self.audiences)
        posts = [*self._presences(stories, subscribers), *self._movements(stories, subscribers)]
        delivery = self.dispatcher.send(posts, until=until) if posts else Delivery()
        self._count(records)
        return delivery

    def _stories(self, records: Iterable[Record]) -> Sequence[Story]:
        by_user: defaultdict[str, list[Record]] = defaultdict(list)
        for record in records:
            by_user[record.after.user_id].append(record)
        stored = self.users.read_many(by_user, consistent=True)
        return [Story(of_one, stored[user_id]) for user_id, of_one in by_user.items()]

    def _count(self, records: Iterable[Record]) -> None:
        """Counts drift with records that come twice; the sweep counts anew every minute."""
        difference = sum(
            record.after.presence.is_online - record.before.presence.is_online
            for record in records
            if not record.comes_again
        )
        if difference:
            self.online_index.add(difference)

    def _presences(self, stories: Sequence[Story], subscribers: "_Subscribers") -> Iterable[Post]:
        audience: Audience = defaultdict(dict)
        large: defaultdict[Topic, list[View]] = defaultdict(list)
        for story, view in _told(stories):
            user = story.user
            _tell(audience, view, (Subscriber(name, user.user_id) for name in user.leases))
            for topic in self._topics(story):
                crowd = subscribers.of(topic)
                some = () if crowd.is_large else crowd.subscribers
                if some is None:
                    # The user's own connections have it already.
                    large[topic].append(View(view.usual, {**view.special, user.user_id: None}))
                else:
                    _tell(audience, view, some)
        self._share_out(large, subscribers, audience)
        for alike, connection_ids in _alike(audience).items():
            for text in status_change_frames(alike):
                yield Post(text, connection_ids)

    def _topics(self, story: Story) -> Iterator[Topic]:
        """Watchers and members of shared sessions, or everybody, who includes them all."""
        if self.is_global:
            yield EVERYONE
            return
        yield Topic("user", story.user.user_id)
        for session_id in story.sessions:
            yield Topic("session", session_id)

    def _share_out(
        self, large: Mapping[Topic, Sequence[View]], subscribers: "_Subscribers", audience: Audience
    ) -> None:
        """Let jobs tell it; whoever hides from so many that no job can say it is told of here."""
        for topic, views in large.items():
            news = [it for it in views if it.is_news]
            for view in self.audiences.share_out(topic, subscribers.of(topic).shards, news):
                _tell(audience, view, self.audiences.all_of(topic))

    def _movements(self, stories: Sequence[Story], subscribers: "_Subscribers") -> Iterable[Post]:
        for session_id, movers in _movers(stories).items():
            first = self.members.part(session_id)
            if first.room and first.room.is_large and self._ticks(first.room, movers):
                continue
            behind = () if first.after is None else self.members.of(session_id, first.after)
            members = [*first.members, *behind]
            if len(members) > self.rooms.large:
                self.rooms.opens(session_id, _nameable(movers), len(members), _now(movers))
                continue
            movements = _Movements(session_id, movers, members, first.as_of(_now(movers)))
            yield from self._told_to_all(movements, subscribers)

    def _ticks(self, room: LargeRoom, movers: Sequence[Story]) -> bool:
        """Leave it to a tick, if most people see a difference; False if the room is small again."""
        if not any(room.session_id in it.sessions_changed_for(None) for it in movers):
            return True  # one hides from another, and shows up in no sample
        return self.rooms.moved(room, _nameable(movers), _now(movers))

    def _told_to_all(self, movements: "_Movements", subscribers: "_Subscribers") -> Iterable[Post]:
        topic = Topic("session", movements.session_id)
        crowd = subscribers.of(topic)
        some = crowd.subscribers
        if crowd.is_large:  # what made it so has stopped halfway, or is over
            self.audiences.subscriptions.mark(movements.session_id, is_large=False)
        if some is None:
            saying = movements.saying()
            if fits(saying):
                self.audiences.hand_on(topic, crowd.shards, [saying])
                return
            some = list(self.audiences.all_of(topic))
        told = shared_out(movements, ((it.connection_id, it.user_id) for it in some))
        yield from (Post(text, names) for text, names in told.items())


@dataclass(slots=True)
class _Subscribers:
    """Every topic is read once for a batch, however many changes are about it."""

    audiences: Audiences
    found: dict[Topic, Crowd] = field(default_factory=dict)

    def of(self, topic: Topic) -> Crowd:
        if topic not in self.found:
            self.found[topic] = self.audiences.gather(topic, grows=True)
        return self.found[topic]


class _Movements:
    """What there is to hear of a chat session; nearly all of its members hear the same.

    The movers, and the members after them, were read at *as_of* or later.
    """

    def __init__(
        self, session_id: str, movers: Sequence[Story], members: Sequence[Member], as_of: int
    ) -> None:
        self.session_id = session_id
        self._movers = movers
        self._members = members
        self._as_of = as_of
        self._special = frozenset[str | None]().union(
            *(story.special_viewers() for story in movers),
            *(member.hidden_from for member in members),
        )

    @property
    def special_viewers(self) -> frozenset[str]:
        return frozenset(name for name in self._special if name is not None)

    def texts(self, viewer_id: str | None) -> Sequence[str]:
        it = self._movement(viewer_id)
        if not (it.joined or it.left):
            return ()
        return tuple(
            members_change_frames(self.session_id, it.joined, it.left, it.member_count, self._as_of)
        )

    def saying(self) -> FramesPayload:
        """The same as a value: of all viewers, also those who may not hear the session at all."""
        special = {name: self.texts(name) for name in self.special_viewers}
        return FramesPayload(self.texts(None), special, said_at=_now(self._movers))

    def _movement(self, viewer_id: str | None) -> Movement:
        """One's own coming was the answer to `join`, so it is no news."""
        moved = [
            story.user
            for story in self._movers
            if story.user.user_id != viewer_id
            and self.session_id in story.sessions_changed_for(viewer_id)
        ]
        joined = [user for user in moved if self.session_id in user.sessions_seen_by(viewer_id)]
        left = [user for user in moved if user not in joined]
        return Movement(
            joined=tuple(user.seen_by(viewer_id) for user in joined),
            left=tuple(user.user_id for user in left),
            member_count=sum(viewer_id not in member.hidden_from for member in self._members),
        )


def _view(story: Story) -> View:
    def told(viewer_id: str | None) -> Presence | None:
        return story.user.seen_by(viewer_id) if story.is_news_for(viewer_id) else None

    special = {name: told(name) for name in story.special_viewers() if name is not None}
    return View(told(None), special)


def _told(stories: Iterable[Story]) -> Iterator[tuple[Story, View]]:
    """The stories that are news to anybody."""
    for story in stories:
        view = _view(story)
        if view.is_news:
            yield story, view


def _tell(audience: Audience, view: View, subscribers: Iterable[Subscriber]) -> None:
    for subscriber in subscribers:
        if (presence := view.seen_by(subscriber.user_id)) is not None:
            audience[subscriber.connection_id][presence.user_id] = presence


def _alike(audience: Audience) -> Mapping[tuple[Presence, ...], list[str]]:
    """Whoever hears the same gets the same text, encoded once."""
    alike: defaultdict[tuple[Presence, ...], list[str]] = defaultdict(list)
    for connection_id, presences in audience.items():
        alike[tuple(presences.values())].append(connection_id)
    return alike


def _nameable(movers: Iterable[Story]) -> Sequence[str]:
    """Those of whom everybody may know that they came or went: they hid from nobody meanwhile."""
    return [
        story.user.user_id
        for story in movers
        if not any(it.before.blocked or it.after.blocked for it in story.records)
    ]


def _now(stories: Iterable[Story]) -> int:
    return max(it.at for story in stories for it in story.records)


def _movers(stories: Iterable[Story]) -> Mapping[str, list[Story]]:
    """By chat session, those whom anybody saw come or go."""
    movers: defaultdict[str, list[Story]] = defaultdict(list)
    for story in stories:
        seen = (story.sessions_changed_for(viewer) for viewer in story.special_viewers())
        for session_id in frozenset[str]().union(*seen):
            movers[session_id].append(story)
    return movers
