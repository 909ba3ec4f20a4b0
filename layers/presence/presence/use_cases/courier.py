"""The way of frames to clients: at once, or by the queue; what is gone is cleaned up behind."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from presence.domain.errors import Unavailable
from presence.domain.frames import closing
from presence.domain.strict_json import encode
from presence.ports import Deliveries, Delivery, Gateway, Post, Timers

#: So many posts are made at once, in about a second; the rest is shared out among parallel
#: deliveries. It is also what API Gateway allows an account in a second.
DIRECT = 10_000
#: How many connections one message on the queue is for.
CHUNK = 500
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Courier:
    gateway: Gateway
    deliveries: Deliveries
    timers: Timers

    def send(self, posts: Iterable[Post], *, until: int | None = None) -> Delivery:
        """Have every post accepted or queued when this returns, soon after *until*."""
        at_once, later = _split(posts, DIRECT)
        for post in later:
            self.deliveries.put(post)
        return self._post(at_once, attempt=1, until=until)

    def send_or_drop(self, posts: Iterable[Post]) -> Delivery:
        """As `send`, for what nobody misses later, such as typing."""
        delivery = self.gateway.post(posts)
        self._clean_up(delivery)
        return delivery

    def deliver(self, post: Post, attempt: int, *, until: int | None = None) -> Delivery:
        """Send what had to wait, *attempt* times so far.

        Raises:
            Unavailable: it has waited often enough; the queue has to say what becomes of it.
        """
        return self._post([post], attempt + 1, until=until)

    def hang_up(self, connection_id: str, reason: str | None) -> None:
        """API Gateway sends no close code of ours, so the reason goes ahead in a frame.

        May be repeated: whoever is gone hears nothing.

        Raises:
            Unavailable: see `Gateway.close`.
        """
        if reason is not None:
            self.gateway.post([Post(encode(closing(reason)), [connection_id])])
        self.gateway.close(connection_id)

    def _post(self, posts: Sequence[Post], attempt: int, *, until: int | None) -> Delivery:
        delivery = self.gateway.post(posts, until=until)
        self._clean_up(delivery)
        again = frozenset(delivery.again)
        for post in posts:
            if rest := [name for name in post.connection_ids if name in again]:
                # Whoever has taken it is left out first: what fails, the queue repeats as a whole.
                if attempt >= ATTEMPTS and len(rest) == len(post.connection_ids):
                    raise Unavailable(f"{len(rest)} connections are busy after {attempt} attempts.")
                # 1, 2, 4 … seconds: API Gateway's quota is shared by the account.
                delay = 2 ** (attempt - 1)
                for part in _parts(Post(post.text, rest)):
                    self.deliveries.put(part, attempt=attempt, delay_seconds=delay)
        return delivery

    def _clean_up(self, delivery: Delivery) -> None:
        for connection_id in delivery.gone:
            self.timers.check_gone(connection_id, delivery.at)


def _split(posts: Iterable[Post], room: int) -> tuple[Sequence[Post], Sequence[Post]]:
    at_once, later = list[Post](), list[Post]()
    for post in posts:
        first, rest = post.connection_ids[:room], post.connection_ids[room:]
        room -= len(first)
        if first:
            at_once.append(Post(post.text, first))
        later += _parts(Post(post.text, rest))
    return at_once, later


def _parts(post: Post) -> Sequence[Post]:
    """Posts that fit a message of the queue."""
    names = post.connection_ids
    return [Post(post.text, names[start : start + CHUNK]) for start in range(0, len(names), CHUNK)]
