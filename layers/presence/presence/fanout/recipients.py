"""Who hears of a topic: told by this function if they are few, else by many at the same time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from presence.fanout.dispatch import DIRECT, Dispatcher
from presence.fanout.payloads import (
    FramesPayload,
    Payload,
    PresencePayload,
    View,
    packed,
    shared_out,
    size_of,
    to_json,
)
from presence.ports import Delivery, Job, Jobs, Part, Post, Subscriber, Subscriptions, Topic, Users

#: What one function posts itself, in about a second. Whoever has more subscribers is told by jobs.
ALONE = DIRECT
#: A shard that gets more rows than that is split: so many are read and told in one job.
ROWS = 1_000
#: A topic of more shards than that is large without being counted.
FEW_SHARDS = 8
MOST_SHARDS = 1_024
#: What a job may take of a message: SQS takes 256 KB, and something stands around it.
ROOM = 240_000


@dataclass(frozen=True, slots=True)
class Crowd:
    """The subscribers of a topic; None if one function should not tell them all.

    In a large room nobody hears of every change.
    """

    subscribers: Sequence[Subscriber] | None
    shards: int
    is_large: bool = False


@dataclass(frozen=True, slots=True)
class Audiences:
    subscriptions: Subscriptions
    users: Users
    jobs: Jobs
    dispatcher: Dispatcher

    def gather(self, topic: Topic, *, grows: bool = False) -> Crowd:
        """Read the subscribers, unless they are too many; whoever *grows* sees to the shards."""
        first = self.subscriptions.part(topic)
        if first.is_large or first.shards > FEW_SHARDS:
            return Crowd(None, first.shards, first.is_large)
        found: dict[str, Subscriber] = {}
        for shard in range(first.shards):
            part = self.subscriptions.part(topic, shard) if shard else first
            rows = self._rest(topic, shard, part, ALONE - len(found))
            found |= {it.connection_id: it for it in rows}
            if grows:
                self._grow(topic, shard, first.shards, len(rows))
            if len(found) > ALONE:
                return Crowd(None, first.shards)
        return Crowd(list(found.values()), first.shards)

    def _rest(self, topic: Topic, shard: int, part: Part, room: int) -> Sequence[Subscriber]:
        """A shard, beginning with this part of it, or one row more than there is room for."""
        found = [*part.subscribers]
        while part.after is not None and len(found) <= room:
            part = self.subscriptions.part(topic, shard, part.after)
            found += part.subscribers
        return found

    def all_of(self, topic: Topic) -> Iterator[Subscriber]:
        """Every subscriber, however many they are."""
        shard, shards = 0, 1
        while shard < shards:
            part = self.subscriptions.part(topic, shard)
            shards = max(shards, part.shards)
            yield from part.subscribers
            while part.after is not None:
                part = self.subscriptions.part(topic, shard, part.after)
                yield from part.subscribers
            shard += 1

    def _grow(self, topic: Topic, shard: int, shards: int, rows: int) -> None:
        """Only what came since the last time lies in the upper half of the shards.

        The lower ones stay as full as they were until their connections end, within two hours.
        """
        wanted = shards
        while rows > ROWS and wanted < MOST_SHARDS and shard >= shards // 2:
            wanted, rows = 2 * wanted, rows // 2
        if wanted > shards:
            self.subscriptions.grow(topic, shards, wanted)

    def relay(self, topic: Topic, text: str, without: str | None, now: int) -> None:
        """Tell everybody but one connection; all have it, or it is queued for them."""
        crowd = self.gather(topic)
        if crowd.subscribers is None:
            self.hand_on(topic, crowd.shards, [FramesPayload([text], said_at=now)], without)
            return
        names = [it.connection_id for it in crowd.subscribers if it.connection_id != without]
        self.dispatcher.send([Post(text, names)])

    def share_out(self, topic: Topic, shards: int, views: Iterable[View]) -> Sequence[View]:
        """Let jobs tell these changes; returns those of which too much is to be said for one."""
        parts, left = packed(views, ROOM)
        self.hand_on(topic, shards, parts)
        return left

    def hand_on(
        self, topic: Topic, shards: int, news: Sequence[Payload], without: str | None = None
    ) -> None:
        """Let jobs tell a topic, one for each of its shards."""
        self.jobs.put_jobs(
            Job(topic, shard, shards, it, without=without) for it in news for shard in range(shards)
        )

    def work(self, job: Job, now: int, *, until: int | None = None) -> Delivery | None:
        """Tell a page of a shard, while another function reads on behind it; None if too late.

        May be repeated: clients drop what they hold, and a message has its id.
        """
        if isinstance(job.news, FramesPayload) and job.news.is_too_late(now):
            return None
        part = self.subscriptions.part(job.topic, job.shard, job.after)
        # Whatever may fail comes first: each try would put the next job once more.
        news = self._by_now(job.news)
        rows = job.rows + len(part.subscribers)
        if part.after is None:
            self._grow(job.topic, job.shard, job.shards, rows)
        else:
            self.jobs.put_jobs([replace(job, after=part.after, rows=rows)])
        heard = [it for it in part.subscribers if it.connection_id != job.without]
        told = shared_out(news, ((it.connection_id, it.user_id) for it in heard))
        posts = [Post(text, names) for text, names in told.items()]
        return self.dispatcher.send(posts, until=until)

    def _by_now(self, news: Payload) -> Payload:
        """Read when the subscribers are known: whoever comes later is told by the next change."""
        if not isinstance(news, PresencePayload):
            return news
        stored = self.users.read_many({it.user_id for it in news.views}, consistent=True)
        return PresencePayload([it.as_of(stored[it.user_id]) for it in news.views])


def fits(news: Payload) -> bool:
    """Whether a job can carry it."""
    return size_of(to_json(news)) <= ROOM
