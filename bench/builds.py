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
    with TemporaryDirectory() as folder:
        root = Path(folder) / "build"
        _git("worktree", "add", "--detach", str(root), other)
        for tools in (".venv", ".venv-aws"):
            (root / tools).symlink_to(ROOT / tools)
        try:
            yield {"this build": ROOT, other: root}
        finally:
            _git("worktree", "remove", "--force", str(root))


def _git(*words: str) -> None:
    subprocess.run(["git", "-C", ROOT, *words], check=True, capture_output=True)  # noqa: S607


def _run(root: Path, scene: str, sizes: Sequence[object]) -> Sequence[float]:
    """The figures of one run, in the order in which the scene names them."""
    path = os.pathsep.join(map(str, (root, root / "layers" / "presence")))
    # -P: the scene's own folder is of this build, and must not hide the other's packages.
    command = [sys.executable, "-P", str(SCENES / f"{scene}.py"), *map(str, sizes)]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)
    figures: Mapping[str, float] = json.loads(done.stdout.splitlines()[-1])
    return list(figures.values())
