"""What a test needs and a machine may not have: a reason to skip, but not where CI installs it."""

import os
import shutil
from typing import NoReturn

import pytest


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
