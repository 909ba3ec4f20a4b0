import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from presence_client import heartbeat
from presence_client.connection import Connection
from presence_client.errors import CannotConnect, ConnectionOver, Misconfigured, Refused
from presence_client.models import Frame
from presence_client.network import backoff
from tests.conversation import Conversation, Heard, NotHeard, change

Script: TypeAlias = Callable[[ServerConnection, Frame], Awaitable[None]]
ADA = {"userId": "ada", "status": "online", "isOnline": True, "lastSeen": 1, "version": 1}


async def tell(connection: ServerConnection, **frame: Any) -> None:
    await connection.send(json.dumps(frame))


class Server:
    """Follows a script: called with each frame of a client."""

    def __init__(self, script: Script, heartbeat_seconds: float, background: float) -> None:
        self.heard: list[Frame] = []
        self.times: list[float] = []
        self.codes: list[int | None] = []
        self.gone = asyncio.Event()
        self.url = ""
        self._script = script
        self._beats = {
            "heartbeatSeconds": heartbeat_seconds,
            "backgroundHeartbeatSeconds": background,
        }

    async def handle(self, connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            async for text in connection:
                await self._answer(connection, json.loads(text))
        self.codes.append(connection.close_code)
        self.gone.set()

    async def _answer(self, connection: ServerConnection, frame: Frame) -> None:
        self.heard.append(frame)
        self.times.append(asyncio.get_running_loop().time())
        if frame["action"] == "authenticate" and frame["token"] != "bad":
            welcome = {"userId": "ada", **self._beats, "presence": ADA}
            await tell(connection, type="authentication-success", id=frame["id"], **welcome)
        else:
            await self._script(connection, frame)


@asynccontextmanager
async def server(
    script: Script, heartbeat_seconds: float = 30, background: float | None = None
) -> AsyncIterator[Server]:
    scripted = Server(script, heartbeat_seconds, background or heartbeat_seconds)
    async with serve(scripted.handle, "127.0.0.1", 0) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        scripted.url = f"ws://127.0.0.1:{port}/live"
        yield scripted


async def silent(_connection: ServerConnection, _frame: Frame) -> None:
    """Answer nothing."""


async def echo(connection: ServerConnection, frame: Frame) -> None:
    """Answer every request, and tell what a test asks to be told."""
    if frame["action"] == "tell":
        for told in frame["frames"]:
            await tell(connection, **told)
    elif "id" in frame:
        kind = {"ping": "pong", "check": "pong"}.get(frame["action"], "ack")
        await tell(connection, type=kind, id=frame["id"])


async def refuse(connection: ServerConnection, frame: Frame) -> None:
    kind = "authentication-error" if frame["action"] == "authenticate" else "error"
    told = {"code": "rate-limited", "message": "Slow down.", "retryAfterSeconds": 7}
    await tell(connection, type=kind, id=frame["id"], **told)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 10))


def of_ada(frame: Frame) -> bool:
    return bool(frame["changes"][0]["userId"] == "ada")


def test_it_authenticates_and_says_goodbye() -> None:
    async def test() -> None:
        async with server(echo) as there:
            async with Conversation.connect(there.url, token="t", device="desk") as client:
                assert client.welcome["userId"] == "ada"
                assert client.over is None
            await there.gone.wait()
            asked = {"action": "authenticate", "id": "r1", "token": "t", "device": "desk"}
            assert there.heard == [asked]
            assert there.codes == [1000]

    run(test())


def test_answers_find_their_requests_in_any_order() -> None:
    held: list[Frame] = []

    async def backwards(connection: ServerConnection, frame: Frame) -> None:
        held.append(frame)
        if len(held) == 2:
            for one in reversed(held):
                await tell(connection, type="ack", id=one["id"], about=one["action"])

    async def test() -> None:
        async with server(backwards) as there, Conversation.connect(there.url) as client:
            answers = await asyncio.gather(client.request("one"), client.request("two"))
            assert [answer["about"] for answer in answers] == ["one", "two"]
            assert client.latency > 0
            assert [frame["about"] for frame in client.heard] == ["two", "one"]

    run(test())


def test_a_refusal_is_an_error_with_its_code() -> None:
    async def test() -> None:
        async with server(refuse) as there:
            with pytest.raises(Refused, match="Slow down") as refused:
                async with Conversation.connect(there.url, token="bad"):
                    pytest.fail("it was let in")
            assert refused.value.code == "rate-limited"
            assert refused.value.retry_after_seconds == 7
            async with Conversation.connect(there.url, token="t") as client:
                with pytest.raises(Refused):
                    await client.request("status", status="busy")

    run(test())


BY_API_GATEWAY = {"message": "Internal server error", "connectionId": "c", "requestId": "r"}


@pytest.mark.fault("API Gateway refuses a frame by itself, and names none.")
def test_a_refusal_that_names_nothing_is_that_of_the_one_request_there_is() -> None:
    async def fail(connection: ServerConnection, frame: Frame) -> None:
        told = BY_API_GATEWAY if frame["action"] == "status" else {"type": "error", "code": "x"}
        await tell(connection, **told)

    async def test() -> None:
        async with server(fail) as there, Conversation.connect(there.url, token="t") as client:
            for action, code in {"status": "unavailable", "join": "x"}.items():
                with pytest.raises(Refused) as refused:
                    await client.request(action)
                assert refused.value.code == code

    run(test())


def test_a_refusal_that_may_be_meant_for_several_rejects_none() -> None:
    async def fail(connection: ServerConnection, frame: Frame) -> None:
        if "id" in frame:
            await tell(connection, **BY_API_GATEWAY)
            await tell(connection, type="ack", id=frame["id"])

    async def test() -> None:
        async with server(fail) as there, Connection.connect(there.url, token="t") as client:
            await client.send({"action": "typing"})
            assert (await client.request("status"))["type"] == "ack"
            told = await anext(aiter(client))
            assert (told["type"], told["code"]) == ("error", "unavailable")

    run(test())


@pytest.mark.parametrize(
    ("content", "code"),
    [("é" * 4_096, "payload-too-large"), ("x" * 40_000, "payload-too-large"),
     ("\ud83d", "invalid-message")],
    ids=["too-large", "beyond-api-gateway", "a-lone-surrogate"],
)  # fmt: skip
def test_what_cannot_be_sent_is_refused_at_once(content: str, code: str) -> None:
    async def test() -> None:
        async with server(echo) as there, Connection.connect(there.url, token="t") as client:
            with pytest.raises(Refused) as refused:
                await client.request("message", content=content)
            assert refused.value.code == code
            assert (await client.request("message", content="é" * 3_000))["type"] == "ack"

    run(test())


def test_what_is_expected_is_found_among_what_came_and_what_comes() -> None:
    other = {"type": "user-status-change", "changes": [{**ADA, "userId": "grace"}]}
    ada = {"type": "user-status-change", "changes": [ADA]}

    async def test() -> None:
        async with server(echo) as there, Conversation.connect(there.url, token="t") as client:
            awaited = asyncio.create_task(client.expect(of_ada, within=5))
            frames = [{"type": "surprise"}, other, ada, ada]
            await client.send({"action": "tell", "frames": frames})
            assert await awaited == ada
            assert await client.expect(of_ada, within=5) == ada
            with pytest.raises(NotHeard, match="surprise"):
                await client.expect(of_ada, within=0.01)
            assert (await client.expect_change("grace", status="online"))["version"] == 1
            assert [frame["type"] for frame in client.heard[1:]] == [
                *("surprise", "user-status-change", "user-status-change", "user-status-change")
            ]

    run(test())


def test_frames_can_be_walked_through_until_the_end() -> None:
    async def last_words(connection: ServerConnection, _frame: Frame) -> None:
        await tell(connection, type="closing", reason="kicked")
        await tell(connection, type="user-status-change", changes=[])  # it was on its way
        await connection.close(1001)

    async def test() -> None:
        async with server(last_words) as there, Connection.connect(there.url) as client:
            await client.send({"action": "go"})
            types = [frame["type"] async for frame in client]
            assert types == ["closing", "user-status-change"]
            assert [frame async for frame in client] == []
            assert client.over
            assert (client.over.code, client.over.reason) == (1001, "kicked")
            with pytest.raises(ConnectionOver, match="kicked"):
                await client.send({"action": "go"})

    run(test())


def test_requests_that_wait_hear_that_the_connection_is_over() -> None:
    async def close(connection: ServerConnection, _frame: Frame) -> None:
        connection.transport.abort()

    async def test() -> None:
        async with server(close) as there, Conversation.connect(there.url) as client:
            awaited = asyncio.create_task(client.expect(of_ada))
            with pytest.raises(ConnectionOver):
                await client.request("go")
            with pytest.raises(ConnectionOver):
                await awaited

    run(test())


def test_what_must_not_come_is_told_when_it_does() -> None:
    ada = {"type": "user-status-change", "changes": [ADA]}

    async def test() -> None:
        async with server(echo) as there, Conversation.connect(there.url) as client:
            await client.never(of_ada, during=0.01)
            await client.send({"action": "tell", "frames": [ada]})
            with pytest.raises(Heard, match="ada"):
                await client.never(of_ada, during=5)

    run(test())


@pytest.mark.fault("An answer is slow, and the client believes in a lease that is over.")
def test_heartbeats_count_from_what_was_sent_last() -> None:
    async def test() -> None:
        async with (
            server(echo, heartbeat_seconds=0.6) as there,
            Conversation.connect(there.url, token="t") as client,
        ):
            for _ in range(4):
                await client.request("status")
                await client.never(lambda _: True, during=0.4)
            while there.heard[-1]["action"] != "ping":
                await client.never(lambda _: True, during=0.02)
            pauses = zip(there.heard[1:], itertools.pairwise(there.times), strict=True)
            pings = [
                after - before for frame, (before, after) in pauses if "ping" in frame.values()
            ]
            assert min(pings) > 0.45

    run(test())


def test_active_is_said_from_the_authentication_on() -> None:
    async def test() -> None:
        async with (
            server(echo, heartbeat_seconds=0.05) as there,
            Conversation.connect(there.url, token="t", active=False) as client,
        ):
            while there.heard[-1]["action"] != "ping":
                await client.never(lambda _: False, during=0.02)
            assert [frame["active"] for frame in there.heard] == [False] * len(there.heard)

    run(test())


def test_heartbeats_can_be_left_out() -> None:
    async def test() -> None:
        async with (
            server(echo, heartbeat_seconds=0.05) as there,
            Conversation.connect(there.url, token="t", heartbeats=False) as client,
        ):
            await client.never(lambda _: False, during=0.2)
            assert [frame["action"] for frame in there.heard] == ["authenticate"]

    run(test())


@pytest.mark.parametrize("heartbeats", [True, False])
def test_a_probe_is_answered_with_a_ping_as_heartbeats_are(*, heartbeats: bool) -> None:
    async def test() -> None:
        async with (
            server(echo) as there,
            Conversation.connect(there.url, token="t", heartbeats=heartbeats) as client,
        ):
            await client.send({"action": "tell", "frames": [{"type": "probe"}]})
            await client.expect(lambda frame: frame["type"] == "probe")
            await client.request("status")  # what was sent before it has come
            actions = [frame["action"] for frame in there.heard]
            assert actions == ["authenticate", "tell", *["ping"] * heartbeats, "status"]
            answer = {"action": "ping", "userId": "ada", "heartbeatSeconds": 30}
            assert [it for it in there.heard if it["action"] == "ping"] == [answer] * heartbeats

    run(test())


def test_a_ping_says_whose_it_is_and_waits_for_nothing() -> None:
    async def test() -> None:
        async with (
            server(silent, heartbeat_seconds=0.05) as there,
            Conversation.connect(there.url, token="t", within=0.1) as client,
        ):
            await client.never(lambda _: False, during=0.5)
            pings = there.heard[1:]
            assert len(pings) > 3
            ping = {"action": "ping", "userId": "ada", "heartbeatSeconds": 0.05}
            assert all(it == ping for it in pings)

    run(test())


@pytest.mark.fault("A ping is refused, and nothing else keeps the lease.")
def test_a_refused_ping_is_sent_again_before_the_lease_ends() -> None:
    async def refusing(connection: ServerConnection, frame: Frame) -> None:
        refusal = {"code": "unavailable", "message": "Later."}
        await tell(connection, type="error", action=frame["action"], **refusal)

    async def test() -> None:
        async with (
            server(refusing, heartbeat_seconds=1.6) as there,
            Conversation.connect(there.url, token="t") as client,
        ):
            while len(there.times) < 4:
                await client.never(lambda _: False, during=0.05)
            waits = [after - before for before, after in itertools.pairwise(there.times)]
            assert waits == pytest.approx([1.6, 1, 1.6], abs=0.4)

    run(test())


def test_a_device_without_a_person_says_so_and_pings_rarely() -> None:
    async def test() -> None:
        async with (
            server(echo, heartbeat_seconds=0.2, background=5) as there,
            Conversation.connect(there.url, token="t", active=False) as client,
        ):
            await client.never(lambda _: False, during=1)
            said = {"userId": "ada", "active": False, "heartbeatSeconds": 5}
            (check,) = there.heard[1:]
            assert check == {"action": "check", "id": check["id"], **said}

            client.active = True
            await client.check()
            await client.never(lambda _: False, during=0.6)
            back, *pings = there.heard[2:]
            assert (back["active"], back["heartbeatSeconds"]) == (True, 0.2)
            assert {it["action"] for it in pings} == {"ping"}

    run(test())


def test_a_connection_keeps_the_heartbeat_that_it_is_told() -> None:
    async def test() -> None:
        async with (
            server(echo, heartbeat_seconds=30, background=60) as there,
            Conversation.connect(there.url, token="t") as client,
        ):
            told = {"type": "heartbeat", "heartbeatSeconds": 60, "leaseSeconds": 90}
            await client.send({"action": "tell", "frames": [told]})
            await client.expect(lambda it: it["type"] == "heartbeat")
            while there.heard[-1]["action"] != "check":
                await client.never(lambda _: False, during=0.05)
            assert there.heard[-1]["heartbeatSeconds"] == 60
            await client.never(lambda _: False, during=0.3)
            assert there.heard[-1]["action"] == "check"

    run(test())


def test_a_server_that_does_not_answer_after_a_silence_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heartbeat, "QUIET", 0.1)

    async def test() -> None:
        async with (
            server(silent, heartbeat_seconds=0.05) as there,
            Conversation.connect(there.url, token="t", within=0.5) as client,
        ):
            assert (await client.closed(within=5)).code == 1006
            assert there.heard[-1]["action"] == "check"

    run(test())


def test_a_server_that_has_forgotten_the_connection_is_left() -> None:
    async def forgetful(connection: ServerConnection, frame: Frame) -> None:
        await tell(connection, type="error", action=frame["action"], code="not-authenticated")

    async def test() -> None:
        async with (
            server(forgetful, heartbeat_seconds=0.05) as there,
            Conversation.connect(there.url, token="t") as client,
        ):
            assert (await client.closed(within=5)).code == 1006

    run(test())


def test_an_abort_says_nothing_to_the_server() -> None:
    async def test() -> None:
        async with server(echo) as there, Conversation.connect(there.url, token="t") as client:
            client.abort()
            client.abort()
            await there.gone.wait()
            assert there.codes == [1006]
            assert (await client.closed(within=1)).code == 1006

    run(test())


@pytest.mark.parametrize("text", ["[1]", "no", "7"])
def test_a_server_that_speaks_no_protocol_is_left(text: str) -> None:
    async def babble(connection: ServerConnection, _frame: Frame) -> None:
        await connection.send(text)

    async def test() -> None:
        async with server(babble) as there, Conversation.connect(there.url) as client:
            await client.send({"action": "go"})
            assert "no JSON object" in str(await client.closed(within=5))

    run(test())


def test_five_hundred_at_once() -> None:
    async def test() -> None:
        async with server(echo) as there:
            url = there.url

            async def visit() -> str:
                async with Conversation.connect(url, token="t") as client:
                    return str((await client.request("ping"))["type"])

            assert await asyncio.gather(*(visit() for _ in range(500))) == ["pong"] * 500

    run(test())


def test_a_server_that_is_not_there_is_a_sentence() -> None:
    async def test() -> None:
        for url in ("ws://127.0.0.1:9/live", "no-url"):
            with pytest.raises(CannotConnect, match=url):
                async with Conversation.connect(url):
                    pytest.fail("a server was there")

    run(test())


@pytest.mark.fault("Something between takes the connection, and never answers the handshake.")
def test_a_handshake_that_is_never_answered_is_given_up() -> None:
    async def test() -> None:
        gone = asyncio.Event()

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()  # until the client gives up
            writer.close()
            gone.set()

        async with await asyncio.start_server(take, "127.0.0.1", 0) as deaf:
            port = deaf.sockets[0].getsockname()[1]
            with pytest.raises(CannotConnect, match="does not answer"):
                async with Conversation.connect(f"ws://127.0.0.1:{port}", within=0.2):
                    pytest.fail("it was open")
            await asyncio.wait_for(gone.wait(), 5)

    run(test())


def test_a_refused_handshake_keeps_its_status() -> None:
    async def test() -> None:
        async with serve(
            lambda _: asyncio.sleep(0),
            "127.0.0.1",
            0,
            process_request=lambda connection, _: connection.respond(403, "no"),
        ) as listening:
            port = next(iter(listening.sockets)).getsockname()[1]
            with pytest.raises(Misconfigured, match=r"403.*http://evil.*AllowedOrigins") as refused:
                async with Conversation.connect(f"ws://127.0.0.1:{port}", origin="http://evil"):
                    pytest.fail("it was let in")
            assert (refused.value.status, refused.value.code) == (403, "handshake-refused")

    run(test())


def test_a_change_is_found_by_user_and_fields() -> None:
    frame = {"type": "user-status-change", "changes": [ADA, {**ADA, "userId": "grace"}]}
    assert change(frame, "grace", status="online")
    assert change(frame, "grace", status="away") is None
    assert change({"type": "pong"}, "grace") is None


def test_waits_grow_to_a_limit_and_never_agree() -> None:
    waits = [[backoff(attempt) for _ in range(200)] for attempt in range(12)]
    for attempt, some in enumerate(waits):
        longest = min(30.0, 0.5 * 2**attempt)
        assert 0 <= min(some) < 0.2 * longest
        assert 0.8 * longest < max(some) <= longest
