"""Chat sessions: coming, going, typing, speaking, and who hears of it (protocol.md §1)."""

import asyncio
import json
import math
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import chain
from typing import Any
from urllib.parse import quote

import pytest

from presence.adapters.dynamodb.online_index import shard_of
from presence_client.errors import Refused
from presence_client.models import Frame
from tests.conftest import LEASE, SHORT
from tests.conversation import Conversation, join, people, story
from tests.stack import RunningStack

GRACE = SHORT["GraceSeconds"]
TRAVEL = 5
MEMBERS = "/chat-sessions/{}/members"
MESSAGES = "/chat-sessions/{}/messages"


def moved(session_id: str, **fields: Any) -> Any:
    """A predicate: members of this session changed, like this."""

    def is_it(frame: Frame) -> bool:
        if frame["type"] != "chat-session-members" or frame["chatSessionId"] != session_id:
            return False
        joined = [member["userId"] for member in frame["joined"]]
        return all(
            (joined if name == "joined" else frame[name]) == it for name, it in fields.items()
        )

    return is_it


def of_type(kind: str) -> Any:
    return lambda frame: frame["type"] == kind


@pytest.mark.parametrize(
    ("join_name", "leave_name"), [("join", "leave"), ("join-chat-session", "leave-chat-session")]
)
@story
async def test_joining_and_leaving(private: RunningStack, join_name: str, leave_name: str) -> None:
    ada_id, grace_id, room = people("ada", "grace", "room")
    async with join(private, ada_id) as ada, join(private, grace_id) as grace:
        alone = await ada.request(join_name, chatSessionId=room)
        both = await grace.request(join_name, chatSessionId=room)
        came = await ada.expect(moved(room, joined=[grace_id], left=[], memberCount=2))
        listed = private.call(f"GET {MEMBERS.format(room)}").json
        ack = await grace.request(leave_name, chatSessionId=room)
        went = await ada.expect(moved(room, joined=[], left=[grace_id], memberCount=1))

        fields = {"type", "chatSessionId", "members", "cursor", "memberCount", "asOf"}
        assert alone.keys() == {*fields, "id"}
        assert (alone["type"], alone["memberCount"]) == ("chat-session-joined", 1)
        assert [member["userId"] for member in both["members"]] == [ada_id, grace_id]
        assert came["asOf"] < went["asOf"]
        assert listed.keys() == fields - {"type", "chatSessionId"}
        assert (listed["members"], listed["cursor"]) == (both["members"], None)
        assert listed["memberCount"] == 2
        assert came.keys() == went.keys()
        assert ack.keys() == {"type", "id"}
        await grace.never(moved(room, joined=[grace_id]), during=0.2)
        await grace.never(moved(room, left=[grace_id]), during=0.2)


@story
async def test_a_departure_reaches_the_session_after_grace(private: RunningStack) -> None:
    ada_id, grace_id, room = people("ada", "grace", "room")
    async with join(private, ada_id) as ada:
        await ada.request("join", chatSessionId=room)
        async with join(private, grace_id) as grace:
            await grace.request("join", chatSessionId=room)
            await ada.expect(moved(room, joined=[grace_id]))
        left_at = time.monotonic()

        await ada.expect(moved(room, left=[grace_id]), within=GRACE + TRAVEL)
        await ada.expect_change(grace_id, status="offline")

        assert time.monotonic() - left_at >= GRACE


@story
async def test_back_in_the_session_within_grace_is_no_news(private: RunningStack) -> None:
    ada_id, grace_id, room = people("ada", "grace", "room")
    async with join(private, ada_id) as ada:
        await ada.request("join", chatSessionId=room)
        async with join(private, grace_id) as grace:
            await grace.request("join", chatSessionId=room)
            await ada.expect(moved(room, joined=[grace_id]))
        async with join(private, grace_id) as grace:
            await grace.request("join", chatSessionId=room)

            await ada.never(of_type("chat-session-members"), during=GRACE + 2)


@pytest.mark.parametrize(
    "frames",
    [
        [{"action": "typing", "typing": True}, {"action": "typing", "typing": False}],
        [{"action": "typing-start"}, {"action": "typing-stop"}],
    ],
    ids=["typing", "aliases"],
)
@story
async def test_typing(private: RunningStack, frames: Sequence[Frame]) -> None:
    ada_id, grace_id, eve_id, room = people("ada", "grace", "eve", "room")
    async with (
        join(private, ada_id) as ada,
        join(private, grace_id) as grace,
        join(private, eve_id) as eve,
    ):
        for member in (ada, grace):
            await member.request("join", chatSessionId=room)
        start, stop = ({**frame, "chatSessionId": room} for frame in frames)

        await grace.send(start)
        typing = await ada.expect(of_type("user-typing"))
        await grace.send({**start, "id": "again"})
        await grace.expect(lambda frame: frame["id"] == "again" and frame["type"] == "ack")
        await asyncio.sleep(1)
        await grace.send(stop)
        stopped = await ada.expect(of_type("user-typing"))

        assert typing.keys() == {"type", "chatSessionId", "userId", "typing", "expiresAt"}
        assert (typing["userId"], typing["typing"], stopped["typing"]) == (grace_id, True, False)
        assert typing["expiresAt"] > time.time() * 1000
        for other in (grace, eve):
            assert not [it for it in other.heard if it["type"] == "user-typing"]


@story
async def test_a_message(private: RunningStack) -> None:
    ada_id, grace_id, eve_id, room = people("ada", "grace", "eve", "room")
    async with (
        join(private, ada_id) as ada,
        join(private, grace_id) as grace,
        join(private, grace_id) as phone,
        join(private, eve_id) as eve,
    ):
        for member in (ada, grace, phone):
            await member.request("join", chatSessionId=room)
        content = {"text": "Tag, Ada ☕", "list": [1, 2.5, None, True]}

        answer = await grace.request(
            "message", chatSessionId=room, content=content, clientId="mine"
        )
        heard = await ada.expect(of_type("new-message"))
        on_phone = await phone.expect(of_type("new-message"))

        assert heard == on_phone == {k: v for k, v in answer.items() if k != "id"}
        assert (answer["content"], answer["clientId"]) == (content, "mine")
        assert (answer["senderId"], answer["chatSessionId"]) == (grace_id, room)
        await eve.never(of_type("new-message"), during=0.5)
        assert sum(it["type"] == "new-message" for it in grace.heard) == 1


@story
async def test_a_back_end_publishes(private: RunningStack) -> None:
    ada_id, room = people("ada", "room")
    path = f"POST /chat-sessions/{room}/messages"
    async with join(private, ada_id) as ada:
        await ada.request("join", chatSessionId=room)
        token = private.token("billing", scope="presence:publish")

        published = private.call(path, token=token, body={"content": "Paid."})
        heard = await ada.expect(of_type("new-message"))

        assert heard == {"type": "new-message", **published.json}
        assert (heard["senderId"], heard["content"]) == ("billing", "Paid.")
        refused = private.call(path, user_id=ada_id, body={"content": "Paid."})
        assert (refused.status, refused.json["error"]["code"]) == (403, "forbidden")


@story
async def test_messages_sort_by_time_and_are_told_apart(private: RunningStack) -> None:
    ada_id, room = people("ada", "room")
    async with join(private, ada_id) as ada:
        await ada.request("join", chatSessionId=room)
        ids = [
            (await ada.request("message", chatSessionId=room, content=n))["messageId"]
            for n in range(8)
        ]
    assert ids == sorted(set(ids))


# ── who may ────────────────────────────────────────────────────────────────────────────────


@story
async def test_only_members_may_type_and_speak(private: RunningStack) -> None:
    ada_id, eve_id, room = people("ada", "eve", "room")
    async with join(private, ada_id) as ada, join(private, eve_id) as eve:
        await ada.request("join", chatSessionId=room)
        for request in ({"action": "typing", "typing": True}, {"action": "message", "content": 1}):
            await eve.send({**request, "id": "x", "chatSessionId": room})
            refused = await eve.expect(lambda frame: frame["id"] == "x")
            assert (refused["type"], refused["code"]) == ("error", "forbidden")
        await ada.never(lambda frame: frame["type"] in ("user-typing", "new-message"), during=0.5)


@story
async def test_the_claim_of_the_token_says_where(private: RunningStack) -> None:
    ada_id, room, other = people("ada", "room", "other")
    token = private.token(ada_id, chat_sessions=[room, "team.*"])
    async with Conversation.connect(private.url, token=token) as ada:
        for allowed in (room, "team.1"):
            await ada.request("join", chatSessionId=allowed)
        with pytest.raises(Refused) as refused:
            await ada.request("join", chatSessionId=other)
        answers = [
            private.call(f"GET {MEMBERS.format(name)}", token=token) for name in (room, other)
        ]

    assert refused.value.code == "forbidden"
    assert [answer.status for answer in answers] == [200, 403]


@story
async def test_a_fresh_token_that_allows_less_takes_sessions_away(private: RunningStack) -> None:
    ada_id, grace_id, room = people("ada", "grace", "room")
    async with join(private, ada_id) as ada, join(private, grace_id) as grace:
        for member in (ada, grace):
            await member.request("join", chatSessionId=room)
        await ada.expect(moved(room, joined=[grace_id]))

        await grace.authenticate(private.token(grace_id, chat_sessions=["elsewhere"]))

        await ada.expect(moved(room, left=[grace_id]))
        await ada.request("message", chatSessionId=room, content="secret")
        await grace.never(of_type("new-message"), during=0.5)


# ── every client hears what it should, once ─────────────────────────────────────────────────


@story
async def test_two_overlapping_sessions_and_two_devices_each(private: RunningStack) -> None:
    ada_id, bob_id, eve_id, room, hall = people("ada", "bob", "eve", "room", "hall")
    async with AsyncExitStack() as stay:
        devices: dict[str, list[Conversation]] = {}
        for user_id, sessions in {ada_id: [room], bob_id: [room, hall], eve_id: [hall]}.items():
            devices[user_id] = [
                await stay.enter_async_context(join(private, user_id)) for _ in range(2)
            ]
            for client in devices[user_id]:
                for session_id in sessions:
                    await client.request("join", chatSessionId=session_id)
        all_clients = [client for clients in devices.values() for client in clients]
        await quiet(all_clients)
        marks = {client: len(client.heard) for client in all_clients}

        await devices[ada_id][0].request("status", status="busy")
        await devices[ada_id][0].request("message", chatSessionId=room, content="to the room")
        await devices[eve_id][0].request("typing", chatSessionId=hall, typing=True)
        await devices[bob_id][0].request("message", chatSessionId=hall, content="to the hall")
        await quiet(all_clients)

        told = {client: kinds(client.heard[marks[client] :]) for client in all_clients}

    busy, typing = f"{ada_id} busy", f"{eve_id} typing"
    assert told[devices[ada_id][0]] == sorted([busy, "to the room"])  # the answer to the sender
    assert told[devices[ada_id][1]] == sorted([busy, "to the room"])
    for client in devices[bob_id]:
        assert told[client] == sorted([busy, "to the room", typing, "to the hall"])
    assert told[devices[eve_id][0]] == ["to the hall"]
    assert told[devices[eve_id][1]] == sorted([typing, "to the hall"])


def kinds(frames: Sequence[Frame]) -> list[str]:
    """What was heard, but for answers to requests of the client itself."""
    found: list[str] = []
    for frame in frames:
        match frame:
            case {"type": "user-status-change", "changes": changes}:
                found += [f"{it['userId']} {it['status']}" for it in changes]
            case {"type": "new-message", "content": content}:
                found.append(content)
            case {"type": "user-typing", "userId": user_id}:
                found.append(f"{user_id} typing")
            case {"type": "ack" | "pong"}:
                pass
            case _:
                found.append(json.dumps(frame))
    return sorted(found)


async def quiet(clients: Sequence[Conversation], seconds: float = 1.0) -> None:
    """Wait until no client has heard anything but pongs for a while."""

    def said() -> int:
        return sum(it["type"] != "pong" for client in clients for it in client.heard)

    last, since = said(), time.monotonic()
    while time.monotonic() - since < seconds:
        await asyncio.sleep(0.05)
        if said() != last:
            last, since = said(), time.monotonic()


# ── leaving no trace ───────────────────────────────────────────────────────────────────────


@story
async def test_racing_clients_leave_the_tables_empty(private: RunningStack) -> None:
    ada_id, bob_id, *rooms = people("ada", "bob", "room", "hall")
    dice = random.Random(7)  # noqa: S311  the same race each time
    racers = [user_id for user_id in (ada_id, bob_id) for _ in range(2)]

    await asyncio.gather(*(races(private, user_id, rooms, dice) for user_id in racers))

    await spotless(private, [ada_id, bob_id, *rooms], within=LEASE + GRACE + 63)


async def races(
    stack: RunningStack, user_id: str, rooms: Sequence[str], dice: random.Random
) -> None:
    """Sixty short visits, half of which end without a word."""
    for _ in range(60):
        try:
            await visit(stack, user_id, rooms, dice)
        except Refused as refused:
            # The machine was so slow that the time to authenticate was over, or so fast that the
            # user did more than a user may.
            if refused.code not in {"not-authenticated", "rate-limited"}:
                raise
            await asyncio.sleep(0.5)


async def visit(
    stack: RunningStack, user_id: str, rooms: Sequence[str], dice: random.Random
) -> None:
    async with join(stack, user_id) as client:
        for _ in range(dice.randint(1, 4)):
            action = dice.choice(["join", "join", "leave"])
            await client.send({"action": action, "chatSessionId": dice.choice(rooms)})
        if dice.random() < 0.5:
            client.abort()


async def spotless(stack: RunningStack, names: Sequence[str], *, within: float) -> None:
    """Wait until no row is about these any more, and these users are nowhere.

    Their timers wait in a queue, so there is time *within* which the rows have to become fewer.
    """
    fewest, since = math.inf, time.monotonic()
    while traces := [*traces_of(stack, names)]:
        if len(traces) < fewest:
            fewest, since = len(traces), time.monotonic()
        assert time.monotonic() < since + within, traces[:3]
        await asyncio.sleep(0.5)


def traces_of(stack: RunningStack, names: Sequence[str]) -> list[Any]:
    rows = items(stack, "Subscriptions")
    users = [
        item
        for item in items(stack, "Users")
        if item.get("leases", {}).get("M") or item.get("sessions")
    ]
    records = [item for item in items(stack, "Connections") if "user_id" in item]
    return [
        it
        for it in (*rows, *users, *records)
        if any(name in json.dumps(it, default=str) for name in names)
    ]


def items(stack: RunningStack, table: str) -> list[Any]:
    pages = stack.aws("dynamodb").get_paginator("scan")
    found = pages.paginate(TableName=stack.told["tables"][table], ConsistentRead=True)
    return [item for page in found for item in page["Items"]]


@story
async def test_erasure_leaves_nothing_and_the_others_hear_it(private: RunningStack) -> None:
    ada_id, grace_id, eve_id, room = people("ada", "grace", "eve", "room")
    async with join(private, ada_id) as ada, join(private, grace_id) as grace:
        for member in (ada, grace):
            await member.request("join", chatSessionId=room)
        await ada.request("watch", userIds=[grace_id])
        await grace.request("watch", userIds=[ada_id, eve_id])
        for blocker, blocked in ((ada_id, grace_id), (grace_id, eve_id)):
            assert private.call(f"PUT /blocked/{blocked}", user_id=blocker).status == 204
        private.call(f"DELETE /blocked/{grace_id}", user_id=ada_id)
        private.call(f"PUT /blocked/{grace_id}", user_id=eve_id)

        admin = private.token("root", scope="presence:admin")
        answer = private.call(f"DELETE /users/{grace_id}", token=admin)
        over = await grace.closed(within=TRAVEL)
        await ada.expect_change(grace_id, status="offline")

        assert (answer.status, over.reason) == (204, "kicked")
        tables = [items(private, name) for name in ("Subscriptions", "Users", "Connections")]
        named = [it for it in chain(*tables) if grace_id in json.dumps(it, default=str)]
        assert len(named) == 2, "ada's watch: a row, and an entry of her list"
        never_seen = {"status": "offline", "isOnline": False, "lastSeen": None, "version": 0}
        assert private.call(f"GET /{grace_id}").json == {"userId": grace_id, **never_seen}
        async with join(private, grace_id):
            await ada.expect_change(grace_id, status="online")


@story
async def test_only_the_user_and_administrators_may_erase_and_kick(private: RunningStack) -> None:
    ada_id, eve_id = people("ada", "eve")
    admin = private.token("root", scope="presence:admin other")
    async with join(private, ada_id) as ada:
        by_eve = [
            private.call(f"DELETE /users/{ada_id}{rest}", user_id=eve_id)
            for rest in ("", "/connections")
        ]
        by_ada = private.call(f"DELETE /users/{ada_id}/connections", user_id=ada_id)
        kicked = private.call(f"DELETE /users/{ada_id}/connections", token=admin)
        over = await ada.closed(within=TRAVEL)

    assert [answer.status for answer in (*by_eve, by_ada, kicked)] == [403, 403, 403, 204]
    assert over.reason == "kicked"
    assert private.call(f"GET /{ada_id}").json["isOnline"] is False


@story
async def test_ids_of_any_characters_and_users_called_like_routes(private: RunningStack) -> None:
    """Percent-encoded once in paths."""
    ada_id, blocked, room = "auth0|[ada]:{1}^!$&,;=@+~", "blocked", "messaging:general|1"
    admin = private.token("root", scope="presence:admin presence:publish")
    async with join(private, ada_id) as ada, join(private, blocked) as other:
        for member in (ada, other):
            await member.request("join", chatSessionId=room)
        private.call(f"POST {MESSAGES.format(quote(room))}", token=admin, body={"content": 1})
        said = await ada.expect(lambda frame: frame["type"] == "new-message")
        listed = private.call(f"GET {MEMBERS.format(quote(room))}", token=admin).json
        read = private.call(f"GET /users/{quote(ada_id, safe='')}", token=admin).json
        refused = private.call("DELETE /blocked/connections", token=admin)
        kicked = private.call(f"DELETE /users/{blocked}/connections", token=admin)
        over = await other.closed(within=TRAVEL)

    assert said["chatSessionId"] == room
    assert [member["userId"] for member in listed["members"]] == [ada_id, blocked]
    assert (read["userId"], read["isOnline"]) == (ada_id, True)
    assert (refused.status, kicked.status, over.reason) == (409, 204, "kicked")


# ── many ───────────────────────────────────────────────────────────────────────────────────


@story
async def test_thousands_are_listed_completely_through_cursors(private: RunningStack) -> None:
    room, *names = people("room", *(f"user{n}" for n in range(2_000)))
    populate(private, room, names)
    (ada_id,) = people("ada")
    async with join(private, ada_id) as ada:
        joined = await ada.request("join", chatSessionId=room)
        found = [member["userId"] for member in joined["members"]]
        cursor = joined["cursor"]
        while cursor:
            path = f"{MEMBERS.format(room)}?limit=100&cursor={cursor}"
            # Beside the loop: the heartbeats of ada go on, however long the pages take.
            page = (await asyncio.to_thread(private.call, f"GET {path}")).json
            found += [member["userId"] for member in page["members"]]
            cursor = page["cursor"]
    async with join(private, ada_id) as later:  # the connections of this stack are short
        online = await all_online(later)
    heard = (*ada.heard, *later.heard)
    frames = [len(json.dumps(frame, ensure_ascii=False).encode()) for frame in heard]

    assert sorted(found) == sorted([*names, ada_id])
    assert joined["memberCount"] == 2_001
    assert set(names) <= set(online)
    assert len(online) == len(set(online))
    assert max(frames) < 32 * 1024


async def all_online(client: Conversation) -> list[str]:
    found: list[str] = []
    cursor: str | None = None
    while True:
        try:
            page = await client.request("online", limit=100, cursor=cursor)
        except Refused as refused:  # a page a second, after the first twenty
            await asyncio.sleep(refused.retry_after_seconds or 1)
            continue
        found += [user["userId"] for user in page["users"]]
        cursor = page["cursor"]
        if cursor is None:
            return found


def populate(stack: RunningStack, room: str, names: Sequence[str]) -> None:
    """So many users as if each had a connection in the room; real ones would take minutes."""
    now = int(time.time() * 1000)
    dynamodb = stack.aws("dynamodb")
    tables = stack.told["tables"]
    for start in range(0, len(names), 12):
        some = names[start : start + 12]
        users = [{"PutRequest": {"Item": user_item(name, now)}} for name in some]
        rows = [
            {"PutRequest": {"Item": {"topic": {"S": f"members:{room}"}, "subscriber": {"S": name}}}}
            for name in some
        ]
        dynamodb.batch_write_item(
            RequestItems={tables["Users"]: users, tables["Subscriptions"]: rows}
        )


def user_item(name: str, now: int) -> dict[str, Any]:
    lease = {
        "expires_at": {"N": str(now + 900_000)},
        "seen_at": {"N": str(now)},
        "active": {"BOOL": True},
    }
    return {
        "user_id": {"S": name},
        "revision": {"N": "1"},
        "version": {"N": str(now)},
        "own_version": {"N": str(now)},
        "status": {"S": "online"},
        "choice": {"S": "online"},
        "text": {"S": "€" * 140},
        "last_seen": {"N": str(now)},
        "leases": {"M": {f"c-{name}": {"M": lease}}},
        "online_shard": {"N": str(shard_of(name))},
    }
