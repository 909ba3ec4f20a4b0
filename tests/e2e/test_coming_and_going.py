"""The main job: a user comes and goes, and every subscriber hears of it, once."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from local.stack import ROOT
from tests.conftest import LEASE, SHORT
from tests.conversation import Conversation, change, join, people, story
from tests.stack import RunningStack

GRACE = SHORT["GraceSeconds"]
#: What a change may take on its way, on a busy machine.
TRAVEL = 5


@story
async def test_two_users_see_each_other_come_and_go(deployed: RunningStack) -> None:
    ada_id, grace_id = people("ada", "grace")
    async with join(deployed, ada_id) as ada:
        async with join(deployed, grace_id) as grace:
            await ada.expect_change(grace_id, status="online", isOnline=True)
            page = await grace.request("online", limit=100)
            assert {ada_id, grace_id} <= {user["userId"] for user in page["users"]}
            assert page["onlineCount"] >= 2
            assert deployed.call(f"GET /{grace_id}").json["status"] == "online"

        left = await ada.expect_change(grace_id, status="offline", within=GRACE + TRAVEL)

        assert left["isOnline"] is False
        assert time.time() * 1000 - left["lastSeen"] < (GRACE + TRAVEL) * 1000
        assert deployed.call(f"GET /{grace_id}").json == left


@story
async def test_one_of_two_tabs_may_close(deployed: RunningStack) -> None:
    ada_id, grace_id = people("ada", "grace")
    async with join(deployed, ada_id) as ada, AsyncExitStack() as tabs:
        first = await tabs.enter_async_context(join(deployed, grace_id, device="one"))
        second = await tabs.enter_async_context(join(deployed, grace_id, device="two"))
        await ada.expect_change(grace_id, status="online")

        await first.close()
        await ada.never(lambda frame: change(frame, grace_id), during=GRACE + 2)
        assert deployed.call(f"GET /{grace_id}").json["isOnline"]

        closed_at = time.monotonic()
        await second.close()
        await ada.expect_change(grace_id, status="offline", within=GRACE + TRAVEL)
        assert time.monotonic() - closed_at >= GRACE


@pytest.mark.fault("A user is back within grace, from another device.")
@story
async def test_back_within_grace_is_no_news(deployed: RunningStack) -> None:
    ada_id, grace_id = people("ada", "grace")
    async with join(deployed, ada_id) as ada:
        async with join(deployed, grace_id):
            await ada.expect_change(grace_id, status="online")
        await asyncio.sleep(GRACE / 2)  # gone, for a moment

        async with join(deployed, grace_id):
            await ada.never(lambda frame: change(frame, grace_id), during=GRACE + 2)


@pytest.mark.fault("A client is killed, and the network says so.")
@story
async def test_a_killed_client_is_offline_after_grace(deployed: RunningStack) -> None:
    ada_id, grace_id = people("ada", "grace")
    async with join(deployed, ada_id) as ada:
        process = another_process(deployed, grace_id)
        try:
            await ada.expect_change(grace_id, status="online", within=10)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()

        await ada.expect_change(grace_id, status="offline", within=GRACE + TRAVEL)


def another_process(stack: RunningStack, user_id: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "presence_client.cli", "join", user_id],
        cwd=ROOT,
        env=os.environ | {"PRESENCE_HOME": str(stack.home)},
        stdout=subprocess.DEVNULL,
    )


@pytest.fixture
def without_disconnect(deployed: RunningStack) -> Iterator[RunningStack]:
    """The deployed API without its `$disconnect` route: a closed socket is not reported."""
    gateway, api = deployed.aws("apigatewayv2"), deployed.told["webSocketApiId"]
    (route,) = [
        route
        for route in gateway.get_routes(ApiId=api)["Items"]
        if route["RouteKey"] == "$disconnect"
    ]
    gateway.delete_route(ApiId=api, RouteId=route["RouteId"])
    yield deployed
    gateway.create_route(ApiId=api, RouteKey="$disconnect", Target=route["Target"])


@pytest.mark.fault("A client dies without a close frame: a cable is pulled, a laptop sleeps.")
@story
async def test_a_half_open_connection_ends_with_its_lease(
    without_disconnect: RunningStack,
) -> None:
    stack = without_disconnect
    ada_id, grace_id = people("ada", "grace")
    async with join(stack, ada_id) as ada, AsyncExitStack() as other:
        grace = await other.enter_async_context(join(stack, grace_id))
        await ada.expect_change(grace_id, status="online")
        grace.abort()
        died_at = time.monotonic()

        await asyncio.sleep(1)
        assert stack.call(f"GET /{grace_id}").json["isOnline"], "a lease is worth its time"
        await is_offline(stack, grace_id, by=died_at + LEASE + 1)


@story
async def test_an_expired_lease_without_reads_is_found_by_the_sweep(
    without_disconnect: RunningStack,
) -> None:
    stack = without_disconnect
    ada_id, grace_id = people("ada", "grace")
    async with join(stack, ada_id) as ada, AsyncExitStack() as other:
        grace = await other.enter_async_context(join(stack, grace_id))
        await ada.expect_change(grace_id, status="online")
        grace.abort()
        await asyncio.sleep(LEASE)

        # The schedule calls it once a minute, which is long to wait for.
        sweep = {"FunctionName": stack.told["functions"]["SweepFunction"], "Payload": "{}"}
        await asyncio.to_thread(stack.aws("lambda").invoke, **sweep)
        left = await ada.expect_change(grace_id, status="offline", within=TRAVEL)

        assert stack.call(f"GET /{grace_id}").json == left


@story
async def test_a_client_without_pings_expires(deployed: RunningStack) -> None:
    (grace_id,) = people("grace")
    async with join(deployed, grace_id, heartbeats=False):
        started = time.monotonic()
        await is_offline(deployed, grace_id, by=started + LEASE + 1)


@story
async def test_heartbeats_renew_the_lease_and_send_no_change(deployed: RunningStack) -> None:
    ada_id, grace_id = people("ada", "grace")
    async with join(deployed, ada_id) as ada, join(deployed, grace_id):
        await ada.expect_change(grace_id, status="online")

        await ada.never(lambda frame: change(frame, grace_id), during=2 * LEASE)

        assert deployed.call(f"GET /{grace_id}").json["isOnline"]


@story
async def test_hundreds_at_once_all_hear_of_one_change(guarded: RunningStack) -> None:
    ada_id, *others = people("ada", *(f"user{number}" for number in range(250)))
    async with AsyncExitStack() as connections:
        clients = await join_all(connections, guarded, others)
        listed = await all_online(clients[0])
        await counted(guarded, 250)

        async with join(guarded, ada_id):
            heard = [client.expect_change(ada_id, status="online") for client in clients]
            await asyncio.gather(*heard)

        assert set(others) <= {user["userId"] for user in listed}
        for client in clients:
            assert sum(bool(change(it, ada_id, status="online")) for it in client.heard) == 1


async def is_offline(stack: RunningStack, user_id: str, *, by: float) -> None:
    """A read that began before may still say otherwise, however late the answer comes."""
    asked_at = time.monotonic()
    while stack.call(f"GET /{user_id}").json["isOnline"]:
        assert asked_at < by
        await asyncio.sleep(0.1)
        asked_at = time.monotonic()


async def join_all(
    connections: AsyncExitStack, stack: RunningStack, user_ids: list[str]
) -> list[Conversation]:
    """All of them connected, ten handshakes at a time."""
    turns = asyncio.Semaphore(10)

    async def enter(user_id: str) -> Conversation:
        async with turns:
            return await connections.enter_async_context(join(stack, user_id))

    return await asyncio.gather(*(enter(user_id) for user_id in user_ids))


async def counted(stack: RunningStack, least: int) -> None:
    """Beyond a page the count follows the stream, so it may be seconds behind."""
    deadline = time.monotonic() + TRAVEL
    while stack.call("GET /online/count", user_id="ada").json["count"] < least:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


async def all_online(client: Conversation) -> list[dict[str, Any]]:
    users: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = await client.request("online", limit=100, cursor=cursor)
        users += page["users"]
        cursor = page["cursor"]
        if cursor is None:
            return users
