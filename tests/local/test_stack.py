import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local.stack import ROOT, Settings, StackError, overrides, publish, running, settings


def test_a_stack_has_the_usual_place_and_ports() -> None:
    found = settings({})
    assert found.home == ROOT / ".presence"
    assert found.demo_url == "http://localhost:4000"
    assert found.endpoint_url == "http://127.0.0.1:4566"


def test_the_environment_puts_a_second_stack_beside_the_first(tmp_path: Path) -> None:
    found = settings(
        {"PRESENCE_HOME": str(tmp_path), "PRESENCE_PORT": "4001", "PRESENCE_AWS_PORT": "4567"}
    )
    assert (found.home, found.port, found.aws_port) == (tmp_path, 4001, 4567)


def test_the_command_line_wins_over_the_environment() -> None:
    environment = {"PRESENCE_SET": "GraceSeconds=2 LeaseSeconds=5"}
    found = settings(environment, sets=["GraceSeconds=3"])
    assert found.overrides == {"GraceSeconds": "3", "LeaseSeconds": "5"}


def test_a_value_may_hold_an_equals_sign() -> None:
    assert overrides(["TokenIssuer=https://a/?b=c"]) == {"TokenIssuer": "https://a/?b=c"}


@pytest.mark.parametrize("pair", ["GraceSeconds", "=2", ""])
def test_a_pair_without_name_or_value_is_refused(pair: str) -> None:
    with pytest.raises(StackError, match="GraceSeconds=2"):
        overrides([pair])


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "٤"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(StackError, match="PRESENCE_PORT"):
        settings({"PRESENCE_PORT": port})


def test_a_stack_runs_as_long_as_its_process(tmp_path: Path) -> None:
    here = Settings(home=tmp_path)
    assert running(here) is None
    publish(here, {"pid": os.getpid(), "demoUrl": "http://localhost:4000"})
    assert running(here) == json.loads(here.stack_file.read_text())


def test_a_stack_whose_process_has_gone_does_not_run(tmp_path: Path) -> None:
    here = Settings(home=tmp_path)
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(child, 0)
    publish(here, {"pid": child})
    assert running(here) is None


OWNER = """
import os, sys, time
from pathlib import Path
from tests.stack import guarded

with guarded(["sh", "-c", "echo $$; exec sleep 60"], os.environ, Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_what_a_fixture_started_ends_with_its_process(tmp_path: Path, how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        deadline = time.monotonic() + 30
        log = tmp_path / "run.log"
        while not (told := log.read_text().strip()) and time.monotonic() < deadline:
            time.sleep(0.05)
        owner.send_signal(how)

    while is_alive(int(told)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(int(told))


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True
