"""A client of the protocol, for the command line, the end-to-end tests and the load generator.

    async with PresenceClient.connect(url, token=token, device="desk") as ada:
        await ada.request("status", status="busy", text="In a meeting")
        await ada.expect(lambda frame: frame["changes"][0]["userId"] == "grace", within=5)

Five hundred of them fit into one process: a socket, a reading task and a timer each.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import socket
import struct
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Self, TypeAlias
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)

Frame: TypeAlias = dict[str, Any]
Predicate: TypeAlias = Callable[[Frame], object]

#: How long an answer may take before the link counts as dead, in seconds.
ANSWER_SECONDS = 10.0
_LARGEST_FRAME = 128 * 1024  # API Gateway's limit for one message
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
_MOST_TOLD = 5


class ClientError(Exception):
    """What can go wrong between a client and the server; the message is a sentence."""


class CannotConnect(ClientError):
    """The connection was not opened; `status` is the HTTP status of a refused handshake."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ConnectionOver(ClientError):
    """The connection is closed; `reason` is that of the `closing` frame, if there was one."""

    def __init__(self, code: int | None, reason: str | None = None) -> None:
        super().__init__(f"The connection was closed ({reason or code or 'without a word'}).")
        self.code = code
        self.reason = reason


class Refused(ClientError):
    """The server answered with an error; `code` is one of the protocol's."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame.get("message", "The server gave no reason."))
        self.code: str = frame.get("code", "internal")
        self.retry_after_seconds: float | None = frame.get("retryAfterSeconds")


class NotHeard(ClientError, TimeoutError):
    """What was expected did not come in time; the message has what came instead."""


class Heard(ClientError, AssertionError):
    """What must not come has come; the message has it."""


class PresenceClient:
    """One WebSocket connection; made by `connect`.

    Attributes:
        heard: every frame that has come, in order; never shortened.
        welcome: the last `authentication-success`; empty before.
        latency: of the last answer, in seconds.
        active: whether a person is there, as authentications and heartbeats say; None leaves it
            out.
    """

    def __init__(
        self,
        connection: ClientConnection,
        *,
        active: bool | None = None,
        heartbeats: bool = True,
        patience: float = ANSWER_SECONDS,
    ) -> None:
        self.heard: list[Frame] = []
        self.welcome: Frame = {}
        self.latency: float | None = None
        self.active = active
        self._connection = connection
        self._beats = heartbeats
        self._patience = patience
        self._unread: list[Frame] = []
        self._waiting: list[tuple[Predicate, asyncio.Future[Frame]]] = []
        self._answers: dict[str, asyncio.Future[Frame]] = {}
        self._ids = itertools.count(1)
        self._heartbeat_seconds = 0.0
        self._sent_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._beating: asyncio.Task[None] | None = None
        self._over: ConnectionOver | None = None
        self._reading = asyncio.create_task(self._read())

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str,
        *,
        token: str | None = None,
        device: str | None = None,
        origin: str | None = None,
        active: bool | None = None,
        heartbeats: bool = True,
        within: float = ANSWER_SECONDS,
    ) -> AsyncIterator[Self]:
        """Open a connection, authenticate if there is a token, and close it at the end.

        Args:
            url: of the WebSocket API, with its stage.
            token: a JWT; without one the connection stays unauthenticated.
            device: what to call this connection among those of the user.
            origin: the header Origin, as a browser sends it.
            active: whether a person is there, from the authentication on.
            heartbeats: send a ping whenever nothing else was sent for `heartbeatSeconds`.
            within: seconds that the handshake may take, and then each answer and frame that
                is waited for without a limit of its own.

        Raises:
            CannotConnect: nobody answers there, or the handshake was refused.
            Refused: the token was refused.
        """
        connection = await _open(url, origin, within)
        client = cls(connection, active=active, heartbeats=heartbeats, patience=within)
        try:
            if token is not None:
                await client.authenticate(token, device=device)
            yield client
        finally:
            await client.close()

    # ── asking ──────────────────────────────────────────────────────────────────────────────

    async def authenticate(
        self,
        token: str,
        *,
        device: str | None = None,
        user_id: str | None = None,
    ) -> Frame:
        """Authenticate, or renew the token; return `authentication-success`.

        Raises:
            Refused: with the code of the `authentication-error`.
        """
        fields: dict[str, Any] = {
            "token": token,
            "device": device,
            "userId": user_id,
            "active": self.active,
        }
        self.welcome = await self.request("authenticate", **fields)
        self._heartbeat_seconds = float(self.welcome["heartbeatSeconds"])
        self._schedule()
        return self.welcome

    async def request(self, action: str, *, within: float | None = None, **fields: object) -> Frame:
        """Send an action with an id of its own; return the answer to it.

        A field that is None is left out.

        Raises:
            Refused: the answer is an error.
            NotHeard: no answer within so many seconds.
            ConnectionOver: the connection is closed, or was before the answer came.
        """
        request_id = f"r{next(self._ids)}"
        answer = self._answers[request_id] = asyncio.get_running_loop().create_future()
        try:
            given = {name: value for name, value in fields.items() if value is not None}
            await self.send({"action": action, "id": request_id, **given})
            started = self._sent_at
            frame = await self._within(answer, within, f"an answer to {action}")
        finally:
            self._answers.pop(request_id, None)
        self.latency = asyncio.get_running_loop().time() - started
        if frame.get("type") in {"error", "authentication-error"}:
            raise Refused(frame)
        return frame

    async def send(self, frame: Mapping[str, Any] | str) -> None:
        """Send a frame without waiting for an answer; a `str` goes out as it is.

        Raises:
            ConnectionOver: the connection is closed.
        """
        text = frame if isinstance(frame, str) else json.dumps(frame, separators=(",", ":"))
        if self._over:
            raise self._over
        # The server counts the lease from when the frame came, which is never before this.
        self._sent_at = asyncio.get_running_loop().time()
        try:
            await self._connection.send(text)
        except ConnectionClosed as closed:
            raise _over(closed, self.heard) from closed

    # ── listening ───────────────────────────────────────────────────────────────────────────

    async def expect(self, predicate: Predicate, *, within: float | None = None) -> Frame:
        """Return the first frame, heard already or to come, that the predicate holds for.

        Every frame is returned once. Answers to `request` are not among them. A field that a
        frame does not have counts as "no", so that `lambda f: f["changes"]` is enough.

        Raises:
            NotHeard: none came within so many seconds.
            ConnectionOver: the connection was closed before.
        """
        return await self._within(self._next(predicate), within, "a frame that was expected")

    async def never(self, predicate: Predicate, *, during: float) -> None:
        """Listen for so many seconds, and to what is unread.

        Raises:
            Heard: a frame that the predicate holds for has come.
        """
        try:
            frame = await asyncio.wait_for(self._next(predicate), during)
        except TimeoutError:
            return
        raise Heard(f"This should not have come: {json.dumps(frame)}")

    async def expect_change(
        self, user_id: str, *, within: float | None = None, **fields: object
    ) -> Frame:
        """Return the presence of a user from the next change that has these fields.

        Raises:
            NotHeard: no such change came within so many seconds.
        """
        frame = await self.expect(lambda frame: change(frame, user_id, **fields), within=within)
        return change(frame, user_id, **fields) or {}

    def __aiter__(self) -> AsyncIterator[Frame]:
        """Yield what is unread, then what comes, until the connection is closed."""
        return self._frames()

    async def _frames(self) -> AsyncIterator[Frame]:
        with suppress(ConnectionOver):
            while True:
                yield await self._next(lambda _: True)

    async def _next(self, predicate: Predicate) -> Frame:
        for index, frame in enumerate(self._unread):
            if _holds(predicate, frame):
                return self._unread.pop(index)
        if self._over:
            raise self._over
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        waiting = (predicate, future)
        self._waiting.append(waiting)
        try:
            return await future
        finally:
            self._waiting.remove(waiting)

    async def _within(self, frame: Awaitable[Frame], within: float | None, what: str) -> Frame:
        seconds = self._patience if within is None else within
        try:
            return await asyncio.wait_for(frame, seconds)
        except TimeoutError:
            last = "; ".join(json.dumps(frame) for frame in self.heard[-_MOST_TOLD:]) or "nothing"
            raise NotHeard(f"Not heard in {seconds:g} s: {what}. The last were: {last}") from None

    async def _read(self) -> None:
        try:
            async for text in self._connection:
                self._hear(_object(text))
        except ConnectionClosed:
            pass  # without a closing handshake; the code below says so
        except (ValueError, TypeError) as error:
            self._connection.transport.abort()
            self._end(ConnectionOver(None, f"the server sent no JSON object: {error}"))
            return
        self._end(ConnectionOver(self._connection.close_code, _last_words(self.heard)))

    def _hear(self, frame: Frame) -> None:
        self.heard.append(frame)
        self._heartbeat_seconds = frame.get("heartbeatSeconds", self._heartbeat_seconds)
        answer = self._answers.get(frame.get("id", ""))
        if answer:
            _settle(answer, frame)
            return
        for predicate, future in self._waiting:
            if not future.done() and _holds(predicate, frame):
                future.set_result(frame)
                return
        self._unread.append(frame)

    def _end(self, over: ConnectionOver) -> None:
        self._over = over
        if self._timer:
            self._timer.cancel()
        for future in (*self._answers.values(), *(future for _, future in self._waiting)):
            if not future.done():
                future.set_exception(over)

    # ── staying and going ───────────────────────────────────────────────────────────────────

    def _schedule(self) -> None:
        """Beat when `heartbeatSeconds` have passed since something was last sent."""
        if self._beats and not self._over and self._heartbeat_seconds:
            if self._timer:
                self._timer.cancel()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._sent_at + self._heartbeat_seconds, self._beat)

    def _beat(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._sent_at + self._heartbeat_seconds:
            self._schedule()
        else:
            self._beating = asyncio.create_task(self._ping())

    async def _ping(self) -> None:
        """Ping; nobody there to answer means that the link is dead, whatever TCP believes.

        So does an answer of a server that has forgotten this connection.
        """
        try:
            await self.request("ping", active=self.active)
        except Refused as refused:  # an answer, if not a kind one; a `closing` says more
            if refused.code == "not-authenticated":
                self._connection.transport.abort()
        except NotHeard:
            self._connection.transport.abort()
        except ConnectionOver:
            return
        self._schedule()

    @property
    def over(self) -> ConnectionOver | None:
        """Why the connection is closed; None while it is open."""
        return self._over

    async def closed(self, *, within: float) -> ConnectionOver:
        """Wait until the server or the network has closed the connection.

        Raises:
            NotHeard: it is still open after so many seconds.
        """
        await asyncio.wait([self._reading], timeout=within)
        if self._over is None:
            raise NotHeard(f"The connection is still open after {within:g} s.")
        return self._over

    async def close(self, code: int = 1000) -> None:
        """Close with a handshake, as a tab does; closing twice is fine."""
        self._beats = False
        await self._connection.close(code)
        await self._reading

    def abort(self) -> None:
        """Drop the connection with a TCP reset and no word, as a killed process or a lost network.

        Raises nothing, not even twice.
        """
        self._beats = False
        transport = self._connection.transport
        raw = transport.get_extra_info("socket")
        with suppress(OSError, AttributeError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


def change(frame: Frame, user_id: str, **fields: object) -> Frame | None:
    """Return the presence of a user in a `user-status-change` that has these fields, or None."""
    for presence in frame.get("changes", ()):
        if presence["userId"] == user_id and fields.items() <= presence.items():
            found: Frame = presence
            return found
    return None


def backoff(attempt: int) -> float:
    """Return how long to wait before this attempt (from 0), in seconds, with full jitter."""
    # A thousand clients that lost the same server must not come back at the same moment.
    return random.uniform(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(attempt, 16)))  # noqa: S311


async def _open(url: str, origin: str | None, within: float) -> ClientConnection:
    try:
        return await connect(
            url,
            origin=origin,  # type: ignore[arg-type]  # a NewType of str
            open_timeout=within,
            close_timeout=2,
            ping_interval=None,  # the heartbeats are the protocol's own
            compression=None,  # 300 KiB of memory a connection, for frames of 200 bytes
            max_size=_LARGEST_FRAME,
            proxy=None if _is_here(url) else True,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        raise CannotConnect(f"{url} refused the connection with {status}.", status) from error
    except InvalidURI as error:
        raise CannotConnect(
            f"{url} is no WebSocket URL; one begins with wss:// or ws://."
        ) from error
    except (OSError, InvalidHandshake, WebSocketException) as error:
        raise CannotConnect(f"{url} does not answer ({str(error) or 'not in time'}).") from error


def _object(text: str | bytes) -> Frame:
    frame = json.loads(text)
    if not isinstance(frame, dict):
        raise TypeError(f"not {type(frame).__name__}")
    return frame


def _over(closed: ConnectionClosed, heard: list[Frame]) -> ConnectionOver:
    return ConnectionOver(closed.rcvd.code if closed.rcvd else None, _last_words(heard))


def _last_words(heard: list[Frame]) -> str | None:
    last = heard[-1] if heard else {}
    return last.get("reason") if last.get("type") == "closing" else None


def _holds(predicate: Predicate, frame: Frame) -> bool:
    with suppress(LookupError):
        return bool(predicate(frame))
    return False


def _settle(future: asyncio.Future[Frame], frame: Frame) -> None:
    if not future.done():
        future.set_result(frame)


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in {"localhost", "127.0.0.1", "::1"}


# ── HTTP ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; `json` is None when the body is empty or is not JSON."""

    status: int
    headers: Mapping[str, str]
    json: Any


class _AnyStatus(urllib.request.HTTPErrorProcessor):
    """Hands over every answer as it is: 304 and 404 are answers."""

    def http_response(self, request: Any, response: Any) -> Any:  # noqa: ANN401, ARG002
        return response

    https_response = http_response


def call(
    method: str,
    url: str,
    *,
    token: str | None = None,
    body: Any = None,  # noqa: ANN401 - any JSON
    headers: Mapping[str, str] | None = None,
    within: float = ANSWER_SECONDS,
) -> Answer:
    """Call an HTTP route and return its answer, whatever its status. Blocks.

    Args:
        method: GET, PUT …
        url: the whole of it.
        token: sent as `Authorization: Bearer`.
        body: sent as JSON; `bytes` go out as they are.
        headers: more of them.
        within: seconds.

    Raises:
        CannotConnect: nobody answers there in time.
    """
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    sent = {"Accept": "application/json", **({"Content-Type": "application/json"} if data else {})}
    sent |= {"Authorization": f"Bearer {token}"} if token else {}
    proxies = urllib.request.ProxyHandler({}) if _is_here(url) else urllib.request.ProxyHandler()
    opener = urllib.request.build_opener(proxies, _AnyStatus())
    try:
        request = urllib.request.Request(url, data, {**sent, **(headers or {})}, method=method)
        with opener.open(request, timeout=within) as response:
            names = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, names, _json(response.read()))
    except (URLError, HTTPError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise CannotConnect(f"{url} does not answer ({reason}).") from error


def _json(content: bytes) -> Any:  # noqa: ANN401
    try:
        return json.loads(content)
    except ValueError:
        return None
