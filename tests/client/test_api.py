import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeAlias

import httpx
import pytest

from local.stack import ROOT
from presence_client.api import Api
from presence_client.errors import CannotConnect, Misconfigured, NotAnswered, NoToken, Refused
from presence_client.models import Config, MembersPage, Message, OnlineCount, OnlinePage, Presence

Ask: TypeAlias = Callable[[Api], Awaitable[Any]]

BASE = "/api/user-status"
ADA = {
    "userId": "ada",
    "status": "busy",
    "isOnline": True,
    "lastSeen": 1,
    "version": 2,
    "text": "x",
}
PRESENCE = Presence(user_id="ada", status="busy", is_online=True, last_seen=1, version=2, text="x")
MESSAGE = {"chatSessionId": "lobby", "messageId": "m", "senderId": "ci", "sentAt": 1}
CONFIG = {"webSocketUrl": "wss://x", "heartbeatSeconds": 30, "leaseSeconds": 75, "news": 1}


def asked(answer: httpx.Response | Exception, ask: Ask, token: Any = "t") -> tuple[Any, Any]:  # noqa: S107
    """What the API makes of an answer, and the request it was asked with."""
    heard: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        heard.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def run() -> Any:
        transport = httpx.MockTransport(handle)
        async with Api("https://stack.example/", token, transport=transport) as api:
            return await ask(api)

    return asyncio.run(run()), heard[0]


@pytest.mark.parametrize(
    ("ask", "route", "sent", "told", "made"),
    [
        (
            lambda it: it.statuses(["ada"]),
            "POST /batch",
            {"userIds": ["ada"]},
            {"users": [ADA]},
            [PRESENCE],
        ),
        (lambda it: it.status("auth0|5f"), "GET /users/auth0%7C5f", None, ADA, PRESENCE),
        (
            lambda it: it.online(5, "c+"),
            "GET /online?limit=5&cursor=c%2B",
            None,
            {"users": [ADA], "cursor": None, "onlineCount": 1},
            OnlinePage(users=(PRESENCE,), online_count=1),
        ),
        (
            lambda it: it.count_online(),
            "GET /online/count",
            None,
            {"count": 3, "asOf": 7},
            OnlineCount(count=3, as_of=7),
        ),
        (
            lambda it: it.set_status("busy", "x"),
            "PUT ",
            {"status": "busy", "text": "x", "until": None, "showLastSeen": None},
            ADA,
            PRESENCE,
        ),
        (
            lambda it: it.status("ada", verify=True),
            "GET /users/ada?verify=true",
            None,
            {**ADA, "heardAt": 8},
            replace(PRESENCE, heard_at=8),
        ),
        (lambda it: it.mark_seen(), "PUT /last-seen", None, {"userId": "ada", "lastSeen": 9}, 9),
        (lambda it: it.blocked(), "GET /blocked", None, {"userIds": ["eve"]}, ["eve"]),
        (lambda it: it.is_blocked("eve"), "GET /blocked/eve", None, {"blocked": True}, True),
        (lambda it: it.block("e=e"), "PUT /blocked/e%3De", None, None, None),
        (lambda it: it.unblock("eve"), "DELETE /blocked/eve", None, None, None),
        (lambda it: it.kick("eve"), "DELETE /users/eve/connections", None, None, None),
        (lambda it: it.erase("eve"), "DELETE /users/eve", None, None, None),
        (
            lambda it: it.explain("e=e", "kim"),
            "GET /users/e%3De/explain?viewerId=kim",
            None,
            {"reason": "grace"},
            {"reason": "grace"},
        ),
        (lambda it: it.revoke("e=e"), "POST /users/e%3De/revocations", {}, None, None),
        (
            lambda it: it.revoke("eve", token_id="j"),
            "POST /users/eve/revocations",
            {"tokenId": "j"},
            None,
            None,
        ),
        (
            lambda it: it.revoke("eve", not_before=7),
            "POST /users/eve/revocations",
            {"notBefore": 7},
            None,
            None,
        ),
        (
            lambda it: it.remove_member("a:b", "e=e"),
            "DELETE /chat-sessions/a%3Ab/members/e%3De",
            None,
            None,
            None,
        ),
        (
            lambda it: it.allow_member("lobby", "eve"),
            "PUT /chat-sessions/lobby/members/eve",
            None,
            None,
            None,
        ),
        (
            lambda it: it.members("lobby", cursor="c"),
            "GET /chat-sessions/lobby/members?cursor=c",
            None,
            {"members": [ADA], "cursor": "d", "memberCount": 9, "sampled": True, "asOf": 4},
            MembersPage(members=(PRESENCE,), cursor="d", member_count=9, sampled=True, as_of=4),
        ),
        (
            lambda it: it.publish("lobby", {"text": "Hi"}),
            "POST /chat-sessions/lobby/messages",
            {"content": {"text": "Hi"}},
            {**MESSAGE, "content": {"text": "Hi"}},
            Message(
                chat_session_id="lobby",
                message_id="m",
                sender_id="ci",
                sent_at=1,
                content={"text": "Hi"},
            ),
        ),
        (
            lambda it: it.config(),
            "GET /config",
            None,
            CONFIG,
            Config(web_socket_url="wss://x", heartbeat_seconds=30, lease_seconds=75),
        ),
        (lambda it: it.health(), "GET /health", None, {"status": "ok"}, None),
    ],
)
def test_a_call_is_one_route(ask: Ask, route: str, sent: Any, told: Any, made: Any) -> None:
    answer = httpx.Response(204) if told is None else httpx.Response(200, json=told)
    result, request = asked(answer, ask)
    assert result == made
    assert f"{request.method} {request.url.raw_path.decode()}" == route.replace(" ", f" {BASE}", 1)
    assert json.loads(request.content or b"null") == sent
    is_open = route in {"GET /config", "GET /health"}
    assert request.headers.get("Authorization") == (None if is_open else "Bearer t")


def test_its_page_names_every_method() -> None:
    page = (ROOT / "clients" / "python" / "README.md").read_text("utf-8")
    (named,) = re.findall(r"^`Api` has a method for each route: (.*)\.$", page, re.MULTILINE)
    methods = {name for name in vars(Api) if not name.startswith("_")} - {"close"}

    assert sorted(re.findall(r"`(\w+)`", named)) == sorted(methods)


def test_many_users_are_read_in_pages_and_the_online_ones_page_by_page() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            names = json.loads(request.content)["userIds"]
            assert len(names) <= 100
            return httpx.Response(200, json={"users": [ADA | {"userId": it} for it in names]})
        last = "cursor" in request.url.params
        page = {"users": [ADA], "onlineCount": 2, "cursor": None if last else "next"}
        return httpx.Response(200, json=page)

    async def run() -> None:
        async with Api("https://x", transport=httpx.MockTransport(handle)) as api:
            names = [f"u{number}" for number in range(250)]
            assert [it.user_id for it in await api.statuses(names)] == names
            assert [it.user_id async for it in api.all_online()] == ["ada", "ada"]

    asyncio.run(run())


def test_a_refusal_has_its_code_and_when_to_come_back() -> None:
    answer = httpx.Response(
        429,
        json={"error": {"code": "rate-limited", "message": "Slow down."}},
        headers={"Retry-After": "7"},
    )
    with pytest.raises(Refused, match="Slow down") as refused:
        asked(answer, Api.count_online)
    error = refused.value
    assert (error.code, error.status, error.retry_after_seconds) == ("rate-limited", 429, 7)
    assert error.is_retryable


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "not-found"), (429, "rate-limited"), (503, "unavailable"), (302, "internal")],
)
def test_what_the_gateway_answers_by_itself_has_a_code_too(status: int, code: str) -> None:
    for body in ('{"message": "No."}', "<html>", ""):
        with pytest.raises(Refused, match=f"answered with {status}") as refused:
            asked(httpx.Response(status, text=body), Api.count_online)
        assert refused.value.code == code


def test_a_token_may_be_made_for_each_call() -> None:
    numbers: Iterator[int] = iter(range(9))

    async def token() -> str:
        return f"t{next(numbers)}"

    _, request = asked(httpx.Response(200, json={"userIds": []}), Api.blocked, token)
    assert request.headers["Authorization"] == "Bearer t0"
    _, request = asked(httpx.Response(200, json={"count": 1, "asOf": 1}), Api.count_online, None)
    assert "Authorization" not in request.headers


def test_without_an_answer_it_is_a_sentence() -> None:
    with pytest.raises(CannotConnect, match="does not answer"):
        asyncio.run(Api("http://127.0.0.1:9").health())
    with pytest.raises(NotAnswered):
        asked(httpx.ReadTimeout("late"), Api.health)
    with pytest.raises(CannotConnect, match="not the configuration of a stack"):
        asked(httpx.Response(200, text="<html>"), Api.config)
    with pytest.raises(NoToken, match="There is no token"):
        asked(httpx.Response(200), Api.blocked, lambda: 1 / 0)


@pytest.mark.parametrize("url", ["localhost:4000", "", "//stack.example", "wss://stack.example"])
def test_a_url_without_scheme_is_said_before_anything_is_sent(url: str) -> None:
    with pytest.raises(Misconfigured, match="begins with https://") as error:
        asyncio.run(Api(url).health())
    assert error.value.code == "api-url-invalid"


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_configuration_that_is_refused_is_no_stack_s(status: int) -> None:
    with pytest.raises(Misconfigured, match=str(status)):
        asked(httpx.Response(status, json={"message": "No."}), Api.config)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_configuration_that_may_come_later_is_refused_for_now(status: int) -> None:
    with pytest.raises(Refused) as refused:
        asked(httpx.Response(status, json={"message": "No."}), Api.config)
    assert refused.value.is_retryable


@pytest.mark.fault("A server sends its answer so slowly that it never ends.")
def test_an_answer_has_to_be_whole_in_time() -> None:
    async def run() -> None:
        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                while not reader.at_eof():
                    writer.write(b" ")
                    await writer.drain()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(), 0.02)
            writer.close()
            left.set()

        left = asyncio.Event()
        async with await asyncio.start_server(drip, "127.0.0.1", 0) as slow, asyncio.timeout(5):
            port = slow.sockets[0].getsockname()[1]
            async with Api(f"http://127.0.0.1:{port}", within=0.3) as api:
                with pytest.raises(NotAnswered):
                    await api.health()
                await left.wait()  # the connection is given up, too

    asyncio.run(run())
