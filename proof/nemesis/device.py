"""One device of one user, as a process of its own: it comes, stays, changes status, and goes.

    python -m proof.nemesis.device '{"user": …}'

It is in the foreground or hidden, keeps the heartbeat of its situation, and answers probes. It ends
its own connections cleanly or with a reset, and comes back within the grace period or after it.
Everything worse is done to it from outside. A file beside its history makes it stay, SIGTERM makes
it leave.
"""

import asyncio
import json
import random
import signal
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proof.nemesis.history import Writer
from proof.nemesis.wire import NOT_OPENED, SESSION, Frame, Wire, is_member

_STATUSES = ("online", "away", "busy", "dnd")
_HOUR = 3_600_000
#: A file; a signal would kill who is not ready for it.
STAY = "stay"
#: The longest pause of a device with a person at it, who does something now and then, and of one
#: that has to see the file.
_LONGEST, _LOOKS = 6.0, 0.5


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
    heartbeat: int
    background: int
    grace: float
    clock: float = 0.0

    def signed(self) -> dict[str, Any]:
        """The token, and when it was issued."""
        return dict(json.loads(Path(self.token).read_text("utf-8")))


@dataclass
class Situation:
    """Whether a person is at the device, until when, and the heartbeat that it keeps."""

    is_hidden: bool
    until: float
    heartbeat: int


@dataclass
class Device:
    errand: Errand
    dice: random.Random
    writer: Writer
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    #: Whether it was in the chat session when its last visit ended.
    was_member: bool = False
    now: Situation = field(init=False)
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

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
        wire.hear = lambda frame: self._hear(wire, frame)
        self._turn(is_hidden=not self.is_staying and self.dice.random() < 0.3)
        named = {"chatSessionIds": [SESSION]} if self.was_member else {}
        welcome = await wire.ask(
            "authenticate", token=signed["token"], device=it.process, **named, **self._says()
        )
        self.was_member = welcome is not None and is_member("authenticate", welcome)
        if welcome:
            await self._be_here(wire)
        await self._go(wire)

    # ── heartbeats ─────────────────────────────────────────────────────────────────────

    def _turn(self, *, is_hidden: bool) -> None:
        """A page is shown, or hidden."""
        heartbeat = self.errand.background if is_hidden else self.errand.heartbeat
        self.now = Situation(is_hidden, time.monotonic() + self.dice.uniform(3, 12), heartbeat)

    def _says(self) -> Frame:
        return {"active": not self.now.is_hidden, "heartbeatSeconds": self.now.heartbeat}

    async def _beat(self, wire: Wire) -> None:
        """Say what it keeps; what it should keep instead is said once more."""
        said = self.now.heartbeat
        answer = await wire.ask("check", userId=self.errand.user, **self._says())
        if answer and answer["heartbeatSeconds"] != said and self.now.heartbeat == said:
            self.now.heartbeat = answer["heartbeatSeconds"]
            await wire.ask("check", userId=self.errand.user, **self._says())

    def _hear(self, wire: Wire, frame: Frame) -> None:
        if frame["type"] == "probe":
            self.writer.write("probed", connection=wire.name)
            self._begin(self._answer_probe(wire))
        elif frame["type"] == "heartbeat" and not self.now.is_hidden:
            self.now.heartbeat = frame["heartbeatSeconds"]
            self._begin(self._beat(wire))

    async def _answer_probe(self, wire: Wire) -> None:
        """One way, as clients do; with an answer it is known that it came in time."""
        says = {"userId": self.errand.user, **self._says()}
        if self.dice.random() < 0.3:
            await wire.tell("ping", **says)
        else:
            await wire.ask("ping", **says)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    # ── a visit ────────────────────────────────────────────────────────────────────────

    async def _be_here(self, wire: Wire) -> None:
        goes_at = time.monotonic() + self.dice.uniform(5, 20)
        acts_at = 0.0
        while not wire.is_over and not self._wants_to_go(goes_at):
            turns = self.now.is_hidden if self.is_staying else time.monotonic() >= self.now.until
            if turns:
                self._turn(is_hidden=not self.now.is_hidden and not self.is_staying)
                await self._beat(wire)
            elif time.monotonic() >= acts_at:
                await self._act(wire)
            else:
                await self._rest(wire)
                continue
            acts_at = time.monotonic() + self._pause()

    def _pause(self) -> float:
        """Twice in a heartbeat; and a person does something now and then."""
        beats = self.now.heartbeat * self.dice.uniform(0.35, 0.5)
        return beats if self.now.is_hidden else min(beats, _LONGEST)

    async def _act(self, wire: Wire) -> None:
        if self.now.is_hidden:
            await self._beat(wire)
        elif not self.was_member:
            self.was_member = await wire.ask("join", chatSessionId=SESSION) is not None
        elif not self.is_staying and self.dice.random() < 0.2:
            await wire.ask("status", **self._wish())
        elif self.dice.random() < 0.2:
            # Who was taken out meanwhile finds out: it is refused, or in again.
            self.was_member = await wire.ask("join", chatSessionId=SESSION) is not None
        else:
            await self._beat(wire)

    def _wants_to_go(self, goes_at: float) -> bool:
        return self.leaving.is_set() or (not self.is_staying and time.monotonic() > goes_at)

    def _wish(self) -> Frame:
        """A status, some of them until a time that is to come by this device's own clock."""
        request: Frame = {"status": self.dice.choice(_STATUSES)}
        request["text"] = f"{self.errand.process} {self.dice.randrange(1000)}"
        if self.dice.random() < 0.3:
            request["until"] = int((time.time() + self.errand.clock) * 1000) + _HOUR
        return request

    async def _rest(self, wire: Wire) -> None:
        """A moment, but not longer than the connection or the errand lasts."""
        ends = asyncio.create_task(self.leaving.wait())
        await asyncio.wait(
            [asyncio.create_task(wire.over(_LOOKS)), ends],
            timeout=_LOOKS,
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
