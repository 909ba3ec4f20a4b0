"""A connection for tests and the bench: what it has heard, and waiting for what it is to hear."""

import asyncio
import itertools
import json
import socket
import struct
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from functools import wraps
from typing import Any, ParamSpec, TypeAlias

from presence_client.connection import Connection
from presence_client.errors import ClientError, ConnectionOver
from presence_client.models import Frame
from tests.stack import RunningStack

Predicate: TypeAlias = Callable[[Frame], object]
_MOST_TOLD = 5


class NotHeard(ClientError, TimeoutError):
    """What was expected did not come in time; the message has what came instead."""


class Heard(ClientError, AssertionError):
    """What must not come has come; the message has it."""


class Conversation(Connection):
    """One connection.

    Attributes:
        heard: every frame that has come, in order; never shortened.
        latency: of the last answer, in seconds.
    """

    def __init__(self, *arguments: Any, **names: Any) -> None:
        self.heard: list[Frame] = []
        self.latency = 0.0
        self._unread: list[Frame] = []
        self._waiting: list[tuple[Predicate, asyncio.Future[Frame]]] = []
        super().__init__(*arguments, **names)

    async def request(self, action: str, *, within: float | None = None, **fields: object) -> Frame:
        started = self._now()
        try:
            return await super().request(action, within=within, **fields)
        finally:
            self.latency = self._now() - started

    async def expect(self, predicate: Predicate, *, within: float | None = None) -> Frame:
        """The first frame, heard already or to come, that the predicate holds for.

        Every frame is returned once. Answers to `request` are not among them. A field that a
        frame does not have counts as "no", so that `lambda f: f["changes"]` is enough.
        """
        seconds = self._within if within is None else within
        try:
            return await asyncio.wait_for(self._next(predicate), seconds)
        except TimeoutError:
            last = "; ".join(json.dumps(frame) for frame in self.heard[-_MOST_TOLD:]) or "nothing"
            raise NotHeard(f"Not heard in {seconds:g} s. The last were: {last}") from None

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
        """The presence of a user from the next change that has these fields."""
        frame = await self.expect(lambda frame: change(frame, user_id, **fields), within=within)
        return change(frame, user_id, **fields) or {}

    async def closed(self, *, within: float) -> ConnectionOver:
        """Wait until the server or the network has closed the connection."""
        await asyncio.wait([self._reading], timeout=within)
        if self.over is None:
            raise NotHeard(f"The connection is still open after {within:g} s.")
        return self.over

    def abort(self) -> None:
        """Drop the connection with a TCP reset and no word, as a killed process or a lost network.

        Raises nothing, not even twice.
        """
        if self._beating:
            self._beating.cancel()
        transport = self._socket.transport
        raw = transport.get_extra_info("socket")
        with suppress(OSError, AttributeError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    async def _next(self, predicate: Predicate) -> Frame:
        for index, frame in enumerate(self._unread):
            if _holds(predicate, frame):
                return self._unread.pop(index)
        if self.over:
            raise self.over
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        waiting = (predicate, future)
        self._waiting.append(waiting)
        try:
            return await future
        finally:
            self._waiting.remove(waiting)

    def _hear(self, frame: Frame) -> None:
        self.heard.append(frame)
        super()._hear(frame)

    def _deliver(self, frame: Frame) -> None:
        for predicate, future in self._waiting:
            if not future.done() and _holds(predicate, frame):
                future.set_result(frame)
                return
        self._unread.append(frame)

    def _end(self, over: ConnectionOver) -> None:
        super()._end(over)
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(over)


def change(frame: Frame, user_id: str, **fields: object) -> Frame | None:
    """The presence of a user in a `user-status-change` that has these fields, or None."""
    for presence in frame.get("changes", ()):
        if presence["userId"] == user_id and fields.items() <= presence.items():
            found: Frame = presence
            return found
    return None


def _holds(predicate: Predicate, frame: Frame) -> bool:
    with suppress(LookupError):
        return bool(predicate(frame))
    return False


# ── stories: tests that are coroutines ───────────────────────────────────────────────────────────


Wish = ParamSpec("Wish")

#: Longer than an answer takes on AWS, where API Gateway waits 29 s for a function.
PATIENCE_SECONDS = 30

_numbers = itertools.count(1)


def story(test: Callable[Wish, Coroutine[Any, Any, None]]) -> Callable[Wish, None]:
    """Let a test be a coroutine."""

    @wraps(test)
    def run(*arguments: Wish.args, **names: Wish.kwargs) -> None:
        asyncio.run(test(*arguments, **names))

    return run


def people(*names: str) -> list[str]:
    """User ids that no other test has: all of them share one stack."""
    number = next(_numbers)
    return [f"{name}-{number}" for name in names]


def join(
    stack: RunningStack, user_id: str, **request: Any
) -> AbstractAsyncContextManager[Conversation]:
    """A connection of this user, authenticated; it waits for what a slow machine is late with."""
    patient = {"within": PATIENCE_SECONDS} | request
    return Conversation.connect(stack.url, token=stack.token(user_id), **patient)
