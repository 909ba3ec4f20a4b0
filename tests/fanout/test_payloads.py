"""Payload for many: what each viewer hears of it, and that it travels as JSON without a change."""

import json

from hypothesis import given
from hypothesis import strategies as st

from presence.domain.user import Presence, Status
from presence.fanout.payloads import (
    FramesPayload,
    Payload,
    PresencePayload,
    View,
    from_json,
    packed,
    shared_out,
    size_of,
    to_json,
)

NAMES = st.sampled_from(["ada", "bob", "eve", "kim"])
PRESENCES = st.builds(
    Presence,
    NAMES,
    st.sampled_from([it for it in Status if it is not Status.INVISIBLE]),
    st.none() | st.integers(0, 2**53 - 1),
    st.integers(0, 2**53 - 1),
    st.none() | st.text(max_size=140),
)
VIEWS = st.builds(View, st.none() | PRESENCES, st.dictionaries(NAMES, st.none() | PRESENCES))
TEXTS = st.lists(st.text(), max_size=3)
ALL_NEWS: st.SearchStrategy[Payload] = st.one_of(
    st.builds(PresencePayload, st.lists(VIEWS)),
    st.builds(FramesPayload, TEXTS, st.dictionaries(NAMES, TEXTS)),
)


@given(ALL_NEWS)
def test_news_travels_as_json_without_a_change(news: Payload) -> None:
    assert from_json(json.loads(json.dumps(to_json(news)))) == news


@given(ALL_NEWS, st.lists(NAMES))
def test_every_connection_hears_what_its_user_may_know_and_no_more(
    news: Payload, user_ids: list[str]
) -> None:
    viewers = [(f"{number}", user_id) for number, user_id in enumerate(user_ids)]

    told = shared_out(news, viewers)

    for connection_id, user_id in viewers:
        heard = [text for text, names in told.items() for _ in range(names.count(connection_id))]
        assert sorted(heard) == sorted(news.texts(user_id))


@given(st.lists(VIEWS), st.integers(0, 3_000))
def test_parts_hold_all_that_fits_and_none_is_too_large(views: list[View], room: int) -> None:
    parts, left = packed(views, room)

    assert sorted([*(it for part in parts for it in part.views), *left], key=repr) == sorted(
        views, key=repr
    )
    assert all(part.views and size_of(to_json(part)) <= room + 20 for part in parts)
    assert all(size_of(to_json(PresencePayload([view]))) > room for view in left)


def test_whoever_sees_something_else_hears_that_or_nothing() -> None:
    busy, offline = (Presence("ada", it, 1, 2) for it in (Status.BUSY, Status.OFFLINE))
    news = PresencePayload([View(busy, {"eve": None, "kim": offline})])

    told = shared_out(news, [("b1", "bob"), ("e1", "eve"), ("k1", "kim"), ("z1", "zoe")])

    assert [(json.loads(text)["changes"][0]["status"], names) for text, names in told.items()] == [
        ("busy", ["b1", "z1"]),
        ("offline", ["k1"]),
    ]
