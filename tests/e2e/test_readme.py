"""What docs/by-hand.md tells a reader to type does what it says, against a deployed stack."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conversation import Conversation
from tests.docs.markdown import ROOT, blocks, code, table
from tests.stack import RunningStack
from tests.tools import program

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TEXT = (ROOT / "docs" / "by-hand.md").read_text("utf-8")
(CLIENT,) = blocks(TEXT, "js")
(SETUP,) = blocks(TEXT, "sh")
LINES = [code(row["Try it"])[0] for row in table(TEXT, "Route", "Try it")]
SITE = "http://localhost:4000"
SECONDS = 20.0


@pytest.fixture(scope="module")
def node() -> str:
    return program("node", reason="There is no Node on this machine; it runs the README's client.")


@pytest.fixture(scope="module")
def curl() -> None:
    program("curl", reason="There is no curl on this machine; it runs the README's lines.")


@contextmanager
def browser(
    node: str, stack: RunningStack, user_id: str, folder: Path
) -> Iterator[Callable[[], list[str]]]:
    """The client of the README, as a user; what it has printed so far."""
    script, printed = folder / "client.mjs", folder / "printed"
    text = CLIENT.replace(SITE, stack.demo_url).replace("eyJ…", stack.token(user_id))
    script.write_text(text, "utf-8")
    with printed.open("wb") as output:
        process = subprocess.Popen(
            [node, "--experimental-websocket", "--no-warnings", str(script)],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield lambda: printed.read_text("utf-8").splitlines()
    finally:
        process.kill()
        process.wait()


def await_line(printed: Callable[[], list[str]], fits: Callable[[set[str]], bool]) -> None:
    """Wait until the newest line, a list of those online, is one that fits."""
    deadline = time.monotonic() + SECONDS
    while not (printed() and fits(set(printed()[-1].split(", ")))):
        assert time.monotonic() < deadline, printed()
        time.sleep(0.05)


def test_the_browser_client_shows_who_comes_and_goes(
    node: str, deployed: RunningStack, tmp_path: Path
) -> None:
    me, other = "readme-ada", "readme-grace"

    with browser(node, deployed, me, tmp_path) as printed:
        await_line(printed, lambda online: me in online)
        asyncio.run(visit(deployed, other, lambda: await_line(printed, {me, other}.issubset)))
        await_line(printed, lambda online: other not in online)


async def visit(stack: RunningStack, user_id: str, meanwhile: Callable[[], None]) -> None:
    async with Conversation.connect(stack.url, token=stack.token(user_id)):
        await asyncio.to_thread(meanwhile)


def test_the_browser_client_gives_up_on_a_token_that_is_refused(
    node: str, deployed: RunningStack, tmp_path: Path
) -> None:
    script = tmp_path / "client.mjs"
    script.write_text(CLIENT.replace(SITE, deployed.demo_url), "utf-8")

    ended = subprocess.run(
        [node, "--experimental-websocket", "--no-warnings", str(script)],
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )

    assert ended.stderr.startswith("token-invalid")


@pytest.mark.usefixtures("curl")
@pytest.mark.parametrize("line", LINES)
def test_a_curl_line_is_answered(deployed: RunningStack, line: str) -> None:
    script = f"{SETUP.replace(SITE, deployed.demo_url)}\n{line}"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    ended = subprocess.run(
        ["bash", "-euc", script],  # noqa: S607
        env=os.environ | {"PATH": path, "PRESENCE_HOME": str(deployed.home)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    body = ended.stdout.rpartition("\n\n")[2]  # behind the headers of `-i`
    answer = json.loads(body or "{}")  # 204 has none
    assert "error" not in answer
    assert "message" not in answer
