"""The state machine as CI runs it: the same stories every time, about a minute of one CPU.

For more, `python -m tests.stateful`.
"""

import os
import subprocess
import sys

import pytest

from local.stack import ROOT


@pytest.mark.slow
def test_whatever_happens_everybody_is_told_what_is_so() -> None:
    """In a process of its own: Hypothesis draws from the constants of whatever is imported, and
    so would make up other stories beside other tests."""
    paths = os.pathsep.join((str(ROOT), str(ROOT / "layers/presence")))
    done = subprocess.run(
        (sys.executable, "-m", "tests.stateful", "--examples", "200", "--seed", "1"),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
