"""A built demo, and the lock beside it that says what it was made from."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from local.stack import ROOT
from tests.node import WEB

SOURCES = WEB / "demo"
BUILT = ROOT / "local" / "demo"
LOCK = "bundle.lock.json"


def changed(built: Path) -> list[str]:
    """The sources and the built files that are not what they were when the lock was written."""
    if not (built / LOCK).exists():
        return [LOCK]
    lock = json.loads((built / LOCK).read_text())
    inputs = digests(ROOT, *lock["sources"])
    outputs = digests(built, ".")
    del outputs[LOCK]
    pairs = (inputs.items() ^ lock["inputs"].items()) | (outputs.items() ^ lock["outputs"].items())
    return sorted({name for name, _ in pairs})


def digests(root: Path, *names: str) -> dict[str, str]:
    """The SHA-256 of every file at or below the names, by its path from the root."""
    found = [path for name in names for path in _files(root / name)]
    return {str(it.relative_to(root)): hashlib.sha256(it.read_bytes()).hexdigest() for it in found}


def _files(path: Path) -> Iterator[Path]:
    """Every file at or below a path but hidden ones, which are a machine's own."""
    if path.is_dir():
        for below in path.iterdir():
            if not below.name.startswith("."):
                yield from _files(below)
    elif path.exists():
        yield path
