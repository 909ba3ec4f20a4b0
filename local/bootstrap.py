"""Makes the environments of this folder. Needs the standard library only.

    python3 local/bootstrap.py        the virtual environments
    python3 local/bootstrap.py web    the tools of the client, if there is a Node for them

There are three virtual environments, because the local AWS and sam pin different versions of the
same packages: `.venv` (what runs in Lambda, the tests, the command `presence`), `.venv-aws` and
`.venv-sam`. Each environment is stamped with what it was made from, so that the next start finds
it done.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
_OLDEST = (3, 11)
# What the client's tools run on (Vite says so): 20 from 20.19 on, or 22.12 and newer.
_NODE_20 = (20, 19)
_NODE_22 = (22, 12)


class SetupError(Exception):
    """An error for the user of the command; the message is a sentence."""


class NoNodeError(SetupError):
    """There is no Node here that the client's tools run on."""


@dataclass(frozen=True, slots=True)
class Installed(ABC):
    """What is made of a lock, in a folder: made again when what it is made from has changed."""

    folder: str
    purpose: str

    @property
    def path(self) -> Path:
        """Where it is."""
        return ROOT / self.folder

    @property
    def stamp(self) -> Path:
        """What it was made from, written when it was complete."""
        return self.path / "made-from"

    def is_made(self) -> bool:
        """Tell whether it is there, complete and up to date."""
        return self.stamp.is_file() and self.stamp.read_text() == self.wanted()

    @abstractmethod
    def wanted(self) -> str:
        """Return what it has to be made from now."""

    @abstractmethod
    def fill(self) -> None:
        """Make it anew.

        Raises:
            SetupError: it cannot be made.
        """


@dataclass(frozen=True, slots=True)
class Environment(Installed):
    """One virtual environment."""

    lock: str

    def wanted(self) -> str:
        """Return what it has to be made from now: the interpreter, the lock, this file."""
        digest = hashlib.sha256(f"{sys.version}{sys.base_prefix}{self.path}".encode())
        digest.update((ROOT / "requirements" / self.lock).read_bytes())
        digest.update(Path(__file__).read_bytes())
        return digest.hexdigest()

    def fill(self) -> None:
        """Make it anew."""
        shutil.rmtree(self.path, ignore_errors=True)
        venv.create(self.path, with_pip=True, symlinks=True)
        lock = f"requirements/{self.lock}"
        # The lock names every package: pip has nothing to resolve.
        _pip(self, "install", "--no-deps", "--require-hashes", "-r", lock)
        if self.lock == "dev.txt":
            _link_packages(self)


@dataclass(frozen=True, slots=True)
class Node:
    """What runs JavaScript on this machine: its version, and the npm that comes with it."""

    version: str
    npm: str

    def is_new_enough(self) -> bool:
        """Tell whether the client's tools run on it."""
        numbers = tuple(int(number) for number in re.findall(r"\d+", self.version)[:2])
        return numbers >= _NODE_22 or (numbers[:1] == _NODE_20[:1] and numbers >= _NODE_20)


@dataclass(frozen=True, slots=True)
class Modules(Installed):
    """One `node_modules`, made by npm of the lock beside it."""

    node: Node

    def wanted(self) -> str:
        """Return what it has to be made from now: Node and the lock."""
        digest = hashlib.sha256(self.node.version.encode())
        digest.update((self.path.parent / "package-lock.json").read_bytes())
        return digest.hexdigest()

    def fill(self) -> None:
        """Make it anew; `npm ci` removes the old one. No package may run a script of its own."""
        quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
        _run([self.node.npm, "ci", *quiet], self.path.parent, self.purpose)


ENVIRONMENTS = (
    Environment(".venv", "the package, its tests and its command", "dev.txt"),
    Environment(".venv-aws", "the local AWS", "aws.txt"),
    Environment(".venv-sam", "sam", "sam.txt"),
)


def modules(node: Node) -> tuple[Modules, ...]:
    """Return the client's tools, as this Node makes them."""
    return (
        Modules("web/node_modules", "the client's tools", node),
        Modules("web/react-18/node_modules", "React 18, for the client's tests", node),
    )


def main(arguments: Sequence[str]) -> int:
    """Make what is missing; return the exit code."""
    try:
        if "web" in arguments:
            make(modules(find_node()), "some seconds")
        else:
            require_python()
            make(ENVIRONMENTS, "about a minute")
    except NoNodeError as error:
        print(error, flush=True)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def require_python() -> None:
    """Raise a SetupError when this interpreter cannot do it."""
    if sys.version_info < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        message = f"Presence needs Python {oldest} or newer; install it and try again."
        raise SetupError(message)
    try:
        import ensurepip  # noqa: F401, PLC0415 - Debian ships it apart
    except ImportError as error:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        message = f"This Python cannot make virtual environments; install {package} and try again."
        raise SetupError(message) from error


def find_node() -> Node:
    """Return the Node on the PATH.

    Raises:
        NoNodeError: there is none with npm that is new enough.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if not (node and npm):
        message = "Node 20 is not there, or its npm is not: what needs it is skipped."
        raise NoNodeError(message)
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    found = Node(answer.stdout.strip().removeprefix("v"), npm)
    if not found.is_new_enough():
        message = f"Node {found.version} is not 20.19, 22.12 or newer: what needs it is skipped."
        raise NoNodeError(message)
    return found


def make(wanted: Sequence[Installed], duration: str) -> None:
    """Make what is missing side by side, and say what is done and how long it took."""
    if all(item.is_made() for item in wanted):
        return
    with _alone():
        _make_missing([item for item in wanted if not item.is_made()], duration)


@contextmanager
def _alone() -> Iterator[None]:
    """One at a time: `make run` and `make test` may be typed side by side in a new clone."""
    folder = ROOT / ".presence"
    folder.mkdir(exist_ok=True)
    with (folder / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_missing(missing: Sequence[Installed], duration: str) -> None:
    if not missing:  # the process that held the lock before has made it
        return
    print(f"Installing into {', '.join(item.folder for item in missing)} (once, {duration})")
    width = max(len(item.folder) for item in missing)
    with ThreadPoolExecutor() as pool:
        for item, seconds in zip(missing, pool.map(_make, missing), strict=True):
            print(f"  {seconds:5.1f} s  {item.folder:{width}}  {item.purpose}", flush=True)


def _make(item: Installed) -> float:
    started = time.monotonic()
    item.fill()
    item.stamp.write_text(item.wanted())
    return time.monotonic() - started


def _pip(environment: Environment, *arguments: str) -> None:
    command = [
        *(str(environment.path / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"),
        *(arguments[0], "--quiet", "--no-input", *arguments[1:]),
    ]
    _run(command, ROOT, environment.purpose)


def _run(command: list[str], folder: Path, purpose: str) -> None:
    result = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if result.returncode:
        message = f"Installing {purpose} failed; the last lines were:\n{_tail(result.stderr)}"
        raise SetupError(message)


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-8:])


def _link_packages(environment: Environment) -> None:
    """Make the packages of this folder importable, and the command `presence` runnable.

    The lock pins the back end that the client's package is built with.
    """
    _pip(environment, "install", "--no-deps", "--no-build-isolation", "-e", "clients/python")
    paths = {"base": str(environment.path), "platbase": str(environment.path)}
    site = Path(sysconfig.get_path("purelib", scheme="venv", vars=paths))
    (site / "presence-development.pth").write_text(f"{ROOT}\n{ROOT / 'layers' / 'presence'}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
