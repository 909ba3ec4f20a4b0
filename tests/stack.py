"""A whole stack for black-box tests, as `make run` starts it: URLs in, frames out."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from local.aws import client
from local.stack import ROOT
from presence_client import tokens

API = "/api/user-status"
#: For all threads: one that is made for each call would read the certificates each time.
_HTTP = httpx.Client(trust_env=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; `json` is None when the body is empty or is not JSON."""

    status: int
    headers: Mapping[str, str]
    json: Any


def call(
    method: str,
    url: str,
    *,
    token: str | None = None,
    body: Any = None,
    within: float = 10,
    **names: Any,
) -> Answer:
    """What a route answers, whatever its status; a body of `bytes` goes out as it is.

    Raises:
        httpx.TransportError: no server answers there in time.
    """
    headers = {"Content-Type": "application/json"} if body is not None else {}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    headers |= names.get("headers", {})
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    answer = _HTTP.request(method, url, content=content, headers=headers, timeout=within)
    return Answer(answer.status_code, answer.headers, _json(answer))


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None


@dataclass(frozen=True)
class RunningStack:
    """What `stack.json` says, and tokens as an issuer would make them."""

    home: Path
    told: Mapping[str, Any]

    @property
    def url(self) -> str:
        return str(self.told["webSocketUrl"])

    @property
    def demo_url(self) -> str:
        return str(self.told["demoUrl"])

    @property
    def secret(self) -> str:
        return tokens.secret(self.home)

    def token(self, user_id: str, **claims: Any) -> str:
        return tokens.mint(self.secret, user_id, **claims)

    def call(self, route: str, *, user_id: str | None = None, **request: Any) -> Answer:
        """`call("GET /online", user_id="ada")`; without a user id, without a token."""
        method, _, path = route.partition(" ")
        if user_id is not None:
            request["token"] = self.token(user_id)
        return call(method, f"{self.told['httpUrl']}{API}{path}", **request)

    def aws(self, service: str) -> Any:
        """A client of the local AWS, for what a black box cannot see or break from outside."""
        return client(service, self.told["endpointUrl"])


#: A slow machine that has other things to do needs a minute or two.
UP_SECONDS, DOWN_SECONDS = 300.0, 60.0


@contextmanager
def running_stack(home: Path, parameters: Mapping[str, object]) -> Iterator[RunningStack]:
    """A stack of its own: its ports are free ones, what it stores is in *home*."""
    port, aws_port = free_ports(2)
    environment = os.environ | {
        "PRESENCE_HOME": str(home),
        "PRESENCE_PORT": str(port),
        "PRESENCE_AWS_PORT": str(aws_port),
        "PRESENCE_SET": " ".join(f"{name}={value}" for name, value in parameters.items()),
    }
    with guarded([sys.executable, "-u", "-m", "local", "run"], environment, home) as guard:
        _wait_for(home / "stack.json", guard)
        yield RunningStack(home, json.loads((home / "stack.json").read_text()))


@contextmanager
def guarded(
    command: Sequence[str], environment: Mapping[str, str], home: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with this block, and with this process however that ends."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "run.log").open("wb") as log:
        guard = subprocess.Popen(
            [sys.executable, "-m", "tests.guard", *command],
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for its owner, whose end it sees
        )
    try:
        yield guard
    finally:
        guard.communicate(timeout=DOWN_SECONDS)


def _wait_for(file: Path, guard: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + UP_SECONDS
    while not file.exists():
        log = file.with_name("run.log").read_text
        assert guard.poll() is None, log()
        assert time.monotonic() < deadline, log()
        time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
