"""One WebSocket connection: requests and their answers, heartbeats, and what else comes.

async with Connection.connect(url, token=token, device="desk") as ada:
    await ada.request("status", status="busy", text="In a meeting")
    async for frame in ada:
        print(frame)
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)

from presence_client.errors import (
    CannotConnect,
    ConnectionOver,
    Misconfigured,
    NotAnswered,
    Refused,
)
from presence_client.heartbeat import Heartbeat
from presence_client.models import Frame
from presence_client.network import ANSWER_SECONDS, is_for_good, is_loopback

#: The server takes so many bytes; API Gateway closes the connection for a frame beyond 32 KiB.
_LARGEST_REQUEST = 8 * 1024
#: What the action and the id of a frame take.
_NAMES = 64
_PLAIN = (",", ":")
_LARGEST_FRAME = 128 * 1024  # API Gateway's limit for one message


class Connection:
    """One connection; made by `connect`.

    Attributes:
        welcome: the last `authentication-success`; empty before.
        active: whether a person is at the device, as authentications and heartbeats say; None
            leaves it out.
        over: why the connection is closed; None while it is open.
    """

    def __init__(
        self, socket: ClientConnection, *, active: bool | None, heartbeats: bool, within: float
    ) -> None:
        self.welcome: Frame = {}
        self.active = active
        self.over: ConnectionOver | None = None
        self._socket = socket
        self._within = within
        self._frames: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._answers: dict[str, asyncio.Future[Frame]] = {}
        self._ids = itertools.count(1)
        self._now = asyncio.get_running_loop().time
        self._heartbeat = Heartbeat()
        #: Set when the next ping is due at another time than before.
        self._is_sooner = asyncio.Event()
        #: The last frame without an id, or request given up: a refusal may be meant for it.
        self._stray_at = -inf
        self._authenticated = asyncio.Event()
        self._tasks = set[asyncio.Task[None]]()
        self._reading = asyncio.create_task(self._read())
        self._beating = asyncio.create_task(self._beat()) if heartbeats else None

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

        `origin` is the header that a browser sends. With `heartbeats`, a ping is sent when nothing
        else was for `heartbeatSeconds`, again if it is refused, and in answer to each `probe`. The
        handshake, and then each answer, may take `within` seconds; `device` and `active` are those
        of `authenticate`.

        Raises:
            CannotConnect: no server answers, or the handshake was refused; `Misconfigured` if it
                would be refused again.
            Refused: the token was refused.
        """
        socket = await _open(url, origin, within)
        connection = cls(socket, active=active, heartbeats=heartbeats, within=within)
        try:
            if token is not None:
                await connection.authenticate(token, device=device)
            yield connection
        finally:
            await connection.close()

    async def authenticate(
        self,
        token: str,
        *,
        device: str | None = None,
        user_id: str | None = None,
        chat_session_ids: Sequence[str] | None = None,
    ) -> Frame:
        """Authenticate, or renew the token; the answer is `authentication-success`.

        The chat sessions named are joined with it, as many as the frame has space for.
        """
        names = {"token": token, "device": device, "userId": user_id}
        fields: Frame = {**names, "active": self.active}
        if chat_session_ids is not None:
            space = _LARGEST_REQUEST - len(_encoded({"chatSessionIds": [], **fields})) - _NAMES
            fields["chatSessionIds"] = _fitting(chat_session_ids, space)
        self.welcome = await self.request("authenticate", within=None, **fields)
        self._authenticated.set()
        return self.welcome

    async def request(self, action: str, *, within: float | None = None, **fields: object) -> Frame:
        """Send an action with an id of its own, without fields that are None; return the answer.

        Raises:
            Refused: the answer is an error, or what is asked cannot be sent.
            NotAnswered: no answer within so many seconds.
            ConnectionOver: the connection is closed, or was before the answer came.
        """
        request_id = f"r{next(self._ids)}"
        answer = self._answers[request_id] = asyncio.get_running_loop().create_future()
        given = {name: value for name, value in fields.items() if value is not None}
        seconds = self._within if within is None else within
        try:
            await self._send(_encoded({"action": action, "id": request_id, **given}))
            async with asyncio.timeout(seconds):
                frame: Frame = await answer
        except TimeoutError:
            self._stray_at = self._now()
            raise NotAnswered(f"No answer to {action} came in {seconds:g} s.") from None
        finally:
            del self._answers[request_id]
        if frame.get("type") in {"error", "authentication-error"}:
            raise refusal_in(frame)
        return frame

    async def send(self, frame: Mapping[str, Any] | str) -> None:
        """Send a frame without waiting for an answer; a `str` goes out as it is.

        Raises:
            ConnectionOver: the connection is closed.
        """
        if isinstance(frame, str) or "id" not in frame:
            self._stray_at = self._now()
        await self._send(frame if isinstance(frame, str) else json.dumps(frame, separators=_PLAIN))

    async def _send(self, text: str) -> None:
        # The server counts the lease from when the frame came, which is never before this.
        self._heartbeat.sent(self._now())
        try:
            await self._socket.send(text)
        except ConnectionClosed:
            await asyncio.wait([self._reading])
            raise self.over or ConnectionOver(None) from None

    async def __aiter__(self) -> AsyncIterator[Frame]:
        """Yield the frames that answer no request, until the connection is closed."""
        while (frame := await self._frames.get()) is not None:
            yield frame
        self._frames.put_nowait(None)  # for the next iterator

    async def close(self, code: int = 1000) -> None:
        """Close with a handshake, as a tab does; closing twice is fine."""
        if self._beating:
            self._beating.cancel()
        await self._socket.close(code)
        await self._reading

    async def _read(self) -> None:
        reason: str | None = None
        try:
            async for text in self._socket:
                frame = _object(text)
                # Other frames may still follow it: they were on their way.
                if frame.get("type") == "closing":
                    reason = frame.get("reason")
                self._hear(frame)
        except ConnectionClosed:
            pass  # without a closing handshake; the code below says so
        except (ValueError, TypeError) as error:
            self._socket.transport.abort()
            self._end(ConnectionOver(None, f"the server sent no JSON object: {error}"))
            return
        self._end(ConnectionOver(self._socket.close_code, reason))

    def _hear(self, frame: Frame) -> None:
        self._heartbeat.told(frame, self._now(), self.active)
        if frame.get("type") == "heartbeat":
            self._is_sooner.set()
        if "type" not in frame and "message" in frame:  # API Gateway's own
            frame = {"type": "error", "code": "unavailable", **frame}
        if frame.get("type") == "probe" and self._beating:
            self._tasks.add(task := asyncio.create_task(self._answer_probe()))
            task.add_done_callback(self._tasks.discard)
        answer = self._answers.get(frame.get("id", "")) or self._meant(frame)
        if answer is None:
            self._heed(frame)
            self._deliver(frame)
        elif not answer.done():
            answer.set_result(frame)

    def _meant(self, frame: Frame) -> asyncio.Future[Frame] | None:
        """The request that a refusal without id and action answers, if it can be only one."""
        is_nameless = "code" in frame and not frame.keys() & {"id", "action"}
        is_clear = len(self._answers) == 1 and self._now() - self._stray_at >= self._within
        return next(iter(self._answers.values())) if is_nameless and is_clear else None

    def _deliver(self, frame: Frame) -> None:
        self._frames.put_nowait(frame)

    def _end(self, over: ConnectionOver) -> None:
        self.over = over
        if self._beating:
            self._beating.cancel()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(over)
        self._frames.put_nowait(None)

    def _heed(self, frame: Frame) -> None:
        """A ping is answered only if it is refused."""
        if frame.get("action") != "ping" or "code" not in frame:
            return
        if frame["code"] == "not-authenticated":  # the server has forgotten us
            self._socket.transport.abort()
        self._heartbeat.refused(frame["code"], frame.get("retryAfterSeconds", 0), self._now())
        self._is_sooner.set()

    async def _answer_probe(self) -> None:
        """At once: a viewer waits, and a connection that does not answer is over."""
        with suppress(ConnectionOver):
            await self.send({"action": "ping", **self._about(self._heartbeat.seconds)})

    async def _beat(self) -> None:
        """Ping when nothing was sent for `heartbeatSeconds`; ask for an answer after a silence."""
        await self._authenticated.wait()
        is_served = True
        while is_served:
            self._is_sooner.clear()
            left = self._heartbeat.due_at(self.active) - self._now()
            if left > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._is_sooner.wait(), left)
            else:
                is_served = await self._ping()
        self._socket.transport.abort()

    async def _ping(self) -> bool:
        """Whether the connection may still be of use."""
        beat, now = self._heartbeat, self._now()
        is_asked = beat.is_quiet(now) or beat.is_change(self.active)
        try:
            if is_asked:
                await self.check()
            else:
                beat.pinged(now)
                about = self._about(beat.seconds)
                await self._socket.send(_encoded({"action": "ping", **about}))
        except Refused as refused:  # an answer all the same, unless the server has forgotten us
            beat.refused(refused.code, refused.retry_after_seconds or 0, self._now())
            return refused.code != "not-authenticated"
        except (NotAnswered, ConnectionOver, ConnectionClosed):
            return False
        return True

    async def check(self) -> Frame:
        """Say whether a person is at the device, and how soon the next ping comes; the answer.

        Raises:
            Refused, NotAnswered, ConnectionOver: see `request`.
        """
        self._heartbeat.pinged(self._now())
        wanted = self._heartbeat.wanted(self.active)
        answer = await self.request("check", **self._about(wanted))
        self._heartbeat.seconds = wanted
        self._is_sooner.set()
        return answer

    def _about(self, seconds: float) -> Frame:
        """What a ping says of its connection."""
        about = {"userId": self.welcome.get("userId"), "active": self.active}
        beats = {} if seconds == inf else {"heartbeatSeconds": seconds}
        return {name: value for name, value in {**about, **beats}.items() if value is not None}


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
            proxy=None if is_loopback(url) else True,
        )
    except InvalidStatus as error:
        raise _refused(url, error.response.status_code, origin) from error
    except InvalidURI as error:
        message = f"{url} is no WebSocket URL; one begins with wss:// or ws://."
        raise Misconfigured("api-url-invalid", message) from error
    except (OSError, InvalidHandshake, WebSocketException) as error:
        raise CannotConnect(f"{url} does not answer ({str(error) or 'not in time'}).") from error


def _refused(url: str, status: int, origin: str | None) -> CannotConnect:
    message = f"{url} refused the connection with {status}."
    if not is_for_good(status):
        return CannotConnect(message, status)
    hint = f" Add {origin} to AllowedOrigins of the stack." if origin else " Is it a stack's?"
    return Misconfigured("handshake-refused", message + hint, status)


def _encoded(frame: Frame) -> str:
    """The text of a request, as short as it can be.

    Raises:
        Refused: it is too large, or has text that has no UTF-8.
    """
    text = json.dumps(frame, ensure_ascii=False, separators=_PLAIN)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Refused("invalid-message", "Send text as Unicode, without lone surrogates.") from None
    if size > _LARGEST_REQUEST:
        raise Refused("payload-too-large", f"Send at most {_LARGEST_REQUEST} bytes.")
    return text


def _fitting(names: Sequence[str], space: int) -> Sequence[str]:
    """As many ids, from the first on, as fit into so many bytes of JSON."""
    sizes = itertools.accumulate(len(name) + len('"",') for name in names)
    return names[: sum(size <= space for size in sizes)]


def _object(text: str | bytes) -> Frame:
    frame = json.loads(text)
    if not isinstance(frame, dict):
        raise TypeError(f"not {type(frame).__name__}")
    return frame


def refusal_in(frame: Frame) -> Refused:
    message = frame.get("message", "The server gave no reason.")
    return Refused(frame.get("code", "internal"), message, frame.get("retryAfterSeconds"))
