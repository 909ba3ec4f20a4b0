"""Makes the virtual environments of this folder. Needs the standard library only.

There are three, because the local AWS and sam pin different versions of the same packages:
`.venv` (what runs in Lambda, the tests, the command `presence`), `.venv-aws` and `.venv-sam`.
Each is stamped with what it was made from, so that the next start finds it done.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_OLDEST = (3, 11)


class SetupError(Exception):
    """A sentence for the person at the keyboard."""


@dataclass(frozen=True, slots=True)
class Environment:
    """One virtual environment: its folder, the lock it is made from, what it is for."""

    folder: str
    lock: str
    purpose: str

    @property
    def path(self) -> Path:
        """Where it is."""
        return ROOT / self.folder

    @property
    def stamp(self) -> Path:
        """What it was made from, written when it was complete."""
        return self.path / "made-from"

    def wanted(self) -> str:
        """Return what it has to be made from now: the interpreter, the lock, this file."""
        digest = hashlib.sha256(f"{sys.version}{sys.base_prefix}{self.path}".encode())
        digest.update((ROOT / "requirements" / self.lock).read_bytes())
        digest.update(Path(__file__).read_bytes())
        return digest.hexdigest()

    def is_made(self) -> bool:
        """Tell whether it is there, complete and up to date."""
        return self.stamp.is_file() and self.stamp.read_text() == self.wanted()


ENVIRONMENTS = (
    Environment(".venv", "dev.txt", "the package, its tests and its command"),
    Environment(".venv-aws", "aws.txt", "the local AWS"),
    Environment(".venv-sam", "sam.txt", "sam"),
)


def main() -> int:
    """Make what is missing; return the exit code."""
    try:
        require_python()
        make([environment for environment in ENVIRONMENTS if not environment.is_made()])
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


def make(missing: list[Environment]) -> None:
    """Make environments side by side, and say what is done and how long it took."""
    if not missing:
        return
    print(f"Installing into {', '.join(item.folder for item in missing)} (once, about a minute)")
    with ThreadPoolExecutor() as pool:
        for line in pool.map(_make, missing):
            print(line, flush=True)


def _make(environment: Environment) -> str:
    started = time.monotonic()
    shutil.rmtree(environment.path, ignore_errors=True)
    venv.create(environment.path, with_pip=True, symlinks=True)
    lock = f"requirements/{environment.lock}"
    # The lock names every package: pip has nothing to resolve.
    _pip(environment, "install", "--no-deps", "--require-hashes", "-r", lock)
    if environment.lock == "dev.txt":
        _link_package(environment)
    environment.stamp.write_text(environment.wanted())
    return f"  {time.monotonic() - started:5.1f} s  {environment.folder:10} {environment.purpose}"


def _pip(environment: Environment, *arguments: str) -> None:
    command = [
        *(str(environment.path / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"),
        *(arguments[0], "--quiet", "--no-input", *arguments[1:]),
    ]
    result = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if result.returncode:
        message = (
            f"Installing {environment.purpose} failed; the last lines were:\n{_tail(result.stderr)}"
        )
        raise SetupError(message)


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-8:])


def _link_package(environment: Environment) -> None:
    """Make `presence`, `functions` and `local` importable, and the command `presence` runnable.

    By hand, because an editable install would fetch a build back end that no lock pins.
    """
    paths = {"base": str(environment.path), "platbase": str(environment.path)}
    site = Path(sysconfig.get_path("purelib", scheme="venv", vars=paths))
    (site / "presence-development.pth").write_text(f"{ROOT}\n{ROOT / 'layers' / 'presence'}\n")
    command = environment.path / "bin" / "presence"
    command.write_text(
        f"#!{environment.path / 'bin' / 'python'}\n"
        "import sys\n\nfrom local.cli import main\n\nsys.exit(main())\n"
    )
    command.chmod(0o755)


if __name__ == "__main__":
    sys.exit(main())
