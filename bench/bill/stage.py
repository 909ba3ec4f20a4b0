"""The clients' side: Node with the bundle of a build, one instant after the other."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

HERE = Path(__file__).resolve().parent

#: Kind and arguments, as in stage.mjs.
Message: TypeAlias = Sequence[Any]


class StageError(Exception):
    """The clients have ended."""


class Stage(Protocol):
    """Holds the clients; `wake` is when the next timer of one is due."""

    wake: float | None

    def step(self, now: int, events: Sequence[Message]) -> Sequence[Message]:
        """Turn the clock to *now*, tell what has happened, and return what the clients did."""


class NoStage:
    """No client at all."""

    wake: float | None = None

    def step(self, _now: int, _events: Sequence[Message]) -> Sequence[Message]:
        return ()


class NodeStage:
    """The clients are in Node."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.wake: float | None = None

    def step(self, now: int, events: Sequence[Message]) -> Sequence[Message]:
        if self._process.stdin is None or self._process.stdout is None:
            raise StageError("The clients were started without pipes.")
        line = json.dumps({"now": now, "events": events}, separators=(",", ":"))
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise StageError("The clients have ended; their last words are above.")
        told = json.loads(answer)
        self.wake = told["wake"]
        done: Sequence[Message] = told["out"]
        return done


def bundle(sources: Path, target: Path) -> None:
    """Make one module of a build's client."""
    subprocess.run(["node", HERE / "bundle.mjs", sources, target], check=True)  # noqa: S607


@contextmanager
def stage(module: Path) -> Iterator[Stage]:
    command = ["node", str(HERE / "stage.mjs"), str(module)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=-1
    ) as process:
        try:
            yield NodeStage(process)
        finally:
            if process.stdin is not None:
                process.stdin.close()
            process.wait(10)
