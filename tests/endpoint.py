"""Stands for an endpoint of AWS on this machine: real clients talk to it, tests say its lines."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: Long enough for every client here to have stopped waiting.
PATIENCE_SECONDS = 10


@dataclass(frozen=True)
class Answer:
    """One answer. `is_silent` sends nothing; `closes` closes the connection instead."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    is_silent: bool = False
    closes: bool = False


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    body: bytes
    authorization: str


@dataclass
class Endpoint:
    """`answers` are by the last part of a path; to everything else it says `otherwise`."""

    url: str = ""
    otherwise: Answer = field(default_factory=Answer)
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    def do_POST(self) -> None:
        endpoint = self.server.endpoint
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        authorization = self.headers.get("Authorization", "")
        endpoint.asked.append(Asked(self.command, self.path, body, authorization))
        answer = endpoint.answers.get(self.path.rpartition("/")[2], endpoint.otherwise)
        if answer.is_silent:
            endpoint.is_over.wait(PATIENCE_SECONDS)
        if not (answer.is_silent or answer.closes):
            self._say(answer)

    do_DELETE = do_POST  # noqa: N815

    def _say(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


class _Server(ThreadingHTTPServer):
    request_queue_size = 64

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.endpoint = endpoint
        endpoint.url = f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(endpoint: Endpoint) -> Iterator[Endpoint]:
    """It is over when this is left."""
    with _Server(endpoint) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield endpoint
        finally:
            endpoint.is_over.set()
            server.shutdown()
            thread.join()
