"""A trial: a copy of the tree, a mistake in it, and the tests that have to see it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

from local.stack import ROOT
from tests.mutants.mutants import Mutant

Fate = Literal["killed", "survived", "broken"]

TIMEOUT_SECONDS = 300
#: What pytest and Vitest say with their exit codes; whatever else they say is no verdict.
PASSED, FAILED = 0, 1
#: What a shell says of a program that is not there.
MISSING = 127


@dataclass(frozen=True, slots=True)
class Verdict:
    """`output` is what the tests printed last."""

    fate: Fate
    seconds: float
    output: str


def try_out(mutant: Mutant) -> Verdict:
    """Whether the named tests see the mistake; they run until one does."""
    began = perf_counter()
    with copy_of_the_tree() as tree:
        apply(mutant, tree)
        code, output = run_tests(tree, mutant.nodes, mutant.files)
    fates: Mapping[int, Fate] = {PASSED: "survived", FAILED: "killed"}
    return Verdict(fates.get(code, "broken"), perf_counter() - began, output)


@contextmanager
def copy_of_the_tree() -> Iterator[Path]:
    """All that git would keep, as it is now."""
    with tempfile.TemporaryDirectory(prefix="presence-mutant-") as folder:
        tree = Path(folder)
        for name in _files():
            target = tree / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
        modules = ROOT / "web" / "node_modules"
        if modules.is_dir():
            (tree / "web" / "node_modules").symlink_to(modules)
        yield tree


def _files() -> Sequence[str]:
    listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=ROOT)
    return [name for name in listed.split("\0") if (ROOT / name).is_file()]


def apply(mutant: Mutant, tree: Path) -> None:
    """Change the tree; an error if it is not as the mutant knows it."""
    _git("apply", str(mutant.patch), folder=tree)


def _git(*arguments: str, folder: Path) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stdout


def run_tests(tree: Path, nodes: Sequence[str], files: Sequence[str]) -> tuple[int, str]:
    """The first exit code that is no success, and what was printed by then."""
    code, output = PASSED, ""
    if nodes:
        code, output = _run([sys.executable, "-m", "pytest", "-xq", *nodes], tree)
    if files and code == PASSED:
        tests = [name.removeprefix("web/") for name in files]
        code, output = _run(["node_modules/.bin/vitest", "run", *tests], tree / "web")
    return code, output


def _run(command: Sequence[str], folder: Path) -> tuple[int, str]:
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return FAILED, f"no end after {TIMEOUT_SECONDS} s"
    except FileNotFoundError as missing:
        return MISSING, f"{missing}; `make web` installs the client's tools"
    return done.returncode, done.stdout
