from collections.abc import Sequence

import pytest

from presence.domain.errors import Unavailable
from presence.fanout.dispatch import ATTEMPTS, CHUNK, DIRECT, LONGEST_PAUSE
from presence.ports import Post
from tests.fakes import FakeTimers
from tests.world import World


def rounds(world: World) -> int:
    """Deliver whatever waits until nothing does; how often a post was made in the end."""
    count = 1
    while world.deliveries.waiting:
        (post, attempt, _), *world.deliveries.waiting = world.deliveries.waiting
        world.dispatcher.deliver([post], attempt)
        count += 1
    return count


def test_whoever_stays_busy_is_tried_so_often_and_no_more(world: World) -> None:
    world.gateway.busy.add("a1")
    world.dispatcher.send([Post("hello", ["a1"])])

    for number in range(1, ATTEMPTS - 1):
        ((post, attempt, delay),) = world.deliveries.waiting
        world.deliveries.waiting.clear()
        assert (attempt, delay) == (number, 2 ** (number - 1))
        world.dispatcher.deliver([post], attempt)

    ((post, attempt, _),) = world.deliveries.waiting
    with pytest.raises(Unavailable):
        world.dispatcher.deliver([post], attempt)
    assert attempt + 1 == ATTEMPTS


def test_whoever_took_it_at_the_last_attempt_does_not_get_it_again(world: World) -> None:
    world.gateway.busy |= {"a1", "b1"}
    post = Post("hello", ["a1", "b1"])
    world.gateway.busy.remove("b1")

    world.dispatcher.deliver([post], ATTEMPTS - 1)

    ((rest, attempt, _),) = world.deliveries.waiting
    assert (rest.connection_ids, world.gateway.heard) == (["a1"], {"b1": ["hello"]})
    with pytest.raises(Unavailable):
        world.dispatcher.deliver([rest], attempt)


def test_nobody_waits_longer_than_the_queue_can_delay(world: World) -> None:
    """A message out of the dead-letter queue has any number of attempts behind it."""
    world.gateway.busy.add("a1")

    for attempt in (5, 11, 40):
        world.dispatcher.deliver([Post("hello", ["a1", "b1"])], attempt)

    assert [delay for _, _, delay in world.deliveries.waiting] == [32, LONGEST_PAUSE, LONGEST_PAUSE]


def test_what_is_too_much_at_once_is_shared_out(world: World) -> None:
    everybody = [f"c{number}" for number in range(DIRECT + CHUNK + 7)]

    world.dispatcher.send([Post("hello", everybody)])
    assert len(world.gateway.heard) == DIRECT

    assert rounds(world) == 3
    assert sorted(world.gateway.heard) == sorted(everybody)
    assert all(texts == ["hello"] for texts in world.gateway.heard.values())


def test_what_is_busy_waits_in_messages_that_the_queue_takes(world: World) -> None:
    everybody = [f"c{number}" for number in range(2 * CHUNK + 7)]
    world.gateway.busy |= set(everybody)

    world.dispatcher.send([Post("hello", everybody)])

    parts = [post.connection_ids for post, _, _ in world.deliveries.waiting]
    assert [len(part) for part in parts] == [CHUNK, CHUNK, 7]
    assert [name for part in parts for name in part] == everybody
    assert {(attempt, delay) for _, attempt, delay in world.deliveries.waiting} == {(1, 1)}


def test_of_posts_that_wait_together_whoever_took_them_gets_none_again(world: World) -> None:
    world.gateway.busy |= {"a1", "c1"}
    posts = [Post("one", ["a1", "b1"]), Post("two", ["b1"]), Post("three", ["c1"])]

    world.dispatcher.deliver(posts, ATTEMPTS - 1)

    rest = [post for post, _, _ in world.deliveries.waiting]
    assert rest == [Post("one", ["a1"]), Post("three", ["c1"])]
    assert world.gateway.heard == {"b1": ["one", "two"]}
    with pytest.raises(Unavailable):
        world.dispatcher.deliver(rest, ATTEMPTS - 1)


def test_who_is_busy_is_in_the_queue_before_anything_is_cleaned_up() -> None:
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
