"""A page on the WebSocket ends where its frame is full; a page over HTTP does not."""

from collections.abc import Sequence

import pytest

from presence.domain.user import Presence
from presence.entrypoints import actions
from tests.functions.conftest import PHONE, ROOM, TAB, WATCH, Event, Stack
from tests.functions.test_user_status import MEMBERS, body_of

FIT = 2
NAMES = {"ada": TAB, "alan": PHONE, "grace": WATCH}


@pytest.fixture
def room(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """Three users in a chat session, two of which fit into a frame."""

    def fitting(users: Sequence[Presence]) -> int:
        return min(len(users), FIT)

    monkeypatch.setattr(actions, "fitting", fitting)
    for user_id, connection_id in NAMES.items():
        stack.join(user_id, connection_id)
        stack.enter(connection_id)
    stack.calm()
    return stack


def ids(users: Sequence[Event]) -> list[str]:
    return [user["userId"] for user in users]


def test_the_rest_of_a_full_frame_is_behind_its_cursor(room: Stack) -> None:
    first = room.ask(TAB, "online")
    rest = room.ask(TAB, "online", cursor=first["cursor"])

    assert len(first["users"]) == FIT
    assert sorted(ids(first["users"]) + ids(rest["users"])) == sorted(NAMES)
    assert (first["onlineCount"], rest["cursor"]) == (3, None)


def test_the_members_behind_a_full_frame_are_read_over_http(room: Stack) -> None:
    joined = room.enter(TAB, ROOM)
    query = {"cursor": joined["cursor"]}

    rest = body_of(room.http(f"GET {MEMBERS}", token=room.token("ada"), query=query))

    assert ids(joined["members"]) + ids(rest["members"]) == sorted(NAMES)
    assert joined["memberCount"] == rest["memberCount"] == len(NAMES)


def test_a_page_over_http_holds_all_of_them(room: Stack) -> None:
    token = room.token("ada")

    online = body_of(room.http("GET /online", token=token))
    members = body_of(room.http(f"GET {MEMBERS}", token=token))

    assert sorted(ids(online["users"])) == ids(members["members"]) == sorted(NAMES)
    assert online["cursor"] is members["cursor"] is None


def test_watched_users_behind_a_full_frame_come_as_changes(room: Stack) -> None:
    answer = room.ask(TAB, "watch", userIds=list(NAMES))

    (rest,) = room.heard(TAB)
    assert ids(answer["users"]) + ids(rest["changes"]) == list(NAMES)
