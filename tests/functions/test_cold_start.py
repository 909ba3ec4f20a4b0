"""What functions import, and when; how much CPU that takes is in bench/cold_start.py."""

import os
import re
import subprocess
import sys
from pathlib import Path

from local.layer import SERVICES
from presence import bootstrap
from tests.functions.conftest import ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
QUEUES = {"TIMER_QUEUE_URL": "https://sqs/timers", "DELIVERY_QUEUE_URL": "https://sqs/deliveries"}
#: All parts that a frame of the socket may need, but the one that verifies tokens.
PARTS = (
    *("connections", "statuses", "chat_sessions", "member_list", "messages", "watching"),
    *("broadcast", "dispatcher", "online_list"),
)


def run(code: str) -> list[str]:
    """What a new process prints that has a function's environment."""
    path = os.pathsep.join((str(ROOT), str(ROOT / "layers" / "presence")))
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, functions.websocket\n{code}"],
        env=ENVIRONMENT | QUEUES | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_nothing_is_imported_for_tokens_before_there_is_one() -> None:
    loaded = run("print(*sys.modules)")

    assert "presence.application.chat_sessions" in loaded
    assert {"jwt", "cryptography", "presence.adapters.jwt"}.isdisjoint(loaded)


def test_the_first_join_after_pings_imports_nothing() -> None:
    parts = "; ".join(f"app.{name}" for name in PARTS)
    first = "from presence.bootstrap import app; app = app(); app.ports.users._client.client"

    late = run(f"{first}\nbefore = {{*sys.modules}}\n{parts}\nprint(*{{*sys.modules}} - before)")

    assert late == []


def test_the_layer_keeps_the_data_of_every_service_that_is_called() -> None:
    called = re.findall(r'_client\(\s*"(\w+)"', Path(bootstrap.__file__).read_text())

    assert {*called, "dynamodb"} == SERVICES  # PynamoDB makes the client of DynamoDB
