"""An observer that is not attacked and logs all that it sees: of the stack, or of the machine.

    python -m proof.nemesis.observer '{"observer": "watcher", …}'
    python -m proof.nemesis.observer machine HISTORY URL

A `watcher` watches users, a `member` is in their chat session, a `poller` asks over HTTP;
`machine` is `watch_machine`. SIGTERM makes it leave.
"""

import asyncio
import json
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from proof.nemesis.history import Writer
from proof.nemesis.wire import NOT_OPENED, SESSION, Frame, Wire
from tests.stack import call

BETWEEN_POLLS = 0.25
BETWEEN_LOOKS = 0.4
WORK = 0.04
#: A health route that answers within this is that of an idle emulator.
ANSWER = 0.05
#: What is lost of a round, in seconds, before it counts.
LEAST = 0.05


@dataclass(frozen=True, slots=True)
class Errand:
    observer: str
    url: str
    http: str
    token: str
    history: str
    users: Sequence[str]
    heartbeat: float


@dataclass
class Subscriber:
    """What a client of the protocol holds: of every user the newest version it was told."""

    errand: Errand
    writer: Writer
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    versions: dict[str, int] = field(default_factory=dict)

    async def run(self) -> None:
        number = 0
        while not self.leaving.is_set():
            number += 1
            try:
                await self._listen(f"{self.errand.observer}.{number}")
            except NOT_OPENED:
                await asyncio.sleep(0.5)

    async def _listen(self, name: str) -> None:
        self.versions.clear()
        wire = await Wire.open(self.errand.url, self.writer, name, **self._names)
        wire.hear = lambda frame: self._hear(name, frame)
        if await self._begin(wire):
            self.writer.write("listening", connection=name, observer=self.errand.observer)
            while not wire.is_over and not self.leaving.is_set():
                await wire.ask("check")
                await self._rest()
        await wire.close()

    @property
    def _names(self) -> dict[str, str]:
        return {"process": self.errand.observer, "user": self.errand.observer}

    async def _begin(self, wire: Wire) -> bool:
        if not await wire.ask("authenticate", token=self.errand.token):
            return False
        if self.errand.observer == "member":
            frame = await wire.ask("join", chatSessionId=SESSION)
        else:
            frame = await wire.ask("watch", userIds=self.errand.users)
        if frame:
            self._take(wire.name, frame.get("users") or frame.get("members", ()))
        return frame is not None

    def _hear(self, name: str, frame: Frame) -> None:
        if frame["type"] == "user-status-change":
            self._take(name, frame["changes"])
        elif frame["type"] == "chat-session-members":
            self._take(name, frame["joined"], frame["left"])

    def _take(self, name: str, users: Iterable[Frame], left: Iterable[str] = ()) -> None:
        """A member who joins is there again, as of the version that is held."""
        told = [it | {"applied": self._is_newer(it)} for it in users]
        self.writer.write("heard", connection=name, users=told, left=list(left))

    def _is_newer(self, presence: Frame) -> bool:
        user_id, version = presence["userId"], presence["version"]
        if version <= self.versions.get(user_id, -1):
            return False
        self.versions[user_id] = version
        return True

    async def _rest(self) -> None:
        try:
            await asyncio.wait_for(self.leaving.wait(), self.errand.heartbeat * 0.8)
        except TimeoutError:
            return


async def poll(errand: Errand, writer: Writer, leaving: asyncio.Event) -> None:
    url = f"{errand.http}/batch"
    body = {"userIds": list(errand.users)}
    while not leaving.is_set():
        asked = time.monotonic()
        try:
            answer = await asyncio.to_thread(call, "POST", url, token=errand.token, body=body)
        except httpx.TransportError as error:
            writer.write("unanswered", asked=asked, why=str(error))
        else:
            if answer.status == 200:
                writer.write("polled", asked=asked, users=answer.json["users"])
            else:
                writer.write("unanswered", asked=asked, why=answer.status)
        await asyncio.sleep(BETWEEN_POLLS)


def share_lost() -> float:
    """How much of its time a process that has work to do does not get."""
    wall, cpu = time.monotonic(), time.process_time()
    while time.process_time() - cpu < WORK:
        pass
    return max(0.0, 1 - (time.process_time() - cpu) / (time.monotonic() - wall))


def answer_lost(url: str) -> float:
    """How many seconds the emulator did nothing but something else."""
    asked = time.monotonic()
    with suppress(OSError), urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310  ours
        answer.read()
    return max(0.0, time.monotonic() - asked - ANSWER)


def watch_machine(history: Path, url: str) -> None:
    """Look at the machine itself, so that a slow one is not taken for a slow server.

    Twice a second: how long a little work takes, of which the processor's own time is known, and
    how long the local AWS takes to answer its own health route. Neither runs a line of ours. What
    is lost is written down as time in which the machine stood still.
    """
    writer, is_over = Writer(history), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_over.set())
    before = time.monotonic()
    while not is_over.wait(BETWEEN_LOOKS):
        waited = answer_lost(url)
        share = share_lost()
        now = time.monotonic()
        lost = waited + share * (now - before - waited)
        if lost > LEAST:
            writer.write("stall", at=now, start=now - min(lost, now - before))
        before = now


async def main(errand: Errand) -> None:
    leaving = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leaving.set)
    writer = Writer(Path(errand.history))
    if errand.observer == "poller":
        await poll(errand, writer, leaving)
    else:
        await Subscriber(errand, writer, leaving).run()


if __name__ == "__main__":
    if sys.argv[1] == "machine":
        watch_machine(Path(sys.argv[2]), sys.argv[3])
    else:
        asyncio.run(main(Errand(**json.loads(sys.argv[1]))))
