"""The endpoints that a build's functions talk to: DynamoDB, SQS, SSM, and the management API.

botocore hands each request to `Endpoints.serve` instead of a network; posts come over a socket of
this machine, because a build may make them without botocore.
"""

import io
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import unquote

import botocore
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError
from botocore.session import Session

from bench.bill.counting import sqs_requests
from bench.units import READS, TABLES, Item, Units, read, targets, written
from tests.tables import Tables

Body: TypeAlias = dict[str, Any]

_OK, _REFUSED, _GONE = 200, 400, 410


class UnknownService(Exception):
    """A function called a service of AWS that the meter cannot count."""


@dataclass(frozen=True, slots=True)
class Write:
    """An item before and after, for a table's stream; None is no item."""

    table: str
    before: Item | None
    after: Item | None


@dataclass(frozen=True, slots=True)
class Message:
    """What was sent to a queue."""

    queue: str
    body: str
    delay_seconds: int


@dataclass
class Called:
    """What one invocation asked for.

    Attributes:
        dynamodb, sqs: round trips.
        queue_requests: what SQS bills for those.
        cpu: seconds of this thread that were the endpoints' own.
    """

    units: Units = field(default_factory=Units)
    dynamodb: int = 0
    sqs: int = 0
    queue_requests: int = 0
    cpu: float = 0.0
    writes: list[Write] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)


class _Raw(io.BytesIO):
    """A body as urllib3 gives it to botocore."""

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield self.read()


@dataclass
class Endpoints:
    """What is stored, and what was asked for since `called` was made."""

    secret: str
    tables: Tables = field(default_factory=Tables)
    called: Called = field(default_factory=Called)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Serve every client of every botocore session that is made in the block."""
        botocore.register_initializer(self._register)
        try:
            yield
        finally:
            botocore.unregister_initializer(self._register)

    def _register(self, session: Session) -> None:
        session.register("before-send", self._serve)

    def _serve(self, request: AWSPreparedRequest, event_name: str, **_: object) -> object:
        started = time.thread_time()
        service, operation = event_name.split(".")[1:]
        if service == "apigatewaymanagementapi":
            return None  # to its own address
        body = json.loads(request.body)
        status, answer = self._answer(service, operation, body)
        text = json.dumps(answer).encode()
        headers = {"content-type": "application/x-amz-json-1.0", "content-length": str(len(text))}
        self.called.cpu += time.thread_time() - started
        return AWSResponse(request.url, status, headers, _Raw(text))

    def _answer(self, service: str, operation: str, body: Body) -> tuple[int, Body]:
        match service:
            case "dynamodb":
                return self._dynamodb(operation, body)
            case "sqs":
                return _OK, self._sqs(operation, body)
            case "ssm":
                value = {"Name": body["Name"], "Type": "SecureString", "Value": self.secret}
                return _OK, {"Parameter": value}
        raise UnknownService(f"{service}:{operation}: count it in bench/bill/endpoints.py.")

    # ── DynamoDB ───────────────────────────────────────────────────────────────────────

    def _dynamodb(self, operation: str, body: Body) -> tuple[int, Body]:
        self.called.dynamodb += 1
        wanted = list(targets(operation, body))
        before = [self._item(*it) for it in wanted]
        status, answer = _OK, {}
        try:
            answer = self.tables._make_api_call(operation, body)  # noqa: SLF001  botocore's name
        except ClientError as error:
            status, answer = _REFUSED, _refusal(error)
        if operation in READS:
            self.called.units += read(operation, body, answer)
            return status, answer
        after = [self._item(*it) for it in wanted]
        self.called.units += written(operation, wanted, before, after)
        self.called.writes += [
            Write(table, old, new)
            for (table, _), old, new in zip(wanted, before, after, strict=True)
            if old != new
        ]
        return status, answer

    def _item(self, table: str, key: Mapping[str, Any]) -> Item | None:
        plain = tuple(next(iter(key[name].values())) for name in TABLES[table].key)
        return self.tables.items[table].get(plain)

    # ── SQS ────────────────────────────────────────────────────────────────────────────

    def _sqs(self, operation: str, body: Body) -> Body:
        entries = [body] if operation == "SendMessage" else body["Entries"]
        self.called.sqs += 1
        size = sum(len(it["MessageBody"].encode()) for it in entries)
        self.called.queue_requests += sqs_requests(size)
        for it in entries:
            delay = int(it.get("DelaySeconds", 0))
            self.called.messages.append(Message(_queue(body), it["MessageBody"], delay))
        if operation == "SendMessage":
            return {"MessageId": "1"}
        return {"Successful": [{"Id": it["Id"], "MessageId": "1"} for it in entries], "Failed": []}


def _queue(body: Body) -> str:
    return str(body["QueueUrl"]).rpartition("/")[2]


def _refusal(error: ClientError) -> Body:
    response: Body = dict(error.response)
    told = response.pop("Error")
    response.pop("ResponseMetadata", None)
    name = f"com.amazonaws.dynamodb.v20120810#{told['Code']}"
    return {"__type": name, "message": told["Message"], **response}


# ── the management API ─────────────────────────────────────────────────────────────────────

#: Takes the method, the connection id and the text of a request; returns the status.
OnPost: TypeAlias = Callable[[str, str, str], int]


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, on_post: OnPost) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.on_post = on_post


class _Handler(socketserver.BaseRequestHandler):
    """As little of HTTP/1.1 as a post needs: there are a hundred thousand of them in a day."""

    server: _Server

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        heard = b""
        while chunk := self.request.recv(256 * 1024):
            heard += chunk
            while (end := _end(heard)) is not None:
                self._serve(*heard[:end].split(b"\r\n\r\n", 1))
                heard = heard[end:]

    def _serve(self, head: bytes, body: bytes) -> None:
        method, path, _ = head.split(b" ", 2)
        connection_id = unquote(path.decode().rpartition("/")[2])
        status = self.server.on_post(method.decode(), connection_id, body.decode())
        self.request.sendall(
            _GONE_ANSWER if status == _GONE else b"HTTP/1.1 %d OK%s" % (status, _NO_BODY)
        )


_NO_BODY = b"\r\nContent-Length: 0\r\n\r\n"
_TAKEN = b"HTTP/1.1 200 OK" + _NO_BODY
_GONE_ANSWER = b"HTTP/1.1 410 Gone\r\nx-amzn-ErrorType: GoneException" + _NO_BODY


def _end(heard: bytes) -> int | None:
    """Where the first request in these bytes ends; None if it is not whole."""
    head, found, body = heard.partition(b"\r\n\r\n")
    told = head.lower().partition(b"content-length:")[2].partition(b"\r")[0]
    size = int(told or 0)
    return len(head) + len(found) + size if found and len(body) >= size else None


@contextmanager
def management_api(on_post: OnPost) -> Iterator[str]:
    """Its address, as long as API Gateway's own: items hold it, and are billed by their size."""
    with _Server(on_post) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        real = "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/live"
        yield f"{address}/{'x' * (len(real) - len(address) - len('//live'))}/live"
        server.shutdown()
