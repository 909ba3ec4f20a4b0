"""A person's first minute without a browser."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from local.stack import ROOT
from tests.e2e.story import people
from tests.stack import RunningStack


@contextmanager
def presence(stack: RunningStack, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a newcomer types it, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "presence_client.cli", *arguments],
        cwd=ROOT,
        env=os.environ | {"PRESENCE_HOME": str(stack.home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=10)


def lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    return iter(process.stdout)


def printed(stack: RunningStack, *arguments: str) -> str:
    with presence(stack, *arguments) as process:
        text, _ = process.communicate(timeout=20)
    return text


def test_join_is_seen_by_watch_online_and_status(deployed: RunningStack) -> None:
    (ada_id,) = people("ada")
    with presence(deployed, "watch", "--json") as watch:
        with presence(deployed, "join", ada_id, "--status", "busy", "--text", "hello") as ada:
            next(line for line in lines(ada) if f"connected as {ada_id}" in line)
            next(line for line in lines(watch) if ada_id in line and '"busy"' in line)

            assert ada_id in printed(deployed, "online")
            assert "hello" in printed(deployed, "status", ada_id)

        next(line for line in lines(watch) if ada_id in line and '"offline"' in line)
        assert "last seen" in printed(deployed, "status", ada_id)


def test_a_token_is_all_that_token_prints(deployed: RunningStack) -> None:
    (ada_id,) = people("ada")

    text = printed(deployed, "token", ada_id, "--ttl", "60")

    (token,) = text.splitlines()
    assert deployed.call("PUT /last-seen", token=token).json["userId"] == ada_id
