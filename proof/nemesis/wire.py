"""One connection of a client, which logs each frame that it sends and each answer."""

import asyncio
import itertools
import json
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from proof.nemesis.history import Writer

Frame: TypeAlias = dict[str, Any]
Subscriber: TypeAlias = Callable[[Frame], None]

SESSION = "lobby"
PATIENCE = 5.0
#: What a socket that was not opened may have met.
NOT_OPENED = (OSError, TimeoutError, WebSocketException)
_ERRORS = {"error", "authentication-error"}


def is_member(action: str, answer: Frame) -> bool:
    """Whether an answer says that the connection is in the chat session."""
    return action == "join" or SESSION in answer.get("chatSessions", ())


class Wire:
    """One connection of a client; `hear` gets every frame that is no answer."""

    def __init__(self, connection: ClientConnection, writer: Writer, name: str) -> None:
        self.name = name
        self.hear: Subscriber = lambda _: None
        self._connection = connection
        self._writer = writer
        self._calls = itertools.count(1)
        self._answers: dict[str, asyncio.Future[Frame]] = {}
        self._is_ending = False
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, url: str, writer: Writer, name: str, **known: Any) -> "Wire":
        """Open a connection.

        Raises:
            NOT_OPENED: there is none.
        """
        connection = await connect(
            url, open_timeout=2 * PATIENCE, close_timeout=2, ping_interval=None, compression=None
        )
        writer.write("open", connection=name, **known)
        return cls(connection, writer, name)

    async def ask(self, action: str, **fields: object) -> Frame | None:
        """Send an action; the answer, or None if it is not known whether it was served.

        Who ends the connection sends nothing more, but that it leaves.
        """
        if self._is_ending and action != "leave":
            return None
        number = next(self._calls)
        answer = self._answers[str(number)] = asyncio.get_running_loop().create_future()
        call = self._invoke(number, action, fields)
        try:
            await self._connection.send(json.dumps({"action": action, "id": str(number), **fields}))
            frame: Frame = await asyncio.wait_for(answer, PATIENCE)
        except (ConnectionClosed, TimeoutError) as error:
            self._writer.write("info", why=type(error).__name__, **call)
            return None
        finally:
            del self._answers[str(number)]
        if frame["type"] in _ERRORS:
            self._writer.write("info", why=frame.get("code"), **call)
            return None
        self._writer.write("ok", joined=is_member(action, frame), **call)
        return frame

    async def tell(self, action: str, **fields: object) -> None:
        """Send an action that is not answered."""
        if self._is_ending:
            return
        self._invoke(next(self._calls), action, fields)
        with suppress(ConnectionClosed):
            await self._connection.send(json.dumps({"action": action, **fields}))

    def _invoke(self, number: int, action: str, fields: Frame) -> Frame:
        call: Frame = {"call": number, "action": action, "connection": self.name}
        self._writer.write("invoke", heartbeat=fields.get("heartbeatSeconds"), **call)
        return call

    async def leave(self) -> None:
        """Say that the user leaves on purpose, and close."""
        self._end("leave")
        await self.ask("leave")
        await self.close()

    @property
    def is_over(self) -> bool:
        return self._reading.done()

    async def close(self) -> None:
        """Close with a handshake, as a tab does."""
        self._end("close")
        await self._connection.close()
        await self._reading

    async def abort(self) -> None:
        """Reset the connection without a word, as a lost network does."""
        self._end("abort")
        raw = self._connection.transport.get_extra_info("socket")
        with suppress(OSError, AttributeError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.transport.abort()
        await self._reading

    async def over(self, within: float) -> None:
        """Wait so many seconds at most for the connection to end."""
        await asyncio.wait([self._reading], timeout=max(0.0, within))

    def _end(self, how: str, **more: Any) -> None:
        if not self._is_ending:
            self._is_ending = True
            self._writer.write("end", connection=self.name, how=how, **more)

    async def _read(self) -> None:
        with suppress(ConnectionClosed):
            async for text in self._connection:
                self._take(text)
        self._end("closed", code=self._connection.close_code)

    def _take(self, text: str | bytes) -> None:
        try:
            frame = json.loads(text)
            kind = frame["type"]
        except (ValueError, TypeError, KeyError):
            return  # what the gateway says by itself when a function died; the call stays open
        if not isinstance(kind, str):
            return
        answer = self._answers.get(str(frame.get("id")))
        if answer is None:
            self.hear(frame)
        elif not answer.done():
            answer.set_result(frame)
