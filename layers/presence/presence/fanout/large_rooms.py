"""Large rooms: so many members that one change cannot be told to all of them at once any more.

What happens in one is told with the next tick: how many there are, and some of those who came or
went. The first change asks for a tick, and all that follow until it comes are part of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from presence.domain.errors import Unavailable
from presence.domain.user import Presence
from presence.fanout.payloads import FramesPayload
from presence.fanout.recipients import Audiences
from presence.ports import LargeRoom, Members, Subscriptions, Timers, Topic, Users
from presence.protocol.frames import members_change_frames

#: How many of those who came or went a tick names at most.
SAMPLE = 50
#: A room is large until it has this share of the members that make it so: it must not be large
#: and small again with every member who comes and goes.
STAYS_LARGE = 0.8
#: A tick that is so late was lost.
LOST_MILLISECONDS = 60_000
ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class LargeRooms:
    """`large` is how many members there may be before a room is large."""

    members: Members
    users: Users
    subscriptions: Subscriptions
    audiences: Audiences
    timers: Timers
    large: int
    tick_seconds: int

    def opens(self, session_id: str, user_ids: Sequence[str], count: int, now: int) -> None:
        """A room has become large; its first tick says so."""

        def opened(room: LargeRoom) -> LargeRoom:
            if room.is_large:
                return room
            as_of = max(now, room.as_of + 1)
            return replace(room, is_large=True, member_count=count, as_of=as_of)

        room, _ = self._change(self.members.room(session_id), opened)
        self.moved(room, user_ids, now)

    def moved(self, room: LargeRoom, user_ids: Sequence[str], now: int) -> bool:
        """Have it told with the next tick; False if the room is not large any more.

        The timer first: one too many finds that nobody waits for it.
        """
        asked = list[int]()

        def awaiting(room: LargeRoom) -> LargeRoom:
            if not room.is_large:
                return room
            recent = [*(it for it in room.recent if it not in user_ids), *user_ids][-SAMPLE:]
            if room.tick is not None and now < room.tick + self._patience:
                return replace(room, recent=tuple(recent))
            if not asked:
                self.timers.check_room(room.session_id, now, self.tick_seconds)
                asked.append(now)
            return replace(room, recent=tuple(recent), tick=now)

        room, _ = self._change(room, awaiting)
        return room.is_large

    @property
    def _patience(self) -> int:
        """How long a tick is waited for, in milliseconds; whoever changes something asks again."""
        return self.tick_seconds * 1000 + LOST_MILLISECONDS

    def tick(self, session_id: str, tick: int, now: int) -> None:
        """Count a room, and tell everybody who listens to it.

        First it says that it counts: what changes from here on is part of the next tick. One that
        stops halfway is repeated, unless the next has begun.
        """

        def begun(room: LargeRoom) -> LargeRoom:
            if room.tick != tick or not room.is_large:
                return room
            return replace(room, tick=None, ticking=tick, recent=(), told=room.recent)

        room, _ = self._change(self.members.room(session_id), begun)
        if room.ticking != tick:
            return
        told, is_counted = room.told, True
        if room.is_large:  # else it has ended this, and may not have said so
            count = self.members.count(session_id)
            room, is_counted = self._change(room, lambda it: self._counted(it, tick, count, now))
        if is_counted:
            self._tell(room, *self._sample(session_id, told), now)

    def _counted(self, room: LargeRoom, tick: int, count: int, now: int) -> LargeRoom:
        """The room with so many members; `as_of` tells clients which of two counts is newer."""
        is_late = room.ticking != tick
        if not room.is_large or (is_late and room.as_of >= now):
            return room
        return replace(
            room,
            is_large=count >= STAYS_LARGE * self.large,
            member_count=count,
            as_of=max(now, room.as_of + 1),
            told=room.told if is_late else (),
        )

    def _sample(
        self, session_id: str, user_ids: Sequence[str]
    ) -> tuple[Sequence[Presence], Sequence[str]]:
        """Who of these is in the room, and who is not; nobody who hides from anybody.

        The same is told to all, and to somebody who must not see them it would be too much.
        """
        users = [it for it in self.users.read_many(user_ids).values() if not it.blocked]
        here = [it for it in users if session_id in it.sessions_seen_by(None)]
        return [it.presence for it in here], [it.user_id for it in users if it not in here]

    def _tell(
        self, room: LargeRoom, joined: Sequence[Presence], left: Sequence[str], now: int
    ) -> None:
        """Tell its subscribers, and mark it as large only while they know that it is.

        Nobody hears a status in a marked room, and whoever was not told so would not ask for it:
        one tick of statuses too many costs only posts.
        """
        texts = members_change_frames(
            room.session_id,
            joined,
            left,
            room.member_count,
            room.as_of,
            is_sampled=room.is_large,
        )
        topic = Topic("session", room.session_id)
        first = self.subscriptions.part(topic)
        if first.is_large and not room.is_large:
            self.subscriptions.mark(room.session_id, is_large=False)
        self.audiences.hand_on(topic, first.shards, [FramesPayload(list(texts), said_at=now)])
        if room.is_large and not first.is_large:
            self.subscriptions.mark(room.session_id, is_large=True)

    def _change(
        self, room: LargeRoom, change: Callable[[LargeRoom], LargeRoom]
    ) -> tuple[LargeRoom, bool]:
        """The room after the change, by compare-and-swap, and whether there was one to make."""
        for _ in range(ATTEMPTS):
            after = change(room)
            if after == room:
                return room, False
            if self.members.keep(room, after):
                return replace(after, revision=room.revision + 1), True
            room = self.members.room(room.session_id)
        raise Unavailable("Too much happens in this chat session.", retry_after_seconds=1)
