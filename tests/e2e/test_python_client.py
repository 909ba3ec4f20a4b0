"""The Python client as an application uses it: `Client` for users, `Api` for a back end."""

import asyncio
from collections.abc import Callable

import pytest

from presence_client.api import Api
from presence_client.client import Client
from presence_client.errors import ConnectionOver, Refused
from presence_client.models import Event, Message, Presence
from tests.conversation import PATIENCE_SECONDS, people, story
from tests.stack import RunningStack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


async def heard(client: Client, holds: Callable[[Event], bool]) -> Event:
    async with asyncio.timeout(2 * PATIENCE_SECONDS):
        async for event in client:
            if holds(event):
                return event
    raise AssertionError("The events have ended.")


def is_now(user_id: str, status: str) -> Callable[[Event], bool]:
    return lambda it: isinstance(it, Presence) and (it.user_id, it.status) == (user_id, status)


def is_message(event: Event) -> bool:
    return isinstance(event, Message)


async def block_for_a_while(
    blocking: Client, other: Client, blocking_id: str, other_id: str
) -> None:
    await blocking.api.block(other_id)
    assert await blocking.api.blocked() == [other_id]
    assert await blocking.api.is_blocked(other_id)
    await heard(other, is_now(blocking_id, "offline"))
    await blocking.api.unblock(other_id)


async def meet_and_talk(
    api: Api, ada: Client, grace: Client, user_ids: tuple[str, str], room: str
) -> None:
    ada_id, grace_id = user_ids
    await ada.join(room)
    lobby = await grace.join(room)
    assert lobby.members == {ada_id, grace_id}

    await grace.status("busy", "In a meeting")
    busy = await heard(ada, is_now(grace_id, "busy"))
    assert await api.status(grace_id) == busy == ada.presences[grace_id]
    assert busy in await ada.online()

    await grace.patch_data({"page": "/board"})
    await heard(ada, lambda it: isinstance(it, Presence) and it.data == {"page": "/board"})

    published = await api.publish(room, {"text": "Paid."})
    assert await heard(grace, is_message) == published
    page = await api.members(room)
    assert ({it.user_id for it in page.members}, page.member_count) == ({ada_id, grace_id}, 2)


@story
async def test_users_and_a_back_end_talk_and_one_is_sent_away(deployed: RunningStack) -> None:
    ada_id, grace_id, room = people("ada", "grace", "room")
    url = str(deployed.told["httpUrl"])
    scope = "presence:publish presence:admin"
    boss = deployed.token("back-end", scope=scope)
    async with (
        Api(url, boss, within=PATIENCE_SECONDS) as api,
        Client(url, lambda: deployed.token(ada_id), user_id=ada_id, within=PATIENCE_SECONDS) as ada,
        Client(url, deployed.token(grace_id), within=PATIENCE_SECONDS) as grace,
    ):
        await meet_and_talk(api, ada, grace, (ada_id, grace_id), room)
        await block_for_a_while(ada, grace, ada_id, grace_id)
        with pytest.raises(Refused) as refused:
            await ada.api.kick(grace_id)
        assert (refused.value.code, refused.value.status) == ("forbidden", 403)
        await api.kick(grace_id)
        with pytest.raises(ConnectionOver, match="kicked"):
            await heard(grace, is_message)
        await api.erase(grace_id)
        assert (await api.status(grace_id)).version == 0


@story
async def test_a_user_comes_back_and_knows_what_has_changed(deployed: RunningStack) -> None:
    ada_id, grace_id, room = people("ada", "grace", "room")
    url = str(deployed.told["httpUrl"])
    async with (
        Client(url, deployed.token(ada_id), within=PATIENCE_SECONDS) as ada,
        Client(url, deployed.token(grace_id), within=PATIENCE_SECONDS) as grace,
    ):
        await grace.join(room)
        lobby = await ada.join(room)
        await ada.watch(grace_id)
        connection = ada._connection
        assert connection
        connection._socket.transport.abort()
        await grace.status("dnd")
        await heard(ada, is_now(grace_id, "dnd"))
        assert ada._connection is not connection
        assert lobby.members == {ada_id, grace_id}
