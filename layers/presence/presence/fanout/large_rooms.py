"""Large rooms: so many members that no single change is sent to all of them.

What happens in one is sent with the next tick: the number of members, and some of the users who
joined or left. The first change schedules a tick, and all that follow until then are part of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from presence import limits
from presence.domain.errors import Unavailable
from presence.domain.user import Presence
from presence.fanout.broadcast import Broadcast
from presence.fanout.payloads import FramesPayload
from presence.ports import LargeRoom, Members, Subscriptions, Timers, Topic, Users
from presence.protocol.frames import members_change_frames, presence_text


@dataclass(frozen=True, slots=True)
class LargeRooms:
    """`large` is how many members there may be before a room is large."""

    members: Members
    users: Users
    subscriptions: Subscriptions
    broadcast: Broadcast
    timers: Timers
    large: int
    tick_seconds: int

    def open(self, session_id: str, user_ids: Sequence[str], count: int, now: int) -> None:
        """A room has become large; its first tick says so."""
        room = self.members.room(session_id)
        room, _ = self._change(room, lambda it: opened(it, count, now))
        self.move(room, user_ids, now)

    def move(self, room: LargeRoom, user_ids: Sequence[str], now: int) -> bool:
        """Let the next tick send these joins and leaves; False if the room is large no more."""
        lost_after = self.tick_seconds * 1000 + limits.LOST_TICK_MILLISECONDS
        room, _ = self._change(room, lambda it: moved(it, user_ids, now, lost_after))
        return room.is_large

    def tick(self, session_id: str, tick: int, now: int) -> None:
        """Count a room, and send it to its subscribers.

        First it is written that this tick counts: what changes from here on is part of the next.
        A tick that stopped halfway is repeated, unless the next one has begun.
        """
        room, _ = self._change(self.members.room(session_id), lambda it: begun(it, tick))
        if room.ticking != tick:
            return
        told, is_counted = room.told, True
        if room.is_large:  # else this tick has ended that, and may have stopped before it said so
            count = self.members.count(session_id)
            still_large = count >= limits.STAYS_LARGE * self.large
            after = replace(room, is_large=still_large, member_count=count)
            room, is_counted = self._change(room, lambda it: counted(it, after, now))
        if is_counted:
            self._send(room, *self._sample(session_id, told), now)

    def _sample(
        self, session_id: str, user_ids: Sequence[str]
    ) -> tuple[Sequence[Presence], Sequence[str]]:
        """Which of these users are in the room, and which are not; none who hides from a viewer.

        All recipients get the same, also viewers that such a user hides from.
        """
        # Consistent: a block of a moment ago must not be missed.
        found = self.users.read_many(user_ids, consistent=True).values()
        users = [it for it in found if not it.special_viewers]
        here = [it for it in users if session_id in it.sessions_seen_by(None)]
        return [it.presence for it in here], [it.user_id for it in users if it not in here]

    def _send(
        self, room: LargeRoom, joined: Sequence[Presence], left: Sequence[str], now: int
    ) -> None:
        """Send it to all subscribers; the topic is marked only while they know that it is large.

        In a marked room no status is sent, and a client that does not know the mark would not ask
        for it. Statuses sent for one tick too long cost only posts.
        """
        topic = Topic("session", room.session_id)
        first = self.subscriptions.part(topic)
        if first.is_large and not room.is_large:
            self.subscriptions.mark(room.session_id, is_large=False)
        frames = members_change_frames(
            room.session_id,
            map(presence_text, joined),
            left,
            room.member_count,
            room.as_of,
            is_sampled=room.is_large,
        )
        payload = FramesPayload(list(frames), said_at=now)
        self.broadcast.put_jobs(topic, first.shards, [payload])
        if room.is_large and not first.is_large:
            self.subscriptions.mark(room.session_id, is_large=True)

    def _change(
        self, room: LargeRoom, decide: Callable[[LargeRoom], LargeRoom]
    ) -> tuple[LargeRoom, bool]:
        """Decide, schedule, compare-and-swap: the room after that, and whether it has changed.

        The timer first: a tick that no room waits for does nothing, a missing one would be missed.
        """
        scheduled = None
        for _ in range(limits.SWAP_ATTEMPTS):
            after = decide(room)
            if after == room:
                return room, False
            if after.tick not in {None, room.tick, scheduled}:
                scheduled = after.tick
                self.timers.check_room(room.session_id, scheduled, self.tick_seconds)
            if self.members.keep(room, after):
                return replace(after, revision=room.revision + 1), True
            room = self.members.room(room.session_id)
        raise Unavailable("Too much happens in this chat session.", retry_after_seconds=1)


# ── decisions ──────────────────────────────────────────────────────────────────────────────


def opened(room: LargeRoom, count: int, now: int) -> LargeRoom:
    if room.is_large:
        return room
    return replace(room, is_large=True, member_count=count, as_of=max(now, room.as_of + 1))


def moved(room: LargeRoom, user_ids: Sequence[str], now: int, lost_after: int) -> LargeRoom:
    """The newest of the users who moved, and a tick, unless one is due that cannot be lost yet."""
    if not room.is_large:
        return room
    recent = [*(it for it in room.recent if it not in user_ids), *user_ids]
    is_due = room.tick is not None and now < room.tick + lost_after
    tick = room.tick if is_due else now
    return replace(room, recent=tuple(recent[-limits.SAMPLE :]), tick=tick)


def begun(room: LargeRoom, tick: int) -> LargeRoom:
    if room.tick != tick or not room.is_large:
        return room
    return replace(room, tick=None, ticking=tick, recent=(), told=room.recent)


def counted(room: LargeRoom, count: LargeRoom, now: int) -> LargeRoom:
    """The room as *count* has it; `as_of` tells clients which of two counts is newer."""
    is_late = room.ticking != count.ticking
    if not room.is_large or (is_late and room.as_of >= now):
        return room
    return replace(
        room,
        is_large=count.is_large,
        member_count=count.member_count,
        as_of=max(now, room.as_of + 1),
        told=room.told if is_late else (),
    )
