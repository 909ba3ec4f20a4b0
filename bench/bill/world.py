"""AWS around a build's functions, on a turned clock: API Gateway, the stream, queues, schedules.

What it does by itself is what AWS's documentation says of it; where that leaves room, the constants
below say what was taken. All times are milliseconds.
"""

import heapq
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from math import ceil
from typing import Any

import jwt

from bench.bill import counting
from bench.bill.days import MINUTE, SECOND, Act, Client
from bench.bill.endpoints import Message, Write
from bench.bill.events import (
    AGENT,
    HOST,
    Connection,
    Event,
    http_routes,
    is_wanted,
    rate,
    received,
    record,
    socket_event,
    type_of,
)
from bench.bill.functions import Clock, Functions
from bench.bill.stage import Stage
from bench.bill.template import Node

API, ISSUER, AUDIENCE = "https://api.example.com", "bench", "presence"

#: One way between a client and the region.
NETWORK = 30
# API Gateway, "Quotas for configuring and running a WebSocket API".
IDLE, LONGEST = 10 * MINUTE, 120 * MINUTE
#: Lambda asks a shard of a stream four times a second ("Lambda event source mappings").
STREAM_POLL = 250
#: From a message that is due to its function.
QUEUE_POLL = 50
#: Lambda's long polls of an idle queue: five at a time, 20 s each.
EMPTY_POLLS_A_MINUTE = 15
#: How often a message comes again before it is left alone, and a batch of a stream.
MOST_RECEIVES = 5

_OK, _NO_CONTENT, _GONE = 200, 204, 410


@dataclass
class Pending:
    """Stream records or messages that wait for their function."""

    waiting: list[Any] = field(default_factory=list)
    is_called: bool = False


class World:
    """One run: `play` a script, then read `functions.amounts`."""

    def __init__(self, functions: Functions, clock: Clock, secret: str, token_hours: float) -> None:
        self.functions, self.clock = functions, clock
        self._secret, self._token_hours = secret, token_hours
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._for_clients: list[Sequence[Any]] = []
        self._sockets: dict[int, Connection] = {}
        self._connections: dict[str, Connection] = {}
        self._cut_off: set[int] = set()
        self._pending: dict[str, Pending] = {}
        self._routes = list(http_routes(functions.template))
        self._tokens_from = clock.started_at // 1000 - 60
        self._done: Mapping[str, Callable[..., None]] = {
            "open": self._open,
            "send": self._send,
            "close": self._close,
            "fetch": self._fetch,
            "token": self._token,
            "problem": self._problem,
        }
        self._start_schedules()

    # ── time ───────────────────────────────────────────────────────────────────────────

    @property
    def now(self) -> int:
        return self.clock.now

    def after(self, milliseconds: float, run: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (self.now + round(milliseconds), next(self._order), run))

    def play(self, stage: Stage, people: Sequence[Client], acts: Sequence[Act], lasts: int) -> None:
        """Everything from now on, for so long; connections that are open then are counted."""
        start, end = self.now, self.now + lasts
        for it in people:
            self._for_clients.append(
                ("make", it.number, it.user_id, it.device.name, API, it.number + 1)
            )
        for at, client, name, what in acts:
            self.after(start + at - self.now, partial(self._act, client, name, what))
        while (at := self._next(stage)) <= end:
            self.clock.now = at
            self._run_due()
            self._step(stage)
        self.clock.now = end
        for connection in filter(lambda it: it.is_open, self._connections.values()):
            self._count_minutes(connection)

    def _run_due(self) -> None:
        while self._agenda and self._agenda[0][0] <= self.now:
            heapq.heappop(self._agenda)[2]()

    def _next(self, stage: Stage) -> int:
        due = self._agenda[0][0] if self._agenda else self.now
        # Timers of JavaScript may be due at a part of a millisecond.
        return max(self.now, due if stage.wake is None else min(due, ceil(stage.wake)))

    def _step(self, stage: Stage) -> None:
        events, self._for_clients = self._for_clients, []
        for kind, *what in stage.step(self.now, events):
            self._done[kind](*what)

    def _tell(self, delay: float, client: int, *event: Any) -> None:  # noqa: ANN401
        """Send a client something, unless it has no network then."""

        def arrive() -> None:
            if client not in self._cut_off:
                self._for_clients.append(event)

        self.after(delay, arrive)

    # ── people ─────────────────────────────────────────────────────────────────────────

    def _act(self, client: int, name: str, what: Sequence[Any]) -> None:
        if name in ("offline", "silent"):
            self._cut_off.add(client)
        elif name == "online":
            self._cut_off.discard(client)
        if name != "silent":
            self._for_clients.append(("act", client, name, *what))

    def _token(self, request: int, user_id: str) -> None:
        """From the back end of the application; it is not on this bill."""
        # PyJWT looks at the world's clock, which runs behind: `iat` stays where that is.
        expires = self.now // 1000 + round(self._token_hours * 3600) - 120
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": user_id, "iat": self._tokens_from}
        token = jwt.encode(
            {**claims, "exp": min(expires, self._tokens_from + 86_400)}, self._secret, "HS256"
        )
        self.after(2 * NETWORK, lambda: self._for_clients.append(("answer", request, token)))

    def _problem(self, _client: int, code: str, message: str) -> None:
        self.functions.add("problems", f"{code}: {message}", 1)

    # ── API Gateway, WebSocket ─────────────────────────────────────────────────────────

    def _open(self, socket: int, client: int, _url: str) -> None:
        if client not in self._cut_off:
            self.after(NETWORK, partial(self._connect, socket, client))

    def _connect(self, socket: int, client: int) -> None:
        name = f"L{next(self._order):09}HcCIhw="[:16]
        connection = Connection(name, socket, client, self.now, self.now)
        self._sockets[socket] = connection
        event = socket_event(self.now, connection, "$connect", "CONNECT")
        event["headers"] = {"Host": HOST, "Origin": "https://app.example.com", "User-Agent": AGENT}
        answer, took = self._invoke(self.functions.template.routes["$connect"], "$connect", event)
        if (answer or {}).get("statusCode") != _OK:
            self._tell(took + NETWORK, client, "closed", socket, 1006)
            return
        if connection.is_over:  # the client has given up meanwhile
            return
        connection.is_open = True
        self._connections[name] = connection
        self._tell(took + NETWORK, client, "opened", socket)
        self.after(IDLE, partial(self._look_idle, connection))
        self.after(LONGEST, partial(self._cut, connection, 1001))

    def _look_idle(self, connection: Connection) -> None:
        left = connection.used_at + IDLE - self.now
        if left > 0 and connection.is_open:
            self.after(left, partial(self._look_idle, connection))
        else:
            self._cut(connection, 1001)

    def _cut(self, connection: Connection, code: int) -> None:
        """API Gateway ends it."""
        if connection.is_open:
            self._tell(NETWORK, connection.client, "closed", connection.socket, code)
            self._disconnect(connection, code)

    def _disconnect(self, connection: Connection, code: int) -> None:
        connection.is_over = True
        if not connection.is_open:
            return
        connection.is_open = False
        self._count_minutes(connection)
        event = socket_event(self.now, connection, "$disconnect", "DISCONNECT")
        event["requestContext"] |= {"disconnectStatusCode": code, "disconnectReason": ""}
        function = self.functions.template.routes["$disconnect"]
        self.after(NETWORK, lambda: self._ignore(self._invoke(function, "$disconnect", event)))

    def _count_minutes(self, connection: Connection) -> None:
        lasted = self.now - connection.opened_at
        self.functions.add("minutes", "connections", counting.minutes(lasted))
        self.functions.add("connections", "opened", 1)

    def _send(self, socket: int, text: str) -> None:
        connection = self._sockets.get(socket)
        if connection is not None and connection.client not in self._cut_off:
            self.after(NETWORK, partial(self._message, connection, text))

    def _close(self, socket: int, code: int) -> None:
        connection = self._sockets.get(socket)
        if connection is not None and connection.client not in self._cut_off:
            self.after(NETWORK, partial(self._disconnect, connection, code))

    def _message(self, connection: Connection, text: str) -> None:
        if not connection.is_open:
            return
        connection.used_at = self.now
        action, route = self._route(text)
        asks = ": asks for an answer" if "id" in json.loads(text) else ""
        self._frame("in", f"{action}{asks}", text)
        event = socket_event(self.now, connection, route, "MESSAGE")
        event |= {"body": text, "isBase64Encoded": False}
        template = self.functions.template
        answer, took = self._invoke(template.routes[route], action, event)
        if route not in template.answering:
            return
        body = (answer or {}).get("body", "")
        if body:
            self._frame("out", f"{action}: {type_of(body)}", body)
            self._tell(took + NETWORK, connection.client, "frame", connection.socket, body)
        else:
            self.functions.add("empty_answers", action, 1)

    def _route(self, text: str) -> tuple[str, str]:
        """The action of a frame, and the route that API Gateway chooses for it."""
        action = str(json.loads(text).get("action", ""))
        routes = self.functions.template.routes
        return action, action if action in routes else "$default"

    def _frame(self, direction: str, kind: str, text: str) -> None:
        size = len(text.encode())
        self.functions.add(f"messages_{direction}", kind, counting.messages(size))
        self.functions.add(f"frames_{direction}", kind, 1)
        if direction == "out":
            self.functions.add("bytes_out", "frames", size)

    def on_post(self, method: str, connection_id: str, text: str) -> int:
        """The management API; called from its own thread while a function runs."""
        self.functions.posted = True
        connection = self._connections.get(connection_id)
        if connection is None or not connection.is_open:
            self.functions.add("posts_gone", method, 1)
            return _GONE
        if method == "DELETE":
            self.after(0, partial(self._cut, connection, 1000))
            return _NO_CONTENT
        connection.used_at = self.now
        self._frame("out", f"posts: {type_of(text)}", text)
        self._tell(NETWORK, connection.client, "frame", connection.socket, text)
        return _OK

    # ── API Gateway, HTTP ──────────────────────────────────────────────────────────────

    def _fetch(self, request: int, client: int, *asked: Any) -> None:  # noqa: ANN401  any JSON
        if client in self._cut_off:
            self.after(NETWORK, lambda: self._for_clients.append(("answer", request, None)))
            return
        self.after(NETWORK, partial(self._request, request, *asked))

    def _request(
        self, request: int, method: str, url: str, headers: Mapping[str, str], body: str | None
    ) -> None:
        raw, _, query = url.removeprefix(API).partition("?")
        route = next(it for it in self._routes if it.fits(method, raw))
        event = route.event(raw, query, headers, body, self.now)
        answer, took = self._invoke(route.function, route.key, event)
        text = (answer or {}).get("body") or ""
        size = len(text.encode()) + len((body or "").encode())
        self.functions.add("http", route.key, counting.http_requests(size))
        self.functions.add("bytes_out", "HTTP", len(text.encode()))
        access = self.functions.template.access_log
        self.functions.add(
            "log_bytes", f"{route.key}: access", counting.log_bytes([access]) if access else 0
        )
        told = {
            "status": (answer or {}).get("statusCode", 500),
            "headers": (answer or {}).get("headers", {}),
            "text": text,
        }
        self.after(took + NETWORK, lambda: self._for_clients.append(("answer", request, told)))

    # ── what follows of an invocation ──────────────────────────────────────────────────

    def _invoke(self, function: str, cause: str, event: Event) -> tuple[Any, int]:
        answer, took, called = self.functions.invoke(function, cause, event)
        for message in called.messages:
            delay = message.delay_seconds * SECOND + took
            self.after(delay, partial(self._due, message, 1))
        self._stream(called.writes)
        return answer, took

    @staticmethod
    def _ignore(_: object) -> None:
        """An answer that no one gets."""

    def _stream(self, writes: Sequence[Write]) -> None:
        for function in self.functions.template.functions.values():
            for number, source in enumerate(function.sources("DynamoDB")):
                pending = self._pending.setdefault(f"{function.name} {number}", Pending())
                changed = [record(it, self.now) for it in writes if it.table == source["Stream"]]
                pending.waiting += [it for it in changed if is_wanted(it, source)]
                self._call_soon(function.name, source, pending)

    def _call_soon(self, function: str, source: Node, pending: Pending) -> None:
        if pending.waiting and not pending.is_called:
            pending.is_called = True
            window = int(source.get("MaximumBatchingWindowInSeconds", 0)) * SECOND
            self.after(max(STREAM_POLL, window), partial(self._announce, function, source, pending))

    def _announce(self, function: str, source: Node, pending: Pending) -> None:
        """One batch. What it could not announce is not tried again: the day has failed."""
        pending.is_called = False
        size = int(source.get("BatchSize", 100))
        batch, pending.waiting = pending.waiting[:size], pending.waiting[size:]
        answer, _ = self._invoke(function, "stream", {"Records": batch})
        if answer and answer["batchItemFailures"]:
            self.functions.failures.append(f"stream: {answer}")
        self._call_soon(function, source, pending)

    def _due(self, message: Message, times: int) -> None:
        for function in self.functions.template.functions.values():
            for source in function.sources("SQS"):
                if source["Queue"] == message.queue:
                    pending = self._pending.setdefault(message.queue, Pending())
                    pending.waiting.append((message, times))
                    if not pending.is_called:
                        pending.is_called = True
                        self.after(
                            QUEUE_POLL, partial(self._receive, function.name, source, pending)
                        )

    def _receive(self, function: str, source: Node, pending: Pending) -> None:
        size = int(source.get("BatchSize", 10))
        batch, pending.waiting = pending.waiting[:size], pending.waiting[size:]
        pending.is_called = bool(pending.waiting)
        if pending.waiting:
            self.after(0, partial(self._receive, function, source, pending))
        queue = batch[0][0].queue
        bytes_in = sum(len(it.body.encode()) for it, _ in batch)
        self.functions.add("sqs", f"{queue}: receive", counting.sqs_requests(bytes_in))
        event = {"Records": [received(it, n, i, self.now) for i, (it, n) in enumerate(batch)]}
        answer, _ = self._invoke(function, queue, event)
        failed = {it["itemIdentifier"] for it in (answer or {}).get("batchItemFailures", [])}
        if len(failed) < len(batch):
            self.functions.add("sqs", f"{queue}: delete", 1)
        properties = self.functions.template.of_type("AWS::SQS::Queue")[queue]
        for number, (message, times) in enumerate(batch):
            if (answer is None or f"m{number}" in failed) and times < MOST_RECEIVES:
                hidden = int(properties.get("VisibilityTimeout", 30)) * SECOND
                self.after(hidden, partial(self._due, message, times + 1))

    # ── schedules ──────────────────────────────────────────────────────────────────────

    def _start_schedules(self) -> None:
        for function in self.functions.template.functions.values():
            for kind in ("Schedule", "ScheduleV2"):
                for source in function.sources(kind):
                    self.after(
                        MINUTE // 2,
                        partial(self._tick, function.name, rate(source["Schedule"])),
                    )
            for source in function.sources("SQS"):
                self.after(MINUTE, partial(self._poll, source["Queue"]))

    def _tick(self, function: str, every: int) -> None:
        self.after(every, partial(self._tick, function, every))
        event = {"version": "0", "detail-type": "Scheduled Event", "source": "aws.events"}
        self._invoke(function, "sweep", {**event, "detail": {}})

    def _poll(self, queue: str) -> None:
        self.after(MINUTE, partial(self._poll, queue))
        self.functions.add("sqs", f"polls: {queue}", EMPTY_POLLS_A_MINUTE)
