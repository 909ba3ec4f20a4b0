from collections.abc import Sequence

import pytest

from presence import limits
from presence.domain.errors import Unavailable
from presence.ports import Post
from tests.fakes import FakeTimers
from tests.world import World


def test_a_busy_socket_is_tried_a_bounded_number_of_times(world: World) -> None:
    world.gateway.busy.add("a1")
    world.dispatcher.send([Post("hello", ["a1"])])

    for number in range(1, limits.POST_ATTEMPTS - 1):
        ((post, attempt, delay),) = world.deliveries.waiting
        world.deliveries.waiting.clear()
        assert (attempt, delay) == (number, 2 ** (number - 1))
        world.dispatcher.deliver([post], attempt)

    ((post, attempt, _),) = world.deliveries.waiting
    with pytest.raises(Unavailable):
        world.dispatcher.deliver([post], attempt)
    assert attempt + 1 == limits.POST_ATTEMPTS


def test_a_post_taken_at_the_last_attempt_is_not_made_again(world: World) -> None:
    world.gateway.busy |= {"a1", "b1"}
    post = Post("hello", ["a1", "b1"])
    world.gateway.busy.remove("b1")

    world.dispatcher.deliver([post], limits.POST_ATTEMPTS - 1)

    ((rest, attempt, _),) = world.deliveries.waiting
    assert (rest.connection_ids, world.gateway.heard) == (["a1"], {"b1": ["hello"]})
    with pytest.raises(Unavailable):
        world.dispatcher.deliver([rest], attempt)


def test_no_post_waits_longer_than_the_longest_pause(world: World) -> None:
    """A message out of the dead-letter queue has any number of attempts behind it."""
    world.gateway.busy.add("a1")

    for attempt in (5, 11, 40):
        world.dispatcher.deliver([Post("hello", ["a1", "b1"])], attempt)

    assert [delay for _, _, delay in world.deliveries.waiting] == [
        32,
        limits.LONGEST_PAUSE_SECONDS,
        limits.LONGEST_PAUSE_SECONDS,
    ]


def test_posts_beyond_the_limit_wait_in_parcels(world: World) -> None:
    names = [
        f"c{number}" for number in range(limits.POSTS_AT_ONCE + limits.CONNECTIONS_PER_PARCEL + 7)
    ]

    world.dispatcher.send([Post("hello", names)])
    assert len(world.gateway.heard) == limits.POSTS_AT_ONCE

    assert world.deliver() == 2
    assert sorted(world.gateway.heard) == sorted(names)
    assert all(texts == ["hello"] for texts in world.gateway.heard.values())


def test_posts_to_busy_sockets_wait_in_parcels(world: World) -> None:
    names = [f"c{number}" for number in range(2 * limits.CONNECTIONS_PER_PARCEL + 7)]
    world.gateway.busy |= set(names)

    world.dispatcher.send([Post("hello", names)])

    parts = [post.connection_ids for post, _, _ in world.deliveries.waiting]
    assert [len(part) for part in parts] == [
        limits.CONNECTIONS_PER_PARCEL,
        limits.CONNECTIONS_PER_PARCEL,
        7,
    ]
    assert [name for part in parts for name in part] == names
    assert {(attempt, delay) for _, attempt, delay in world.deliveries.waiting} == {(1, 1)}


def test_of_posts_that_wait_together_only_the_refused_ones_are_made_again(world: World) -> None:
    world.gateway.busy |= {"a1", "c1"}
    posts = [Post("one", ["a1", "b1"]), Post("two", ["b1"]), Post("three", ["c1"])]

    world.dispatcher.deliver(posts, limits.POST_ATTEMPTS - 1)

    rest = [post for post, _, _ in world.deliveries.waiting]
    assert rest == [Post("one", ["a1"]), Post("three", ["c1"])]
    assert world.gateway.heard == {"b1": ["one", "two"]}
    with pytest.raises(Unavailable):
        world.dispatcher.deliver(rest, limits.POST_ATTEMPTS - 1)


def test_posts_to_busy_sockets_are_queued_before_lost_sockets_are_reported() -> None:
    class Throttled(FakeTimers):
        def check_gone(self, connection_ids: Sequence[str], at: int) -> None:
            raise Unavailable(f"{len(connection_ids)} at {at}")

    world = World(timers=Throttled())
    gone, busy = ([f"{kind}{n}" for n in range(count)] for kind, count in (("g", 1500), ("b", 10)))
    world.gateway.gone |= set(gone)
    world.gateway.busy |= set(busy)

    with pytest.raises(Unavailable):
        world.dispatcher.send([Post("hello", [*gone, *busy])])

    assert world.deliveries.waiting == [(Post("hello", busy), 1, 1)]
