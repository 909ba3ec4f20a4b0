import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from local.server import DevelopmentServer, Refused, is_ours, page, serving, token_request

JSON = {"Content-Type": "application/json"}


class _Api(BaseHTTPRequestHandler):
    """Stands in for the HTTP API: answers with what it was asked, /slow when it may."""

    asked = threading.Event()
    may_answer = threading.Event()

    def do_GET(self) -> None:
        if self.path.endswith("/slow"):
            self.asked.set()
            self.may_answer.wait(5)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        asked = {"path": self.path, "method": self.command, "body": body}
        asked["authorization"] = self.headers.get("Authorization", "")
        answer = json.dumps(asked).encode()
        self.send_response(418)
        self.send_header("ETag", '"7"')
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_PUT = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def api() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Api)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/base"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server(api: str) -> DevelopmentServer:
    told = {"webSocketUrl": "ws://localhost:1/live", "httpUrl": api, "pid": 1}
    return DevelopmentServer(0, told, lambda user, scope, ttl: f"{user}/{scope}/{ttl}")


@pytest.fixture
def caller(server: DevelopmentServer) -> Iterator[http.client.HTTPConnection]:
    with serving(server):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
        yield connection
        connection.close()


@pytest.mark.parametrize("host", ["localhost", "localhost:4000", "127.0.0.1:4000", "LOCALHOST"])
def test_it_answers_to_the_names_of_this_machine(host: str) -> None:
    assert is_ours(host)


@pytest.mark.parametrize(
    "host",
    [None, "", "evil.example", "localhost.evil.example:4000", "[::1", "127.0.0.1@evil.example"],
)
def test_it_answers_to_no_other_name(host: str | None) -> None:
    assert not is_ours(host)


def test_a_page_under_another_name_reaches_nothing(caller: http.client.HTTPConnection) -> None:
    for method, path in (("GET", "/dev/stack"), ("POST", "/dev/token"), ("GET", "/api/x")):
        caller.request(method, path, headers={"Host": "evil.example"})
        answer = caller.getresponse()
        assert answer.status == 421
        assert json.loads(answer.read())["error"]["code"] == "forbidden"


def test_files_are_served_from_below_the_root_only(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    (root / "assets").mkdir(parents=True)
    (root / "index.html").write_text("page")
    (root / "assets" / "app.js").write_text("code")
    (tmp_path / "secret").write_text("secret")
    (root / "link").symlink_to(tmp_path / "secret")
    assert page("/", root) == root / "index.html"
    assert page("/assets/app.js", root) == root / "assets" / "app.js"
    for path in ("/../secret", "/%2e%2e/secret", "//etc/passwd", "/assets", "/link", "/a\0b"):
        assert page(path, root) is None


def test_a_token_is_made_for_who_is_asked_for(caller: http.client.HTTPConnection) -> None:
    caller.request("POST", "/dev/token", json.dumps({"userId": "ada", "ttl": 60}), JSON)
    answer = caller.getresponse()
    assert answer.status == 200
    assert json.loads(answer.read()) == {"token": "ada/None/60"}


def test_a_form_of_another_page_gets_no_token(caller: http.client.HTTPConnection) -> None:
    caller.request("POST", "/dev/token", '{"userId": "ada"}', {"Content-Type": "text/plain"})
    assert caller.getresponse().status == 415


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"userId": 1}', b'{"userId": "a", "ttl": "x"}', b"\xff"]
)
def test_a_token_request_that_says_something_else_is_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        token_request(body)


def test_the_api_is_passed_through_both_ways(caller: http.client.HTTPConnection) -> None:
    headers = {"Authorization": "Bearer t"}
    caller.request("PUT", "/api/user-status/last-seen?a=b", "{}", headers)
    answer = caller.getresponse()
    assert (answer.status, answer.headers["ETag"]) == (418, '"7"')
    assert json.loads(answer.read()) == {
        "path": "/base/api/user-status/last-seen?a=b",
        "method": "PUT",
        "body": "{}",
        "authorization": "Bearer t",
    }


def test_pages_may_reach_this_stack_and_nothing_else(caller: http.client.HTTPConnection) -> None:
    caller.request("GET", "/dev/stack")
    answer = caller.getresponse()
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self' ws://localhost:1;" in policy
    assert "unsafe" not in policy
    assert json.loads(answer.read())["pid"] == 1


def test_an_unknown_page_is_not_found(caller: http.client.HTTPConnection) -> None:
    caller.request("GET", "/nothing")
    assert caller.getresponse().status == 404


def test_a_body_that_is_too_large_is_refused(caller: http.client.HTTPConnection) -> None:
    caller.putrequest("PUT", "/api/x")
    caller.putheader("Content-Length", str(1 << 30))
    caller.endheaders()
    assert caller.getresponse().status == 413


def test_a_browser_that_does_not_wait_for_an_answer_is_no_event(
    server: DevelopmentServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(server):
        browser = socket.create_connection(("127.0.0.1", server.server_port))
        browser.sendall(b"GET /api/slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert _Api.asked.wait(5)
        at_once = struct.pack("ii", 1, 0)
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        browser.close()
        _Api.may_answer.set()
        while any("process_request_thread" in thread.name for thread in threading.enumerate()):
            time.sleep(0.01)
    assert capsys.readouterr().err == ""


def test_a_server_that_stops_hangs_up_on_browsers_that_would_ask_more(
    server: DevelopmentServer,
) -> None:
    with serving(server):
        browser = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
        browser.request("GET", "/dev/stack")
        assert browser.getresponse().read()
    assert browser.sock.recv(1) == b""
    browser.close()
