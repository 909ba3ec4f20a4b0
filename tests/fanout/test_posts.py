"""Posts: what each viewer is sent, as JSON without a change, and posts that have to wait."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from presence import limits
from presence.domain.errors import Unavailable
from presence.domain.user import Presence, Status, User
from presence.fanout.broadcast import posts_of
from presence.fanout.dispatch import Dispatcher, OpenSocket
from presence.fanout.payloads import (
    ByViewer,
    FramesPayload,
    Payload,
    PresenceByViewer,
    PresencePayload,
    for_jobs,
    from_json,
    size_of,
    to_json,
)
from presence.ports import Post, Subscriber
from tests.fakes import FakeDeliveries, FakeGateway, FakeTimers
from tests.world import World

NAMES = st.sampled_from(["ada", "bob", "eve", "kim"])
PRESENCES = st.builds(
    Presence,
    NAMES,
    st.sampled_from([it for it in Status if it is not Status.INVISIBLE]),
    st.none() | st.integers(0, 2**53 - 1),
    st.integers(0, 2**53 - 1),
)
VIEWS = st.builds(
    PresenceByViewer, NAMES, st.none() | PRESENCES, st.dictionaries(NAMES, st.none() | PRESENCES)
)
NEWEST = 2**53 - 1
FRAMES = st.lists(st.text(), max_size=3)
PAYLOADS: st.SearchStrategy[Payload] = st.one_of(
    st.builds(PresencePayload, st.lists(VIEWS)),
    st.builds(FramesPayload, FRAMES, st.dictionaries(NAMES, FRAMES), said_at=st.integers(0)),
)


@given(PAYLOADS)
def test_a_payload_travels_as_json_without_a_change(payload: Payload) -> None:
    assert from_json(json.loads(json.dumps(to_json(payload)))) == payload


@given(PAYLOADS, st.lists(NAMES))
def test_each_connection_gets_what_its_user_may_see_and_no_more(
    payload: Payload, user_ids: list[str]
) -> None:
    subscribers = [Subscriber(f"{n}", user_id) for n, user_id in enumerate(user_ids)]

    posts = posts_of(payload, subscribers)

    for it in subscribers:
        sent = [post.text for post in posts if it.connection_id in post.connection_ids]
        assert sent == [*_frames(payload, it.user_id)]


def _frames(payload: ByViewer, viewer_id: str) -> Sequence[str]:
    return payload.frames(payload.content_for(viewer_id))


@pytest.mark.fault("API Gateway does not answer.")
def test_sockets_are_left_to_the_next_try_when_some_are_not_closed() -> None:
    names = [f"c{number}" for number in range(6)]
    gateway = FakeGateway(busy={"c1", "c3"})
    dispatcher = Dispatcher(gateway, FakeDeliveries(), FakeTimers())

    still_open = dispatcher.close_all([OpenSocket(it, "kicked") for it in names])

    assert gateway.closed == ["c0", "c2"]
    assert still_open == {"c1", "c3", "c4", "c5"}
    assert [len(gateway.heard.get(it, [])) for it in names] == [1, 0, 1, 0, 1, 1]


def test_content_that_is_the_same_for_several_viewers_is_one_post() -> None:
    busy, offline = (Presence("ada", it, 1, 2) for it in (Status.BUSY, Status.OFFLINE))
    view = PresenceByViewer("ada", busy, {"ada": busy, "eve": None, "kim": offline})
    names = ["ada", "bob", "eve", "kim", "zoe"]

    posts = posts_of(PresencePayload([view]), [Subscriber(it[0], it) for it in names])

    sent = [(json.loads(it.text)["changes"][0]["status"], it.connection_ids) for it in posts]
    assert sent == [("busy", ["a", "b", "z"]), ("offline", ["k"])]


@given(st.lists(VIEWS), st.integers(0, 3_000))
def test_parts_hold_all_that_fits_and_none_is_too_large(
    views: list[PresenceByViewer], budget: int
) -> None:
    parts = [_views(it) for it in for_jobs(PresencePayload(views), budget) or ()]

    assert [it for part in parts for it in part] == views
    for part in parts:
        assert part
        assert len(part) == 1 or size_of(to_json(PresencePayload(part))) <= budget + 20


def _views(payload: Payload) -> list[PresenceByViewer]:
    assert isinstance(payload, PresencePayload)
    return [*payload.views]


def test_the_news_of_one_user_is_never_too_large_for_a_job() -> None:
    """A batch of the stream has 100 records, and each may block or unblock one more viewer."""
    viewers = [f"{n:0128}" for n in range(limits.MAX_BLOCKED + limits.MAX_RETURNED + 100)]
    seen = Presence("u" * 128, Status.OFFLINE, NEWEST, NEWEST, "\N{GRINNING FACE}" * 140)
    view = PresenceByViewer(seen.user_id, seen, dict.fromkeys(viewers, seen))

    assert size_of(to_json(PresencePayload([view]))) <= limits.JOB_BUDGET


@given(VIEWS, st.integers(0, 2**53 - 1))
def test_late_news_has_the_content_of_now_for_the_same_viewers(
    view: PresenceByViewer, version: int
) -> None:
    user = User(view.user_id, revision=1, version=version, own_version=version)

    now = view.as_of(user)

    for viewer_id in (None, "ada", "bob", "new"):
        then, seen = view.seen_by(viewer_id), now.seen_by(viewer_id)
        assert seen == (None if then is None else user.seen_by(viewer_id))


# ── the dispatch of posts, and what waits ─────────────────────────────────────────────────────────


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
