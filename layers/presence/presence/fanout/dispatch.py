"""Frames on their way to clients: at once, or by the queue; lost sockets are reported."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from presence import limits
from presence.deadline import HasTime, always, in_time
from presence.domain.errors import Unavailable
from presence.fanout.payloads import size_of
from presence.metrics import POSTS, POSTS_GONE, POSTS_PUT_OFF, POSTS_REFUSED, Meter
from presence.ports import Deliveries, Delivery, Gateway, Post, Timers
from presence.protocol.frames import closing
from presence.protocol.strict_json import encode


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """A socket that has to be closed, because its connection record is; the client is told why."""

    connection_id: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Dispatcher:
    gateway: Gateway
    deliveries: Deliveries
    timers: Timers
    meter: Meter = field(default_factory=Meter)

    def send(self, posts: Iterable[Post], *, until: int | None = None) -> Delivery:
        """Have every post accepted or queued when this returns, soon after *until*."""
        at_once, later = _split(posts, limits.POSTS_AT_ONCE)
        self.deliveries.put_all(_parcels(later))
        return self._post(at_once, attempt=1, until=until)

    def send_or_drop(self, posts: Iterable[Post], *, until: int | None = None) -> Delivery:
        """As `send`, for posts that may be lost, such as typing."""
        delivery = self._made(list(posts), until)
        self._clean_up(delivery)
        return delivery

    def deliver(self, posts: Sequence[Post], attempt: int, *, until: int | None = None) -> Delivery:
        """Send posts that had to wait, *attempt* times so far.

        Raises:
            Unavailable: they have waited often enough; the queue decides what becomes of them.
        """
        return self._post(posts, attempt + 1, until=until)

    def close_all(self, sockets: Iterable[OpenSocket], has_time: HasTime = always) -> set[str]:
        """Close sockets while there is time; the ids of those that may be open still.

        The reason goes ahead in a frame, as API Gateway sends no code of ours. May be repeated: a
        closed socket takes no frame.
        """
        reasons: dict[str, str | None] = {}
        for it in sockets:  # of two checks of one socket, one may not know the reason any more
            reasons[it.connection_id] = reasons.get(it.connection_id) or it.reason
        if has_time():
            self._say_why(reasons)
        closed, patience = set[str](), limits.UNCLOSED_SOCKETS
        for name in in_time(iter(reasons), has_time):
            if self._close(name):
                closed.add(name)
            elif not (patience := patience - 1):
                break
        return reasons.keys() - closed

    def _say_why(self, reasons: Mapping[str, str | None]) -> None:
        by_reason: defaultdict[str, list[str]] = defaultdict(list)
        for name, reason in reasons.items():
            if reason is not None:
                by_reason[reason].append(name)
        posts = [Post(encode(closing(reason)), names) for reason, names in by_reason.items()]
        if posts:
            self.gateway.post(posts)

    def _close(self, connection_id: str) -> bool:
        try:
            self.gateway.close(connection_id)
        except Unavailable:
            return False
        return True

    def _made(self, posts: Sequence[Post], until: int | None) -> Delivery:
        delivery = self.gateway.post(posts, until=until)
        self.meter.count(POSTS, _reach(posts))
        self.meter.count(POSTS_REFUSED, len(delivery.refused))
        self.meter.count(POSTS_PUT_OFF, len(delivery.again))
        self.meter.count(POSTS_GONE, len(delivery.gone))
        return delivery

    def _post(self, posts: Sequence[Post], attempt: int, *, until: int | None) -> Delivery:
        delivery = self._made(posts, until)
        # Before anything is cleaned up: a socket that is gone is found again by the next post.
        self._put_off(posts, delivery, attempt)
        self._clean_up(delivery)
        return delivery

    def _put_off(self, posts: Sequence[Post], delivery: Delivery, attempt: int) -> None:
        rest = _left(posts, frozenset(delivery.again))
        if not rest:
            return
        # The posts that were taken are left out first: the queue repeats all of what fails.
        if attempt >= limits.POST_ATTEMPTS and _reach(rest) == _reach(posts):
            raise Unavailable(f"{_reach(rest)} posts are refused after {attempt} attempts.")
        # 1, 2, 4 … seconds: API Gateway's quota is shared by the account.
        pause = min(2 ** (attempt - 1), limits.LONGEST_PAUSE_SECONDS)
        self.deliveries.put_all(_parcels(rest), attempt=attempt, delay_seconds=pause)

    def _clean_up(self, delivery: Delivery) -> None:
        if delivery.gone:
            self.timers.check_gone(delivery.gone, delivery.at)


def _left(posts: Iterable[Post], again: frozenset[str]) -> Sequence[Post]:
    """The posts that have to be made again: only to these connections."""
    left = (Post(it.text, [name for name in it.connection_ids if name in again]) for it in posts)
    return [post for post in left if post.connection_ids]


def _reach(posts: Iterable[Post]) -> int:
    return sum(len(post.connection_ids) for post in posts)


def _split(posts: Iterable[Post], budget: int) -> tuple[Sequence[Post], Sequence[Post]]:
    at_once, later = list[Post](), list[Post]()
    for post in posts:
        first, rest = post.connection_ids[:budget], post.connection_ids[budget:]
        budget -= len(first)
        if first:
            at_once.append(Post(post.text, first))
        if rest:
            later.append(Post(post.text, rest))
    return at_once, later


def _parcels(posts: Iterable[Post]) -> Iterator[Sequence[Post]]:
    """Posts that fit into one message of the queue each."""
    parcel, reach, size = list[Post](), 0, 0
    for part in (part for post in posts for part in _parts(post)):
        takes = _size(part)
        is_full = reach + len(part.connection_ids) > limits.CONNECTIONS_PER_PARCEL
        if parcel and (is_full or size + takes > limits.JOB_BUDGET):
            yield parcel
            parcel, reach, size = [], 0, 0
        parcel.append(part)
        reach += len(part.connection_ids)
        size += takes
    if parcel:
        yield parcel


def _parts(post: Post) -> Iterable[Post]:
    names, most = post.connection_ids, limits.CONNECTIONS_PER_PARCEL
    return (Post(post.text, names[start : start + most]) for start in range(0, len(names), most))


def _size(post: Post) -> int:
    """In bytes, as JSON."""
    return size_of({"text": post.text, "connectionIds": [*post.connection_ids]})
