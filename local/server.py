"""The development server: the demo page, development tokens, and a way through to the HTTP API.

It listens on the loopback interface only and answers only to the names of that interface, so that
no web page can reach it under a name of its own (DNS rebinding). Pages on other ports of this
machine may use the API and ask for tokens; pages from elsewhere may not.
"""

from __future__ import annotations

import http.client
import json
import mimetypes
import re
import socket
import sys
import threading
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from local.stack import StackError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

# ── origins: who may ask the server ──────────────────────────────────────────────────────────────


_HOST = re.compile(r"(localhost|127\.0\.0\.1)(:\d{1,5})?", re.ASCII | re.IGNORECASE)
_PAGE = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.ASCII)
_SHARED = ("/api/", "/dev/token")


def is_ours(host: str | None) -> bool:
    """Tell whether a Host header names the loopback interface."""
    return host is not None and _HOST.fullmatch(host) is not None


def is_shared(path: str) -> bool:
    """Tell whether pages of other origins on this machine may ask for a path."""
    return path.startswith(_SHARED[0]) or path == _SHARED[1]


def may_ask(origin: str | None) -> bool:
    """Tell whether a request with this Origin may be answered where pages share.

    A page on another port of this machine may: it is what its developer is writing. No page from
    elsewhere may, nor a file or a sandbox (`null`). No Origin is the page's own, or no browser.
    """
    return origin is None or _PAGE.fullmatch(origin) is not None


def cors(origin: str | None) -> dict[str, str]:
    """Return what an answer carries so that the page of this origin may read it."""
    if origin is None or not may_ask(origin):
        return {"Vary": "Origin"}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "etag, retry-after",
        "Vary": "Origin",
    }


#: What a preflight is told besides; the methods and headers are those of template.yaml.
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": "authorization, content-type, if-none-match",
    "Access-Control-Max-Age": "600",
}


PAGES = Path(__file__).resolve().parent / "demo"
_CONFIG = "/api/user-status/config"
_LARGEST_BODY = 1 << 20
_API_SECONDS = 35.0
# How long the server may take to notice that it is to stop.
_POLL_SECONDS = 0.05
# What concerns one connection and not the request (RFC 9110 §7.6.1), and what we set ourselves.
_OF_ONE_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te"),
        *("trailer", "transfer-encoding", "upgrade", "host", "content-length", "date", "server"),
    }
)


class Refused(Exception):
    """A request that is answered with an error of ours."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        """Keep the parts of the answer."""
        super().__init__(message)
        self.status = status
        self.body = {"error": {"code": code, "message": message}}


class DevelopmentServer(ThreadingHTTPServer):
    """Serves one local stack.

    Args:
        port: where to listen on 127.0.0.1.
        told: what stack.json says.
        mint: makes a development token of a user id, a scope and a life in seconds.
        stored: returns what is stored about some users, or about all if none is named.
    """

    daemon_threads = True

    def __init__(
        self,
        port: int,
        told: Mapping[str, Any],
        mint: Callable[[str, str | None, int | None], str],
        stored: Callable[[Sequence[str]], Mapping[str, Any]],
    ) -> None:
        """Bind the port; `serve` answers."""
        self.told = told
        self.mint = mint
        self.stored = stored
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def server_close(self) -> None:
        """Stop listening, and answer no more on connections that browsers keep open either."""
        super().server_close()
        for connection in tuple(self.connections):
            with suppress(OSError):  # it has ended by itself
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Say what went wrong; that a browser has gone is nothing of that kind."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serving(server: DevelopmentServer) -> Iterator[None]:
    """Answer requests in the background as long as the block lasts."""
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def page(path: str, root: Path = PAGES) -> Path | None:
    """Return the file that a path names, or None: no file, or not below the root."""
    name = unquote(path).lstrip("/") or "index.html"
    if "\0" in name:
        return None
    file = (root / name).resolve()
    return file if file.is_relative_to(root) and file.is_file() else None


def token_request(body: bytes) -> tuple[str, str | None, int | None]:
    """Read the body of POST /dev/token.

    Raises:
        Refused: it is not `{"userId": …, "scope"?: …, "ttl"?: seconds}`.
    """
    try:
        wanted = json.loads(body)
        user_id, scope, ttl = wanted["userId"], wanted.get("scope"), wanted.get("ttl")
    except (ValueError, TypeError, KeyError, AttributeError):
        user_id, scope, ttl = None, None, None
    if not (
        isinstance(user_id, str) and isinstance(scope, str | None) and isinstance(ttl, int | None)
    ):
        message = 'Send {"userId": "ada"}, and if you like "scope" (a string) and "ttl" (seconds).'
        raise Refused(HTTPStatus.BAD_REQUEST, "invalid-message", message)
    return user_id, scope, ttl


def with_token_url(config: bytes, host: str) -> bytes:
    """Return the answer of `GET …/config` with where a development token is to be had.

    Only this server adds it: a deployed stack makes no tokens.
    """
    told = json.loads(config) | {"developmentTokenUrl": f"http://{host}/dev/token"}
    return json.dumps(told, separators=(",", ":")).encode()


def security_headers(told: Mapping[str, Any]) -> dict[str, str]:
    """Return what every answer carries: the page may reach this stack and nothing else."""
    socket = urlsplit(str(told["webSocketUrl"]))
    connect = f"'self' {socket.scheme}://{socket.netloc}"
    return {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            f"font-src 'self'; connect-src {connect}; frame-src 'self'; frame-ancestors 'self'; "
            "base-uri 'none'; form-action 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


def _relayed(answer: http.client.HTTPResponse) -> list[tuple[str, str]]:
    """Return the headers that go on to the caller. CORS is ours: two answers would be none."""
    return [
        (name, value)
        for name, value in answer.getheaders()
        if name.lower() not in _OF_ONE_HOP
        and not name.lower().startswith("access-control-")
        and (name.lower(), value.lower()) != ("vary", "origin")
    ]


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    server: DevelopmentServer
    protocol_version = "HTTP/1.1"
    server_version = "presence-local"
    sys_version = ""

    def setup(self) -> None:
        """Begin with a connection."""
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        """Be done with it."""
        super().finish()
        self.server.connections.discard(self.connection)

    def do_GET(self) -> None:
        """Answer with a page, what this server knows, or from the HTTP API."""
        self._answer(self._get)

    def do_HEAD(self) -> None:
        """Answer like GET, without a body."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Answer with a token or from the HTTP API."""
        self._answer(self._post)

    def do_PUT(self) -> None:
        """Answer from the HTTP API."""
        self._answer(self._pass_on)

    do_DELETE = do_PATCH = do_PUT  # noqa: N815

    def do_OPTIONS(self) -> None:
        """Tell a browser what a page of another origin may send."""
        self._answer(self._preflight)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the page shows its own traffic."""

    def _answer(self, handle: Callable[[], None]) -> None:
        try:
            self._require_our_name()
            self._require_page_of_this_machine()
            handle()
        except Refused as refused:
            self.close_connection = True  # the body may not have been read
            self._send_json(refused.status, refused.body)

    def _require_our_name(self) -> None:
        if not is_ours(self.headers.get("Host")):
            message = "This server answers to localhost only."
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "forbidden", message)

    def _require_page_of_this_machine(self) -> None:
        if is_shared(self._path) and not may_ask(self.headers.get("Origin")):
            message = "Only pages of this machine may ask."
            raise Refused(HTTPStatus.FORBIDDEN, "forbidden", message)

    def _require_own_page(self) -> None:
        if self.headers.get("Origin") not in {None, f"http://{self.headers['Host']}"}:
            message = "Only a page of this server may ask."
            raise Refused(HTTPStatus.FORBIDDEN, "forbidden", message)

    @property
    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _get(self) -> None:
        path = self._path
        if path.startswith("/api/"):
            self._pass_on()
        elif path == "/dev/stack":
            self._send_json(HTTPStatus.OK, self.server.told)
        elif path == "/dev/tables":
            self._send_tables()
        else:
            self._send_page(path)

    def _post(self) -> None:
        if self._path == "/dev/token":
            self._send_token()
        else:
            self._pass_on()

    def _preflight(self) -> None:
        if not is_shared(self._path):
            raise Refused(HTTPStatus.NOT_FOUND, "not-found", "There is no such page.")
        self.send_response(HTTPStatus.NO_CONTENT)
        for name, value in (cors(self.headers.get("Origin")) | PREFLIGHT).items():
            self.send_header(name, value)
        self.end_headers()

    def _send_tables(self) -> None:
        self._require_own_page()
        users = parse_qs(self.path.partition("?")[2]).get("user", [])
        try:
            self._send_json(HTTPStatus.OK, self.server.stored(users))
        except StackError as error:
            raise Refused(HTTPStatus.BAD_GATEWAY, "unavailable", str(error)) from error

    def _send_token(self) -> None:
        # A page from elsewhere cannot send this type without asking first, which is refused.
        if self.headers.get_content_type() != "application/json":
            message = "Send application/json."
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "invalid-message", message)
        wanted = token_request(self._body())
        try:
            token = self.server.mint(*wanted)
        except ValueError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, "invalid-message", str(error)) from error
        self._send_json(HTTPStatus.OK, {"token": token})

    def _send_page(self, path: str) -> None:
        file = page(path)
        if file is None:
            raise Refused(HTTPStatus.NOT_FOUND, "not-found", "There is no such page.")
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        text = kind.startswith("text/") or kind == "application/json"
        self._send(HTTPStatus.OK, f"{kind}; charset=utf-8" if text else kind, file.read_bytes())

    def _pass_on(self) -> None:
        if not self.path.startswith("/api/"):
            raise Refused(HTTPStatus.NOT_FOUND, "not-found", "There is no such page.")
        base = urlsplit(str(self.server.told["httpUrl"]))
        api = http.client.HTTPConnection(base.netloc, timeout=_API_SECONDS)
        try:
            api.request(self.command, f"{base.path}{self.path}", self._body(), self._passed())
            self._relay(api.getresponse())
        except (OSError, http.client.HTTPException) as error:
            message = "The local AWS does not answer."
            raise Refused(HTTPStatus.BAD_GATEWAY, "unavailable", message) from error
        finally:
            api.close()

    def _passed(self) -> dict[str, str]:
        # The page's origin was looked at here; the API would compare it with its own list.
        ours = _OF_ONE_HOP | {"origin"}
        return {k: v for k, v in self.headers.items() if k.lower() not in ours}

    def _relay(self, answer: http.client.HTTPResponse) -> None:
        body = answer.read()
        if (self.command, self._path, answer.status) == ("GET", _CONFIG, HTTPStatus.OK):
            body = with_token_url(body, self.headers["Host"])
        self.send_response(answer.status)
        for name, value in [*_relayed(answer), *cors(self.headers.get("Origin")).items()]:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        told = self.headers.get("Content-Length", "0")
        if not told.isdecimal() or int(told) > _LARGEST_BODY:
            message = "Send a body of at most 1 MiB, with its Content-Length."
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "payload-too-large", message)
        return self.rfile.read(int(told))

    def _send_json(self, status: HTTPStatus, value: object) -> None:
        self._send(status, "application/json", json.dumps(value).encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        shared = cors(self.headers.get("Origin")) if is_shared(self._path) else {}
        for name, value in (security_headers(self.server.told) | shared).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
