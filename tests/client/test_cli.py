import io
import json
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from websockets.sync.server import ServerConnection, serve

from local.stack import ROOT
from presence_client import cli, tokens
from presence_client.models import Frame
from tests.adapters.conftest import issuer_of, jwks

ADA = {"userId": "ada", "status": "online", "isOnline": True, "lastSeen": 1, "version": 1}
BUSY = {**ADA, "status": "busy", "version": 2, "text": "In a \x1b[31mmeeting"}
GRACE = {**ADA, "userId": "grace", "status": "offline", "isOnline": False, "lastSeen": None}

FORBIDDEN = {"error": {"code": "forbidden", "message": "The token needs the scope."}}

WELCOME = {
    "type": "authentication-success",
    "userId": "ada",
    "onlineCount": 1,
    "heartbeatSeconds": 30,
    "serverTime": 0,
    "tokenExpiresAt": 3_600_000,
}


@dataclass
class Stack:
    """Stands in for a stack: HTTP and WebSocket, with what it heard."""

    http_url: str = ""
    web_socket_url: str = ""
    heard: list[tuple[str, Any]] = field(default_factory=list)
    online: list[Frame] = field(default_factory=lambda: [ADA])
    told: list[Frame] = field(default_factory=list)
    explained: Frame = field(default_factory=dict)
    refusal: Frame | None = None
    closes: int = 0
    is_public: bool = True
    authorization: str = ""

    def http(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        self.heard.append((f"{method} {path}", body))
        return (200, self.explained) if "/explain" in path else self._http(method, path, body)

    def _http(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path.endswith("/revocations") or "/members/" in path:
            return (204, None) if self.is_public else (403, FORBIDDEN)
        if path.endswith("/config"):
            return 200, {"webSocketUrl": self.web_socket_url}
        if path.endswith("/batch"):
            known = {one["userId"]: one for one in (GRACE, *self.online)}
            return 200, {"users": [known[user] for user in body["userIds"]]}
        if "/online" in path and self.is_public:
            cursor = None if "cursor" in path else "next"
            users = self.online if cursor else [BUSY]
            return 200, {"users": users, "cursor": cursor, "onlineCount": 2}
        if method == "PUT":
            return 200, ADA
        return 401, {"error": {"code": "not-authenticated", "message": "Send a token."}}

    def web_socket(self, connection: ServerConnection) -> None:
        for text in connection:
            frame = json.loads(text)
            self.heard.append((frame["action"], frame))
            answer = self.answer(frame)
            connection.send(json.dumps({"id": frame["id"], **answer}))
            if frame["action"] != "online":
                continue
            if self.closes:
                self.closes -= 1
                return
            for told in self.told:
                connection.send(json.dumps(told))

    def answer(self, frame: Frame) -> Frame:
        if frame["action"] == "authenticate":
            return self.refusal or WELCOME
        if frame["action"] == "online":
            return {"type": "online-users-list", "users": self.online, "cursor": None}
        return {"type": "ack"}


@contextmanager
def http_server(stack: Stack) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            stack.authorization = self.headers.get("Authorization", "")
            status, told = stack.http(self.command, self.path, json.loads(sent or b"null"))
            content = b"" if told is None else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRESENCE_HOME", str(tmp_path))
    monkeypatch.delenv("PRESENCE_API_URL", raising=False)
    monkeypatch.delenv("PRESENCE_TOKEN", raising=False)
    return tmp_path


@pytest.fixture
def stack(home: Path) -> Iterator[Stack]:
    stack = Stack()
    with http_server(stack) as stack.http_url, serve(stack.web_socket, "127.0.0.1", 0) as sockets:
        thread = threading.Thread(target=sockets.serve_forever)
        thread.start()
        stack.web_socket_url = f"ws://127.0.0.1:{sockets.socket.getsockname()[1]}/live"
        told = {"httpUrl": stack.http_url, "webSocketUrl": stack.web_socket_url, "pid": os.getpid()}
        (home / "stack.json").write_text(json.dumps(told))
        yield stack
        sockets.shutdown()
        thread.join()


@contextmanager
def presence(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command with its output in a pipe."""
    with subprocess.Popen(
        [sys.executable, "-m", "presence_client.cli", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    """Return the next line, without the time of day."""
    assert process.stdout
    return process.stdout.readline().partition(" ")[2].rstrip()


def interrupted(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Press Ctrl-C; return the exit code and what was complained about."""
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=10)
    return process.returncode, complaints


# ── tokens ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("home")
def test_token_prints_the_token_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    scope = "presence:admin"
    arguments = ["token", "ada", "--ttl", "15m", "--scope", scope, "--chat-session", "a*"]
    assert cli.main(arguments) == 0
    out, err = capsys.readouterr()
    claims = jwt.decode(out.removesuffix("\n"), options={"verify_signature": False})
    assert (claims["sub"], claims["scope"], claims["chat_sessions"]) == ("ada", scope, ["a*"])
    assert claims["exp"] - claims["iat"] == 900
    assert err == ""


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("arguments", [["token", "a b"], ["token", "ada", "--ttl", "25h"]])
def test_a_token_that_cannot_be_is_a_sentence(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1


def test_check_token_says_why(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = tokens.mint(tokens.secret(home), "ada")
    assert cli.main(["check-token", good]) == 0
    assert capsys.readouterr().out.startswith("accepted\n")
    assert cli.main(["check-token", tokens.mint("x" * 64, "ada", ttl=-90)]) == 1
    out = capsys.readouterr().out
    assert out.startswith("refused: token-invalid\n")
    assert "does not fit the secret" in out
    assert "It expired" in out


@pytest.mark.usefixtures("home")
def test_check_token_says_which_parameters_would_let_a_token_in(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rules = tokens.Rules(issuers=("https://a.test/",), audiences=("web",))
    token = tokens.mint("x" * 64, "ada", rules=rules)

    assert cli.main(["check-token", token, "--issuer", "https://a.test", "--audience", "web"]) == 1
    refused = capsys.readouterr().out
    assert cli.main(["check-token", token, "--issuer", "https://a.test/", "--audience", "web"]) == 0
    accepted = capsys.readouterr().out

    assert "iss is 'https://a.test/'; TokenIssuer is 'https://a.test'." in refused
    assert "With these parameters a stack would let it in: TokenIssuer=https://a.test/" in refused
    assert accepted.startswith("accepted\n  Its signature was not checked")


@pytest.mark.usefixtures("home")
def test_check_token_takes_a_stage_and_a_key_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "samconfig.toml").write_text(
        '[prod.deploy.parameters]\nparameter_overrides = ["TokenIssuer=https://a.test/"]\n'
    )
    issuer, other = issuer_of("ES256"), issuer_of("ES384")
    keys = tmp_path / "keys.json"
    keys.write_text(jwks(issuer.jwk("k1")))
    monkeypatch.chdir(tmp_path)
    now = int(time.time())
    claims = {"iss": "https://a.test/", "aud": "presence", "sub": "ada", "iat": now, "exp": now + 9}
    arguments = ["--stage", "prod", "--jwks", str(keys)]

    results = [
        (cli.main(["check-token", signer.sign(claims, kid=key_id), *arguments]))
        for signer, key_id in ((issuer, "k1"), (issuer, "k2"), (other, "k1"))
    ]
    out = capsys.readouterr().out

    assert results == [0, 1, 1]
    assert "kid is 'k2'; the key set (TokenJwksUrl) has 'k1'." in out
    assert "alg is 'ES384'; its key in the key set is for ES256." in out
    assert "not checked" not in out


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--stage", "prod"], "samconfig.toml cannot be read"),
        (["--jwks", "missing.json"], "missing.json cannot be read"),
        (["--jwks", "http://127.0.0.1:9/keys"], "cannot be read"),
        (["--secret-file", "missing"], "missing cannot be read"),
    ],
)
def test_check_token_says_what_it_cannot_read(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["check-token", "a.b.c", *arguments]) == 2
    assert complaint in capsys.readouterr().err


def test_check_token_takes_a_file_with_both_secrets(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "secrets").write_text(f"{'a' * 64}\n{'b' * 64}\n")
    codes = [
        cli.main(["check-token", tokens.mint(it * 64, "ada"), "--secret-file", f"{home}/secrets"])
        for it in "abc"
    ]
    assert codes == [0, 0, 1]
    assert "TokenSecretParameter" in capsys.readouterr().out


def test_tokens_are_for_the_stack_that_was_started(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parameters = {"TokenIssuer": "https://a.test", "TokenUserClaim": "oid"}
    (home / "stack.json").write_text(json.dumps({"tokenParameters": parameters}))
    assert cli.main(["token", "ada"]) == 0
    token = capsys.readouterr().out.strip()
    assert cli.main(["check-token", token]) == 0
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["iss"], claims["oid"]) == ("https://a.test", "ada")


@pytest.mark.usefixtures("home")
def test_a_claim_that_is_not_read_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    token = jwt.encode({"https://a.test/chat_sessions": ["a"]}, "x" * 64)
    cli.main(["check-token", token])
    assert "TokenClaimPrefix=https://a.test/ would do that" in capsys.readouterr().out


@pytest.mark.usefixtures("home")
def test_check_token_reads_the_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("nothing\n"))
    assert cli.main(["check-token", "-"]) == 1
    assert "three parts" in capsys.readouterr().out


# ── questions ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "arguments", [["status", "ada"], ["online"], ["watch"], ["join", "ada"]], ids=lambda a: a[0]
)
def test_without_a_stack_it_says_how_to_get_one(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    assert "run `make up` first" in capsys.readouterr().err


@pytest.mark.usefixtures("stack")
def test_status_has_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "ada", "grace"]) == 0
    assert capsys.readouterr().out == "● ada   online\n○ grace offline  never seen\n"


@pytest.mark.usefixtures("stack")
def test_online_reads_every_page_and_lets_no_command_through(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["online"]) == 0
    assert capsys.readouterr().out == "● ada online\n◐ ada busy     In a �[31mmeeting\n"
    assert cli.main(["online", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [ADA, BUSY]


def test_a_deployed_stack_needs_one_url_and_a_token(
    stack: Stack, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "stack.json").unlink()
    assert cli.main(["status", "ada", "--api-url", f"{stack.http_url}/", "--token", "t"]) == 0
    asked = [what for what, _ in stack.heard]
    assert asked == ["POST /api/user-status/batch"]
    assert cli.main(["online", "--api-url", "http://127.0.0.1:9"]) == 1
    assert "does not answer" in capsys.readouterr().err


def test_an_error_of_the_stack_is_told_with_its_code(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.is_public = False
    assert cli.main(["online", "--api-url", stack.http_url]) == 1
    told = "not-authenticated: Send a token. Give one with --token.\n"
    assert capsys.readouterr().err == told


# ── explain ────────────────────────────────────────────────────────────────────────────────

EXPLAINED: Frame = {
    "userId": "ada",
    "reason": "lease-expired",
    "because": "No frame came.",
    "seen": {**ADA, "status": "offline", "isOnline": False},
    "own": ADA,
    "toViewer": {"viewerId": "eve", "seen": ADA, "isBlocked": True, "maySee": False},
    "asOf": 1_000_000,
    "changedAt": 940_000,
    "choice": {"status": "busy", "until": 1_060_000},
    "connections": [
        {
            "connectionId": "L0SM9cOFvHcCIhw=",
            "device": "tab\x1b[31m",
            "isActive": False,
            "heardAt": 900_000,
            "leaseEndsAt": 990_000,
            "isOver": True,
            "leaseSeconds": 90,
            "chatSessionIds": [],
        }
    ],
    "chatSessions": [{"chatSessionId": "lobby", "memberCount": 3, "leavesAt": 1_010_000}],
    "watchers": {"connections": 1000, "isMore": True},
    "blocked": 1,
    "standing": {"notBefore": 400_000, "revokedTokens": 2, "removedFrom": ["hall"]},
    "unitsLeft": 0,
}
LINES = """\
ada is seen offline (lease-expired)
  No frame came.
  last changed for others 1 min ago
  chosen: busy until in 1 min
  eve sees online, because the user blocks this viewer, because the stack's policy hides the user
  connection L0SM9cOFvHcCIhw= (tab\ufffd[31m): no person is there
    heard 1 min ago; its lease expired 10 s ago (90 s)
    its record is gone
  in lobby: 3 members, leaves in 10 s
  watched by at least 1000 connections
  blocks 1 users
  is over the rate limit: frames are refused as rate-limited
  tokens issued before 10 min ago are revoked
  tokens revoked one by one: 2
  removed from hall
"""


def test_an_explanation_is_told_in_words(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    stack.explained = EXPLAINED
    assert cli.main(["explain", "ada", "--viewer", "eve"]) == 0
    assert capsys.readouterr().out == LINES
    assert stack.heard == [("GET /api/user-status/users/ada/explain?viewerId=eve", None)]
    assert cli.main(["explain", "ada", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == EXPLAINED


# ── removal ────────────────────────────────────────────────────────────────────────────────

BASE = "/api/user-status"


@pytest.mark.parametrize(
    ("arguments", "asked", "said"),
    [
        (
            ["revoke", "eve"],
            ("POST", "/users/eve/revocations", {}),
            "Tokens of eve that were issued before now are refused.",
        ),
        (
            ["revoke", "eve", "--token-id", "j 1"],
            ("POST", "/users/eve/revocations", {"tokenId": "j 1"}),
            "The token 'j 1' of eve is refused.",
        ),
        (
            ["remove", "auth0|5f", "lobby"],
            ("DELETE", "/chat-sessions/lobby/members/auth0%7C5f", None),
            "auth0|5f is out of lobby until `presence allow auth0|5f lobby`.",
        ),
        (
            ["allow", "eve", "a:b"],
            ("PUT", "/chat-sessions/a%3Ab/members/eve", None),
            "eve may join a:b again.",
        ),
    ],
)
def test_an_administrator_removes_and_lets_in_again(
    arguments: list[str],
    asked: tuple[str, str, Any],
    said: str,
    stack: Stack,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(arguments) == 0

    method, path, body = asked
    assert stack.heard == [(f"{method} {BASE}{path}", body)]
    assert capsys.readouterr().out == f"{said}\n"
    claims = jwt.decode(stack.authorization.split()[1], options={"verify_signature": False})
    assert claims["scope"] == "presence:admin"


@pytest.mark.parametrize(
    "command", [["revoke", "eve"], ["remove", "eve", "a"], ["allow", "eve", "a"]]
)
def test_a_deployed_stack_decides_who_is_an_administrator(
    command: list[str], stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.is_public = False

    assert cli.main([*command, "--api-url", stack.http_url, "--token", "t"]) == 1

    assert stack.authorization == "Bearer t"
    assert capsys.readouterr() == ("", "forbidden: The token needs the scope.\n")


# ── visits ─────────────────────────────────────────────────────────────────────────────────


def test_join_stays_prints_what_happens_and_goes_quietly(stack: Stack) -> None:
    stack.online = [{**ADA, "userId": "lin"}]
    stack.told = [{"type": "user-status-change", "changes": [BUSY]}] * 2
    stack.told += [{"type": "user-status-change", "changes": [{**GRACE, "version": 9}]}]
    with presence("join", "ada", "--device", "desk", "--status", "dnd", "--text", "Hm") as process:
        assert line(process) == "connected as ada, 1 online"
        assert {line(process) for _ in range(3)} == {
            "● lin          online",
            "◐ ada          busy     In a �[31mmeeting",
            "○ grace        offline",
        }
        assert interrupted(process) == (130, "")
    asked = dict(stack.heard)
    assert asked["authenticate"]["device"] == "desk"
    assert asked["authenticate"]["userId"] == "ada"
    assert asked["status"].items() >= {"status": "dnd", "text": "Hm"}.items()


def test_join_comes_back_when_the_connection_is_lost(stack: Stack) -> None:
    stack.closes = 2
    with presence("join", "ada") as process:
        found = [line(process) for _ in range(6)]
        assert interrupted(process) == (130, "")
    assert [text.startswith("connected as ada") for text in found] == [
        *(True, False, False, True, False, True)
    ]
    assert found[2].startswith("The connection was closed (1000). Trying again in 0.")


@pytest.mark.parametrize("code", ["token-invalid", "forbidden"])
def test_join_does_not_come_back_to_where_it_is_not_welcome(stack: Stack, code: str) -> None:
    stack.refusal = {"type": "authentication-error", "code": code, "message": "No."}
    with presence("join", "ada") as process:
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out, err) == (1, "", f"{code}: No.\n")


def test_watch_is_unseen_and_prints_a_line_for_each_change(stack: Stack) -> None:
    own = {**ADA, "userId": "presence.watch"}
    stack.told = [{"type": "user-status-change", "changes": [own, BUSY]}]
    stack.online = [{**ADA, "userId": "lin"}]
    with presence("watch") as process:
        assert {line(process) for _ in range(2)} == {
            "● lin          online",
            "◐ ada          busy     In a �[31mmeeting",
        }
        assert interrupted(process) == (130, "")
    first, body = stack.heard[0]
    assert (first, body["status"]) == ("PUT /api/user-status", "invisible")


def test_watch_tells_what_was_missed_while_the_link_was_lost(stack: Stack) -> None:
    stack.online, stack.closes = [ADA, {**GRACE, "isOnline": True, "status": "online"}], 1
    with presence("watch", "--json") as process:
        assert process.stdout
        first = [json.loads(process.stdout.readline())["userId"] for _ in range(2)]
        assert first == ["ada", "grace"]
        stack.online = [BUSY]
        assert json.loads(process.stdout.readline()) == BUSY
        code, notes = interrupted(process)
    assert code == 130
    assert "Trying again" in notes


@pytest.mark.usefixtures("stack")
def test_a_reader_that_goes_away_is_no_error() -> None:
    with presence("online", "--json") as process:
        assert process.stdout
        process.stdout.close()
        assert process.wait(10) == 0
        assert process.stderr
        assert process.stderr.read() == ""


# ── the package, built and installed apart from this repository ──────────────────────────────────


LOOK = """
import json, pathlib, presence_client.client, sys
folder = pathlib.Path(presence_client.__file__).parent
ours = {"presence", "local", "functions"} & {it.partition(".")[0] for it in sys.modules}
print(json.dumps([str(folder), (folder / "py.typed").is_file(), sorted(ours)]))
"""


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, env={"HOME": str(folder)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_it_installs_alone_with_its_types_and_its_command(tmp_path: Path) -> None:
    fresh = tmp_path / "venv"
    venv.create(fresh, symlinks=True)
    (site,) = fresh.glob("lib/python*/site-packages")
    # Its dependencies and the build back end are those of the lock; what is linked there is not.
    (site / "lock.pth").write_text(sysconfig.get_path("purelib"))
    pip = (sys.executable, "-m", "pip", "--python", fresh / "bin" / "python", "install")
    alone = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation")
    run(*pip, *alone, ROOT / "clients" / "python", folder=tmp_path)

    found = json.loads(run(fresh / "bin" / "python", "-c", LOOK, folder=tmp_path))
    assert found == [str(site / "presence_client"), True, []]
    token = run(fresh / "bin" / "presence", "token", "ada", folder=tmp_path)
    assert jwt.decode(token.strip(), options={"verify_signature": False})["sub"] == "ada"
