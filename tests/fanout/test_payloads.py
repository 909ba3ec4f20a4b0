"""Payloads: what each viewer is sent, and that they travel as JSON without a change."""

import json
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from presence.domain.user import Presence, Status, User
from presence.fanout.broadcast import posts_of
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
from presence.ports import Subscriber

NAMES = st.sampled_from(["ada", "bob", "eve", "kim"])
PRESENCES = st.builds(
    Presence,
    NAMES,
    st.sampled_from([it for it in Status if it is not Status.INVISIBLE]),
    st.none() | st.integers(0, 2**53 - 1),
    st.integers(0, 2**53 - 1),
    st.none() | st.text(max_size=140),
)
VIEWS = st.builds(
    PresenceByViewer, NAMES, st.none() | PRESENCES, st.dictionaries(NAMES, st.none() | PRESENCES)
)
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
    parts, too_large = for_jobs(PresencePayload(views), budget)

    packed = [it for payload in (*parts, *too_large) for it in _views(payload)]
    assert sorted(packed, key=repr) == sorted(views, key=repr)
    assert all(_views(part) and size_of(to_json(part)) <= budget + 20 for part in parts)
    alone = [PresencePayload([it]) for payload in too_large for it in _views(payload)]
    assert all(size_of(to_json(it)) > budget for it in alone)


def _views(payload: Payload) -> list[PresenceByViewer]:
    assert isinstance(payload, PresencePayload)
    return [*payload.views]


@given(VIEWS, st.integers(0, 2**53 - 1))
def test_late_news_has_the_content_of_now_for_the_same_viewers(
    view: PresenceByViewer, version: int
) -> None:
    user = User(view.user_id, revision=1, version=version, own_version=version)

    now = view.as_of(user)

    for viewer_id in (None, "ada", "bob", "new"):
        then, seen = view.seen_by(viewer_id), now.seen_by(viewer_id)
        assert seen == (None if then is None else user.seen_by(viewer_id))
