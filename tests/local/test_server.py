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

from local.server import DevelopmentServer, Refused, page, serving, token_request
from local.stack import StackError

JSON = {"Content-Type": "application/json"}
#: A page that a developer writes against this stack.
NEIGHBOUR = "http://localhost:5173"
CONFIG = "/api/user-status/config"


class _Api(BaseHTTPRequestHandler):
    """Stands in for the HTTP API: answers with what it was asked, /slow when it may.

    Its CORS is that of template.yaml's defaults, as the local AWS sends it.
    """

    asked = threading.Event()
    may_answer = threading.Event()

    def do_GET(self) -> None:
        if self.path.endswith("/slow"):
            self.asked.set()
            self.may_answer.wait(5)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        asked = {"path": self.path, "method": self.command, "body": body}
        asked["authorization"] = self.headers.get("Authorization", "")
        asked |= {"origin": self.headers["Origin"]} if "Origin" in self.headers else {}
        answer = json.dumps(asked).encode()
        self.send_response(200 if "/config" in self.path else 418)
        self.send_header("ETag", '"7"')
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Expose-Headers", "etag")
        self.send_header("Vary", "Origin")
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
    return DevelopmentServer(
        *(0, told, lambda user, scope, ttl: f"{user}/{scope}/{ttl}", lambda users: {"of": users})
    )


@pytest.fixture
def caller(server: DevelopmentServer) -> Iterator[http.client.HTTPConnection]:
    with serving(server):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
        yield connection
        connection.close()


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


def ask(
    caller: http.client.HTTPConnection, route: str, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    """`ask(caller, "GET /path", Origin="…")`; POST sends the request for a token of ada."""
    method, path = route.split(" ")
    body = '{"userId": "ada"}' if method == "POST" else None
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    caller.request(method, path, body, JSON | named)
    answer = caller.getresponse()
    return answer, answer.read()


def test_the_config_says_where_a_token_is_to_be_had(caller: http.client.HTTPConnection) -> None:
    answer, body = ask(caller, f"GET {CONFIG}?a=b", Host="127.0.0.1:4000")
    told = json.loads(body)
    assert told["developmentTokenUrl"] == "http://127.0.0.1:4000/dev/token"
    assert told["path"] == f"/base{CONFIG}?a=b"
    assert answer.headers["Content-Length"] == str(len(body))


def test_no_other_answer_of_the_api_is_changed(caller: http.client.HTTPConnection) -> None:
    for route in ("GET /api/user-status/ada", f"PUT {CONFIG}"):
        assert b"developmentTokenUrl" not in ask(caller, route)[1]


@pytest.mark.parametrize("route", ["GET /api/user-status/ada", "POST /dev/token", f"GET {CONFIG}"])
@pytest.mark.parametrize("origin", [NEIGHBOUR, "http://[::1]:3000"])
def test_a_page_of_this_machine_may_read_the_api_and_have_tokens(
    caller: http.client.HTTPConnection, route: str, origin: str
) -> None:
    answer, body = ask(caller, route, Origin=origin)
    # Each once: a browser takes two of the same for none.
    assert answer.headers.get_all("Access-Control-Allow-Origin") == [origin]
    assert answer.headers.get_all("Access-Control-Expose-Headers") == ["etag, retry-after"]
    assert answer.headers.get_all("Vary") == ["Origin"]
    assert b'"origin"' not in body


@pytest.mark.parametrize("path", ["/api/user-status/ada", "/dev/token"])
def test_a_preflight_is_answered_here(caller: http.client.HTTPConnection, path: str) -> None:
    request = {"Origin": NEIGHBOUR, "Access_Control_Request_Method": "PUT"}
    answer, body = ask(caller, f"OPTIONS {path}", **request)
    assert (answer.status, body) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == NEIGHBOUR
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST, PUT, PATCH, DELETE"
    asked = "authorization, content-type, if-none-match"
    assert answer.headers["Access-Control-Allow-Headers"] == asked
    assert answer.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_page_of_this_machine_may_read_why_it_was_refused(
    caller: http.client.HTTPConnection,
) -> None:
    caller.request("POST", "/dev/token", "{}", JSON | {"Origin": NEIGHBOUR})
    answer = caller.getresponse()
    assert answer.status == 400
    assert answer.headers["Access-Control-Allow-Origin"] == NEIGHBOUR


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
@pytest.mark.parametrize(
    "route",
    ["GET /api/user-status/ada", "PUT /api/x", "POST /dev/token", "OPTIONS /dev/token"],
)
def test_a_page_from_elsewhere_gets_nothing(
    caller: http.client.HTTPConnection, route: str, origin: str
) -> None:
    answer, body = ask(caller, route, Origin=origin)
    assert answer.status == 403
    assert json.loads(body)["error"]["code"] == "forbidden"
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("path", ["/dev/stack", "/dev/tables", "/"])
def test_the_rest_is_for_its_own_page_alone(caller: http.client.HTTPConnection, path: str) -> None:
    for method in ("GET", "OPTIONS"):
        answer, _ = ask(caller, f"{method} {path}", Origin=NEIGHBOUR)
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_its_own_page_may_see_what_is_stored(caller: http.client.HTTPConnection) -> None:
    own = f"http://localhost:{caller.port}"
    for headers in ({}, {"Origin": own}):
        answer, body = ask(
            caller,
            "GET /dev/tables?user=ada&user=grace",
            Host=own.removeprefix("http://"),
            **headers,
        )
        assert answer.status == 200
        assert json.loads(body) == {"of": ["ada", "grace"]}


def test_another_page_may_not_even_ask_what_is_stored(caller: http.client.HTTPConnection) -> None:
    answer, body = ask(caller, "GET /dev/tables", Origin=NEIGHBOUR)
    assert answer.status == 403
    assert json.loads(body)["error"]["code"] == "forbidden"


def test_what_is_stored_is_not_known_while_the_local_aws_is_gone(
    server: DevelopmentServer, caller: http.client.HTTPConnection
) -> None:
    def gone(_users: object) -> dict[str, object]:
        raise StackError("It has gone.")

    server.stored = gone
    answer, body = ask(caller, "GET /dev/tables")
    assert answer.status == 502
    assert json.loads(body)["error"] == {"code": "unavailable", "message": "It has gone."}


def test_it_can_be_reached_from_this_machine_only(server: DevelopmentServer) -> None:
    with serving(server):
        assert server.server_address[0] == "127.0.0.1"


def test_pages_may_reach_this_stack_and_nothing_else(caller: http.client.HTTPConnection) -> None:
    caller.request("GET", "/dev/stack")
    answer = caller.getresponse()
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    assert "connect-src 'self' ws://localhost:1;" in policy
    assert "unsafe" not in policy
    assert json.loads(answer.read())["pid"] == 1


@pytest.mark.parametrize("target", ["/nothing", "http://[/", "http://localhost/api/x", "*"])
def test_an_unknown_page_is_not_found(caller: http.client.HTTPConnection, target: str) -> None:
    caller.request("GET", target, headers={"Host": "localhost"})
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


def test_a_server_that_stops_closes_kept_alive_connections(
    server: DevelopmentServer,
) -> None:
    with serving(server):
        browser = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
        browser.request("GET", "/dev/stack")
        assert browser.getresponse().read()
    assert browser.sock.recv(1) == b""
    browser.close()
