"""What a client may send, what it is answered, and what others hear (protocol.md §1)."""

import asyncio
import time
from typing import Any

import pytest

from tests.conversation import Conversation, change, join, people, story
from tests.stack import RunningStack

PRESENCE = {"userId", "status", "isOnline", "lastSeen", "version"}


@story
async def test_a_check_is_answered_and_a_ping_only_if_it_is_refused(
    deployed: RunningStack,
) -> None:
    (ada_id,) = people("ada")
    async with join(deployed, ada_id, heartbeats=False) as ada:
        await ada.send({"action": "ping", "userId": ada_id})
        await ada.send({"action": "ping", "userId": "another"})
        refused = await ada.expect(lambda it: it["type"] == "error")
        pong = await ada.request("check", userId=ada_id, active=True)

        assert (refused["action"], refused["code"]) == ("ping", "forbidden")
        assert pong.keys() == {"type", "id", "serverTime", "heartbeatSeconds", "leaseSeconds"}
        assert pong["type"] == "pong"
        assert abs(pong["serverTime"] - time.time() * 1000) < 5_000
        # Others come and go on this stack meanwhile, and every client hears of that.
        known = {"pong", "error", WELCOME, "user-status-change"}
        assert {frame["type"] for frame in ada.heard} <= known
        assert sum(frame["type"] == "pong" for frame in ada.heard) == 1


@story
async def test_a_ping_of_an_earlier_client_that_has_an_id_is_answered(
    deployed: RunningStack,
) -> None:
    (ada_id,) = people("ada")
    async with join(deployed, ada_id, heartbeats=False) as ada:
        assert (await ada.request("ping", active=True))["type"] == "pong"


WELCOME = "authentication-success"


@pytest.mark.parametrize("status", ["away", "busy", "dnd"])
@story
async def test_a_chosen_status_is_told(deployed: RunningStack, status: str) -> None:
    ada_id, grace_id = people("ada", "grace")
    async with join(deployed, ada_id) as ada, join(deployed, grace_id) as grace:
        before = await ada.expect_change(grace_id, status="online")

        ack = await grace.request("status", status=status, text="in a review ☕")

        told = await ada.expect_change(grace_id, status=status)
        assert ack.keys() == {"type", "id"}
        assert ack["type"] == "ack"
        assert told.keys() == PRESENCE | {"text"}
        assert told["text"] == "in a review ☕"
        assert told["isOnline"] is True
        assert told["version"] > before["version"]
        assert deployed.call(f"GET /{grace_id}").json == told
        await grace.expect_change(grace_id, status=status)


@story
async def test_a_status_with_an_end_ends_by_itself(deployed: RunningStack) -> None:
    ada_id, grace_id = people("ada", "grace")
    async with join(deployed, ada_id) as ada, join(deployed, grace_id) as grace:
        await ada.expect_change(grace_id, status="online")
        until = int(time.time() * 1000) + 2_000
        await grace.request("status", status="busy", text="until then", until=until)
        await ada.expect_change(grace_id, status="busy")

        back = await ada.expect_change(grace_id, status="online", within=8)

        assert time.time() * 1000 >= until
        assert "text" not in back


@story
async def test_an_inactive_device_is_away(deployed: RunningStack) -> None:
    ada_id, grace_id = people("ada", "grace")
    async with join(deployed, ada_id) as ada, join(deployed, grace_id) as grace:
        await ada.expect_change(grace_id, status="online")

        await grace.request("check", active=False)
        await ada.expect_change(grace_id, status="away")
        await grace.request("check", active=True)
        await ada.expect_change(grace_id, status="online")


@story
async def test_a_hidden_tab_that_reconnects_or_hands_over_stays_away(
    deployed: RunningStack,
) -> None:
    ada_id, grace_id = people("ada", "grace")
    async with join(deployed, ada_id) as ada:
        async with join(deployed, grace_id, active=False) as grace:
            assert grace.welcome["presence"]["status"] == "away"
        async with (
            join(deployed, grace_id, active=False),
            join(deployed, grace_id, active=False) as next_one,
        ):
            await next_one.authenticate(deployed.token(grace_id))  # renewed, no arrival
            await ada.expect_change(grace_id, status="away")
            await ada.never(lambda frame: change(frame, grace_id), during=1)


@story
async def test_an_invisible_user_is_offline_for_other_users(deployed: RunningStack) -> None:
    ada_id, grace_id = people("ada", "grace")
    async with join(deployed, ada_id) as ada, join(deployed, grace_id) as grace:
        await grace.request("status", status="invisible")
        hidden = await ada.expect_change(grace_id, status="offline")

        page = await ada.request("online", limit=100)

        assert hidden["isOnline"] is False
        assert grace_id not in {user["userId"] for user in page["users"]}
        assert deployed.call(f"GET /{grace_id}").json == hidden


@pytest.mark.parametrize("action", ["online", "get-online-users"])
@story
async def test_the_list_of_who_is_online(deployed: RunningStack, action: str) -> None:
    ada_id, grace_id = people("ada", "grace")
    async with join(deployed, ada_id) as ada, join(deployed, grace_id):
        page = await ada.request(action, limit=1)

        assert page.keys() == {"type", "id", "users", "cursor", "onlineCount"}
        assert page["type"] == "online-users-list"
        (user,) = page["users"]
        assert user.keys() >= PRESENCE
        rest = await ada.request(action, cursor=page["cursor"], limit=100)
        assert user["userId"] not in {user["userId"] for user in rest["users"]}


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("not json", "invalid-message"),
        ("[]", "invalid-message"),
        ("{}", "invalid-message"),
        ('{"action":"dance"}', "unknown-action"),
        ('{"action":"ping","action":"status"}', "invalid-message"),
        ('{"action":["ping"]}', "invalid-message"),
        ('{"action":"ping","active":1}', "invalid-message"),
        ('{"action":"status","status":"sleepy"}', "invalid-message"),
        ('{"action":"status","status":"busy","until":NaN}', "invalid-message"),
        ('{"action":"status","status":"busy","text":"' + "x" * 141 + '"}', "invalid-message"),
        ('{"action":"status","status":"busy","text":"\\ud800"}', "invalid-message"),
        ('{"action":"online","limit":0}', "invalid-message"),
        ('{"action":"online","cursor":"x"}', "invalid-message"),
        ('{"action":"ping","x":' + "[" * 900 + "]" * 900 + "}", "invalid-message"),
        ('{"action":"ping","x":"' + "x" * 9_000 + '"}', "payload-too-large"),
    ],
)
@story
async def test_bad_frames_get_a_typed_error_and_change_nothing(
    deployed: RunningStack, frame: str, code: str
) -> None:
    (ada_id,) = people("ada")
    async with join(deployed, ada_id) as ada:
        await ada.send(frame)

        error = await ada.expect(lambda it: it["type"] == "error")

        assert error["code"] == code
        assert error["message"].endswith(".")
        assert (await ada.request("ping"))["type"] == "pong"


@story
async def test_a_flood_is_told_when_to_come_back(deployed: RunningStack) -> None:
    (ada_id,) = people("ada")
    # A heartbeat would take the one place that is free again after a second.
    async with join(deployed, ada_id, heartbeats=False) as ada:
        for number in range(40):
            await ada.send({"action": "online", "id": f"n{number}", "limit": 1})

        refused = await ada.expect(lambda frame: frame["code"] == "rate-limited")

        assert refused["retryAfterSeconds"] == 1
        await ada.expect(lambda frame: frame["id"] == "n39")
        await asyncio.sleep(refused["retryAfterSeconds"])
        assert (await ada.request("online", limit=1))["type"] == "online-users-list"


@story
async def test_every_change_is_heard_once_by_each_connection(deployed: RunningStack) -> None:
    ada_id, grace_id = people("ada", "grace")
    async with (
        join(deployed, ada_id) as ada,
        join(deployed, ada_id) as other_tab,
        join(deployed, grace_id) as grace,
    ):
        await grace.request("status", status="busy")
        for subscriber in (ada, other_tab, grace):
            await subscriber.expect_change(grace_id, status="busy")
            await subscriber.never(lambda frame: change(frame, grace_id, status="busy"), during=0.5)
            assert versions(subscriber, grace_id) == sorted(set(versions(subscriber, grace_id)))


def versions(client: Conversation, user_id: str) -> list[Any]:
    changes = (change(frame, user_id) for frame in client.heard)
    return [found["version"] for found in changes if found]
