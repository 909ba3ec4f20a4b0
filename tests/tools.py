"""What a test needs and a machine may not have: programs, and the tools in web/node_modules."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pytest

from local.bootstrap import find_node, modules
from local.stack import ROOT

WEB = ROOT / "web"
#: As long as the slowest of them may take, on a slow machine.
SECONDS = 300


class NotInstalledError(Exception):
    """The tools are not there; the message is the reason."""


class Tools:
    """Runs them; what one prints is the message when it fails."""

    def __init__(self) -> None:
        """Raise a NotInstalledError or a NoNodeError when they are not there."""
        if not all(it.is_made() for it in modules(find_node())):
            raise NotInstalledError("The client's tools are not installed: run `make web`.")

    def run(
        self, tool: str, *arguments: object, folder: Path = WEB, environment: Mapping[str, str] = {}
    ) -> str:
        """Run one of web/node_modules/.bin."""
        path = WEB / "node_modules" / ".bin" / tool
        return self._run(path, *arguments, folder=folder, environment=environment)

    def script(self, name: str, *arguments: object) -> str:
        """Run one of web/scripts."""
        return self._run("node", WEB / "scripts" / name, *arguments, folder=WEB)

    def npm(self, *arguments: object) -> str:
        return self._run("npm", *arguments, folder=WEB)

    def _run(self, *command: object, folder: Path, environment: Mapping[str, str] = {}) -> str:
        result = subprocess.run(
            [str(word) for word in command],
            cwd=folder,
            env=os.environ | {"NO_COLOR": "1"} | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert result.returncode == 0, result.stdout
        return result.stdout


def lacking(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def program(*names: str, reason: str) -> str:
    """The path of the first of these programs that is there."""
    for path in map(shutil.which, names):
        if path:
            return path
    lacking(reason)
