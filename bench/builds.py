"""One measurement in two builds: this one, and another commit in a folder of its own.

A scene is a file in `bench/scenes`. It runs in a process of its own with the packages of one build,
knows the names of both, and prints its figures as one JSON object.
"""

import json
import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
SCENES = Path(__file__).parent / "scenes"


def arguments(summary: str) -> ArgumentParser:
    parser = ArgumentParser(description=summary)
    parser.add_argument("--against", metavar="REF", help="a commit of this repository")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each build")
    return parser


def measure(scene: str, chosen: Namespace, *sizes: object) -> Mapping[str, Sequence[float]]:
    """The medians of each build: first this one, then the other, if one was named.

    They take turns, because other work on the machine comes and goes.
    """
    with _builds(chosen.against) as roots:
        runs = [
            {name: _run(root, scene, sizes) for name, root in roots.items()}
            for _ in range(chosen.rounds)
        ]
    return {
        name: [median(column) for column in zip(*(run[name] for run in runs), strict=True)]
        for name in runs[0]
    }


@contextmanager
def _builds(other: str | None) -> Iterator[Mapping[str, Path]]:
    if other is None:
        yield {"this build": ROOT}
        return
    with checkout(other) as root:
        for tools in (".venv", ".venv-aws"):
            (root / tools).symlink_to(ROOT / tools)
        yield {"this build": ROOT, other: root}


@contextmanager
def checkout(ref: str) -> Iterator[Path]:
    """A commit of this repository in a folder of its own, which goes afterwards."""
    with TemporaryDirectory(prefix="presence-bench-") as home:
        folder = Path(home) / "build"
        git(ROOT, "worktree", "add", "--detach", folder, ref)
        try:
            yield folder
        finally:
            git(ROOT, "worktree", "remove", "--force", folder)


def git(folder: Path, *arguments: object) -> str:
    command = ["git", "-C", str(folder), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _run(root: Path, scene: str, sizes: Sequence[object]) -> Sequence[float]:
    """The figures of one run, in the order in which the scene names them."""
    path = os.pathsep.join(map(str, (root, root / "layers" / "presence")))
    # -P: the scene's own folder is of this build, and must not hide the other's packages.
    command = [sys.executable, "-P", str(SCENES / f"{scene}.py"), *map(str, sizes)]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)
    figures: Mapping[str, float] = json.loads(done.stdout.splitlines()[-1])
    return list(figures.values())
