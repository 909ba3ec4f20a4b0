"""The local AWS: MiniStack as a child process that sees this machine only."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from local.stack import REGION, ROOT, Settings, StackError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_PYTHON = ROOT / ".venv-aws" / "bin" / "python"
_EMULATOR = ROOT / "local" / "emulator.py"
# Key id and secret of the local AWS's root user; it listens to this machine only.
KEY = "test"
_START_SECONDS = 30.0
_STOP_SECONDS = 15.0


def client(service: str, endpoint_url: str) -> Any:  # noqa: ANN401 - boto3 makes its clients at run time
    """Return a boto3 client of the local AWS that may do everything."""
    return boto3.client(
        service,
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=KEY,
        aws_secret_access_key=KEY,
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=120),
    )


@contextmanager
def local_aws(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """Run the local AWS as long as the block lasts.

    Raises:
        StackError: its port is taken, it is not installed, or it does not come up.
    """
    if not _PYTHON.exists():
        message = "The local AWS is not installed; run `make setup`."
        raise StackError(message)
    _end_leftover(settings)
    require_free(settings.aws_port, "PRESENCE_AWS_PORT")
    scratch = settings.home / "tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    settings.functions_log.write_bytes(b"")
    process = _spawn(settings, scratch)
    _pid_file(settings).write_text(str(process.pid))
    try:
        _await_healthy(settings, process)
        yield process
    finally:
        stop(process)
        _pid_file(settings).unlink(missing_ok=True)
        shutil.rmtree(scratch, ignore_errors=True)


def require_free(port: int, variable: str) -> None:
    """Raise a StackError when something listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            message = (
                f"Port {port} is in use; end the program that has it, "
                f"or choose another with {variable}={port + 1}."
            )
            raise StackError(message) from error


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a child and its workers: SIGTERM first, SIGKILL when it takes too long."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdin is not None:
        process.stdin.close()
    _end_group(process.pid)


def _end_group(leader: int) -> None:
    """End the workers too: they share the process group, and one may outlive its parent."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _await_end(pid: int) -> None:
    """Wait for a process that is not our child; its port is free after that."""
    deadline = time.monotonic() + _STOP_SECONDS
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.02)


def _pid_file(settings: Settings) -> Path:
    return settings.home / "aws.pid"


def _end_leftover(settings: Settings) -> None:
    """End the local AWS of a stack that was killed before it could do so itself."""
    with suppress(FileNotFoundError):
        pid = _pid_file(settings).read_text()
        command = ["ps", "-o", "command=", "-p", pid]
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        # The number may be another process's by now.
        if str(_PYTHON) in found:
            _end_group(int(pid))
            _await_end(int(pid))


def _spawn(settings: Settings, scratch: Path) -> subprocess.Popen[bytes]:
    with (settings.home / "aws.log").open("wb") as log:
        return subprocess.Popen(
            [_PYTHON, "-P", _EMULATOR],  # -P: the modules beside it are not for import
            cwd=scratch,
            env=environment(settings, scratch, os.environ),
            stdin=subprocess.PIPE,  # it ends when this is closed, also because we were killed
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C goes to the whole foreground group; this child must end after us, not with us.
            start_new_session=True,
        )


def environment(settings: Settings, scratch: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return what the local AWS, and with it every function, finds in its environment.

    Of the user's own environment only what a process needs to run is passed on: a function sees
    all of it, and must see no real AWS credentials and no PYTHONPATH.
    """
    passed = {name: inherited[name] for name in ("PATH", "HOME", "LANG") if name in inherited}
    return passed | {
        "BIND_HOST": "127.0.0.1",  # it listens on every interface otherwise
        "GATEWAY_PORT": str(settings.aws_port),
        "MINISTACK_REGION": REGION,
        # It verifies signatures and holds every function to its policies, as AWS does: a
        # permission that template.yaml forgot fails here first.
        "AUTH": "true",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": KEY,
        "TMPDIR": str(scratch),  # its workers unpack the functions here
        "STATE_DIR": str(scratch / "state"),
        "S3_DATA_DIR": str(scratch / "s3"),
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "PYTHONUNBUFFERED": "1",
        "PRESENCE_FUNCTIONS_LOG": str(settings.functions_log),
    }


def _await_healthy(settings: Settings, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{settings.endpoint_url}/_ministack/health", timeout=1):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.05)
    message = f"The local AWS did not start; {settings.home / 'aws.log'} says why."
    raise StackError(message)
