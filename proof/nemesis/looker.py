"""One who verifies users all the time, as a process of its own: over a socket, or over HTTP.

    python -m proof.nemesis.looker '{"observer": "looker", …}'

`caller` asks over HTTP, for one user at a time. SIGTERM makes it leave.
"""

import asyncio
import itertools
import json
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import httpx

from proof.nemesis.history import Writer
from proof.nemesis.observer import Errand
from proof.nemesis.wire import NOT_OPENED, Frame, Wire
from tests.stack import call

#: As often as the limits allow: five units a second, of which a user takes one, and a frame or a
#: call one more.
BETWEEN_FRAMES, BETWEEN_CALLS = 1.1, 0.5
#: A function is ended after that: no answer comes, and no probe is sent any more.
LONGEST = 30.0


@dataclass
class Looker:
    errand: Errand
    writer: Writer
    leaving: asyncio.Event = field(default_factory=asyncio.Event)

    async def over_socket(self) -> None:
        name = self.errand.observer
        for number in itertools.count(1):
            if self.leaving.is_set():
                return
            try:
                known = {"process": name, "user": name}
                wire = await Wire.open(self.errand.url, self.writer, f"{name}.{number}", **known)
            except NOT_OPENED:
                await asyncio.sleep(0.5)
                continue
            if await wire.ask("authenticate", token=self.errand.token):
                await self._ask_on(wire)
            await wire.close()

    async def _ask_on(self, wire: Wire) -> None:
        users = self.errand.users
        while not wire.is_over and not self.leaving.is_set():
            asked = time.monotonic()
            answer = await wire.ask("verify", userIds=users)
            self._saw(users, asked, answer["users"] if answer else ())
            await self._rest(BETWEEN_FRAMES)

    async def over_http(self) -> None:
        for user in itertools.cycle(self.errand.users):
            if self.leaving.is_set():
                return
            asked, url = time.monotonic(), f"{self.errand.http}/users/{user}?verify=true"
            try:
                answer = await asyncio.to_thread(call, "GET", url, token=self.errand.token)
                told = [answer.json] if answer.status == HTTPStatus.OK else []
            except httpx.TransportError:
                told = []
            self._saw([user], asked, told)
            await self._rest(BETWEEN_CALLS)

    def _saw(self, users: Sequence[str], asked: float, told: Sequence[Frame]) -> None:
        known: Frame = {"users": users, "told": told, "asked": asked, "until": asked + LONGEST}
        self.writer.write("looked", observer=self.errand.observer, **known)

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.leaving.wait(), seconds)


async def main(errand: Errand) -> None:
    looker = Looker(errand, Writer(Path(errand.history)))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, looker.leaving.set)
    await (looker.over_http() if errand.observer == "caller" else looker.over_socket())


if __name__ == "__main__":
    asyncio.run(main(Errand(**json.loads(sys.argv[1]))))
