"""Sending to topics: posts at once to a few recipients, and jobs, a page each, to many."""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from presence import limits
from presence.domain.user import User
from presence.fanout.dispatch import Dispatcher
from presence.fanout.payloads import ByViewer, FramesPayload, Payload, PresencePayload, for_jobs
from presence.fanout.planner import Send, ToFew, ToMany
from presence.fanout.recipients import (
    Few,
    Recipients,
    Sampled,
    TooMany,
    read_recipients,
    rebalance,
)
from presence.fanout.sight import Sight
from presence.metrics import SESSION_RECIPIENTS
from presence.ports import Delivery, Job, Jobs, Post, Subscriber, Subscriptions, Topic, Users


@dataclass(frozen=True, slots=True)
class Broadcast:
    subscriptions: Subscriptions
    users: Users
    jobs: Jobs
    dispatcher: Dispatcher
    sight: Sight

    def recipients(self, topic: Topic) -> Recipients:
        return read_recipients(self.subscriptions, topic)

    def send(self, sends: Iterable[Send], *, until: int | None = None) -> Delivery:
        """Have each send posted or queued when this returns, soon after *until*."""
        posts = [post for send in sends for post in self._posts(send)]
        return self.dispatcher.send(posts, until=until) if posts else Delivery()

    def _posts(self, send: Send) -> Iterator[Post]:
        match send:
            case ToFew(subscribers, payload):
                yield from posts_of(payload, subscribers)
            case ToMany(topic, shards, payload):
                payloads = for_jobs(payload, limits.JOB_BUDGET)
                if payloads is not None:
                    self.put_jobs(topic, shards, payloads)
                else:  # frames for a chat session, whose members see each other
                    for page in self.subscriptions.pages(topic):
                        yield from posts_of(payload, page)

    def relay(self, topic: Topic, text: str, without: str | None, now: int) -> None:
        """Send a text to all connections but one; each has it then, or it is queued."""
        match self.recipients(topic):
            case Few(subscribers):
                others = [it.connection_id for it in subscribers if it.connection_id != without]
                self.dispatcher.meter.measure(SESSION_RECIPIENTS, len(others))
                self.dispatcher.send([Post(text, others)])
            case TooMany(shards) | Sampled(shards):
                self.put_jobs(topic, shards, [FramesPayload([text], said_at=now)], without)

    def put_jobs(
        self, topic: Topic, shards: int, payloads: Sequence[Payload], without: str | None = None
    ) -> None:
        """Queue a job for each payload and shard."""
        self.jobs.put_jobs(
            Job(topic, shard, shards, it, without=without)
            for it in payloads
            for shard in range(shards)
        )

    def work(self, job: Job, now: int, *, until: int | None = None) -> Delivery | None:
        """Post to a page of a shard, then queue a job for the next page; None if it is too late.

        May be repeated: clients drop versions that they hold, and a message has its id.
        """
        if isinstance(job.payload, FramesPayload) and job.payload.is_too_late(now):
            return None
        part = self.subscriptions.part(job.topic, job.shard, job.after)
        payload, stored = self._as_of_now(job.payload)
        others = [it for it in part.subscribers if it.connection_id != job.without]
        posts = self._visible(job, payload, others, stored)
        delivery = self.dispatcher.send(posts, until=until)
        rows = job.rows + len(part.subscribers)
        if part.after is None:
            rebalance(self.subscriptions, job.topic, job.shards, {job.shard: rows})
        else:
            # Last: each try of a job that fails behind it would bring all its successors again.
            self.jobs.put_jobs([replace(job, after=part.after, rows=rows)])
        return delivery

    def _as_of_now(self, payload: Payload) -> tuple[Payload, Mapping[str, User]]:
        """Read after the subscribers: who subscribes later gets the next change."""
        if not isinstance(payload, PresencePayload):
            return payload, {}
        stored = self.users.read_many({it.user_id for it in payload.views}, consistent=True)
        return PresencePayload([it.as_of(stored[it.user_id]) for it in payload.views]), stored

    def _visible(
        self,
        job: Job,
        payload: Payload,
        subscribers: Sequence[Subscriber],
        stored: Mapping[str, User],
    ) -> Iterator[Post]:
        """The posts, without users that a subscriber may not see as they are now.

        Members of a chat session see each other.
        """
        unseen: Collection[tuple[str, str]] = ()
        if isinstance(payload, PresencePayload) and job.topic.kind != "session":
            images = {name: [it] for name, it in stored.items()}
            unseen = self.sight.unseen([(subscribers, images.keys())], images)
        hidden = defaultdict[str, set[str]](set)
        for connection_id, user_id in unseen:
            hidden[connection_id].add(user_id)
        yield from posts_of(payload, [it for it in subscribers if it.connection_id not in hidden])
        for it in (it for it in subscribers if it.connection_id in hidden):
            yield from posts_of(payload.without(hidden[it.connection_id]), [it])


def posts_of(payload: ByViewer, subscribers: Iterable[Subscriber]) -> Sequence[Post]:
    """What each subscriber may see; content that is the same for several is encoded once."""
    special = payload.special_viewers
    by_viewer: defaultdict[str | None, list[str]] = defaultdict(list)
    for it in subscribers:
        by_viewer[it.user_id if it.user_id in special else None].append(it.connection_id)
    by_content: defaultdict[Hashable, list[str]] = defaultdict(list)
    for viewer_id, connection_ids in by_viewer.items():
        by_content[payload.content_for(viewer_id)] += connection_ids
    contents = by_content.items()
    return [Post(text, names) for content, names in contents for text in payload.frames(content)]
