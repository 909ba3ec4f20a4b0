import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

import presence_client.client
import presence_client.network
from presence_client.api import Api
from presence_client.client import Client
from presence_client.errors import ConnectionOver, Misconfigured, NoToken, Refused
from presence_client.models import (
    Connected,
    Disconnected,
    Event,
    Frame,
    MembersChanged,
    MembersPage,
    Message,
    Presence,
    Problem,
    Typing,
    parse,
)
from presence_client.state import ChatSession
from tests.docs.markdown import PYTHON, blocks


def presence(user_id: str, version: int = 1, status: str = "online") -> Frame:
    is_online = status != "offline"
    named = {"userId": user_id, "status": status, "version": version}
    return {**named, "isOnline": is_online, "lastSeen": 1}


def members(*user_ids: str, as_of: int, **more: Any) -> Frame:
    found = [presence(it) for it in user_ids]
    return {"members": found, "memberCount": len(found), "cursor": None, "asOf": as_of, **more}


def moved(*, joined: str = "", left: str = "", as_of: int, count: int = 1, **more: Any) -> Frame:
    came = [presence(it) for it in joined.split()]
    named = {"type": "chat-session-members", "chatSessionId": "lobby", "joined": came}
    return {**named, "left": left.split(), "memberCount": count, "asOf": as_of, **more}


@dataclass
class Stack:
    """Stands in for a stack; a test changes the answers and closes the sockets."""

    answers: dict[str, Frame] = field(default_factory=dict)
    around: dict[str, tuple[Frame, Frame]] = field(default_factory=dict)
    routes: dict[str, Frame] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    heard: list[Frame] = field(default_factory=list)
    sockets: list[ServerConnection] = field(default_factory=list)
    token_seconds: float = 3600

    async def serve(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        with suppress(ConnectionClosed):
            async for text in socket:
                frame = json.loads(text)
                self.heard.append(frame)
                before, after = self.around.get(frame["action"], ({}, {}))
                for told in (before, {"id": frame["id"], **self.answer(frame)}, after):
                    await socket.send(json.dumps(told))

    def answer(self, frame: Frame) -> Frame:
        if frame["action"] in self.answers:
            return self.answers[frame["action"]]
        if frame["action"] == "authenticate":
            ends = int(time.time() * 1000) + int(self.token_seconds * 1000)
            welcome = {"type": "authentication-success", "userId": "me", "heartbeatSeconds": 30}
            times = {"serverTime": int(time.time() * 1000), "tokenExpiresAt": ends}
            return {**welcome, **times, "presence": presence("me"), "chatSessions": ["lobby"]}
        return {"type": "ack", "users": []}

    def http(self, request: httpx.Request) -> httpx.Response:
        route = f"{request.method} {request.url.path.removeprefix('/api/user-status')}"
        if route in self.refusals:
            return httpx.Response(self.refusals[route], json={"message": "Not Found"})
        if route == "POST /batch":
            names = json.loads(request.content)["userIds"]
            self.heard.append({"action": route, "userIds": names})
            users = [self.routes.get(it) or presence(it) for it in names]
            return httpx.Response(200, json={"users": users})
        return httpx.Response(200, json=self.routes[route])

    async def tell(self, *frames: Frame) -> None:
        for frame in frames:
            await self.sockets[-1].send(json.dumps(frame))

    def asked(self) -> list[str]:
        return [frame["action"] for frame in self.heard]


@asynccontextmanager
async def stack_of(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stack]:
    """A stack, and clients that reach it wherever they believe it is."""
    stack = Stack()
    async with serve(stack.serve, "127.0.0.1", 0) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        stack.routes["GET /config"] = {"webSocketUrl": f"ws://127.0.0.1:{port}"}
        transport = httpx.MockTransport(stack.http)
        monkeypatch.setattr(presence_client.client, "Api", partial(Api, transport=transport))
        monkeypatch.setattr(presence_client.client, "backoff", lambda _: 0.01)
        monkeypatch.setattr(presence_client.client, "_SOONEST_SECONDS", 0.01)
        yield stack


Story = Callable[[Stack], Coroutine[Any, Any, None]]


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[Story], None]:
    async def run(story: Story) -> None:
        async with asyncio.timeout(10), stack_of(monkeypatch) as stack:
            await story(stack)

    return lambda story: asyncio.run(run(story))


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)


def test_a_choice_that_waited_says_when_it_was_made(
    play: Callable[[Story], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another device may have chosen since."""
    monkeypatch.setattr(presence_client.client, "_WAITED_SECONDS", 0.05)

    async def story(stack: Stack) -> None:
        welcome = stack.answer({"action": "authenticate"})
        refused = {"type": "authentication-error", "code": "unavailable", "message": "Later."}
        stack.answers["authenticate"] = refused
        async with Client("https://stack.test", "token") as client:
            choosing = asyncio.create_task(client.status("busy"))
            await asyncio.sleep(0.2)
            stack.answers["authenticate"] = welcome
            await choosing
            await client.status("away", show_last_seen="coarse")
            await client.leave()
        late, soon, left = stack.heard[-3:]
        assert 100 < welcome["serverTime"] - late["chosenAt"] < 5_000
        assert "chosenAt" not in soon
        assert (soon["showLastSeen"], left["action"]) == ("coarse", "leave")
        assert "chatSessionId" not in left

    play(story)


async def next_of(client: Client, kind: type[Event]) -> Any:
    async for event in client:
        if isinstance(event, kind):
            return event
    raise AssertionError("The events have ended.")


def test_what_is_heard_comes_as_typed_events(play: Callable[[Story], None]) -> None:
    said = {"messageId": "m", "senderId": "ada", "content": "Hi", "sentAt": 5}

    async def story(stack: Stack) -> None:
        async with Client("http://x", "t", device="desk", user_id="me") as client:
            connected = await next_of(client, Connected)
            assert (connected.user_id, connected.presence) == ("me", client.presences["me"])
            first = stack.heard[0]
            assert (first["token"], first["device"], first["userId"]) == ("t", "desk", "me")
            await next_of(client, Presence)
            busy = {"type": "user-status-change", "changes": [presence("ada", 7, "busy")]}
            old = {"type": "user-status-change", "changes": [presence("ada", 6)]}
            typing = {"userId": "ada", "typing": True, "expiresAt": 6}
            await stack.tell(
                *(busy, busy, old, {"type": "news-of-the-future"}),
                {"type": "user-typing", "chatSessionId": "lobby", **typing},
                {"type": "new-message", "chatSessionId": "lobby", **said},
                {"type": "error", "code": "rate-limited", "message": "Slow down."},
            )
            events = [await anext(aiter(client)) for _ in range(4)]
            assert [type(it) for it in events] == [Presence, Typing, Message, Problem]
            assert (events[0], client.presences["ada"].version) == (client.presences["ada"], 7)

    play(story)


def test_a_client_asks_what_the_protocol_names(play: Callable[[Story], None]) -> None:
    message = {"chatSessionId": "lobby", "messageId": "m", "senderId": "me", "sentAt": 5}

    async def story(stack: Stack) -> None:
        stack.answers["message"] = {"type": "new-message", "content": 1, **message}
        async with Client("http://x", "t") as client:
            await client.status("busy", "Hm")
            await client.typing("lobby")
            assert (await client.message("lobby", 1, "c1")).message_id == "m"
            await client.set_active(active=False)
            await client.unwatch("ada", "eve")
            await client.leave("lobby")
        frames = [{k: v for k, v in it.items() if k != "id"} for it in stack.heard]
        assert [it for it in frames if it["action"] != "authenticate"] == [
            {"action": "status", "status": "busy", "text": "Hm"},
            {"action": "typing", "chatSessionId": "lobby", "typing": True},
            {"action": "message", "chatSessionId": "lobby", "content": 1, "clientId": "c1"},
            {"action": "check", "userId": "me", "active": False, "heartbeatSeconds": 30},
            {"action": "unwatch", "userIds": ["ada", "eve"]},
            {"action": "leave", "chatSessionId": "lobby"},
        ]
        assert all([event async for event in client])
        with pytest.raises(ConnectionOver):
            await client.status("online")

    play(story)


def verified(awaited: Sequence[str], *users: Frame) -> Frame:
    return {"type": "verified", "users": [*users], "awaited": [*awaited], "probeSeconds": -0.8}


def test_users_who_are_verified_are_asked_for_until_they_have_answered(
    play: Callable[[Story], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_client.client, "_AGAIN_SECONDS", (0.05, 0.1))
    here, old, gone = {"heardAt": 90}, {"heardAt": 10}, presence("eve", 2, "offline")
    answers = [
        verified(["eve", "kim"], {**presence("ada"), **here}, presence("eve"), presence("kim")),
        verified(["eve"], {**presence("eve"), **old}, {**presence("kim"), **here}),
        verified(["eve"], {**presence("eve"), **old}),
        verified([], gone),
    ]

    async def story(stack: Stack) -> None:
        def answer(frame: Frame) -> Frame:
            return answers.pop(0) if frame["action"] == "verify" else known(frame)

        known, stack.answer = stack.answer, answer  # type: ignore[method-assign]
        async with Client("http://x", "t") as client:
            started = time.monotonic()
            eve, ada, kim = await client.verify("eve", "ada", "kim")
            assert time.monotonic() - started >= 0.2
            asked = [it["userIds"] for it in stack.heard if it["action"] == "verify"]
            assert asked == [["eve", "ada", "kim"], ["eve", "kim"], ["eve"], ["eve"]]
            assert (eve.status, eve.heard_at) == ("offline", None)
            assert (ada.heard_at, kim.heard_at) == (90, 90)
            assert client.presences["eve"] == eve
            assert client.presences["ada"] == parse(Presence, presence("ada"))

    play(story)


def let_all_change(stack: Stack) -> None:
    """What the stack answers from now on differs from what a client was told before."""
    stack.answers["join"] = members("me", as_of=20)
    stack.answers["watch"] = {"users": [presence("ada", 2, "away")]}
    stack.answers["online"] |= {"users": []}
    stack.routes |= {"zoe": presence("zoe", 2, "offline"), "lin": presence("lin", 0)}
    stack.heard.clear()


def test_after_a_lost_connection_all_that_is_held_is_right_again(
    play: Callable[[Story], None],
) -> None:
    async def story(stack: Stack) -> None:
        stack.answers["join"] = members("me", "grace", as_of=10, cursor="next")
        stack.routes["GET /chat-sessions/lobby/members"] = members("lin", as_of=11)
        stack.answers["watch"] = {"users": [presence("ada")]}
        stack.answers["online"] = {"users": [presence("zoe")], "cursor": None, "onlineCount": 1}
        async with Client("http://x", "t") as client:
            lobby = await client.join("lobby")
            assert lobby.members == {"me", "grace", "lin"}
            await client.watch("ada")
            online = {it.user_id for it in await client.online()}
            assert online == {"me", "ada", "grace", "lin", "zoe"}
            let_all_change(stack)
            stack.sockets[-1].transport.abort()
            lost = await next_of(client, Disconnected)
            assert "closed (1006)" in lost.reason
            known = client.presences
            await until(lambda: not (known["zoe"].is_online or known["lin"].version))
            assert client.presences["ada"].status == "away"
            assert (lobby.members, lobby.member_count) == ({"me"}, 1)
            assert stack.asked() == ["authenticate", "join", "watch", "online", "POST /batch"]
            assert stack.heard[-1]["userIds"] == ["grace", "lin", "zoe"]

    play(story)


def test_what_is_refused_for_now_is_asked_again_and_for_good_is_told(
    play: Callable[[Story], None],
) -> None:
    async def story(stack: Stack) -> None:
        stack.answers["join"] = members("me", as_of=10)
        async with Client("http://x", "t") as client:
            await client.join("lobby")
            busy = {"code": "rate-limited", "message": "Slow.", "retryAfterSeconds": 0.05}
            stack.answers["join"] = {"type": "error", **busy}
            stack.heard.clear()
            await stack.sockets[-1].close()
            await until(lambda: stack.asked().count("join") > 1)
            stack.answers["join"] = {"type": "error", "code": "forbidden", "message": "No."}
            problem = await next_of(client, Problem)
            assert (problem.code, problem.chat_session_id) == ("forbidden", "lobby")
            assert client.chat_sessions == {}
            with pytest.raises(Refused, match="No"):
                await client.join("lobby")

    play(story)


def test_a_large_room_is_joined_again_when_it_is_small(play: Callable[[Story], None]) -> None:
    async def story(stack: Stack) -> None:
        stack.answers["join"] = members("me", as_of=10, sampled=True, memberCount=2000)
        async with Client("http://x", "t") as client:
            lobby = await client.join("lobby")
            await stack.tell(moved(joined="ada", as_of=12, count=1999, sampled=True))
            await next_of(client, MembersChanged)
            assert (lobby.members, lobby.member_count, lobby.sampled) == (set(), 1999, True)
            stack.answers["join"] = members("me", "ada", as_of=15)
            await stack.tell(moved(left="x", as_of=14, count=700))
            await until(lambda: lobby.members == {"me", "ada"})
            assert not lobby.sampled

    play(story)


@pytest.mark.parametrize("code", ["token-invalid", "forbidden"])
def test_what_is_refused_for_good_is_raised_everywhere(
    play: Callable[[Story], None], code: str
) -> None:
    async def story(stack: Stack) -> None:
        refusal = {"type": "authentication-error", "code": code, "message": "No."}
        stack.answers["authenticate"] = refusal
        async with Client("http://x", "t") as client:
            with pytest.raises(Refused):
                await client.join("lobby")
            for _ in range(2):
                with pytest.raises(Refused):
                    await anext(aiter(client))
        assert len(stack.sockets) == 1

    play(story)


def never() -> Any:
    return asyncio.get_running_loop().create_future()


def one_by_one(answers: list[Callable[[], Any]]) -> Callable[[], Any]:
    def token() -> Any:
        return answers.pop(0)()

    return token


@pytest.mark.parametrize(
    ("url", "token", "config", "code"),
    [
        ("localhost:4000", "t", None, "api-url-invalid"),
        ("", "t", None, "api-url-invalid"),
        ("wss://x", "t", None, "api-url-invalid"),
        ("http://x", "t", {"ok": True}, "api-url-invalid"),
        ("http://x", "t", {"webSocketUrl": "localhost:4000"}, "api-url-invalid"),
        ("http://x", "", None, "token-malformed"),
        ("http://x", '{"token": "t"}', None, "token-malformed"),
        ("http://x", "Bearer t", None, "token-malformed"),
        ("http://x", lambda: None, None, "token-malformed"),
        ("http://x", lambda: b"t", None, "token-malformed"),
        ("http://x", lambda: {"token": "t"}, None, "token-malformed"),
    ],
)
def test_what_waiting_does_not_mend_is_raised_everywhere_at_once(
    play: Callable[[Story], None], url: str, token: Any, config: Frame | None, code: str
) -> None:
    async def story(stack: Stack) -> None:
        stack.routes["GET /config"] = config or stack.routes["GET /config"]
        async with Client(url, token) as client:
            for _ in range(2):
                with pytest.raises(Misconfigured) as error:
                    await client.join("lobby")
                assert error.value.code == code
            with pytest.raises(Misconfigured):
                await anext(aiter(client))

    play(story)


def test_a_stack_that_answers_with_404_is_none(play: Callable[[Story], None]) -> None:
    async def story(stack: Stack) -> None:
        stack.refusals["GET /config"] = 404
        async with Client("http://x", "t") as client:
            with pytest.raises(Misconfigured, match="404"):
                await client.join("lobby")

    play(story)


def test_a_refused_token_that_the_app_knows_of_is_raised(play: Callable[[Story], None]) -> None:
    def token() -> str:
        raise Refused("token-invalid", "Sign in.")

    async def story(_stack: Stack) -> None:
        async with Client("http://x", token) as client:
            with pytest.raises(Refused, match="Sign in"):
                await client.join("lobby")

    play(story)


def test_requests_do_not_wait_for_a_token_that_cannot_be_made(
    play: Callable[[Story], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_client.network, "_TOKEN_SECONDS", 0.05)
    answers: list[Callable[[], Any]] = [lambda: 1 / 0, never, lambda: "t"]

    async def story(stack: Stack) -> None:
        stack.answers["join"] = members("me", as_of=1)
        async with Client("http://x", one_by_one(answers)) as client:
            with pytest.raises(NoToken, match="division"):
                await client.join("lobby")
            problem = await next_of(client, Problem)
            assert problem.code == "token-unavailable"
            problem = await next_of(client, Problem)
            assert "TimeoutError" in problem.message
            await next_of(client, Connected)
            await client.join("lobby")

    play(story)


def test_what_has_worked_before_is_tried_again_and_told(play: Callable[[Story], None]) -> None:
    async def story(stack: Stack) -> None:
        config = stack.routes["GET /config"]
        stack.answers["join"] = members("me", as_of=1)
        async with Client("http://x", "t") as client:
            await next_of(client, Connected)
            stack.routes["GET /config"] = {"ok": True}
            await stack.sockets[-1].close()
            problem = await next_of(client, Problem)
            assert problem.code == "api-url-invalid"
            stack.routes["GET /config"] = config
            await next_of(client, Connected)
            await client.join("lobby")

    play(story)


def test_a_token_that_cannot_be_renewed_is_told_of(play: Callable[[Story], None]) -> None:
    answers: list[Callable[[], Any]] = [lambda: "t", lambda: 1 / 0, lambda: None, lambda: "u"]

    async def story(stack: Stack) -> None:
        stack.token_seconds = 0.1
        async with Client("http://x", one_by_one(answers)) as client:
            problems = [await next_of(client, Problem) for _ in range(2)]
            assert [it.code for it in problems] == ["token-unavailable", "token-malformed"]

    play(story)


@pytest.mark.parametrize(
    ("reason", "token", "comes_back"),
    [
        ("kicked", lambda: "t", False),
        ("token-expired", "t", False),
        ("token-expired", lambda: "t", True),
        ("draining", "t", True),
    ],
)
def test_it_comes_back_unless_there_is_no_use(
    play: Callable[[Story], None], reason: str, token: Any, comes_back: bool
) -> None:
    async def story(stack: Stack) -> None:
        async with Client("http://x", token) as client:
            await next_of(client, Connected)
            await stack.tell({"type": "closing", "reason": reason})
            await stack.sockets[-1].close()
            if comes_back:
                await next_of(client, Connected)
            else:
                with pytest.raises(ConnectionOver, match=reason):
                    await next_of(client, Connected)

    play(story)


def test_a_token_is_made_for_each_connection_and_renewed_before_it_ends(
    play: Callable[[Story], None],
) -> None:
    numbers = itertools.count(1)

    async def token() -> str:
        number = next(numbers)
        if number == 1:
            raise OSError("not yet")
        return f"t{number}"

    async def story(stack: Stack) -> None:
        stack.answers["join"] = members("me", as_of=1)
        stack.token_seconds = 0.4
        async with Client("http://x", token) as client:
            lost = await next_of(client, Disconnected)
            assert lost.reason == "There is no token (not yet)."
            await next_of(client, Connected)
            await client.join("lobby")
            await client.join("team")
            stack.answers["join"] = {"type": "error", "code": "forbidden", "message": "No."}
            problem = await next_of(client, Problem)  # the fresh token allows the lobby alone
            assert problem.chat_session_id == "team"
            assert list(client.chat_sessions) == ["lobby"]
        given = [it["token"] for it in stack.heard if it["action"] == "authenticate"]
        assert given[:2] == ["t2", "t3"]
        assert len(stack.sockets) == 1

    play(story)


def test_what_is_told_around_the_answer_to_join_is_not_lost(
    play: Callable[[Story], None],
) -> None:
    async def story(stack: Stack) -> None:
        stack.answers["join"] = members("me", as_of=11)
        stack.around["join"] = (
            moved(joined="ada", as_of=12, count=2),
            moved(joined="lin", as_of=13, count=3),
        )
        async with Client("http://x", "t") as client:
            lobby = await client.join("lobby")
            await until(lambda: lobby.members == {"me", "ada", "lin"})
            assert lobby.member_count == 3

    play(story)


# ── who is in a chat session, by frames in any order ───────────────────────────────────────


def entered(*frames: Frame) -> ChatSession:
    """A session that was joined as of 10 with ada and grace in it, after these frames."""
    lobby = ChatSession("lobby")
    lobby.enter(parse(MembersPage, members("ada", "grace", as_of=10)))
    for frame in frames:
        lobby.move(parse(MembersChanged, frame))
    return lobby


def test_frames_may_come_in_any_order_and_twice() -> None:
    frames = [
        moved(joined="eve", as_of=9, count=7),  # before the answer to join
        moved(joined="lin", as_of=11, count=3),
        moved(left="ada", as_of=12, count=2),
        moved(joined="ada", left="grace", as_of=13, count=2),
        moved(left="lin", as_of=14, count=1),
    ]
    for order in itertools.permutations(frames):
        lobby = entered(*order, order[0])
        assert (lobby.members, lobby.member_count) == ({"ada"}, 1)


def test_joining_again_forgets_what_is_older_and_keeps_what_is_newer() -> None:
    lobby = entered(moved(joined="lin", as_of=11), moved(joined="zoe", as_of=31, count=3))
    lobby.enter(parse(MembersPage, members("ada", as_of=30)))
    assert (lobby.members, lobby.member_count) == ({"ada", "zoe"}, 3)


# ── the README ─────────────────────────────────────────────────────────────────────────────


def test_the_examples_of_its_page_run(
    play: Callable[[Story], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    user, back_end = blocks(PYTHON.read_text("utf-8"), "python")
    compile(back_end, "README.md", "exec")
    monkeypatch.setenv("PRESENCE_API_URL", "http://x")
    monkeypatch.setenv("PRESENCE_TOKEN", "t")
    said = {"chatSessionId": "lobby", "messageId": "m", "senderId": "ada", "content": "Hi"}
    names: dict[str, Any] = {}
    exec(user.replace("asyncio.run(main())", ""), names)  # noqa: S102 - our own page

    async def story(stack: Stack) -> None:
        stack.answers["join"] = members("me", "ada", as_of=1)
        stack.answers["message"] = {"type": "new-message", "sentAt": 1, **said}
        running = asyncio.create_task(names["main"]())
        await until(lambda: "message" in stack.asked())
        await stack.tell({"type": "new-message", "sentAt": 1, **said})
        await stack.tell({"type": "closing", "reason": "kicked"})
        await stack.sockets[-1].close()
        with pytest.raises(ConnectionOver):
            await running

    play(story)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "2 in the lobby"
    assert {"ada is online", "ada says Hi"} < set(lines)


# ── several chat sessions ──────────────────────────────────────────────────────────────────


def knows_lists(stack: Stack, *, refused: Sequence[Frame] = ()) -> None:
    """The stack takes `chatSessionIds`, and joins all but these."""
    answer, out = stack.answer, {it["chatSessionId"] for it in refused}

    def answered(frame: Frame) -> Frame:
        names = frame.get("chatSessionIds")
        if names is None:
            return answer(frame)
        entries = [members("me", as_of=10, chatSessionId=it) for it in names if it not in out]
        told = [it for it in refused if it["chatSessionId"] in names]
        return {**answer(frame), "joined": entries, "refused": told}

    stack.answer = answered  # type: ignore[method-assign]


def test_joins_of_the_same_moment_are_one_frame(play: Callable[[Story], None]) -> None:
    async def story(stack: Stack) -> None:
        no = {"chatSessionId": "b", "code": "forbidden", "message": "No."}
        knows_lists(stack, refused=[no])
        async with Client("http://x", "t") as client:
            await client.set_active(active=True)
            found = await asyncio.gather(*map(client.join, "abc"), return_exceptions=True)
            assert [isinstance(it, Refused) for it in found] == [False, True, False]
            assert client.chat_sessions.keys() == {"a", "c"}
            asked = [it["chatSessionIds"] for it in stack.heard if it["action"] == "join"]
            assert asked == [["a", "b", "c"]]

    play(story)


def test_a_new_connection_names_the_chat_sessions_when_it_authenticates(
    play: Callable[[Story], None],
) -> None:
    async def story(stack: Stack) -> None:
        knows_lists(stack)
        async with Client("http://x", "t") as client:
            await client.set_active(active=True)
            await asyncio.gather(*map(client.join, "abc"))
            stack.heard.clear()
            no = {"chatSessionId": "b", "code": "forbidden", "message": "No."}
            knows_lists(stack, refused=[no])
            stack.sockets[-1].transport.abort()
            problem = await next_of(client, Problem)
            assert (problem.code, problem.chat_session_id) == ("forbidden", "b")
            await client.set_active(active=True)
            assert stack.heard[0]["chatSessionIds"] == ["a", "b", "c"]
            assert "join" not in stack.asked()
            assert client.chat_sessions["c"].members == {"me"}

    play(story)


def test_what_has_no_space_in_the_answer_is_read_over_http(play: Callable[[Story], None]) -> None:
    async def story(stack: Stack) -> None:
        knows_lists(stack)
        stack.routes["GET /chat-sessions/a/members"] = members("me", "lin", as_of=11)
        entry = {"chatSessionId": "a", "memberCount": 2, "asOf": 10}
        async with Client("http://x", "t") as client:
            await client.set_active(active=True)
            stack.answers["join"] = {"joined": [entry], "refused": []}
            lobby = await client.join("a")
            assert lobby.members == {"me", "lin"}

    play(story)


def test_as_many_chat_sessions_are_named_as_a_frame_holds(play: Callable[[Story], None]) -> None:
    async def story(stack: Stack) -> None:
        knows_lists(stack)
        names = [f"{number:0128}" for number in range(50)]
        async with Client("http://x", "t" * 5_000) as client:
            await client.set_active(active=True)
            await asyncio.gather(*map(client.join, names))
            stack.heard.clear()
            stack.sockets[-1].transport.abort()
            await until(lambda: "join" in stack.asked())
            named, *rest = [it for it in stack.heard if "chatSessionIds" in it]
            asked = [it["chatSessionId"] for it in stack.heard if "chatSessionId" in it]
            assert 20 < len(named["chatSessionIds"]) < 30
            assert not rest
            await until(lambda: len(client.chat_sessions) == 50)
            assert asked[0] == names[len(named["chatSessionIds"])]

    play(story)
