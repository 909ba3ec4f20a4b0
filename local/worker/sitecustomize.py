"""Writes what the functions log to a file as well.

Bridge: MiniStack throws away what a function behind a WebSocket route logs. Python imports this
module at the start of every worker, because its folder is on the workers' import path. Delete when
those lines reach CloudWatch Logs.
"""

import os
import sys
from typing import TextIO


class _Tee:
    """A text stream that writes to two."""

    def __init__(self, first: TextIO, second: TextIO) -> None:
        self._first = first
        self._second = second

    def write(self, text: str) -> int:
        self._second.write(text)
        return self._first.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._first, name)


_path = os.environ.get("PRESENCE_FUNCTIONS_LOG")
if _path:
    # Line buffered and appending: the lines of all workers end up whole, one after the other.
    _file = open(_path, "a", buffering=1, encoding="utf-8")  # noqa: SIM115, PTH123 - open to the end
    sys.stderr = _Tee(sys.stderr, _file)
