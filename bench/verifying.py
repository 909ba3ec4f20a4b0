"""How soon a viewer who asks knows whether a user is there: on a local stack of its own.

    python -m bench.verifying [rounds] [lookers]

The stack is the template's, but that frames are old after some seconds, so that a round need not
wait for half a minute. The dead are connections that are open and say nothing. As in `latency`,
everything shares this machine.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.latency import HEADER, PATIENCE, Times
from bench.printing import print_note, print_table
from presence_client.client import Client
from presence_client.models import Frame
from tests.conversation import Conversation
from tests.stack import RunningStack, running_stack

ROUNDS, LOOKERS = 30, 1_000
FRESH = 12
#: Requests of lookers that are under way at the same time.
AT_ONCE = 10


class Listener(Conversation):
    """Notes when it heard of each user last."""

    def _hear(self, frame: Frame) -> None:
        for change in frame.get("changes", ()):
            self.at[change["userId"]] = time.perf_counter()
        super()._hear(frame)

    @cached_property
    def at(self) -> dict[str, float]:
        return {}


def viewer(stack: RunningStack) -> Client:
    return Client(str(stack.told["httpUrl"]), stack.token("viewer"), within=PATIENCE)


async def told_at(watcher: Listener, user_id: str) -> float:
    """When it was told that the user is offline."""
    await watcher.expect_change(user_id, status="offline", within=PATIENCE)
    return watcher.at[user_id]


async def verified(stack: RunningStack, name: str, users: int, *, answers: bool) -> Sequence[Times]:
    """Each user once; all were heard some time ago, one after the other."""
    known, told = [], []
    names = [f"{name}-{number}" for number in range(users)]
    async with AsyncExitStack() as all_of_it:
        for user_id in names:
            joins = Conversation.connect(
                stack.url, token=stack.token(user_id), heartbeats=answers, within=PATIENCE
            )
            await all_of_it.enter_async_context(joins)
        asker = await all_of_it.enter_async_context(viewer(stack))
        watcher = await all_of_it.enter_async_context(
            Listener.connect(stack.url, token=stack.token("watcher"), within=PATIENCE)
        )
        await watcher.request("watch", userIds=names)
        await asyncio.sleep(FRESH + 1)
        for user_id in names:
            started = time.perf_counter()
            (found,) = await asker.verify(user_id)
            known.append(time.perf_counter() - started)
            if found.is_online != answers:
                raise RuntimeError(f"not the truth: {found}")
            if not answers:
                told.append(await told_at(watcher, user_id) - started)
    times = [Times(f"verify → known, {name}", known)]
    return times if answers else [*times, Times(f"verify → a watcher hears, {name}", told)]


async def lookers(stack: RunningStack, count: int) -> str:
    """So many users who ask over HTTP at the same time, and the probes that came of it."""
    turns = asyncio.Semaphore(AT_ONCE)
    route = "GET /users/looked-at?verify=true"

    async def look(number: int) -> int:
        async with turns:
            ask = stack.call
            user_id = f"looker-{number}"
            answer = await asyncio.to_thread(ask, route, user_id=user_id, within=PATIENCE)
            return answer.status

    token = stack.token("looked-at")
    async with Conversation.connect(stack.url, token=token, within=PATIENCE) as looked_at:
        await asyncio.sleep(FRESH + 1)
        started = time.perf_counter()
        answers = await asyncio.gather(*map(look, range(count)))
        seconds = time.perf_counter() - started
        await looked_at.request("ping")
        probes = sum(frame["type"] == "probe" for frame in looked_at.heard)
    served = answers.count(HTTPStatus.OK)
    return f"{served} lookers in {seconds:.0f} s: {probes} probes, one in {FRESH} s at most."


async def measure(stack: RunningStack, rounds: int, count: int) -> None:
    alive = await verified(stack, "alive", rounds, answers=True)
    dead = await verified(stack, "dead", max(1, rounds // 6), answers=False)
    rows = [times.cells() for times in (*alive, *dead)]
    print_table("From verify to the truth, ProbeSeconds 10, on a local stack", HEADER, rows)
    print_note(await lookers(stack, count))


def main() -> None:
    rounds, count = (int(argument) for argument in (sys.argv[1:] or (ROUNDS, LOOKERS)))
    parameters = {"FreshSeconds": str(FRESH), "GlobalPresence": "false", "HeartbeatSeconds": "300"}
    parameters |= {"LeaseSeconds": "750"}
    with TemporaryDirectory() as home, running_stack(Path(home), parameters) as stack:
        asyncio.run(measure(stack, rounds, count))


if __name__ == "__main__":
    main()
