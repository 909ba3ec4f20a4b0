"""The first sink: WebSocket frames to all connections that may see a change."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from presence.domain.user import User
from presence.fanout.broadcast import Broadcast
from presence.fanout.diffs import MembershipDiff, UserDiff, by_session, images_of
from presence.fanout.large_rooms import LargeRooms
from presence.fanout.planner import changes_by_topic, plan
from presence.fanout.recipients import Few, Recipients, Sampled, rebalance
from presence.fanout.sight import Audience, Sight
from presence.limits import ANNOUNCED_MILLISECONDS
from presence.ports import LargeRoom, Members, Subscriptions, Timers, Topic


@dataclass(frozen=True, slots=True)
class Sockets:
    subscriptions: Subscriptions
    members: Members
    broadcast: Broadcast
    large_rooms: LargeRooms
    is_global: bool
    sight: Sight
    timers: Timers

    def publish(self, diffs: Sequence[UserDiff], *, until: int | None) -> Mapping[str, int]:
        """Have each frame posted or queued. May be repeated: clients drop versions they hold."""
        held = [it.user for it in diffs if it.is_held]
        # Set before anything is sent: a superfluous timer tells what is known.
        for user in held:
            self.timers.check_told(user.user_id, user.version, ANNOUNCED_MILLISECONDS // 1000)
        by_topic = changes_by_topic(
            (it for it in diffs if not it.is_held), is_global=self.is_global
        )
        found = {topic: self._recipients(topic) for topic in by_topic}
        memberships = list(self._memberships(diffs))
        for session_id in (it.session_id for it in memberships):
            if (topic := Topic("session", session_id)) not in found:
                found[topic] = self._recipients(topic)
            if isinstance(found[topic], Sampled):
                # The room is small: what marked it has stopped halfway, or is over.
                self.subscriptions.mark(session_id, is_large=False)
        unseen = self._unseen(by_topic, found)
        delivery = self.broadcast.send(
            plan(diffs, by_topic, memberships, found, unseen), until=until
        )
        return {"gone": len(delivery.gone), "refused_posts": len(delivery.refused)}

    def _unseen(
        self, by_topic: Mapping[Topic, Sequence[UserDiff]], found: Mapping[Topic, Recipients]
    ) -> Collection[tuple[str, str]]:
        """Members of a chat session see each other; other subscribers may not see the user."""
        audiences, targets = list[Audience](), dict[str, Sequence[User]]()
        for topic, diffs in by_topic.items():
            recipients = found[topic]
            if topic.kind != "session" and isinstance(recipients, Few):
                images = images_of(diffs)
                audiences.append((recipients.subscribers, images.keys()))
                targets |= images
        return self.sight.unseen(audiences, targets)

    def _recipients(self, topic: Topic) -> Recipients:
        """Each topic is read once for a batch, and grows if it has to."""
        found = self.broadcast.recipients(topic)
        rebalance(self.subscriptions, topic, found.shards, dict(enumerate(found.rows)))
        return found

    def _memberships(self, diffs: Sequence[UserDiff]) -> Iterator[MembershipDiff]:
        """Joins and leaves of rooms that are not large; the others are left to their ticks."""
        for session_id, movers in by_session(diffs).items():
            now = max(it.at for it in movers)
            first = self.members.part(session_id)
            if first.room and first.room.is_large and self._is_ticking(first.room, movers, now):
                continue
            behind = () if first.after is None else self.members.of(session_id, first.after)
            members = [*first.members, *behind]
            if len(members) > self.large_rooms.large:
                self.large_rooms.open(session_id, _nameable(movers), len(members), now)
            else:
                yield MembershipDiff(session_id, movers, members, first.as_of(now))

    def _is_ticking(self, room: LargeRoom, movers: Sequence[UserDiff], now: int) -> bool:
        """Leave it to a tick, if most viewers see it; False if the room is large no more."""
        if not any(room.session_id in it.public_moves.changed for it in movers):
            return True  # a user hides from one viewer, and is in no sample
        return self.large_rooms.move(room, _nameable(movers), now)


def _nameable(movers: Iterable[UserDiff]) -> Sequence[str]:
    """The users whose joins and leaves all viewers may see."""
    return [it.user.user_id for it in movers if it.hides_from_no_viewer]
