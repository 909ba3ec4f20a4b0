"""How soon others hear: on a local stack of its own, deployed from the template as it is.

    python -m bench.latency [rounds] [clients]

Everything shares this machine: the clients, the local AWS, the functions. So the times are an
upper bound of what the code adds, and say nothing of the networks between AWS and a browser.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.printing import print_note, print_table
from tests.conversation import Conversation
from tests.stack import RunningStack, running_stack

ROUNDS, CLIENTS = 50, 500
PATIENCE = 60.0
SPEAKERS = 10  # a connection may ask twenty times at once
QUIET_SECONDS = 1.5

HEADER = ("", "count", "median ms", "p95 ms", "max ms")


@dataclass(frozen=True, slots=True)
class Times:
    """How long something took, each time, in seconds."""

    name: str
    seconds: Sequence[float]

    def cells(self) -> Sequence[str]:
        figures = (statistics.median(self.seconds), p95(self.seconds), max(self.seconds))
        return self.name, str(len(self.seconds)), *(f"{1000 * it:,.0f}" for it in figures)


def p95(values: Sequence[float]) -> float:
    return sorted(values)[-(-95 * len(values) // 100) - 1]


async def arrivals(stack: RunningStack, rounds: int) -> Sequence[Times]:
    """From sending `authenticate` to the change at another user, and to the answer."""
    heard, answered = [], []
    async with Conversation.connect(stack.url, token=stack.token("watcher")) as watcher:
        for number in range(rounds):
            user_id = f"visitor-{number}"
            async with Conversation.connect(stack.url) as visitor:
                token = stack.token(user_id)
                heard.append(
                    await until_heard([watcher], user_id, "online", visitor.authenticate(token))
                )
                answered.append(visitor.latency or 0)
    return (
        Times("authenticate → others hear", heard),
        Times("authenticate → its answer", answered),
    )


async def choices(stack: RunningStack, rounds: int) -> Sequence[Times]:
    """From sending `status` to the change at another user, and to the answer."""
    heard, answered = [], []
    async with (
        Conversation.connect(stack.url, token=stack.token("subscriber")) as subscriber,
        join_all(stack, "speaker", SPEAKERS) as speakers,
    ):
        await quiet([subscriber, *speakers])
        for number in range(rounds):
            speaker = speakers[number % SPEAKERS]
            status = "busy" if number // SPEAKERS % 2 == 0 else "dnd"
            request = speaker.request("status", status=status)
            heard.append(await until_heard([subscriber], user_of(speaker), status, request))
            answered.append(speaker.latency or 0)
    return Times("status → others hear", heard), Times("status → its answer", answered)


async def broadcast(stack: RunningStack, clients: int) -> tuple[Times, float]:
    """One change, and every client that hears it; and how long all of them took to join."""
    started = time.perf_counter()
    async with join_all(stack, "member", clients) as members:
        joined = time.perf_counter() - started
        await quiet(members)
        request = members[0].request("status", status="busy", within=PATIENCE)
        heard = await times_heard(members, user_of(members[0]), "busy", request)
    return Times(f"status → each of {clients} hears", heard), joined


@asynccontextmanager
async def join_all(
    stack: RunningStack, name: str, size: int
) -> AsyncIterator[Sequence[Conversation]]:
    """So many users, one after the other; all leave at once."""
    async with AsyncExitStack() as connections:
        yield [
            await connections.enter_async_context(
                Conversation.connect(
                    stack.url, token=stack.token(f"{name}-{number}"), within=PATIENCE
                )
            )
            for number in range(size)
        ]


async def until_heard(
    subscribers: Sequence[Conversation], user_id: str, status: str, request: Awaitable[object]
) -> float:
    return max(await times_heard(subscribers, user_id, status, request))


async def times_heard(
    subscribers: Sequence[Conversation], user_id: str, status: str, request: Awaitable[object]
) -> Sequence[float]:
    """How long after *request* set out each of the subscribers heard its consequence."""

    async def hear(subscriber: Conversation) -> float:
        await subscriber.expect_change(user_id, status=status, within=PATIENCE)
        return time.perf_counter()

    ears = [asyncio.create_task(hear(subscriber)) for subscriber in subscribers]
    await asyncio.sleep(0)  # let them listen first
    started = time.perf_counter()
    await request
    return [heard - started for heard in await asyncio.gather(*ears)]


async def quiet(clients: Sequence[Conversation]) -> None:
    """Wait until no client has heard a change for a while: all joins are announced by then."""
    before = -1
    while (now := sum(map(news, clients))) != before:
        before = now
        await asyncio.sleep(QUIET_SECONDS)


def news(client: Conversation) -> int:
    return sum(frame["type"] == "user-status-change" for frame in client.heard)


def user_of(client: Conversation) -> str:
    return str(client.welcome["userId"])


async def measure(stack: RunningStack, rounds: int, clients: int) -> None:
    # The choices first: those who arrive leave again, and are announced ten seconds later.
    chosen = await choices(stack, rounds)
    arrived = await arrivals(stack, rounds)
    told, joined = await broadcast(stack, clients)
    rows = [times.cells() for times in (*arrived, *chosen, told)]
    print_table("Latency on a local stack, GlobalPresence, no coalescing", HEADER, rows)
    print_note(
        f"{clients} clients connected and authenticated, one after the other, in {joined:.1f} s "
        f"({1000 * joined / clients:.0f} ms each, and every arrival is announced to all who are "
        "there)."
    )


def main() -> None:
    rounds, clients = (int(argument) for argument in (sys.argv[1:] or (ROUNDS, CLIENTS)))
    request = {"GlobalPresence": "true"}
    with TemporaryDirectory() as home, running_stack(Path(home), request) as stack:
        asyncio.run(measure(stack, rounds, clients))


if __name__ == "__main__":
    main()
