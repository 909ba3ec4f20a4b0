"""Brings a local stack up, keeps it up, and takes it down again."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from local import sam_local, tables
from local.aws import client, local_aws, require_free
from local.build import build
from local.deploy import Deployed, deploy
from local.server import DevelopmentServer, serving
from local.stack import REGION, ROOT, Settings, StackError, publish, running
from local.warm import warm
from local.watching import watching
from presence_client import tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_UP_SECONDS = 300.0
_DOWN_SECONDS = 30.0
_USERS = ("ada", "grace")


def run(settings: Settings) -> None:
    """Run a stack in the foreground until Ctrl-C or SIGTERM.

    Raises:
        StackError: it cannot start.
    """
    with ExitStack() as everything:
        everything.enter_context(_only_one(settings))
        everything.enter_context(_stops_when_told())
        try:
            aws = _start(settings, everything)
            aws.wait()
            message = f"The local AWS ended by itself; {settings.home / 'aws.log'} says why."
            raise StackError(message)
        except KeyboardInterrupt:
            print("\nStopping", flush=True)


def up(settings: Settings, arguments: list[str]) -> None:
    """Start a stack in the background and return when it is ready.

    Args:
        settings: of the stack.
        arguments: for `python -m local run`.

    Raises:
        StackError: it did not become ready.
    """
    _refuse_second(settings)
    settings.home.mkdir(parents=True, exist_ok=True)
    with settings.log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "local", "run", *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _follow(settings, process)


def down(settings: Settings) -> None:
    """Stop the stack of this home, if one runs or starts, and wait until all of it has gone.

    Raises:
        StackError: it does not stop.
    """
    deadline = time.monotonic() + _DOWN_SECONDS
    holder = _holder(settings)
    if holder is None:
        print("No stack is running.")
        return
    os.kill(holder, signal.SIGTERM)
    while _holder(settings) == holder:
        if time.monotonic() > deadline:
            message = f"The stack (process {holder}) does not stop; end it with kill -9 {holder}."
            raise StackError(message)
        time.sleep(0.05)
    print("Stopped.")


def _start(settings: Settings, everything: ExitStack) -> subprocess.Popen[bytes]:
    started = time.monotonic()
    require_free(settings.port, "PRESENCE_PORT")
    with _step("local AWS"):
        aws = everything.enter_context(local_aws(settings))
    with _step("sam build") as step:
        artifacts = build()
        step.note = "" if artifacts.fresh else "nothing has changed"
    with _step("deployment"):
        deployed = deploy(settings, artifacts, tokens.secret(settings.home))
    if settings.keep:
        with _step("kept items") as step:
            step.note = f"{tables.load(settings, deployed)} items"
        everything.callback(tables.save, settings, deployed)
    with _step("first calls"):
        warm(deployed, settings.endpoint_url)
    everything.enter_context(watching(settings))
    told = _told(settings, deployed)
    server = DevelopmentServer(settings.port, told, _mint(settings), _stored(settings, deployed))
    everything.enter_context(serving(server))
    settings.sam_file.write_text(json.dumps(sam_local.variables(deployed, settings), indent=2))
    for file in (settings.stack_file, settings.sam_file):
        everything.callback(file.unlink, missing_ok=True)
    publish(settings, told)
    _welcome(settings, told, time.monotonic() - started)
    return aws


def _told(settings: Settings, deployed: Deployed) -> dict[str, Any]:
    return {
        "webSocketUrl": deployed.web_socket_url,
        "httpUrl": deployed.http_url,
        "demoUrl": settings.demo_url,
        "endpointUrl": settings.endpoint_url,
        "pid": os.getpid(),
        "region": REGION,
        "callbackUrl": deployed.outputs["CallbackUrl"],
        "webSocketApiId": deployed.outputs["WebSocketApiId"],
        "httpApiId": deployed.outputs["HttpApiId"],
        "tables": deployed.tables,
        "timerQueueUrl": deployed.outputs["TimerQueueUrl"],
        "deliveryQueueUrl": deployed.outputs["DeliveryQueueUrl"],
        "deliveryDeadLetterQueueUrl": deployed.outputs["DeliveryDeadLetterQueueUrl"],
        "timerDeadLetterQueueUrl": deployed.outputs["TimerDeadLetterQueueUrl"],
        "changeDeadLetterQueueUrl": deployed.outputs["ChangeDeadLetterQueueUrl"],
        "functions": dict(deployed.functions),
        "tokenParameters": _token_parameters(settings),
    }


def _token_parameters(settings: Settings) -> dict[str, str]:
    """What tokens of this stack have to say, as far as it differs from the usual."""
    return {name: value for name, value in settings.overrides.items() if name.startswith("Token")}


def _mint(settings: Settings) -> Callable[[str, str | None, int | None], str]:
    rules = tokens.Rules.of(_token_parameters(settings))

    def mint(user_id: str, scope: str | None = None, ttl: int | None = None) -> str:
        return tokens.mint(tokens.secret(settings.home), user_id, scope, ttl, rules=rules)

    return mint


def _stored(settings: Settings, deployed: Deployed) -> Callable[[Sequence[str]], Mapping[str, Any]]:
    # One client for all requests: making them is not safe in threads, using them is.
    dynamodb = client("dynamodb", settings.endpoint_url)

    def stored(users: Sequence[str]) -> Mapping[str, Any]:
        return tables.stored(dynamodb, deployed.tables, users)

    return stored


class _Step:
    """One line of progress."""

    note = ""


@contextmanager
def _step(name: str) -> Iterator[_Step]:
    """Print what is done, and when it is done how long it took."""
    step, started = _Step(), time.monotonic()
    yield step
    note = f"  ({step.note})" if step.note else ""
    print(f"  {time.monotonic() - started:5.1f} s  {name}{note}", flush=True)


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    """Hold the lock of this home; the system gives it back even if we are killed."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with settings.lock_file.open("a+") as lock:
        if not _try_lock(lock):
            _refuse_second(settings)
            message = "A stack is starting or stopping here; wait for it, or `make down`."
            raise StackError(message)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        settings.stack_file.unlink(missing_ok=True)
        yield


def _holder(settings: Settings) -> int | None:
    """Return the process that holds the lock of this home, or None."""
    try:
        with settings.lock_file.open() as lock:
            return None if _try_lock(lock) else int(lock.read())
    except FileNotFoundError:
        return None


def _try_lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refuse_second(settings: Settings) -> None:
    told = running(settings)
    if told:
        message = f"A stack is running already at {told['demoUrl']}; `make down` stops it."
        raise StackError(message)


@contextmanager
def _stops_when_told() -> Iterator[None]:
    """Make SIGTERM and SIGINT end the block like Ctrl-C, and the second one wait for the first."""

    def interrupt(_number: int, _frame: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, interrupt)
    yield


def _follow(settings: Settings, process: subprocess.Popen[bytes]) -> None:
    """Print what a starting stack prints, until it is ready or has ended."""
    deadline = time.monotonic() + _UP_SECONDS
    with settings.log_file.open() as log:
        while True:
            ended, ready = process.poll() is not None, running(settings) is not None
            print(log.read(), end="", flush=True)
            if ready:
                return
            if ended or time.monotonic() > deadline:
                message = f"The stack did not start; {settings.log_file} says why."
                raise StackError(message)
            time.sleep(0.05)


def _welcome(settings: Settings, told: dict[str, Any], seconds: float) -> None:
    print(f"  {seconds:5.1f} s  ready\n")
    print(f"  Demo       {told['demoUrl']}")
    print(f"  WebSocket  {told['webSocketUrl']}")
    print(f"  HTTP       {told['httpUrl']}/api/user-status/online")
    print(f"  Logs       {settings.functions_log}")
    mint = _mint(settings)
    for user in _USERS:
        print(f"\n  Token of {user}:\n  {mint(user, None, None)}")
    kept = "kept for the next start with --keep" if settings.keep else "forgotten (--keep keeps it)"
    print(f"\n  When this stops, all that is stored is {kept}.\n", flush=True)
