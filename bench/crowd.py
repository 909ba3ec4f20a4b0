"""Very many clients in one chat session, all of which change: does every client end up right?

    python -m bench.crowd [clients] [changes a second] [seconds] [CoalesceSeconds]

On a local stack of its own, deployed from the template. Everything shares this machine, so the
times are an upper bound of what the code adds. The local AWS is one process: 1,000 clients take it
minutes to let in, and 20 changes a second among them are more than it posts on two cores, so that
frames wait in front of the functions. Prints how long a change took to each client, from being
written (which its version says, to a millisecond) and from being sent, and what every client
believes when all is quiet against what the server says.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bench.printing import print_note, print_table
from tests.stack import RunningStack, running_stack

CLIENTS, RATE, SECONDS, COALESCE = 200, 10, 30, 1
SESSION = "crowd"
#: The default of the template.
LARGE = 1_000
#: As rarely as the template allows: here the crowd's heartbeats would keep the local AWS busy.
HEARTBEAT_SECONDS, AUTHENTICATION_SECONDS = 300, 60
AT_ONCE = 8
QUIET_SECONDS = 15
PATIENCE = 120.0
PAGE = 100


@dataclass
class Client:
    """One user's connection, made again when it ends, and the newest presence of each user."""

    user_id: str
    stack: RunningStack
    socket: ClientConnection | None = None
    is_here: asyncio.Event = field(default_factory=asyncio.Event)
    versions: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)

    async def ask(self, **frame: object) -> None:
        while True:
            await self.is_here.wait()
            try:
                await self._send(frame)
            except ConnectionClosed:
                self.is_here.clear()
            else:
                return

    async def _send(self, frame: dict[str, object]) -> None:
        if self.socket is not None:
            await self.socket.send(json.dumps(frame))

    async def come(self) -> None:
        """Connect, authenticate and join, as often as it takes."""
        while not self.is_here.is_set():
            with suppress(ConnectionClosed, TimeoutError):  # not served: the local AWS is busy
                await self._come()

    async def _come(self) -> None:
        self.socket = await connect(
            self.stack.url, open_timeout=PATIENCE, ping_interval=None, max_queue=None
        )
        token = self.stack.token(self.user_id)
        await self._send({"action": "authenticate", "token": token})
        await until(self.socket, "authentication-success")
        await self._send({"action": "join", "chatSessionId": SESSION})
        await until(self.socket, "chat-session-joined")
        self.is_here.set()

    async def catch_up(self) -> None:
        """Read the presence of all users whose changes were missed."""
        cursor: str | None = ""
        while cursor is not None:
            query = f"?limit={PAGE}" + (f"&cursor={cursor}" if cursor else "")
            route = f"GET /chat-sessions/{SESSION}/members{query}"
            page = await asyncio.to_thread(asked, self.stack, route, user_id=self.user_id)
            for presence in page["members"]:
                self.take(presence)
            cursor = page["cursor"]

    def take(self, presence: dict[str, Any]) -> bool:
        user_id, version = presence["userId"], presence["version"]
        if version <= self.versions.get(user_id, -1):
            return False
        self.versions[user_id] = version
        self.statuses[user_id] = f"{presence['status']} {presence.get('text')}"
        return True


@dataclass
class Crowd:
    """All clients, what was changed when, and how long it took to each of them."""

    clients: list[Client] = field(default_factory=list)
    changed_at: dict[str, float] = field(default_factory=dict)
    #: From being sent, and from being written, until it was heard.
    sent: list[float] = field(default_factory=list)
    written: list[float] = field(default_factory=list)
    frames: int = 0
    drops: int = 0
    heard_at: float = 0.0

    async def listen(self, client: Client) -> None:
        while client.socket is not None:
            await self._read(client, client.socket)
            client.is_here.clear()
            self.drops += 1
            await client.come()
            await client.catch_up()

    async def _read(self, client: Client, socket: ClientConnection) -> None:
        async for text in socket:
            now = time.perf_counter()
            frame = json.loads(text or '{"type": ""}')
            self.heard_at = now
            if frame["type"] == "user-status-change":
                self.frames += 1
                self._hear(client, frame["changes"], now)
            for presence in frame.get("joined", ()):
                client.take(presence)

    def _hear(self, client: Client, changes: Sequence[dict[str, Any]], now: float) -> None:
        for presence in changes:
            if client.take(presence) and presence.get("text") in self.changed_at:
                self.sent.append(now - self.changed_at[presence["text"]])
                self.written.append(time.time() - presence["version"] / 1000)


@asynccontextmanager
async def gathered(stack: RunningStack, size: int) -> AsyncIterator[Crowd]:
    """So many users in one session, each listening and keeping its lease."""
    crowd = Crowd()
    async with asyncio.TaskGroup() as tasks:
        gate = asyncio.Semaphore(AT_ONCE)

        async def come(number: int) -> None:
            async with gate:
                client = Client(f"crowd-{number:04d}", stack)
                await client.come()
                crowd.clients.append(client)
                # At once: the others may take longer to come than a lease lasts.
                work.append(tasks.create_task(crowd.listen(client)))
                work.append(tasks.create_task(beat(client)))

        work: list[asyncio.Task[None]] = []
        await asyncio.gather(*(come(number) for number in range(size)))
        yield crowd
        for task in work:
            task.cancel()
    await asyncio.gather(*(it.socket.close() for it in crowd.clients if it.socket))


async def until(socket: ClientConnection, kind: str) -> None:
    async with asyncio.timeout(PATIENCE):
        # The local AWS answers for a function that it had no time for with an empty frame.
        while kind not in await socket.recv():
            pass


async def beat(client: Client) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS - 5)
        await client.ask(action="check")


async def change(crowd: Crowd, rate: int, seconds: int) -> None:
    """Every client in turn says something new, so many a second in all."""
    started = time.perf_counter()
    for number in count():
        due = started + number / rate
        if due > started + seconds:
            return
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        client = crowd.clients[number % len(crowd.clients)]
        text = f"change {number}"
        crowd.changed_at[text] = time.perf_counter()
        await client.ask(action="status", status="busy", text=text)


async def quiet(crowd: Crowd) -> None:
    """Until no client has heard anything for a while."""
    while time.perf_counter() < crowd.heard_at + QUIET_SECONDS:  # noqa: ASYNC110  no event to wait for
        await asyncio.sleep(1)


def wrong(stack: RunningStack, crowd: Crowd) -> int:
    """How many beliefs differ from what the server says, over all clients and changed users."""
    names = sorted({it.user_id for it in crowd.clients if f"{it.user_id}" in changed_users(crowd)})
    truth: dict[str, str] = {}
    for start in range(0, len(names), PAGE):
        body = {"userIds": names[start : start + PAGE]}
        for it in asked(stack, "POST /batch", user_id="reader", body=body)["users"]:
            truth[it["userId"]] = f"{it['status']} {it.get('text')}"
    return sum(
        client.statuses.get(user_id) != status
        for client in crowd.clients
        for user_id, status in truth.items()
    )


def asked(stack: RunningStack, route: str, *, user_id: str, body: object = None) -> dict[str, Any]:
    """What HTTP answers, however long the local AWS has no time for it."""
    while True:
        with suppress(httpx.TransportError):
            answer = stack.call(route, user_id=user_id, body=body, within=PATIENCE)
            if answer.status == HTTPStatus.OK:
                return dict(answer.json)
        time.sleep(1)


def say(what: str) -> None:
    """It takes minutes."""
    sys.stderr.write(f"{time.strftime('%X')} {what}\n")


def percentiles(seconds: Sequence[float]) -> Sequence[str]:
    """Median, 95th and 99th percentile, in milliseconds."""
    found = sorted(seconds)
    return [f"{1000 * found[len(found) * part // 100]:,.0f}" for part in (50, 95, 99)]


def changed_users(crowd: Crowd) -> set[str]:
    made = min(len(crowd.changed_at), len(crowd.clients))
    return {client.user_id for client in crowd.clients[:made]}


def switch_announcing(stack: RunningStack, *, is_on: bool) -> None:
    """While it is off the stream keeps what happened; then it comes in whole batches."""
    functions = stack.aws("lambda")
    name = stack.told["functions"]["AnnounceFunction"]
    for mapping in functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=is_on)


async def measure(stack: RunningStack, clients: int, rate: int, seconds: int) -> None:
    started = time.perf_counter()
    # What is measured is a crowd that is there; to tell its coming takes the local AWS minutes.
    switch_announcing(stack, is_on=False)
    async with gathered(stack, clients) as crowd:
        joined = time.perf_counter() - started
        say(f"{clients} clients are there after {joined:.0f} s")
        switch_announcing(stack, is_on=True)
        crowd.heard_at = time.perf_counter()
        await quiet(crowd)
        say("they have heard of each other")
        before = crowd.frames
        await change(crowd, rate, seconds)
        say(f"{len(crowd.changed_at)} changes are made")
        await quiet(crowd)
        faults = await asyncio.to_thread(wrong, stack, crowd)
        counts = (len(crowd.changed_at), len(crowd.sent), crowd.frames - before, crowd.drops)
    print_table(
        f"{clients} clients in one session, {rate} changes a second for {seconds} s",
        ("changes", "heard", "frames", "drops", "wrong"),
        [tuple(f"{count:,}" for count in (*counts, faults))],
    )
    report_delays(crowd)
    print_note(
        f"{clients} clients were there after {joined:.1f} s. Drops: connections that ended and "
        "were made again. Wrong: what clients believe at the end of those who changed that is "
        "not what HTTP says."
    )


def report_delays(crowd: Crowd) -> None:
    print_table(
        "Until a client has a change, in milliseconds",
        ("from being", "median", "p95", "p99"),
        [("written", *percentiles(crowd.written)), ("sent", *percentiles(crowd.sent))],
    )


def main() -> None:
    given = [int(argument) for argument in sys.argv[1:]]
    clients, rate, seconds, coalesce = (
        *given,
        *(CLIENTS, RATE, SECONDS, COALESCE)[len(given) :],
    )
    # In a large room no client hears every change, which is what is measured.
    request = {
        "GlobalPresence": "false",
        "CoalesceSeconds": coalesce,
        "LargeAudience": max(LARGE, clients),
        "HeartbeatSeconds": HEARTBEAT_SECONDS,
        "AuthenticationSeconds": AUTHENTICATION_SECONDS,
    }
    with TemporaryDirectory() as home, running_stack(Path(home), request) as stack:
        asyncio.run(measure(stack, clients, rate, seconds))


if __name__ == "__main__":
    main()
