"""A small API Gateway with a small Presence behind it, on loopback, for the drivers of bench.aws.

It says what it is told to say about the unknowns: whether an answer without a body is an empty
frame, what is billed, what the idle timer and `lastActiveAt` look at.
"""

import asyncio
import json
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from time import time
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from bench.aws.cloud import Cloud, Metric, Report
from bench.aws.ledger import Ledger
from bench.aws.target import Target
from tests.sink import Certificate


@dataclass(frozen=True)
class Nature:
    """How this AWS is.

    Attributes:
        empty: an answer without a body is a frame.
        billed: what MessageCount has beside frames with a payload: `empty`, `get`, `ping`.
        idle: seconds until a silent socket is closed.
        resets: what the idle timer and `lastActiveAt` look at beside frames: `ping`, `post`.
        has_metrics: CloudWatch knows the API.
        throttle: GET @connections beyond so many is answered 429.
    """

    empty: bool = False
    billed: frozenset[str] = frozenset()
    idle: float = 1000.0
    resets: frozenset[str] = frozenset()
    has_metrics: bool = True
    throttle: float = float("inf")


@dataclass
class Line:
    """One open connection."""

    name: str
    socket: ServerConnection
    active: float
    user_id: str = ""
    watched: set[str] = field(default_factory=set)


@dataclass
class FakeGateway:
    nature: Nature
    web_socket_url: str = ""
    callback_url: str = ""
    lines: dict[str, Line] = field(default_factory=dict)
    #: When what was counted as a message, and when a socket was opened.
    messages: list[float] = field(default_factory=list)
    connects: list[float] = field(default_factory=list)
    asked: int = 0
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _names: "count[int]" = field(default_factory=count)

    def target(self, **fields: Any) -> Target:
        said: dict[str, Any] = {
            "web_socket_url": self.web_socket_url,
            "callback_url": self.callback_url,
            "endpoint_url": self.callback_url,
            "api_id": "fake",
            "token": lambda user_id: user_id,
            "parameters": {"GraceSeconds": "0"},
            "region": "us-east-1",
            "keys": ("test", "test"),
        }
        return Target(**(said | fields))

    def cloud(self, target: Target, ledger: Ledger) -> Cloud:
        return FakeCloud(self, target, ledger)

    # ── the socket ─────────────────────────────────────────────────────────────────────────

    async def serve(self, socket: ServerConnection) -> None:
        line = Line(f"c{next(self._names)}", socket, time())
        self.lines[line.name] = line
        self.connects.append(time())
        self._listen_for_pings(line)
        timer = asyncio.create_task(self._idle(line))
        with suppress(ConnectionClosed):
            async for text in socket:
                line.active = time()
                self.messages.append(time())
                await self._answer(line, json.loads(text))
        timer.cancel()
        await self._disconnected(line)

    async def _answer(self, line: Line, frame: dict[str, Any]) -> None:
        answer = await self._served(line, frame)
        if "id" in frame:
            await self._tell(line, json.dumps({"id": frame["id"], **answer}))
        elif self.nature.empty:
            if "empty" in self.nature.billed:
                self.messages.append(time())
            await line.socket.send("")

    async def _served(self, line: Line, frame: dict[str, Any]) -> dict[str, Any]:
        if frame["action"] == "authenticate":
            line.user_id = frame["token"]
            times = {"leaseSeconds": 900, "heartbeatSeconds": self.nature.idle / 3}
            return {"type": "authentication-success", "connectionId": line.name, **times}
        if frame["action"] == "watch":
            line.watched |= {*frame["userIds"]}
        if frame["action"] == "status":
            await self._announce(line.user_id, frame["status"])
        return {"type": "ack"}

    async def _tell(self, line: Line, text: str) -> None:
        with suppress(ConnectionClosed):
            await line.socket.send(text)
            self.messages.append(time())

    async def _announce(self, user_id: str, status: str) -> None:
        change = {"userId": user_id, "status": status, "version": int(time() * 1000)}
        for line in [it for it in self.lines.values() if user_id in it.watched]:
            frame = {"type": "user-status-change", "changes": [change]}
            await self._tell(line, json.dumps(frame))

    async def _idle(self, line: Line) -> None:
        while (left := line.active + self.nature.idle - time()) > 0:  # noqa: ASYNC110  a timer
            await asyncio.sleep(left)
        await line.socket.close(1001)

    async def _disconnected(self, line: Line) -> None:
        del self.lines[line.name]
        await self._announce(line.user_id, "offline")

    def _listen_for_pings(self, line: Line) -> None:
        """websockets answers a ping by itself, and says nothing of it."""
        hear = line.socket.protocol.recv_frame

        def recv_frame(frame: Frame) -> None:
            if frame.opcode is Opcode.PING:
                self._happened(line, "ping")
            hear(frame)

        line.socket.protocol.recv_frame = recv_frame  # type: ignore[method-assign]

    def _happened(self, line: Line, kind: str) -> None:
        if kind in self.nature.billed:
            self.messages.append(time())
        if kind in self.nature.resets:
            line.active = time()

    # ── the management API ─────────────────────────────────────────────────────────────────

    def managed(self, method: str, name: str, body: bytes) -> tuple[int, bytes]:
        """Called from the threads of the HTTP server."""
        self.asked += 1
        line = self.lines.get(name)
        if line is None:
            return 410, b"{}"
        if method == "GET":
            return self._looked(line)
        self._happened(line, "post")
        asyncio.run_coroutine_threadsafe(self._tell(line, body.decode()), self.loop).result(5)
        return 200, b""

    def _looked(self, line: Line) -> tuple[int, bytes]:
        if self.asked > self.nature.throttle:
            return 429, b"{}"
        active = datetime.fromtimestamp(line.active, UTC).isoformat()
        self._happened(line, "get")
        return 200, json.dumps({"lastActiveAt": active}).encode()


class FakeCloud(Cloud):
    """The real management client; metrics, logs and routes are what the fake knows of itself."""

    def __init__(self, gateway: FakeGateway, target: Target, ledger: Ledger) -> None:
        super().__init__(target, ledger)
        self._fake = gateway

    async def metric(self, name: Metric, start: float, end: float) -> float | None:
        found = self._fake.messages if name == "MessageCount" else self._fake.connects
        points = [it for it in found if start <= it < end]
        return len(points) or None if self._fake.nature.has_metrics else None

    async def answering(self) -> frozenset[str] | None:
        return frozenset({"unwatch", "ping"} if self._fake.nature.empty else {"unwatch"})

    async def durations(self, start: float, end: float) -> tuple[float, float] | None:
        del start, end
        return (9.0, 400.0) if self._fake.nature.has_metrics else None

    async def reports(self, start: float, end: float) -> list[Report]:
        del end
        return [Report(start, 8.0, 8.0)] if self._fake.nature.has_metrics else []


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = self.path.rpartition("/")[2]
        status, said = self.server.gateway.managed(self.command, name, body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 64
    daemon_threads = True

    def __init__(self, gateway: FakeGateway) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.gateway = gateway


@asynccontextmanager
async def gateway(
    nature: Nature, certificate: Certificate | None = None
) -> AsyncIterator[FakeGateway]:
    """It serves as long as the block lasts; with a certificate, the socket is over TLS."""
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
    fake = FakeGateway(nature)
    with _Server(fake) as http:
        fake.callback_url = f"http://127.0.0.1:{http.server_port}/live"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        try:
            server = serve(
                fake.serve, "127.0.0.1", 0, ssl=context, ping_interval=None, close_timeout=0.2
            )
            async with server as listening:
                port = next(iter(listening.sockets)).getsockname()[1]
                scheme = "wss" if context else "ws"
                fake.web_socket_url = f"{scheme}://localhost:{port}/live"
                yield fake
        finally:
            http.shutdown()
            thread.join()
