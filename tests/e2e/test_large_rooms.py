"""A large room on a real stack: into the mode, a tick, pages, and the way back (protocol.md §1)."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from presence_client.models import Frame
from tests.conftest import SHORT
from tests.conversation import Conversation, join, people, story
from tests.stack import RunningStack, running_stack

LARGE, TICK = 5, 1
#: A timer, its function, a job, its function, and a busy machine.
TRAVEL = 10
MEMBERS = "/chat-sessions/{}/members"


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Where six members make a large room."""
    parameters = SHORT | {
        "HeartbeatSeconds": 40,
        "BackgroundHeartbeatSeconds": 40,
        "AuthenticationSeconds": 20,
        "GlobalPresence": "false",
        "LargeAudience": LARGE,
        "TickSeconds": TICK,
        "DeliveryConcurrency": 2,
    }
    with running_stack(tmp_path_factory.mktemp("arena"), parameters) as stack:
        yield stack


@asynccontextmanager
async def members(
    stack: RunningStack, room: str, names: list[str]
) -> AsyncIterator[tuple[list[Conversation], list[Frame]]]:
    """Connections of these users, who join one after the other, and what they were answered."""
    async with AsyncExitStack() as connections:
        clients = [await connections.enter_async_context(join(stack, name)) for name in names]
        answers = [await client.request("join", chatSessionId=room) for client in clients]
        yield clients, answers


def counted(room: str, count: int, **fields: Any) -> Any:
    """A predicate: this session was told to have so many members, in a frame like this."""

    def is_it(frame: Frame) -> bool:
        return (
            frame["type"] == "chat-session-members"
            and frame["chatSessionId"] == room
            and frame["memberCount"] == count
            and all(frame.get(name) == it for name, it in fields.items())
        )

    return is_it


def over(room: str, count: int, since: int) -> Any:
    """A predicate: the last tick of a session that was large, and is small again."""
    is_told = counted(room, count)
    return lambda frame: is_told(frame) and "sampled" not in frame and frame["asOf"] > since


def of_type(kind: str) -> Any:
    return lambda frame: frame["type"] == kind


@story
async def test_a_large_room_is_counted_by_ticks_and_read_in_pages(arena: RunningStack) -> None:
    room, *names = people("room", *(f"user{number}" for number in range(8)))
    async with members(arena, room, names) as (clients, answers):
        first, *_, last = clients
        ticked = await first.expect(counted(room, 8, sampled=True), within=TICK + TRAVEL)
        page = arena.call(f"GET {MEMBERS.format(room)}?limit=5").json
        rest = arena.call(f"GET {MEMBERS.format(room)}?limit=5&cursor={page['cursor']}").json
        again = await last.request("join", chatSessionId=room)

        assert "sampled" not in answers[0]
        assert ticked["asOf"] > 0
        assert again["sampled"] is True
        assert again["asOf"] >= ticked["asOf"]
        assert [it["userId"] for it in [*page["members"], *rest["members"]]] == sorted(names)
        assert page["sampled"] is rest["sampled"] is True
        assert (page["memberCount"], rest["memberCount"], rest["cursor"]) == (8, 8, None)


@story
async def test_in_a_large_room_only_watchers_hear_a_status_and_all_members_a_message(
    arena: RunningStack,
) -> None:
    room, *names = people("room", *(f"user{number}" for number in range(8)))
    async with members(arena, room, names) as (clients, _):
        ada, grace, *others = clients
        await ada.expect(counted(room, 8, sampled=True), within=TICK + TRAVEL)
        await grace.request("watch", userIds=[names[0]])
        await ada.request("status", status="busy")
        await grace.expect_change(names[0], status="busy")
        await ada.request("typing", chatSessionId=room, typing=True)
        await ada.request("message", chatSessionId=room, content="hello")

        heard = [it.expect(of_type("new-message"), within=TRAVEL) for it in (grace, *others)]
        assert {frame["content"] for frame in await asyncio.gather(*heard)} == {"hello"}
        for it in others:
            await it.never(of_type("user-typing"), during=0.1)
            await it.never(
                lambda frame: any(
                    change["userId"] == names[0] and change["status"] == "busy"
                    for change in frame.get("changes", ())
                ),
                during=0.1,
            )


@story
async def test_a_large_room_that_empties_is_a_small_room_again(arena: RunningStack) -> None:
    room, *names = people("room", *(f"user{number}" for number in range(7)))
    async with members(arena, room, names) as (clients, _):
        ada, *others = clients
        large = await ada.expect(counted(room, 7, sampled=True), within=TICK + TRAVEL)
        for client in others[:4]:
            await client.request("leave", chatSessionId=room)
        ended = await ada.expect(over(room, 3, large["asOf"]), within=TICK + TRAVEL)
        again = await ada.request("join", chatSessionId=room)
        await others[-1].request("leave", chatSessionId=room)
        told = await ada.expect(counted(room, 2, left=[names[-1]]), within=TRAVEL)

        assert again["memberCount"] == 3
        assert "sampled" not in again
        assert ended["asOf"] <= again["asOf"] <= told["asOf"]
