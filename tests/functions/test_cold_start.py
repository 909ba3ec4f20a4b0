"""What a cold start may not cost; how much it does is in bench/cold_start.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Per function, what its cold start must not import.
LATE = {
    "websocket": ("jwt", "cryptography", "presence.fanout.dispatch", "posting"),
    "http": ("jwt", "cryptography", "presence.fanout.dispatch", "posting"),
    "announce": ("jwt", "cryptography", "posting"),
    "sweep": ("jwt", "cryptography", "posting"),
}


@pytest.mark.parametrize(("function", "late"), LATE.items(), ids=LATE)
def test_a_cold_start_imports_nothing_that_the_first_request_may_not_need(
    function: str, late: tuple[str, ...]
) -> None:
    code = f"import functions.{function}, sys\nprint(*sys.modules)"

    environment = os.environ | {"PYTHONPATH": str(ROOT / "layers" / "presence")}
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = told.stdout.split()

    assert "presence.bootstrap" in imported
    assert [it for it in imported if any(name in it for name in late)] == []
