"""One device of one user, as a process of its own: it comes, stays, changes status, and goes.

    python -m proof.nemesis.device '{"user": …}'

It ends its own connections cleanly or with a reset, and comes back within the grace period or
after it. Everything worse is done to it from outside. A file beside its history makes it stay,
SIGTERM makes it leave.
"""

import asyncio
import itertools
import json
import random
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
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
        """Send an action; the answer, or None if it is not known whether it was served."""
        number = next(self._calls)
        answer = self._answers[str(number)] = asyncio.get_running_loop().create_future()
        call: dict[str, Any] = {"call": number, "action": action, "connection": self.name}
        self._writer.write("invoke", **call)
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


_STATUSES = ("online", "away", "busy", "dnd")
_HOUR = 3_600_000
#: A file; a signal would kill who is not ready for it.
STAY = "stay"


@dataclass(frozen=True, slots=True)
class Errand:
    """`clock` is by how many seconds the wall clock of this device is wrong.

    `token` is a file, which has a fresh one some time after the last was revoked.
    """

    process: str
    user: str
    url: str
    token: str
    history: str
    seed: int
    heartbeat: float
    grace: float
    clock: float = 0.0

    def signed(self) -> dict[str, Any]:
        """The token, and when it was issued."""
        return dict(json.loads(Path(self.token).read_text("utf-8")))


@dataclass
class Device:
    errand: Errand
    dice: random.Random
    writer: Writer
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    #: Whether it was in the chat session when its last visit ended.
    was_member: bool = False

    async def run(self) -> None:
        number = 0
        while not self.leaving.is_set():
            number += 1
            await self._visit(f"{self.errand.process}.{number}")
            await self._be_away()

    @property
    def is_staying(self) -> bool:
        return Path(self.errand.history).with_name(STAY).exists()

    async def _visit(self, name: str) -> None:
        """Who was a member a moment ago names the chat session, which takes no frame more."""
        it, signed = self.errand, self.errand.signed()
        known = {"process": it.process, "user": it.user, "issued": signed["issued"]}
        try:
            wire = await Wire.open(it.url, self.writer, name, **known)
        except NOT_OPENED:
            await asyncio.sleep(0.5)
            return
        named = {"chatSessionIds": [SESSION]} if self.was_member else {}
        welcome = await wire.ask("authenticate", token=signed["token"], device=it.process, **named)
        self.was_member = welcome is not None and is_member("authenticate", welcome)
        if welcome:
            await self._be_here(wire)
        await self._go(wire)

    async def _be_here(self, wire: Wire) -> None:
        goes_at = time.monotonic() + self.dice.uniform(5, 20)
        while not wire.is_over and not self._wants_to_go(goes_at):
            if not self.was_member:
                self.was_member = await wire.ask("join", chatSessionId=SESSION) is not None
            elif not self.is_staying and self.dice.random() < 0.2:
                await wire.ask("status", **self._wish())
            elif self.dice.random() < 0.2:
                # Who was taken out meanwhile finds out: it is refused, or in again.
                self.was_member = await wire.ask("join", chatSessionId=SESSION) is not None
            else:
                await wire.ask("check", active=self.dice.random() < 0.8 or self.is_staying)
            await self._rest(wire)

    def _wants_to_go(self, goes_at: float) -> bool:
        return self.leaving.is_set() or (not self.is_staying and time.monotonic() > goes_at)

    def _wish(self) -> dict[str, object]:
        """A status, some of them until a time that is to come by this device's own clock."""
        request: dict[str, object] = {"status": self.dice.choice(_STATUSES)}
        request["text"] = f"{self.errand.process} {self.dice.randrange(1000)}"
        if self.dice.random() < 0.3:
            request["until"] = int((time.time() + self.errand.clock) * 1000) + _HOUR
        return request

    async def _rest(self, wire: Wire) -> None:
        """A heartbeat, but not longer than the connection or the errand lasts."""
        ends = asyncio.create_task(self.leaving.wait())
        await asyncio.wait(
            [asyncio.create_task(wire.over(self.errand.heartbeat)), ends],
            timeout=self.errand.heartbeat * self.dice.uniform(0.7, 1.0),
            return_when=asyncio.FIRST_COMPLETED,
        )
        ends.cancel()

    async def _go(self, wire: Wire) -> None:
        if self.leaving.is_set() or (how := self.dice.random()) < 0.5:
            await wire.close()
        elif how < 0.65 and not wire.is_over:
            await wire.leave()
        else:
            await wire.abort()

    async def _be_away(self) -> None:
        """Back within grace, or after all observers should have heard of it."""
        grace = self.errand.grace
        span = (0.1, 0.6 * grace) if self.dice.random() < 0.3 else (grace + 3, grace + 9)
        back_at = time.monotonic() + self.dice.uniform(*span)
        while not self._comes(back_at):  # noqa: ASYNC110  a file sends no event when it comes
            await asyncio.sleep(0.1)

    def _comes(self, back_at: float) -> bool:
        return self.leaving.is_set() or self.is_staying or time.monotonic() >= back_at


async def main(errand: Errand) -> None:
    dice = random.Random(errand.seed)  # noqa: S311  to be repeated, not to be secret
    device = Device(errand, dice, Writer(Path(errand.history)))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, device.leaving.set)
    await device.run()


if __name__ == "__main__":
    asyncio.run(main(Errand(**json.loads(sys.argv[1]))))
